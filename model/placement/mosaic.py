"""The picture that placed patches make, as an image file, and how deep it is known where."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyvips
import torch

from model.placement.canvas import (
    TO_SHOW,
    Canvas,
    Patches,
    Poses,
    build_canvases,
    grown,
    refined,
)
from model.placement.workers import Workers
from model.scale import density

_ROUNDS = 2
"""Times that the picture is held against the patches and mended; a third gives little more."""
_CELL_PX = 16
"""Pixels of the mosaic per cell of the detail map."""
_SPARE_OCTAVES = 0.3
"""The mosaic is at most this much coarser than the finest patches."""


def compose(
    images: np.ndarray,
    center_xy: np.ndarray,
    level: np.ndarray,
    field_size: tuple[float, float],
    path: Path,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Lay placed patches over one another and write the picture.

    Args:
        images: uint8 [N, P, P, 3].
        center_xy: Centres, field units. [N, 2].
        level: Octaves. [N].
        field_size: Width and height of the field; the shorter side is 1.
        path: Where the TIFF goes; written under a temporary name and moved into place.
        progress: Called with the share that is done; what it raises cancels.

    Raises:
        ValueError: There is no patch, or `field_size` has no side of 1.
        OSError: The file cannot be written.
    """
    if not len(images) or abs(min(field_size) - 1) > 1e-6:
        raise ValueError(
            "a mosaic needs placed patches and a field whose shorter side is 1, "
            f"got {len(images)} patches and {field_size}."
        )
    finest = composed_level(finest_level(level))
    poses = Poses(
        torch.arange(len(images)),
        torch.from_numpy(np.asarray(center_xy, np.float64)),
        torch.from_numpy(np.asarray(level, np.float64)),
    )
    pixels = density(finest, images.shape[1])
    # Even sides: the canvas' lattice has the field's centre between two pixels.
    width, height = (2 * max(1, round(side * pixels / 2)) for side in field_size)
    done = 0.0

    def check() -> None:
        nonlocal done
        done += (0.6 - done) * 0.02
        if progress is not None:
            progress(done)

    with Workers(check) as workers:
        patches = Patches(images, torch.device("cpu"))
        canvas = build_canvases(patches, poses, range(finest + 1), workers, TO_SHOW)[finest]
        canvas = grown(canvas, TO_SHOW.carried_px)
        ground = _fill(canvas)
        for _ in range(_ROUNDS):
            canvas = refined(canvas, patches, poses, workers, TO_SHOW)
    picture = _cut(canvas, width, height, ground)
    del canvas
    _write(picture, path, progress)
    if progress is not None:
        progress(1.0)


def finest_level(level: np.ndarray) -> float:
    """How fine a picture of patches of these levels (octaves, [N]) is to be.

    One patch in thousands that found the wrong place may seem much finer than all others, and a
    picture an octave finer takes four times the memory: the finest thousandth does not count.
    """
    return float(np.quantile(level, 0.999, method="nearest"))


def composed_level(finest: float) -> int:
    """Level of the picture that patches make of which the finest are of level `finest`."""
    return max(0, math.ceil(finest - _SPARE_OCTAVES))


def detail_map(
    center_xy: np.ndarray,
    level: np.ndarray,
    field_size: tuple[float, float],
    size_wh: tuple[int, int],
) -> np.ndarray:
    """Level of the finest patch over the centre of each cell of the field.

    Args:
        center_xy: Centres of the patches, field units. [N, 2].
        level: Octaves. [N].
        field_size: Width and height of the field.
        size_wh: Pixels of the mosaic, which fix the number of cells.

    Returns:
        float32 [H, W]; -1 where there is no patch.
    """
    columns, rows = (-(-size // _CELL_PX) for size in size_wh)
    detail = np.full((rows, columns), -1.0, np.float32)
    half = 0.5 * 2.0 ** -np.asarray(level, np.float64)[:, None]
    cells = np.array([columns, rows]) / np.array(field_size)
    low = np.ceil((center_xy - half + np.array(field_size) / 2) * cells - 0.5).astype(int)
    high = np.floor((center_xy + half + np.array(field_size) / 2) * cells - 0.5).astype(int) + 1
    low, high = np.maximum(low, 0), np.minimum(high, (columns, rows))
    for index in np.argsort(level, kind="stable"):
        (x0, y0), (x1, y1) = low[index], high[index]
        detail[y0:y1, x0:x1] = level[index]
    return detail


def _fill(canvas: Canvas) -> np.ndarray:
    """Give what nothing covers the mean colour of what is covered, uint8 [3], and return that.

    Patches are read back from the canvas: beside a hole that is black they would seem darker.
    """
    image, covered = canvas.image.numpy(), canvas.covered.numpy()
    step = _CELL_PX if covered[::_CELL_PX, ::_CELL_PX].any() else 1
    mean = image[::step, ::step].mean((0, 1), where=covered[::step, ::step, None])
    ground = np.round(mean).astype(np.uint8)
    np.copyto(image, ground, where=~covered[..., None])
    return ground


def _cut(canvas: Canvas, width: int, height: int, ground: np.ndarray) -> np.ndarray:
    """The field's part of a canvas, uint8 [H, W, 3]; what nothing covers takes the colour given."""
    image, covered = canvas.image.numpy(), canvas.covered.numpy()
    out = np.empty((height, width, 3), np.uint8)
    out[:] = ground
    x0, y0 = (-size // 2 - first for size, first in zip((width, height), canvas.first_xy))
    left, top = max(0, -x0), max(0, -y0)
    right = min(width, image.shape[1] - x0)
    bottom = min(height, image.shape[0] - y0)
    source = (slice(y0 + top, y0 + bottom), slice(x0 + left, x0 + right))
    target = out[top:bottom, left:right]
    np.copyto(target, image[source], where=covered[source][..., None])
    return out


def _write(picture: np.ndarray, path: Path, progress: Callable[[float], None] | None) -> None:
    """A tiled, losslessly packed TIFF, moved into place when it is whole."""
    height, width, _ = picture.shape
    image = pyvips.Image.new_from_memory(picture.reshape(-1).data, width, height, 3, "uchar")
    image = image.copy(interpretation="srgb")
    part = path.with_name(f".{path.name}.part")
    try:
        image.tiffsave(
            str(part), tile=True, bigtiff=True, compression="deflate", predictor="horizontal"
        )
        part.replace(path)
    except pyvips.Error as error:
        raise OSError(
            f"{path} cannot be written: {(error.detail or error.message).strip().splitlines()[-1]}."
        ) from error
    finally:
        part.unlink(missing_ok=True)
    if progress is not None:
        progress(0.95)
