"""Memory of places: dense multiresolution feature grids over the field, read as smooth maps.

Differs from instant-ngp (Mueller et al. 2022): no hashing. A hashed table that cannot remember
still speaks, as axis-aligned noise; a dense grid stops at the density that the file can hold, and
what is finer is left to the Fourier features and the adversarial part.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from model.config import MemoryConfig

PAD = 2
"""Cells beyond the field on every side."""


def fade(octaves: float) -> float:
    """Smooth rise from 0 at 0 octaves to 1 at a quarter octave above a band's limit."""
    t = min(max(4 * octaves, 0.0), 1.0)
    return t * t * (3 - 2 * t)


class _Gather(torch.autograd.Function):
    """Rectangles of one grid, clamped at its edges.

    The backward adds into `grid.grad` itself instead of returning a dense gradient: a batch touches
    a millionth of a large grid, and one dense zero map a read would cost more than the network.
    """

    @staticmethod
    def forward(
        ctx: Any,
        grid: torch.Tensor,
        starts: list[tuple[int, int]],
        height: int,
        width: int,
    ) -> torch.Tensor:
        ctx.grid, ctx.starts, ctx.size = grid, starts, (height, width)
        return torch.stack([_read(grid, y, x, height, width) for y, x in starts])

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[None, ...]:
        (grad_out,) = grads
        height, width = ctx.size
        if ctx.grid.grad is None:
            ctx.grid.grad = torch.zeros_like(ctx.grid)
        grad = ctx.grid.grad
        rows, columns, _ = grad.shape
        for (y, x), g in zip(ctx.starts, grad_out, strict=True):
            if y >= 0 and y + height <= rows and x >= 0 and x + width <= columns:
                grad[y : y + height, x : x + width] += g
            else:
                index_y = torch.arange(y, y + height, device=grad.device).clamp(0, rows - 1)
                index_x = torch.arange(x, x + width, device=grad.device).clamp(0, columns - 1)
                flat = (index_y[:, None] * columns + index_x).flatten()
                grad.view(rows * columns, -1).index_add_(0, flat, g.reshape(height * width, -1))
        return None, None, None, None


def _read(grid: torch.Tensor, y: int, x: int, height: int, width: int) -> torch.Tensor:
    rows, columns, _ = grid.shape
    if y >= 0 and y + height <= rows and x >= 0 and x + width <= columns:
        return grid[y : y + height, x : x + width]
    index_y = torch.arange(y, y + height, device=grid.device).clamp(0, rows - 1)
    index_x = torch.arange(x, x + width, device=grid.device).clamp(0, columns - 1)
    return grid[index_y[:, None], index_x]


def hat_weights(nodes: torch.Tensor, first: torch.Tensor, count: int) -> torch.Tensor:
    """Linear interpolation as a banded matrix.

    Args:
        nodes: Where to read, float64 [N, L], in grid nodes.
        first: First node that was gathered, float64 [N].
        count: Nodes gathered.

    Returns:
        float32 [N, L, count]; each row sums to 1 over its two neighbours.
    """
    at = (nodes - first[:, None]).unsqueeze(2)
    index = torch.arange(count, dtype=torch.float64, device=nodes.device)
    return (1 - (at - index).abs()).clamp_(min=0).float()


class PlaceMemory(nn.Module):
    """Feature grids; node i of a grid lies at (i + 0.5 - PAD) cells from the field's low edge."""

    def __init__(self, config: MemoryConfig, field_size: tuple[float, float]) -> None:
        super().__init__()
        self.config, self.field_size = config, field_size
        self.grids = nn.ParameterList()
        for resolution in config.resolutions:
            columns, rows = (math.ceil(s * resolution) + 2 * PAD for s in field_size)
            self.grids.append(nn.Parameter(torch.zeros(rows, columns, config.features)))

    def speaking(self, pixels_per_unit: float, coarser: bool) -> dict[int, float]:
        """Grids that enter at a stage, with their weights in (0, 1].

        A grid speaks where the stage is at least as dense as the grid, and only as far as the next
        coarser stage (if there is one) has not let it speak already: weights telescope over stages.
        """
        weights = {}
        for g, resolution in enumerate(self.config.resolutions):
            octaves = math.log2(pixels_per_unit / resolution)
            weight = fade(octaves) - (fade(octaves - 1) if coarser else 0.0)
            if weight > 0:
                weights[g] = weight
        return weights

    def read(self, grid: int, xs: torch.Tensor, ys: torch.Tensor) -> torch.Tensor:
        """Interpolate one grid on a lattice; its nearest edge goes on outside the field.

        Args:
            grid: Which grid.
            xs: Column coordinates, float64 [N, W] on the CPU, field units, rising.
            ys: Row coordinates, float64 [N, H], field units, rising.

        Returns:
            float32 [N, H, W, features].
        """
        resolution = self.config.resolutions[grid]
        node_x = (xs + self.field_size[0] / 2) * resolution - 0.5 + PAD
        node_y = (ys + self.field_size[1] / 2) * resolution - 0.5 + PAD
        first_x, first_y = node_x[:, 0].floor(), node_y[:, 0].floor()
        width = int((node_x[:, -1].floor() - first_x).max()) + 2
        height = int((node_y[:, -1].floor() - first_y).max()) + 2
        starts = [(int(y), int(x)) for y, x in zip(first_y, first_x, strict=True)]
        cells = _Gather.apply(self.grids[grid], starts, height, width).float()
        n, features = len(starts), cells.shape[3]
        along_x = hat_weights(node_x, first_x, width).to(cells.device)
        along_y = hat_weights(node_y, first_y, height).to(cells.device)
        rows = torch.bmm(along_x, cells.transpose(1, 2).flatten(2))  # [N, W, height * features]
        rows = rows.view(n, -1, height, features).transpose(1, 2).flatten(2)
        return torch.bmm(along_y, rows).view(n, ys.shape[1], xs.shape[1], features)
