"""`upfirdn2d` and `filtered_lrelu` on the GPU: one op, its transpose, and their derivatives.

Along one axis, with both filters flipped, the kernel computes

    raised[r] = gain * sum_k fu[k] * stuffed[r + k - pad]     for r in [0, raised size), else 0
    out[o]    = sum_k fd[k] * act(raised[o * down + start + k])

Given the signs of `raised` the activation is a factor at each raised pixel, and the transpose of
the whole has the same form: filters swapped and reversed, pad' = fd's taps - 1 + start, and
start' = pad - (fu's taps - 1). So one kernel serves every order of derivative. There are
three: for separable filters, for filters of two axes, and one for tensor cores, which does the
usual case (twice the rate, 16-bit numbers, channels_last) several times faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kernels import _cuda

Axes = tuple[int, int]
"""One number for y, one for x."""

SIGNS_NONE, SIGNS_WRITE, SIGNS_READ = 0, 1, 2

MAX_FACTOR, MAX_TAPS = 16, 48
"""Of what is compiled: larger ones would take minutes to compile and spill registers."""


@dataclass(frozen=True)
class Geometry:
    """Sizes and offsets of one application, pixels; pairs are (y, x)."""

    in_size: Axes
    raised_size: Axes
    out_size: Axes
    up: int
    down: int
    pad: Axes
    """Zeros before the stuffed input; negative crops."""
    start: Axes
    """First raised pixel that output 0 reads; may lie outside, where there are zeros."""

    @staticmethod
    def of(
        in_size: Axes, up: int, down: int, padding: tuple[int, int, int, int], fu: Axes, fd: Axes
    ) -> Geometry:
        """The plain op; `padding` is (left, right, top, bottom), `fu` and `fd` count taps."""
        left, right, top, bottom = padding
        raised = (
            in_size[0] * up + top + bottom - fu[0] + 1,
            in_size[1] * up + left + right - fu[1] + 1,
        )
        out = ((raised[0] - fd[0]) // down + 1, (raised[1] - fd[1]) // down + 1)
        return Geometry(in_size, raised, out, up, down, (top, left), (0, 0))

    def transposed(self, fu: Axes, fd: Axes) -> Geometry:
        """The op that takes gradients of the output to gradients of the input."""
        return Geometry(
            in_size=self.out_size,
            raised_size=self.raised_size,
            out_size=self.in_size,
            up=self.down,
            down=self.up,
            pad=(fd[0] - 1 + self.start[0], fd[1] - 1 + self.start[1]),
            start=(self.pad[0] - fu[0] + 1, self.pad[1] - fu[1] + 1),
        )

    def stays_inside(self, fd: Axes) -> bool:
        """Whether outputs read no raised pixels outside, as in the plain op."""
        return all(
            start >= 0 and start + (out - 1) * self.down + taps <= raised
            for start, out, taps, raised in zip(self.start, self.out_size, fd, self.raised_size)
        )


@dataclass(frozen=True)
class Activation:
    """What happens to a raised pixel, after the gain in front of it."""

    gain: float
    """That of the upsampling times that of the activation; > 0."""
    slope: float = 1.0
    clamp: float = float("inf")


def taps_of(f: torch.Tensor) -> Axes:
    """Taps along y and x of a filter, separable [taps] or [taps_y, taps_x]."""
    return (f.shape[0], f.shape[0]) if f.ndim == 1 else (f.shape[0], f.shape[1])


def prepare_filters(fu: torch.Tensor, fd: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """float32, contiguous, and both of one kind: where one does not separate, neither does."""
    if fu.ndim != fd.ndim:
        fu, fd = (f if f.ndim == 2 else f[:, None] * f[None, :] for f in (fu, fd))
    return fu.float().contiguous(), fd.float().contiguous()


def apply_filter(
    op: str,
    x: torch.Tensor,
    fu: torch.Tensor,
    fd: torch.Tensor,
    geometry: Geometry,
    act: Activation,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """Run `op`, differentiable in `x` and `bias` as often as asked; filters as prepared.

    Raises:
        KernelUnavailable: The factors or filters are larger than what is compiled, or take more
            memory than a block gets, on the way back too where a gradient may be asked.
    """
    factor, taps = max(geometry.up, geometry.down), max(*fu.shape, *fd.shape)
    if factor > MAX_FACTOR or (fu.ndim == 1 and taps > MAX_TAPS):
        raise _cuda.KernelUnavailable(
            f"{op} is compiled for factors up to {MAX_FACTOR} and filters up to {MAX_TAPS} taps, "
            f"got {factor} and {taps}; pass impl='ref'."
        )
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, bias)):
        # On the way back itself it would be too late to take the torch version.
        *_, shared = _tile(geometry.down, geometry.up, fd, fu, _group(x))
        _cuda.check_shared_bytes(f"the gradient of {op}", shared, x.device)
    if act.slope == 1.0 and act.clamp == float("inf") and bias is None:
        return _Linear.apply(x, None, fu, fd, geometry, act, op)
    return _Activated.apply(x, bias, fu, fd, geometry, act, op)


class _Activated(torch.autograd.Function):
    """The op with its activation; keeps two bits a raised pixel where a gradient may be asked."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        bias: torch.Tensor | None,
        fu: torch.Tensor,
        fd: torch.Tensor,
        geometry: Geometry,
        act: Activation,
        op: str,
    ) -> torch.Tensor:
        signs = None
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
            signs = _new_signs(x, geometry)
        ctx.save_for_backward(fu, fd, *([] if signs is None else [signs]))
        ctx.geometry, ctx.act, ctx.op, ctx.layout = geometry, act, op, _format_of(x)
        ctx.bias_dtype = None if bias is None else bias.dtype
        mode = SIGNS_NONE if signs is None else SIGNS_WRITE
        return _launch(op, x, bias, fu, fd, signs, mode, geometry, act)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        fu, fd, signs = ctx.saved_tensors
        grad_x = _transpose(ctx, grads[0], signs, fu, fd)
        grad_bias = None
        if ctx.needs_input_grad[1]:
            grad_bias = grad_x.sum((0, 2, 3), dtype=torch.float32).to(ctx.bias_dtype)
        return grad_x, grad_bias, None, None, None, None, None


class _Linear(torch.autograd.Function):
    """The op with the factors that `signs` name at each raised pixel (None: the gain alone)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        signs: torch.Tensor | None,
        fu: torch.Tensor,
        fd: torch.Tensor,
        geometry: Geometry,
        act: Activation,
        op: str,
    ) -> torch.Tensor:
        ctx.save_for_backward(fu, fd, *([] if signs is None else [signs]))
        ctx.geometry, ctx.act, ctx.op, ctx.layout = geometry, act, op, _format_of(x)
        mode = SIGNS_NONE if signs is None else SIGNS_READ
        return _launch(op, x, None, fu, fd, signs, mode, geometry, act)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        fu, fd, *signs = ctx.saved_tensors
        grad_x = _transpose(ctx, grads[0], signs[0] if signs else None, fu, fd)
        return grad_x, None, None, None, None, None, None


def _transpose(
    ctx: Any,
    grad: torch.Tensor,
    signs: torch.Tensor | None,
    fu: torch.Tensor,
    fd: torch.Tensor,
) -> torch.Tensor:
    """The gradient at the input of what left `ctx`."""
    if ctx.layout is torch.contiguous_format and _format_of(grad) is not ctx.layout:
        grad = grad.contiguous()  # a tile of planes was found to fit; of channels_last it is larger
    axes = tuple(range(fu.ndim))
    transposed = ctx.geometry.transposed(taps_of(fu), taps_of(fd))
    return _Linear.apply(grad, signs, fd.flip(axes), fu.flip(axes), transposed, ctx.act, ctx.op)


def _new_signs(x: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """uint8 [N, C, ceil(raised height / 4), raised width], laid out as `x` is."""
    rows = (geometry.raised_size[0] + 3) // 4
    shape = (x.shape[0], x.shape[1], rows, geometry.raised_size[1])
    return torch.empty(shape, dtype=torch.uint8, device=x.device, memory_format=_format_of(x))


def _format_of(x: torch.Tensor) -> torch.memory_format:
    """channels_last where the channel is the fastest index of `x`, else planes."""
    last = x.stride(1) == 1 and x.shape[1] > 1
    return torch.channels_last if last else torch.contiguous_format


TILES = ((16, 64), (16, 32), (16, 16), (16, 8), (8, 8), (4, 8), (4, 4))
"""Height and width of a block's output, best first.

With 12 taps at twice the rate a tile of 16 x 64 planar pixels has 1.1 raised columns and 1.5 rows
to work through for each that it keeps, and 5 nearly full warps to walk down the columns. It takes
25 KiB: on an H200 registers, not memory, set the limit of five blocks a multiprocessor; the
smallest GPU holds two. With 8 channels the tile that fits is 16 x 8, three blocks of 7 warps.
Heights are multiples of 4, because four rows share a byte of signs. Reckoned, not measured.
"""


def separable_tile(up: int, down: int, fu: int, fd: int, channels: int) -> tuple[int, int, int]:
    """The first of `TILES` that fits, and the bytes of shared memory it takes.

    The same arithmetic as at the head of the kernel.
    """
    for height, width in TILES:
        taps = fd + up - 1
        reads = (fu + up - 2) // up + 1
        up_size = [(s - 1) * down + taps for s in (height, width)]
        groups = [-(-s // up) for s in up_size]
        inputs = [g - 1 + reads for g in groups]
        first = max(inputs[0] * inputs[1], height * down * -(-up_size[1] // down))
        floats = (first + inputs[0] * up * groups[1]) * channels
        if 4 * floats <= _cuda.MAX_SHARED_BYTES:
            break
    return height, width, 4 * floats


def radial_tile(up: int, down: int, fu: Axes, fd: Axes) -> tuple[int, int, int]:
    """As `separable_tile`, for filters of two axes."""
    for height, width in TILES[2:]:
        up_size = [(s - 1) * down + taps for s, taps in zip((height, width), fd)]
        inputs = [(s + taps - 2) // up + 1 for s, taps in zip(up_size, fu)]
        floats = fu[0] * fu[1] + fd[0] * fd[1] + inputs[0] * inputs[1] + up_size[0] * up_size[1]
        if 4 * floats <= _cuda.MAX_SHARED_BYTES:
            break
    return height, width, 4 * floats


def _group(x: torch.Tensor) -> int:
    """Channels of a block of the kernel for separable filters.

    Of channels_last 16 neighbouring bytes, half the least that memory hands out.
    """
    return 1 if _format_of(x) is torch.contiguous_format else 16 // x.element_size()


def _tile(
    up: int, down: int, fu: torch.Tensor, fd: torch.Tensor, group: int
) -> tuple[int, int, int]:
    """See `separable_tile` and `radial_tile`, whose blocks have one channel."""
    taps_up, taps_down = taps_of(fu), taps_of(fd)
    if fu.ndim == 2:
        return radial_tile(up, down, taps_up, taps_down)
    return separable_tile(up, down, taps_up[0], taps_down[0], group)


def _threads_for(up: int, down: int, fd: int, width: int, channels: int) -> int:
    """Whole warps, at most 256 threads, with the fewest idle while they walk down the columns."""
    columns = up * -(-((width - 1) * down + fd + up - 1) // up) * channels
    passes = -(-columns // 256)
    return -(-columns // (passes * 32)) * 32


def _loads_whole_groups(x: torch.Tensor, channels: int) -> bool:
    """Whether each group of `channels` neighbours is 16 aligned bytes inside `x`."""
    steps = (x.shape[1], x.stride(0), x.stride(2), x.stride(3))
    return x.data_ptr() % 16 == 0 and all(step % channels == 0 for step in steps)


MMA_MAX_TAPS, MMA_TILE, MMA_GROUP = 15, 32, 16
"""What a block of the kernel for tensor cores takes and makes, see there."""
MMA_SHARED_BYTES = {SIGNS_NONE: 71_168, SIGNS_WRITE: 81_408, SIGNS_READ: 96_768}
"""Two or three blocks fit a multiprocessor of an H200 or A100, one the smaller GPUs'."""


def takes_tensor_cores(
    x: torch.Tensor,
    fu: torch.Tensor,
    fd: torch.Tensor,
    signs: torch.Tensor | None,
    mode: int,
    geometry: Geometry,
    act: Activation,
) -> bool:
    """Whether the kernel for tensor cores does this application.

    It rounds to `x`'s dtype after each of the four passes, as the torch version does. Where it
    reads no signs, it takes the raised map to have no border within reach of an output.
    """
    return (
        x.dtype in (torch.float16, torch.bfloat16)
        and fu.ndim == 1
        and geometry.up == geometry.down == 2
        and max(*fu.shape, *fd.shape) <= MMA_MAX_TAPS
        and act.gain > 0  # its root is in the taps; upfirdn2d takes any
        and (mode == SIGNS_READ or geometry.stays_inside(taps_of(fd)))
        and x.stride(1) == 1
        and x.shape[1] % 8 == 0
        and _loads_whole_groups(x, 8)
        and (signs is None or (signs.stride(1) == 1 and signs.stride(3) % 8 == 0))
        and _cuda.is_ampere(x.device)
    )


def _launch(
    op: str,
    x: torch.Tensor,
    bias: torch.Tensor | None,
    fu: torch.Tensor,
    fd: torch.Tensor,
    signs: torch.Tensor | None,
    mode: int,
    geometry: Geometry,
    act: Activation,
) -> torch.Tensor:
    out = torch.empty(
        (x.shape[0], x.shape[1], *geometry.out_size),
        dtype=x.dtype,
        device=x.device,
        memory_format=_format_of(x),
    )
    if out.numel() == 0:
        return out
    if x.numel() == 0:
        return out.zero_()
    scalar, up, down = _cuda.TYPE_NAMES[x.dtype], geometry.up, geometry.down
    taps_up, taps_down = taps_of(fu), taps_of(fd)
    extra: list[np.generic] = []
    source, threads = "filtered_lrelu", 256
    if takes_tensor_cores(x, fu, fd, signs, mode, geometry, act):
        source, name = "filtered_lrelu_mma", f"filtered_lrelu_mma<{scalar}, {mode}>"
        group, height, width, shared = MMA_GROUP, MMA_TILE, MMA_TILE, MMA_SHARED_BYTES[mode]
        extra = [np.int32(taps_up[0]), np.int32(taps_down[0])]
    elif fu.ndim == 2:
        group = 1
        height, width, shared = _tile(up, down, fu, fd, group)
        name = f"filtered_lrelu_radial<{scalar}, {up}, {down}, {mode}>"
        extra = [np.int32(v) for v in (*taps_up, *taps_down, height, width)]
    else:
        group = _group(x)
        height, width, shared = _tile(up, down, fu, fd, group)
        threads = _threads_for(up, down, taps_down[0], width, group)
        template = (up, down, taps_up[0], taps_down[0], height, width, group, mode)
        name = f"filtered_lrelu<{scalar}, {', '.join(map(str, template))}>"
        extra = [np.int32(_loads_whole_groups(x, group))]
    tiles = -(-geometry.out_size[0] // height) * -(-geometry.out_size[1] // width)
    sizes = (
        x.shape[1],
        *geometry.in_size,
        *geometry.raised_size,
        *geometry.out_size,
        *geometry.pad,
        *geometry.start,
    )
    strides = (*x.stride(), *out.stride(), *((0, 0, 0, 0) if signs is None else signs.stride()))
    bias = None if bias is None else bias.float().contiguous()
    _cuda.launch(
        op,
        _cuda.Kernel(source, name),
        x.device,
        blocks=x.shape[0] * -(-x.shape[1] // group) * tiles,
        threads=threads,
        args=[
            x,
            fu,
            fd,
            bias,
            signs,
            out,
            *(np.int32(v) for v in sizes),
            *(np.int64(v) for v in strides),
            *(np.float32(v) for v in (act.gain, act.slope, act.clamp)),
            *extra,
        ],
        shared_bytes=shared,
    )
    return out
