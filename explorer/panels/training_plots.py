"""Live curves of a run. What draws them is imported beside the GUI thread, and built in turns."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, QObject, QTimer
from PySide6.QtWidgets import QVBoxLayout, QWidget

from explorer.qt_classes import QtClasses
from explorer.training_messages import SamplesSaved, TrainingTick

if TYPE_CHECKING:
    from explorer.panels.plot import Plot

MAX_POINTS = 600
"""Points of a curve; beyond, every second one goes."""
_PLOT_PX = 146
_WAIT_MS = 40
_MODULE = "explorer.panels.plot"


class _Preload(QObject):
    """Imports what draws curves, beside the GUI thread."""

    def __init__(self) -> None:
        super().__init__(QCoreApplication.instance())
        self._thread = threading.Thread(
            target=importlib.import_module, args=(_MODULE,), name="plots", daemon=True
        )
        self._classes = QtClasses(self._thread.start, self)

    def begin(self) -> bool:
        """Begin, or go on; whether it has ended."""
        if self._thread.ident is None:
            self._classes.start()
            return False
        return not self._thread.is_alive()

    def finish(self) -> None:
        """Begin nothing more, and let end what runs."""
        self._classes.stop()
        if self._thread.ident is not None:
            self._thread.join()


_preload: _Preload | None = None


def preload() -> bool:
    """Have what draws curves imported by a thread of its own, once: any page asks.

    Returns:
        Whether it is there.
    """
    global _preload
    if _preload is None:
        _preload = _Preload()
    return _preload.begin()


def finish_preload() -> None:
    """Before the app ends: let what was begun end."""
    if _preload is not None:
        _preload.finish()


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


class Curves(QWidget):
    """Curves of one kind, and from `build` on a plot of them."""

    def __init__(self, title: str, log: bool = False) -> None:
        super().__init__()
        self._title, self._log = title, log
        self._series: dict[str, Series] = {}
        self.plot: Plot | None = None
        self.setAccessibleName(title)
        self.setFixedHeight(_PLOT_PX)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)

    def add(self, x: float, values: dict[str, float]) -> None:
        """One more point of every named curve."""
        for name, value in values.items():
            series = self._series.setdefault(name, Series())
            series.add(x, value)
            if self.plot is not None:
                self.plot.draw(name, series.x, series.y)
        if self.plot is not None:
            self.plot.settle()

    def points(self, name: str) -> int:
        """Points of a curve."""
        return len(self._series[name].x) if name in self._series else 0

    def clear_all(self) -> None:
        """Another run begins."""
        self._series.clear()
        if self.plot is not None:
            self.plot.clear_all()

    def build(self) -> None:
        """Draw from now on; after `preload`."""
        from explorer.panels.plot import Plot

        self.plot = Plot(self._title, self._log, _PLOT_PX)
        self._column.addWidget(self.plot)
        for name, series in self._series.items():
            self.plot.draw(name, series.x, series.y)
        self.plot.settle()


class TrainingPlots(QWidget):
    """Losses, logits, distances by octave, and speed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.losses = Curves(self.tr("Losses"), log=True)
        self.logits = Curves(self.tr("Logits"))
        self.distances = Curves(self.tr("Distance over floor; octave"), log=True)
        self.speed = Curves(self.tr("Speed"))
        self._all = (self.losses, self.logits, self.distances, self.speed)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for curves in self._all:
            column.addWidget(curves)
        self.clear_all()

    def build(self) -> None:
        """Make the plots, one each time the event loop comes round: a frame must not wait."""
        if all(curves.plot is not None for curves in self._all):
            return
        is_there = preload()
        if is_there:
            next(curves for curves in self._all if curves.plot is None).build()
        QTimer.singleShot(0 if is_there else _WAIT_MS, self, self.build)

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

    def add_samples(self, samples: SamplesSaved) -> None:
        """Draw how far the samples are from the data."""
        if samples.distances:
            self.distances.show()
            self.distances.add(samples.kimg, dict(samples.distances))

    def clear_all(self) -> None:
        """Another run begins."""
        for curves in self._all:
            curves.clear_all()
        self.logits.hide()
        self.distances.hide()
