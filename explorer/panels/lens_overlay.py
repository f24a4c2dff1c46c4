"""The real picture over the viewport, in a lens, beside a line or everywhere; or a difference.

It paints from the last frame of the truth, in its place in the field: while the view moves, the
frame moves with it, and where it does not reach, nothing is painted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from PySide6.QtCore import QEvent, QObject, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
)
from PySide6.QtWidgets import QWidget

from explorer.camera import View
from explorer.readout import Color
from explorer.truth_messages import TruthFrame
from explorer.viewport import Viewport
from model.scale import density

if TYPE_CHECKING:
    from explorer.messages import Pixels

Area = Literal["lens", "split", "whole"]
"""Where the real picture is shown: in a circle at the cursor, right of a line, everywhere."""
Content = Literal["real", "blink", "difference"]
"""What is shown there: the real picture, the two in turns, generated minus real."""
RADII_PX = (40, 600)
"""Smallest and largest radius of the lens, logical pixels."""
_HANDLE_PX = 17
_RING_PX = 4
_STEP = 0.02
_LABEL_PX = 80
"""No label reaches further beyond the lens."""


@dataclass(frozen=True)
class LensImages:
    """A frame of the truth as the painter takes it."""

    frame: TruthFrame
    truth: QImage
    difference: QImage | None


def lens_images(frame: TruthFrame) -> LensImages:
    """Make the images of a frame; takes some milliseconds, in any thread."""
    difference = None if frame.difference is None else _as_image(frame.difference)
    return LensImages(frame, _as_image(frame.pixels), difference)


class LensOverlay(QWidget):
    """As large as the viewport; takes no mouse events itself."""

    moved = Signal()
    """What it covers is another part of the viewport now."""

    def __init__(self, viewport: Viewport) -> None:
        super().__init__(viewport)
        self.viewport = viewport
        self.setAccessibleName(self.tr("Real picture"))
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.handle = SplitHandle(viewport)
        self.handle.moved.connect(self.set_split)
        self.area: Area = "lens"
        self.content: Content = "real"
        self.radius_px = 140
        """Logical pixels."""
        self.split = 0.5
        """Part of the width that stays generated."""
        self.shows_truth = True
        """Of the two pictures that take turns, whether this is the real one's."""
        self._centre: QPointF | None = None
        self._images: LensImages | None = None
        self._shown_view: View | None = None
        viewport.installEventFilter(self)
        self.setGeometry(viewport.rect())
        self.handle.lower()
        self.lower()
        self.hide()

    # What the panel calls.

    @property
    def frame(self) -> TruthFrame | None:
        """What is painted."""
        return None if self._images is None else self._images.frame

    def set_images(self, images: LensImages | None) -> None:
        """Paint these from now on; None paints nothing."""
        self._images = images
        self.update()

    def show_as(self, area: Area, content: Content, radius_px: int) -> None:
        """Show another thing, or elsewhere; the radius is that of the lens, logical pixels."""
        self.area, self.content = area, content
        self.radius_px = min(max(radius_px, RADII_PX[0]), RADII_PX[1])
        self._place_handle()
        self.update()
        self.moved.emit()

    def set_split(self, split: float) -> None:
        """Put the line there: part of the width."""
        self.split = min(max(split, 0.0), 1.0)
        self._place_handle()
        self.update()
        self.moved.emit()

    def set_turn(self, shows_truth: bool) -> None:
        """Of the two pictures that take turns, show the real one, or the generated one."""
        self.shows_truth = shows_truth
        self.update()

    @property
    def covered(self) -> QRectF:
        """What it lies over, logical pixels; of the lens, the square around the circle."""
        if self.area == "lens":
            edge = _RING_PX
            return self._lens_rect().adjusted(edge, edge, -edge, -edge)
        left = round(self.split * self.width()) if self.area == "split" else 0
        return QRectF(left, 0, self.width() - left, self.height())

    def color_at(self, x: float, y: float) -> Color | None:
        """The real picture's sRGB values (0 to 255) at the device pixel (`x`, `y`).

        None where something else is to be seen there: the generated picture, or a difference.
        """
        frame, ratio = self.frame, self.viewport.devicePixelRatioF()
        is_real = self.content == "real" or (self.content == "blink" and self.shows_truth)
        if frame is None or not is_real or not self.isVisible():
            return None
        at = QPointF((math.floor(x) + 0.5) / ratio, (math.floor(y) + 0.5) / ratio)
        target, _ = self._target(frame)
        if not (self._covers(at) and target.contains(at)):
            return None
        height, width = frame.pixels.shape[:2]
        column = int((at.x() - target.left()) / target.width() * width)
        row = int((at.y() - target.top()) / target.height() * height)
        r, g, b = (int(v) for v in frame.pixels[min(row, height - 1), min(column, width - 1), :3])
        return r, g, b

    def _covers(self, at: QPointF) -> bool:
        """Whether the lens, or the part right of the line, lies over a point; logical pixels."""
        if self.area != "lens":
            return self.covered.contains(at)
        away = at - self.covered.center()
        return math.hypot(away.x(), away.y()) <= self.radius_px

    def refresh(self) -> None:
        """Paint again where the view has moved."""
        view = self.viewport.view_state.view
        if self.isVisible() and view != self._shown_view:
            self._shown_view = view
            self.update()

    def setVisible(self, visible: bool) -> None:
        """Show or hide, and with it the line's handle."""
        super().setVisible(visible)
        self._place_handle()

    # Events.

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Follow the viewport's size and, with the lens, its cursor."""
        if event.type() == QEvent.Type.Resize:
            self.setGeometry(self.viewport.rect())
            self._place_handle()
        elif event.type() == QEvent.Type.MouseMove and isinstance(event, QMouseEvent):
            if self.isVisible() and self.area == "lens":
                before = self._lens_rect()
                self._centre = event.position()
                side = _LABEL_PX if self.content != "real" else 0
                both = before.united(self._lens_rect()).adjusted(-side, 0, side, side)
                self.update(both.toAlignedRect())
                self.moved.emit()
            else:
                self._centre = event.position()
        return super().eventFilter(watched, event)

    def paintEvent(self, event: QPaintEvent) -> None:
        """The part of the frame that is covered, and its edge."""
        if self._images is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        image = self._image()
        if image is not None:
            painter.save()
            self._clip(painter)
            target, sharp = self._target(self._images.frame)
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, not sharp)
            painter.drawImage(target, image)
            painter.restore()
        self._draw_edge(painter)

    def _image(self) -> QImage | None:
        """What is shown now, None where nothing is."""
        if self._images is None or (self.content == "blink" and not self.shows_truth):
            return None
        return self._images.difference if self.content == "difference" else self._images.truth

    def _target(self, frame: TruthFrame) -> tuple[QRectF, bool]:
        """Where the frame lies, logical pixels; and whether its pixels are the screen's."""
        state, ratio = self.viewport.view_state, self.viewport.devicePixelRatioF()
        view = state.view
        x, y = view.to_screen(*frame.view.origin_xy)
        scale = view.density / density(frame.view.level, state.patch_size)
        sharp = abs(scale - 1) < 1e-6
        if sharp:
            x, y, scale = round(x), round(y), 1.0
        width, height = (side * scale for side in frame.view.size)
        return QRectF(x / ratio, y / ratio, width / ratio, height / ratio), sharp

    def _clip(self, painter: QPainter) -> None:
        if self.area == "lens":
            path = QPainterPath()
            path.addEllipse(self.covered)
            painter.setClipPath(path)
        elif self.area == "split":
            painter.setClipRect(self.covered)

    def _draw_edge(self, painter: QPainter) -> None:
        dark, bright = QPen(QColor(0, 0, 0, 170), 4), QPen(QColor(255, 255, 255), 1.6)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        shown = self._words()
        if self.area == "lens":
            for pen in (dark, bright):
                painter.setPen(pen)
                painter.drawEllipse(self.covered)
            if self.content != "real":
                at = self.covered
                y = min(at.bottom() + 8, self.height() - 40)
                _draw_label(painter, shown, at.center().x(), y, middle=True)
        elif self.area == "split":
            x = round(self.split * self.width())
            for pen in (dark, bright):
                painter.setPen(pen)
                painter.drawLine(QPointF(x, 0), QPointF(x, self.height()))
            painter.setBrush(QColor(255, 255, 255))
            painter.setPen(dark)
            painter.drawEllipse(QPointF(x, self.height() / 2), 7, 7)
            _draw_label(painter, self.tr("generated"), x - 12, 14, before=True)
            _draw_label(painter, shown, x + 12, 14)
        else:
            _draw_label(painter, shown, self.width() / 2, 14, middle=True)

    def _words(self) -> str:
        """What is shown, for the label."""
        if self.content == "difference":
            return self.tr("generated minus real")
        is_real = self.content == "real" or self.shows_truth
        return self.tr("real") if is_real else self.tr("generated")

    def _lens_rect(self) -> QRectF:
        """The square around the lens, its ring included."""
        centre = self._centre if self._centre is not None else QPointF(self.rect().center())
        r = self.radius_px + _RING_PX
        return QRectF(centre.x() - r, centre.y() - r, 2 * r, 2 * r)

    def _place_handle(self) -> None:
        x = round(self.split * self.width())
        self.handle.setGeometry(x - _HANDLE_PX // 2, 0, _HANDLE_PX, self.height())
        self.handle.setVisible(self.isVisible() and self.area == "split")


class SplitHandle(QWidget):
    """What one takes hold of to move the line; paints nothing."""

    moved = Signal(float)
    """Part of the viewport's width."""

    def __init__(self, viewport: Viewport) -> None:
        super().__init__(viewport)
        self._viewport = viewport
        self.setAccessibleName(self.tr("Line between generated and real"))
        self.setToolTip(self.tr("Drag, or use the left and right arrows"))
        self.setCursor(Qt.CursorShape.SplitHCursor)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.hide()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Take hold."""
        event.accept()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Follow the pointer."""
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._move_to(self.mapToParent(event.position()).x())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Left and right move the line."""
        steps = {Qt.Key.Key_Left: -_STEP, Qt.Key.Key_Right: _STEP}
        key = Qt.Key(event.key())
        if key in steps:
            centre = self.geometry().center().x()
            self._move_to(centre + steps[key] * self._viewport.width())
        else:
            super().keyPressEvent(event)

    def _move_to(self, x: float) -> None:
        self.moved.emit(x / max(self._viewport.width(), 1))


def _draw_label(
    painter: QPainter, text: str, x: float, y: float, before: bool = False, middle: bool = False
) -> None:
    """White on a dark pill: (x, y) is where it begins, ends (`before`), or its `middle`."""
    metrics = painter.fontMetrics()
    width, height = metrics.horizontalAdvance(text) + 18, metrics.height() + 8
    left = x - width if before else x - width / 2 if middle else x
    pill = QRectF(left, y, width, height)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(0, 0, 0, 160))
    painter.drawRoundedRect(pill, height / 2, height / 2)
    painter.setPen(QColor(255, 255, 255))
    painter.drawText(pill, Qt.AlignmentFlag.AlignCenter, text)


def _as_image(pixels: Pixels) -> QImage:
    """uint8 [H, W, 4] RGBA as an image that the painter draws without converting."""
    height, width = pixels.shape[:2]
    made = QImage(pixels.data, width, height, 4 * width, QImage.Format.Format_RGBX8888)
    return made.convertToFormat(QImage.Format.Format_RGB32)
