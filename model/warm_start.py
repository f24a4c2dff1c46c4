"""First contents of the memory of places: the residuals of an image pyramid."""

from __future__ import annotations

from collections.abc import Callable

import torch

from kernels.feature_grid import hat_weights
from model.generator import Generator
from model.memory import PAD
from model.scale import level_of_density
from model.space import ScaleSpace, Window

ROWS_AT_ONCE = 256


@torch.no_grad()
def remember(
    generator: Generator,
    source: ScaleSpace,
    progress: Callable[[float], None] | None = None,
    finer_than: float = 0.0,
) -> None:
    """Fill the grids so that their sum already shows the image, octave by octave.

    The first three features of a cell become what the coarser grids leave unsaid there; the others
    start at zero: training gives them a meaning where one is needed; elsewhere they cost no byte.

    Args:
        generator: Its memory is overwritten.
        source: The truth, with the generator's patch size and, to a pixel, its field size.
        progress: Called with the finished share.
        finer_than: Grids of at most so many cells per field unit are left as they are.
    """
    memory = generator.memory
    if memory is None:
        raise ValueError("this generator has no memory of places; nothing to fill.")
    residuals: list[torch.Tensor] = []
    total = sum(g.numel() for g in memory.grids)
    done = 0
    for g, grid in enumerate(memory.grids):
        resolution = memory.config.resolutions[g]
        rows, columns, _ = grid.shape
        level = level_of_density(resolution, source.patch_size)
        left, top = (-s / 2 - PAD / resolution for s in memory.field_size)
        residual = torch.empty(rows, columns, 3)
        for y in range(0, rows, ROWS_AT_ONCE):
            height = min(ROWS_AT_ONCE, rows - y)
            window = Window((left, top + y / resolution), level, height, columns)
            truth = source.render([window])[0].permute(1, 2, 0)
            for c, coarse in enumerate(residuals):
                ratio = memory.config.resolutions[c] / resolution
                truth = truth - _interpolate(coarse, ratio, y, height, columns)
            residual[y : y + height] = truth
        residuals.append(residual)
        if resolution > finer_than:
            filled = torch.zeros(grid.shape)
            filled[..., :3] = residual
            grid.copy_(filled)
        done += grid.numel()
        if progress is not None:
            progress(done / total)


def _interpolate(
    coarse: torch.Tensor, ratio: float, first_row: int, rows: int, columns: int
) -> torch.Tensor:
    """A coarser grid, `ratio` times as dense, at the nodes of a finer one: float32 [H, W, 3]."""
    y = (torch.arange(first_row, first_row + rows, dtype=torch.float64) - PAD + 0.5) * ratio
    x = (torch.arange(columns, dtype=torch.float64) - PAD + 0.5) * ratio
    zero = torch.zeros(1, dtype=torch.float64)
    along_y = hat_weights((y - 0.5 + PAD)[None], zero, coarse.shape[0])[0]
    along_x = hat_weights((x - 0.5 + PAD)[None], zero, coarse.shape[1])[0]
    return torch.einsum("hy,yxc,wx->hwc", along_y, coarse, along_x)
