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


_SPREAD = np.array([0.7548776662466927, 0.5698402909980532])
"""From one window of a group to the next, of each axis: Roberts 2018, the R2 sequence."""
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
    residues: int | None = None,
) -> list[Window]:
    """Windows of one patch each, uniform over the field, at one position modulo `alignment`.

    That position is drawn for each group, the sub-pixel phase for each window. Places of a group
    are spread over the field. A window that does not fit is centred.

    Args:
        level: Octaves.
        count: Windows.
        patch_size: Pixels.
        field_size: Width and height, field units.
        alignment: Pixels; see above.
        rng: Says where.
        residues: How many positions modulo `alignment` there are, where each costs something: then
            a window may reach over the edge by less than what lies between two; None: all.
    """
    d = density(level, patch_size)
    between = alignment // (residues or alignment)
    shift = rng.random(2)
    places = (shift + np.arange(count)[:, None] * _SPREAD) % 1
    axes = [
        _origins(side * d, patch_size, shares, alignment, between, rng) / d
        for side, shares in zip(field_size, places.T, strict=True)
    ]
    return [Window((float(x), float(y)), level, patch_size, patch_size) for x, y in zip(*axes)]


def _origins(
    extent: float,
    size: int,
    shares: np.ndarray,
    alignment: int,
    between: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """First pixels of windows of `size` in `extent` pixels about 0, one for each of `shares`.

    A share, 0 to 1, says which of the places modulo `alignment` it is.
    """
    low, high = -extent / 2, extent / 2 - size
    if high <= low:
        return np.full(len(shares), float(round((low + high) / 2)))
    any_place = rng.uniform(low, high)
    first = math.floor(any_place / between + (0.5 if between > 1 else 0.0)) * between
    phases = rng.integers(PHASE_STEPS, size=len(shares)) / PHASE_STEPS
    begin = np.ceil((low - first - phases) / alignment)
    end = np.floor((high - first - phases) / alignment)
    cells = np.minimum(begin + np.floor(shares * (end - begin + 1)), end)
    # With less room than an alignment that phase may not fit, but this one does.
    fits = end >= begin
    phase = math.floor((any_place - math.floor(any_place)) * PHASE_STEPS) / PHASE_STEPS
    return first + np.where(fits, cells * alignment + phases, phase)
