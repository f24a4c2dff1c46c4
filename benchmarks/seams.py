"""Seam error: does a window put together from tiles equal the window rendered in one go?"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.rendering import place_in_field
from model.metrics.consistency import TILE_SIZES, render_from_tiles
from model.space import ScaleSpace, Window

LIMITS = {"fp32": 1e-4, "auto": 2 / 255}
"""Largest allowed difference of values in [-1, 1], by precision ('auto' is the app's)."""


@dataclass(frozen=True)
class SeamError:
    """Largest difference over all windows, tile sizes, orders and batches; NaN fails at once."""

    max_abs: float
    """In [-1, 1]."""
    worst_level: float
    """Octaves."""
    worst_tile: int
    """Pixels."""
    windows: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measure_seams(space: ScaleSpace, windows: int = 40, seed: int = 0) -> SeamError:
    """Compare random windows over all levels with the same put together from tiles.

    Windows are 130 to 330 pixels a side, levels evenly spread over the range with a random offset
    in each share, places random. Tiles are square but for the remains at the far edges; they are
    rendered in random order and in batches of random size.
    """
    chance = random.Random(seed)
    low, high = space.level_range
    worst = SeamError(-1.0, low, TILE_SIZES[0], windows)
    for index in range(windows):
        level = low + (high - low) * (index + chance.random()) / windows
        size = (chance.randint(130, 330), chance.randint(130, 330))
        origin = place_in_field(space, level, size, (chance.random(), chance.random()))
        window = Window(origin, level, size[1], size[0])
        whole = space.render([window])[0].cpu()
        for tile in TILE_SIZES:
            parts = render_from_tiles(space, window, tile, chance)
            error = float((parts - whole).abs().max())
            if math.isnan(error) or error > worst.max_abs:
                worst = SeamError(error, level, tile, windows)
            if math.isnan(error):
                return worst
    return worst


class ZeroPaddedControl:
    """A scale space whose last layer pads with zeros, as ordinary convolutions do.

    It shows what the measure is for: its tiles do not meet, and `measure_seams` must say so.
    """

    def __init__(self, space: ScaleSpace) -> None:
        self._space = space

    @property
    def identity(self) -> str:
        return f"zero-padded:{self._space.identity}"

    @property
    def patch_size(self) -> int:
        return self._space.patch_size

    @property
    def field_size(self) -> tuple[float, float]:
        return self._space.field_size

    @property
    def level_range(self) -> tuple[float, float]:
        return self._space.level_range

    def render(self, windows: Sequence[Window]) -> torch.Tensor:
        """The wrapped space's windows under a 3 x 3 mean with zeros around."""
        return F.avg_pool2d(self._space.render(windows), 3, stride=1, padding=1)
