"""Batches on several threads, each of which computes alone: no operation waits for another core."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

import torch

from model.torch_threads import set_torch_threads

Check = Callable[[], None]
"""Called now and then during long work; whatever it raises cancels."""
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Workers:
    """As many threads as torch would use, with one core each while this is open.

    Small operations gain nothing from being split over cores, and lose much where the cores are
    busy. What a batch gives does not depend on the number of threads.
    """

    def __init__(self, check: Check) -> None:
        """`check` is called before each batch is handed out."""
        self.check = check
        self._num_threads = torch.get_num_threads()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        torch.set_num_threads(1)
        self._pool = ThreadPoolExecutor(
            self._num_threads, "placement", initializer=set_torch_threads, initargs=(1,)
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        torch.set_num_threads(self._num_threads)

    def map(self, work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        """Results in the order of the items; at most two batches a thread are under way."""
        if self._pool is None:
            raise ValueError("Workers must be entered with `with` before they can work.")
        running: deque[Future[_Result]] = deque()
        try:
            for item in items:
                self.check()
                running.append(self._pool.submit(work, item))
                if len(running) > 2 * self._num_threads:
                    yield running.popleft().result()
            while running:
                self.check()
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()


def batches(length: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover `length`."""
    return (slice(begin, min(begin + size, length)) for begin in range(0, length, size))
