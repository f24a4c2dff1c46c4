"""Live curves of a run, and its strip of samples. Imports pyqtgraph: only an open panel does."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from pathlib import Path

import pyqtgraph as pg
from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QPixmap
from PySide6.QtWidgets import QLabel, QScrollArea, QVBoxLayout, QWidget

from explorer.training_messages import TrainingTick

MAX_POINTS = 600
"""Points of a curve; beyond, every second one goes."""
_PLOT_PX, _STRIP_PX = 130, 176
_ON_DARK = ("#d8b25a", "#6aa9dc", "#e08a6a", "#82c596", "#b794e0", "#d98cb3", "#9aa0a6")
_ON_LIGHT = ("#7d5a0c", "#1d5f9c", "#a33f1d", "#2b7442", "#68409c", "#94306a", "#5c6166")
_LEAST = 1e-6


class Series:
    """One curve: x and y, never more than `MAX_POINTS`."""

    def __init__(self) -> None:
        self.x: list[float] = []
        self.y: list[float] = []

    def add(self, x: float, y: float) -> None:
        """One more point; when there are too many, every second one goes."""
        self.x.append(x)
        self.y.append(y)
        if len(self.x) > MAX_POINTS:
            del self.x[1:-1:2], self.y[1:-1:2]


class LogAxis(pg.AxisItem):
    """Labels at 1, 2 and 5 of every decade, and at decades alone where there are many."""

    def logTickValues(
        self, low: float, high: float, size: float, usual: object
    ) -> list[tuple[None, list[float]]]:
        """Where to label, as decimal logarithms; overrides pyqtgraph's, which lets labels meet."""
        decades = math.ceil(high) - math.floor(low)
        step = max(1, math.ceil(decades / 4))
        parts = (1, 2, 5) if decades <= 2 else (1,)
        values = [
            decade + math.log10(part)
            for decade in range(math.floor(low), math.ceil(high) + 1, step)
            for part in parts
        ]
        return [(None, [value for value in values if low <= value <= high])]


class Plot(pg.PlotWidget):
    """A few curves over the thousands of windows seen."""

    def __init__(self, title: str, log: bool = False) -> None:
        super().__init__(axisItems={"left": LogAxis("left")} if log else {})
        self._log = log
        self._series: dict[str, Series] = {}
        self._curves: dict[str, pg.PlotDataItem] = {}
        item = self.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        item.setTitle(title, size="9pt", justify="left")
        item.setLogMode(y=log)
        item.showGrid(x=False, y=True, alpha=0.15)
        self._title = title
        self.setMouseEnabled(x=False, y=False)
        self.setFixedHeight(_PLOT_PX)
        self.setAccessibleName(title)
        self.setToolTip(self.tr("Over the thousands of windows seen"))
        self._dress()

    def add(self, x: float, values: dict[str, float]) -> None:
        """One more point of every named curve."""
        for name, value in values.items():
            if name not in self._series:
                self._series[name] = Series()
                self._curves[name] = self.plot(connect="all")
                self._dress()
            series = self._series[name]
            series.add(x, max(value, _LEAST) if self._log else value)
            self._curves[name].setData(series.x, series.y)

    def points(self, name: str) -> int:
        """Points of a curve."""
        return len(self._series[name].x) if name in self._series else 0

    def clear_all(self) -> None:
        """Another run begins."""
        self.clear()
        self._series.clear()
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
        for side in ("left", "bottom"):
            item.getAxis(side).setPen(palette.placeholderText().color())
            item.getAxis(side).setTextPen(palette.placeholderText().color())
        # The names stand in the title, in their colours: a legend would lie over the curves.
        title = escape(self._title)
        for index, (name, curve) in enumerate(self._curves.items()):
            color = colors[index % len(colors)]
            curve.setPen(pg.mkPen(color, width=1.5))
            title += f'&nbsp; <span style="color: {color}">{escape(name.replace("_", " "))}</span>'
        item.titleLabel.setText(title, color=text)


class TrainingPlots(QWidget):
    """Losses, logits and speed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.losses = Plot(self.tr("Losses"), log=True)
        self.logits = Plot(self.tr("Logits"))
        self.speed = Plot(self.tr("Speed"))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for plot in (self.losses, self.logits, self.speed):
            column.addWidget(plot)
        self.clear_all()

    def add(self, tick: TrainingTick) -> None:
        """Draw the figures of another tick."""
        is_logit: Callable[[str], bool] = lambda name: "logit" in name  # noqa: E731
        logits = {n: v for n, v in tick.losses.items() if is_logit(n)}
        losses = {n: v for n, v in tick.losses.items() if not is_logit(n) and n != "gradient"}
        self.losses.add(tick.kimg, losses)
        if logits:
            self.logits.show()
            self.logits.add(tick.kimg, logits)
        self.speed.add(tick.kimg, {"windows/s": tick.images_per_second})

    def clear_all(self) -> None:
        """Another run begins."""
        for plot in (self.losses, self.logits, self.speed):
            plot.clear_all()
        self.logits.hide()


class SampleStrip(QScrollArea):
    """The newest samples of a run: generated above, real below, the coarsest octave first."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(self.tr("Samples by octave"))
        self._picture = QLabel()
        self._picture.setAccessibleName(self.tr("Samples: generated above, real below"))
        self.setWidget(self._picture)
        bar = self.horizontalScrollBar().sizeHint().height()
        self.setFixedHeight(_STRIP_PX + bar + 4)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.file = ""

    def show_file(self, file: str) -> None:
        """Show the strip that lies there; one that cannot be read leaves the present one."""
        pixmap = QPixmap(file)
        if pixmap.isNull() or not Path(file).exists():
            return
        self.file = file
        ratio = self.devicePixelRatioF()
        smooth = Qt.TransformationMode.SmoothTransformation
        pixmap = pixmap.scaledToHeight(round(_STRIP_PX * ratio), smooth)
        pixmap.setDevicePixelRatio(ratio)
        self._picture.setPixmap(pixmap)
        self._picture.adjustSize()

    def clear(self) -> None:
        """Another run begins."""
        self.file = ""
        self._picture.clear()
