"""Watches a process with a window: exceptions, Qt's complaints, and how long it stood still.

Used by `benchmarks.monkey` and by tests. Everything here is called in the GUI thread, except for
the hooks of exceptions and messages, and one thread that looks at a GUI thread which is stuck.
"""

from __future__ import annotations

import faulthandler
import logging
import sys
import tempfile
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from PySide6.QtCore import (
    QMessageLogContext,
    QObject,
    Qt,
    QTimer,
    QtMsgType,
    qInstallMessageHandler,
)

_BEAT_MS = 10
_LOOK_S = 0.1
_STUCK_S = 0.5
_FRAMES = 14
_KEPT = 200


@dataclass(frozen=True)
class Gap:
    """The event loop did nothing else for so long."""

    seconds: float
    cpu_s: float
    """Of these, the GUI thread computed so long."""
    no_core_s: float
    """Of these, it could have run and had no core: other threads or programs did; Linux only."""
    step: int
    during: str
    """What was done in that step."""
    stack: str = ""
    """Where the GUI thread was, innermost first; of long gaps only."""

    @property
    def hang_s(self) -> float:
        """The gap less the time without a core: what does not depend on what else runs."""
        return self.seconds - self.no_core_s


class Watch(QObject):
    """From its making until `stop`; what it saw stays."""

    def __init__(self) -> None:
        super().__init__()
        self.exceptions: list[str] = []
        """Uncaught exceptions of any thread, and errors that were logged."""
        self.complaints: list[str] = []
        """Qt's messages of warning or worse."""
        self.step, self.during = 0, "start"
        self.longest: dict[str, Gap] = {}
        """By what was done: the longest gap, less the time without a core."""
        self.longest_s = 0.0
        """The longest gap by the clock, s."""
        self._beat_at = time.perf_counter()
        self._used_at = _used()
        self._stack = ""
        self._gui = threading.get_ident()
        self._stopping = threading.Event()
        self._hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook)
        sys.excepthook = self._uncaught
        threading.excepthook = self._uncaught_in_thread
        sys.unraisablehook = self._unraisable
        self._messages_before = qInstallMessageHandler(self._complained)
        self._log = _Errors(self)
        logging.getLogger().addHandler(self._log)
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self.beat)
        self._timer.start(_BEAT_MS)
        self.looker = threading.Thread(target=self._look, name="watch", daemon=True)
        self.looker.start()

    @property
    def gaps(self) -> list[Gap]:
        """The longest gap of everything that was done, the longest first."""
        return sorted(self.longest.values(), key=lambda gap: -gap.hang_s)

    @property
    def longest_hang_s(self) -> float:
        """The longest of all gaps less the time without a core, s."""
        return max((gap.hang_s for gap in self.longest.values()), default=0.0)

    def doing(self, step: int, what: str) -> None:
        """From now on gaps are of this step."""
        self.beat()
        self.step, self.during = step, what

    def beat(self) -> None:
        """The event loop is alive."""
        now = time.perf_counter()
        used = _used()
        computed, waited = (
            after - before for after, before in zip(used, self._used_at, strict=True)
        )
        gap = Gap(now - self._beat_at, computed, waited, self.step, self.during, self._stack)
        self.longest_s = max(self.longest_s, gap.seconds)
        known = self.longest.get(self.during)
        if known is None or gap.hang_s > known.hang_s:
            self.longest[self.during] = gap
        self._beat_at, self._used_at, self._stack = now, used, ""

    def forget_gaps(self) -> None:
        """Begin anew; what was seen so far does not count."""
        self.longest.clear()
        self._beat_at, self._used_at, self._stack = time.perf_counter(), _used(), ""
        self.longest_s = 0.0

    def stop(self) -> None:
        """End; the hooks are as they were."""
        self.beat()
        self._timer.stop()
        self._stopping.set()
        self.looker.join()
        sys.excepthook, threading.excepthook, sys.unraisablehook = self._hooks
        qInstallMessageHandler(self._messages_before)
        logging.getLogger().removeHandler(self._log)

    # Hooks; of any thread.

    def note(self, text: str) -> None:
        """Something went wrong."""
        if len(self.exceptions) < _KEPT:
            self.exceptions.append(f"step {self.step}, {self.during}: {text}")

    def _uncaught(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        self.note("".join(traceback.format_exception(kind, error, trace)))

    def _uncaught_in_thread(self, args: Any) -> None:
        if args.exc_value is not None:
            self._uncaught(args.exc_type, args.exc_value, args.exc_traceback)

    def _unraisable(self, args: Any) -> None:
        if args.exc_value is not None:
            self._uncaught(args.exc_type, args.exc_value, args.exc_traceback)

    def _complained(self, kind: QtMsgType, _context: QMessageLogContext, text: str) -> None:
        harmless = kind in (QtMsgType.QtDebugMsg, QtMsgType.QtInfoMsg)
        if not harmless and len(self.complaints) < _KEPT:
            self.complaints.append(f"step {self.step}, {self.during}: {text}")

    def _look(self) -> None:
        """In a thread of its own: where is the GUI thread, when it is stuck?"""
        # Not from the frames themselves: to hold one would keep a painter in it alive.
        with tempfile.TemporaryFile("w+") as file:
            while not self._stopping.wait(_LOOK_S):
                if time.perf_counter() - self._beat_at > _STUCK_S:
                    file.seek(0)
                    file.truncate()
                    faulthandler.dump_traceback(file, all_threads=True)
                    file.seek(0)
                    self._stack = _stack_of(self._gui, file.read())


class _Errors(logging.Handler):
    """What is logged as an error counts as one."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(logging.ERROR)
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        """Note it, with its traceback."""
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + "".join(traceback.format_exception(*record.exc_info))
        self._watch.note(text)


def _used() -> tuple[float, float]:
    """Seconds that this thread has computed, and that it waited for a core."""
    try:
        computed, waited, _ = Path("/proc/thread-self/schedstat").read_text("ascii").split()
    except OSError:
        return time.thread_time(), 0.0
    return int(computed) / 1e9, int(waited) / 1e9


def _stack_of(thread: int, dump: str) -> str:
    """The lines of one thread (by its number) in what `faulthandler` writes."""
    for part in dump.split("\n\n"):
        head, _, lines = part.partition("\n")
        if f"{thread:x}" in head:
            return "\n".join(lines.splitlines()[:_FRAMES])
    return ""
