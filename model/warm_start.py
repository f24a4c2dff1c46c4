"""First contents of the memory of places: the residuals of an image pyramid."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch

from kernels.feature_grid import feature_grid
from model.generator import Generator
from model.memory import PAD, PlaceMemory
from model.placement.workers import Workers
from model.scale import level_of_density
from model.space import ScaleSpace, Window

ROWS_AT_ONCE = 64


@torch.no_grad()
def remember(
    generator: Generator,
    source: ScaleSpace,
    progress: Callable[[float], None] | None = None,
    finer_than: float = 0.0,
    up_to: float = math.inf,
) -> None:
    """Fill the grids so that their sum already shows the image, octave by octave.

    The first three features of a cell become what the coarser grids leave unsaid there; the others
    start at zero: training gives them a meaning where one is needed; elsewhere they cost no byte.

    Args:
        generator: Its memory is overwritten.
        source: The truth, with the generator's patch size and, to a pixel, its field size. Rendered
            from several threads at once.
        progress: Called with the finished share, between any two batches of rows; may wait.
        finer_than: Grids of at most so many cells per field unit are left as they are.
        up_to: So are grids of more cells.
    """
    memory = generator.memory
    if memory is None:
        raise ValueError("this generator has no memory of places; nothing to fill.")
    resolutions = [r for r in memory.config.resolutions if r <= up_to]
    total = sum(grid.numel() for grid in memory.grids[: len(resolutions)])
    done = 0.0

    def check() -> None:
        if progress is not None:
            progress(done / total)

    residuals: list[torch.Tensor] = []
    with Workers(check) as workers:
        for resolution, grid in zip(resolutions, memory.grids, strict=False):
            rows, columns, features = grid.shape
            residual = torch.empty(rows, columns, 3)
            work = partial(_residual, memory, source, residuals, columns)
            first = 0
            for part in workers.map(work, range(0, rows, ROWS_AT_ONCE)):
                residual[first : first + len(part)] = part
                first += len(part)
                done += part.numel() / 3 * features
            residuals.append(residual)
            if resolution > finer_than:
                grid[..., :3] = residual.to(grid.device)
                grid[..., 3:] = 0
    check()


def _residual(
    memory: PlaceMemory,
    source: ScaleSpace,
    coarser: Sequence[torch.Tensor],
    columns: int,
    first_row: int,
) -> torch.Tensor:
    """What the `coarser` grids leave unsaid at some rows of the next one: float32 [H, W, 3]."""
    resolutions = memory.config.resolutions
    resolution = resolutions[len(coarser)]
    rows = memory.grids[len(coarser)].shape[0]
    height = min(ROWS_AT_ONCE, rows - first_row)
    left, top = (-s / 2 - PAD / resolution for s in memory.field_size)
    level = level_of_density(resolution, source.patch_size)
    window = Window((left, top + first_row / resolution), level, height, columns)
    truth = source.render([window])[0].permute(1, 2, 0)
    for grid, cells in zip(coarser, resolutions, strict=False):
        truth = truth - _interpolate(grid, cells / resolution, first_row, height, columns)
    return truth


def _interpolate(
    coarse: torch.Tensor, ratio: float, first_row: int, rows: int, columns: int
) -> torch.Tensor:
    """A coarser grid, `ratio` times as dense, at the nodes of a finer one: float32 [H, W, 3]."""
    y = (torch.arange(first_row, first_row + rows, dtype=torch.float64) - PAD + 0.5) * ratio
    x = (torch.arange(columns, dtype=torch.float64) - PAD + 0.5) * ratio
    y, x = y - 0.5 + PAD, x - 0.5 + PAD
    # Along the coarse rows first: they are fewer.
    low = int(y[0].floor())
    coarse_rows = torch.arange(low, int(y[-1].floor()) + 2, dtype=torch.float64)
    lines = feature_grid(coarse, x[None], coarse_rows[None])[0]
    row = y.floor().long() - low
    return torch.lerp(lines[row], lines[row + 1], (y - y.floor()).float()[:, None, None])
