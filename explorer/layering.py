"""Which pieces of content to draw, in which order: best level on top, nothing that is hidden.

Works on a coarse raster of screen cells: from the best level to the worst, a piece is drawn only if
it shows in a cell that no opaque better piece covers. Numpy only; about half a millisecond a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.messages import ExactView
from explorer.tile_grid import TileGrid, TileRange
from explorer.view_state import View
from model.scale import density

CELL_PX = 16


@dataclass(frozen=True)
class Held:
    """A piece of content that could be drawn: an exact frame, or (view None) the preview."""

    view: ExactView | None
    alpha: float


@dataclass(frozen=True)
class Layer:
    """Quads to draw together."""

    source: int
    """-1: the tile pool; else the index of the exact frame."""
    rects: NDArray[np.float64]
    """[N, 4] left, top, right, bottom on the screen, device pixels."""
    slots: NDArray[np.int64]
    """[N] pool layer of each quad (0 for an exact frame)."""
    alphas: NDArray[np.float64]
    """[N] in (0, 1]."""


class _Raster:
    """Screen cells that still show something worse."""

    def __init__(self, view: View, field_px: tuple[float, float, float, float]) -> None:
        width, height = view.size
        left, top = max(field_px[0], 0.0), max(field_px[1], 0.0)
        right, bottom = min(field_px[2], width), min(field_px[3], height)
        x = np.arange(0, width, CELL_PX, dtype=np.float64)
        y = np.arange(0, height, CELL_PX, dtype=np.float64)
        # The part of each cell that lies on the picture; no more than this must be covered.
        self.x0, self.x1 = np.clip(x, left, right), np.clip(x + CELL_PX, left, right)
        self.y0, self.y1 = np.clip(y, top, bottom), np.clip(y + CELL_PX, top, bottom)
        self.open = (self.y1 > self.y0)[:, None] & (self.x1 > self.x0)[None, :]

    @property
    def is_done(self) -> bool:
        return not self.open.any()


def arrange(
    view: View,
    grid: TileGrid,
    keys: NDArray[np.int64],
    alphas: NDArray[np.float64],
    exact: Sequence[Held],
    too_fine_octaves: float,
) -> tuple[list[Layer], bool]:
    """The layers to draw, the topmost first, and whether the preview must be drawn below them.

    Args:
        view: The displayed camera.
        grid: The tile lattices.
        keys: [slots, 3] step, column, row of each pool layer.
        alphas: [slots] opacity of each pool layer; negative where it is empty.
        exact: Exact frames, the newest last.
        too_fine_octaves: Tiles finer than the view by more than this would alias.
    """
    level = view.level(grid.patch_size)
    half_w, half_h = grid.field_size[0] / 2, grid.field_size[1] / 2
    field_px = (*view.to_screen(-half_w, -half_h), *view.to_screen(half_w, half_h))
    raster = _Raster(view, field_px)
    finest = (level + too_fine_octaves) * grid.steps_per_octave
    used = np.nonzero((alphas > 0) & (keys[:, 0] <= finest))[0]
    steps = np.unique(keys[used, 0])
    entries = [(_cost(level, grid.level(int(s))), 1, int(s)) for s in steps]
    for index, held in enumerate(exact):
        if held.view is not None and held.alpha > 0 and held.view.level <= level + too_fine_octaves:
            cost = _cost(level, held.view.level) - 0.01
            entries.append((cost, -index, -1 - index))
    entries.sort()
    layers: list[Layer] = []
    for _, order, number in entries:
        if raster.is_done:
            break
        if order == 1:
            slots = used[keys[used, 0] == number]
            layer = _tile_layer(view, grid, number, keys, alphas, slots, raster)
        else:
            layer = _exact_layer(view, grid, -1 - number, exact[-1 - number], raster)
        if layer is not None:
            layers.append(layer)
    return layers, not raster.is_done


def _cost(level: float, content_level: float) -> float:
    """How ill content of one level suits a view of another: blur counts more than some aliasing."""
    finer = content_level - level
    return 0.8 * finer if finer >= 0 else -finer


def _tile_layer(
    view: View,
    grid: TileGrid,
    step: int,
    keys: NDArray[np.int64],
    alphas: NDArray[np.float64],
    slots: NDArray[np.int64],
    raster: _Raster,
) -> Layer | None:
    """The tiles of one step that show; marks what the opaque ones cover."""
    seen: TileRange = grid.tiles(step, view)
    if seen.count == 0:
        return None
    columns, rows = keys[slots, 1] - seen.x0, keys[slots, 2] - seen.y0
    across, down = seen.x1 - seen.x0, seen.y1 - seen.y0
    inside = (columns >= 0) & (columns < across) & (rows >= 0) & (rows < down)
    if not inside.any():
        return None
    slots, columns, rows = slots[inside], columns[inside], rows[inside]
    opaque = np.zeros((down, across), bool)
    opaque[rows, columns] = alphas[slots] >= 1.0
    side = grid.tile_extent(step) * view.density
    left, top = view.to_screen(seen.x0 * grid.tile_extent(step), seen.y0 * grid.tile_extent(step))
    c0, c1 = _span(raster.x0, raster.x1, left, side, across)
    r0, r1 = _span(raster.y0, raster.y1, top, side, down)
    # A cell is at most as large as a tile, so it meets two columns and two rows at most.
    needed = np.zeros((down, across), bool)
    cell_y, cell_x = np.nonzero(raster.open)
    for r in (r0, r1):
        for c in (c0, c1):
            needed[r[cell_y], c[cell_x]] = True
    covered = opaque[r0][:, c0] & opaque[r0][:, c1] & opaque[r1][:, c0] & opaque[r1][:, c1]
    raster.open &= ~covered
    shown = needed[rows, columns]
    if not shown.any():
        return None
    slots, columns, rows = slots[shown], columns[shown], rows[shown]
    x, y = left + columns * side, top + rows * side
    return Layer(-1, np.stack([x, y, x + side, y + side], 1), slots, alphas[slots])


def _span(
    low: NDArray[np.float64], high: NDArray[np.float64], first: float, side: float, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last tile (of `count`, beginning at pixel `first`) that each cell meets."""
    begin = np.floor((low - first) / side + 1e-9).astype(np.int64)
    end = np.ceil((high - first) / side - 1e-9).astype(np.int64) - 1
    return np.clip(begin, 0, count - 1), np.clip(end, 0, count - 1)


def _exact_layer(
    view: View, grid: TileGrid, index: int, held: Held, raster: _Raster
) -> Layer | None:
    """The exact frame, where it shows; marks what it covers."""
    assert held.view is not None
    left, top, right, bottom = exact_rect(view, grid, held.view)
    # Its edge is cut to whole pixels at or beyond the viewport's, so it may end a hair inside.
    slack = 0.51
    across = (raster.x0 >= left - slack) & (raster.x1 <= right + slack)
    down = (raster.y0 >= top - slack) & (raster.y1 <= bottom + slack)
    meets = ((raster.x1 > left) & (raster.x0 < right))[None, :] & (
        (raster.y1 > top) & (raster.y0 < bottom)
    )[:, None]
    if not (raster.open & meets).any():
        return None
    if held.alpha >= 1.0:
        raster.open &= ~(down[:, None] & across[None, :])
    rect = np.array([[left, top, right, bottom]], np.float64)
    return Layer(index, rect, np.zeros(1, np.int64), np.array([held.alpha]))


def exact_rect(view: View, grid: TileGrid, exact: ExactView) -> tuple[float, float, float, float]:
    """Where an exact frame lies on the screen, device pixels.

    A frame that was made for this very view meets the screen's pixels: what is left of the
    lattice's rounding (1/512 pixel) is taken away, so that every texel is shown as it is.
    """
    ratio = view.density / density(exact.level, grid.patch_size)
    left, top = view.to_screen(*exact.origin_xy)
    if abs(ratio - 1) < 1e-9 and abs(left - round(left)) < 0.01 and abs(top - round(top)) < 0.01:
        left, top, ratio = float(round(left)), float(round(top)), 1.0
    return left, top, left + exact.size[0] * ratio, top + exact.size[1] * ratio
