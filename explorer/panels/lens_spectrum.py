"""How much detail the two pictures have at each level: two curves, painted, in decibels."""

from __future__ import annotations

import math

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import QWidget

from explorer.truth_messages import OctaveFigures

_SIZE_PX = (240, 150)
_MARGINS_PX = (34, 32, 10, 20)
"""Left, top, right, bottom: for the labels."""
_STEPS_DB = (5, 10, 20, 40)
_MOST_LINES = 5
_SILENCE_DB = -90.0
"""Drawn for less: eight bits know nothing below."""


class LensSpectrum(QWidget):
    """Power of the fine detail of each level, generated and real."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(self.tr("Spectrum"))
        self.setMinimumHeight(_SIZE_PX[1])
        self._levels: tuple[float, ...] = ()
        self._curves: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())

    def sizeHint(self) -> QSize:
        """Logical pixels."""
        return QSize(*_SIZE_PX)

    def show_octaves(self, octaves: tuple[OctaveFigures, ...]) -> None:
        """Draw these, the coarsest first; a curve needs two of them."""
        self._levels = tuple(each.level for each in octaves)
        pairs = [[max(value, _SILENCE_DB) for value in each.power_db] for each in octaves]
        self._curves = tuple(p[0] for p in pairs), tuple(p[1] for p in pairs)
        self.setVisible(len(octaves) > 1)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Grid, labels, curves and what they are."""
        if len(self._levels) < 2:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        left, top, right, bottom = _MARGINS_PX
        area = QRectF(self.rect()).adjusted(left, top, -right, -bottom)
        low, high, step = _range(self._curves)
        first, last = self._levels[0], self._levels[-1]

        def at(level: float, decibels: float) -> QPointF:
            x = area.left() + (level - first) / (last - first) * area.width()
            return QPointF(x, area.bottom() - (decibels - low) / (high - low) * area.height())

        quiet = self.palette().color(QPalette.ColorRole.PlaceholderText)
        faint = QColor(quiet)
        faint.setAlpha(60)
        for line in range(round((high - low) / step) + 1):
            y = at(first, low + line * step).y()
            painter.setPen(QPen(faint, 1))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            painter.setPen(quiet)
            box = QRectF(0, y - 10, left - 6, 20)
            flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(box, flags, f"{low + line * step:g}")
        for level in self._levels:
            x = at(level, low).x()
            box = QRectF(x - 20, area.bottom() + 2, 40, bottom - 2)
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, f"{level:g}")
        pens = self._pens()
        for pen, curve in zip(pens, self._curves, strict=True):
            painter.setPen(pen)
            painter.drawPolyline([at(*point) for point in zip(self._levels, curve, strict=True)])
        self._draw_legend(painter, pens, quiet)

    def _pens(self) -> tuple[QPen, QPen]:
        """Of the generated and of the real picture."""
        palette = self.palette()
        real = QPen(palette.color(QPalette.ColorRole.Text), 1.6, Qt.PenStyle.DashLine)
        return QPen(palette.color(QPalette.ColorRole.Highlight), 2), real

    def _draw_legend(self, painter: QPainter, pens: tuple[QPen, QPen], color: QColor) -> None:
        """Above the curves: what is drawn how."""
        x, y = 0.0, 10.0
        metrics = painter.fontMetrics()
        texts = self.tr("generated"), self.tr("real")
        for pen, text in zip(pens, texts, strict=True):
            painter.setPen(pen)
            painter.drawLine(QPointF(x + 2, y), QPointF(x + 24, y))
            painter.setPen(color)
            width = metrics.horizontalAdvance(text)
            box = QRectF(x + 30, 0, width + 4, 2 * y)
            painter.drawText(box, Qt.AlignmentFlag.AlignVCenter, text)
            x += width + 48
        box = QRectF(x, 0, self.width() - x - _MARGINS_PX[2], 2 * y)
        flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(box, flags, self.tr("detail, dB"))


def _range(curves: tuple[tuple[float, ...], ...]) -> tuple[float, float, int]:
    """Lowest and highest of the axis and the distance of its lines, decibels."""
    low = min(min(curve) for curve in curves)
    high = max(max(curve) for curve in curves)
    step = next((s for s in _STEPS_DB if (high - low) / s < _MOST_LINES - 1), _STEPS_DB[-1])
    bottom, top = math.floor(low / step) * step, math.ceil(high / step) * step
    return bottom, max(top, bottom + step), step
