"""upfirdn2d against its definition: insert zeros, pad, convolve, keep every n-th pixel."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from kernels import KernelUnavailable, filtered_lrelu, upfirdn2d


def by_definition(
    x: torch.Tensor, f: torch.Tensor, up: int, down: int, pad: tuple[int, int, int, int]
) -> torch.Tensor:
    n, c, h, w = x.shape
    stuffed = x.new_zeros(n, c, h * up, w * up)
    stuffed[:, :, ::up, ::up] = x
    padded = F.pad(stuffed, pad)
    kernel = f if f.ndim == 2 else f[:, None] * f[None, :]
    y = F.conv2d(padded.flatten(0, 1)[:, None], kernel.flip((0, 1)).to(x.dtype)[None, None])
    return y.view(n, c, *y.shape[2:])[:, :, ::down, ::down]


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2), (2, 2), (3, 2), (4, 3)])
@pytest.mark.parametrize("pad", [(0, 0, 0, 0), (3, 2, 4, 1), (-1, 2, 0, -2)])
@pytest.mark.parametrize("size", [(7, 9), (8, 8), (41, 37)])
def test_matches_its_definition(
    dense: bool, up: int, down: int, pad: tuple[int, int, int, int], size: tuple[int, int]
) -> None:
    rng = torch.Generator().manual_seed(up * 10 + down)
    x = torch.randn(2, 3, *size, generator=rng, dtype=torch.float64)
    f = torch.randn(*((3, 4) if dense else (4,)), generator=rng, dtype=torch.float64)
    y = upfirdn2d(x, f, up=up, down=down, padding=pad, gain=1.5)
    torch.testing.assert_close(y, 1.5 * by_definition(x, f, up, down, pad))


@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2), (3, 2)])
@pytest.mark.parametrize("pad", [(3, 2, 4, 1), (-1, 2, 0, -2)])
def test_half_precision_is_the_same_filter(
    up: int, down: int, pad: tuple[int, int, int, int]
) -> None:
    """Another way to compute it: see `kernels/_banded.py` for single precision on a CPU."""
    x = torch.randn(2, 3, 21, 30, generator=torch.Generator().manual_seed(4))
    f = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
    half = x.bfloat16()
    y = upfirdn2d(half, f, up=up, down=down, padding=pad)
    expected = upfirdn2d(half.float(), f, up=up, down=down, padding=pad)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), expected, atol=0.03, rtol=0.01)


def test_pixels_far_away_change_nothing() -> None:
    """Rows of an image are filtered as one long row: none may see another's end."""
    x = torch.randn(1, 2, 6, 40, generator=torch.Generator().manual_seed(5))
    f = torch.tensor([1.0, 3.0, 3.0, 1.0])
    before = upfirdn2d(x, f, up=2, padding=2)
    x[:, :, 2, -1] += 1e3
    changed = (upfirdn2d(x, f, up=2, padding=2) != before).any(1)[0].nonzero()
    assert changed[:, 0].min() >= 3 and changed[:, 0].max() <= 6
    assert changed[:, 1].min() >= 77


@pytest.mark.parametrize("taps", [1, 2])
def test_filters_shorter_than_the_upsampling_factor_leave_zeros(taps: int) -> None:
    x = torch.randn(1, 2, 5, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    f = torch.arange(1.0, taps + 1, dtype=torch.float64)
    y = upfirdn2d(x, f, up=3, padding=2)
    torch.testing.assert_close(y, by_definition(x, f, 3, 1, (2, 2, 2, 2)))


def test_takes_any_memory_format_and_an_empty_batch() -> None:
    x = torch.randn(3, 4, 9, 6, generator=torch.Generator().manual_seed(0))
    f = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    expected = upfirdn2d(x, f, up=2, padding=2)
    channels_last = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(upfirdn2d(channels_last, f, up=2, padding=2), expected)
    transposed = x.transpose(2, 3).contiguous().transpose(2, 3)
    torch.testing.assert_close(upfirdn2d(transposed, f, up=2, padding=2), expected)
    assert upfirdn2d(x[:0], f, up=2, padding=2).shape == (0, *expected.shape[1:])


def test_gradients_once_and_twice() -> None:
    x = torch.randn(1, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    f = torch.randn(4, dtype=torch.float64)

    def op(x: torch.Tensor) -> torch.Tensor:
        return upfirdn2d(x, f, up=2, down=3, padding=(2, 1, 1, 3))

    assert torch.autograd.gradcheck(op, x)
    assert torch.autograd.gradgradcheck(op, x)


def test_says_what_is_wrong() -> None:
    x, f = torch.zeros(1, 1, 2, 2), torch.ones(8)
    with pytest.raises(ValueError, match="leaves no pixel"):
        upfirdn2d(x, f)
    with pytest.raises(ValueError, match="leaves no pixel"):
        upfirdn2d(x, torch.ones(8, 8))
    with pytest.raises(ValueError, match="at least 1"):
        upfirdn2d(x, f, up=0)
    with pytest.raises(KernelUnavailable, match="upfirdn2d"):
        upfirdn2d(x, f, impl="cuda")


def test_filtered_lrelu_is_its_parts() -> None:
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(2, 3, 9, 8, generator=rng, dtype=torch.float64)
    fu, fd = (torch.randn(n, generator=rng, dtype=torch.float64) for n in (6, 4))
    b = torch.randn(3, generator=rng, dtype=torch.float64)
    y = filtered_lrelu(
        x, fu, fd, b, up=2, down=2, padding=(3, 2, 2, 3), gain=1.3, slope=0.1, clamp=0.9
    )
    raised = 4 * by_definition(x + b[:, None, None], fu, 2, 1, (3, 2, 2, 3))
    expected = by_definition(
        (F.leaky_relu(raised, 0.1) * 1.3).clamp(-0.9, 0.9), fd, 1, 2, (0, 0, 0, 0)
    )
    torch.testing.assert_close(y, expected)


def test_filtered_lrelu_gradients_once_and_twice() -> None:
    rng = torch.Generator().manual_seed(2)
    x = torch.randn(1, 2, 5, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    b = torch.randn(2, generator=rng, dtype=torch.float64, requires_grad=True)
    f = torch.randn(4, generator=rng, dtype=torch.float64)

    def op(x: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return filtered_lrelu(x, f, f, b, up=2, down=2, padding=2)

    assert torch.autograd.gradcheck(op, (x, b))
    assert torch.autograd.gradgradcheck(op, (x, b))


def test_raised_rate_removes_the_harmonics_that_would_alias() -> None:
    """A sine near the cutoff: its leaky ReLU has overtones, which alias at the plain rate."""
    from model.filters import kaiser_lowpass

    t = torch.arange(256, dtype=torch.float64)
    wave = torch.sin(2 * torch.pi * 0.3125 * t + 0.3).expand(1, 1, 16, -1)
    f = kaiser_lowpass(6).double()

    def aliased(y: torch.Tensor) -> float:
        """Power at 1 - 2 * 0.3125, where the second overtone folds to."""
        line = y[0, 0, 4, 64:192]
        window = torch.hann_window(128, dtype=torch.float64)
        return float(torch.fft.rfft(line * window)[round(0.375 * 128)].abs())

    plain = filtered_lrelu(wave)
    filtered = filtered_lrelu(wave, f, f, up=2, down=2, padding=(12, 11, 12, 11))
    assert aliased(filtered) < 0.3 * aliased(plain)
