"""Curves in a frame. Imports pyqtgraph, which takes a while: see `training_plots.preload`."""

from __future__ import annotations

import math
from html import escape

import pyqtgraph as pg
from PySide6.QtCore import QEvent
from PySide6.QtWidgets import QGraphicsView

_ON_DARK = ("#d8b25a", "#6aa9dc", "#e08a6a", "#82c596", "#b794e0", "#d98cb3", "#9aa0a6")
_ON_LIGHT = ("#7d5a0c", "#1d5f9c", "#a33f1d", "#2b7442", "#68409c", "#94306a", "#5c6166")
_LEAST = 1e-6
_LEFT_PX = 44
_DOT_PX = 5
_MARGIN = 0.05
"""Room around the curves, share of their range."""


class LogAxis(pg.AxisItem):
    """Labels at 1, 2 and 5 of every decade, and at decades alone where there are many."""

    def logTickValues(
        self, low: float, high: float, size: float, usual: object
    ) -> list[tuple[None, list[float]]]:
        """Where to label, as decimal logarithms; overrides pyqtgraph's, which lets labels meet."""
        decades = math.ceil(high) - math.floor(low)
        step = max(1, math.ceil(decades / 4))
        parts = (1, 2, 5) if high - low <= 2 else (1,)
        values = [
            decade + math.log10(part)
            for decade in range(math.floor(low), math.ceil(high) + 1, step)
            for part in parts
        ]
        return [(None, [value for value in values if low <= value <= high])]


class Plot(pg.PlotWidget):
    """A few curves over the thousands of windows seen."""

    def __init__(self, title: str, log: bool, height_px: int) -> None:
        super().__init__(axisItems={"left": LogAxis("left")} if log else {})
        self._log = log
        self._curves: dict[str, pg.PlotDataItem] = {}
        item = self.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        item.setTitle(title, size="9pt", justify="left")
        item.setLogMode(y=log)
        item.showGrid(x=False, y=True, alpha=0.15)
        bottom = item.getAxis("bottom")
        bottom.enableAutoSIPrefix(False)
        bottom.setLabel(self.tr("thousands of windows"), **{"font-size": "8pt"})
        item.getAxis("left").setWidth(_LEFT_PX)
        self._title = title
        # Nothing is painted but by `settle`, and then everything.
        self.setViewportUpdateMode(QGraphicsView.ViewportUpdateMode.NoViewportUpdate)
        self.setMouseEnabled(x=False, y=False)
        self.setFixedHeight(height_px)
        self.setAccessibleName(title)
        self._dress()

    def draw(self, name: str, x: list[float], y: list[float]) -> None:
        """Let the curve of this name have these points."""
        if name not in self._curves:
            self._curves[name] = self.plot(connect="all", symbolSize=_DOT_PX, symbolPen=None)
            self._dress()
        curve = self._curves[name]
        curve.setData(x, [max(v, _LEAST) for v in y] if self._log else y)
        is_dot = len(x) == 1 and math.isfinite(y[0])  # one point makes no line
        curve.setSymbol("o" if is_dot else None)

    def settle(self) -> None:
        """Fit the axes to the curves and paint; left to pyqtgraph, that takes three paintings.

        Without a GPU each of them composes the whole window anew.
        """
        curves = self._curves.values()
        ranges = []
        for axis in (0, 1):
            bounds = [curve.dataBounds(axis) for curve in curves]
            known = [b for both in bounds for b in both if b is not None and math.isfinite(b)]
            ranges.append((min(known, default=0.0), max(known, default=1.0)))
        self.setRange(xRange=ranges[0], yRange=ranges[1], padding=_MARGIN)
        self.viewport().update()

    def clear_all(self) -> None:
        """No curves any more."""
        self.clear()
        self._curves.clear()
        self._dress()

    def changeEvent(self, event: QEvent) -> None:
        """Wear the theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "_curves"):
            self._dress()

    def _dress(self) -> None:
        palette = self.palette()
        text, ground = palette.windowText().color(), palette.window().color()
        colors = _ON_DARK if ground.lightness() < 128 else _ON_LIGHT
        self.setBackground(ground)
        item = self.getPlotItem()
        quiet = palette.placeholderText().color()
        for side in ("left", "bottom"):
            item.getAxis(side).setPen(quiet)
            item.getAxis(side).setTextPen(quiet)
        # The names stand in the title, in their colours: a legend would lie over the curves.
        title = escape(self._title)
        for index, (name, curve) in enumerate(self._curves.items()):
            color = colors[index % len(colors)]
            curve.setPen(pg.mkPen(color, width=1.5))
            curve.setSymbolBrush(color)
            title += f'&nbsp; <span style="color: {color}">{escape(name.replace("_", " "))}</span>'
        item.titleLabel.setText(title, color=text)
        self.viewport().update()
