"""What is asked for, in which order, and what is kept."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest

from explorer.camera import Camera, View, fit_camera
from explorer.config import StreamingConfig
from explorer.messages import TileBatch
from explorer.tile_cache import TileCache
from explorer.tile_grid import TileGrid, TileKey
from explorer.tile_stream import TileStream, exact_view
from model.scale import Lattice, density

GRID = TileGrid(64, (1.27, 1.0), (0.0, 8.5), 64, 2)
SIZE = (1024, 768)


def make_stream(**options: object) -> TileStream:
    stream = TileStream(StreamingConfig(**options))  # type: ignore[arg-type]
    stream.set_scene("a", GRID)
    return stream


def batch(keys: tuple[TileKey, ...], number: int = 1, **changes: object) -> TileBatch:
    pixels = np.zeros((len(keys), 66, 66, 4), np.uint8)
    made = TileBatch("a", 0, number, keys, pixels, 0.0, 0.6e6)
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def ask(stream: TileStream, view: View, moving: bool = True, shown: View | None = None):
    return stream.plan(view, shown or view, moving=moving, exact=None, now=0.0)


def test_the_visible_tiles_at_the_target_come_first_and_all_of_them() -> None:
    rng = random.Random(0)
    for _ in range(30):
        stream = make_stream()
        view = View(Camera(rng.uniform(-0.5, 0.5), rng.uniform(-0.4, 0.4), rng.uniform(0, 4)), SIZE)
        keys = ask(stream, view).tiles
        visible = GRID.tiles(keys[0].step, view)
        assert all(visible.holds(k) for k in keys[: visible.count])
        assert len(set(keys)) == len(keys) <= stream.config.max_request_tiles


def test_where_nothing_is_shown_of_a_view_its_tiles_come_before_the_exact_frame() -> None:
    stream, view = make_stream(), View(Camera(0.1, 0.0, 2.0), SIZE)
    exact = exact_view(view, GRID)

    def before(cover_first: bool) -> int:
        request = stream.plan(
            view, view, moving=False, exact=exact, now=0.0, cover_first=cover_first
        )
        visible = GRID.tiles(request.tiles[0].step, view)
        assert all(visible.holds(key) for key in request.tiles[: request.before_exact])
        return request.before_exact

    assert before(False) == 0
    whole = before(True)
    assert whole == GRID.tiles(ask(stream, view).tiles[0].step, view).count
    stream.accept(batch(ask(stream, view).tiles[:3]))
    assert before(True) == whole - 3


def test_the_first_level_is_one_that_the_machine_can_keep_fresh() -> None:
    view = View(Camera(0.0, 0.0, 3.0), SIZE)
    for speed in (0.1e6, 0.4e6, 1.5e6, 1e9):
        stream = make_stream(initial_pixels_per_s=speed)
        base, last = stream.steps_for(view)
        visible_px = 1024 * 768 * 4.0 ** (GRID.level(base) - view.level(64))
        assert base == last or visible_px <= speed * stream.config.moving_budget_s
        finer_px = visible_px * 2
        assert base == last or finer_px > speed * stream.config.moving_budget_s
    assert base == last
    assert GRID.level(last) >= view.level(64) - stream.config.hysteresis_octaves


def test_kept_tiles_are_not_asked_for_again_and_finer_ones_follow() -> None:
    stream = make_stream()
    view = View(Camera(0.0, 0.0, 3.0), SIZE)
    base, last = stream.steps_for(view)
    seen_steps = []
    for number in range(1, 200):
        keys = ask(stream, view).tiles
        if not keys:
            break
        seen_steps.append(keys[0].step)
        taken = tuple(k for k in keys[:16] if k.step == keys[0].step)
        assert not any(k in stream.cache for k in taken)
        assert stream.accept(batch(taken, number)) == taken
    assert not keys, "a view at rest must come to an end"
    assert seen_steps[0] == base
    for step in range(base, last + 1):
        visible = GRID.tiles(step, view)
        assert all(
            TileKey(step, ix, iy) in stream.cache
            for ix in range(visible.x0, visible.x1)
            for iy in range(visible.y0, visible.y1)
        )


def test_at_rest_only_a_bounded_number_of_tiles_is_fetched_ahead() -> None:
    stream = make_stream()
    view = View(Camera(0.0, 0.0, 4.0), SIZE)
    rendered = 0
    number = 0
    while keys := ask(stream, view, moving=False).tiles:
        number += 1
        taken = tuple(k for k in keys if k.step == keys[0].step)
        rendered += len(taken)
        stream.accept(batch(taken, number))
        assert rendered < 1000
    base, _ = stream.steps_for(view)
    pinned = sum(GRID.field_tiles(step).count for step in stream._pinned_steps)
    ring = GRID.tiles(base, view, margin=2).count
    assert rendered <= ring + pinned + 200


def test_the_displayed_place_is_served_too_when_the_target_is_elsewhere() -> None:
    stream = make_stream(max_request_tiles=500)
    target = View(Camera(0.5, 0.4, 4.5), SIZE)
    shown = View(Camera(-0.5, -0.4, 4.5), SIZE)
    keys = ask(stream, target, shown=shown).tiles
    base, _ = stream.steps_for(target)
    there, here = GRID.tiles(base, target), GRID.tiles(base, shown)
    assert all(there.holds(k) for k in keys[: there.count])
    assert all(here.holds(k) for k in keys[there.count : there.count + here.count])


def test_hysteresis_keeps_the_step_when_the_level_trembles() -> None:
    stream = make_stream()
    steps = []
    for i in range(200):
        view = View(Camera(0.0, 0.0, 2.0 + i * 0.02), SIZE)
        steps.append(ask(stream, view).tiles[0].step)
    assert steps == sorted(steps) and steps[-1] > steps[0]
    change = next(i for i in range(1, 200) if steps[i] != steps[i - 1])
    stream = make_stream()
    trembling = []
    for i in range(20):
        zoom = 2.0 + (change + (1 if i % 2 else -1)) * 0.02
        trembling.append(ask(stream, View(Camera(0.0, 0.0, zoom), SIZE)).tiles[0].step)
    assert len(set(trembling[1:])) == 1


def test_stale_batches_are_dropped_but_acknowledged() -> None:
    stream = make_stream()
    key = TileKey(4, 0, 0)
    assert stream.accept(batch((key,), 3, scene="b")) == ()
    assert stream.accept(batch((key,), 4, seed=9)) == ()
    assert key not in stream.cache
    assert ask(stream, View(fit_camera((1.27, 1.0), SIZE), SIZE)).seen_batch == 4


def test_pinned_tiles_survive_everything_else() -> None:
    stream = make_stream(cache_bytes=4 * 32 * 66 * 66 * 4)
    pinned = [TileKey(2, 0, 0), TileKey(4, -1, 1)]
    stream.accept(batch(tuple(pinned[:1]), 1))
    stream.accept(batch(tuple(pinned[1:]), 2))
    for i in range(400):
        stream.accept(batch((TileKey(9, i, 0),), 3 + i))
    assert all(k in stream.cache for k in pinned)
    assert stream.cache.bytes <= stream.config.cache_bytes
    assert TileKey(9, 399, 0) in stream.cache
    assert TileKey(9, 0, 0) not in stream.cache


def test_a_new_scene_starts_empty() -> None:
    stream = make_stream()
    stream.accept(batch((TileKey(4, 0, 0),)))
    stream.set_scene("b", GRID, seed=3)
    request = ask(stream, View(fit_camera((1.27, 1.0), SIZE), SIZE))
    assert len(stream.cache) == 0 and request.scene == "b" and request.seed == 3


def test_cache_drops_the_least_recently_used_and_counts_bytes() -> None:
    cache = TileCache(10 * 100)
    tiles = np.arange(1100, dtype=np.uint32).view(np.uint8).reshape(11, 400)[:, :100]
    for i in range(10):
        cache.put(TileKey(0, i, 0), tiles[i], pinned=i == 5)
    assert np.array_equal(cache.get(TileKey(0, 0, 0)), tiles[0])
    cache.put(TileKey(0, 10, 0), tiles[10])
    cache.put(TileKey(0, 10, 0), tiles[9])
    assert cache.bytes == 1000 and len(cache) == 10
    assert TileKey(0, 0, 0) in cache and TileKey(0, 1, 0) not in cache
    assert cache.get(TileKey(0, 1, 0)) is None
    for i in (0, 2, 5, 9, 10):
        assert np.array_equal(cache.get(TileKey(0, i, 0)), tiles[i])
    for i in range(20, 40):
        cache.put(TileKey(0, i, 0), tiles[0])
    assert TileKey(0, 5, 0) in cache and TileKey(0, 10, 0) not in cache
    cache.clear()
    assert cache.bytes == 0 and len(cache) == 0
    cache.put(TileKey(0, 0, 0), tiles[0, :50])
    assert cache.bytes == 50


def test_a_cache_full_of_pinned_tiles_keeps_them() -> None:
    cache = TileCache(200)
    for i in range(4):
        cache.put(TileKey(0, i, 0), np.full(100, i, np.uint8), pinned=True)
    assert [TileKey(0, i, 0) in cache for i in range(4)] == [True, True, False, False]
    cache.put(TileKey(1, 0, 0), np.full(100, 9, np.uint8))
    assert TileKey(1, 0, 0) not in cache and len(cache) == 2


def test_drawable_names_kept_visible_tiles_finest_first() -> None:
    stream = make_stream()
    view = View(Camera(0.0, 0.0, 2.0), SIZE)
    finest = stream.finest_drawn(view)
    visible = [TileKey(finest, 0, 0), TileKey(4, 0, 0)]
    hidden = [TileKey(finest + 1, 0, 0), TileKey(finest, 10_000, 0)]
    for number, key in enumerate(visible + hidden):
        stream.accept(batch((key,), number))
    assert stream.drawable(view, 100) == visible
    assert stream.drawable(view, 1) == visible[:1]


def test_what_does_not_fit_is_finer_than_what_covers_the_view() -> None:
    stream = make_stream()
    view = View(Camera(0.0, 0.0, 2.0), SIZE)
    grid = stream._grid()
    finest = stream.finest_drawn(view)
    for step in (finest, finest - 1, finest - 2):
        tiles = grid.tiles(step, view)
        every = [(x, y) for y in range(tiles.y0, tiles.y1) for x in range(tiles.x0, tiles.x1)]
        for number, (x, y) in enumerate(every):
            stream.accept(batch((TileKey(step, x, y),), number))
    counts = [grid.tiles(step, view).count for step in (finest, finest - 1, finest - 2)]
    limit = counts[1] + 10
    assert limit < counts[0]
    drawn = [key.step for key in stream.drawable(view, limit)]
    assert drawn == [finest] * 10 + [finest - 1] * counts[1]
    assert [key.step for key in stream.drawable(view, sum(counts))] == [
        step for step, count in zip(range(finest, finest - 3, -1), counts) for _ in range(count)
    ]


def test_the_exact_view_is_the_viewports_own_pixels_cut_to_the_field() -> None:
    rng = random.Random(4)
    for _ in range(200):
        view = View(
            Camera(rng.uniform(-0.6, 0.6), rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 4.9)), SIZE
        )
        exact = exact_view(view, GRID)
        assert exact is not None
        d = density(exact.level, 64)
        assert exact.level == pytest.approx(view.level(64), abs=1e-12)
        left, top = view.to_screen(*exact.origin_xy)
        # Its pixels meet the screen's to the lattice's rounding, and it covers what is visible.
        assert abs(left - round(left)) <= 1 / 512 + 1e-6
        assert abs(top - round(top)) <= 1 / 512 + 1e-6
        west, north = view.to_screen(-0.635, -0.5)
        east, south = view.to_screen(0.635, 0.5)
        assert left <= max(0, west) + 0.01 and top <= max(0, north) + 0.01
        assert left + exact.size[0] >= min(SIZE[0], east) - 0.01
        assert top + exact.size[1] >= min(SIZE[1], south) - 0.01
        assert exact.size[0] <= SIZE[0] + 1 and exact.size[1] <= SIZE[1] + 1
        lattice = Lattice.at(exact.origin_xy[0], d)
        assert (lattice.first + lattice.phase) / d == exact.origin_xy[0]


def test_the_exact_level_stays_within_what_the_scene_has() -> None:
    grid = TileGrid(64, (1.0, 1.0), (1.0, 4.0), 64, 2)
    deep = exact_view(View(Camera(0.0, 0.0, 6.0), SIZE), grid)
    far = exact_view(View(Camera(0.0, 0.0, -4.0), SIZE), grid)
    assert deep is not None and deep.level == 4.0
    assert far is not None and far.level == 1.0
    assert exact_view(View(Camera(30.0, 0.0, 2.0), SIZE), grid) is None


def test_a_view_is_covered_when_its_coarsest_tiles_have_come() -> None:
    stream = make_stream()
    view = View(Camera(0.1, 0.0, 2.0), SIZE)
    assert stream.cover(view) is None  # nothing was planned yet
    wanted = ask(stream, view).tiles
    base = [key for key in wanted if key.step == wanted[0].step]
    stream.accept(batch(tuple(base[:-1])))
    assert stream.cover(view) is None
    assert set(stream.cover(view, 0.4) or ()) == set(base[:-1])  # all but one at the rim
    stream.accept(batch((base[-1],), seed=5))
    assert stream.cover(view) is None  # of another latent
    stream.accept(batch((base[-1],)))
    assert set(stream.cover(view) or ()) == set(base)
    stream.set_scene("a", GRID, 5)
    assert stream.cover(view) is None


def test_a_shorter_budget_begins_coarser() -> None:
    stream = make_stream()
    view = View(Camera(0.0, 0.0, 3.0), SIZE)
    usual = ask(stream, view).tiles[0].step
    stream.set_scene("a", GRID)
    stream.moving_budget_s /= 4
    assert ask(stream, view).tiles[0].step < usual
