"""The thread in which the doctor looks at what was dropped."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from explorer.mailbox import Mailbox
from explorer.messages import Failure
from explorer.priority import lower_priority
from explorer.training_messages import Looked, LookEnded, LookProgress, LookResult
from model.allocator import give_back_memory

if TYPE_CHECKING:
    from model.data.report import DoctorReport

log = logging.getLogger(__name__)
_PERIOD_S = 0.1
_NICENESS = 10


class DoctorThread:
    """Looks at one data set, once."""

    def __init__(
        self,
        path: str,
        device: str,
        on_dirty: Callable[[], None],
        after: DoctorThread | None = None,
    ) -> None:
        """Prepare; `start` begins.

        Args:
            path: The data.
            device: What training would run on.
            on_dirty: Called from the thread when `take_results` has something.
            after: One that was cancelled; this one begins when that has ended, so that there are
                never two at work, and whoever waits for this one has waited for both.
        """
        self.path, self.device = path, device
        self._mailbox: Mailbox[LookResult] = Mailbox(on_dirty)
        self._cancelled = threading.Event()
        self._told_at = 0.0
        self._after = after
        self._thread = threading.Thread(target=self._run, name="doctor", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def cancel(self) -> None:
        """Stop looking soon; what was found so far stays."""
        self._cancelled.set()

    def join(self, timeout_s: float | None) -> bool:
        """Wait for the end; whether it has come."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def take_results(self) -> list[LookResult]:
        """Everything that was found since the last call."""
        return self._mailbox.take()

    def _run(self) -> None:
        lower_priority(_NICENESS)
        failure = None
        if self._after is not None:
            self._after.join(None)
            self._after = None
        try:
            self._progress(0.0)
            from model.data.doctor import DoctorConfig, inspect_data

            config = DoctorConfig(device=self.device)
            report = inspect_data(self.path, config, self._progress, self._found)
            self._mailbox.put(Looked(report))
        except _Cancelled:
            pass
        except Exception as error:  # the thread's boundary: it becomes a value
            log.info("The doctor cannot look at %s", self.path, exc_info=error)
            text = str(error).strip() or type(error).__name__
            title = f"Cannot look at {Path(self.path).name}"
            failure = Failure(title, text, traceback.format_exc())
        self._mailbox.put(LookEnded(failure))
        give_back_memory()  # a trial of training took some hundred megabytes

    def _found(self, report: DoctorReport) -> None:
        if self._cancelled.is_set():
            raise _Cancelled
        self._mailbox.put(Looked(report))

    def _progress(self, fraction: float) -> None:
        if self._cancelled.is_set():
            raise _Cancelled
        now = time.perf_counter()
        if now - self._told_at > _PERIOD_S:
            self._told_at = now
            self._mailbox.put(LookProgress(fraction))


class _Cancelled(Exception):
    """The person has seen enough."""
