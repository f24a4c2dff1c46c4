"""What lies over the picture: minimap and scale bar.

They change only when they are told to look (`refresh`), a few times a second: without a GPU, each
repaint of something over the picture costs Qt an upload of the whole window.
"""

from __future__ import annotations

import math
import time

from PySide6.QtCore import QEvent, QObject, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen, QPixmap
from PySide6.QtWidgets import QWidget

from explorer.camera import Camera, View
from explorer.messages import SceneInfo
from explorer.viewport import Viewport

_MARGIN_PX = 14
_MINIMAP_PX = 190.0
_MINIMAP_PART = 0.35
"""Of the window's shorter side, at most."""
_SMALLEST_MARK_PX = 7.0
_BAR_PX = 150.0


class Overlay(QWidget):
    """A widget in a corner of the viewport."""

    corner = Qt.Corner.BottomRightCorner

    def __init__(self, viewport: Viewport) -> None:
        super().__init__(viewport)
        self.viewport = viewport
        viewport.installEventFilter(self)
        self.hide()

    def refresh(self) -> None:
        """Look whether something changed; paint again if it did."""
        raise NotImplementedError

    def setVisible(self, visible: bool) -> None:
        """Show or hide; what is shown is up to date."""
        super().setVisible(visible)
        if visible:
            self.refresh()
            self.place()

    def redraw(self) -> None:
        """The pixels of the screen have another size."""
        self.update()

    def place(self) -> None:
        """Go to the corner."""
        parent = self.viewport
        left = self.corner == Qt.Corner.BottomLeftCorner
        x = _MARGIN_PX if left else parent.width() - self.width() - _MARGIN_PX
        self.move(x, parent.height() - self.height() - _MARGIN_PX)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Stay in the corner; on a screen of other pixels, be drawn again."""
        if event.type() == QEvent.Type.Resize:
            self.place()
        elif event.type() == QEvent.Type.DevicePixelRatioChange:
            self.redraw()
        return super().eventFilter(watched, event)


class Minimap(Overlay):
    """The whole picture, small, and the view in it; click or drag to go."""

    def __init__(self, viewport: Viewport) -> None:
        super().__init__(viewport)
        self.setAccessibleName(self.tr("Minimap"))
        self.setToolTip(self.tr("Click or drag to go there"))
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self._pixmap = QPixmap()
        self._shown: tuple[int, ...] = ()
        self._field = (1.0, 1.0)
        self._side = 0.0

    def set_scene(self, info: SceneInfo) -> None:
        """Show another scene."""
        self._field = info.field_size
        self._side = 0.0
        self.place()

    def place(self) -> None:
        """Go to the corner, with the size that suits the window."""
        parent = self.viewport
        side = min(_MINIMAP_PX, _MINIMAP_PART * min(parent.width(), parent.height()))
        if side != self._side:
            self._side = side
            width, height = self._field
            scale = side / max(width, height)
            self.setFixedSize(max(24, round(width * scale)) + 2, max(24, round(height * scale)) + 2)
            self._draw_map()
        super().place()

    def redraw(self) -> None:
        """The map in the pixels of this screen."""
        self._draw_map()

    def _draw_map(self) -> None:
        root = self.viewport.root
        if root is None:
            return
        rows, columns = root.shape[:2]
        image = QImage(
            root.tobytes(), columns, rows, 4 * columns, QImage.Format.Format_RGBA8888
        ).convertToFormat(QImage.Format.Format_RGB32)
        size = (self.size() - QSize(2, 2)) * self.devicePixelRatioF()
        self._pixmap = QPixmap.fromImage(
            image.scaled(
                size,
                Qt.AspectRatioMode.IgnoreAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            )
        )
        self.update()

    def mark(self) -> QRectF:
        """The view in the map, logical pixels; no smaller than one can see."""
        view, (width, height) = self.viewport.view_state.view, self.viewport.view_state.field_size
        left, top, right, bottom = view.bounds()
        sx, sy = (self.width() - 2) / width, (self.height() - 2) / height
        rect = QRectF(
            QPointF((left + width / 2) * sx + 1, (top + height / 2) * sy + 1),
            QPointF((right + width / 2) * sx + 1, (bottom + height / 2) * sy + 1),
        )
        grow_x = max(0.0, _SMALLEST_MARK_PX - rect.width()) / 2
        grow_y = max(0.0, _SMALLEST_MARK_PX - rect.height()) / 2
        return rect.adjusted(-grow_x, -grow_y, grow_x, grow_y)

    def refresh(self) -> None:
        """Paint again where the mark has moved by half a pixel."""
        rect = self.mark()
        shown = tuple(round(2 * v) for v in (rect.left(), rect.top(), rect.right(), rect.bottom()))
        if self.isVisible() and shown != self._shown:
            self._shown = shown
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """The map, and on it the mark."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), self.palette().mid())
        painter.drawPixmap(self.rect().adjusted(1, 1, -1, -1), self._pixmap)
        rect = self.mark().intersected(QRectF(self.rect()).adjusted(1, 1, -1, -1))
        painter.setPen(QPen(QColor(0, 0, 0, 170), 3))
        painter.drawRect(rect)
        painter.setPen(QPen(QColor(255, 255, 255), 1.2))
        painter.drawRect(rect)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Go to the point, or begin to drag."""
        if event.button() == Qt.MouseButton.LeftButton:
            self.viewport.leaving.emit()
            self._go(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Follow the pointer."""
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._go(event.position())

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Nothing more than a click."""
        self.mousePressEvent(event)

    def _go(self, at: QPointF) -> None:
        state = self.viewport.view_state
        width, height = state.field_size
        x = min(max((at.x() - 1) / (self.width() - 2), 0.0), 1.0) - 0.5
        y = min(max((at.y() - 1) / (self.height() - 2), 0.0), 1.0) - 0.5
        state.jump_to(Camera(x * width, y * height, state.displayed.log2_zoom))
        state.steered_at = time.perf_counter()
        self.viewport.wake()
        self.refresh()


class ScaleBar(Overlay):
    """A line of a round length: in millimetres where the scene's size is known."""

    corner = Qt.Corner.BottomLeftCorner

    def __init__(self, viewport: Viewport) -> None:
        super().__init__(viewport)
        self.setAccessibleName(self.tr("Scale bar"))
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.mm_per_unit: float | None = None
        """Millimetres of a field unit; None: not known."""
        self.text = ""
        self.length_px = 0.0
        """Logical pixels."""
        self.setFixedSize(round(_BAR_PX) + 20, 40)

    def refresh(self) -> None:
        """Choose the length again; paint where text or length changed."""
        view = self.viewport.view_state.view
        text, length_px = scale_bar(view, self.viewport.devicePixelRatioF(), self.mm_per_unit)
        if (text, round(length_px)) != (self.text, round(self.length_px)):
            self.text, self.length_px = text, length_px
            self.setAccessibleDescription(text)
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """White on a dark edge: readable over any picture."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(0, 0, 0, 130))
        wide = max(self.length_px, painter.fontMetrics().horizontalAdvance(self.text)) + 20
        painter.drawRoundedRect(QRectF(0, 0, wide, self.height()), 8, 8)
        painter.setPen(QPen(QColor(255, 255, 255), 2))
        right, base = 10 + self.length_px, self.height() - 10
        painter.drawLine(QPointF(10, base), QPointF(right, base))
        painter.drawLine(QPointF(10, base - 5), QPointF(10, base))
        painter.drawLine(QPointF(right, base - 5), QPointF(right, base))
        painter.drawText(QRectF(10, 4, wide - 20, 20), Qt.AlignmentFlag.AlignLeft, self.text)


def scale_bar(view: View, ratio: float, mm_per_unit: float | None) -> tuple[str, float]:
    """Text and length (logical pixels, 60 to 150) of a bar of 1, 2 or 5 times a power of ten.

    Args:
        view: What is shown.
        ratio: Device pixels per logical pixel.
        mm_per_unit: Millimetres of a field unit; None: the bar is in field units.
    """
    unit_px = view.density / ratio / (mm_per_unit or 1.0)
    longest = _BAR_PX / unit_px
    power = 10.0 ** math.floor(math.log10(longest))
    length = max(step * power for step in (1, 2, 5) if step * power <= longest)
    if mm_per_unit is None:
        return f"{length:g}", length * unit_px
    return _metric(length), length * unit_px


def _metric(millimetres: float) -> str:
    for factor, name in ((1e6, "km"), (1e3, "m"), (10.0, "cm"), (1.0, "mm"), (1e-3, "µm")):
        if millimetres >= factor * 0.999:
            return f"{round(millimetres / factor, 3):g} {name}"
    return f"{millimetres * 1e6:g} nm"
