"""Pad, upsample, filter and downsample images: the resampling step of alias-free networks."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from kernels._backend import run
from kernels._banded import Axis, filter_axes
from kernels._filter import Activation, Geometry, apply_filter, prepare_filters, taps_of

Padding = int | tuple[int, int] | tuple[int, int, int, int]


def upfirdn2d(
    x: torch.Tensor,
    f: torch.Tensor,
    *,
    up: int = 1,
    down: int = 1,
    padding: Padding = 0,
    gain: float = 1.0,
    impl: str | None = None,
) -> torch.Tensor:
    """Insert zeros, pad, convolve with a FIR filter and keep every `down`-th pixel.

    Args:
        x: Images, any float dtype [N, C, H, W].
        f: Filter, float32 [taps] (separable) or [taps_y, taps_x].
        up: Integer upsampling factor; `up - 1` zeros follow every pixel.
        down: Integer downsampling factor.
        padding: Zeros around the upsampled image, pixels: one number, (x, y) or (left, right, top,
            bottom). Negative values crop.
        gain: Factor on the result. `up**2` keeps the brightness of an upsampled image.
        impl: 'cuda', 'ref', or None to choose by the device of `x`.

    Returns:
        dtype of `x`, [N, C, H', W'] with H' = (H * up + top + bottom - taps) // down + 1.
        Differentiable in `x` as often as asked.

    Raises:
        ValueError: A factor is below 1, or nothing is left after cropping.
        KernelUnavailable: 'cuda' was asked for and cannot be had; the message says why.

    Source: Karras et al. 2021 (StyleGAN3), appendix D. Differs: the torch version runs the phases
    of the filter on the input's own lattice, so that no inserted zero is ever multiplied.
    """
    if up < 1 or down < 1:
        raise ValueError(f"up and down must be at least 1, got up={up}, down={down}.")
    pad = parse_padding(padding)
    return run(
        impl,
        x,
        "upfirdn2d",
        lambda: _upfirdn2d_cuda(x, f, up, down, pad, gain),
        lambda: _upfirdn2d_ref(x, f, up, down, pad, gain),
    )


def _upfirdn2d_ref(
    x: torch.Tensor,
    f: torch.Tensor,
    up: int,
    down: int,
    pad: tuple[int, int, int, int],
    gain: float,
) -> torch.Tensor:
    if f.ndim == 2:
        return _filter_dense(x, f, up, down, pad, gain)
    lengths = [_length_out(x, f.numel(), up, down, pad, axis) for axis in (3, 2)]
    if _is_banded(x):
        taps = tuple(f.tolist())
        along_x = Axis(taps, up, down, pad[0], x.shape[3], lengths[0])
        scaled = tuple(tap * gain for tap in taps)
        along_y = Axis(scaled, up, down, pad[2], x.shape[2], lengths[1])
        return filter_axes(x, along_x, along_y)
    x = _filter_axis(x, f, up, down, pad[0], lengths[0], axis=3)
    return _filter_axis(x, f * gain, up, down, pad[2], lengths[1], axis=2)


def _is_banded(x: torch.Tensor) -> bool:
    """Whether products with a banded matrix are the quicker way; `torch.compile` traces none."""
    is_single = x.dtype in (torch.float32, torch.float64)
    return x.device.type == "cpu" and is_single and not torch.compiler.is_compiling()


def _length_out(
    x: torch.Tensor, taps: int, up: int, down: int, pad: tuple[int, int, int, int], axis: int
) -> int:
    before, after = pad[:2] if axis == 3 else pad[2:]
    raised = x.shape[axis] * up + before + after - taps + 1
    if raised < 1:
        raise ValueError(
            f"upfirdn2d leaves no pixel along axis {axis}: {x.shape[axis]} * {up} + {before} + "
            f"{after} must be at least the filter's {taps} taps."
        )
    return (raised - 1) // down + 1


def _upfirdn2d_cuda(
    x: torch.Tensor,
    f: torch.Tensor,
    up: int,
    down: int,
    pad: tuple[int, int, int, int],
    gain: float,
) -> torch.Tensor:
    """The kernel of `filtered_lrelu` without its activation."""
    identity = torch.ones((1,) * f.ndim, device=x.device)
    raised = Geometry.of((x.shape[2], x.shape[3]), up, 1, pad, taps_of(f), (1, 1)).raised_size
    if min(raised) < 1:
        raise ValueError(
            f"upfirdn2d leaves no pixel: {x.shape[2]} x {x.shape[3]} pixels, times {up}, padded by "
            f"{pad}, must be at least the filter's {taps_of(f)} taps."
        )
    out_size = ((raised[0] - 1) // down + 1, (raised[1] - 1) // down + 1)
    left, _, top, _ = pad
    in_size = (x.shape[2], x.shape[3])
    if up == 1:
        # The input is the raised map; the filter runs while lowering, on what is kept only.
        geometry = Geometry(in_size, in_size, out_size, 1, down, (0, 0), (-top, -left))
        fu, fd = identity, f
    else:
        geometry = Geometry(
            (x.shape[2], x.shape[3]), raised, out_size, up, down, (top, left), (0, 0)
        )
        fu, fd = f, identity
    fu, fd = prepare_filters(fu.to(x.device), fd.to(x.device))
    return apply_filter("upfirdn2d", x, fu, fd, geometry, Activation(gain))


def parse_padding(padding: Padding) -> tuple[int, int, int, int]:
    """Left, right, top, bottom."""
    if isinstance(padding, int):
        return padding, padding, padding, padding
    if len(padding) == 2:
        return padding[0], padding[0], padding[1], padding[1]
    return padding


def _filter_axis(
    x: torch.Tensor, f: torch.Tensor, up: int, down: int, before: int, length_out: int, axis: int
) -> torch.Tensor:
    """One axis of a separable filter, phase by phase: output `m` reads stuffed `m + k - before`."""
    raised = (length_out - 1) * down + 1
    if up == 1:
        return _correlate(x, f.flip(0), before, raised, down, axis)
    per_phase = -(-raised // up)
    phases = []
    for r in range(up):
        first = (before - r) % up
        start = (r + first - before) // up
        phase = _correlate(x, f.flip(0)[first::up], -start, per_phase, 1, axis)
        phases.append(phase.permute(0, 2, 3, 1))
    # Interleaving in [N, H, W, C] keeps channels_last, in which convolutions are fastest.
    y = torch.stack(phases, dim=axis).flatten(axis - 1, axis).permute(0, 3, 1, 2)
    y = y.narrow(axis, 0, raised)
    return y if down == 1 else y[(slice(None),) * axis + (slice(None, None, down),)]


def _correlate(
    x: torch.Tensor, f: torch.Tensor, before: int, length_out: int, stride: int, axis: int
) -> torch.Tensor:
    """`y[i] = sum_t f[t] * x[i + t - before]` for i < length_out, zeros outside `x`."""
    if f.numel() == 0:  # a phase of a filter shorter than the upsampling factor
        f = f.new_zeros(1)
    channels, taps = x.shape[1], f.numel()
    after = length_out + taps - 1 - before - x.shape[axis]
    edges = (before, after, 0, 0) if axis == 3 else (0, 0, before, after)
    if before or after:
        x = F.pad(x, edges)
    shape = (channels, 1, 1, taps) if axis == 3 else (channels, 1, taps, 1)
    weight = f.to(x.dtype).view(1, 1, *shape[2:]).expand(shape)
    return F.conv2d(x, weight, stride=(1, stride) if axis == 3 else (stride, 1), groups=channels)


def _filter_dense(
    x: torch.Tensor,
    f: torch.Tensor,
    up: int,
    down: int,
    pad: tuple[int, int, int, int],
    gain: float,
) -> torch.Tensor:
    """A filter of two axes that does not separate."""
    n, channels, height, width = x.shape
    if up > 1:
        x = F.pad(x.reshape(n, channels, height, 1, width, 1), (0, up - 1, 0, 0, 0, up - 1))
        x = x.reshape(n, channels, height * up, width * up)
    x = F.pad(x, pad)
    if x.shape[2] < f.shape[0] or x.shape[3] < f.shape[1]:
        raise ValueError(
            f"upfirdn2d leaves no pixel: {x.shape[2]} x {x.shape[3]} padded pixels must be at "
            f"least the filter's {f.shape[0]} x {f.shape[1]}."
        )
    weight = (f * gain).flip((0, 1)).to(x.dtype).expand(channels, 1, *f.shape)
    return F.conv2d(x, weight, stride=down, groups=channels)
