"""A picture of how often each place is covered, one panel an octave, with a legend."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_PANEL_PX = 240
"""Shorter side of a panel."""
_GAP, _LINE = 16, 18
_MAX_ASPECT = 6.0
_STEPS = (0, 1, 2, 4, 8, 16, 32)
_COLOURS = (
    (120, 20, 30),
    (38, 38, 64),
    (40, 72, 120),
    (36, 120, 140),
    (60, 168, 120),
    (160, 206, 80),
    (250, 232, 100),
)
"""Of counts from each step to the next; what is not covered at all stands out in red."""
_INK, _PAPER = (30, 30, 30), (250, 250, 248)


@dataclass(frozen=True)
class OctaveCoverage:
    """How often an octave's placed patches cover the field."""

    octave: int
    """Levels from this to the next whole one."""
    count: int
    """Placed patches."""
    mean: float
    """Times the field is covered, on average."""
    bare: float
    """Share of the field that is not covered at all, in [0, 1]."""


def count_map(
    center_xy: np.ndarray,
    level: np.ndarray,
    field_size: tuple[float, float],
    width: int,
    height: int,
) -> np.ndarray:
    """How many patches cover the centre of each cell of the field.

    Args:
        center_xy: Field units. float64 [N, 2].
        level: Octaves. float64 [N].
        field_size: Width and height, field units; the origin is its middle.
        width, height: Cells.

    Returns:
        int64 [height, width].
    """
    half = 2.0**-level / 2
    edges = np.zeros((height + 1, width + 1), np.int64)
    bounds = []
    for axis, cells in ((0, width), (1, height)):
        place = center_xy[:, axis] / field_size[axis] + 0.5
        reach = half / field_size[axis]
        # The centre of cell i lies at (i + 0.5) / cells.
        first = np.ceil((place - reach) * cells - 0.5).clip(0, cells).astype(np.int64)
        last = np.ceil((place + reach) * cells - 0.5).clip(0, cells).astype(np.int64)
        bounds.append((first, last))
    (x0, x1), (y0, y1) = bounds
    for y, x, sign in ((y0, x0, 1), (y0, x1, -1), (y1, x0, -1), (y1, x1, 1)):
        np.add.at(edges, (y, x), sign)
    return edges.cumsum(0).cumsum(1)[:-1, :-1]


def write_coverage(
    path: Path, center_xy: np.ndarray, level: np.ndarray, field_size: tuple[float, float]
) -> list[OctaveCoverage]:
    """Draw the picture, and say the same in numbers.

    Args:
        path: A .png.
        center_xy: Of placed patches, field units. float64 [N, 2].
        level: Octaves. float64 [N], N >= 1.
        field_size: Width and height, field units.

    Raises:
        ValueError: There is no patch.
        OSError: The file cannot be written.
    """
    if len(level) == 0:
        raise ValueError("no patch is placed; there is no coverage to draw.")
    short = min(field_size)
    width, height = (round(_PANEL_PX * min(size / short, _MAX_ASPECT)) for size in field_size)
    octaves = np.floor(level).astype(int)
    numbers = range(int(octaves.min()), int(octaves.max()) + 1)
    columns = max(1, min(len(numbers), math.ceil(math.sqrt(len(numbers) * height / width * 1.6))))
    columns = max(columns, math.ceil(420 / (width + _GAP)))
    rows = math.ceil(len(numbers) / columns)
    size = (
        _GAP + columns * (width + _GAP),
        _GAP + rows * (height + 2 * _LINE + _GAP) + 2 * _LINE + _GAP,
    )
    image = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(13)
    found = []
    for place, octave in enumerate(numbers):
        chosen = octaves == octave
        counts = count_map(center_xy[chosen], level[chosen], field_size, width, height)
        area = field_size[0] * field_size[1]
        here = OctaveCoverage(
            octave,
            int(chosen.sum()),
            float((4.0 ** -level[chosen]).sum() / area),
            float((counts == 0).mean()),
        )
        found.append(here)
        x = _GAP + place % columns * (width + _GAP)
        y = _GAP + place // columns * (height + 2 * _LINE + _GAP)
        draw.text((x, y), f"level {octave} to {octave + 1}: {here.count}", _INK, font)
        words = f"{here.mean:.1f} times, {100 * here.bare:.1f} % bare"
        draw.text((x, y + _LINE), words, _INK, font)
        palette = np.array(_COLOURS, np.uint8)
        colours = palette[np.searchsorted(_STEPS, counts, side="right") - 1]
        image.paste(Image.fromarray(colours), (x, y + 2 * _LINE))
    _draw_legend(draw, font, size[1] - 2 * _LINE - _GAP // 2)
    part = path.with_name(f".{path.name}.part")
    try:
        image.save(part, "PNG")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return found


def _draw_legend(
    draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, y: int
) -> None:
    draw.text((_GAP, y), "patches that cover a place:", _INK, font)
    x = _GAP
    for index, (step, colour) in enumerate(zip(_STEPS, _COLOURS)):
        last = _STEPS[index + 1] - 1 if index + 1 < len(_STEPS) else None
        words = f"{step}+" if last is None else f"{step}" if last == step else f"{step}-{last}"
        draw.rectangle((x, y + _LINE + 3, x + 12, y + _LINE + 15), colour)
        draw.text((x + 17, y + _LINE), words, _INK, font)
        x += 56
