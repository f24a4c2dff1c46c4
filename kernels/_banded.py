"""Separable filters on a CPU, as products with small banded matrices.

Along one axis a filter of any up- and downsampling computes

    out[m] = sum_i g[up * i - down * m + pad] * x[i]        g: the filter, flipped; 0 outside of it

A matrix that says so repeats itself: some outputs on, it reads as many inputs on. So a few rows of
it times overlapping blocks of the input are all of the output, in the order in which it lies in
memory: no phase is computed by itself and interleaved, no border cut by a copy. Rows of an image
are filtered as one long row; what a block mixes of two of them is computed and not used. Zeros of a
block are multiplied like other factors: what is not finite spreads over all of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

_PERIODS = 8
"""Of the matrix, in one block: fewer read the input more often, more multiply more zeros."""


@dataclass(frozen=True)
class Axis:
    """A filter along one axis."""

    taps: tuple[float, ...]
    up: int
    down: int
    pad: int
    """Zeros before the upsampled input, pixels; negative crops."""
    length: int
    """Pixels along the axis: of the input."""
    length_out: int

    @property
    def transposed(self) -> Axis:
        """What takes gradients of the output to gradients of the input: the same op."""
        pad = len(self.taps) - 1 - self.pad
        return Axis(self.taps[::-1], self.down, self.up, pad, self.length_out, self.length)


def filter_axes(img: torch.Tensor, x: Axis, y: Axis) -> torch.Tensor:
    """Filter images along both axes.

    Args:
        img: float32 or float64 [N, C, H, W], on a CPU.
        x, y: The filters; those of H and W pixels.

    Returns:
        [N, C, y.length_out, x.length_out], channels_last. Differentiable in `img` as often as
        asked.
    """
    out: torch.Tensor = _FilterAxes.apply(img, x, y)
    return out


class _FilterAxes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, img: torch.Tensor, x: Axis, y: Axis) -> torch.Tensor:
        ctx.axes = x, y
        return _columns_then_rows(img, x, y)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        x, y = ctx.axes
        return filter_axes(grad, x.transposed, y.transposed), None, None


def _columns_then_rows(img: torch.Tensor, x: Axis, y: Axis) -> torch.Tensor:
    n, channels = img.shape[:2]
    size = (n, channels, y.length_out, x.length_out)
    out = torch.empty(size, dtype=img.dtype, memory_format=torch.channels_last)
    if out.numel():
        before, after = _border(x)
        # Every row begins with a new period, and has room for what is made of it.
        outputs, inputs = _period(x)
        periods = max(-(-(before + x.length + after) // inputs), -(-x.length_out // outputs))
        width, wide = periods * inputs, periods * outputs
        pixels = img.permute(0, 2, 3, 1)
        if width > x.length:
            pixels = F.pad(pixels, (0, 0, before, width - before - x.length))
        height = pixels.shape[1]
        along = img.new_empty(1, n * height * wide, channels)
        last = along.shape[1] - wide + x.length_out
        pixels = pixels.contiguous().view(1, -1, channels)
        _multiply(pixels, x, before, along[:, :last])
        rows = along.view(n, height, wide * channels)[..., : x.length_out * channels]
        before, after = _border(y)
        if before or after:
            rows = F.pad(rows, (0, 0, before, after))
        _multiply(rows, y, before, out.permute(0, 2, 3, 1).view(n, y.length_out, -1))
    return out


def _border(axis: Axis) -> tuple[int, int]:
    """Zeros before and after the input that outputs read."""
    first, last = _inputs(axis, axis.pad, 0, axis.length_out)
    return max(0, -first), max(0, last + 1 - axis.length)


def _multiply(x: torch.Tensor, axis: Axis, before: int, out: torch.Tensor) -> None:
    """Filter rows: `x` [N, H, M] to `out` [N, L, M].

    `x` begins with `before` zeros that are not counted in `axis`; no output reads beyond it.
    """
    pad = axis.pad - axis.up * before
    outputs, inputs = (_PERIODS * count for count in _period(axis))
    blocks = out.shape[1] // outputs
    done = blocks * outputs
    first, last = _inputs(axis, pad, 0, outputs)
    block = _matrix(axis, pad, (0, outputs), (first, last), x.dtype).expand(blocks, -1, -1)
    rest_first, rest_last = _inputs(axis, pad, done, out.shape[1])
    rest = _matrix(axis, pad, (done, out.shape[1]), (rest_first, rest_last), x.dtype)
    for source, target in zip(x, out, strict=True):
        if blocks:
            read = source.as_strided(
                (blocks, block.shape[2], source.shape[1]),
                (inputs * source.stride(0), source.stride(0), 1),
                source.storage_offset() + first * source.stride(0),
            )
            torch.bmm(block, read, out=target[:done].view(blocks, outputs, -1))
        if done < out.shape[1]:
            torch.mm(rest, source[rest_first : rest_last + 1], out=target[done:])


def _period(axis: Axis) -> tuple[int, int]:
    """After how many outputs, and inputs, the matrix repeats itself."""
    common = math.gcd(axis.up, axis.down)
    return axis.up // common, axis.down // common


def _inputs(axis: Axis, pad: int, begin: int, end: int) -> tuple[int, int]:
    """First and last input that outputs `begin` to before `end` read; last < first: none."""
    first = -((pad - axis.down * begin) // axis.up)
    return first, (axis.down * (end - 1) + len(axis.taps) - 1 - pad) // axis.up


@lru_cache(maxsize=256)
def _matrix(
    axis: Axis, pad: int, outputs: tuple[int, int], inputs: tuple[int, int], dtype: torch.dtype
) -> torch.Tensor:
    """Factors of inputs (first to last) in outputs (begin to end): [outputs, inputs].

    Kept: layers ask for the same few again and again.
    """
    m = np.arange(*outputs)[:, None]
    i = np.arange(inputs[0], inputs[1] + 1)  # none where last < first
    tap = axis.up * i - axis.down * m + pad
    count = len(axis.taps)
    factors = np.array(axis.taps[::-1])[tap.clip(0, count - 1)]
    with torch.inference_mode(False):  # training may be next to use it
        return torch.from_numpy(np.where((tap >= 0) & (tap < count), factors, 0.0)).to(dtype)
