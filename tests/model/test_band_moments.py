"""What is too weak is strengthened, band by band, and nothing else is moved."""

from __future__ import annotations

import math

import pytest
import torch

from model.band_moments import BandMoments
from model.distributed import Ranks


def noise(count: int, seed: int, side: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.2 * torch.randn(count, 3, side, side, generator=generator)


def without_fine(img: torch.Tensor, share: float, above: float) -> torch.Tensor:
    """`img` with frequencies above so many cycles a pixel `share` times as strong."""
    side = img.shape[-1]
    fy, fx = torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)
    gain = torch.where(torch.hypot(fy, fx) > above, share, 1.0)
    return torch.fft.irfft2(torch.fft.rfft2(img) * gain, (side, side))


def power_between(img: torch.Tensor, low: float, high: float) -> float:
    side = img.shape[-1]
    frequency = torch.hypot(torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side))
    inside = (frequency > low) & (frequency <= high)
    return float(torch.fft.rfft2(img).abs().square()[..., inside].mean())


def followed(real: torch.Tensor, gen_img: torch.Tensor, weight: float, steps: int) -> torch.Tensor:
    """`gen_img` after so many steps along the pull."""
    moments = BandMoments((0.0, 2.0), 64)
    for step in range(steps):
        gen_img = elsewhere(gen_img, step)
        grad, _deviation = moments.pull(real, gen_img, 0.4, Ranks())
        gen_img = gen_img - weight * grad
    return gen_img


def elsewhere(img: torch.Tensor, step: int) -> torch.Tensor:
    """The same, moved: the middle of a window counts most, and windows lie anywhere."""
    return img.roll((23 * step, 37 * step), (2, 3))


def test_equal_statistics_pull_nowhere_though_no_pixel_is_equal() -> None:
    grad, deviation = BandMoments((0.0, 2.0), 64).pull(noise(64, 0), noise(64, 1), 0.4, Ranks())
    assert deviation < 0.04 and float(grad.square().mean().sqrt()) < 0.12
    weak, deviation = BandMoments((0.0, 2.0), 64).pull(noise(64, 0), noise(64, 1) / 2, 0.4, Ranks())
    assert deviation == pytest.approx(math.log(2), rel=0.02)
    # The pull is down the gradient: it makes a weak band stronger.
    assert float((weak * noise(64, 1)).mean()) < 0


@pytest.mark.parametrize("side", [64, 48, 63])
def test_a_pull_is_three_times_as_strong_as_what_is_missing(side: int) -> None:
    share = 0.8
    grad, deviation = BandMoments((0.0, 2.0), side).pull(
        noise(64, 0, side), share * noise(64, 0, side), 0.4, Ranks()
    )
    assert deviation == pytest.approx(-math.log(share), rel=1e-3)
    # A little more is gathered than there is by itself.
    assert float(grad.square().mean().sqrt()) == pytest.approx(-3 * math.log(share), rel=0.1)


def test_contrast_and_colour_become_those_of_the_real_windows() -> None:
    real, weak = noise(32, 0) + 0.1, without_fine(noise(32, 1), 0.6, 0.25)
    moved = followed(real, weak, 0.01, 400)
    for low, high in ((0.05, 0.24), (0.26, 0.35), (0.36, 0.49), (0.51, 0.71)):
        ratio = power_between(moved, low, high) / power_between(real, low, high)
        assert ratio == pytest.approx(1, abs=0.15)
    assert float(moved.mean()) == pytest.approx(0.1, abs=0.02)


def test_colour_is_strengthened_where_it_is_missing_and_light_is_left_alone() -> None:
    real = noise(32, 0)
    grey = noise(32, 1)
    luma = grey.mean(1, keepdim=True)
    moved = followed(real, luma + 0.5 * (grey - luma), 0.01, 200)
    moved_luma = moved.mean(1, keepdim=True)
    assert float((moved - moved_luma).std() / (grey - luma).std()) == pytest.approx(1, abs=0.1)
    assert float(moved_luma.std() / luma.std()) == pytest.approx(1, abs=0.05)


def test_what_another_loss_holds_down_is_gathered_until_it_is_there() -> None:
    """A steady pull to grey, as strong as a tenth of a neper: alone a deviation would stay."""
    real, gen_img = noise(32, 0), noise(32, 1)
    moments, deviations = BandMoments((0.0, 2.0), 64), []
    for step in range(400):
        gen_img = elsewhere(gen_img, step)
        grad, deviation = moments.pull(real, gen_img, 0.4, Ranks())
        gen_img = gen_img - 0.01 * (grad + 0.3 * gen_img / gen_img.std())
        deviations.append(float(deviation))
    assert deviations[-1] < 0.5 * max(deviations[:60])
    assert float(gen_img.std() / real.std()) == pytest.approx(1, abs=0.03)


def test_only_what_is_invented_is_moved() -> None:
    moments = BandMoments((0.0, 2.0), 64)
    real, gen_img = noise(32, 0) + 0.3, 0.5 * noise(32, 1)
    grad, _deviation = moments.pull(real, gen_img, 0.4, Ranks(), octaves=1)
    coarse, fine = power_between(grad, -1, 0.2), power_between(grad, 0.3, 0.5)
    assert coarse < 1e-3 * fine
    everything, _deviation = BandMoments((0.0, 2.0), 64).pull(real, gen_img, 0.4, Ranks())
    assert power_between(everything, -1, 0.2) > 0.1 * power_between(everything, 0.3, 0.5)


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
    powers = (moments.sums[heard, 0, 2:] / moments.weights[heard, None, None]).mean((1, 2))
    assert float(powers[1] / powers[0]) == pytest.approx(16, rel=1e-4)


def test_flat_windows_are_finite() -> None:
    flat = torch.zeros(4, 3, 64, 64)
    for real, gen_img in ((flat, noise(4, 0)), (noise(4, 0), flat), (flat, flat)):
        grad, deviation = BandMoments((0.0, 2.0), 64).pull(real, gen_img, 0.4, Ranks())
        assert bool(grad.isfinite().all()) and math.isfinite(float(deviation))
