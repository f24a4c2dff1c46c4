"""The pictures of the scale x-ray: a square for each octave, and a map with its bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QImage,
    QLinearGradient,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import QAbstractButton, QWidget

from explorer.truth_messages import OctaveMap

if TYPE_CHECKING:
    from explorer.messages import Pixels

SQUARE_PX = 100
"""Side of a square, logical pixels."""
_GAP_PX = 6
_BAR_PX = 12


class Square(QAbstractButton):
    """One place at one level, and in it a frame around what the next square shows."""

    def __init__(self, level: float, parent: QWidget) -> None:
        super().__init__(parent)
        self.level = level
        self.image: QImage | None = None
        self.is_here = False
        """Its level is the view's, to half an octave."""
        self._frame: QRectF | None = None
        name = self.tr("Level {0}").format(f"{level:g}")
        self.setAccessibleName(name)
        self.setToolTip(self.tr("{0}: click to fly there").format(name))
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFixedSize(SQUARE_PX, SQUARE_PX)

    def show_pixels(self, pixels: Pixels, ratio: float, frame: QRectF | None) -> None:
        """Show a picture.

        Args:
            pixels: uint8 [H, W, 4], RGBA.
            ratio: So many of them are one logical pixel.
            frame: What the next square shows, in these pixels; None where there is no next one.
        """
        height, width = pixels.shape[:2]
        image = QImage(pixels.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBX8888)
        self.image = image.convertToFormat(QImage.Format.Format_RGB32)
        self.image.setDevicePixelRatio(ratio)
        self._frame = None
        if frame is not None:
            left, top = frame.x() / ratio, frame.y() / ratio
            self._frame = QRectF(left, top, frame.width() / ratio, frame.height() / ratio)
        self.update()

    def set_here(self, is_here: bool) -> None:
        """Mark it as the view's level, or not."""
        if is_here != self.is_here:
            self.is_here = is_here
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """The picture, its level, and the frame of the next octave."""
        painter = QPainter(self)
        palette = self.palette()
        painter.fillRect(self.rect(), palette.color(QPalette.ColorRole.AlternateBase))
        if self.image is not None:
            size = self.image.deviceIndependentSize()
            x, y = round((SQUARE_PX - size.width()) / 2), round((SQUARE_PX - size.height()) / 2)
            painter.drawImage(QPointF(x, y), self.image)
            if self._frame is not None:
                frame = self._frame.translated(x, y).adjusted(0, 0, -1, -1)
                for pen in (QPen(QColor(0, 0, 0, 120), 3), QPen(QColor(255, 255, 255, 190), 1)):
                    painter.setPen(pen)
                    painter.drawRect(frame)
        self._draw_level(painter)
        if self.is_here or self.underMouse() or self.hasFocus():
            painter.setPen(QPen(palette.color(QPalette.ColorRole.Highlight), 2))
            painter.drawRect(QRectF(self.rect()).adjusted(1, 1, -1, -1))

    def _draw_level(self, painter: QPainter) -> None:
        text = f"{self.level:g}"
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        metrics = painter.fontMetrics()
        pill = QRectF(5, 5, metrics.horizontalAdvance(text) + 14, metrics.height() + 2)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(0, 0, 0, 160))
        painter.drawRoundedRect(pill, pill.height() / 2, pill.height() / 2)
        painter.setPen(QColor(255, 255, 255))
        painter.drawText(pill, Qt.AlignmentFlag.AlignCenter, text)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)


class SquareGrid(QWidget):
    """The squares in as many columns as there is room for, the coarsest first."""

    chosen = Signal(float)
    """The level of a square that was clicked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(self.tr("One place at every octave"))
        self.squares: list[Square] = []
        self.setMinimumWidth(3 * SQUARE_PX + 2 * _GAP_PX)

    def set_levels(self, levels: tuple[float, ...]) -> None:
        """Have one square for each, empty at first."""
        if tuple(square.level for square in self.squares) == levels:
            return
        for square in self.squares:
            square.setParent(None)
            square.deleteLater()
        self.squares = [Square(level, self) for level in levels]
        for square in self.squares:
            square.clicked.connect(lambda _on=False, q=square: self.chosen.emit(q.level))
            square.show()
        self._place()

    def mark(self, level: float) -> None:
        """Mark the square next to the view's level."""
        for square in self.squares:
            square.set_here(abs(square.level - level) <= 0.5)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Use the room."""
        super().resizeEvent(event)
        self._place()

    def _place(self) -> None:
        step = SQUARE_PX + _GAP_PX
        columns = max(1, (self.width() + _GAP_PX) // step)
        for number, square in enumerate(self.squares):
            square.move(number % columns * step, number // columns * step)
        rows = -(-len(self.squares) // columns)
        self.setMinimumHeight(max(0, rows * step - _GAP_PX))


class OctaveMapView(QWidget):
    """The map over the view, and a bar that says what its greys mean."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(self.tr("Where octaves disagree"))
        self.map: OctaveMap | None = None
        self._image = QImage()
        self.setMinimumHeight(40)

    def show_map(self, found: OctaveMap | None) -> None:
        """Show this one; None shows none."""
        self.map = found
        self._image = QImage()
        if found is not None:
            height, width = found.pixels.shape
            grey = QImage.Format.Format_Grayscale8
            self._image = QImage(found.pixels.tobytes(), width, height, width, grey).copy()
        self.setVisible(found is not None)
        self.setFixedHeight(self.sizeHint().height())
        self.update()

    def sizeHint(self) -> QSize:
        """As wide as there is room, as high as the map needs, the bar below it."""
        if self._image.isNull():
            return QSize(0, 0)
        width = max(self.width(), 1)
        height = round(width * self._image.height() / self._image.width())
        return QSize(width, min(height, 2 * width) + self._foot())

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the map's proportions."""
        super().resizeEvent(event)
        if not self._image.isNull():
            self.setFixedHeight(self.sizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        """The map, the bar, and what its ends mean."""
        if self.map is None:
            return
        painter = QPainter(self)
        foot = self._foot()
        room = QRectF(0, 0, self.width(), self.height() - foot)
        scale = min(room.width() / self._image.width(), room.height() / self._image.height())
        wide, high = self._image.width() * scale, self._image.height() * scale
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(QRectF((room.width() - wide) / 2, 0, wide, high), self._image)
        bar = QRectF(0.5, room.height() + 6.5, self.width() - 1, _BAR_PX)
        ramp = QLinearGradient(bar.topLeft(), bar.topRight())
        ramp.setColorAt(0, QColor(0, 0, 0))
        ramp.setColorAt(1, QColor(255, 255, 255))
        painter.fillRect(bar, ramp)
        painter.setPen(self.palette().color(QPalette.ColorRole.Mid))
        painter.drawRect(bar)
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        text = QRectF(0, bar.bottom() + 2, self.width(), painter.fontMetrics().height() + 2)
        painter.drawText(text, Qt.AlignmentFlag.AlignLeft, "0")
        peak = self.tr("{0} of 255").format(f"{self.map.peak:.1f}")
        painter.drawText(text, Qt.AlignmentFlag.AlignRight, peak)

    def _foot(self) -> int:
        return 6 + _BAR_PX + 4 + self.fontMetrics().height() + 4
