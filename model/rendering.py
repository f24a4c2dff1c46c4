"""A view of any size from a scale space, by exact tiles, with bounded memory: every still and film.

Tiles of one view lie on one lattice, so they are equal to the view rendered in one go.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from model.latent import Seed
from model.scale import Lattice, density
from model.space import ScaleSpace, Window, to_uint8, window_around

TILE_PX = 528
"""Larger ones see fewer pixels twice; maps of still larger ones the C library gives back each time:
see `model.allocator`."""
_BATCH_PX = 4 * 256 * 256
_ALIGN_PX = 16  # coarse stages of a generator have pixels of up to this many


def render_view(
    space: ScaleSpace,
    center_xy: tuple[float, float],
    level: float,
    size_wh: tuple[int, int],
    seed: Seed = 0,
    *,
    tile_px: int = TILE_PX,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> np.ndarray:
    """Render the view around a place.

    Args:
        space: Anything that renders windows.
        center_xy: Centre of the view, field units.
        level: Level of the view's own pixels, octaves.
        size_wh: Width and height of the view, pixels.
        seed: Names the latent; a scale space of one scene ignores it.
        tile_px: Longest side of a tile, pixels. Changes memory and speed, never the picture.
        threads: torch threads while rendering; None leaves them as they are.
        progress: Called with the fraction that is done, in (0, 1], after every batch of tiles.
            Whatever it raises cancels the view and reaches the caller.

    Returns:
        uint8 [H, W, 3], display-referred sRGB.

    Raises:
        ValueError: A size is below one pixel, or place or level is not finite.
    """
    width, height = size_wh
    if width < 1 or height < 1 or tile_px < 1:
        raise ValueError(
            f"a view must hold at least 1 x 1 pixel and tiles too, got {width} x {height} "
            f"in tiles of {tile_px}."
        )
    if not all(map(math.isfinite, (*center_xy, level))):
        raise ValueError(f"centre and level of a view must be finite, got {center_xy}, {level}.")
    out = np.empty((height, width, 3), np.uint8)
    view = window_around(center_xy, level, size_wh, space.patch_size, seed)
    tiles = cut_into_tiles(view, space.patch_size, tile_px)
    batch_size = max(1, _BATCH_PX // (tiles[0].window.width * tiles[0].window.height))
    with _torch_threads(threads), torch.inference_mode():
        for begin in range(0, len(tiles), batch_size):
            batch = tiles[begin : begin + batch_size]
            pixels = to_uint8(space.render([t.window for t in batch])).cpu().numpy()
            for tile, part in zip(batch, pixels, strict=True):
                tile.paste(part, out)
            if progress is not None:
                progress(min(1.0, (begin + len(batch)) / len(tiles)))
    return out


@dataclass(frozen=True)
class Tile:
    """A part of a view."""

    window: Window
    x: int
    """First column, pixels of the view; may lie before it."""
    y: int

    def paste(self, part: np.ndarray, view: np.ndarray) -> None:
        """Copy the rendered window [H, W, C] to where it belongs in `view`, cut to its edges."""
        height, width = view.shape[:2]
        top, left = max(self.y, 0), max(self.x, 0)
        bottom = min(self.y + part.shape[0], height)
        right = min(self.x + part.shape[1], width)
        view[top:bottom, left:right] = part[
            top - self.y : bottom - self.y, left - self.x : right - self.x
        ]


def cut_into_tiles(view: Window, patch_size: int, tile_px: int) -> list[Tile]:
    """Tiles that cover a view, all on its lattice and all of one shape.

    They begin at whole multiples of `_ALIGN_PX` of the lattice, so the outer ones reach beyond the
    view by some pixels. A generator can then render them as one batch, and every view of a size
    asks it for the same shapes: preparing its convolutions for a new shape costs more than the
    pixels at the edge.

    Args:
        view: What is to be covered.
        patch_size: Of the scale space.
        tile_px: Longest side of a tile, pixels. A view that fits into one tile is one tile.
    """
    d = density(view.level, patch_size)
    lattice_x, lattice_y = (Lattice.at(v, d) for v in view.origin_xy)

    def tile_at(x: int, y: int, width: int, height: int) -> Tile:
        origin = (
            (lattice_x.first + x + lattice_x.phase) / d,
            (lattice_y.first + y + lattice_y.phase) / d,
        )
        return Tile(Window(origin, view.level, height, width, view.seed), x, y)

    if max(view.width, view.height) <= tile_px:
        return [tile_at(0, 0, view.width, view.height)]
    columns, width = _split(view.width, lattice_x.first, tile_px)
    rows, height = _split(view.height, lattice_y.first, tile_px)
    return [tile_at(x, y, width, height) for y in rows for x in columns]


def _split(length: int, first: int, tile_px: int) -> tuple[list[int], int]:
    """Where tiles begin along one side of a view, pixels from its edge, and their length."""
    unit = min(_ALIGN_PX, tile_px)
    longest = length + unit - 1  # as far as any alignment can make it
    count = math.ceil(longest / (tile_px // unit * unit))
    tile = math.ceil(longest / count / unit) * unit
    return list(range(-(first % unit), length, tile)), tile


@contextlib.contextmanager
def _torch_threads(threads: int | None) -> Iterator[None]:
    """Run with `threads` torch threads, and put the number back."""
    if threads is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
