"""Which tiles cover a view, and at which level. Plain Python: no Qt, no torch, no numpy.

Tiles lie on a lattice that is anchored in the field: at level `step / steps_per_octave`, tile
(ix, iy) holds the pixels [ix * tile_px, (ix + 1) * tile_px) counted from the field's centre, so its
sub-pixel phase is 0 and a tile is the same whatever view asked for it. A tile is rendered with an
apron of one pixel on each side, so that bilinear sampling meets its neighbours without a seam.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from explorer.view_state import View
from model.scale import density

APRON_PX = 1


class TileKey(NamedTuple):
    """Names a tile of one scene and latent."""

    step: int
    """Level in units of 1 / steps_per_octave octaves."""
    ix: int
    """Column, counted from the field's centre."""
    iy: int
    """Row, counted from the field's centre."""


class TileRange(NamedTuple):
    """A rectangle of tiles of one step: columns [x0, x1), rows [y0, y1)."""

    step: int
    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def count(self) -> int:  # type: ignore[override]  # a rectangle is no sequence
        """Number of tiles."""
        return max(0, self.x1 - self.x0) * max(0, self.y1 - self.y0)

    def holds(self, key: TileKey) -> bool:
        """Whether `key` is one of these tiles."""
        return key.step == self.step and self.x0 <= key.ix < self.x1 and self.y0 <= key.iy < self.y1


@dataclass(frozen=True)
class TileGrid:
    """The tile lattices of one scene."""

    patch_size: int
    """Pixels; fixes what level 0 means."""
    field_size: tuple[float, float]
    """Width and height, field units."""
    level_range: tuple[float, float]
    """Lowest and highest level that can be rendered, octaves."""
    tile_px: int = 64
    """Side of a tile without its apron, pixels."""
    steps_per_octave: int = 2
    """Levels per octave."""

    @property
    def step_range(self) -> tuple[int, int]:
        """First and last step whose level can be rendered."""
        low, high = self.level_range
        first = math.ceil(low * self.steps_per_octave - 1e-9)
        last = math.floor(high * self.steps_per_octave + 1e-9)
        return first, max(first, last)

    def level(self, step: int) -> float:
        """Level of `step`, octaves."""
        return step / self.steps_per_octave

    def tile_extent(self, step: int) -> float:
        """Side of a tile of `step`, field units."""
        return self.tile_px / density(self.level(step), self.patch_size)

    def origin(self, key: TileKey) -> tuple[float, float]:
        """Top left corner of `key` without its apron, field units."""
        extent = self.tile_extent(key.step)
        return key.ix * extent, key.iy * extent

    def render_origin(self, key: TileKey) -> tuple[float, float]:
        """Top left corner of `key` with its apron, field units: where its window begins."""
        d = density(self.level(key.step), self.patch_size)
        x, y = key.ix * self.tile_px - APRON_PX, key.iy * self.tile_px - APRON_PX
        return x / d, y / d

    def clamp_step(self, step: int) -> int:
        """The nearest step that can be rendered."""
        first, last = self.step_range
        return min(max(step, first), last)

    def field_tiles(self, step: int) -> TileRange:
        """All tiles of `step` that touch the field."""
        half_w, half_h = self.field_size[0] / 2, self.field_size[1] / 2
        return self._covering(step, -half_w, -half_h, half_w, half_h)

    def tiles(self, step: int, view: View, margin: int = 0) -> TileRange:
        """Tiles of `step` that `view` shows, with a ring of `margin` tiles, within the field."""
        whole, seen = self.field_tiles(step), self._covering(step, *view.bounds())
        x0, y0 = max(whole.x0, seen.x0 - margin), max(whole.y0, seen.y0 - margin)
        x1, y1 = min(whole.x1, seen.x1 + margin), min(whole.y1, seen.y1 + margin)
        return TileRange(step, x0, y0, max(x0, x1), max(y0, y1))

    def _covering(
        self, step: int, left: float, top: float, right: float, bottom: float
    ) -> TileRange:
        extent = self.tile_extent(step)
        return TileRange(
            step,
            math.floor(left / extent + 1e-9),
            math.floor(top / extent + 1e-9),
            math.ceil(right / extent - 1e-9),
            math.ceil(bottom / extent - 1e-9),
        )


def from_centre(tiles: TileRange, column: float, row: float) -> Iterator[TileKey]:
    """The tiles of a range, the nearest to (`column`, `row`) first; both in tiles, 0.5 = centre."""
    cells = [
        ((ix + 0.5 - column) ** 2 + (iy + 0.5 - row) ** 2, ix, iy)
        for iy in range(tiles.y0, tiles.y1)
        for ix in range(tiles.x0, tiles.x1)
    ]
    cells.sort()
    for _, ix, iy in cells:
        yield TileKey(tiles.step, ix, iy)
