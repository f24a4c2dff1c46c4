"""What to render next, what to keep, and what to draw: decided on the GUI thread, by value.

Every frame the stream looks at the target and the displayed camera and names the missing tiles, the
most valuable first. The worker takes a few from the head of the newest list, so a list that is out
of date costs at most one batch. No Qt, no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

from explorer.config import StreamingConfig
from explorer.messages import ExactView, RenderRequest, TileBatch
from explorer.tile_cache import TileCache
from explorer.tile_grid import TileGrid, TileKey, TileRange, from_centre
from explorer.view_state import View
from model.latent import Seed
from model.scale import Lattice, density, level_of_density

ROOT_PX = 1 << 17
"""Pixels of the small picture of the whole field, about."""


class TileStream:
    """Plans requests for one scene and keeps their results."""

    def __init__(self, config: StreamingConfig | None = None) -> None:
        self.config = config or StreamingConfig()
        self.cache = TileCache(self.config.cache_bytes)
        self.grid: TileGrid | None = None
        self.scene = ""
        self.seed: Seed = 0
        self.pixels_per_s = self.config.initial_pixels_per_s
        self.moving_budget_s = self.config.moving_budget_s
        """See `StreamingConfig.moving_budget_s`; shorter while a hand changes the latent."""
        self.seen_batch = 0
        self._base_step: int | None = None
        self._pinned_steps: tuple[int, ...] = ()

    def set_scene(self, scene: str, grid: TileGrid, seed: Seed = 0) -> None:
        """Forget everything and stream `scene` (an identity) from now on."""
        self.scene, self.grid, self.seed = scene, grid, seed
        self.cache.clear()
        self._base_step = None
        low = grid.level_range[0]
        wanted = (round((low + o) * grid.steps_per_octave) for o in self.config.pinned_octaves)
        steps = dict.fromkeys(grid.clamp_step(step) for step in wanted)
        # A long scene has many coarse tiles: pins never take more than a quarter of the cache.
        room = self.config.cache_bytes // 4 // self.config.tile_bytes
        self._pinned_steps = tuple(s for s in steps if grid.field_tiles(s).count <= room)

    def accept(self, batch: TileBatch) -> tuple[TileKey, ...]:
        """Keep the tiles of `batch` and name them; a stale batch is dropped (empty tuple)."""
        self.seen_batch = max(self.seen_batch, batch.number)
        if batch.scene != self.scene or batch.seed != self.seed:
            return ()
        # Short spells of another load must not make the planned level jump.
        self.pixels_per_s += 0.2 * (batch.pixels_per_s - self.pixels_per_s)
        for key, pixels in zip(batch.keys, batch.pixels, strict=True):
            self.cache.put(key, pixels, pinned=key.step in self._pinned_steps)
        return batch.keys

    def steps_for(self, view: View) -> tuple[int, int]:
        """The first and the last step worth rendering for `view` (no hysteresis).

        The first is the sharpest whose share of the view renders within `moving_budget_s`; the last
        is the one that is as dense as the view's own pixels.
        """
        grid = self._grid()
        level = view.level(grid.patch_size)
        left, top, right, bottom = view.bounds()
        half_w, half_h = grid.field_size[0] / 2, grid.field_size[1] / 2
        wide = max(min(right, half_w) - max(left, -half_w), 0.0)
        high = max(min(bottom, half_h) - max(top, -half_h), 0.0)
        view_px = max(wide * high * view.density**2, 1.0)
        budget_px = max(self.pixels_per_s * self.moving_budget_s, 1.0)
        affordable = level + 0.5 * min(0.0, math.log2(budget_px / view_px))
        per = grid.steps_per_octave
        last = grid.clamp_step(math.ceil((level - self.config.hysteresis_octaves) * per))
        return min(grid.clamp_step(math.floor(affordable * per)), last), last

    def plan(
        self,
        target: View,
        displayed: View,
        *,
        moving: bool,
        exact: ExactView | None,
        now: float,
        cover_first: bool = False,
        exact_alone: bool = False,
    ) -> RenderRequest:
        """The request for this moment.

        Args:
            target: Where the camera will be.
            displayed: Where it is.
            moving: Tiles while moving; else the exact frame, then what a next move may need.
            exact: The exact frame that is still missing, if one is wanted.
            now: Time of the cameras, s.
            cover_first: Before the exact frame, cover the view with tiles.
            exact_alone: No tiles, and nothing ahead of a next move.
        """
        grid = self._grid()
        limit = self.config.max_request_tiles
        missing: dict[TileKey, None] = {}
        for key in () if exact_alone else self._wanted(target, displayed, moving):
            if key not in self.cache:
                missing[key] = None
                if len(missing) >= limit:
                    break
        before = 0
        if cover_first and exact is not None and self._base_step is not None:
            visible = grid.tiles(self._base_step, target)
            before = sum(map(visible.holds, missing))  # they come first
        return RenderRequest(
            scene=self.scene,
            grid=grid,
            seed=self.seed,
            tiles=tuple(missing),
            exact=exact,
            before_exact=before,
            moving=moving,
            seen_batch=self.seen_batch,
            issued_at=now,
        )

    def cover(self, view: View, rim_octaves: float = 0.0) -> tuple[TileKey, ...] | None:
        """The tiles of the coarsest wanted step that `view` shows; None until they have come.

        `rim_octaves`: only those that are seen when one comes so much closer must have come; what
        is at the rim of a moving view is never asked for.
        """
        if self._base_step is None:
            return None
        step, camera = self._base_step, view.camera
        closer = View(replace(camera, log2_zoom=camera.log2_zoom + rim_octaves), view.size)
        if not all(
            key in self.cache for key in self._centred(self._grid().tiles(step, closer), view)
        ):
            return None
        whole = self._centred(self._grid().tiles(step, view), view)
        return tuple(key for key in whole if key in self.cache)

    def finest_drawn(self, view: View) -> int:
        """The finest step that is of use for drawing `view`."""
        grid = self._grid()
        level = view.level(grid.patch_size)
        return min(grid.step_range[1], math.ceil((level + 0.5) * grid.steps_per_octave))

    def drawable(self, view: View, limit: int) -> list[TileKey]:
        """Kept tiles that `view` shows, the finest first, at most `limit`; marks them as used.

        Where not all fit, the finest step that covers the whole view has its place, and finer tiles
        come as far as there is room beside it: else a part of the view would show next to nothing.
        """
        grid = self._grid()
        finer: list[TileKey] = []
        covering: list[TileKey] = []
        for step in range(self.finest_drawn(view), grid.step_range[0] - 1, -1):
            tiles = grid.tiles(step, view)
            every = [
                TileKey(step, ix, iy)
                for iy in range(tiles.y0, tiles.y1)
                for ix in range(tiles.x0, tiles.x1)
            ]
            kept = [key for key in every if self.cache.get(key) is not None]
            covers = bool(kept) and len(kept) == len(every) <= limit
            (covering if covering or covers else finer).extend(kept)
            if covers and len(covering) == len(kept):
                finer = finer[: limit - len(kept)]
        return (finer + covering)[:limit]

    # The order of value.

    def _wanted(self, target: View, displayed: View, moving: bool) -> Iterator[TileKey]:
        """All tiles of use, the most valuable first; some come twice."""
        grid = self._grid()
        base, last = self.steps_for(target)
        base = self._steadied(base, target, last)
        yield from self._centred(grid.tiles(base, target), target)
        shown_base, _ = self.steps_for(displayed)
        if abs(shown_base - base) > 1 or _disjoint(target, displayed):
            yield from self._centred(grid.tiles(shown_base, displayed), displayed)
        for step in self._pinned_steps:
            whole = grid.field_tiles(step)
            yield from self._centred(whole, target)
        if moving:
            for step in range(base + 1, last + 1):
                yield from self._centred(grid.tiles(step, target), target)
        yield from self._prefetch(base, last, target)

    def _prefetch(self, base: int, last: int, target: View) -> Iterator[TileKey]:
        """A ring around the view, then its middle one octave closer; bounded."""
        grid = self._grid()
        left = self.config.prefetch_tiles
        closer = View(
            type(target.camera)(target.camera.cx, target.camera.cy, target.camera.log2_zoom + 1.0),
            target.size,
        )
        deeper = grid.clamp_step(base + grid.steps_per_octave)
        ranges: Iterable[tuple[TileRange, View]] = (
            (grid.tiles(base, target, margin=2), target),
            (grid.tiles(deeper, closer), closer),
        )
        for tiles, view in ranges:
            for key in self._centred(tiles, view):
                if left == 0:
                    return
                if key not in self.cache:
                    left -= 1
                    yield key

    def _centred(self, tiles: TileRange, view: View) -> Iterator[TileKey]:
        extent = self._grid().tile_extent(tiles.step)
        return from_centre(tiles, view.camera.cx / extent, view.camera.cy / extent)

    def _steadied(self, base: int, target: View, last: int) -> int:
        """`base` with hysteresis: the level must pass a step by a margin before it changes."""
        grid = self._grid()
        held = self._base_step
        if held is not None and held != base and abs(held - base) == 1 and held <= last:
            margin = self.config.hysteresis_octaves
            shift = margin if base < held else -margin
            camera = target.camera
            nudged = type(camera)(camera.cx, camera.cy, camera.log2_zoom + shift)
            if self.steps_for(View(nudged, target.size))[0] == held:
                base = held
        self._base_step = grid.clamp_step(base)
        return self._base_step

    def _grid(self) -> TileGrid:
        if self.grid is None:
            raise RuntimeError("set_scene must come before a plan, no scene was set.")
        return self.grid


def exact_view(view: View, grid: TileGrid) -> ExactView | None:
    """The window of `view`'s own pixels, cut to the field; None where nothing of it is visible.

    The level is the view's, as far as the scene has it. The origin is snapped to the lattice that
    windows snap to, so that every chunk of it shares one sub-pixel phase.
    """
    low, high = grid.level_range
    level = min(max(view.level(grid.patch_size), low), high)
    d = density(level, grid.patch_size)
    left, top, right, bottom = view.bounds()
    half_w, half_h = grid.field_size[0] / 2, grid.field_size[1] / 2
    lattice_x, lattice_y = Lattice.at(left, d), Lattice.at(top, d)
    x0, width = _cut(lattice_x, right - left, half_w, d)
    y0, height = _cut(lattice_y, bottom - top, half_h, d)
    if width <= 0 or height <= 0:
        return None
    return ExactView((x0 / d, y0 / d), level, (width, height))


def root_view(
    field_size: tuple[float, float], level_range: tuple[float, float], patch_size: int
) -> ExactView:
    """The window of the whole field at a low level, about `ROOT_PX` pixels.

    It is shown as if it ended with the field, so it is centred on it, and is at most half a pixel
    larger or smaller.
    """
    width, height = field_size
    low, high = level_range
    wanted = level_of_density(math.sqrt(ROOT_PX / (width * height)), patch_size)
    level = min(max(wanted, low), high)
    d = density(level, patch_size)
    size = max(1, round(width * d)), max(1, round(height * d))
    return ExactView((-size[0] / 2 / d, -size[1] / 2 / d), level, size)


def _cut(lattice: Lattice, length: float, half: float, d: float) -> tuple[float, int]:
    """First pixel (from the field's centre) and number of a window's pixels within the field."""
    begin = lattice.first + lattice.phase
    count = math.ceil(length * d - 1e-6)
    skip = max(0, math.floor(-half * d - begin))
    stop = min(count, math.ceil(half * d - begin))
    return begin + skip, stop - skip


def _disjoint(a: View, b: View) -> bool:
    """Whether two views show little of each other: their centres are far apart."""
    left, top, right, bottom = a.bounds()
    return not (left <= b.camera.cx <= right and top <= b.camera.cy <= bottom)
