"""Distances of sets of windows on sets whose distance is known."""

from __future__ import annotations

import math
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from model.metrics import kid, spectrum, swd
from model.metrics.fid import check_fid, frechet_inception_distance
from model.metrics.figures import figure, resampled_counts, rng_for

RNG = np.random.default_rng(3)


def neighbourhoods(values: torch.Tensor) -> swd.Neighbourhoods:
    """A set of one channel as it is: no normalisation by its own numbers."""
    return swd.Neighbourhoods(values, torch.zeros(1), torch.ones(1), 1)


def test_sliced_wasserstein_of_shifted_gaussians_is_the_shift_along_each_direction() -> None:
    # On a line, the distance of two laws that differ by a shift is the shift: |m . direction|.
    shift = torch.from_numpy(RNG.standard_normal(20).astype(np.float32))
    directions = swd.random_directions(40, RNG, 20)
    a = torch.from_numpy(RNG.standard_normal((20_000, 20)).astype(np.float32))
    b = torch.from_numpy(RNG.standard_normal((20_000, 20)).astype(np.float32))
    (value,) = swd.sliced_wasserstein(
        neighbourhoods(a), [(neighbourhoods(b + shift), "real")], directions
    )
    expected = 1000 * float((shift @ directions).abs().mean())
    assert value == pytest.approx(expected, rel=0.03)  # sampling noise of 20,000


def test_sliced_wasserstein_equals_the_mean_difference_of_sorted_values() -> None:
    a, b = (torch.from_numpy(RNG.standard_normal((3000, 12)).astype(np.float32)) for _ in "ab")
    b = b.abs() ** 1.5
    directions = swd.random_directions(16, RNG, 12)
    (value,) = swd.sliced_wasserstein(neighbourhoods(a), [(neighbourhoods(b), "own")], directions)
    sorted_a, sorted_b = (a @ directions).sort(0)[0], (b @ directions).sort(0)[0]
    assert value == pytest.approx(1000 * float((sorted_a - sorted_b).abs().mean()), rel=1e-3)


def test_sets_may_have_different_sizes() -> None:
    a = torch.from_numpy(RNG.standard_normal((4000, 3)).astype(np.float32))
    directions = swd.random_directions(4, RNG, 3)
    doubled = neighbourhoods(torch.cat([a, a]))
    assert swd.sliced_wasserstein(neighbourhoods(a), [(doubled, "own")], directions) == [
        pytest.approx(0, abs=1e-3)
    ]


def test_own_normalisation_is_blind_to_brightness_and_contrast_and_the_reals_is_not() -> None:
    img = torch.randn(60, 3, 32, 32)
    real = swd.neighbourhoods(img, np.random.default_rng(0))
    flat = swd.neighbourhoods(0.5 * img + 0.1, np.random.default_rng(0))
    directions = swd.random_directions(32, RNG)
    own, by_real = swd.sliced_wasserstein(real, [(flat, "own"), (flat, "real")], directions)
    assert own == pytest.approx(0, abs=0.5)
    # Half the contrast moves every quantile by half: E|x| / 2 = 0.399 of a normal law.
    assert by_real == pytest.approx(399, rel=0.03)


def test_neighbourhoods_are_cut_from_the_image() -> None:
    ramp = torch.arange(3 * 16 * 16, dtype=torch.float32).reshape(1, 3, 16, 16)
    cut = swd.neighbourhoods(ramp, np.random.default_rng(1), per_window=50)
    patches = cut.values.reshape(50, 3, 7, 7)
    first = patches[:, 0, 0, 0]
    assert torch.equal(patches[:, 2, 6, 5], first + 2 * 256 + 6 * 16 + 5)
    assert set((first % 16).tolist()) <= set(range(10))
    assert len(set(first.tolist())) > 20


def test_kernel_distance_of_known_laws_has_its_known_mean() -> None:
    # x ~ N(0, I): E k(x, x') = 1 + 3 / d. y = c always: k(c, c) = (|c|^2 / d + 1)^3,
    # E k(x, c) = 1 + 3 |c|^2 / d^2.
    d, n = 32, 2500
    x = torch.randn(n, d)
    c = torch.full((d,), 0.3)
    size = float(c.square().sum())
    expected = 1 + 3 / d + (size / d + 1) ** 3 - 2 * (1 + 3 * size / d**2)
    value = kid.KernelDistance(x, c.expand(n, d)).value()
    assert value == pytest.approx(expected, rel=0.03)


def test_kernel_distance_is_unbiased() -> None:
    values = [kid.KernelDistance(torch.randn(50, 8), torch.randn(50, 8)).value() for _ in range(60)]
    assert min(values) < 0 < max(values)
    error = np.std(values) / math.sqrt(len(values))
    assert abs(np.mean(values)) < 3 * error
    biased = 8 * (2**3 - 1) / 50 / 8  # what counting each with itself would add, at least
    assert abs(np.mean(values)) < biased


def test_resampled_pairs_leave_out_copies_of_one_item() -> None:
    x, y = torch.randn(12, 4), torch.randn(10, 4)
    counts_x = torch.from_numpy(resampled_counts(3, 12, RNG))
    counts_y = torch.from_numpy(resampled_counts(3, 10, RNG))
    got = kid.KernelDistance(x, y).weighted(counts_x, counts_y)
    for b in range(3):
        i = np.repeat(np.arange(12), counts_x[b].int().numpy())
        j = np.repeat(np.arange(10), counts_y[b].int().numpy())
        parts = []
        for v, index in ((x, i), (y, j)):
            kernel = kid.polynomial_kernel(v[index], v[index]).numpy()
            parts.append(kernel[index[:, None] != index[None]].mean())
        cross = float(kid.polynomial_kernel(x[i], y[j]).mean())
        assert got[b] == pytest.approx(parts[0] + parts[1] - 2 * cross, rel=1e-4, abs=1e-4)


def test_random_features_tell_a_blur_and_are_the_same_each_time() -> None:
    network = kid.RandomFeatures(0)
    img = torch.rand(200, 3, 32, 32) * 2 - 1
    assert network(img).shape == (200, 2 * sum(kid.WIDTHS))
    assert torch.equal(network(img[:3]), kid.RandomFeatures(0)(img[:3]))
    blurred = F.avg_pool2d(img, 3, 1, 1)
    real, same, other = network(img[:100]), network(img[100:]), network(blurred)
    assert kid.KernelDistance(real, other).value() > 50 * abs(
        kid.KernelDistance(real, same).value()
    )


def test_spectrum_of_white_noise_is_flat_and_its_variance() -> None:
    noise = 0.2 * torch.randn(100, 3, 32, 32) + 0.3
    power = spectrum.radial_spectra(noise, 0.3, 0.2).mean(0)
    assert power.shape == (16,)
    assert torch.allclose(power, torch.ones(16, dtype=torch.float64), atol=0.15)


def test_spectral_difference_is_that_of_the_filter() -> None:
    noise = 0.2 * torch.randn(150, 3, 48, 48)
    mean, std = 0.0, 0.2
    real = spectrum.radial_spectra(noise, mean, std).mean(0)
    half = spectrum.radial_spectra(0.5 * noise, mean, std).mean(0)
    assert spectrum.spectral_distance(real, real) == 0
    assert float(spectrum.spectral_distance(real, half)) == pytest.approx(6.02, abs=0.01)


def test_high_band_of_a_blur_is_its_filters_gain() -> None:
    noise = 0.2 * torch.randn(150, 3, 48, 48)
    taps = torch.tensor([0.25, 0.5, 0.25])
    blurred = F.pad(noise, (1, 1, 0, 0), mode="circular")
    blurred = sum(t * blurred[..., i : i + 48] for i, t in enumerate(taps))
    fx, fy = torch.meshgrid(torch.fft.fftfreq(48), torch.fft.fftfreq(48), indexing="xy")
    gain = (0.5 + 0.5 * torch.cos(2 * math.pi * fx)) ** 2
    expected = 10 * math.log10(float(gain[torch.hypot(fx, fy) > 0.25].mean()))
    got = spectrum.decibels(spectrum.high_band_power(blurred), spectrum.high_band_power(noise))
    assert expected < -2
    assert got == pytest.approx(expected, abs=0.1)


def test_intervals_hold_the_spread_and_ratios_their_pairs() -> None:
    replicates = RNG.normal(7.0, 0.5, 4000)
    found = figure(5.0, replicates, 2.0, 2.0 * replicates / 7.0, ratio=True)
    assert found.interval == pytest.approx((5 - 1.96 * 0.5, 5 + 1.96 * 0.5), abs=0.05)
    assert found.ratio == pytest.approx(2.5)
    assert figure(5.0).interval is None
    assert figure(1.0, reference=0.0, ratio=True).ratio is None


def test_random_numbers_have_their_own_stream_for_each_purpose() -> None:
    a, b, c = (rng_for(*words).random() for words in ((0, "x", "1"), (0, "x", "1"), (0, "y", "1")))
    assert a == b != c


def test_fid_is_refused_in_one_line_where_it_cannot_be(tmp_path: Path, monkeypatch) -> None:
    weights = tmp_path / "inception.pth"
    with pytest.raises(ValueError, match="--fid-weights FILE"):
        check_fid(None)
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="install 'torchmetrics"):
        check_fid(weights)
    with pytest.raises(ValueError, match="is none"):
        frechet_inception_distance(torch.zeros(2, 3, 8, 8), [], weights)


def test_fid_gives_torchmetrics_bytes_and_keeps_the_real_ones(tmp_path: Path, monkeypatch) -> None:
    class FakeDistance:
        def __init__(self, **options: object) -> None:
            self.options, self.real, self.fake = options, [], []

        def update(self, img: torch.Tensor, real: bool) -> None:
            assert img.dtype == torch.uint8
            (self.real if real else self.fake).append(img)

        def reset(self) -> None:
            assert self.options["reset_real_features"] is False
            self.fake = []

        def compute(self) -> torch.Tensor:
            means = [torch.cat(v).float().mean() for v in (self.real, self.fake)]
            return (means[0] - means[1]).square()

    module = types.ModuleType("torchmetrics.image.fid")
    module.FrechetInceptionDistance = FakeDistance  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchmetrics.image.fid", module)
    monkeypatch.setitem(sys.modules, "torchmetrics.image", types.ModuleType("image"))
    monkeypatch.setitem(sys.modules, "torchmetrics", types.ModuleType("torchmetrics"))
    weights = tmp_path / "inception.pth"
    weights.write_bytes(b"x")
    real, other = torch.zeros(70, 3, 8, 8), torch.full((70, 3, 8, 8), 10 / 127.5)
    values = frechet_inception_distance(real, [other, real], weights)
    assert values == [pytest.approx(100), pytest.approx(0)]
