"""Which implementation of an op runs: the plain-torch one, or a CUDA kernel where there is one.

Every op of this package has a plain-torch `_ref`; a CUDA kernel joins it by entering its op's name
in `CUDA_OPS`. Callers say nothing and the device of their input decides, or ask for one by name.
"""

from __future__ import annotations

import torch

CUDA_OPS: frozenset[str] = frozenset()
"""Ops that have a CUDA kernel in this build."""

IMPLS = ("ref", "cuda")


class KernelUnavailable(RuntimeError):
    """A CUDA kernel was asked for and cannot be had; the message says why and what to do."""


def choose_impl(impl: str | None, tensor: torch.Tensor, op: str) -> str:
    """The implementation of `op` that runs on `tensor`.

    Args:
        impl: 'ref', 'cuda', or None to choose by the device of `tensor`.
        tensor: The op's main input; only its device is read.
        op: Name of the op, for `CUDA_OPS` and for messages.

    Returns:
        'ref' or 'cuda'.

    Raises:
        ValueError: `impl` is none of the above.
        KernelUnavailable: 'cuda' was asked for, and this build has no such kernel, or `tensor` is
            not on a CUDA device.
    """
    if impl is None:
        return "cuda" if tensor.is_cuda and op in CUDA_OPS else "ref"
    if impl not in IMPLS:
        raise ValueError(f"impl of {op} must be 'ref', 'cuda' or None, got {impl!r}.")
    if impl == "cuda":
        if op not in CUDA_OPS:
            raise KernelUnavailable(
                f"{op} has no CUDA kernel in this build; leave impl out, or pass impl='ref' "
                "(plain torch, runs on any device)."
            )
        if not tensor.is_cuda:
            raise KernelUnavailable(
                f"the CUDA kernel of {op} needs a CUDA tensor, got one on {tensor.device}; "
                "move it there, or pass impl='ref'."
            )
    return impl
