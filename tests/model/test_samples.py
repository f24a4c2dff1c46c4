"""The figure of a strip of samples: how far their spectrum is from that of the data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from model.samples import save_samples, strip_distance
from model.space import Window


def texture(seed: int, size: int = 64) -> torch.Tensor:
    """Noise of all finenesses, float32 [1, 3, size, size] in [-1, 1]."""
    rng = torch.Generator().manual_seed(seed)
    total = torch.zeros(1, 3, size, size)
    for cells in (4, 8, 16, 32, 64):
        noise = torch.randn(1, 3, cells, cells, generator=rng)
        total += 0.12 * F.interpolate(noise, (size, size), mode="nearest")
    return total.clamp(-1, 1)


def test_a_strip_is_as_far_from_the_data_as_its_spectrum() -> None:
    real = texture(0)
    assert strip_distance(real, real) == 0
    other = strip_distance(texture(1), real)
    blurred = strip_distance(F.avg_pool2d(real, 3, 1, 1), real)
    flat = strip_distance(0.1 * real, real)
    assert other < 6 < blurred < flat
    # More windows: closer to the data's own.
    many = torch.cat([texture(seed) for seed in range(1, 9)])
    assert strip_distance(many, real) < 1.3 * other


def test_a_flat_picture_has_a_finite_distance() -> None:
    flat = torch.zeros(1, 3, 64, 64)
    assert 0 < strip_distance(texture(0), flat) < 1e4
    assert strip_distance(flat, flat) == 0


class Brightness:
    """Shows how far to the right a pixel lies, from -0.5 to 0.5, and notes what was asked for."""

    patch_size, field_size, level_range, identity = 16, (1.25, 1.0), (0.0, 2.0), "brightness"

    def __init__(self) -> None:
        self.asked: list[Window] = []

    def render(self, windows: Sequence[Window]) -> torch.Tensor:
        self.asked += windows
        rows = []
        for w in windows:
            x = w.origin_xy[0] + (torch.arange(w.width) + 0.5) / (16 * 2**w.level)
            rows.append(x.expand(3, w.height, -1) / 1.25)
        return torch.stack(rows)


@pytest.mark.parametrize("has_picture", [True, False])
def test_samples_stay_within_the_field(tmp_path: Path, has_picture: bool) -> None:
    """At level 0 a window of two patches would be twice as large as the scene."""
    space = Brightness()

    def reals(level: float, count: int, rng: Any) -> Any:
        return SimpleNamespace(images=torch.zeros(count, 3, 16, 16))

    source: Any = SimpleNamespace(picture=space if has_picture else None, reals=reals)
    path = tmp_path / "step0000001.jpg"
    distances = save_samples(space, source, (0.0, 2.0), [0, 1], path)  # type: ignore[arg-type]
    for w in space.asked:
        size = w.width / (16 * 2**w.level)
        for origin, side in zip(w.origin_xy, space.field_size, strict=True):
            assert -side / 2 - 1e-9 <= origin and origin + size <= side / 2 + 1e-9
    assert {(w.level, w.width) for w in space.asked} == {(0.0, 16), (1.0, 32), (2.0, 32)}
    assert set(distances) == {"0", "1", "2"}
    assert (max(distances.values()) == 0) == has_picture
    strip = np.asarray(Image.open(path))
    assert strip.shape == (3 * 32, 3 * 32, 3)
    if has_picture:  # the same windows in the same order
        assert np.abs(strip[:32].astype(int) - strip[64:]).max() <= 8
