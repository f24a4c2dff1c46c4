"""The colour of the picture under a point, from what is kept in memory: nothing is painted."""

from __future__ import annotations

import math

from explorer.camera import View
from explorer.tile_grid import APRON_PX, TileKey
from explorer.viewport import Viewport
from model.scale import density

Color = tuple[int, int, int]


def color_at(viewport: Viewport, x: float, y: float) -> Color | None:
    """The sRGB values (0 to 255) that are shown at the device pixel (`x`, `y`).

    From the exact frame, else from the finest tile that is there, else from the small picture.
    None beside the picture, and before one is open.
    """
    view = viewport.view_state.view
    fx, fy = view.to_field(math.floor(x) + 0.5, math.floor(y) + 0.5)
    width, height = viewport.view_state.field_size
    if viewport.scene is None or abs(fx) > width / 2 or abs(fy) > height / 2:
        return None
    return _exact(viewport, fx, fy) or _tile(viewport, view, fx, fy) or _root(viewport, fx, fy)


def _exact(viewport: Viewport, fx: float, fy: float) -> Color | None:
    frame = viewport.shown_exact
    if frame is None:
        return None
    d = density(frame.view.level, viewport.view_state.patch_size)
    column = round((fx - frame.view.origin_xy[0]) * d - 0.5)
    row = round((fy - frame.view.origin_xy[1]) * d - 0.5)
    if not (0 <= column < frame.view.size[0] and 0 <= row < frame.view.size[1]):
        return None
    return _rgb(frame.pixels[row, column])


def _tile(viewport: Viewport, view: View, fx: float, fy: float) -> Color | None:
    stream = viewport.stream
    grid = stream.grid
    if grid is None:
        return None
    for step in range(stream.finest_drawn(view), grid.step_range[0] - 1, -1):
        extent = grid.tile_extent(step)
        ix, iy = math.floor(fx / extent), math.floor(fy / extent)
        pixels = stream.cache.get(TileKey(step, ix, iy))
        if pixels is not None:
            column = min(int((fx / extent - ix) * grid.tile_px), grid.tile_px - 1)
            row = min(int((fy / extent - iy) * grid.tile_px), grid.tile_px - 1)
            return _rgb(pixels[row + APRON_PX, column + APRON_PX])
    return None


def _root(viewport: Viewport, fx: float, fy: float) -> Color | None:
    root = viewport.root
    if root is None:
        return None
    width, height = viewport.view_state.field_size
    rows, columns = root.shape[:2]
    column = min(int((fx / width + 0.5) * columns), columns - 1)
    row = min(int((fy / height + 0.5) * rows), rows - 1)
    return _rgb(root[row, column])


def _rgb(pixel: object) -> Color:
    r, g, b = (int(v) for v in pixel[:3])  # type: ignore[index]
    return r, g, b
