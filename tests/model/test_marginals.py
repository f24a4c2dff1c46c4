"""Neighbourhoods of generated windows come to be distributed as real ones."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from model.distributed import Ranks
from model.laplacian import laplacian_pyramid
from model.marginals import Marginals

PATCH = 32


def noise(count: int, seed: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return 0.2 * torch.randn(count, 3, PATCH, PATCH, generator=rng)


def strokes(count: int, seed: int) -> torch.Tensor:
    """Noise that runs from left to right, float32 [N, 3, P, P]."""
    return F.avg_pool2d(F.pad(noise(count, seed), (4, 4, 0, 0), "circular"), (1, 9), 1)


def specks(count: int, seed: int) -> torch.Tensor:
    """Few strong pixels, of the same standard deviation as `noise`."""
    cubed = noise(count, seed) ** 3
    return cubed * (0.2 / cubed.std())


def patchy(count: int, seed: int, block: int) -> torch.Tensor:
    """Squares of `block` pixels, half rough and half smooth, float32 [N, 3, P, P]."""
    rng = torch.Generator().manual_seed(seed)
    rough = (torch.rand(count, 1, PATCH // block, PATCH // block, generator=rng) < 0.5).float()
    return noise(count, seed) * (0.2 + 1.6 * F.interpolate(rough, scale_factor=block))


def pulled(
    real: torch.Tensor,
    gen_img: torch.Tensor,
    marginals: Marginals | None = None,
    level: float = 0.4,
) -> tuple[torch.Tensor, float]:
    """Gradient and deviation of one group."""
    marginals = marginals or Marginals((0.0, 2.0), PATCH)
    grad, deviation = marginals.pull(real, gen_img, level, np.random.default_rng(0), Ranks())
    return grad, float(deviation)


def followed(
    real: torch.Tensor, gen_img: torch.Tensor, steps: int = 200, energies: bool = False
) -> torch.Tensor:
    """`gen_img` after so many steps along the pull, which look at other neighbourhoods each."""
    marginals, rng = Marginals((0.0, 2.0), PATCH, energies), np.random.default_rng(0)
    for _ in range(steps):
        grad, _deviation = marginals.pull(real, gen_img, 0.4, rng, Ranks())
        gen_img = gen_img - 0.05 * grad
    return gen_img


def kurtosis(img: torch.Tensor) -> float:
    fine = laplacian_pyramid(img)[0]
    return float((fine**4).mean() / (fine**2).mean() ** 2)


def goes_on(img: torch.Tensor) -> float:
    """Correlation of how rough the image is here and eight pixels to the right."""
    rough = F.avg_pool2d(laplacian_pyramid(img)[0].square().mean(1, keepdim=True), 3, 1)
    both = torch.stack([rough[..., 8:].flatten(), rough[..., :-8].flatten()])
    return float(torch.corrcoef(both)[0, 1])


def across(img: torch.Tensor) -> float:
    """How much the image changes downwards, over how much to the right."""
    return float(img.diff(dim=2).std() / img.diff(dim=3).std())


def test_equal_distributions_pull_nowhere_though_no_pixel_is_equal() -> None:
    grad, deviation = pulled(noise(64, 0), noise(64, 1))
    assert deviation < 0.08
    # The RMS of the gradient is the deviation, whatever the size of the group.
    assert float(grad.square().mean().sqrt()) == pytest.approx(deviation, rel=0.2)
    weak, off = pulled(noise(64, 0), noise(64, 1) / 2)
    assert off > 4 * deviation
    assert float((weak * noise(64, 1)).mean()) < 0  # down the gradient is stronger


def test_contrast_colour_direction_and_tails_become_those_of_the_real_windows() -> None:
    moved = followed(noise(16, 0) + 0.1, noise(16, 1) / 2)
    assert float(moved.std()) == pytest.approx(0.2, rel=0.15)
    assert float(moved.mean()) == pytest.approx(0.1, abs=0.02)
    # What the variances of bands do not tell.
    real, plain = strokes(16, 0), noise(16, 1) / 3
    assert across(real) > 2.5 and 0.95 < across(plain) < 1.05
    assert across(followed(real, plain)) > 1.25
    real, plain = specks(16, 0), noise(16, 1)
    assert kurtosis(real) > 6 and kurtosis(plain) < 3.2
    assert kurtosis(followed(real, plain)) > 5


def test_detail_goes_on_as_far_as_that_of_the_real_windows() -> None:
    """Farther than a neighbourhood reaches: mostly the energies of waves tell."""
    real, plain = patchy(32, 0, PATCH), patchy(32, 1, 8)
    assert goes_on(real) > 0.7 and goes_on(plain) < 0.15
    with_energies, without = (
        goes_on(followed(real, plain, 40, energies)) - goes_on(plain) for energies in (True, False)
    )
    assert with_energies > 1.5 * without and with_energies > 0.05


def test_energies_too_pull_nowhere_where_they_are_those_of_the_real_windows() -> None:
    weak, deviations = Marginals((0.0, 2.0), PATCH, True), []
    for gen_img in (noise(128, 1), noise(128, 1) / 2):
        _, deviation = pulled(noise(128, 0), gen_img, copy.deepcopy(weak))
        deviations.append(deviation)
    assert deviations[0] < 0.1 and deviations[1] > 4 * deviations[0]


@pytest.mark.parametrize("patch_size", [16, 24, 32, 40, 64, 96])
def test_windows_of_any_size_have_energies_or_none(patch_size: int) -> None:
    img = noise(4, 0)[..., :16, :16].repeat(1, 1, 6, 6)[..., :patch_size, :patch_size]
    marginals = Marginals((0.0, 1.0), patch_size, True)
    grad, _ = marginals.pull(img, img / 2, 0.0, np.random.default_rng(0), Ranks())
    assert torch.isfinite(grad).all() and grad.shape == img.shape
    assert marginals.with_energies[0] == (patch_size >= 32)


def test_the_set_counts_and_not_the_window() -> None:
    """Half of the windows flat and half of them rough is as real as any, where the real are so."""
    scale = torch.tensor([0.2, 1.8] * 16)[:, None, None, None]
    moved = followed(scale * noise(32, 0), scale * noise(32, 1), 50)
    spread = moved.std((1, 2, 3))
    assert float(spread[0::2].mean() / spread[1::2].mean()) == pytest.approx(0.2 / 1.8, rel=0.15)


def test_only_what_is_invented_is_moved() -> None:
    """Windows of another place are darker and rougher: one octave finer, that is no reason."""
    real, gen_img = 0.4 * noise(32, 0) - 0.3, noise(32, 1)
    marginals, rng = Marginals((0.0, 2.0), PATCH), np.random.default_rng(0)
    grad, deviation = marginals.pull(real, gen_img, 0.4, rng, Ranks(), octaves=1)
    everything, _ = pulled(real, gen_img)
    assert float(deviation) > 0.05
    assert float(F.avg_pool2d(everything, 8).std()) > 0.1
    assert float(F.avg_pool2d(grad, 8).abs().mean() / grad.abs().mean()) < 0.1


def test_every_half_of_an_octave_has_distributions_of_its_own() -> None:
    marginals = Marginals((0.0, 2.0), PATCH)
    pulled(noise(8, 0), noise(8, 1), marginals, 1.6)
    _, deviation = pulled(4 * noise(8, 2), 4 * noise(8, 3), marginals, 1.99)
    assert deviation < 0.2
    assert marginals.visits.tolist() == [0, 0, 0, 1, 1]
    _, deviation = pulled(4 * noise(8, 2), noise(8, 3), marginals, 1.99)
    assert deviation > 0.25


def test_many_groups_count_as_one_large_one() -> None:
    """Real windows are remembered: a group of smooth ones alone does not change what is real."""
    marginals = Marginals((0.0, 2.0), PATCH)
    for seed in range(20):
        pulled(noise(8, seed), noise(8, 100 + seed), marginals)
    _, deviation = pulled(0.1 * noise(8, 30), noise(8, 31), marginals)
    assert deviation < 0.15


def test_values_beyond_any_picture_and_flat_windows_are_no_error() -> None:
    for real, made in ((0 * noise(8, 0), noise(8, 1)), (noise(8, 0), 1e4 * noise(8, 1))):
        grad, deviation = pulled(real, made)
        assert torch.isfinite(grad).all() and np.isfinite(deviation)
    grad, deviation = pulled(0 * noise(8, 0), 0 * noise(8, 1))
    assert torch.isfinite(grad).all() and deviation < 1e-3
