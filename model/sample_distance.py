"""How far what a run makes is from its data, while it trains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
import torch

from model.breathing import Breathe
from model.generator_space import GeneratorSpace
from model.laplacian import num_levels
from model.metrics.swd import (
    NEIGHBOURHOOD,
    Neighbourhoods,
    neighbourhoods,
    random_directions,
    sliced_wasserstein,
)
from model.metrics.windows import random_windows, render_all, windows_like
from model.space import ScaleSpace, Window
from model.training_data import RunData

WINDOWS = 24
"""Generated windows of an octave: one or two seconds of one core for all of them."""
REALS = 128
"""Real ones of an octave, which they are compared with."""
SCENES = 8
"""Latents that they share, where there are many scenes."""
_BATCH = 8
_LEVEL_STEPS = 8
"""Levels of patches are rounded to so many an octave, so that windows share one."""
_NEIGHBOURHOODS = 2048
"""Of a set at each density."""
_DIRECTIONS = 64
_LEAST_FLOOR = 1.0
"""Thousandths of a standard deviation: of a picture that is the same all over, 0 would be found."""


@dataclass(frozen=True)
class _Octave:
    """Real windows of an octave, at each density of their pyramid, and levels to compare at."""

    real: tuple[Neighbourhoods, ...]
    floor: float
    levels: tuple[float, ...]


class SampleDistance:
    """The sliced Wasserstein distance of a few windows by octave, over that of other real ones.

    About 1 where generated windows differ from real ones as real ones of other places do. It is
    `evaluate`'s distance (`model.metrics.swd`, by the real set's normalisation) of few windows, so
    that it can be told while a run trains: always the same real windows and the same places, so
    that its changes are those of the weights. With more windows the floor falls and the quotient
    rises: figures of a run are to be compared with its own, not with `evaluate`'s.

    Args:
        source: What is learned.
        level_range: Levels to measure, octaves.
        patch_size: Pixels.
        breathe: Called between parts of the work; may wait.
    """

    def __init__(
        self,
        source: RunData,
        level_range: tuple[float, float],
        patch_size: int,
        breathe: Breathe = lambda: None,
    ) -> None:
        rng = np.random.default_rng(0)
        self._directions = random_directions(_DIRECTIONS, rng, 3 * NEIGHBOURHOOD**2)
        self._depths = range(num_levels(patch_size))
        self._octaves: dict[str, _Octave] = {}
        low, high = level_range
        for level in np.arange(low, high + 0.01):
            first, _ = _real(source, float(level), REALS, rng, breathe)
            second, levels = _real(source, float(level), WINDOWS, rng, breathe)
            real = self._parts(first, rng)
            floor = self._between(real, self._parts(second, rng), breathe)
            name = f"{math.floor(level + 0.5)}"
            self._octaves[name] = _Octave(real, max(floor, _LEAST_FLOOR), levels)

    def measure(self, space: GeneratorSpace, breathe: Breathe = lambda: None) -> dict[str, float]:
        """By octave ('0', '1'...) the distance of generated windows, over that of real ones."""
        rng = np.random.default_rng(1)
        count = SCENES if space.generator.config.z_dim else 1
        found = {}
        for name, octave in self._octaves.items():
            windows = windows_like(space, octave.levels, rng)
            windows = [replace(w, seed=i % count) for i, w in enumerate(windows)]
            made = self._parts(_rendered(space, windows, breathe), rng)
            found[name] = self._between(octave.real, made, breathe) / octave.floor
        return found

    def _parts(self, img: torch.Tensor, rng: np.random.Generator) -> tuple[Neighbourhoods, ...]:
        return tuple(
            neighbourhoods(img, rng, depth, _NEIGHBOURHOODS // len(img)) for depth in self._depths
        )

    def _between(
        self, real: Sequence[Neighbourhoods], other: Sequence[Neighbourhoods], breathe: Breathe
    ) -> float:
        """The distance, mean over the pyramid."""
        distances = []
        for one, another in zip(real, other, strict=True):
            breathe()
            distances += sliced_wasserstein(one, [(another, "real")], self._directions)
        return fmean(distances)


def _real(
    source: RunData, level: float, count: int, rng: np.random.Generator, breathe: Breathe
) -> tuple[torch.Tensor, tuple[float, ...]]:
    """Real windows of about `level`, float32 [N, 3, P, P] in [-1, 1], and their levels, rising."""
    reals = source.reals(level, count, rng)
    if reals is not None:
        levels = np.sort((reals.levels.numpy() * _LEVEL_STEPS).round() / _LEVEL_STEPS)
        return reals.images, tuple(levels.tolist())
    assert source.picture is not None, "data without patches has a picture"
    windows = random_windows(source.picture, level, count, rng)
    return _rendered(source.picture, windows, breathe), (level,) * count


def _rendered(space: ScaleSpace, windows: Sequence[Window], breathe: Breathe) -> torch.Tensor:
    """See `render_all`; a few at a time."""
    return render_all(space, windows, lambda _share: breathe(), _BATCH)
