"""The figure of a strip of samples: how far their spectrum is from that of the data."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from model.samples import strip_distance


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
