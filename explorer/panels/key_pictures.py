"""Small pictures of what cameras see, without rendering anything."""

from __future__ import annotations

import math

from PySide6.QtCore import Qt
from PySide6.QtGui import QImage, QPixmap

from explorer.camera import Camera, View
from explorer.panels.timeline import THUMBNAIL_PX
from explorer.viewport import Viewport
from model.latent import Seed

_THUMBNAIL_SCALE = 2


class KeyPictures:
    """The pictures of the keyframes: as they were on screen, else cut from the whole picture."""

    def __init__(self, viewport: Viewport) -> None:
        self._viewport = viewport
        self._pictures: dict[tuple[Camera, Seed | None], QPixmap] = {}
        self._root = QImage()

    def of(self, camera: Camera, seed: Seed | None = None) -> QPixmap:
        """The picture of what `camera` sees of a latent."""
        if (camera, seed) not in self._pictures:
            self._pictures[camera, seed] = self._cut(camera)
        return self._pictures[camera, seed]

    def keep(self, camera: Camera, seed: Seed | None = None) -> None:
        """The screen shows what `camera` sees of a latent: keep that."""
        image = self._viewport.grabFramebuffer()
        image.setDevicePixelRatio(1.0)
        self._pictures[camera, seed] = shrunk(image)

    def forget(self) -> None:
        """Another scene is shown from now on."""
        self._pictures.clear()
        self._root = QImage()

    def _cut(self, camera: Camera) -> QPixmap:
        """`camera`'s part of the small picture of the whole field, as coarse as that is."""
        root = self._viewport.root
        if root is None:
            return QPixmap()
        if self._root.isNull():
            height, width = root.shape[:2]
            whole = QImage(root.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888)
            self._root = whole.copy()
        left, top, right, bottom = View(camera, THUMBNAIL_PX).bounds()
        field_w, field_h = self._viewport.view_state.field_size
        scale_x, scale_y = self._root.width() / field_w, self._root.height() / field_h
        x, y = (left + field_w / 2) * scale_x, (top + field_h / 2) * scale_y
        width, height = (right - left) * scale_x, (bottom - top) * scale_y
        part = self._root.copy(
            math.floor(x), math.floor(y), max(1, round(width)), max(1, round(height))
        )
        return shrunk(part)


def shrunk(image: QImage) -> QPixmap:
    """The middle of `image` in the shape of a thumbnail, with pixels enough for dense screens."""
    width, height = (side * _THUMBNAIL_SCALE for side in THUMBNAIL_PX)
    small = image.scaled(
        width,
        height,
        Qt.AspectRatioMode.KeepAspectRatioByExpanding,
        Qt.TransformationMode.SmoothTransformation,
    )
    left, top = (small.width() - width) // 2, (small.height() - height) // 2
    return QPixmap.fromImage(small.copy(left, top, width, height))
