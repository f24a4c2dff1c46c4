"""What an export will cost: a short trial on this machine, before anything is written."""

from __future__ import annotations

import errno
import time
from dataclasses import dataclass

import numpy as np
import pyvips

from model.export.plan import TILE_PX, ExportPlan
from model.export.render import rendering
from model.export.work import WorkFolder, free_bytes
from model.export.write import encode
from model.space import ScaleSpace

_TRIAL_S = 1.5
_TRIAL_TILES = 48
_PYRAMID = 4 / 3  # a quarter and a quarter of that and so on
_MARGIN = 1.25  # tiles differ in what they compress to
_BLOCK_BYTES = 2048  # what a file of a DeepZoom wastes of its last block, on average
_RESERVE_BYTES = 32 << 20


@dataclass(frozen=True)
class Preflight:
    """Measured and estimated cost of what is left to do."""

    size: tuple[int, int]
    """Width and height, pixels."""
    render_s: float
    """Time of rendering, s."""
    write_s: float
    """Time of writing, s."""
    work_bytes: int
    """Rows that are yet to be written beside the output; deleted at the end."""
    file_bytes: int
    """The output, estimated from the trial's tiles."""
    free_bytes: int
    """Free on the disk of the output."""

    @property
    def needed_bytes(self) -> int:
        """Free bytes without which the export is not begun."""
        # libvips keeps the coarser levels of a TIFF in files beside it until it is whole.
        return self.work_bytes + round(_MARGIN * _PYRAMID * self.file_bytes) + _RESERVE_BYTES

    def check(self, plan: ExportPlan) -> None:
        """Refuse what cannot end well.

        Raises:
            OSError: The disk is too small.
        """
        if self.needed_bytes > self.free_bytes:
            raise OSError(
                errno.ENOSPC,
                f"{plan.out} needs about {gigabytes(self.needed_bytes)} of free disk "
                f"({gigabytes(self.work_bytes)} for rendered rows until it is whole), "
                f"{gigabytes(self.free_bytes)} are free there; make room, write to another disk, "
                "lower the level, or export a smaller box.",
            )


def measure(space: ScaleSpace, work: WorkFolder) -> Preflight:
    """Render and encode some tiles, spread over the picture; takes about two seconds.

    Args:
        space: What is exported.
        work: Of the plan; its strips that are whole need no more rendering.
    """
    plan = work.plan
    total = plan.columns * plan.strips
    count = min(_TRIAL_TILES, total)
    numbers = [round((i + 0.5) * total / count - 0.5) for i in range(count)]
    # Every third first: whenever the time is over, the tiles are spread over the picture.
    numbers = numbers[0::3] + numbers[1::3] + numbers[2::3]
    places = [(n % plan.columns, n // plan.columns) for n in numbers]
    tiles: list[np.ndarray] = []
    with rendering(space, plan) as renderer:
        list(renderer.tiles(places[:1] * 4))  # every thread prepares its convolutions
        begin = time.perf_counter()
        stream = renderer.tiles(places)
        for tile in stream:
            tiles.append(tile)
            if time.perf_counter() - begin > _TRIAL_S:
                break
        tile_s = (time.perf_counter() - begin) / len(tiles)
        stream.close()
    begin = time.perf_counter()
    image = pyvips.Image.new_from_array(np.concatenate(tiles, 1), interpretation="srgb")
    encoded = encode(image, plan)
    encode_s = time.perf_counter() - begin
    pixels = plan.window.width * plan.window.height
    pyramid = _PYRAMID if plan.kind in ("tif", "dzi") else 1.0
    share = pyramid * pixels / (len(tiles) * TILE_PX**2)
    file_bytes = share * encoded
    if plan.kind == "dzi":
        file_bytes += pyramid * pixels / (plan.tile_px - 2) ** 2 * _BLOCK_BYTES
    rows_left = max(0, plan.window.height - work.done * TILE_PX)
    return Preflight(
        size=plan.size,
        render_s=tile_s * plan.columns * (plan.strips - work.done),
        write_s=share * encode_s,
        work_bytes=3 * plan.window.width * rows_left,
        file_bytes=round(file_bytes),
        free_bytes=free_bytes(plan.out.parent),
    )


def gigabytes(count: int) -> str:
    """1234567890 is '1.2 GB', 12345678 is '12 MB'."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"
