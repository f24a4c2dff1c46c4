"""Which windows are drawn while training: levels by schedule, places uniform in the field."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from model.pyramid import ImagePyramid
from model.scale import PHASE_STEPS, density
from model.space import Window


@dataclass(frozen=True)
class LevelShare:
    """A range of levels, and how often a group comes from it."""

    low: float
    high: float
    share: float


def draw_level(shares: tuple[LevelShare, ...], rng: np.random.Generator) -> float:
    """A level (octaves): a range by its share, then uniform inside it."""
    weights = np.array([s.share for s in shares])
    chosen = shares[int(rng.choice(len(shares), p=weights / weights.sum()))]
    return float(rng.uniform(chosen.low, chosen.high))


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


class PatchSource(Protocol):
    """Training data whose windows have a known level and place."""

    @property
    def field_size(self) -> tuple[float, float]: ...

    @property
    def level_range(self) -> tuple[float, float]: ...

    def images(self, windows: list[Window]) -> torch.Tensor:
        """The truth in `windows`: float32 [N, 3, H, W] in [-1, 1]."""
        ...


class RegisteredSource:
    """One large image, of which every window is known."""

    def __init__(self, pyramid: ImagePyramid) -> None:
        self.pyramid = pyramid

    @property
    def field_size(self) -> tuple[float, float]:
        return self.pyramid.field_size

    @property
    def level_range(self) -> tuple[float, float]:
        return self.pyramid.level_range

    def images(self, windows: list[Window]) -> torch.Tensor:
        origins = np.array([w.origin_xy for w in windows], np.float64)
        levels = np.array([w.level for w in windows], np.float64)
        return self.pyramid.sample(origins, levels, windows[0].width)
