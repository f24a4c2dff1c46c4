"""Leaky ReLU applied at a raised sampling rate, so that the harmonics it makes do not alias."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from kernels._backend import run
from kernels._filter import Activation, Geometry, apply_filter, prepare_filters, taps_of
from kernels.upfirdn2d import Padding, parse_padding, upfirdn2d


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
        gain: Factor after the nonlinearity, > 0; sqrt(2) keeps the power of a unit normal input.
        slope: Slope below zero, in [0, 1].
        clamp: Largest magnitude after `gain`, or None.
        impl: 'cuda', 'ref', or None to choose by the device of `x`.

    Returns:
        dtype of `x`, [N, C, H', W']. Differentiable in `x` and `b`, twice.

    Raises:
        ValueError: `gain` is not positive, or nothing is left after cropping.
        KernelUnavailable: 'cuda' was asked for and cannot be had; the message says why.

    Source: Karras et al. 2021 (StyleGAN3), section 3.2 and appendix D.
    """
    if gain <= 0:
        raise ValueError(f"gain of filtered_lrelu must be positive, got {gain}.")
    if fu is None and fd is None and up == down == 1 and parse_padding(padding) == (0, 0, 0, 0):
        # Nothing to filter: torch's own leaky ReLU is one pass already.
        impl = "ref" if impl is None else impl

    def ref() -> torch.Tensor:
        return _filtered_lrelu_ref(x, fu, fd, b, up, down, padding, gain, slope, clamp)

    def kernel() -> torch.Tensor:
        identity = torch.ones(1, device=x.device)
        filters = (f if f is None else f.to(x.device) for f in (fu, fd))
        fu_, fd_ = prepare_filters(*(identity if f is None else f for f in filters))
        geometry = Geometry.of(
            (x.shape[2], x.shape[3]), up, down, parse_padding(padding), taps_of(fu_), taps_of(fd_)
        )
        if min(*geometry.raised_size, *geometry.out_size) < 1:
            raise ValueError(
                f"filtered_lrelu leaves no pixel: {x.shape[2]} x {x.shape[3]} pixels give "
                f"{geometry.raised_size} raised ones, fewer than {taps_of(fd_)} taps."
            )
        # A positive factor commutes with the leaky ReLU.
        act = Activation(up**2 * gain, slope, float("inf") if clamp is None else clamp)
        return apply_filter("filtered_lrelu", x, fu_, fd_, geometry, act, b)

    return run(impl, x, "filtered_lrelu", kernel, ref)


def _filtered_lrelu_ref(
    x: torch.Tensor,
    fu: torch.Tensor | None,
    fd: torch.Tensor | None,
    b: torch.Tensor | None,
    up: int,
    down: int,
    padding: Padding,
    gain: float,
    slope: float,
    clamp: float | None,
) -> torch.Tensor:
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
