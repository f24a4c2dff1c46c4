"""Sliced Wasserstein distance of small neighbourhoods: is it the same paint?

Source: Karras et al. 2018, "Progressive growing of GANs", section 5 and its public code: a
Laplacian pyramid of every image down to 16 px, at each of its levels 128 neighbourhoods of
7 x 7 x 3 of every image, 512 random directions, the distance along each, times 1000; the mean over
the pyramid.
Differs: an image is a window of one octave, so that at 64 px there are 3 levels; sets are thousands
of windows instead of 16,384; and beside each set's own normalisation there is the real set's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from model.laplacian import laplacian_pyramid

NEIGHBOURHOOD = 7
"""Pixels a side."""
PER_WINDOW = 128
"""Neighbourhoods of a window at each density."""
DIRECTIONS = 512
"""Random directions; ProGAN takes 4 times 128."""
UNIT = 1000.0
"""Distances are given in thousandths of a standard deviation."""
_BINS = 16384  # edges at which the distributions are compared, over all of their range
_IMAGES = 128  # images at once
_CHUNK = 16  # directions at once


@dataclass(frozen=True)
class Neighbourhoods:
    """Random neighbourhoods of the windows of one set, at one density of their pyramid."""

    values: torch.Tensor
    """float32 [N * K, 3 * 49]: K of each window, in the windows' order."""
    mean: torch.Tensor
    """Of each channel over the set. [3]."""
    std: torch.Tensor
    """Of each channel over the set. [3]."""
    per_window: int
    """K."""


def neighbourhoods(
    img: torch.Tensor, rng: np.random.Generator, depth: int = 0, per_window: int = PER_WINDOW
) -> Neighbourhoods:
    """Random neighbourhoods of one level of the images' pyramids.

    Args:
        img: One set of windows, float32 [N, 3, P, P].
        rng: Places come from it, uniform inside the image.
        depth: Which level, 0 the finest; below `model.laplacian.num_levels(P)`.
        per_window: Neighbourhoods of each window.
    """
    n, channels = img.shape[:2]
    values = np.empty((n * per_window, channels * NEIGHBOURHOOD**2), np.float32)
    for begin in range(0, n, _IMAGES):
        band = laplacian_pyramid(img[begin : begin + _IMAGES])[depth].contiguous().numpy()
        out = values[begin * per_window : (begin + len(band)) * per_window]
        _cut(band, rng, per_window, out)
    return _set_of(torch.from_numpy(values), channels, per_window)


def _cut(band: np.ndarray, rng: np.random.Generator, per_window: int, out: np.ndarray) -> None:
    """Fill `out` [N * per_window, C * 49] with neighbourhoods of `band` [N, C, H, W]."""
    n, channels, height, width = band.shape
    k = NEIGHBOURHOOD
    y = rng.integers(0, height - k + 1, (n, per_window))
    x = rng.integers(0, width - k + 1, (n, per_window))
    inside = (np.arange(k)[:, None] * width + np.arange(k)).reshape(-1)
    planes = (np.arange(channels)[:, None] * (height * width) + inside).reshape(-1)
    first = np.arange(n)[:, None] * (channels * height * width) + y * width + x
    np.take(band.reshape(-1), first.reshape(-1, 1) + planes, out=out, mode="clip")


def _set_of(values: torch.Tensor, channels: int, per_window: int) -> Neighbourhoods:
    split = values.reshape(len(values), channels, -1)
    mean = values.mean(0).reshape(channels, -1).mean(1)
    square = torch.linalg.vector_norm(split, dim=(0, 2)).square() / (len(split) * split.shape[2])
    std = (square - mean.square()).clamp_min(1e-12).sqrt()
    return Neighbourhoods(values, mean, std, per_window)


def sliced_wasserstein(
    real: Neighbourhoods,
    others: Sequence[tuple[Neighbourhoods, str]],
    directions: torch.Tensor,
) -> list[float]:
    """Mean distance from the real set to each of some others, along random directions.

    Args:
        real: The set to compare with.
        others: Sets (of any size) and how they are normalised. 'own': each channel of each set
            loses its own mean and is divided by its own standard deviation, as ProGAN does: a set
            that is darker or flatter all over is as good. 'real': both by those of `real`.
        directions: Of unit length, float32 [3 * 49, D]: see `random_directions`.

    Returns:
        Standard deviations times 1000, for each of `others`. The first Wasserstein distance of two
        sets on a line is the integral of |F - G| over their cumulative distributions; it is summed
        here over 16,384 steps, which is the mean difference of the sorted values to less than one.
    """
    total = np.zeros(len(others))
    for part in directions.split(_CHUNK, dim=1):
        lines = [_project(real, part, real.mean, real.std)]
        for other, normalise in others:
            by = other if normalise == "own" else real
            lines.append(_project(other, part, by.mean, by.std))
        total += _distances(lines)
    return (UNIT * total / directions.shape[1]).tolist()


def random_directions(count: int, rng: np.random.Generator, size: int = 147) -> torch.Tensor:
    """Directions uniform on the sphere: float32 [size, count]."""
    directions = rng.standard_normal((size, count)).astype(np.float32)
    return torch.from_numpy(directions / np.linalg.norm(directions, axis=0))


def resampled(
    source: Neighbourhoods, windows: np.ndarray, per_window: int | None = None
) -> Neighbourhoods:
    """The set with other windows (indices, [M]) and, where asked for, fewer neighbourhoods."""
    k = source.per_window if per_window is None else min(per_window, source.per_window)
    split = source.values.reshape(-1, source.per_window, source.values.shape[-1])
    values = split[torch.from_numpy(windows), :k].reshape(-1, source.values.shape[-1])
    return _set_of(values, len(source.mean), k)


def _project(
    source: Neighbourhoods, directions: torch.Tensor, mean: torch.Tensor, std: torch.Tensor
) -> torch.Tensor:
    """Normalised neighbourhoods along each direction: float32 [D, N * K]."""
    pixels = source.values.shape[1] // len(mean)
    scaled = directions / std.repeat_interleave(pixels)[:, None]
    offset = mean.repeat_interleave(pixels) @ scaled
    return (scaled.T @ source.values.T).sub_(offset[:, None])


def _distances(lines: list[torch.Tensor]) -> np.ndarray:
    """Integrals of |F - G| of the first set and each other, summed over directions.

    Args:
        lines: float32 [D, any number] each, along the same directions.
    """
    low = torch.stack([x.amin(1) for x in lines]).amin(0)[:, None]
    high = torch.stack([x.amax(1) for x in lines]).amax(0)[:, None]
    if not torch.isfinite(high - low).all():
        raise ValueError(
            "windows must hold numbers, got some that are not; does the scale space come from a "
            "run that has diverged?"
        )
    step = ((high - low) / (_BINS - 1)).clamp_min(1e-9)
    bins = [((x - low) / step).to(torch.int64).numpy() for x in lines]
    total = np.zeros(len(lines) - 1)
    for i, width in enumerate(step[:, 0].tolist()):
        below = [np.cumsum(np.bincount(x[i], minlength=_BINS)) / x.shape[1] for x in bins]
        total += [np.abs(below[0] - other).sum() * width for other in below[1:]]
    return total
