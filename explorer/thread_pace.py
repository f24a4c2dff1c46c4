"""How many cores training uses: fewer while other programs want them."""

from __future__ import annotations

_LOOK_S = 3.0
"""Of work, between two decisions: a view that is drawn sharp meanwhile must not weigh much."""
_STARVED = 0.75
"""Of its time that a thread was running; less: it waits for another that has no core."""
_PATIENCE_S = 12.0
"""Of work, while this process itself takes the cores: a view is soon drawn, a search of places is
not."""
LONGEST_PIECE_S = 2.0
"""A piece of work that took longer was none: the machine slept, or the process was stopped."""
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
        self._cpu_s = self._wall_s = self._process_s = 0.0
        self._calm_s = self._starved_s = 0.0
        self._retry_s = _RETRY_S
        self._tried = False  # more threads, just now

    def worked(self, cpu_s: float, process_s: float, wall_s: float) -> int:
        """A piece of work is done.

        Args:
            cpu_s: Processor time that the thread had, s.
            process_s: That all threads of this process had together, s.
            wall_s: Time that it took, without pauses that were meant, s.

        Returns:
            Threads for the next one, 1 to `most`.
        """
        if wall_s > LONGEST_PIECE_S:
            return self.count
        self._cpu_s += cpu_s
        self._process_s += process_s
        self._wall_s += wall_s
        if self._wall_s >= _LOOK_S:
            self._decide(self._cpu_s / self._wall_s, self._process_s / self._wall_s)
            self._cpu_s = self._wall_s = self._process_s = 0.0
        return self.count

    def _decide(self, running: float, own_cores: float) -> None:
        """`running`: share of the time in which the thread ran; `own_cores`: this process's."""
        self._calm_s += self._wall_s
        self._starved_s = self._starved_s + self._wall_s if running < _STARVED else 0.0
        is_for_long = own_cores < self.most - 0.5 or self._starved_s >= _PATIENCE_S
        if self._starved_s and is_for_long and self.count > 1:
            self._retry_s = min(2 * self._retry_s, _LONGEST_RETRY_S) if self._tried else _RETRY_S
            self.count //= 2
            self._calm_s, self._starved_s, self._tried = 0.0, 0.0, False
        elif self.count < self.most and self._calm_s >= self._retry_s:
            self.count = min(2 * self.count, self.most)
            self._calm_s, self._tried = 0.0, True
        else:
            self._tried = False
