"""Which latent is shown, and which ones a person likes. GUI thread."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from explorer.bookmarks import bookmarks_file, write_json
from explorer.camera_path import CameraPath
from explorer.director import PreviewFlight
from explorer.messages import (
    MAX_PICTURE_PX,
    Picture,
    PictureRequest,
    PicturesReady,
    SceneInfo,
)
from explorer.tile_stream import root_view
from model.latent import Latent, Seed, seed_from_json, seed_to_json, truncated

if TYPE_CHECKING:
    from explorer.main_window import MainWindow

FORMAT = 2
"""2 knows blends; without one, the file is written as 1, which older builds read."""
_NEAR_END_S = 0.5
_DRAG_BUDGET_S = 0.1
MAX_SEED = 2**31 - 1
"""What the panel offers; a view may carry any seed of 0 or more."""


class Latents(QObject):
    """Shows the latent that a view, a link, a flight or the panel asks for, everywhere.

    While one is dragged, the next one is asked for when the one before is on the screen: however
    many lie between, what is shown is never further behind than one coarse picture.
    """

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._asked: PictureRequest | None = None
        self._waiting: Seed | None = None
        self._flown: tuple[CameraPath | PreviewFlight, float] | None = None
        window.places.seed_asked.connect(self.show)
        window.places.seed_dragged.connect(self.drag)
        window.viewport.frame_painted.connect(self._painted)
        window.viewport.path_skipped.connect(self._skipped)
        window.viewport.scene_opened.connect(self._opened)
        window.viewport.pictures_ready.connect(self._take)

    def _opened(self, scene: SceneInfo) -> None:
        self._waiting = self._flown = None
        viewport = self._window.viewport
        if scene.has_latents and viewport.root_seed != viewport.stream.seed:
            self._ask_root(viewport.stream.seed)  # it was changed while newer weights were opened

    def drag(self, seed: Seed) -> None:
        """Show the latent that `seed` names as soon as the one before is on the screen."""
        self._waiting = seed
        self._show_waiting()

    def _show_waiting(self) -> None:
        viewport = self._window.viewport
        if viewport.is_swapping:
            return
        viewport.stream.moving_budget_s = viewport.config.streaming.moving_budget_s
        if self._waiting is not None:
            self._show(self._waiting, _DRAG_BUDGET_S)

    def _skipped(self, path: CameraPath) -> None:
        end = path.seed_at(path.duration_s)
        if end is not None:
            self.show(end)

    def _painted(self) -> None:
        """A frame is on the screen: go on with the flight's latent, or with the hand's."""
        flight = self._window.viewport.view_state.flight
        if flight is not None and isinstance(flight[0], CameraPath | PreviewFlight):
            self._flown = flight[0], flight[1]
            seed = flight[0].seed_at(flight[1])
            if seed is not None:
                self._waiting = seed
        elif flight is None and self._flown is not None:
            (path, time_s), self._flown = self._flown, None
            end = path.seed_at(path.duration_s)
            if end is not None and time_s > path.duration_s - _NEAR_END_S:
                self._waiting = end
        self._show_waiting()

    def show(self, seed: Seed) -> None:
        """Show the latent that `seed` names, from where one is; a scene of one latent stays."""
        self._show(seed, self._window.viewport.config.streaming.moving_budget_s)

    def _show(self, seed: Seed, budget_s: float) -> None:
        """Show it, at first as coarse as it is to be rendered in `budget_s`."""
        self._waiting = None
        viewport = self._window.viewport
        viewport.stream.moving_budget_s = budget_s
        scene = viewport.scene
        if scene is None or not scene.has_latents or seed == viewport.stream.seed:
            return
        viewport.set_seed(seed)
        self._ask_root(seed)

    def _ask_root(self, seed: Seed) -> None:
        """The whole field with this latent, small."""
        viewport = self._window.viewport
        scene = viewport.scene
        if scene is None:
            return
        whole = root_view(scene.field_size, scene.level_range, scene.patch_size)
        if max(whole.size) > MAX_PICTURE_PX:
            return
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
    """The latents of one scene that were starred, in order; every change is written at once.

    A star is of a seed or a blend, whatever its truncation.
    """

    def __init__(self, file: Path | None) -> None:
        """Read `file` where it exists; None keeps everything in memory only.

        Raises:
            ValueError: The file is damaged; it is left as it is.
            OSError: The file cannot be read.
        """
        self.file = file
        self._seeds: list[Seed] = []
        if file is not None and file.exists():
            self._seeds = _read(file)

    def __len__(self) -> int:
        return len(self._seeds)

    def __iter__(self) -> Iterator[Seed]:
        return iter(self._seeds)

    def __contains__(self, seed: Seed) -> bool:
        return truncated(seed, 1.0) in self._seeds

    def set(self, seed: Seed, on: bool) -> None:
        """Star `seed`, or take its star away.

        Raises:
            ValueError: The file has been damaged since; it is left as it is.
            OSError: It cannot be written; then nothing has changed.
        """
        seed = truncated(seed, 1.0)
        if self.file is not None and self.file.exists():
            self._seeds = _read(self.file)  # another window may have changed it
        seeds = _sorted({*self._seeds, seed} if on else {*self._seeds} - {seed})
        if self.file is not None:
            version = FORMAT if any(isinstance(s, Latent) for s in seeds) else 1
            write_json(self.file, {"format": version, "seeds": [seed_to_json(s) for s in seeds]})
        self._seeds = seeds


def stars_file(folder: Path, scene: SceneInfo) -> Path:
    """Where the stars of `scene` are kept."""
    return bookmarks_file(folder, scene.kept_as, scene.kept_name)


def _sorted(seeds: Iterable[Seed]) -> list[Seed]:
    """Numbers first, then blends."""
    return sorted(seeds, key=lambda s: (1, s.parts) if isinstance(s, Latent) else (0, ((s, 1.0),)))


def _read(file: Path) -> list[Seed]:
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
        if int(table.get("format", FORMAT)) > FORMAT:
            raise ValueError(f"{file} is of a newer version of the app; update this one.")
        return _sorted({truncated(seed_from_json(value), 1.0) for value in table["seeds"]})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{file} holds no starred seeds ({error}); move it away.") from error
