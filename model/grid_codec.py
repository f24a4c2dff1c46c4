"""Grids of the memory as lossless images: 8-bit steps, up to four features a pixel, WebP.

Neighbouring cells and the features of one cell are alike; an image codec finds that where a general
compressor does not, and reads 20 million cells a second.
"""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

_MIDDLE = 128
_MOST = 127
_FEATURES_PER_IMAGE = 4
_MAX_SIDE = 16383  # pixels; what WebP can hold


def encode_grid(grid: torch.Tensor, step: float) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Quantise a grid and compress it.

    Args:
        grid: Features of the nodes, [rows, columns, F].
        step: What one 8-bit step is worth; larger where the values of a feature need it.

    Returns:
        The images, uint8 [bytes] each, and the step of each feature, float32 [F].

    Raises:
        ValueError: The grid is larger than the codec can hold.
    """
    rows, columns, features = grid.shape
    if max(rows, columns) > _MAX_SIDE:
        raise ValueError(
            f"a grid of {columns} x {rows} cells cannot be stored: a side must be at most "
            f"{_MAX_SIDE}; use a coarser memory."
        )
    # The rarest values are cut: they would coarsen the step of all others.
    flat = grid.detach().float().cpu().flatten(0, 1)
    limit = torch.quantile(flat.abs()[:: max(1, len(flat) // 200_000)], 0.9998, dim=0)
    steps = (limit / _MOST).clamp(min=step).half().float()  # as they are multiplied when read
    cells = (flat / steps).round_().clamp_(-_MOST, _MOST).add_(_MIDDLE).to(torch.uint8)
    planes = cells.view(rows, columns, features).numpy()
    images = []
    for first in range(0, features, _FEATURES_PER_IMAGE):
        pixels = planes[..., first : first + _FEATURES_PER_IMAGE]
        missing = max(0, 3 - pixels.shape[2])
        pixels = np.pad(pixels, ((0, 0), (0, 0), (0, missing)), constant_values=_MIDDLE)
        data = io.BytesIO()
        # Slower methods gain a percent.
        Image.fromarray(pixels).save(data, "WEBP", lossless=True, quality=0, method=2, exact=True)
        images.append(torch.frombuffer(bytearray(data.getvalue()), dtype=torch.uint8))
    return images, steps


def decode_grid(
    images: list[torch.Tensor], steps: torch.Tensor, shape: tuple[int, int, int]
) -> torch.Tensor:
    """What `encode_grid` stored, as float16 [rows, columns, F].

    Raises:
        ValueError: The images do not hold a grid of this shape; one line.
    """
    rows, columns, features = shape
    expected = -(-features // _FEATURES_PER_IMAGE)
    if len(images) != expected or steps.shape != (features,):
        raise ValueError(
            f"a grid of {features} features needs {expected} images and as many steps as "
            f"features, got {len(images)} and {list(steps.shape)}"
        )
    grid = torch.empty(shape, dtype=torch.float16)
    for k, image in enumerate(images):
        first = k * _FEATURES_PER_IMAGE
        part = grid[..., first : first + _FEATURES_PER_IMAGE]
        pixels = torch.from_numpy(_pixels(image, (columns, rows)))
        part.copy_(pixels[..., : part.shape[2]])
        # One pass of half precision each: whole numbers up to 127 are exact in it.
        part.sub_(_MIDDLE).mul_(steps[first : first + part.shape[2]].half())
    return grid


def _pixels(image: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """uint8 [H, W, 3 or 4] of a stored image, whose size is checked before it is decoded."""
    try:
        with Image.open(io.BytesIO(image.numpy().tobytes()), formats=("WEBP",)) as opened:
            if opened.size != size:
                raise ValueError(f"a grid must have {size} cells, its image has {opened.size}")
            return np.array(opened)
    except OSError as error:
        raise ValueError(f"a grid's image is damaged ({error})") from error
