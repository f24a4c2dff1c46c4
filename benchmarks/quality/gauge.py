"""Where a scene that was never told its places lies in the real picture.

Patches without places fix a scene up to a shift and a scale of the whole, and no figure should
count that. Both are found by comparing windows of the two, coarse to fine, and the real picture is
measured through them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from model.metrics.figures import rng_for
from model.metrics.windows import random_windows, render_all
from model.space import ScaleSpace, Window

LEVELS = (2.0, 3.0, 4.0, 5.0, 6.0)
"""Levels of the windows that are compared, coarse to fine."""
_WINDOWS = 48
_RESPONSE = 0.2
"""Of a phase correlation, from which a window counts as found."""
_FEWEST = 12
_ROUNDS = 4


@dataclass(frozen=True)
class Gauge:
    """What lies at (x, y) in the scene lies at `scale` * (x, y) + `shift_xy` in the picture."""

    scale: float = 1.0
    shift_xy: tuple[float, float] = (0.0, 0.0)
    """Field units."""
    found: int = 0
    """Windows of the last level that agreed; 0 where nothing could be matched."""


class Seen:
    """The real picture through a gauge: with the places and levels of the scene.

    Args:
        truth: The picture.
        gauge: See `Gauge`.
        field_size: Of the scene, field units.
    """

    def __init__(self, truth: ScaleSpace, gauge: Gauge, field_size: tuple[float, float]) -> None:
        self._truth, self._gauge = truth, gauge
        self.patch_size, self.field_size = truth.patch_size, field_size
        self.level_range = truth.level_range
        self.identity = f"{truth.identity}:{gauge.scale!r}:{gauge.shift_xy!r}"

    def render(self, windows: Sequence[Window]) -> torch.Tensor:
        """See `model.space.ScaleSpace.render`."""
        scale, (dx, dy) = self._gauge.scale, self._gauge.shift_xy
        return self._truth.render(
            [
                replace(
                    w,
                    origin_xy=(scale * w.origin_xy[0] + dx, scale * w.origin_xy[1] + dy),
                    level=w.level - math.log2(scale),
                )
                for w in windows
            ]
        )


def find_gauge(space: ScaleSpace, truth: ScaleSpace, seed: int = 0) -> Gauge:
    """The gauge of a scene; `found` is 0 where too few windows could be matched.

    Each level starts from what the one before found. A window's shift is the peak of the phase
    correlation with the real one; scale and shift are fitted to those of all windows, the outliers
    being left out.
    """
    gauge = Gauge()
    for level in LEVELS:
        if not space.level_range[0] <= level <= space.level_range[1]:
            continue
        rng = rng_for(seed, "gauge", level)
        windows = random_windows(space, level, _WINDOWS, rng)
        here, moves = _moves(space, Seen(truth, gauge, space.field_size), windows)
        better = _fitted(gauge, here, here + moves)
        if better.found >= _FEWEST:
            gauge = better
    return gauge


def _moves(
    space: ScaleSpace, truth: ScaleSpace, windows: list[Window]
) -> tuple[np.ndarray, np.ndarray]:
    """Centres of the windows that were found, and how far each lies from its real one: [N, 2]."""
    grey = [render_all(s, windows).mean(1).numpy().astype(np.float64) for s in (space, truth)]
    size = windows[0].width
    weights = cv2.createHanningWindow((size, size), cv2.CV_64F)
    pixel = 1 / (space.patch_size * 2.0 ** windows[0].level)
    here, moves = [], []
    for mine, its, window in zip(*grey, windows, strict=True):
        (x, y), response = cv2.phaseCorrelate(mine - mine.mean(), its - its.mean(), weights)
        if response >= _RESPONSE:
            here.append([origin + size / 2 * pixel for origin in window.origin_xy])
            moves.append([x * pixel, y * pixel])
    return np.array(here).reshape(-1, 2), np.array(moves).reshape(-1, 2)


def _fitted(gauge: Gauge, here: np.ndarray, there: np.ndarray) -> Gauge:
    """The gauge after one more step, from points before it [N, 2] and where they belong."""
    keep = np.ones(len(here), bool)
    scale, shift = 1.0, np.zeros(2)
    for _ in range(_ROUNDS):
        if keep.sum() < _FEWEST:
            return Gauge()
        a, b = here[keep], there[keep]
        a0, b0 = a.mean(0), b.mean(0)
        scale = float(((a - a0) * (b - b0)).sum() / np.square(a - a0).sum())
        shift = b0 - scale * a0
        error = np.linalg.norm(scale * here + shift - there, axis=1)
        keep = error <= 3 * float(np.median(error[keep])) + 1e-9
    # The step was measured in the scene's own places: first it, then what was known before.
    total = gauge.scale * shift + np.array(gauge.shift_xy)
    return Gauge(gauge.scale * scale, (float(total[0]), float(total[1])), int(keep.sum()))
