"""How many cores training uses: fewer while other programs want them."""

from __future__ import annotations

_LOOK_S = 3.0
"""Of work, between two decisions: a view that is drawn sharp meanwhile must not weigh much."""
_STARVED = 0.75
"""Of its time that a thread was running; less: it waits for another that has no core."""
_RETRY_S, _LONGEST_RETRY_S = 15.0, 240.0
"""Of work with fewer threads until more are tried; doubled whenever that fails."""


class ThreadPace:
    """Chooses the number of threads that work together, from how much of its time one of them runs.

    Threads that share a layer meet at its end. Where another program holds one of their cores, all
    wait for the one that has none, hundreds of times a second: two threads on two cores are then
    many times slower than one.
    """

    def __init__(self, most: int) -> None:
        """`most`: threads when nobody else wants the cores, 1 or more."""
        self.most = self.count = most
        self._cpu_s = self._wall_s = 0.0
        self._calm_s = 0.0
        self._retry_s = _RETRY_S
        self._tried = False  # more threads, just now

    def worked(self, cpu_s: float, wall_s: float) -> int:
        """A piece of work is done.

        Args:
            cpu_s: Processor time that the thread had, s.
            wall_s: Time that it took, without pauses that were meant, s.

        Returns:
            Threads for the next one, 1 to `most`.
        """
        self._cpu_s += cpu_s
        self._wall_s += wall_s
        if self._wall_s >= _LOOK_S:
            self._decide(self._cpu_s / self._wall_s)
            self._cpu_s = self._wall_s = 0.0
        return self.count

    def _decide(self, running: float) -> None:
        """`running`: share of the time in which the thread ran."""
        self._calm_s += self._wall_s
        if running < _STARVED and self.count > 1:
            self._retry_s = min(2 * self._retry_s, _LONGEST_RETRY_S) if self._tried else _RETRY_S
            self.count //= 2
            self._calm_s, self._tried = 0.0, False
        elif self.count < self.most and self._calm_s >= self._retry_s:
            self.count = min(2 * self.count, self.most)
            self._calm_s, self._tried = 0.0, True
        else:
            self._tried = False
