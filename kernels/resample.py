"""Windows of one image onto another lattice, at any continuous scale and sub-pixel offset."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import torch

from kernels import _cuda
from kernels._backend import run

FILTERS = ("area", "lanczos", "mixed")
_LANCZOS_LOBES = 3
_BLOCK = 64  # output pixels a matrix product


def resample(
    img: torch.Tensor,
    origin_xy: torch.Tensor,
    step: torch.Tensor,
    size: tuple[int, int],
    *,
    filter: str = "area",
    impl: str | None = None,
) -> torch.Tensor:
    """Cut one window out of each image and put it on a lattice of another density.

    Output pixel (x, y) lies centred at `origin_xy + (x + 0.5, y + 0.5) * step`, in input pixels,
    and input pixel (i, j) at (i + 0.5, j + 0.5). Outside the image its nearest edge goes on. The
    low-pass follows the step: nothing aliases when minifying.

    Args:
        img: Images. float16/bfloat16/float32/float64 [N, C, H, W], of any strides; or uint8, read
            as numbers in 0..255.
        origin_xy: Top left corner of each window, input pixels. Floating point [N, 2]. Best on the
            CPU, like `step`: both are checked, and checking waits for a GPU that holds them.
        step: Input pixels per output pixel. Floating point [N], > 0; above 1 minifies.
        size: Height and width of the windows, pixels.
        filter: 'area': the exact average over the output pixel when minifying, linear
            interpolation when magnifying (continuous between the two: a box that is `max(step, 1)`
            wide). 'lanczos': 3 lobes, stretched by `max(step, 1)`; sharper, may overshoot.
            'mixed': 'lanczos' when magnifying, 'area' from a step of 2 on, between them a mixture
            that follows the octaves: for a picture that is read at its own density and at others.
        impl: 'cuda', 'ref', or None to choose by the device of `img`.

    Returns:
        Windows, dtype of `img`, of uint8 images float32; [N, C, size[0], size[1]]. Differentiable
        in `img` only.

    Raises:
        ValueError: A shape, `step`, `size` or `filter` is not as above.
        KernelUnavailable: 'cuda' was asked for and cannot be had; the message says why.

    Source: the box of a pixel integrated over constant input pixels; Lanczos as in Turkowski 1990,
    "Filters for common resampling tasks", here normalised to unit sum.
    """
    placement = _check(img, origin_xy, step, size, filter)
    from_bytes = img.dtype == torch.uint8

    def ref() -> torch.Tensor:
        images, origins = _cut_out(img, origin_xy, step, size) if from_bytes else (img, origin_xy)
        return _resample_ref(images, origins.to(img.device), step.to(img.device), size, filter)

    return run(
        impl,
        img,
        "resample",
        lambda: _resample_cuda(img, placement, size, filter),
        ref,
        dtype=torch.float32 if from_bytes else None,
    )


def _cut_out(
    img: torch.Tensor, origin_xy: torch.Tensor, step: torch.Tensor, size: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """What windows read of large images of bytes, as numbers, and their corners in that.

    Returns:
        float32 [N, C, h, w] in channels_last, and origins float64 [N, 2].
    """
    if not len(img):
        return img.float(), origin_xy
    widest = float(step.max())
    reach = math.ceil(_LANCZOS_LOBES * max(widest, 1.0)) + 1
    reached = [
        min(math.ceil(count * widest) + 2 * reach + 1, length)
        for count, length in zip(size[::-1], (img.shape[3], img.shape[2]), strict=True)
    ]
    room = torch.tensor(
        [img.shape[3] - reached[0], img.shape[2] - reached[1]], dtype=torch.float64
    ).to(origin_xy.device)
    # Inside the image: beyond what is cut out its edge goes on.
    first = (origin_xy.double().floor() - reach).clamp_min(0).minimum(room)
    parts = [
        part.permute(1, 2, 0)[y : y + reached[1], x : x + reached[0]]
        for part, (x, y) in zip(img, first.long().tolist(), strict=True)
    ]
    return torch.stack(parts).permute(0, 3, 1, 2).float(), origin_xy - first


def axis_taps(
    centers: torch.Tensor, step: torch.Tensor, filter: str = "area", *, num_taps: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Input pixels, and their weights, that make up each output pixel along one axis.

    A weight depends on the output pixel's own centre and step alone, so equal pixels asked for by
    different windows have equal weights, bit for bit.

    Args:
        centers: Centre of each output pixel, input pixels. float64 [..., S].
        step: Input pixels per output pixel. float64, broadcasts against `centers`.
        filter: See `resample`.
        num_taps: Taps a pixel, at least what `step` needs; None takes exactly that.

    Returns:
        The first tap (int64 [..., S]; may lie outside the image, clamp where you read) and the
        weights of it and the next `K - 1` pixels (float64 [..., S, K], sum 1).
    """
    if filter == "mixed":
        return _mixed_taps(centers, step, num_taps)
    width = step.clamp_min(1.0)
    radius = width * _radius(filter)
    if num_taps is None:
        num_taps = _num_taps(float(radius.max()))
    low = centers - radius
    first = low.floor()
    edges = first.unsqueeze(-1) + torch.arange(num_taps, dtype=centers.dtype, device=centers.device)
    if filter == "area":
        # Overlap of input pixel [e, e + 1] with the box [low, low + width].
        high = (centers + radius).unsqueeze(-1)
        weights = torch.minimum(edges + 1, high) - torch.maximum(edges, low.unsqueeze(-1))
        weights = weights.clamp_min(0.0)
    else:
        t = (edges + 0.5 - centers.unsqueeze(-1)) / width.unsqueeze(-1)
        weights = torch.sinc(t) * torch.sinc(t / _LANCZOS_LOBES)
        weights = torch.where(t.abs() < _LANCZOS_LOBES, weights, torch.zeros_like(weights))
    return first.long(), weights / weights.sum(-1, keepdim=True)


def _mixed_taps(
    centers: torch.Tensor, step: torch.Tensor, num_taps: int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Taps of both filters as those of one. The reach of the wider serves for all."""
    share = step.log2().clamp(0, 1).unsqueeze(-1)  # of 'area'
    if bool((share == 1).all()):
        return axis_taps(centers, step, "area", num_taps=num_taps)
    first, sharp = axis_taps(centers, step, "lanczos", num_taps=num_taps)
    first_box, box = axis_taps(centers, step, "area")
    weights = sharp * (1 - share)
    index = (first_box - first).unsqueeze(-1) + torch.arange(box.shape[-1], device=box.device)
    # A box has a last tap of no weight where it lies just so.
    return first, weights.scatter_add(-1, index.clamp(0, weights.shape[-1] - 1), box * share)


def _radius(filter: str) -> float:
    """Half the width of a filter, in the coarser of both lattices' pixels."""
    return 0.5 if filter == "area" else _LANCZOS_LOBES


def _num_taps(radius: float) -> int:
    """Input pixels that a filter of this radius can touch, wherever it lies."""
    return math.ceil(2 * radius) + 1


def _resample_ref(
    img: torch.Tensor,
    origin_xy: torch.Tensor,
    step: torch.Tensor,
    size: tuple[int, int],
    filter: str,
) -> torch.Tensor:
    """Products with banded matrices along each axis: the one that makes less comes first."""
    if img.shape[0] == 0:
        return img.new_empty(0, img.shape[1], *size)
    origin_xy, step = origin_xy.double(), step.double()
    height, width = img.shape[2], img.shape[3]
    if size[0] * width <= size[1] * height:
        if img.stride(1) == 1 and img.is_contiguous(memory_format=torch.channels_last):
            # All channels of a row in one product, where they lie: no copy is made first.
            lines = img.permute(0, 2, 3, 1).flatten(2).unsqueeze(1)
            rows = _resample_rows(lines, origin_xy[:, 1], step, size[0], filter)
            rows = rows.unflatten(3, (width, -1)).squeeze(1).permute(0, 3, 1, 2).contiguous()
            return _resample_rows(rows.mT, origin_xy[:, 0], step, size[1], filter).mT
        rows = _resample_rows(img, origin_xy[:, 1], step, size[0], filter)
        return _resample_rows(rows.mT, origin_xy[:, 0], step, size[1], filter).mT
    columns = _resample_rows(img.mT, origin_xy[:, 0], step, size[1], filter).mT
    return _resample_rows(columns, origin_xy[:, 1], step, size[0], filter)


def _resample_rows(
    img: torch.Tensor, origin: torch.Tensor, step: torch.Tensor, size: int, filter: str
) -> torch.Tensor:
    """[N, C, H, W] to [N, C, size, W]. A band of the matrix at a time: the rest of it is zeros."""
    parts = []
    for begin in range(0, size, _BLOCK):
        count = min(_BLOCK, size - begin)
        matrix, low = _band(origin, step, begin, count, img.shape[2], filter)
        parts.append(matrix.to(img).unsqueeze(1) @ img[:, :, low : low + matrix.shape[-1]])
    return parts[0] if len(parts) == 1 else torch.cat(parts, 2)


def _band(
    origin: torch.Tensor, step: torch.Tensor, begin: int, count: int, length: int, filter: str
) -> tuple[torch.Tensor, int]:
    """Weights of `count` output pixels, float64 [N, count, L], over input pixels from the second
    result on; taps outside add to the edge pixel."""
    offsets = torch.arange(begin, begin + count, dtype=torch.float64, device=origin.device) + 0.5
    centers = origin.unsqueeze(1) + offsets * step.unsqueeze(1)
    first, weights = axis_taps(centers, step.unsqueeze(1), filter)
    taps = torch.arange(weights.shape[-1], device=origin.device)
    index = (first.unsqueeze(-1) + taps).clamp_(0, length - 1)
    low = int(index.min())
    matrix = torch.zeros(
        *first.shape, int(index.max()) + 1 - low, dtype=torch.float64, device=origin.device
    )
    return matrix.scatter_add_(-1, index - low, weights), low


def _check(
    img: torch.Tensor,
    origin_xy: torch.Tensor,
    step: torch.Tensor,
    size: tuple[int, int],
    filter: str,
) -> list[float]:
    """Raise ValueError unless the arguments of `resample` fit together.

    Plain numbers are checked: a handful of them takes less time than one operation on a tensor.

    Returns:
        x, y and step of every image, one image after the other.
    """
    if (
        img.ndim != 4
        or not (img.is_floating_point() or img.dtype == torch.uint8)
        or 0 in img.shape[1:]
    ):
        raise ValueError(
            f"img must be floating point or uint8 [N, C, H, W] with pixels, got {img.dtype} "
            f"{list(img.shape)}."
        )
    num = img.shape[0]
    if tuple(origin_xy.shape) != (num, 2) or not origin_xy.is_floating_point():
        raise ValueError(
            f"origin_xy must be floating point [{num}, 2], got {origin_xy.dtype} "
            f"{list(origin_xy.shape)}."
        )
    if tuple(step.shape) != (num,) or not step.is_floating_point():
        raise ValueError(
            f"step must be floating point [{num}], got {step.dtype} {list(step.shape)}."
        )
    steps: list[float] = step.tolist()
    if not all(0 < s < math.inf for s in steps):
        worst = next(s for s in steps if not 0 < s < math.inf)
        raise ValueError(f"step must be finite and > 0 input pixels, got {worst}.")
    placement = [v for xy, s in zip(origin_xy.tolist(), steps) for v in (*xy, s)]
    if not all(map(math.isfinite, placement)):
        raise ValueError("origin_xy must be finite, got inf or nan.")
    if len(size) != 2 or size[0] < 1 or size[1] < 1:
        raise ValueError(f"size must be (height, width) of at least 1 x 1 pixel, got {size}.")
    if filter not in FILTERS:
        raise ValueError(f"filter must be one of {', '.join(FILTERS)}, got {filter!r}.")
    return placement


# The CUDA version. Where a GPU is, the few numbers of a call cost more than its pixels: taps are
# worked out there, by one kernel for both axes, from one small copy.

_TILE_COLUMNS, _TILE_ROWS, _CHUNK = 32, 16, 32  # as in the source
_TYPE_NAMES = {**_cuda.TYPE_NAMES, torch.uint8: "unsigned char"}


def _resample_cuda(
    img: torch.Tensor, placement: list[float], size: tuple[int, int], filter: str
) -> torch.Tensor:
    if img.shape[0] == 0:
        dtype = torch.float32 if img.dtype == torch.uint8 else img.dtype
        return img.new_empty(0, img.shape[1], *size, dtype=dtype)
    steps = placement[2::3]
    if filter == "mixed" and min(steps) >= 2:
        filter = "area"  # as in `_mixed_taps`
    num_taps = _num_taps(max(1.0, *steps) * _radius(filter))
    taps = _taps_cuda(img, placement, size, filter, num_taps)
    if torch.is_grad_enabled() and img.requires_grad:
        return _Resample.apply(img, taps, size, num_taps)
    return _forward(img, taps, size, num_taps)


def _taps_cuda(
    img: torch.Tensor, placement: list[float], size: tuple[int, int], filter: str, num_taps: int
) -> torch.Tensor:
    """`axis_taps` of both axes, in the words that the kernels read (see the source)."""
    batch, positions = img.shape[0], img.shape[0] * (size[0] + size[1])
    numbers = torch.from_numpy(np.array(placement)).to(img.device, non_blocking=True)
    taps = torch.empty(positions * (1 + num_taps), dtype=torch.int32, device=img.device)
    _cuda.launch(
        "resample",
        _TAPS_KERNEL,
        img.device,
        blocks=_cuda.blocks_for(positions, 64),
        threads=64,  # long chains in float64: spread thin over the GPU
        args=[
            numbers,
            taps,
            *_sizes(batch, img.shape[2], img.shape[3], *size, num_taps),
            np.int32(FILTERS.index(filter)),
        ],
    )
    return taps


_TAPS_KERNEL = _cuda.Kernel("resample", "resample_taps")


@functools.cache
def _kernel(stem: str, dtypes: tuple[torch.dtype, ...], group: int) -> _cuda.Kernel:
    names = ", ".join(_TYPE_NAMES[dtype] for dtype in dtypes)
    return _cuda.Kernel("resample", f"{stem}<{names}, {group}>")


def _sizes(*numbers: int) -> list[np.int32]:
    return [np.int32(n) for n in numbers]


def _group(channels: int) -> int:
    """Channels that a block makes: a picture's share what they read of one pixel."""
    return 3 if channels % 3 == 0 else 1


def _blocks(batch: int, groups: int, size: tuple[int, int]) -> int:
    return batch * groups * -(-size[0] // _TILE_ROWS) * -(-size[1] // _TILE_COLUMNS)


def _forward(
    img: torch.Tensor, taps: torch.Tensor, size: tuple[int, int], num_taps: int
) -> torch.Tensor:
    batch, channels, height, width = img.shape
    dtype = torch.float32 if img.dtype == torch.uint8 else img.dtype
    out = torch.empty((batch, channels, *size), dtype=dtype, device=img.device)
    group = _group(channels)
    _cuda.launch(
        "resample",
        _kernel("resample_forward", (img.dtype, dtype), group),
        img.device,
        blocks=_blocks(batch, channels // group, size),
        threads=256,
        args=[
            img,
            taps,
            out,
            *_sizes(batch, channels, height, width, *size, num_taps),
            *(np.int64(s) for s in img.stride()),
        ],
        shared_bytes=group * _CHUNK * _TILE_COLUMNS * 4,
    )
    return out


class _Resample(torch.autograd.Function):
    """Linear in `img`; its derivative is `_ResampleTransposed`, and the other way round."""

    @staticmethod
    def forward(
        ctx: Any, img: torch.Tensor, taps: torch.Tensor, size: tuple[int, int], num_taps: int
    ) -> torch.Tensor:
        ctx.save_for_backward(taps)
        ctx.in_size, ctx.num_taps = (img.shape[2], img.shape[3]), num_taps
        return _forward(img, taps, size, num_taps)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (taps,) = ctx.saved_tensors
        return (
            _ResampleTransposed.apply(grads[0], taps, ctx.in_size, ctx.num_taps),
            None,
            None,
            None,
        )


class _ResampleTransposed(torch.autograd.Function):
    """Gradient of the windows to gradient of the images."""

    @staticmethod
    def forward(
        ctx: Any, grad: torch.Tensor, taps: torch.Tensor, in_size: tuple[int, int], num_taps: int
    ) -> torch.Tensor:
        ctx.save_for_backward(taps)
        batch, channels, height, width = grad.shape
        ctx.size, ctx.num_taps = (height, width), num_taps
        grad_img = torch.empty((batch, channels, *in_size), dtype=grad.dtype, device=grad.device)
        group = _group(channels)
        bounds = 2 * (_TILE_COLUMNS + _TILE_ROWS)
        _cuda.launch(
            "resample",
            _kernel("resample_backward", (grad.dtype,), group),
            grad.device,
            blocks=_blocks(batch, channels // group, in_size),
            threads=256,
            args=[
                grad,
                taps,
                grad_img,
                *_sizes(batch, channels, *in_size, height, width, num_taps),
                *(np.int64(s) for s in grad.stride()),
            ],
            shared_bytes=(bounds + group * _CHUNK * _TILE_COLUMNS) * 4,
        )
        return grad_img

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (taps,) = ctx.saved_tensors
        return _Resample.apply(grads[0], taps, ctx.size, ctx.num_taps), None, None, None
