"""Which latent is shown, and which ones a person likes. GUI thread."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from explorer.bookmarks import bookmarks_file, write_json
from explorer.messages import (
    MAX_PICTURE_PX,
    ExactView,
    Picture,
    PictureRequest,
    PicturesReady,
    SceneInfo,
)
from explorer.view_links import scene_name

if TYPE_CHECKING:
    from explorer.main_window import MainWindow

FORMAT = 1
MAX_SEED = 2**31 - 1
"""What the panel offers; a view may carry any seed of 0 or more."""


class Latents(QObject):
    """Shows the latent that a view, a link or the panel asks for, the whole picture with it."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._asked: PictureRequest | None = None
        window.places.seed_asked.connect(self.show)
        window.viewport.pictures_ready.connect(self._take)

    def show(self, seed: int) -> None:
        """Show the latent that `seed` names, from where one is; a scene of one latent stays."""
        viewport = self._window.viewport
        scene, root = viewport.scene, viewport.root
        if scene is None or not scene.has_latents or seed == viewport.stream.seed:
            return
        viewport.set_seed(seed)
        if root is None or max(root.shape[:2]) > MAX_PICTURE_PX:
            return
        rows, columns = root.shape[:2]
        width, height = scene.field_size
        level = max(math.log2(rows / height / scene.patch_size), scene.level_range[0])
        whole = ExactView((-width / 2, -height / 2), level, (columns, rows))
        self._asked = PictureRequest("root", scene.identity, (Picture(whole, seed),))
        viewport.inference.ask_pictures(self._asked)

    def _take(self, ready: PicturesReady) -> None:
        """The whole field with the latent that is shown lies below the tiles, and in the map."""
        viewport = self._window.viewport
        shown = ready.request is self._asked
        if shown and ready.request.pictures[0].seed == viewport.stream.seed and viewport.scene:
            viewport.set_root(ready.pixels[0])
            self._window.minimap.set_scene(viewport.scene)


class Stars:
    """The seeds of one scene that were starred, in their order; every change is written at once."""

    def __init__(self, file: Path | None) -> None:
        """Read `file` where it exists; None keeps everything in memory only.

        Raises:
            ValueError: The file is damaged; it is left as it is.
            OSError: The file cannot be read.
        """
        self.file = file
        self._seeds: list[int] = []
        if file is not None and file.exists():
            self._seeds = _read(file)

    def __len__(self) -> int:
        return len(self._seeds)

    def __iter__(self) -> Iterator[int]:
        return iter(self._seeds)

    def __contains__(self, seed: int) -> bool:
        return seed in self._seeds

    def set(self, seed: int, on: bool) -> None:
        """Star `seed`, or take its star away.

        Raises:
            OSError: It cannot be written; then nothing has changed.
        """
        seeds = sorted({*self._seeds, seed} if on else {*self._seeds} - {seed})
        if self.file is not None:
            write_json(self.file, {"format": FORMAT, "seeds": seeds})
        self._seeds = seeds


def stars_file(folder: Path, scene: SceneInfo) -> Path:
    """Where the stars of `scene` are kept."""
    return bookmarks_file(folder, scene.identity, scene_name(scene.path))


def _read(file: Path) -> list[int]:
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
        if int(table.get("format", FORMAT)) > FORMAT:
            raise ValueError(f"{file} is of a newer version of the app; update this one.")
        return sorted({int(seed) for seed in table["seeds"] if int(seed) >= 0})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{file} holds no starred seeds ({error}); move it away.") from error
