"""PSNR and MS-SSIM against formulas, and against a slow version of the published text."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from model.metrics.fidelity import ms_ssim, mse_by_window, psnr

WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])


def test_psnr_of_a_constant_offset() -> None:
    real = torch.zeros(2, 3, 8, 8)
    assert psnr(real + 0.2, real) == pytest.approx(20.0, abs=1e-5)
    assert psnr(real, real) == math.inf
    assert mse_by_window(real + torch.tensor([0.1, 0.2]).reshape(2, 1, 1, 1), real).tolist() == [
        pytest.approx(0.01),
        pytest.approx(0.04),
    ]


def test_ms_ssim_of_equal_images_is_one() -> None:
    img = torch.rand(3, 3, 64, 64) * 2 - 1
    assert torch.allclose(ms_ssim(img, img), torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("size, scales", [(16, 1), (64, 3), (176, 5)])
def test_ms_ssim_of_flat_images_is_their_luminance_term(size: int, scales: int) -> None:
    a, b = 0.3, 0.6
    x, y = (torch.full((1, 3, size, size), 2 * v - 1) for v in (a, b))
    luminance = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
    weight = WEIGHTS[scales - 1] / WEIGHTS[:scales].sum()
    assert float(ms_ssim(x, y)) == pytest.approx(luminance**weight, abs=1e-6)


def test_ms_ssim_equals_a_slow_reading_of_the_text() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((48, 48))
    y = np.clip(x + 0.2 * rng.standard_normal(x.shape), 0, 1)
    t = np.arange(11) - 5
    taps = np.exp(-0.5 * (t / 1.5) ** 2)
    kernel = np.outer(taps, taps) / taps.sum() ** 2
    weights = WEIGHTS[:3] / WEIGHTS[:3].sum()
    expected, a, b = 1.0, x, y
    for scale in range(3):
        terms = []
        for i in range(a.shape[0] - 10):
            for j in range(a.shape[1] - 10):
                u, v = a[i : i + 11, j : j + 11], b[i : i + 11, j : j + 11]
                mu, mv = (kernel * u).sum(), (kernel * v).sum()
                suu, svv = (kernel * (u - mu) ** 2).sum(), (kernel * (v - mv) ** 2).sum()
                suv = (kernel * (u - mu) * (v - mv)).sum()
                term = (2 * suv + 9e-4) / (suu + svv + 9e-4)
                if scale == 2:
                    term *= (2 * mu * mv + 1e-4) / (mu**2 + mv**2 + 1e-4)
                terms.append(term)
        expected *= max(np.mean(terms), 0) ** weights[scale]
        a, b = (v.reshape(len(v) // 2, 2, -1, 2).mean((1, 3)) for v in (a, b))
    img, real = (torch.from_numpy(v)[None, None] * 2 - 1 for v in (x, y))
    assert float(ms_ssim(img, real)) == pytest.approx(expected, abs=1e-9)


def test_ms_ssim_needs_room_for_its_filter() -> None:
    with pytest.raises(ValueError, match="11 pixels or more, got 8"):
        ms_ssim(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
