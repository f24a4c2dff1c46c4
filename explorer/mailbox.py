"""Results on their way from a thread to the window: it is told once, and takes all that came."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

R = TypeVar("R")


class Mailbox(Generic[R]):
    """Results of a thread, and one flag that says that there are some. Any thread."""

    def __init__(self, on_dirty: Callable[[], None]) -> None:
        self._on_dirty = on_dirty
        self._lock = threading.Lock()
        self._results: list[R] = []
        self._dirty = False

    def put(self, result: R, instead_of: tuple[type, ...] = ()) -> None:
        """Add a result, in place of all that wait and are of these kinds; tells the window unless
        it was told already."""
        with self._lock:
            if instead_of:
                self._results = [r for r in self._results if not isinstance(r, instead_of)]
            self._results.append(result)
            tell = not self._dirty
            self._dirty = True
        if tell:
            self._on_dirty()

    def take(self) -> list[R]:
        """Everything that has come, in order."""
        with self._lock:
            results, self._results = self._results, []
            self._dirty = False
        return results
