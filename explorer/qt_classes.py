"""Makes PySide's classes in the GUI thread: another thread may then import what uses them."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator

from PySide6.QtCore import QObject, QTimer

_MODULES = ("QtCore", "QtGui", "QtWidgets", "QtSvg", "QtOpenGL", "QtOpenGLWidgets", "QtTest")
"""Those that pyqtgraph imports."""
_TURN_S = 0.003
_WAIT_MS = 4


def _make() -> Iterator[None]:
    """Make one class after the other."""
    for name in _MODULES:
        module = importlib.import_module(f"PySide6.{name}")
        yield
        for attribute in dir(module):
            getattr(module, attribute)
            yield


class QtClasses(QObject):
    """Makes every class of some Qt modules, in turns of about 3 ms: 150 ms in all.

    PySide makes a class when it is first asked for. Where two threads ask for two of them at once,
    the process ends (PySide 6.11: a segmentation fault, 3 times in 52 runs of a window that made
    widgets while a thread imported pyqtgraph; never in 160 runs with the classes made before).
    """

    def __init__(self, done: Callable[[], object], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._left = _make()
        self._done = done
        self._timer = QTimer(self, interval=_WAIT_MS, timeout=self._turn)

    def start(self) -> None:
        """Begin, or go on; `done` is called when all are made."""
        self._timer.start()

    def stop(self) -> None:
        """Make no more until `start`."""
        self._timer.stop()

    def _turn(self) -> None:
        until = time.perf_counter() + _TURN_S
        while time.perf_counter() < until:
            try:
                next(self._left)
            except StopIteration:
                self._timer.stop()
                self._done()
                return
