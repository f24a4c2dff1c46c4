"""Tiles cover the view, no more than needed, on a lattice that knows nothing of the view."""

from __future__ import annotations

import random

import pytest

from explorer.camera import Camera, View
from explorer.tile_grid import APRON_PX, TileGrid, TileKey, from_centre
from model.scale import Lattice, density

GRID = TileGrid(64, (1.27, 1.0), (0.0, 8.5), 64, 2)


def test_steps_are_the_levels_that_can_be_rendered() -> None:
    assert GRID.step_range == (0, 17)
    assert GRID.level(17) == 8.5
    assert TileGrid(64, (1, 1), (0.3, 6.2), 64, 2).step_range == (1, 12)
    assert TileGrid(64, (1, 1), (0.6, 0.7), 64, 2).step_range == (2, 2)
    assert GRID.clamp_step(-3) == 0
    assert GRID.clamp_step(40) == 17


def test_windows_of_tiles_have_phase_zero_on_the_fields_lattice() -> None:
    rng = random.Random(1)
    for _ in range(300):
        key = TileKey(rng.randint(0, 17), rng.randint(-400, 400), rng.randint(-400, 400))
        d = density(GRID.level(key.step), 64)
        for origin, index in zip(GRID.render_origin(key), (key.ix, key.iy)):
            assert Lattice.at(origin, d) == Lattice(index * 64 - APRON_PX, 0.0)


def test_tiles_cover_the_visible_part_of_the_field_and_none_is_idle() -> None:
    rng = random.Random(2)
    for _ in range(200):
        camera = Camera(rng.uniform(-0.8, 0.8), rng.uniform(-0.7, 0.7), rng.uniform(-1, 5))
        view = View(camera, (rng.randint(50, 900), rng.randint(50, 900)))
        step = rng.randint(0, 12)
        tiles = GRID.tiles(step, view)
        left, top, right, bottom = view.bounds()
        low_x, high_x = max(left, -0.635), min(right, 0.635)
        low_y, high_y = max(top, -0.5), min(bottom, 0.5)
        if low_x >= high_x or low_y >= high_y:
            continue  # nothing of the picture is visible; a tile may reach beyond its edge
        extent = GRID.tile_extent(step)
        assert tiles.x0 * extent <= low_x + 1e-8 and tiles.x1 * extent >= high_x - 1e-8
        assert tiles.y0 * extent <= low_y + 1e-8 and tiles.y1 * extent >= high_y - 1e-8
        assert (tiles.x0 + 1) * extent > low_x - 1e-8 and (tiles.x1 - 1) * extent < high_x + 1e-8
        assert (tiles.y0 + 1) * extent > low_y - 1e-8 and (tiles.y1 - 1) * extent < high_y + 1e-8


def test_a_margin_never_leaves_the_field() -> None:
    view = View(Camera(0.6, 0.45, 4.0), (600, 400))
    inner, outer, whole = GRID.tiles(8, view), GRID.tiles(8, view, margin=3), GRID.field_tiles(8)
    assert outer.count > inner.count
    assert outer.x1 == whole.x1 and outer.y1 == whole.y1
    assert outer.x0 == inner.x0 - 3
    assert all(outer.holds(k) for k in from_centre(inner, 0, 0))
    assert not inner.holds(TileKey(7, inner.x0, inner.y0))


def test_from_centre_is_sorted_by_distance_and_complete() -> None:
    tiles = GRID.field_tiles(5)
    order = list(from_centre(tiles, 1.5, -0.5))
    assert len(order) == len(set(order)) == tiles.count
    distances = [(k.ix + 0.5 - 1.5) ** 2 + (k.iy + 0.5 + 0.5) ** 2 for k in order]
    assert distances == sorted(distances)


@pytest.mark.parametrize("field_size", [(1.0, 1.0), (4.0, 1.0), (1.0, 2.5)])
def test_field_tiles_cover_scenes_that_are_not_square(field_size: tuple[float, float]) -> None:
    grid = TileGrid(128, field_size, (0.0, 5.0), 64, 2)
    whole = grid.field_tiles(4)
    assert whole.x1 * grid.tile_extent(4) >= field_size[0] / 2
    assert whole.y0 * grid.tile_extent(4) <= -field_size[1] / 2
