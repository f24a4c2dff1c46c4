"""One large picture: an image file of any kind, or a tile pyramid. Opened, never loaded whole."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyvips

from model.data.images import ImageError, first_line, mode_of, sniff, upright_srgb
from model.data.tile_pyramids import Box, find_tile_pyramid

_LARGE_KINDS = ("PNG", "JPEG", "TIFF", "WebP", "HEIF", "GIF")


@dataclass(frozen=True)
class LargeImage:
    """One picture that windows are cut from: an image file, or a tile pyramid."""

    path: Path
    """What `ImagePyramid.open` takes."""
    kind: str
    """'TIFF', 'PNG', 'JPEG'..., 'DZI' or 'Zoomify'."""
    size_wh: tuple[int, int]
    """Width and height of the upright picture, pixels."""
    mode: str
    """As the file has it: 'RGB 8 bit', 'CMYK 8 bit, ICC profile'..."""
    form: str = "large image"
    """As `PatchCollection.form`."""


class Picture(Protocol):
    """A picture of upright 8-bit sRGB that is read once, from top to bottom."""

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height, pixels."""
        ...

    def strips(self, box: Box, shrink: int, num_rows: int) -> Generator[np.ndarray, None, None]:
        """Rows of a part of the picture, from top to bottom, with bounded memory.

        Args:
            box: x0, y0, x1, y1 of the part, pixels inside the picture.
            shrink: Pixels to average into one along each axis; divides the sides of `box`.
            num_rows: Rows in a strip, at most.

        Yields:
            uint8 [rows, W, 3].

        Raises:
            ValueError: The picture is damaged; one line.
        """
        ...


@dataclass(frozen=True)
class VipsPicture:
    """A file that libvips reads."""

    path: Path
    """For messages."""
    image: pyvips.Image
    """Lazy, sequential, three bands of 8 bits."""

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.image.width, self.image.height

    def strips(self, box: Box, shrink: int, num_rows: int) -> Generator[np.ndarray, None, None]:
        """See `Picture.strips`."""
        x0, y0, x1, y1 = box
        try:
            image = self.image.crop(x0, y0, x1 - x0, y1 - y0)
            if shrink > 1:
                image = image.shrink(shrink, shrink)
            region = pyvips.Region.new(image)
            for y in range(0, image.height, num_rows):
                rows = min(num_rows, image.height - y)
                data = np.frombuffer(region.fetch(0, y, image.width, rows), dtype=np.uint8)
                yield data.reshape(rows, image.width, 3)
        except pyvips.Error as error:
            raise ValueError(_unreadable(self.path, error)) from error


def find_large_image(path: Path) -> LargeImage | None:
    """The picture at `path`; None for any folder that is no tile pyramid.

    Raises:
        ValueError: A file that is no picture, or is damaged; one line.
        OSError: It cannot be read.
    """
    tiles = find_tile_pyramid(path)
    if tiles is not None:
        return LargeImage(tiles.path, tiles.kind, tiles.size_wh, f"tiles of {tiles.tile_size} px")
    if path.is_dir():
        return None
    if not path.is_file():
        raise ValueError(f"{path} is no regular file; give an image, a zip or a folder.")
    with path.open("rb") as file:
        kind = sniff(file.read(16))
    if kind not in _LARGE_KINDS:
        raise ValueError(
            f"{path} is no picture, no zip and no folder of patches; give one of them (pictures: "
            "TIFF, PNG, JPEG, WebP, HEIF, DZI, Zoomify)."
        )
    return _large_image(path, kind)


def open_picture(path: Path) -> Picture:
    """The picture at `path`: any image that libvips reads, a .dzi, a Zoomify folder or its XML.

    Raises:
        ValueError: It is no image, or a tile is missing; one line.
        OSError: It cannot be read.
    """
    tiles = find_tile_pyramid(path)
    if tiles is not None:
        return tiles
    try:
        return VipsPicture(path, upright_srgb(lambda access: _load(path, access)))
    except ImageError as error:
        raise ValueError(f"{path} {error}") from error
    except pyvips.Error as error:
        raise ValueError(_unreadable(path, error)) from error


@dataclass(frozen=True)
class PictureState:
    """Which picture lies at a path, and whether it has changed."""

    path: Path
    """The file that stands for it; the description of a tile pyramid."""
    name: str
    """What a person calls it."""
    num_bytes: int
    """Of the file, or of the finest tiles and their description together."""
    mtime_ns: int
    """When it changed last, nanoseconds."""


def picture_state(path: Path) -> PictureState:
    """The state on disk of the picture at `path`, tiles included.

    Raises:
        ValueError: A damaged tile pyramid.
        OSError: It cannot be read.
    """
    tiles = find_tile_pyramid(path)
    if tiles is not None:
        return PictureState(tiles.path, tiles.name, *tiles.state())
    state = path.stat()
    return PictureState(path, path.name, state.st_size, state.st_mtime_ns)


def _load(path: Path, access: str) -> pyvips.Image:
    return pyvips.Image.new_from_file(str(path), access=access, fail_on="truncated")


def _large_image(path: Path, kind: str) -> LargeImage:
    try:
        header = _load(path, "sequential")
    except pyvips.Error as error:
        raise ValueError(_unreadable(path, error)) from error
    mode, bits = mode_of(header)
    mode = f"{mode} {bits} bit"
    if header.get_typeof("icc-profile-data"):
        mode += ", ICC profile"
    size = header.width, header.height
    if header.get_typeof("orientation") and header.get("orientation") >= 5:
        size = size[1], size[0]
    return LargeImage(path, kind, size, mode)


def _unreadable(path: Path, error: pyvips.Error) -> str:
    return (
        f"{path} cannot be read as an image ({first_line(error)}); open a whole TIFF, PNG, JPEG or "
        "another picture that libvips knows."
    )
