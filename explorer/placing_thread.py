"""The thread in which patches find their places while what they show already is learned."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from explorer.priority import lower_priority

if TYPE_CHECKING:
    from model.training_stages import Placing, Stage

_PERIOD_S = 1.0


class PlacingThread:
    """Works off one `Placing`; the thread that trains asks it for what has come of it."""

    def __init__(
        self,
        placing: Placing,
        niceness: int,
        give_way: Callable[[float], None],
        tell: Callable[[str], None],
    ) -> None:
        """Prepare; `start` begins.

        Args:
            placing: What is to be placed; closed by `end`.
            niceness: Added to that of the thread.
            give_way: Called between two batches with the seconds worked since it last returned;
                may wait.
            tell: Called with one line that a person should read.
        """
        self._placing, self._niceness = placing, niceness
        self._give_way, self._tell = give_way, tell
        self._lock = threading.Lock()
        self._stage: Stage | None = None
        self._cancelled = threading.Event()
        self._began = time.perf_counter()
        self._told_at = 0.0
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="placing", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether more may come."""
        return self._thread.is_alive()

    def take(self) -> Stage | None:
        """The newest stage since the last call; whoever takes it closes its picture.

        Raises:
            Exception: Once, what ended the thread.
        """
        with self._lock:
            stage, self._stage = self._stage, None
            error, self._error = self._error, None
        if error is not None:
            raise error
        return stage

    def end(self) -> None:
        """Stop soon, wait for it, and close the data and what nobody took."""
        self._cancelled.set()
        self._thread.join()
        if self._stage is not None:
            self._stage.data.pyramid.close()
        self._placing.close()

    def _run(self) -> None:
        lower_priority(self._niceness)
        try:
            self._placing.work(self._report, self._ready, self._tell)
        except _Cancelled:
            pass
        except Exception as error:  # noqa: BLE001  # the thread's boundary: `take` raises it
            with self._lock:
                self._error = error

    def _ready(self, stage: Stage) -> None:
        with self._lock:
            stale, self._stage = self._stage, stage
        if stale is not None:
            stale.data.pyramid.close()

    def _report(self, text: str, fraction: float) -> None:
        """Between two batches: give way; a stop ends it."""
        now = time.perf_counter()
        if now - self._told_at > _PERIOD_S:
            self._told_at = now
            self._tell(f"{text[:1].upper()}{text[1:]}: {fraction:.0%}.")
        if not self._cancelled.is_set():
            self._give_way(now - self._began)
        self._began = time.perf_counter()
        if self._cancelled.is_set():
            raise _Cancelled


class _Cancelled(Exception):
    """Nobody waits for more."""
