"""A scale space whose every pixel is known: for tests of what measures."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from model.scale import Lattice, density
from model.space import Window, check_batch


class Waves:
    """A smooth picture that is a pure function of place and level; exact in tiles of any size."""

    identity = "waves"
    patch_size = 64
    field_size = (1.25, 1.0)
    level_range = (0.0, 3.5)

    def render(self, windows: Sequence[Window]) -> torch.Tensor:
        check_batch(windows)
        return torch.stack([self._window(w) for w in windows])

    def _window(self, window: Window) -> torch.Tensor:
        pixels_per_unit = density(window.level, self.patch_size)
        centers = []
        for origin, length in zip(window.origin_xy, (window.width, window.height), strict=True):
            lattice = Lattice.at(origin, pixels_per_unit)
            index = torch.arange(lattice.first, lattice.first + length, dtype=torch.float64)
            centers.append((index + lattice.phase + 0.5) / pixels_per_unit)
        x, y = centers[0][None], centers[1][:, None]
        waves = [torch.sin(20 * x + c) * torch.cos(31 * y - c) for c in range(3)]
        return (torch.stack(waves) * 0.8).float()


@pytest.fixture
def waves() -> Waves:
    return Waves()
