"""Which windows are drawn while training: levels by schedule, places uniform in the field."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from model.scale import PHASE_STEPS, density
from model.space import Window


@dataclass(frozen=True)
class LevelShare:
    """A range of levels, and how often a group comes from it."""

    low: float
    high: float
    share: float


_WHOLE = 0.25
"""Octaves next to the coarsest level in which a window shows about the whole scene."""


def draw_level(shares: tuple[LevelShare, ...], rng: np.random.Generator) -> float:
    """A level (octaves): a range by its share, then uniform inside it."""
    weights = np.array([s.share for s in shares])
    chosen = shares[int(rng.choice(len(shares), p=weights / weights.sum()))]
    return float(rng.uniform(chosen.low, chosen.high))


def scheduled_shares(
    level_range: tuple[float, float],
    fraction: float,
    coarse_first: float,
    coarse_until: float,
    whole_share: float = 0.0,
) -> tuple[LevelShare, ...]:
    """Octaves of unregistered data: the coarse ones first, then all alike.

    Source: Wolski et al. 2024: probabilities 2**linspace(m, 1), m falling over the warm-up.
    Differs: it ends level; the released code goes on towards the finest without a bound. And views
    of the whole scene come `whole_share` of an octave more often than a uniform level brings them:
    an image, not a texture, has to come true there.
    """
    low, high = level_range
    count = max(1, round(high - low))
    left = max(0.0, 1 - fraction / coarse_until) if coarse_until > 0 else 0.0
    skew = math.log2(coarse_first) * left
    edges = np.linspace(low, high, count + 1)
    falls = np.linspace(skew, 0.0, count)
    octaves = (LevelShare(a, b, 2.0**m) for a, b, m in zip(edges, edges[1:], falls))
    return LevelShare(low, min(low + _WHOLE, high), whole_share), *octaves


def draw_windows(
    level: float,
    count: int,
    patch_size: int,
    field_size: tuple[float, float],
    alignment: int,
    rng: np.random.Generator,
) -> list[Window]:
    """Windows of one patch each, uniform over the field, at one position modulo `alignment`.

    The sub-pixel phase is uniform as well. A window that does not fit, at levels about 0, is
    centred and reaches over the edge by less than one alignment.
    """
    d = density(level, patch_size)
    windows = []
    for _ in range(count):
        origin = []
        for side in field_size:
            low = math.ceil(-side / 2 * d / alignment)
            high = math.floor((side / 2 * d - patch_size) / alignment)
            if high < low:
                low = high = round((-patch_size / 2) / alignment)
            cell = int(rng.integers(low, high + 1))
            phase = int(rng.integers(PHASE_STEPS)) / PHASE_STEPS if high > low else 0.0
            origin.append((cell * alignment + phase) / d)
        windows.append(Window((origin[0], origin[1]), level, patch_size, patch_size))
    return windows
