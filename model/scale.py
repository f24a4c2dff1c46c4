"""Coordinates and units: the only place where level, density, zoom and lattices are converted.

The field is centred at the origin, x right, y down, and its shorter side is one *field unit*.
A *level* is continuous, in octaves: `density(level) = patch_size * 2**level` pixels per field unit.
Pixel centres are at half-integers (`align_corners=False`). Plain Python: no torch, no numpy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

PHASE_STEPS = 256
"""Windows snap to 1/256 of a pixel, so that rounding of an origin can never change its lattice."""
_HAIR = 0.01  # octaves


def density(level: float, patch_size: int) -> float:
    """Pixels per field unit at `level` (octaves) for patches of `patch_size` pixels."""
    return patch_size * 2.0**level


def level_of_density(pixels_per_unit: float, patch_size: int) -> float:
    """Level (octaves) whose density is `pixels_per_unit`; the inverse of `density`."""
    return math.log2(pixels_per_unit / patch_size)


def whole_levels(level_range: Sequence[float], top: float = math.inf) -> tuple[float, ...]:
    """The whole levels of a range up to `top`, the coarsest first, octaves; none: empty.

    An end counts as whole within 0.01 octave: the finest of many patches lies a hair below one.
    """
    low, high = level_range
    first, last = math.ceil(low - _HAIR), math.floor(min(high, top) + _HAIR)
    return tuple(float(level) for level in range(first, last + 1))


def field_size_of(width: float, height: float) -> tuple[float, float]:
    """Field size (width, height) in field units of a scene of any size: the shorter side is 1."""
    short = min(width, height)
    return width / short, height / short


@dataclass(frozen=True)
class Lattice:
    """Where a window's pixels lie along one axis, in whole pixels of the field's own lattice.

    The centre of pixel `i` is at `(first + phase + i + 0.5) / density` field units. Every tile cut
    from one window shares `phase`, and coarser layers derive their lattices from `first` and
    `phase` alone: that is what makes tiles exact.
    """

    first: int
    """Index of the first pixel, counted from the field's centre."""
    phase: float
    """Sub-pixel offset in [0, 1), a multiple of 1/256 pixel."""

    @staticmethod
    def at(origin: float, pixels_per_unit: float) -> Lattice:
        """Lattice of a window whose low edge lies at `origin` (field units)."""
        steps = round(origin * pixels_per_unit * PHASE_STEPS)
        return Lattice(steps // PHASE_STEPS, (steps % PHASE_STEPS) / PHASE_STEPS)
