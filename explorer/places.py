"""Going places: history, bookmarks, and views on the clipboard, for one viewport. GUI thread."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QMimeData, QObject, Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication, QImage

from explorer.actions import key_text
from explorer.bookmarks import Bookmark, Bookmarks, bookmark_from_json, bookmarks_file
from explorer.camera import Camera, fit_camera
from explorer.camera_path import CameraPath, CameraPathError, parse_path
from explorer.history import ViewHistory, Visit
from explorer.messages import SceneInfo
from explorer.view_links import (
    StillView,
    ViewError,
    format_link,
    is_link,
    parse_link,
    scene_name,
    view_from_json,
)
from explorer.view_metadata import VIEW_KEY, view_text
from explorer.viewport import Viewport
from model.latent import Seed, parse_seed

_REST_MS = 500
_THUMBNAIL_PX = (224, 168)
_MAX_TEXT = 1 << 20
_OPTIONS = re.compile(
    r"--center\s+(?P<x>\S+)\s+(?P<y>\S+).*?--level\s+(?P<level>\S+)"
    r"|--level\s+(?P<level2>\S+).*?--center\s+(?P<x2>\S+)\s+(?P<y2>\S+)",
    re.DOTALL,
)
_SEED = re.compile(r"--seed[\s=]+['\"]?([\w@~.-]+)")

Place = StillView | CameraPath
"""Where text can lead: a view, or a flight."""


def read_place(text: str) -> Place:
    """What `text` means: a link, options of `render`, a view, a bookmark or a path as JSON.

    Raises:
        ViewError: None of these; one line says what would be.
    """
    text = text[:_MAX_TEXT].strip()
    if is_link(text):
        return parse_link(text)
    found = _OPTIONS.search(text)
    if found is not None:
        return _from_options(found)
    if text.startswith("{"):
        return _from_json(text)
    raise ViewError(
        "there is no view in this text; a view looks like scalespace:starry-night?x=0.1&y=-0.2"
        "&level=5, or --center 0.1 -0.2 --level 5."
    )


def _from_options(found: re.Match[str]) -> StillView:
    values = [found[name] or found[f"{name}2"] for name in ("x", "y", "level")]
    try:
        x, y, level = (float(value.strip("\"',")) for value in values)
    except ValueError as error:
        raise ViewError(f"a view must have numbers, got {' '.join(values)}.") from error
    seed = _SEED.search(found.string)
    try:
        return StillView((x, y), level, seed=parse_seed(seed[1].rstrip(".-")) if seed else 0)
    except ValueError as error:
        raise ViewError(str(error)) from error


def _from_json(text: str) -> Place:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ViewError(f"this is no JSON ({error}).") from error
    if isinstance(fields, dict) and "keyframes" in fields:
        try:
            return parse_path(text)
        except CameraPathError as error:
            raise ViewError(str(error)) from error
    if isinstance(fields, dict) and "view" in fields:
        return bookmark_from_json(fields).view
    return view_from_json(fields)


class Places(QObject):
    """Where the viewport has been, and what is kept of it."""

    notice = Signal(str)
    """One line for the person."""
    bookmarks_changed = Signal()
    history_changed = Signal()
    seed_asked = Signal(object)
    """A view of another latent (`model.latent.Seed`) of the open scene was gone to."""
    seed_dragged = Signal(object)
    """A hand changes the latent: the newest one counts, those between may be left out."""

    def __init__(self, viewport: Viewport, folder: Path | None) -> None:
        """`folder` keeps the bookmarks; None keeps them in memory."""
        super().__init__(viewport)
        self.viewport = viewport
        self.folder = folder
        self.history = ViewHistory()
        self.bookmarks = Bookmarks(None)
        self.find_scene: Callable[[StillView], str | None] = lambda _view: None
        """The path of the scene that a view is of, None where it is not at hand."""
        self.open_scene: Callable[[str], object] = lambda _path: None
        self._pending: tuple[StillView, str] | None = None
        """Where to go once a scene is open, and the path of that scene."""
        self._heading: Camera | None = None
        self._is_travelling = False
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST_MS)
        self._rest.timeout.connect(self._rested)
        viewport.frame_painted.connect(self._painted)
        viewport.leaving.connect(self._leaving)
        viewport.scene_changed.connect(self._on_changed)
        viewport.scene_opened.connect(self._on_opened)
        viewport.back_asked.connect(self.back)
        viewport.forward_asked.connect(self.forward)

    # History.

    def _painted(self) -> None:
        if self.viewport.is_moving:
            self._rest.start()

    def _rested(self) -> None:
        """The view has not moved for half a second."""
        if self.viewport.scene is not None and not self.viewport.is_moving:
            self.note_here()

    def note_here(self) -> None:
        """The present view counts: it rests, or one is about to leave it."""
        if self.viewport.scene is not None:
            self.history.visit(self._visit(self.viewport.view_state.displayed))
            self.history_changed.emit()

    def back(self) -> None:
        """Fly to the view before."""
        self._travel(self.history.back)

    def forward(self) -> None:
        """Fly to the view that was gone back from."""
        self._travel(self.history.forward)

    def _visit(self, camera: Camera) -> Visit:
        return Visit(camera, self.viewport.stream.seed)

    def _travel(self, step: Callable[[Visit], Visit | None]) -> None:
        if self.viewport.scene is None:
            return
        # While one flies to a place one is there already, as far as history goes.
        state = self.viewport.view_state
        here = self._heading if state.is_flying and self._heading else state.displayed
        there = step(self._visit(here))
        if there is not None:
            self._is_travelling = True
            self.viewport.fly_to(there.camera)
            self._is_travelling = False
            self._heading = there.camera
            self._show_latent(there.seed)
        self.history_changed.emit()

    def _leaving(self) -> None:
        """A flight begins: the view that it leaves counts."""
        if not self._is_travelling:
            self._heading = None
            if not self.viewport.view_state.is_flying:
                self.note_here()

    def fly_to(self, camera: Camera) -> None:
        """Fly to `camera`; the present view counts."""
        self.viewport.fly_to(camera)
        self._heading = camera

    def fly_home(self) -> None:
        """Fly back to the whole picture."""
        state = self.viewport.view_state
        self.fly_to(fit_camera(state.field_size, state.size))

    # Views.

    def here(self) -> StillView:
        """The target view, with the scene and the latent that it is of."""
        view = self.viewport.view_state.target_view
        scene = self.viewport.scene
        return StillView(
            center_xy=(view.camera.cx, view.camera.cy),
            level=view.level(self.viewport.view_state.patch_size),
            size=view.size,
            seed=self.viewport.stream.seed,
            name="" if scene is None else scene.kept_name,
            identity="" if scene is None else scene.identity,
        )

    def is_here(self, view: StillView) -> bool:
        """Whether `view` is of the scene that is open, as far as it says."""
        scene = self.viewport.scene
        if scene is None:
            return False
        if view.identity and view.identity == scene.identity:
            return True
        if not view.name:
            return not view.identity
        # A checkpoint of a run is called what those of all runs are: that alone says nothing.
        by_file = not view.identity and view.name == scene_name(scene.path)
        return view.name == scene.kept_name or by_file

    def go(self, view: StillView) -> bool:
        """Fly to `view`, opening its scene first if need be; False where that is not at hand."""
        self._pending = None
        if self.is_here(view):
            self._go_here(view)
            return True
        path = self.find_scene(view)
        if path is None:
            return False
        self._pending = view, path
        self.open_scene(path)
        return True

    def _go_here(self, view: StillView) -> None:
        state = self.viewport.view_state
        self.fly_to(view.camera(state.patch_size, state.size))
        self._show_latent(view.seed)  # once the view that is left has been noted with its own

    def _show_latent(self, seed: Seed) -> None:
        if seed != self.viewport.stream.seed:
            self.seed_asked.emit(seed)

    @property
    def is_expecting(self) -> bool:
        """A scene is being opened, for a view of it."""
        return self._pending is not None

    def forget_pending(self) -> None:
        """Something went wrong: a scene that is not being opened any more will not be gone to."""
        if self._pending is not None and self.viewport.inference.asked != self._pending[1]:
            self._pending = None

    def _on_changed(self, info: SceneInfo) -> None:
        """Another scene: its bookmarks, and no view that was seen of it."""
        self.history.clear()
        self._heading = None
        try:
            file = None
            if self.folder is not None:
                file = bookmarks_file(self.folder, info.kept_as, info.kept_name)
            self.bookmarks = Bookmarks(file)
        except (OSError, ViewError) as error:
            self.bookmarks = Bookmarks(None)
            self.notice.emit(self.tr("Bookmarks are not kept: {0}").format(error))
        self.bookmarks_changed.emit()

    def _on_opened(self, info: SceneInfo) -> None:
        pending = self._pending
        if info.path == self.viewport.inference.asked:  # else what was asked for is still to come
            self._pending = None
        if pending is not None and self.is_here(pending[0]):
            self._pending = None
            view, state = pending[0], self.viewport.view_state
            state.jump_to(view.camera(state.patch_size, state.size))
            self._show_latent(view.seed)
            self.viewport.wake()
        elif pending is not None and self._pending is None:
            self.notice.emit(self.tr("That view is of another scene of this name: it is not here."))
        if not self.viewport.is_moving:  # newer weights of a run come amid a flight too
            self.note_here()

    # Bookmarks.

    def add_bookmark(self, name: str = "") -> None:
        """Keep the present view."""
        if self.viewport.scene is None:
            return
        view = self.here()
        name = name or self.tr("Place {0}").format(len(self.bookmarks) + 1)
        try:
            self.bookmarks.add(Bookmark(name, view, self._thumbnail()))
        except (OSError, ViewError) as error:
            self.notice.emit(self.tr("The bookmark was not kept: {0}").format(error))
            return
        self.bookmarks_changed.emit()
        self.notice.emit(self.tr("Kept as “{0}”.").format(name))

    def go_bookmark(self, index: int) -> None:
        """Fly to the bookmark of this number."""
        # They are of the open scene, whatever its weights were then.
        self._go_here(self.bookmarks[index].view)

    def _thumbnail(self) -> bytes:
        image = self.viewport.grabFramebuffer().convertToFormat(QImage.Format.Format_RGB32)
        image.setDevicePixelRatio(1.0)
        small = image.scaled(
            *_THUMBNAIL_PX,
            Qt.AspectRatioMode.KeepAspectRatioByExpanding,
            Qt.TransformationMode.SmoothTransformation,
        )
        left = (small.width() - _THUMBNAIL_PX[0]) // 2
        top = (small.height() - _THUMBNAIL_PX[1]) // 2
        return _png(small.copy(left, top, *_THUMBNAIL_PX))

    # The clipboard.

    def copy_link(self) -> None:
        """Put a link to the present view on the clipboard."""
        QGuiApplication.clipboard().setText(format_link(self.here()))
        self.notice.emit(self.tr("Link copied; {0} goes there.").format(key_text("Ctrl+Shift+V")))

    def copy_options(self) -> None:
        """Put the view on the clipboard as options of `render`."""
        view = self.here()
        x, y = view.center_xy
        text = f"--center {x:.9f} {y:.9f} --level {view.level:.6f}"
        if view.size is not None:
            text += f" --size {view.size[0]} {view.size[1]}"
        if view.seed:
            text += f" --seed {view.seed}"
        QGuiApplication.clipboard().setText(text)
        self.notice.emit(self.tr("View copied, as `scalespace-explorer render` takes it."))

    def copy_picture(self) -> None:
        """Put what is shown on the clipboard; as a PNG it carries its view."""
        view = self.here()
        image = self.viewport.grabFramebuffer().convertToFormat(QImage.Format.Format_RGB32)
        image.setDevicePixelRatio(1.0)
        image.setText(VIEW_KEY, view_text(view))
        data = QMimeData()
        data.setImageData(image)
        data.setData("image/png", QByteArray(_png(image)))
        data.setText(format_link(view))
        QGuiApplication.clipboard().setMimeData(data)
        self.notice.emit(self.tr("Picture copied, with its view."))

    def paste(self) -> None:
        """Go to the view on the clipboard."""
        data = QGuiApplication.clipboard().mimeData()
        try:
            self.go_text(_clipboard_text(data))
        except ViewError as error:
            self.notice.emit(self.tr("Nothing to go to: {0}").format(error))

    def go_text(self, text: str) -> None:
        """Go to what `text` means; see `read_place`.

        Raises:
            ViewError: It means nothing, or the scene is not at hand.
        """
        place = read_place(text)
        if isinstance(place, CameraPath):
            self.viewport.play_path(place)
        elif not self.go(place):
            raise ViewError(
                self.tr("{0} is not at hand; open it, then go there again.").format(place.name)
            )


def _clipboard_text(data: QMimeData) -> str:
    """The text on the clipboard, else that inside a picture on it."""
    if data.hasText() and data.text().strip():
        return data.text()
    png = bytes(data.data("image/png").data())
    return QImage.fromData(png).text(VIEW_KEY) if png else ""


def _png(image: QImage) -> bytes:
    """The image as a PNG, with its texts."""
    array = QByteArray()
    buffer = QBuffer(array)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG")  # type: ignore[call-overload]
    buffer.close()
    return bytes(array.data())
