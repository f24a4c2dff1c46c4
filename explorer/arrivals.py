"""What comes into the window: dropped, handed over, or named on the command line.

A checkpoint, a picture or a run is opened; a still or a film goes where it was taken; a path is
flown; a data set is told to whoever trains.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from explorer.places import Places
from explorer.shipped import SAMPLE_PATCHES, SCENES, shipped
from explorer.view_links import StillView, ViewError, is_link, named_by, scene_name
from model.data.labels import DATASET_JSON, IMAGE_SUFFIXES, is_chunk, is_hidden, octave_of
from model.run_files import CONFIG, LOG, is_run

log = logging.getLogger(__name__)
_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")
_FILMS = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
_DATA_FILES = (DATASET_JSON, "labels.csv")
_BESIDE_CONFIG = (LOG, "samples", "places.csv", "frame.csv")
_MAX_LOOK = 200
_NAME_CHARS = 60


def is_data_folder(folder: Path) -> bool:
    """Whether the folder holds pictures to train from, rather than a run or a tile pyramid.

    As `model.data.patches.open_data` reads it, by a look at some of its names.
    """
    if any((folder / name).exists() for name in _DATA_FILES):
        return True
    if _is_training(folder) or any(folder.glob("*.safetensors")):
        return False
    tiles = folder.name.endswith("_files") and folder.with_name(f"{folder.name[:-6]}.dzi").exists()
    if tiles or (folder / "ImageProperties.xml").exists():
        return False
    found = [p for p in islice(folder.iterdir(), _MAX_LOOK) if not is_hidden(p.name)]
    suffixes = {p.suffix.lower() for p in found if p.is_file()}
    if suffixes & IMAGE_SUFFIXES:
        return True
    if ".dzi" in suffixes:
        return False
    folders = [p for p in found if p.is_dir()]
    return ".csv" in suffixes or any(_is_part(p) for p in folders)


def _is_training(folder: Path) -> bool:
    """Whether a training writes or wrote here; its places and its picture are no data set."""
    begun = (folder / CONFIG).exists() and any((folder / name).exists() for name in _BESIDE_CONFIG)
    return is_run(folder) or begun


def _is_part(folder: Path) -> bool:
    """Whether the folder may be a scene, an octave or a numbered part of a set."""
    if _is_training(folder):
        return False
    names = [p.name for p in islice(folder.iterdir(), _MAX_LOOK) if not is_hidden(p.name)]
    if octave_of(folder.name) is not None or is_chunk(folder.name):
        return bool(names)
    suffixes = {Path(name).suffix.lower() for name in names}
    return DATASET_JSON in names or bool(suffixes & (IMAGE_SUFFIXES | {".csv"}))


class Arrivals(QObject):
    """Decides what to do with each; looks into pictures and films beside the GUI thread."""

    open_asked = Signal(str)
    """Open this path as a scene."""
    data_dropped = Signal(str)
    """A folder or an archive of training pictures."""
    run_come = Signal(str)
    """The folder of a training run, which is opened as well."""
    notice = Signal(str)
    _looked = Signal(str, object)

    def __init__(self, places: Places, recent: Callable[[], list[str]]) -> None:
        super().__init__(places)
        self.places = places
        self._recent = recent
        self._threads: list[threading.Thread] = []
        self._looked.connect(self._on_looked)
        places.find_scene = self.find_scene
        places.open_scene = self.open_asked.emit

    def take(self, what: str) -> bool:
        """A path or a link has come; whether it brings the scene that is to be shown."""
        if is_link(what):
            self._go_text(what)
            return self.places.is_expecting
        try:
            return self._take_path(what)
        except OSError as error:  # too long for a name, not allowed, gone
            name = Path(what).name[:_NAME_CHARS]
            self.notice.emit(
                self.tr("{0} cannot be read: {1}").format(name, error.strerror or error)
            )
            return False

    def _take_path(self, what: str) -> bool:
        """What to do with a path depends on what is there.

        Returns:
            Whether a scene is opened. A film may lead to one, but is none.

        Raises:
            OSError: Nobody can tell.
        """
        path = Path(what)
        suffix = path.suffix.lower()
        if suffix == ".json" and path.is_file():
            self._take_json(path)
        elif suffix == ".zip" or (path.is_dir() and is_data_folder(path)):
            self.data_dropped.emit(what)
        elif suffix in _PICTURES + _FILMS and path.is_file():
            thread = threading.Thread(target=self._look, args=(path,), name="look", daemon=True)
            self._threads = [t for t in self._threads if t.is_alive()] + [thread]
            thread.start()
            return suffix in _PICTURES
        else:
            self.open_asked.emit(what)
            if is_run(path):
                self.run_come.emit(what)
            return True
        return False

    def take_samples(self) -> None:
        """The training pictures that ship have come."""
        self.take_shipped(SAMPLE_PATCHES)

    def take_shipped(self, file: Path) -> None:
        """A file that ships has come."""
        try:
            self.take(str(shipped(file)))
        except FileNotFoundError as error:
            self.notice.emit(str(error))

    def wait(self, timeout_s: float = 2.0) -> None:
        """Let what is being looked at end; before the window closes."""
        for thread in self._threads:
            thread.join(timeout_s)

    def find_scene(self, view: StillView) -> str | None:
        """The path of the scene that `view` was taken in: opened before, or shipped."""
        if not view.name:
            return None
        candidates = [*self._recent()]
        for scene in SCENES.values():
            with contextlib.suppress(FileNotFoundError):
                candidates.append(str(shipped(scene)))
        for path in candidates:
            name = scene_name(named_by(Path(path)))
            # Checkpoints of all runs have one name: that alone says nothing.
            by_file = not view.identity and view.name == scene_name(path)
            if (view.name == name or by_file) and Path(path).exists():
                return path
        return None

    def _take_json(self, path: Path) -> None:
        try:
            if path.name == "dataset.json":
                self.data_dropped.emit(str(path.parent))
                return
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            self.notice.emit(self.tr("{0} cannot be read: {1}").format(path.name, error))
            return
        self._go_text(text)

    def _go_text(self, text: str) -> None:
        try:
            self.places.go_text(text)
        except ViewError as error:
            self.notice.emit(self.tr("Nothing to go to: {0}").format(error))

    def _look(self, path: Path) -> None:
        """In a thread of its own: the view that a picture or a film carries."""
        from explorer.view_metadata import read_view

        try:
            view = read_view(path)
        except Exception as error:  # noqa: BLE001  # the thread's boundary: files are odd
            log.info("no view was read from %s: %s", path, error)
            view = None  # opening it will say why
        with contextlib.suppress(RuntimeError):  # the window has gone, and this with it
            self._looked.emit(str(path), view)

    def _on_looked(self, path: str, view: StillView | None) -> None:
        is_film = Path(path).suffix.lower() in _FILMS
        if view is not None and self.places.go(view):
            self.notice.emit(self.tr("Where {0} was taken.").format(Path(path).name))
        elif is_film and view is None:
            self.notice.emit(self.tr("{0} carries no view.").format(Path(path).name))
        elif is_film and view is not None:
            self.notice.emit(
                self.tr("{0} was taken in {1}, which is not at hand; open that first.").format(
                    Path(path).name, view.name
                )
            )
        else:
            if view is not None:
                self.notice.emit(
                    self.tr("Taken in {0}, which is not at hand: opened as a picture.").format(
                        view.name
                    )
                )
            self.open_asked.emit(path)
