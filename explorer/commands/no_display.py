"""The app where no window can be shown: it records a flight and says where the film is."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from explorer.camera_path import CameraPath, flight
from explorer.commands._offline import opened
from explorer.commands.record import record
from explorer.view_state import Camera, View

if TYPE_CHECKING:
    import numpy as np

    from model.space import ScaleSpace

FLIGHT_SECONDS = 12.0
FLIGHT_FPS = 24.0
FLIGHT_PX = 640 * 480
"""Pixels of a frame: two cores render the flight within some two minutes."""
_MIN_SIDE_PX, _MAX_SIDE_PX = 128, 1280
_THUMBNAIL_PX = 192
_ZOOM_PER_LOOK = 2.0  # octaves between two looks for the place
_BORDER = 0.2  # part of a look, on each side, that is no place to fall into


def record_flight(path: Path, device: str, reason: str) -> int:
    """Record the flight from the whole scene to its finest level, into the current folder."""
    out = Path.cwd() / f"{path.stem or 'scene'}-flight.mp4"
    print(
        f"no window can be shown here ({reason}): recording a flight of {FLIGHT_SECONDS:g} s "
        "instead.",
        file=sys.stderr,
    )
    with opened(path, device) as scene:
        size = flight_size(scene.info.field_size)
        flown = descent(scene.space, size)
        record(scene, flown, out, size=size, fps=FLIGHT_FPS, seconds=FLIGHT_SECONDS)
    return 0


def flight_size(field_size: tuple[float, float]) -> tuple[int, int]:
    """Even width and height of about `FLIGHT_PX` pixels in the shape of the field."""
    aspect = field_size[0] / field_size[1]
    width, height = math.sqrt(FLIGHT_PX * aspect), math.sqrt(FLIGHT_PX / aspect)
    even = [2 * round(min(max(v, _MIN_SIDE_PX), _MAX_SIDE_PX) / 2) for v in (width, height)]
    return even[0], even[1]


def descent(space: ScaleSpace, size: tuple[int, int]) -> CameraPath:
    """From the view that just holds the whole field to the finest level at a detailed place."""
    zero = View(Camera(0.0, 0.0, 0.0), size)
    fit = min(side / extent for side, extent in zip(size, space.field_size, strict=True))
    start = Camera(0.0, 0.0, math.log2(fit / zero.density))
    # A scene of few pixels has its finest level outside; fall at least three octaves.
    finest = max(space.level_range[1] - zero.level(space.patch_size), start.log2_zoom + 3.0)
    x, y = detailed_place(space, finest)
    return flight(start, Camera(x, y, finest), FLIGHT_SECONDS, ease="linear")


def detailed_place(space: ScaleSpace, log2_zoom: float) -> tuple[float, float]:
    """A place with much to see at every depth: look, take the richest part, look closer."""
    from model.rendering import render_view

    x, y, zoom = 0.0, 0.0, 0.0
    while True:
        shape = space.field_size if zoom == 0 else (1.0, 1.0)
        size = (round(_THUMBNAIL_PX * shape[0]), round(_THUMBNAIL_PX * shape[1]))
        view = View(Camera(x, y, zoom), (min(size[0], 4096), min(size[1], 4096)))
        image = render_view(space, (x, y), view.level(space.patch_size), view.size)
        x, y = view.to_field(*richest_point(image))
        zoom += _ZOOM_PER_LOOK
        if zoom >= log2_zoom - 1:
            return x, y


def richest_point(image: np.ndarray) -> tuple[float, float]:
    """Where the picture (uint8 [H, W, 3]) changes most around, away from its border; x, y in px."""
    import numpy as np

    grey = image.astype(np.float64).mean(axis=2)
    change = np.abs(np.diff(grey, axis=0, append=grey[-1:]))
    change += np.abs(np.diff(grey, axis=1, append=grey[:, -1:]))
    height, width = change.shape
    reach_y, reach_x = max(1, height // 8), max(1, width // 8)
    sums = np.pad(change.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    boxes = (
        sums[reach_y:, reach_x:]
        - sums[:-reach_y, reach_x:]
        - sums[reach_y:, :-reach_x]
        + sums[:-reach_y, :-reach_x]
    )
    top, left = (int(_BORDER * n) for n in boxes.shape)
    inner = boxes[top : boxes.shape[0] - top, left : boxes.shape[1] - left]
    row, column = np.unravel_index(int(inner.argmax()), inner.shape)
    return float(column + left + reach_x / 2), float(row + top + reach_y / 2)
