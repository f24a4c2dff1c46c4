"""What an export is: which pixels, rendered how, into which file. Plain values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from model.latent import Seed, seed_to_json
from model.scale import Lattice, density
from model.space import ScaleSpace, Window, window_around

TILE_PX = 256
"""Side of the tiles that are rendered, pixels; fixed, because it is part of what a pixel is."""
FORMATS = {
    ".tif": "tif",
    ".tiff": "tif",
    ".dzi": "dzi",
    ".png": "png",
    ".jpg": "jpg",
    ".jpeg": "jpg",
}
"""Endings, and the four kinds of file that they name."""
DEFAULT_JPEG_QUALITY = 90
DEEPZOOM_OVERLAP = 1
_MAX_JPEG_PX = 65_500  # of libjpeg; the format would hold 35 more
_MAX_SIDE_PX = 10_000_000  # libvips reads and writes no longer side


@dataclass(frozen=True)
class ExportPlan:
    """One export. Equal plans give equal files."""

    out: Path
    """The file; of a DeepZoom, its `.dzi`."""
    identity: str
    """Of the scale space."""
    renderer: str
    """What the pixels were computed with, as far as their last bits depend on it."""
    patch_size: int
    """Pixels of a patch of the scale space."""
    window: Window
    """The whole picture; its origin lies on the lattice that its tiles share."""
    quality: int | None
    """JPEG quality, 1 to 100; None is lossless."""
    tile_px: int = 256
    """Side of the tiles in the file (TIFF, DeepZoom), pixels."""
    box: tuple[float, float, float, float] | None = None
    """What was asked for, field units: left, top, right, bottom; None is the whole field."""
    view_json: str = ""
    """Goes into a PNG as its text `scalespace`; ASCII."""
    xmp: bytes = b""
    """Goes into every other file as its XMP packet."""
    page: str = ""
    """HTML that is written beside a DeepZoom; empty for none."""

    @property
    def kind(self) -> str:
        """'tif', 'dzi', 'png' or 'jpg'."""
        return FORMATS[self.out.suffix.lower()]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.window.width, self.window.height

    @property
    def center_xy(self) -> tuple[float, float]:
        """Centre of the picture, field units."""
        d = density(self.window.level, self.patch_size)
        x, y = self.window.origin_xy
        return x + self.window.width / 2 / d, y + self.window.height / 2 / d

    @property
    def columns(self) -> int:
        """Tiles beside each other."""
        return -(-self.window.width // TILE_PX)

    @property
    def strips(self) -> int:
        """Rows of tiles."""
        return -(-self.window.height // TILE_PX)

    @property
    def raw_bytes(self) -> int:
        """Bytes of all pixels, uncompressed."""
        return 3 * self.window.width * self.window.height

    def strip_rows(self, strip: int) -> int:
        """Pixel rows of a strip; the last may be lower."""
        return min(TILE_PX, self.window.height - strip * TILE_PX)

    def tile_window(self, column: int, strip: int) -> Window:
        """The window of a tile: always whole, so the last ones reach beyond the picture."""
        w, d = self.window, density(self.window.level, self.patch_size)
        x, y = (Lattice.at(v, d) for v in w.origin_xy)
        origin = (
            (x.first + column * TILE_PX + x.phase) / d,
            (y.first + strip * TILE_PX + y.phase) / d,
        )
        return Window(origin, w.level, TILE_PX, TILE_PX, w.seed)

    def manifest(self) -> dict[str, object]:
        """What a work folder must agree with to be continued."""
        w = self.window
        return {
            "scene": self.identity,
            "renderer": self.renderer,
            "level": w.level,
            "origin": list(w.origin_xy),
            "size": [w.width, w.height],
            "seed": seed_to_json(w.seed),
            "quality": self.quality,
            "tile": self.tile_px,
        }

    def outputs(self) -> list[Path]:
        """Everything that the export leaves, the file named `out` last."""
        if self.kind != "dzi":
            return [self.out]
        pages = [self.out.with_suffix(".html")] if self.page else []
        return [self.out.with_name(f"{self.out.stem}_files"), *pages, self.out]


def plan_export(
    space: ScaleSpace,
    out: Path,
    level: float,
    *,
    box: tuple[float, float, float, float] | None = None,
    seed: Seed = 0,
    quality: int | str | None = None,
    tile_px: int = 256,
) -> ExportPlan:
    """Decide what is exported.

    Args:
        space: What is exported.
        out: The file; its ending, one of `FORMATS`, names its kind.
        level: Level of the file's own pixels, octaves.
        box: Left, top, right, bottom of the part to take, field units; None takes the field.
        seed: Names the latent.
        quality: JPEG quality, 1 to 100, 'lossless', or None: lossless for TIFF and PNG, 90 else.
        tile_px: Side of the tiles in a TIFF or DeepZoom, pixels; a multiple of 16, 64 to 4096.

    Raises:
        ValueError: It cannot be; the message says what to do.
    """
    if out.suffix.lower() not in FORMATS:
        raise ValueError(f"an export must end in {' or '.join(FORMATS)}, got {out.name!r}.")
    if not math.isfinite(level) or abs(level) > 60:
        raise ValueError(f"the level of an export must lie in -60 to 60 octaves, got {level}.")
    if tile_px % 16 or not 64 <= tile_px <= 4096:
        raise ValueError(f"tiles must be a multiple of 16 in 64 to 4096 pixels, got {tile_px}.")
    kind = FORMATS[out.suffix.lower()]
    left, top, right, bottom = _check_box(space, box)
    d = density(level, space.patch_size)
    size = (max(1, round((right - left) * d)), max(1, round((bottom - top) * d)))
    _check_size(kind, size)
    around = window_around(
        ((left + right) / 2, (top + bottom) / 2), level, size, space.patch_size, seed
    )
    x, y = (Lattice.at(v, d) for v in around.origin_xy)
    origin = ((x.first + x.phase) / d, (y.first + y.phase) / d)
    return ExportPlan(
        out=out,
        identity=space.identity,
        renderer=_renderer(space),
        patch_size=space.patch_size,
        window=Window(origin, level, size[1], size[0], seed),
        quality=_check_quality(kind, quality),
        tile_px=tile_px,
        box=box,
    )


def _check_box(
    space: ScaleSpace, box: tuple[float, float, float, float] | None
) -> tuple[float, float, float, float]:
    """The box, or the field's bounds; ValueError unless it lies in the field."""
    half_w, half_h = (side / 2 for side in space.field_size)
    if box is None:
        return -half_w, -half_h, half_w, half_h
    left, top, right, bottom = box
    # Written so that NaN fails too; the slack forgives a bound that was typed with few digits.
    inside_x = -half_w - 1e-4 <= left < right <= half_w + 1e-4
    if not (inside_x and -half_h - 1e-4 <= top < bottom <= half_h + 1e-4):
        raise ValueError(
            f"a box must be X0 Y0 X1 Y1 with X0 < X1 and Y0 < Y1 inside the field, {-half_w:g} to "
            f"{half_w:g} by {-half_h:g} to {half_h:g}, got {left:g} {top:g} {right:g} {bottom:g}."
        )
    return left, top, right, bottom


def _check_size(kind: str, size: tuple[int, int]) -> None:
    """Raise ValueError where no file of this kind can hold the picture."""
    longest = max(size)
    if kind == "jpg" and longest > _MAX_JPEG_PX:
        less = math.ceil(100 * math.log2(longest / _MAX_JPEG_PX)) / 100
        raise ValueError(
            f"a JPEG holds at most {_MAX_JPEG_PX} pixels a side, this export has {size[0]} x "
            f"{size[1]}; write .dzi or .tif, or lower the level by {less:g} or more."
        )
    if longest > _MAX_SIDE_PX:
        raise ValueError(
            f"an export holds at most {_MAX_SIDE_PX} pixels a side, this one has {size[0]} x "
            f"{size[1]}; lower the level, or export boxes."
        )


def _check_quality(kind: str, quality: int | str | None) -> int | None:
    """The JPEG quality of the file; None is lossless."""
    if quality is None:
        return DEFAULT_JPEG_QUALITY if kind in ("dzi", "jpg") else None
    if quality == "lossless":
        if kind == "jpg":
            raise ValueError("a JPEG is never lossless; give a quality of 1 to 100, or write .png.")
        return None
    if not isinstance(quality, int) or not 1 <= quality <= 100:
        raise ValueError(f"quality must be 1 to 100 or 'lossless', got {quality!r}.")
    if kind == "png":
        raise ValueError("a PNG is always lossless; leave the quality out, or write .jpg or .tif.")
    return quality


def _renderer(space: ScaleSpace) -> str:
    """Precision and kind of device of a generator; 'exact' for what has none."""
    dtype, device = getattr(space, "dtype", None), getattr(space, "device", None)
    if dtype is None or device is None:
        return "exact"
    return f"{str(dtype).removeprefix('torch.')} on {device.type}"
