"""Small pictures of the present place with many latents, rendered when nothing else is to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QImage, QPainter, QPixmap

from explorer.camera import camera_level
from explorer.messages import (
    MAX_PICTURE_PX,
    ExactView,
    Picture,
    PictureRequest,
    PicturesReady,
    SceneInfo,
)
from explorer.octave_views import view_at
from explorer.viewport import Viewport
from model.latent import Seed

if TYPE_CHECKING:
    from explorer.messages import Pixels

THUMBNAIL_PX = (84, 63)
"""Width and height of a picture, logical pixels."""
_OWNER = "latents"
_UPDATE_MS = 200
_MAX_KEPT = 256
_WHOLE = 0.97


class SeedPictures(QObject):
    """What is wanted, and what has come. A picture of another place stays until the next one."""

    changed = Signal()
    """Some pictures have come."""
    ticked = Signal()
    """A few times a second, while pictures are wanted."""

    def __init__(self, viewport: Viewport, parent: QObject) -> None:
        super().__init__(parent)
        self._viewport = viewport
        self._wanted: tuple[Seed, ...] = ()
        self._place: tuple[str, ExactView] | None = None
        self._pictures: dict[Seed, QPixmap] = {}
        self._here: set[Seed] = set()
        """Those of `_pictures` that show the present place."""
        self._asked: PictureRequest | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(_UPDATE_MS)
        self._timer.timeout.connect(self._tick)
        viewport.pictures_ready.connect(self._take)

    def start(self) -> None:
        """Somebody sees them from now on."""
        self._timer.start()
        self._ask()

    def stop(self) -> None:
        """Nobody sees them any more: they are not rendered."""
        self._timer.stop()
        if self._asked is not None:
            self._asked = None
            self._viewport.inference.ask_pictures(PictureRequest(_OWNER, ""))

    def forget(self) -> None:
        """Another scene: nothing of before is of use."""
        self._pictures.clear()
        self._here.clear()
        self._place = self._asked = None

    def want(self, seeds: Sequence[Seed]) -> None:
        """These are seen, in this order of worth."""
        self._wanted = tuple(dict.fromkeys(seeds))
        if self._timer.isActive():
            self._ask()

    def of(self, seed: Seed) -> QPixmap | None:
        """The newest picture of a latent; None before there is one."""
        return self._pictures.get(seed)

    @property
    def is_complete(self) -> bool:
        """There is a picture of the present place of all that is wanted."""
        return set(self._wanted) <= self._here

    def _tick(self) -> None:
        self.ticked.emit()
        self._ask()

    def _ask(self) -> None:
        """Ask for what is missing, at the place where the view rests, unless that was asked for."""
        viewport = self._viewport
        scene = viewport.scene
        if scene is None or not scene.has_latents or viewport.is_moving:
            return
        place = scene.identity, self._view(scene)
        if place != self._place:
            self._place, self._asked = place, None
            self._here.clear()
        missing = [seed for seed in self._wanted if seed not in self._here]
        asked = set() if self._asked is None else {p.seed for p in self._asked.pictures}
        if not set(missing) <= asked:
            pictures = tuple(Picture(place[1], seed) for seed in missing)
            self._asked = PictureRequest(_OWNER, scene.identity, pictures)
            viewport.inference.ask_pictures(self._asked)

    def _view(self, scene: SceneInfo) -> ExactView:
        """What the viewport shows, small, at a level that the scene has, within the field."""
        ratio = self._viewport.devicePixelRatioF()
        small = round(THUMBNAIL_PX[0] * ratio), round(THUMBNAIL_PX[1] * ratio)
        camera = self._viewport.view_state.target_view.camera
        wanted = camera_level(camera, small, scene.patch_size)
        low, high = scene.level_range
        level = min(max(wanted, low), high)
        grown = 2.0 ** (level - wanted)
        width, height = (min(max(1, math.ceil(s * grown)), MAX_PICTURE_PX) for s in small)
        # Beside the field there is no picture, and nobody knows what the generator makes there.
        return view_at((camera.cx, camera.cy), level, (width, height), scene)

    def _take(self, ready: PicturesReady) -> None:
        if ready.request is not self._asked:
            return
        for index, pixels in enumerate(ready.pixels, ready.first):
            seed = ready.request.pictures[index].seed
            self._pictures.pop(seed, None)
            self._pictures[seed] = _thumbnail(pixels, self._viewport.devicePixelRatioF())
            self._here.add(seed)
        while len(self._pictures) > _MAX_KEPT:
            oldest = next(iter(self._pictures))
            self._here.discard(oldest)
            del self._pictures[oldest]
        self.changed.emit()


def _thumbnail(pixels: Pixels, ratio: float) -> QPixmap:
    """The picture [H, W, 4] in the middle of a thumbnail, which it fills unless the field ends."""
    height, width = pixels.shape[:2]
    image = QImage(pixels.tobytes(), width, height, QImage.Format.Format_RGBA8888)
    size = QSize(*THUMBNAIL_PX) * ratio
    pixmap = QPixmap(size)
    pixmap.fill(Qt.GlobalColor.transparent)
    fitting = QSize(width, height).scaled(size, Qt.AspectRatioMode.KeepAspectRatio)
    if fitting.width() > _WHOLE * size.width() and fitting.height() > _WHOLE * size.height():
        fitting = size  # only rounding is missing
    smooth = Qt.TransformationMode.SmoothTransformation
    scaled = image.scaled(fitting, Qt.AspectRatioMode.IgnoreAspectRatio, smooth)
    painter = QPainter(pixmap)
    painter.drawImage(
        (size.width() - fitting.width()) // 2, (size.height() - fitting.height()) // 2, scaled
    )
    painter.end()
    pixmap.setDevicePixelRatio(ratio)
    return pixmap
