"""Speed of rendering: ms per tile and per view by level, of one or more scale spaces."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from model.scale import density
from model.space import ScaleSpace, Window, to_uint8

TILE_SIZES = (64, 128, 256)
"""Pixels a side."""
VIEW_SIZE = (1024, 768)
"""Width and height of a view, pixels."""
BATCH_PIXELS = 2 * 256 * 256
"""Pixels of a batch of tiles, whatever their size: sizes compare fairly."""


@dataclass(frozen=True)
class LevelSpeed:
    """Medians of one scale space at one level."""

    level: float
    """Octaves."""
    tile_ms: dict[str, float]
    """Milliseconds per tile of a batch, by the tile's size in pixels."""
    view_ms: float
    """Milliseconds per view of 1024 x 768, to uint8."""


@dataclass(frozen=True)
class Speed:
    """Speed of one scale space over its levels."""

    levels: tuple[LevelSpeed, ...]

    @property
    def megapixels_per_s(self) -> float:
        """Millions of pixels a second over one view of each level."""
        seconds = sum(row.view_ms for row in self.levels) / 1e3
        return len(self.levels) * VIEW_SIZE[0] * VIEW_SIZE[1] / 1e6 / seconds

    @property
    def view_max_over_min(self) -> float:
        """Slowest over fastest level, ms per view: 1 when speed does not depend on depth."""
        times = [row.view_ms for row in self.levels]
        return max(times) / min(times)

    def to_json(self) -> dict[str, Any]:
        return {
            "levels": [asdict(row) for row in self.levels],
            "megapixels_per_s": self.megapixels_per_s,
            "view_max_over_min": self.view_max_over_min,
        }


def measure_speed(
    spaces: Mapping[str, ScaleSpace],
    levels: Sequence[float],
    repeats: int = 5,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Speed]:
    """Time every space at every level; medians over `repeats` rounds.

    Each round visits every level, and at each the spaces one after the other, so that what else
    the machine does falls on all of them. Places are random and the same for every space. One
    round that is not counted goes first.

    Args:
        spaces: By label.
        levels: Octaves.
        repeats: Rounds, at least 1.
        seed: Of the places.
        clock: Seconds; for tests.
    """
    times: dict[tuple[str, float, str], list[float]] = {}
    for round_index in range(-1, repeats):
        places = random.Random(f"{seed}/{round_index}")
        for level in levels:
            where = (places.random(), places.random())
            for label, space in spaces.items():
                for kind, job in _jobs(space, level, where):
                    start = clock()
                    count = job()
                    elapsed_ms = (clock() - start) * 1e3 / count
                    if round_index >= 0:
                        times.setdefault((label, level, kind), []).append(elapsed_ms)
    return {
        label: Speed(
            tuple(
                LevelSpeed(
                    level,
                    {str(s): statistics.median(times[label, level, str(s)]) for s in TILE_SIZES},
                    statistics.median(times[label, level, "view"]),
                )
                for level in levels
            )
        )
        for label in spaces
    }


def speed_ratios(base: Speed, other: Speed) -> dict[str, float]:
    """How many times faster `other` renders than `base`: pixels per second, and by level."""
    ratios = {"megapixels_per_s": other.megapixels_per_s / base.megapixels_per_s}
    for row in base.levels:
        match = [r for r in other.levels if r.level == row.level]
        if match:
            ratios[f"view at level {row.level:g}"] = row.view_ms / match[0].view_ms
    return ratios


def place_in_field(
    space: ScaleSpace, level: float, size: tuple[int, int], where: tuple[float, float]
) -> tuple[float, float]:
    """Top left corner (field units) of a window of `size` (width, height, pixels) inside the field.

    `where` in [0, 1]^2 says where; a window that is larger than the field is centred on it.
    """
    pixels_per_unit = density(level, space.patch_size)
    corner = []
    for axis in range(2):
        extent = size[axis] / pixels_per_unit
        free = max(0.0, space.field_size[axis] - extent)
        corner.append((where[axis] - 0.5) * free - extent / 2)
    return corner[0], corner[1]


def _jobs(
    space: ScaleSpace, level: float, where: tuple[float, float]
) -> list[tuple[str, Callable[[], int]]]:
    """What is timed at one level: name, and a function that renders and says how many."""
    from model.rendering import render_view

    def tiles_job(size: int) -> Callable[[], int]:
        tiles = _tiles(space, level, size, where)
        return lambda: len(to_uint8(space.render(tiles)).cpu())

    x, y = place_in_field(space, level, VIEW_SIZE, where)
    pixels_per_unit = density(level, space.patch_size)
    center = (x + VIEW_SIZE[0] / 2 / pixels_per_unit, y + VIEW_SIZE[1] / 2 / pixels_per_unit)

    def view() -> int:
        render_view(space, center, level, VIEW_SIZE)
        return 1

    return [*((str(size), tiles_job(size)) for size in TILE_SIZES), ("view", view)]


def _tiles(space: ScaleSpace, level: float, size: int, where: tuple[float, float]) -> list[Window]:
    """A batch of neighbouring tiles that holds `BATCH_PIXELS` pixels."""
    count = BATCH_PIXELS // size**2
    columns = max(1, int(count**0.5))
    rows = -(-count // columns)
    whole = (columns * size, rows * size)
    window = Window(place_in_field(space, level, whole, where), level, whole[1], whole[0])
    return [
        window.crop(i % columns * size, i // columns * size, size, size, space.patch_size)
        for i in range(count)
    ]
