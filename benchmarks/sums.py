"""Small sums over measured times; plain Python."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The value that `percent` of `values` do not exceed, between two by a straight line."""
    if not values:
        return None
    ordered = sorted(values)
    position = (len(ordered) - 1) * percent / 100
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def intervals(times: Sequence[float]) -> list[float]:
    """From each time to the next."""
    return [b - a for a, b in itertools.pairwise(times)]


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Rise of the least-squares line through `values` over `times`; 0 of fewer than 2."""
    count = len(times)
    if count < 2:
        return 0.0
    mean_time, mean_value = sum(times) / count, sum(values) / count
    spread = sum((t - mean_time) ** 2 for t in times)
    if spread == 0:
        return 0.0
    return (
        sum((t - mean_time) * (v - mean_value) for t, v in zip(times, values, strict=True)) / spread
    )
