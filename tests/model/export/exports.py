"""What the tests of exports share: a scale space whose every pixel follows from its place."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from model.export import TILE_PX, ExportPlan
from model.rendering import render_view
from model.scale import Lattice, density
from model.space import ScaleSpace, Window, check_batch


class Waves:
    """Plane waves; `seconds` is the time that a window takes."""

    identity = "waves"
    patch_size = 32
    level_range = (0.0, 8.0)

    def __init__(
        self, field_size: tuple[float, float] = (1.3, 1.0), seconds: float = 0.0, flat: bool = False
    ) -> None:
        self.field_size, self.seconds, self.flat = field_size, seconds, flat
        self.shapes: list[tuple[int, int, int]] = []

    def render(self, windows: Sequence[Window]) -> torch.Tensor:
        check_batch(windows)
        self.shapes.append((len(windows), windows[0].height, windows[0].width))
        time.sleep(self.seconds)
        d = density(windows[0].level, self.patch_size)
        images = []
        for w in windows:
            x, y = (Lattice.at(v, d) for v in w.origin_xy)
            column = (torch.arange(w.width, dtype=torch.float64) + x.first + x.phase + 0.5) / d
            row = (torch.arange(w.height, dtype=torch.float64) + y.first + y.phase + 0.5) / d
            if self.flat:
                images.append((column[None] * 0.3 + row[:, None] * 0.02).expand(3, -1, -1))
                continue
            wave = torch.sin(97 * column + w.seed)[None] * torch.cos(71 * row)[:, None]
            images.append(torch.stack([wave, wave.square(), -wave]))
        return torch.stack(images).float()


def tile_by_render_view(space: ScaleSpace, plan: ExportPlan, column: int, strip: int) -> np.ndarray:
    """The tile of a plan as `render_view` gives it for its centre, cut to the picture."""
    w, d = plan.window, density(plan.window.level, plan.patch_size)
    center = (
        w.origin_xy[0] + (column + 0.5) * TILE_PX / d,
        w.origin_xy[1] + (strip + 0.5) * TILE_PX / d,
    )
    tile = render_view(space, center, w.level, (TILE_PX, TILE_PX), w.seed)
    return tile[: plan.strip_rows(strip), : w.width - column * TILE_PX]


def files_below(folder: Path) -> dict[str, bytes]:
    """Every file's path in `folder` and its bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
