"""Network images to the bytes that a display takes."""

from __future__ import annotations

import numpy as np
import torch

from kernels import _cuda
from kernels._backend import run


def tile_to_rgba8(
    img: torch.Tensor, *, out: torch.Tensor | None = None, impl: str | None = None
) -> torch.Tensor:
    """Opaque RGBA bytes of images.

    Args:
        img: float16/bfloat16/float32/float64 [N, 3, H, W] in [-1, 1]; what lies outside is clamped.
        out: Where to write, contiguous uint8 [N, H, W, 4] on the device of `img` (a texture's
            upload buffer, say); None makes a new one.
        impl: 'cuda', 'ref', or None to choose by the device of `img`.

    Returns:
        `out`. R, G, B as `trunc(clamp(img * 127.5 + 128, 0, 255))` in float32, and 255. Not
        differentiable.

    Raises:
        ValueError: A shape, dtype or memory layout is not as above.
        KernelUnavailable: 'cuda' was asked for and cannot be had; the message says why.
    """
    if img.ndim != 4 or img.shape[1] != 3 or not img.is_floating_point():
        raise ValueError(
            f"img must be floating point [N, 3, H, W], got {img.dtype} {list(img.shape)}."
        )
    shape = (img.shape[0], img.shape[2], img.shape[3], 4)
    if out is None:
        out = torch.empty(shape, dtype=torch.uint8, device=img.device)
    if (
        tuple(out.shape) != shape
        or out.dtype != torch.uint8
        or out.device != img.device
        or not out.is_contiguous()
    ):
        raise ValueError(
            f"out must be contiguous uint8 {list(shape)} on {img.device}, got {out.dtype} "
            f"{list(out.shape)} on {out.device}."
        )
    img, target = img.detach(), out
    return run(
        impl,
        img,
        "tile_to_rgba8",
        lambda: _tile_to_rgba8_cuda(img, target),
        lambda: _tile_to_rgba8_ref(img, target),
    )


def _tile_to_rgba8_ref(img: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    levels = (img.float() * 127.5 + 128).clamp_(0, 255)
    out[..., :3] = levels.permute(0, 2, 3, 1)
    out[..., 3] = 255
    return out


def _tile_to_rgba8_cuda(img: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    if out.data_ptr() % 4:
        return _tile_to_rgba8_ref(img, out)
    count = out.numel() // 4
    _cuda.launch(
        "tile_to_rgba8",
        _cuda.Kernel("tile_to_rgba8", f"tile_to_rgba8<{_cuda.TYPE_NAMES[img.dtype]}>"),
        img.device,
        blocks=_cuda.blocks_for(count, 256),
        threads=256,
        args=[
            img,
            out,
            np.int32(img.shape[2]),
            np.int32(img.shape[3]),
            *(np.int64(s) for s in img.stride()),
            np.int64(count),
        ],
    )
    return out
