"""Sum of plane waves over a lattice, mixed into channels without ever storing one map a wave."""

from __future__ import annotations

import math

import torch

from kernels._backend import choose_impl


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
        impl: 'cuda', 'ref', or None to choose by the device of `xs`.

    Returns:
        `dtype` [N, C, H, W] in channels_last memory; zeros where F is 0. Differentiable in `mix`.

    Raises:
        KernelUnavailable: 'cuda' was asked for and cannot be had; the message says why.

    Source: Tancik et al. 2020 for the features; the separation is ours. Angles are reduced in
    float64, because 2**14 cycles in float32 would leave three digits of a turn.
    """
    choose_impl(impl, xs, "fourier_features")
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

    Args: As of `fourier_features`.

    Returns:
        `dtype` rows [N, H, 2 F] and columns [N, 2 F, W * C], whose product is [N, H, W * C].
    """
    n, width = xs.shape
    along_x = _angle(xs.unsqueeze(1) * freqs[:, 0].view(1, -1, 1))  # [N, F, W]
    along_y = _angle(ys.unsqueeze(2) * freqs[:, 1] + phases)  # [N, H, F]
    rows = torch.cat([along_y.cos(), along_y.sin()], dim=2).to(dtype)
    weights = (mix.t() * math.sqrt(2.0)).to(dtype)  # [F, C]
    waves = torch.stack([along_x.sin(), along_x.cos()], dim=1).to(dtype)  # [N, 2, F, W]
    # An outer product as a matrix product: its backward sums over W at once.
    columns = torch.matmul(waves.unsqueeze(4), weights[:, None, :])  # [N, 2, F, W, C]
    return rows, columns.view(n, -1, width * mix.shape[0])


def _angle(turns: torch.Tensor) -> torch.Tensor:
    """Turns in float64 to radians in float32, reduced to one turn first."""
    return ((turns - turns.round()) * (2 * math.pi)).float()
