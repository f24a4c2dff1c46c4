"""The measures of fidelity on pictures whose answers are known."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from benchmarks import fidelity
from benchmarks.fidelity import (
    decibels,
    held_out_windows,
    high_band_power,
    main,
    measure_fidelity,
    psnr,
)
from model.scale import density


class Changed:
    """A scale space with something done to its images."""

    def __init__(self, space, change) -> None:
        self.space, self.change = space, change
        self.identity, self.patch_size = "changed", space.patch_size
        self.field_size, self.level_range = space.field_size, space.level_range

    def render(self, windows):
        return self.change(self.space.render(windows))


def sine(cycles_per_px: float, size: int = 64) -> torch.Tensor:
    """One wave along x: [1, 3, size, size], amplitude 0.5."""
    x = torch.arange(size) * 2 * math.pi * cycles_per_px
    return (0.5 * torch.sin(x)).expand(1, 3, size, size)


def test_psnr_of_a_known_offset() -> None:
    real = torch.zeros(2, 3, 8, 8)
    assert psnr(real + 0.2, real) == pytest.approx(20.0, abs=1e-5)
    assert psnr(real, real) == math.inf


def test_psnr_of_known_noise() -> None:
    real = torch.zeros(16, 3, 64, 64)
    noisy = real + 0.02 * torch.randn(real.shape)
    assert psnr(noisy, real) == pytest.approx(10 * math.log10(4 / 0.02**2), abs=0.05)


def test_psnr_cuts_what_no_screen_shows() -> None:
    real = torch.ones(1, 3, 8, 8)
    assert psnr(real * 3, real) == math.inf


def test_high_band_power_of_white_noise_is_its_variance_at_any_size() -> None:
    for size in (32, 64, 100):
        noise = 0.1 * torch.randn(40, 3, size, size)
        assert high_band_power(noise) == pytest.approx(0.01, rel=0.03)


def test_high_band_power_of_a_fast_wave_is_its_own() -> None:
    # A wave of amplitude a holds a**2 / 2 a pixel; the high band is all of it, over its share.
    fast, slow = high_band_power(sine(0.4)), high_band_power(sine(0.1))
    frequency = torch.fft.fftfreq(64, dtype=torch.float64)
    share = (torch.hypot(frequency[:, None], frequency[None]) > 0.25).double().mean()
    assert fast == pytest.approx(0.125 / float(share), rel=0.02)
    assert decibels(slow, fast) < -60


def test_high_band_power_ignores_brightness() -> None:
    assert high_band_power(sine(0.4) + 0.4) == pytest.approx(high_band_power(sine(0.4)), rel=1e-6)


def test_decibels_at_the_ends() -> None:
    assert decibels(1.0, 10.0) == pytest.approx(-10.0)
    assert decibels(0.0, 1.0) == -math.inf
    assert decibels(1.0, 0.0) == math.inf
    assert decibels(0.0, 0.0) == 0.0


def test_held_out_windows_lie_inside_the_field_and_repeat(waves) -> None:
    for level in (0.0, 2.0):
        windows = held_out_windows(waves, level, 50, seed=3)
        assert windows == held_out_windows(waves, level, 50, seed=3)
        assert windows != held_out_windows(waves, level, 50, seed=4)
        extent = 64 / density(level, waves.patch_size)
        for window in windows:
            for low, size in zip(window.origin_xy, waves.field_size, strict=True):
                assert -size / 2 - 1e-9 <= low <= size / 2 - extent + 1e-9


def test_a_perfect_space_a_noisy_one_and_a_blurred_one(waves) -> None:
    perfect = measure_fidelity(waves, waves, [0.0, 1.0], count=8)
    assert [row.psnr_db for row in perfect] == [math.inf, math.inf]
    assert [row.high_band_db for row in perfect] == [0.0, 0.0]
    torch.manual_seed(0)
    real = Changed(waves, lambda img: img * 0.5 + 0.2 * torch.randn(img.shape))
    blurred = Changed(real, lambda img: torch.nn.functional.avg_pool2d(img, 5, 1, 2))
    row = measure_fidelity(blurred, real, [2.0], count=32)[0]
    assert row.high_band_db < -10
    darker = Changed(waves, lambda img: img * 0.9 - 0.05)
    row = measure_fidelity(darker, waves, [2.0], count=32)[0]
    assert row.mean_error == pytest.approx(-0.05, abs=0.02)
    assert row.psnr_worst_db <= row.psnr_db


def test_the_command_writes_its_table(waves, tmp_path: Path, monkeypatch, capsys) -> None:
    import model

    monkeypatch.setattr(fidelity, "open_truth", lambda checkpoint, image: waves)
    monkeypatch.setattr(model, "open_scale_space", lambda *a, **k: waves, raising=False)
    out = tmp_path / "fidelity.json"
    assert main(["a.safetensors", "a.jpg", "--windows", "2", "--json", str(out)]) == 0
    written = json.loads(out.read_text())
    assert [row["level"] for row in written["levels"]] == [i / 2 for i in range(8)]
    assert written["machine"]["torch"] == torch.__version__
    assert "high band dB" in capsys.readouterr().out


def test_a_missing_checkpoint_is_one_line(tmp_path: Path, capsys) -> None:
    assert main([str(tmp_path / "no.safetensors"), str(tmp_path / "no.jpg")]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("fidelity: ") and "\n" not in error
