"""Leaky ReLU applied at a raised sampling rate, so that the harmonics it makes do not alias."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from kernels._backend import choose_impl
from kernels.upfirdn2d import Padding, upfirdn2d


def filtered_lrelu(
    x: torch.Tensor,
    fu: torch.Tensor | None = None,
    fd: torch.Tensor | None = None,
    b: torch.Tensor | None = None,
    *,
    up: int = 1,
    down: int = 1,
    padding: Padding = 0,
    gain: float = 2.0**0.5,
    slope: float = 0.2,
    clamp: float | None = None,
    impl: str | None = None,
) -> torch.Tensor:
    """Add a bias, upsample, leaky ReLU, scale, clamp, downsample.

    Args:
        x: Features, any float dtype [N, C, H, W].
        fu: Upsampling filter, float32 [taps] or [taps_y, taps_x]; None is the identity.
        fd: Downsampling filter, likewise.
        b: Bias, [C], or None.
        up: Upsampling factor before the nonlinearity.
        down: Downsampling factor after it.
        padding: As in `upfirdn2d`, applied at the raised rate.
        gain: Factor after the nonlinearity; sqrt(2) keeps the power of a unit normal input.
        slope: Slope below zero, in [0, 1].
        clamp: Largest magnitude after `gain`, or None.
        impl: 'cuda', 'ref', or None to choose by the device of `x`.

    Returns:
        dtype of `x`, [N, C, H', W']. Differentiable in `x` and `b`, twice.

    Raises:
        KernelUnavailable: 'cuda' was asked for and cannot be had; the message says why.

    Source: Karras et al. 2021 (StyleGAN3), section 3.2 and appendix D.
    """
    choose_impl(impl, x, "filtered_lrelu")
    if b is not None:
        x = x + b.to(x.dtype).view(1, -1, 1, 1)
    identity = torch.ones(1, device=x.device)
    if fu is not None or up > 1 or padding != 0:
        kernel = identity if fu is None else fu
        x = upfirdn2d(x, kernel, up=up, padding=padding, gain=float(up**2), impl="ref")
    x = F.leaky_relu(x, slope)
    if gain != 1:
        x = x * gain
    if clamp is not None:
        x = x.clamp(-clamp, clamp)
    if fd is not None or down > 1:
        x = upfirdn2d(x, identity if fd is None else fd, down=down, impl="ref")
    return x
