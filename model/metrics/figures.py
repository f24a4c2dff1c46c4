"""`Figure`: one measured number, what it is to be held against, and how sure it is."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SIGMAS = 1.96
"""Half the width of an interval, in standard deviations of the bootstrap: 95 % of a normal law."""

Interval = tuple[float, float]
Replicates = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Figure:
    """A number, the number beside it, and their quotient."""

    value: float
    interval: Interval | None = None
    """95 % bootstrap interval of `value` over windows; None where there is none."""
    reference: float | None = None
    """The real data's own: of a distance its real-against-real floor. None: not known."""
    reference_interval: Interval | None = None
    ratio: float | None = None
    """`value` over `reference`, where a quotient means something."""
    ratio_interval: Interval | None = None


def rng_for(seed: int, *words: object) -> np.random.Generator:
    """Random numbers of their own for every purpose: the same for the same seed and words."""
    return np.random.default_rng([seed, zlib.crc32("/".join(map(str, words)).encode())])


def resampled_counts(count: int, items: int, rng: np.random.Generator) -> np.ndarray:
    """How often each item is drawn when as many are drawn with replacement: [count, items]."""
    return rng.multinomial(items, np.full(items, 1 / items), count).astype(np.float32)


def figure(
    value: float,
    replicates: Replicates = (),
    reference: float | None = None,
    reference_replicates: Replicates = (),
    ratio: bool = False,
) -> Figure:
    """A figure with intervals from bootstrap replicates.

    An interval is the value plus and minus 1.96 standard deviations of its replicates. Only their
    spread is used: a distance between resampled sets is larger than between the sets themselves,
    because resampling adds noise to both. A ratio's comes from pairs of replicates of value and
    reference, each moved so that its mean is the value.

    Args:
        value: What was measured.
        replicates: The same of resampled windows; none gives no interval.
        reference: See `Figure`.
        reference_replicates: In the order of `replicates`.
        ratio: Whether the quotient means something.
    """
    value, reference = float(value), None if reference is None else float(reference)
    quotient, quotient_interval = None, None
    if ratio and reference:
        quotient = value / reference
        if len(replicates) > 1 and len(reference_replicates) > 1:
            a = np.asarray(replicates) - np.mean(replicates) + value
            b = np.asarray(reference_replicates) - np.mean(reference_replicates) + reference
            b = np.maximum(b, reference / 4)  # a floor near 0 says that the ratio is not known
            quotient_interval = _interval(quotient, a / b)
    return Figure(
        value,
        _interval(value, replicates),
        reference,
        None if reference is None else _interval(reference, reference_replicates),
        quotient,
        quotient_interval,
    )


def _interval(value: float, replicates: Replicates) -> Interval | None:
    if len(replicates) < 2 or not np.all(np.isfinite(replicates)) or not np.isfinite(value):
        return None
    half = SIGMAS * float(np.std(replicates, ddof=1))
    return value - half, value + half
