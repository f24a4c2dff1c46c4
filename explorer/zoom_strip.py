"""A whole zoom as one tall picture: the exponential map of the plane around a place.

    column x: angle   a = 2 pi (x + 1/2) / W - pi / 2, so that the strip begins and ends above
    row y:    radius  r = R exp(-2 pi (y + 1/2) / W), from R at the top inwards
    pixel (x, y) shows the field point (cx + r cos a, cy + r sin a)

The map is conformal: what is round is round at every depth, and one octave is W ln 2 / (2 pi) rows,
0.11 W. R is the circle that just fits into the first frame of the zoom, the last row the circle
that fits into its last. Rolled up, the strip is the zoom: scrolling down is coming closer.

Source: the keyframes of zoomasm and Kalles Fraktaler; mathr, "Exponential mapping and OpenMP",
2010. Bands of a quarter of an octave are rendered and resampled one after the other, and kept in
`NAME.png.part` until the PNG is written from them, so memory does not depend on the depth, and a
strip that was killed goes on where it was. No torch and no Qt here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from explorer.band_file import BandFile, OtherBandsError
from explorer.camera import Camera
from explorer.camera_path import CameraPath

_BAND_OCTAVES = 0.25
_OVERSAMPLING = 1.5
_MAX_ROWS = 1_000_000

RenderSquare = Callable[[Camera, int], np.ndarray]
"""Camera and side in pixels to uint8 [side, side, 3]."""


@dataclass(frozen=True)
class StripPlan:
    """What a strip shows."""

    center: Camera
    """Where the zoom ends; its log2_zoom is that of the last row."""
    octaves: float
    """From the first row to the last."""
    width: int
    """Pixels once around."""

    def __post_init__(self) -> None:
        if self.width < 16:
            raise ValueError(f"a strip must be at least 16 pixels wide, got {self.width}.")
        self.rows(self.octaves, self.width)

    @staticmethod
    def rows(octaves: float, width: int) -> int:
        """Rows of a strip.

        Raises:
            ValueError: There is none, or more than anybody wants.
        """
        rows = round(octaves * width * math.log(2) / (2 * math.pi))
        if not 1 <= rows <= _MAX_ROWS:
            raise ValueError(
                f"a strip must have 1 to {_MAX_ROWS} rows, {octaves:g} octaves at width {width} "
                f"give {rows}; the flight must zoom, or the strip be wider."
            )
        return rows

    @property
    def rows_per_octave(self) -> float:
        """Rows in which the radius halves."""
        return self.width * math.log(2) / (2 * math.pi)

    @property
    def height(self) -> int:
        """Rows."""
        return self.rows(self.octaves, self.width)

    @property
    def outer_radius(self) -> float:
        """R, field units: half of what the first frame's shorter side spans."""
        return 0.5 * 2.0 ** (self.octaves - self.center.log2_zoom)

    def radii(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Radius of the middles of `rows`, field units."""
        return self.outer_radius * np.exp(-2 * math.pi * (rows + 0.5) / self.width)


def plan_strip(path: CameraPath, width: int) -> StripPlan:
    """The strip of a path: around its deepest keyframe, from its widest view to that.

    Raises:
        ValueError: The path does not zoom, or the strip would have no rows.
    """
    deepest = max((key.camera for key in path.keyframes), key=lambda c: c.log2_zoom)
    widest = min(key.camera.log2_zoom for key in path.keyframes)
    return StripPlan(deepest, deepest.log2_zoom - widest, width)


def part_path(out: Path) -> Path:
    """The file that keeps the rows of `out` that are done."""
    return out.with_name(f"{out.name}.part")


def strip_bands(
    plan: StripPlan, render: RenderSquare, first_row: int = 0
) -> Iterator[NDArray[np.uint8]]:
    """The strip from `first_row`, where a band begins, band by band: uint8 [rows, W, 3] each."""
    band_rows = max(1, round(_BAND_OCTAVES * plan.rows_per_octave))
    angles = 2 * math.pi * (np.arange(plan.width) + 0.5) / plan.width - math.pi / 2
    for begin in range(first_row, plan.height, band_rows):
        radii = plan.radii(np.arange(begin, min(begin + band_rows, plan.height)))
        # As fine as the innermost row needs it: W pixels once around.
        density = _OVERSAMPLING * plan.width / (2 * math.pi * radii[-1])
        side = 2 * math.ceil(radii[0] * density) + 4
        c = plan.center
        square = render(Camera(c.cx, c.cy, math.log2(density / side)), side)
        x = radii[:, None] * np.cos(angles)[None, :] * density + side / 2 - 0.5
        y = radii[:, None] * np.sin(angles)[None, :] * density + side / 2 - 0.5
        yield _bilinear(square, x, y)


def _bilinear(
    image: np.ndarray, x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """`image` [H, W, 3] at pixel coordinates within it: uint8 [..., 3]."""
    left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    fx, fy = (x - left)[..., None], (y - top)[..., None]
    upper = image[top, left] * (1 - fx) + image[top, left + 1] * fx
    lower = image[top + 1, left] * (1 - fx) + image[top + 1, left + 1] * fx
    return np.clip(np.rint(upper * (1 - fy) + lower * fy), 0, 255).astype(np.uint8)


def record_strip(
    out: Path,
    plan: StripPlan,
    render: RenderSquare,
    progress: Callable[[int], None] | None = None,
    *,
    texts: Mapping[str, str] | None = None,
    resume: bool = False,
) -> None:
    """Write the strip as a PNG, whole or not at all.

    Args:
        out: The picture.
        plan: What it shows.
        render: Renders the square view of a camera.
        progress: Called with the number of rows that are done; what it raises reaches the caller.
        texts: Latin-1 texts that go into the PNG.
        resume: Go on where an earlier strip of the same was broken, if one was, to the same bytes;
            and leave what there is for another try, should this one fail too.

    Raises:
        OtherFilmError: `resume`, and the part that is there is of another strip.
        OSError: The picture cannot be written; nothing is left of it unless `resume`.
    """
    texts = texts or {}
    part, temporary = part_path(out), out.with_name(f".{out.name}.part")
    whole = False
    try:
        with _open_part(part, plan, texts, resume) as done:
            if done.rows and progress is not None:
                progress(done.rows)
            for band in strip_bands(plan, render, done.rows):
                done.append(band)
                if progress is not None:
                    progress(done.rows)
            with temporary.open("wb") as file:
                png = _PngWriter(file, plan.width, plan.height, texts)
                for band in done.bands():
                    png.write(band)
                png.end()
        os.replace(temporary, out)
        whole = True
    finally:
        for left in (temporary,) if resume and not whole else (temporary, part):
            with contextlib.suppress(OSError):
                left.unlink(missing_ok=True)


def _open_part(part: Path, plan: StripPlan, texts: Mapping[str, str], resume: bool) -> BandFile:
    """The rows that are done.

    Raises:
        OtherFilmError: They are of another strip.
    """
    fields = json.dumps([asdict(plan), dict(texts), _BAND_OCTAVES, _OVERSAMPLING], sort_keys=True)
    fingerprint = hashlib.sha256(fields.encode()).hexdigest()
    try:
        return BandFile(part, fingerprint, plan.width, resume)
    except OtherBandsError as error:
        from explorer.recorder import OtherFilmError

        raise OtherFilmError(
            f"{part} is of another strip (another path, size, scene or version); remove it, or "
            "write under another name, or without --resume."
        ) from error


class _PngWriter:
    """A PNG that is written from the top, rows at a time. Source: PNG, third edition, section 5."""

    def __init__(self, file: IO[bytes], width: int, height: int, texts: Mapping[str, str]) -> None:
        self._file = file
        self._compressor = zlib.compressobj(6)
        file.write(b"\x89PNG\r\n\x1a\n")
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        self._chunk(b"sRGB", b"\x00")
        for key, text in texts.items():
            self._chunk(b"tEXt", key.encode("latin-1") + b"\x00" + text.encode("latin-1"))

    def _chunk(self, kind: bytes, data: bytes) -> None:
        self._file.write(struct.pack(">I", len(data)) + kind + data)
        self._file.write(struct.pack(">I", zlib.crc32(kind + data)))

    def write(self, rows: NDArray[np.uint8]) -> None:
        """Rows [N, W, 3]; filter 2, the difference to the row above within the band."""
        flat = rows.reshape(len(rows), -1)
        lines = np.empty((len(rows), flat.shape[1] + 1), np.uint8)
        lines[0, 0], lines[1:, 0] = 0, 2
        lines[0, 1:], lines[1:, 1:] = flat[0], flat[1:] - flat[:-1]
        data = self._compressor.compress(lines.tobytes())
        if data:
            self._chunk(b"IDAT", data)

    def end(self) -> None:
        """The last rows are written."""
        self._chunk(b"IDAT", self._compressor.flush())
        self._chunk(b"IEND", b"")
