"""When the next frame is painted: no earlier than the display's rhythm allows. GUI thread."""

from __future__ import annotations

import time

from PySide6.QtCore import QObject, Qt, QTimer, Signal

from explorer.config import ViewportConfig

_AT_ONCE_S = 0.0005


class FrameRhythm(QObject):
    """Asks for frames, one at a time."""

    due = Signal()
    """Paint a frame now."""

    def __init__(self, config: ViewportConfig, parent: QObject) -> None:
        super().__init__(parent)
        self._config = config
        self._next_due = 0.0
        self._timer = self._single_shot()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self.due)
        self._later = self._single_shot()
        self._later.timeout.connect(self.wake)

    def _single_shot(self) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        return timer

    def wake(self) -> None:
        """Ask for a frame as soon as it may be painted."""
        if self._timer.isActive():
            return
        wait_s = self._next_due - time.perf_counter()
        if wait_s > _AT_ONCE_S:
            self._timer.start(max(1, round(wait_s * 1000)))
        else:
            self.due.emit()

    def wake_later(self, delay_s: float) -> None:
        """Ask for a frame in `delay_s`, or later if asked again before."""
        self._later.start(round(delay_s * 1000) + 2)

    def painting(self, now: float, moving: bool) -> None:
        """A frame is being painted at `now`, s; at rest frames may be further apart."""
        period_s = self._config.frame_period_s if moving else self._config.rest_frame_period_s
        self._next_due = max(self._next_due + period_s, now + 0.5 * period_s)

    def stop(self) -> None:
        """Ask for no frame any more."""
        self._timer.stop()
        self._later.stop()
