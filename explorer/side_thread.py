"""A thread for a panel's own work, so that neither the window nor the picture waits for it.

Requests are frozen values; of each kind the newest one waits, the others are forgotten. It sleeps
until something is asked, and begins with the first request.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from explorer.mailbox import Mailbox
from explorer.messages import Failure
from explorer.priority import lower_priority

log = logging.getLogger(__name__)
Handler = Callable[[Any], Any]
"""A request to its result; None: nothing to tell. What it raises becomes a `Failure`."""


class GaveUp(Exception):
    """A handler stops because something newer is wanted."""


class SideThread:
    """Answers requests by their type, the first type of the handlers first."""

    def __init__(
        self,
        name: str,
        on_dirty: Callable[[], None],
        handlers: Mapping[type, Handler],
        niceness: int = 0,
    ) -> None:
        """Prepare; the first `ask` begins.

        Args:
            name: Of the thread.
            on_dirty: Called from the thread when `take_results` has something. Must not block.
            handlers: By type of request, what answers it; run in the thread.
            niceness: How far the thread gives way to the display.
        """
        self._handlers = dict(handlers)
        self._niceness = niceness
        self._mailbox: Mailbox[Any] = Mailbox(on_dirty)
        self._wake = threading.Condition()
        self._waiting: dict[type, object] = {}
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def ask(self, request: object) -> None:
        """Replace the waiting request of the same type. Never blocks."""
        with self._wake:
            if self._stopping:
                return
            self._waiting[type(request)] = request
            if not self._thread.ident:
                self._thread.start()
            self._wake.notify()

    def tell(self, result: object) -> None:
        """From a handler: something on the way to its result, as progress."""
        self._mailbox.put(result)

    def check(self, kind: type) -> None:
        """From a handler: give up where a newer request of `kind` waits, or the thread is to end.

        Raises:
            GaveUp: So it is.
        """
        if self._stopping or kind in self._waiting:
            raise GaveUp

    def take_results(self) -> list[Any]:
        """Everything that has come since the last call."""
        return self._mailbox.take()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """End as soon as the handler under way lets go; True when the thread has ended."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        lower_priority(self._niceness)
        while True:
            with self._wake:
                while not (self._stopping or self._waiting):
                    self._wake.wait()
                if self._stopping:
                    return
                kind = next(k for k in self._handlers if k in self._waiting)
                request = self._waiting.pop(kind)
            try:
                result = self._handlers[kind](request)
            except GaveUp:
                continue
            except Exception as error:  # the thread's boundary: it becomes a value
                log.info("%s failed.", kind.__name__, exc_info=error)
                text = str(error).strip() or type(error).__name__
                result = Failure("", text, traceback.format_exc())
            if result is not None:
                self._mailbox.put(result)
