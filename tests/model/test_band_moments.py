"""What is too weak is strengthened, band by band, and nothing else is moved."""

from __future__ import annotations

import math

import pytest
import torch

from model.band_moments import BandMoments
from model.distributed import Ranks
from model.laplacian import laplacian_pyramid


def noise(count: int, seed: int) -> torch.Tensor:
    return 0.2 * torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def followed(real: torch.Tensor, gen_img: torch.Tensor, weight: float, steps: int) -> torch.Tensor:
    """`gen_img` after so many steps along the pull."""
    moments = BandMoments((0.0, 2.0), 64)
    for _ in range(steps):
        grad, _deviation = moments.pull(real, gen_img, 0.4, Ranks())
        gen_img = gen_img - weight * grad
    return gen_img


def test_equal_statistics_pull_nowhere_though_no_pixel_is_equal() -> None:
    moments = BandMoments((0.0, 2.0), 64)
    grad, deviation = moments.pull(noise(64, 0), noise(64, 1), 0.4, Ranks())
    assert deviation < 0.02 and float(grad.square().mean().sqrt()) < 0.03
    weak, deviation = BandMoments((0.0, 2.0), 64).pull(noise(64, 0), noise(64, 1) / 2, 0.4, Ranks())
    assert deviation == pytest.approx(math.log(2), rel=0.02)
    # The pull is down the gradient: it makes a weak band stronger.
    assert float((weak * noise(64, 1)).mean()) < 0


def test_contrast_and_colour_become_those_of_the_real_windows() -> None:
    real, weak = noise(32, 0) + 0.1, noise(32, 1)
    fine, *_rest = laplacian_pyramid(weak)
    moved = followed(real, weak - 0.4 * fine, 0.01, 400)
    pairs = zip(laplacian_pyramid(real), laplacian_pyramid(moved), strict=True)
    for band_of_real, band in pairs:
        assert float(band.std() / band_of_real.std()) == pytest.approx(1, abs=0.08)
    assert float(moved.mean()) == pytest.approx(0.1, abs=0.02)


def test_the_set_counts_and_not_the_window() -> None:
    """Half of the windows flat and half of them rough is as real as any, where the real are so."""
    scale = torch.tensor([0.2, 1.8] * 16)[:, None, None, None]
    real, gen_img = scale * noise(32, 0), scale * noise(32, 1)
    moved = followed(real, gen_img, 0.01, 50)
    spread = moved.std((1, 2, 3))
    assert float(spread[0::2].mean() / spread[1::2].mean()) == pytest.approx(0.2 / 1.8, rel=0.05)


def test_every_quarter_of_an_octave_has_moments_of_its_own() -> None:
    moments = BandMoments((0.0, 2.0), 64)
    moments.pull(noise(8, 0), noise(8, 1), 1.7, Ranks())
    moments.pull(4 * noise(8, 0), 4 * noise(8, 1), 1.99, Ranks())
    heard = moments.weights.nonzero().flatten().tolist()
    assert heard == [7, 8] and len(moments.weights) == 9
    squares = (moments.sums[heard, 0, 1] / moments.weights[heard, None, None]).mean((1, 2))
    assert float(squares[1] / squares[0]) == pytest.approx(16, rel=1e-4)
