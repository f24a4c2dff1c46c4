"""Which file is the real picture of which scene: one small JSON file. Plain Python."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path

FORMAT = 1
_MAX_SCENES = 200
_MAX_FILE_BYTES = 1 << 20


class TruthPaths:
    """Paths by scene identity, the newest last; without a file, in memory only."""

    def __init__(self, file: Path | None) -> None:
        """Read `file`; one that cannot be read counts as empty, and is replaced when kept."""
        self.file = file
        self._paths: dict[str, str] = {}
        if file is None or not file.exists():
            return
        with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):
            if file.stat().st_size <= _MAX_FILE_BYTES:
                paths = json.loads(file.read_text(encoding="utf-8")).get("paths", {})
                self._paths = {str(scene): str(path) for scene, path in paths.items()}

    def get(self, scene: str) -> str | None:
        """The path of the real picture of the scene of this identity, while it exists."""
        path = self._paths.get(scene)
        return path if path is not None and Path(path).exists() else None

    def keep(self, scene: str, path: str) -> None:
        """Remember `path`; of very many scenes the oldest is forgotten.

        Raises:
            OSError: The file cannot be written; the path is remembered until the app ends.
        """
        if self._paths.get(scene) == path:
            return
        self._paths.pop(scene, None)
        self._paths[scene] = path
        while len(self._paths) > _MAX_SCENES:
            del self._paths[next(iter(self._paths))]
        if self.file is None:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        handle, temp = tempfile.mkstemp(dir=self.file.parent, prefix=f"{self.file.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                json.dump({"format": FORMAT, "paths": self._paths}, out, indent=1)
            os.replace(temp, self.file)
        except OSError:
            Path(temp).unlink(missing_ok=True)
            raise
