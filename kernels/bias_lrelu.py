"""Bias and leaky ReLU in one pass over memory, forward and backward."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from kernels import _cuda
from kernels._backend import run


def bias_lrelu(
    x: torch.Tensor,
    b: torch.Tensor | None = None,
    *,
    slope: float = 0.2,
    gain: float = 1.0,
    impl: str | None = None,
) -> torch.Tensor:
    """Add a bias, leaky ReLU, scale.

    Args:
        x: Features, any float dtype [N, C, ...].
        b: Bias, any float dtype [C], or None.
        slope: Slope where the sum is not above zero, > 0.
        gain: Factor after the nonlinearity, > 0.
        impl: 'cuda', 'ref', or None to choose by the device of `x`.

    Returns:
        dtype and shape of `x`, in channels_last where it is. Differentiable in `x` and `b`, twice.

    Raises:
        ValueError: A shape, dtype or device is not as above, `slope` or `gain` not positive.
        KernelUnavailable: 'cuda' was asked for and cannot be had; the message says why.
    """
    _check(x, b, slope, gain)
    return run(
        impl,
        x,
        "bias_lrelu",
        lambda: _bias_lrelu_cuda(x, b, slope, gain),
        lambda: _bias_lrelu_ref(x, b, slope, gain),
    )


def _bias_lrelu_ref(
    x: torch.Tensor, b: torch.Tensor | None, slope: float, gain: float
) -> torch.Tensor:
    if b is not None:
        x = x + b.to(x.dtype).view(1, -1, *(1,) * (x.ndim - 2))
    x = F.leaky_relu(x, slope)
    return x if gain == 1 else x * gain


def _check(x: torch.Tensor, b: torch.Tensor | None, slope: float, gain: float) -> None:
    """Raise ValueError unless the arguments of `bias_lrelu` fit together."""
    if x.ndim < 2 or not x.is_floating_point():
        raise ValueError(f"x must be floating point [N, C, ...], got {x.dtype} {list(x.shape)}.")
    if b is not None and (
        b.ndim != 1 or b.shape[0] != x.shape[1] or not b.is_floating_point() or b.device != x.device
    ):
        raise ValueError(
            f"b must be floating point [{x.shape[1]}] on {x.device}, got {b.dtype} "
            f"{list(b.shape)} on {b.device}."
        )
    # The gradient reads its sign off the output: it must be that of the sum.
    for name, value in (("slope", slope), ("gain", gain)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} of bias_lrelu must be finite and positive, got {value}.")


_THREADS = 256
_PARTS = 1024
"""Blocks enough for any GPU; of partial sums of a bias's gradient no more are made."""
_BIAS_KINDS = {torch.float32: 1, torch.float16: 2, torch.bfloat16: 3}  # as in the source; 0: none


@dataclass(frozen=True)
class _Activation:
    """What the kernels do, and where channels lie."""

    slope: float
    gain: float
    last: bool
    """Channels are innermost; else planes."""


def _bias_lrelu_cuda(
    x: torch.Tensor, b: torch.Tensor | None, slope: float, gain: float
) -> torch.Tensor:
    x, last = _dense(x)
    act = _Activation(slope, gain, last)
    keeps = x.requires_grad or (b is not None and b.requires_grad)
    if torch.is_grad_enabled() and keeps:
        return _Bend.apply(x, b, None, act)
    return _bend(x, b, None, act)


def _dense(x: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """`x` without gaps in memory, and whether its channels are innermost."""
    if x.is_contiguous():
        return x, x.numel() == x.shape[0] * x.shape[1]
    if x.ndim == 4 and x.stride(1) == 1:
        return x.contiguous(memory_format=torch.channels_last), True
    return _dense(x.contiguous())


class _Bend(torch.autograd.Function):
    """The op; or, where an earlier output gives the signs, the op that is linear given them.

    The derivative of both is `_BendTransposed`, whose own is the latter.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        b: torch.Tensor | None,
        signs: torch.Tensor | None,
        act: _Activation,
    ) -> torch.Tensor:
        out = _bend(x, b, signs, act)
        ctx.save_for_backward(out if signs is None else signs)
        ctx.act, ctx.bias_dtype = act, None if b is None else b.dtype
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (signs,) = ctx.saved_tensors
        bias_dtype = ctx.bias_dtype if ctx.needs_input_grad[1] else None
        # Nothing flows through the signs: detached, they add no way back through the graph.
        grad_x, grad_b = _BendTransposed.apply(grads[0], signs.detach(), ctx.act, bias_dtype)
        return grad_x, grad_b, None, None


class _BendTransposed(torch.autograd.Function):
    """Gradient of the output to those of `x` and the bias (where it has a dtype)."""

    @staticmethod
    def forward(
        ctx: Any,
        grad: torch.Tensor,
        signs: torch.Tensor,
        act: _Activation,
        bias_dtype: torch.dtype | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        ctx.save_for_backward(signs)
        ctx.set_materialize_grads(False)
        ctx.act = act
        grad = _as_signs(grad, act)
        if bias_dtype is None:
            return _bend(grad, None, signs, act), None
        return _bend_backward(grad, signs, act, bias_dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        (signs,) = ctx.saved_tensors
        x, b = grads
        if x is None and b is None:
            return None, None, None, None
        x = torch.zeros_like(signs) if x is None else _as_signs(x, ctx.act)
        return _Bend.apply(x, b, signs, ctx.act), None, None, None


def _as_signs(x: torch.Tensor, act: _Activation) -> torch.Tensor:
    """In the memory format that the forward pass had."""
    if act.last and x.ndim == 4:
        return x.contiguous(memory_format=torch.channels_last)
    return x.contiguous()


@functools.cache
def _kernel(
    stem: str, dtype: torch.dtype, vector: int, last: bool, given: bool | None
) -> _cuda.Kernel:
    flags = ", ".join(str(flag).lower() for flag in (last, given) if flag is not None)
    return _cuda.Kernel("bias_lrelu", f"{stem}<{_cuda.TYPE_NAMES[dtype]}, {vector}, {flags}>")


@dataclass(frozen=True)
class _Launch:
    """How one call's elements are shared out; see the source."""

    vector: int
    length: int
    parts: int
    blocks: int
    threads: int
    partial_rows: int

    @classmethod
    def of(cls, tensors: tuple[torch.Tensor | None, ...], last: bool, *, sums: bool) -> _Launch:
        """For dense, equal tensors that hold something; None is one that is not there."""
        x = tensors[0]
        assert x is not None
        batch, channels = x.shape[:2]
        length = x.numel() // channels if last else x.numel() // (batch * channels)
        vector = 16 // x.element_size()
        if (channels if last else length) % vector or any(
            t.data_ptr() % 16 for t in tensors if t is not None
        ):
            vector = 1
        if last:
            vectors = channels // vector
            slabs = -(-vectors // _THREADS)
            rows = _THREADS // -(-vectors // slabs)
            parts = -(-length // rows)
            # Few parts go one a thread; of many, a thread takes 4 and more, with one bias.
            most = _PARTS // slabs if sums else max(_PARTS, parts // 4)
            parts = max(1, min(parts, most))
            return cls(vector, length, parts, parts * slabs, _THREADS, parts)
        vectors = length // vector
        threads = min(_THREADS, max(32, 1 << (vectors - 1).bit_length()))
        parts = -(-vectors // (threads * 8))
        return cls(vector, length, parts, batch * channels * parts, threads, batch * parts)

    def numbers(self, channels: int, act: _Activation) -> list[np.generic]:
        """Channels, length, parts, slope and gain, as the kernels take them."""
        return [
            np.int32(channels),
            np.int64(self.length),
            np.int32(self.parts),
            np.float32(act.slope),
            np.float32(act.gain),
        ]


def _bend(
    x: torch.Tensor, b: torch.Tensor | None, signs: torch.Tensor | None, act: _Activation
) -> torch.Tensor:
    out = torch.empty_like(x)
    if x.numel() == 0:
        return out
    if b is not None:
        b = (b if b.dtype in _BIAS_KINDS else b.float()).contiguous()
    plan = _Launch.of((x, signs), act.last, sums=False)
    _cuda.launch(
        "bias_lrelu",
        _kernel("bias_lrelu", x.dtype, plan.vector, act.last, signs is not None),
        x.device,
        blocks=plan.blocks,
        threads=plan.threads,
        args=[
            x,
            b,
            signs,
            out,
            np.int32(0 if b is None else _BIAS_KINDS[b.dtype]),
            *plan.numbers(x.shape[1], act),
        ],
    )
    return out


def _bend_backward(
    grad: torch.Tensor, signs: torch.Tensor, act: _Activation, bias_dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    channels = grad.shape[1]
    grad_x = torch.empty_like(grad)
    if grad.numel() == 0:
        return grad_x, torch.zeros(channels, dtype=bias_dtype, device=grad.device)
    plan = _Launch.of((grad, signs), act.last, sums=True)
    partial = torch.empty(plan.partial_rows, channels, device=grad.device)
    _cuda.launch(
        "bias_lrelu",
        _kernel("bias_lrelu_backward", grad.dtype, plan.vector, act.last, None),
        grad.device,
        blocks=plan.blocks,
        threads=plan.threads,
        args=[grad, signs, grad_x, partial, *plan.numbers(channels, act)],
        shared_bytes=_THREADS * (plan.vector if act.last else 1) * 4,
    )
    grad_b = partial.sum(0)
    return grad_x, grad_b if bias_dtype == torch.float32 else grad_b.to(bias_dtype)
