"""fourier_features against the plain sum of sines."""

from __future__ import annotations

import math

import pytest
import torch

from kernels import KernelUnavailable, fourier_features


def arguments(waves: int = 6) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(3)
    xs = torch.rand(2, 7, generator=rng, dtype=torch.float64) - 0.5
    ys = torch.rand(2, 5, generator=rng, dtype=torch.float64) - 0.5
    freqs = torch.randn(waves, 2, generator=rng, dtype=torch.float64) * 40
    phases = torch.rand(waves, generator=rng, dtype=torch.float64)
    mix = torch.randn(4, waves, generator=rng, dtype=torch.float32)
    return xs, ys, freqs, phases, mix


def test_matches_the_plain_sum() -> None:
    xs, ys, freqs, phases, mix = arguments()
    turns = (
        xs[:, None, None, :] * freqs[:, 0, None, None]
        + ys[:, None, :, None] * freqs[:, 1, None, None]
        + phases[:, None, None]
    )
    expected = math.sqrt(2) * torch.einsum(
        "cf,nfyx->ncyx", mix.double(), (2 * torch.pi * turns).sin()
    )
    out = fourier_features(xs, ys, freqs, phases, mix)
    assert out.dtype == torch.float32
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out.double(), expected, atol=2e-5, rtol=0)  # float32 sines


def test_a_place_has_one_value_whatever_else_is_asked_for() -> None:
    xs, ys, freqs, phases, mix = arguments()
    whole = fourier_features(xs, ys, freqs, phases, mix)
    part = fourier_features(xs[:, 2:5], ys[:, 1:], freqs, phases, mix)
    torch.testing.assert_close(part, whole[:, :, 1:, 2:5], atol=1e-6, rtol=0)


def test_high_frequencies_keep_their_phase() -> None:
    """Half a field away, 2**13 cycles per field unit: a float32 angle would be wrong by 3e-3."""
    xs = torch.tensor([[0.4375 + 1 / 2**17]], dtype=torch.float64)
    freqs = torch.tensor([[2.0**13, 0.0]], dtype=torch.float64)
    out = fourier_features(
        xs, torch.zeros(1, 1, dtype=torch.float64), freqs, torch.zeros(1).double(), torch.ones(1, 1)
    )
    expected = math.sqrt(2) * math.sin(2 * math.pi * 2**13 * (1 / 2**17))
    assert abs(out.item() - expected) < 1e-6


def test_no_waves_give_zeros() -> None:
    out = fourier_features(*arguments(waves=0))
    assert out.shape == (2, 4, 5, 7)
    assert not out.any()


def test_gradient_in_the_mixing_weights() -> None:
    xs, ys, freqs, phases, mix = arguments()
    mix = mix.double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda m: fourier_features(xs, ys, freqs, phases, m, dtype=torch.float64), mix
    )


def test_cuda_is_refused_with_a_reason() -> None:
    with pytest.raises(KernelUnavailable, match="fourier_features"):
        fourier_features(*arguments(), impl="cuda")
