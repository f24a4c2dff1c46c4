"""Sum of plane waves over a lattice, mixed into channels without ever storing one map a wave."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kernels import _cuda
from kernels._backend import run


def fourier_features(
    xs: torch.Tensor,
    ys: torch.Tensor,
    freqs: torch.Tensor,
    phases: torch.Tensor,
    mix: torch.Tensor,
    *,
    dtype: torch.dtype = torch.float32,
    impl: str | None = None,
) -> torch.Tensor:
    """`out[n, c, y, x] = sqrt(2) * sum_f mix[c, f] * sin(2 pi (freqs[f] . (x, y) + phases[f]))`.

    A wave of a sum is a sum of products, sin(a + b) = sin a cos b + cos a sin b, so the whole map
    is one batched matrix product over 2 F terms.

    Args:
        xs: Column coordinates, float64 [N, W], field units.
        ys: Row coordinates, float64 [N, H], field units.
        freqs: float64 [F, 2] (x, y), cycles per field unit.
        phases: float64 [F], turns.
        mix: Weights, float [C, F].
        dtype: Of the matrix product and of the result.
        impl: 'cuda', 'ref', or None for 'ref': on an H200 torch's matrix products are as fast
            forward, and faster in half precision and backward (benchmarks/results).

    Returns:
        `dtype` [N, C, H, W] in channels_last memory; zeros where F is 0. Differentiable in `mix`,
        twice.

    Raises:
        KernelUnavailable: 'cuda' was asked for and cannot be had; the message says why.

    Source: Tancik et al. 2020 for the features; the separation is ours. Angles are reduced in
    float64, because 2**14 cycles in float32 would leave three digits of a turn.
    """
    return run(
        impl or "ref",
        xs,
        "fourier_features",
        lambda: _fourier_features_cuda(xs, ys, freqs, phases, mix, dtype),
        lambda: _fourier_features_ref(xs, ys, freqs, phases, mix, dtype),
        dtype=dtype,
    )


def _fourier_features_ref(
    xs: torch.Tensor,
    ys: torch.Tensor,
    freqs: torch.Tensor,
    phases: torch.Tensor,
    mix: torch.Tensor,
    dtype: torch.dtype,
) -> torch.Tensor:
    rows, columns = fourier_factors(xs, ys, freqs, phases, mix, dtype=dtype)
    product = torch.bmm(rows, columns)  # [N, H, W * C]
    return product.view(len(xs), ys.shape[1], xs.shape[1], mix.shape[0]).permute(0, 3, 1, 2)


def fourier_factors(
    xs: torch.Tensor,
    ys: torch.Tensor,
    freqs: torch.Tensor,
    phases: torch.Tensor,
    mix: torch.Tensor,
    *,
    dtype: torch.dtype = torch.float32,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The two factors of `fourier_features`, for callers that sum several such products in one.

    Args: As of `fourier_features`; but phases may be float64 [1 or N, F] too.

    Returns:
        `dtype` rows [N, H, 2 F] and columns [N, 2 F, W * C], whose product is [N, H, W * C].
    """
    n, width = xs.shape
    along_x = _angle(xs.unsqueeze(1) * freqs[:, 0].view(1, -1, 1))  # [N, F, W]
    along_y = _angle(ys.unsqueeze(2) * freqs[:, 1] + phases.unsqueeze(-2))  # [N, H, F]
    rows = torch.cat([along_y.cos(), along_y.sin()], dim=2).to(dtype)
    weights = (mix.t() * math.sqrt(2.0)).to(dtype)  # [F, C]
    waves = torch.stack([along_x.sin(), along_x.cos()], dim=1).to(dtype)  # [N, 2, F, W]
    # An outer product as a matrix product: its backward sums over W at once.
    columns = torch.matmul(waves.unsqueeze(4), weights[:, None, :])  # [N, 2, F, W, C]
    return rows, columns.view(n, -1, width * mix.shape[0])


def _angle(turns: torch.Tensor) -> torch.Tensor:
    """Turns in float64 to radians in float32, reduced to one turn first."""
    return ((turns - turns.round()) * (2 * math.pi)).float()


@dataclass(frozen=True)
class _Tables:
    """Sines and cosines along each axis, float32 [2, N, F, W] and [2, N, F, H]."""

    along_x: torch.Tensor
    along_y: torch.Tensor

    @property
    def sizes(self) -> list[np.int32]:
        """Batch, waves, width, height, as the kernels take them."""
        _, batch, waves, width = self.along_x.shape
        return [np.int32(v) for v in (batch, waves, width, self.along_y.shape[3])]


def _fourier_features_cuda(
    xs: torch.Tensor,
    ys: torch.Tensor,
    freqs: torch.Tensor,
    phases: torch.Tensor,
    mix: torch.Tensor,
    dtype: torch.dtype,
) -> torch.Tensor:
    tables = _Tables(_table(xs, freqs[:, 0], None), _table(ys, freqs[:, 1], phases))
    return _Mix.apply(mix, tables, dtype)


def _table(
    coordinates: torch.Tensor, freqs: torch.Tensor, phases: torch.Tensor | None
) -> torch.Tensor:
    """Sine and cosine of every wave at every coordinate: float32 [2, N, F, L]."""
    batch, length = coordinates.shape
    table = torch.empty(2, batch, len(freqs), length, device=coordinates.device)
    count = table.numel() // 2
    _cuda.launch(
        "fourier_features",
        _cuda.Kernel("fourier_features", "fourier_table"),
        table.device,
        blocks=_cuda.blocks_for(count, 128),
        threads=128,
        args=[
            coordinates.double().contiguous(),
            freqs.double().contiguous(),
            None if phases is None else phases.double().contiguous(),
            table,
            np.int32(len(freqs)),
            np.int32(length),
            np.int64(count),
        ],
    )
    return table


_BLOCK, _CHUNK = 64, 16
"""As in the source: sides of a block's product, and terms a step."""
_SHARED_BYTES = 2 * _BLOCK * _CHUNK * 4


class _Mix(torch.autograd.Function):
    """[C, F] weights to [N, C, H, W]: linear, so its derivative is `_MixTransposed`."""

    @staticmethod
    def forward(ctx: Any, mix: torch.Tensor, tables: _Tables, dtype: torch.dtype) -> torch.Tensor:
        ctx.tables, ctx.dtype, ctx.mix_dtype = tables, dtype, mix.dtype
        batch, _, width = tables.along_x.shape[1:]
        height, channels = tables.along_y.shape[3], mix.shape[0]
        out = torch.empty(batch, height, width, channels, dtype=dtype, device=mix.device)
        c_blocks = -(-channels // _BLOCK)
        if out.numel():
            _cuda.launch(
                "fourier_features",
                _cuda.Kernel("fourier_features", f"fourier_mix<{_cuda.TYPE_NAMES[dtype]}>"),
                out.device,
                blocks=batch * c_blocks * -(-height * width // _BLOCK),
                threads=256,
                args=[
                    tables.along_x,
                    tables.along_y,
                    mix.float().contiguous(),
                    out,
                    *tables.sizes,
                    np.int32(channels),
                ],
                shared_bytes=_SHARED_BYTES,
            )
        return out.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return _MixTransposed.apply(grads[0], ctx.tables, ctx.mix_dtype), None, None


class _MixTransposed(torch.autograd.Function):
    """Gradient of the output to gradient of the weights."""

    @staticmethod
    def forward(ctx: Any, grad: torch.Tensor, tables: _Tables, dtype: torch.dtype) -> torch.Tensor:
        ctx.tables, ctx.grad_dtype = tables, grad.dtype
        channels, waves = grad.shape[1], tables.along_x.shape[2]
        grad = grad.permute(0, 2, 3, 1).contiguous()
        if grad.numel() == 0 or waves == 0:
            return torch.zeros(channels, waves, dtype=dtype, device=grad.device)
        blocks = -(-channels // _BLOCK) * -(-waves // _BLOCK)
        # Slices of the pixels, so that a product of few channels and waves fills the GPU too.
        slices = max(1, min(-(-grad.numel() // channels // (4 * _CHUNK)), 512 // blocks))
        partial = torch.empty(slices, channels, waves, device=grad.device)
        _cuda.launch(
            "fourier_features",
            _cuda.Kernel(
                "fourier_features", f"fourier_mix_backward<{_cuda.TYPE_NAMES[grad.dtype]}>"
            ),
            grad.device,
            blocks=blocks * slices,
            threads=256,
            args=[
                tables.along_x,
                tables.along_y,
                grad,
                partial,
                *tables.sizes,
                np.int32(channels),
                np.int32(slices),
            ],
            shared_bytes=_SHARED_BYTES,
        )
        return partial.sum(0).to(dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return _Mix.apply(grads[0], ctx.tables, ctx.grad_dtype), None, None
