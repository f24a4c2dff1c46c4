"""Which implementation of an op runs: the plain-torch one, or its CUDA kernel.

Callers say nothing and the device of their input decides, or ask for one by name. Autocast leaves
every op alone: it computes in the dtype of its input. `torch.compile` traces the torch versions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from kernels import _cuda
from kernels._cuda import KernelUnavailable

__all__ = ["IMPLS", "KernelUnavailable", "choose_impl", "run"]

IMPLS = ("ref", "cuda")

KERNEL_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
"""What the kernels read and write; sums are float32 throughout."""


def choose_impl(
    impl: str | None, tensor: torch.Tensor, op: str, dtype: torch.dtype | None = None
) -> str:
    """The implementation of `op` that runs on `tensor`.

    Args:
        impl: 'ref', 'cuda', or None to choose by the device of `tensor`.
        tensor: The op's main input; its device is read, and its dtype where `dtype` is None.
        op: Name of the op, for messages and for what has been found out about it.
        dtype: Of the numbers that the kernel would work on.

    Returns:
        'ref' or 'cuda'.

    Raises:
        ValueError: `impl` is none of the above.
        KernelUnavailable: 'cuda' was asked for and cannot be had; the message says why and what to
            do.
    """
    if impl is not None and impl not in IMPLS:
        raise ValueError(f"impl of {op} must be 'ref', 'cuda' or None, got {impl!r}.")
    if impl == "ref":
        return "ref"
    why = _refusal(op, tensor, dtype or tensor.dtype)
    if impl is None:
        return "ref" if why else "cuda"
    if why:
        raise KernelUnavailable(f"the CUDA kernel of {op} cannot run: {why}")
    return "cuda"


T = TypeVar("T")


def run(
    impl: str | None,
    tensor: torch.Tensor,
    op: str,
    kernel: Callable[[], T],
    ref: Callable[[], T],
    dtype: torch.dtype | None = None,
) -> T:
    """The result of `kernel` where `choose_impl` says 'cuda', else that of `ref`.

    A kernel that turns out not to compile is remembered as such (`_cuda.launch` logs it once); the
    torch version then answers, unless the kernel was asked for by name.
    """
    if choose_impl(impl, tensor, op, dtype) == "cuda":
        try:
            return kernel()
        except KernelUnavailable:
            if impl == "cuda":
                raise
    if torch.is_autocast_enabled(tensor.device.type):
        with torch.autocast(tensor.device.type, enabled=False):
            return ref()
    return ref()


def _refusal(op: str, tensor: torch.Tensor, dtype: torch.dtype) -> str | None:
    """Why the kernel cannot take `tensor`, with what to do; None where it can."""
    if not _cuda.launches_on(tensor.device):
        return (
            f"it needs a CUDA tensor, got one on {tensor.device}; move it there, or pass "
            "impl='ref' (plain torch, runs on any device)."
        )
    if torch.compiler.is_compiling():
        return "torch.compile traces the torch version; leave impl out there, or pass impl='ref'."
    if dtype not in KERNEL_DTYPES:
        return f"it takes float32, float16 and bfloat16, got {dtype}; convert, or pass impl='ref'."
    return _cuda.unavailable_reason(tensor.device) or _cuda.failure_of(op, tensor.device)
