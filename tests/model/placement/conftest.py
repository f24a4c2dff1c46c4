"""Patches of a procedural picture, with their truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.placement import procedural_picture
from model.pyramid import ImagePyramid

SIDE = 32
"""Pixels of a patch."""


@dataclass(frozen=True)
class Cut:
    """Patches and where they came from."""

    images: np.ndarray
    levels: np.ndarray
    center_xy: np.ndarray
    picture: np.ndarray

    def errors(self, center_xy: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Patch pixels off, after the offset that is free."""
        difference = (center_xy - self.center_xy)[rows]
        difference = difference - np.median(difference, 0)
        return np.hypot(*difference.T) * SIDE * 2.0 ** self.levels[rows]


@pytest.fixture(scope="session")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Cut]:
    """Cuts patches: `cut(width, height, counts, seed)`, `counts` by octave from level 0."""
    folder = tmp_path_factory.mktemp("pictures")
    done: dict[tuple[object, ...], Cut] = {}

    def make(
        width: int = 480, height: int = 400, counts: tuple[int, ...] = (40, 80, 160), seed: int = 0
    ) -> Cut:
        key = (width, height, counts, seed)
        if key not in done:
            done[key] = _cut(folder, width, height, counts, seed)
        return done[key]

    return make


def _cut(folder: Path, width: int, height: int, counts: tuple[int, ...], seed: int) -> Cut:
    picture = procedural_picture(width, height, seed)
    path = folder / f"{width}-{height}-{seed}.png"
    Image.fromarray(picture).save(path)
    pyramid = ImagePyramid.open(path, patch_size=SIDE, cache_dir=folder)
    rng = np.random.default_rng(seed)
    levels = np.concatenate([k + rng.random(n) for k, n in enumerate(counts)])
    levels[0] = 0.0
    rng.shuffle(levels)
    span = 2.0 ** -levels[:, None]
    center = (rng.random((len(levels), 2)) - 0.5) * (np.array(pyramid.field_size) - span)
    images = pyramid.sample(center - span / 2, levels, SIDE)
    pyramid.close()
    pixels = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return Cut(pixels.permute(0, 2, 3, 1).contiguous().numpy(), levels, center, picture)
