"""Layout: is it the same scene, whatever its brushwork, up to one shift of the whole field?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from model.metrics.windows import random_windows, render_all
from model.rendering import render_view
from model.scale import density, whole_levels
from model.space import ScaleSpace, Window

LOW_PASS_PX = 16
"""Pixels a side to which a window is averaged before it is compared."""
MAX_SHIFT = 0.25
"""Field units; an unregistered scene cannot slide further and still fill its field."""
FINEST = 3
"""Level at which the search for the shift ends: 1/128 field unit."""
_REACH = 2  # low-passed pixels around the shift of the level before
_ALIKE = 0.2  # correlation below which a level cannot refine the shift


def best_shift(space: ScaleSpace, scene: ScaleSpace) -> tuple[float, float]:
    """The one shift (x, y in field units) after which the scene shows what `space` shows.

    Whole fields, low-passed to 16 pixels a patch, are correlated at every shift of whole low-passed
    pixels: at the coarsest level all up to a quarter of a field unit, then, level by level up to 3,
    those within 2 pixels of the best so far, while they are alike at all (0.2).

    Args:
        space: What is measured.
        scene: The truth; what `space` shows at x it shows at x + shift.
    """
    first = max(0, math.ceil(space.level_range[0]))
    shift = (0.0, 0.0)
    for level in whole_levels((first, space.level_range[1]), FINEST) or (float(first),):
        a, b = (_overview(s, level) for s in (space, scene))
        d = LOW_PASS_PX * 2.0**level
        near = (round(shift[0] * d), round(shift[1] * d))
        reach = math.floor(MAX_SHIFT * d) if level == first else _REACH
        moves = [(x, y) for y in range(-reach, reach + 1) for x in range(-reach, reach + 1)]
        moves.sort(key=lambda move: move[0] ** 2 + move[1] ** 2)  # of equals the least move
        scores = [_correlation_at(a, b, near[0] + x, near[1] + y) for x, y in moves]
        best = int(np.argmax(scores))
        if scores[best] >= _ALIKE:
            x, y = moves[best]
            shift = ((near[0] + x) / d, (near[1] + y) / d)
    return shift


@dataclass(frozen=True)
class Layout:
    """Sums over the low-passed pixels of each window, from which correlations come."""

    sums: np.ndarray
    """float64 [N, 3, 6]: of each window and channel 1, a, b, a a, b b, a b."""

    def correlation(self, counts: np.ndarray | None = None) -> np.ndarray:
        """Pearson's correlation of all pixels of all windows, each channel less its own mean.

        Args:
            counts: How often each window counts, [B, N]; None takes all once.

        Returns:
            float64 [B], in [-1, 1]; 0 where a side does not vary.
        """
        if counts is None:
            counts = np.ones((1, len(self.sums)))
        n, a, b, aa, bb, ab = np.moveaxis(np.tensordot(counts, self.sums, 1), -1, 0)
        n = np.maximum(n, 1)
        covariance = (ab - a * b / n).sum(-1)
        variance = (aa - a * a / n).sum(-1) * (bb - b * b / n).sum(-1)
        return covariance / np.sqrt(np.maximum(variance, 1e-20))


def measure_layout(
    space: ScaleSpace,
    scene: ScaleSpace,
    level: float,
    shift: tuple[float, float],
    count: int,
    rng: np.random.Generator,
) -> Layout:
    """Compare windows of `space` with those of the scene `shift` further on.

    Args:
        space, scene: What is measured, and the truth.
        level: Octaves.
        shift: From `best_shift`: the same for all levels.
        count: Windows of one patch, anywhere in the field.
        rng: Places come from it.

    Windows are averaged to 16 x 16 pixels; of these, only those whose shifted place lies inside the
    scene are compared.
    """
    p = space.patch_size
    windows = random_windows(space, level, count, rng)
    there = [
        Window((w.origin_xy[0] + shift[0], w.origin_xy[1] + shift[1]), level, p, p) for w in windows
    ]
    a, b = (
        F.adaptive_avg_pool2d(render_all(s, places), LOW_PASS_PX).double().numpy()
        for s, places in ((space, windows), (scene, there))
    )
    step = p / LOW_PASS_PX / density(level, p)
    centers = (np.arange(LOW_PASS_PX) + 0.5) * step
    inside = []
    for axis in range(2):
        at = np.array([w.origin_xy[axis] for w in there])[:, None] + centers
        inside.append(np.abs(at) <= scene.field_size[axis] / 2)
    mask = (inside[1][:, :, None] & inside[0][:, None, :])[:, None].astype(np.float64)
    terms = (np.ones_like(a), a, b, a * a, b * b, a * b)
    return Layout(np.stack([(t * mask).sum((2, 3)) for t in terms], -1))


def _overview(space: ScaleSpace, level: float) -> np.ndarray:
    """The whole field at `level`, low-passed: float64 [3, h, w], its centre on a pixel's corner."""
    block = space.patch_size / LOW_PASS_PX
    d = LOW_PASS_PX * 2.0**level
    columns, rows = (max(2, 2 * int(side * d / 2 + 1e-6)) for side in space.field_size)
    size = (round(columns * block), round(rows * block))
    pixels = torch.from_numpy(render_view(space, (0.0, 0.0), level, size))
    img = pixels.permute(2, 0, 1).double() / 127.5 - 1
    return F.adaptive_avg_pool2d(img, (rows, columns)).numpy()


def _correlation_at(a: np.ndarray, b: np.ndarray, x: int, y: int) -> float:
    """Correlation of `a` with `b` where `a` lies `x`, `y` pixels on: over what they share."""
    height, width = min(a.shape[1], b.shape[1]), min(a.shape[2], b.shape[2])
    left, top = max(0, -x), max(0, -y)
    right, bottom = min(width, width - x), min(height, height - y)
    if right - left < 2 or bottom - top < 2:
        return -1.0
    u = a[:, top:bottom, left:right]
    v = b[:, top + y : bottom + y, left + x : right + x]
    u = u - u.mean((1, 2), keepdims=True)
    v = v - v.mean((1, 2), keepdims=True)
    return float((u * v).sum() / math.sqrt(max(float((u * u).sum() * (v * v).sum()), 1e-20)))
