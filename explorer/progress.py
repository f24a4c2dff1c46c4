"""One line on stderr that says how far a long job is, and how long it will take."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

_PERIOD_S = 0.1
_LOG_FRACTION = 0.1
_QUIET_S = 1.0  # a job that is done by then is not worth a line in a log


class ProgressLine:
    """`label  41 %  1:02 left`: redrawn in place on a terminal, a line each 10 % elsewhere."""

    def __init__(
        self,
        label: str,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        every: float | None = None,
    ) -> None:
        """`every` asks for a line at each such fraction, on any stream, from the beginning."""
        self._label = label
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._every = every or _LOG_FRACTION
        self._quiet_s = _QUIET_S if every is None else 0.0
        self._live = every is None and self._stream.isatty()
        self._begin = clock()
        self._next_time = self._begin
        self._next_fraction = self._every
        self._drawn = False

    def __call__(self, fraction: float, note: str = "") -> None:
        """Show `fraction` in [0, 1]; `note` (a count, a speed) stands before the time left."""
        now = self._clock()
        if self._live:
            if now < self._next_time and fraction < 1:
                return
            self._next_time = now + _PERIOD_S
        else:
            if fraction < self._next_fraction - 1e-9 or now - self._begin < self._quiet_s:
                return
            while self._next_fraction <= fraction + 1e-9:
                self._next_fraction += self._every
        text = f"{self._label}  {100 * fraction:3.0f} %"
        if note:
            text += f"  {note}"
        if fraction > 0:
            left = (now - self._begin) * (1 - fraction) / fraction
            text += f"  {minutes(left)} left" if fraction < 1 else f"  {minutes(now - self._begin)}"
        self._stream.write(f"\r\x1b[K{text}" if self._live else f"{text}\n")
        self._stream.flush()
        self._drawn = True

    def report(self, label: str, fraction: float) -> None:
        """Show another step of the work from here on, where `label` is a new one."""
        if label != self._label:
            self.close()
            self._label, self._begin = label, self._clock()
            self._next_time, self._next_fraction = self._begin, self._every
        self(fraction)

    def close(self) -> None:
        """End the line, so that what is printed next begins a new one."""
        if self._live and self._drawn:
            self._stream.write("\n")
            self._stream.flush()
        self._drawn = False


def minutes(seconds: float) -> str:
    """75 s is '1:15', 3675 s is '1:01:15'."""
    total = max(0, round(seconds))
    hours, rest = divmod(total, 3600)
    if hours:
        return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
    return f"{rest // 60}:{rest % 60:02d}"
