"""Memory of places: dense multiresolution feature grids over the field, read as smooth maps.

Differs from instant-ngp (Mueller et al. 2022): no hashing. A hashed table that cannot remember
still speaks, as axis-aligned noise; a dense grid stops at the density that the file can hold, and
what is finer is left to noise and the adversarial part.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from kernels.feature_grid import Touched, feature_grid
from model.config import MemoryConfig

PAD = 2
"""Cells beyond the field on every side."""


def fade(octaves: float) -> float:
    """Smooth rise from 0 at 0 octaves to 1 at a quarter octave above a band's limit."""
    t = min(max(4 * octaves, 0.0), 1.0)
    return t * t * (3 - 2 * t)


class PlaceMemory(nn.Module):
    """Feature grids; node i of a grid lies at (i + 0.5 - PAD) cells from the field's low edge."""

    def __init__(
        self,
        config: MemoryConfig,
        field_size: tuple[float, float],
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.config, self.field_size = config, field_size
        self._touched: list[Touched] = []
        self.grids = nn.ParameterList()
        for resolution in config.resolutions:
            columns, rows = (math.ceil(s * resolution) + 2 * PAD for s in field_size)
            self.grids.append(
                nn.Parameter(torch.zeros(rows, columns, config.features, device=device))
            )

    def watch(self) -> list[Touched]:
        """From now on, note where gradients reach each grid; whoever asks clears the notes."""
        self._touched = [Touched() for _ in self.grids]
        return self._touched

    def speaking(self, pixels_per_unit: float, coarser: bool, finest: bool) -> dict[int, float]:
        """Grids that enter at a stage, with their weights in (0, 1].

        A grid speaks at the finest stage where that is as dense as the grid, less
        `MemoryConfig.ahead`, at others where they are denser by `MemoryConfig.handed_over`, and
        only as far as the next coarser stage (if there is one) has not let it speak already:
        weights telescope over stages.

        Args:
            pixels_per_unit: Density of the stage.
            coarser: There is a coarser stage.
            finest: There is no finer one.
        """
        needed = self.config.handed_over
        weights = {}
        for g, resolution in enumerate(self.config.resolutions):
            octaves = math.log2(pixels_per_unit / resolution)
            weight = fade(octaves + self.config.ahead if finest else octaves - needed)
            weight -= fade(octaves - 1 - needed) if coarser else 0.0
            if weight > 0:
                weights[g] = weight
        return weights

    def read(
        self, grid: int, xs: torch.Tensor, ys: torch.Tensor, weight: float = 1.0
    ) -> torch.Tensor:
        """Interpolate one grid on a lattice; its nearest edge goes on outside the field.

        Args:
            grid: Which grid.
            xs: Column coordinates, float64 [N, W] on the CPU, field units, rising.
            ys: Row coordinates, float64 [N, H], field units, rising.
            weight: Factor on it: how far the grid speaks.

        Returns:
            float32 [N, H, W, features].
        """
        resolution = self.config.resolutions[grid]
        node_x = (xs + self.field_size[0] / 2) * resolution - 0.5 + PAD
        node_y = (ys + self.field_size[1] / 2) * resolution - 0.5 + PAD
        # A batch touches a millionth of a large grid: its gradient is added in place.
        touched = self._touched[grid] if self._touched else None
        return feature_grid(
            self.grids[grid], node_x, node_y, weight=weight, add_to_grad=True, touched=touched
        )
