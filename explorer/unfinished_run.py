"""A note on the disk that a run is training: what a crash or a power cut leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

from PySide6.QtCore import QLockFile

from model.run_files import is_run
from model.training_setup import Recipe, recipe_from_json

FILE, LOCK = "unfinished-run.json", "training.lock"


class UnfinishedRun:
    """Written when training begins, removed when it ends as it should."""

    def __init__(self, folder: Path | None) -> None:
        """`folder` keeps the note; None: nothing is kept."""
        self._folder = folder
        self._lock: QLockFile | None = None

    def write(self, recipe: Recipe) -> None:
        """Training of `recipe` begins.

        Raises:
            OSError: The note cannot be written.
        """
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = self._lock or QLockFile(str(self._folder / LOCK))
        if not self._lock.isLocked() and not self._lock.tryLock(0):
            return  # another window trains, and the note is about that
        part = self._folder / f".{FILE}.part"
        part.write_text(json.dumps(recipe.to_json(), indent=1), encoding="utf-8")
        part.replace(self._folder / FILE)

    def clear(self) -> None:
        """Training has ended as it should, or nobody wants it to go on."""
        if self._folder is None:
            return
        if self._lock is None or self._lock.isLocked():
            (self._folder / FILE).unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.unlock()

    def find(self) -> Recipe | None:
        """What was training when the app last ended, if its folder can go on; else None."""
        if self._folder is None or not (self._folder / FILE).exists():
            return None
        lock = QLockFile(str(self._folder / LOCK))
        if not lock.tryLock(0):
            return None  # it is training now, in another window
        lock.unlock()
        try:
            values = json.loads((self._folder / FILE).read_text(encoding="utf-8"))
            recipe = recipe_from_json(values)
        except (OSError, ValueError, AttributeError):
            return None
        return recipe if is_run(Path(recipe.folder)) else None
