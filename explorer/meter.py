"""Two honest numbers: frames displayed, and fresh content displayed. Plain Python.

All times are seconds of one clock (`time.perf_counter` in the app).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

_KEPT = 100_000


class FrameMeter:
    """Time stamps of what was painted, and figures from them."""

    def __init__(self) -> None:
        self.frame_times: deque[float] = deque(maxlen=_KEPT)
        """When each frame was painted."""
        self.fresh_times: deque[float] = deque(maxlen=_KEPT)
        """When each newly rendered batch of tiles was first painted."""
        self.latencies_s: deque[float] = deque(maxlen=_KEPT)
        """From the camera that asked for a batch to the frame that first showed it, s."""
        self.exact_delays_s: deque[float] = deque(maxlen=_KEPT)
        """From stillness to the exact frame fully shown, s."""
        self.tiles_shown = 0
        """Newly rendered tiles painted."""

    def reset(self) -> None:
        """Forget everything."""
        for series in (self.frame_times, self.fresh_times, self.latencies_s, self.exact_delays_s):
            series.clear()
        self.tiles_shown = 0

    def painted(self, now: float) -> None:
        """A frame was painted."""
        self.frame_times.append(now)

    def fresh(self, now: float, issued_at: float, tiles: int) -> None:
        """A batch of `tiles` new tiles was painted for the first time."""
        self.fresh_times.append(now)
        self.latencies_s.append(now - issued_at)
        self.tiles_shown += tiles

    def exact(self, delay_s: float) -> None:
        """The exact frame was fully shown `delay_s` after stillness."""
        self.exact_delays_s.append(delay_s)

    def displayed_fps(self, window_s: float, now: float) -> float:
        """Frames per second over the last `window_s`."""
        return _count_since(self.frame_times, now - window_s) / window_s

    def fresh_fps(self, window_s: float, now: float) -> float:
        """Fresh batches per second over the last `window_s`."""
        return _count_since(self.fresh_times, now - window_s) / window_s

    def summary(self) -> dict[str, float]:
        """Figures over everything since `reset`; a figure without data is left out."""
        result: dict[str, float] = {}
        frames = list(self.frame_times)
        if len(frames) >= 2:
            span = frames[-1] - frames[0]
            intervals = [b - a for a, b in zip(frames, frames[1:], strict=False)]
            result["displayed_fps"] = (len(frames) - 1) / span
            result["frame_interval_p95_ms"] = percentile(intervals, 95) * 1e3
            result["frame_interval_max_ms"] = max(intervals) * 1e3
            result["fresh_per_s"] = len(self.fresh_times) / span
            result["tiles_per_s"] = self.tiles_shown / span
        if self.latencies_s:
            result["latency_p50_ms"] = percentile(self.latencies_s, 50) * 1e3
            result["latency_p95_ms"] = percentile(self.latencies_s, 95) * 1e3
        if self.exact_delays_s:
            result["exact_delay_p50_s"] = percentile(self.exact_delays_s, 50)
            result["exact_delay_max_s"] = max(self.exact_delays_s)
        return result


def percentile(values: Iterable[float], percent: float) -> float:
    """The `percent` percentile (0 to 100) of non-empty `values`, linear between ranks."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _count_since(times: deque[float], since: float) -> int:
    count = 0
    for stamp in reversed(times):
        if stamp < since:
            break
        count += 1
    return count
