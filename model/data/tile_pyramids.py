"""Zoomify and DZI tile pyramids on disk, as one image: read row of tiles by row of tiles.

Only the finest level is read; the coarser ones are made anew. Memory holds two rows of tiles,
whatever the size of the picture.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyvips

from model.data.images import ImageError, decode_image
from model.data.labels import TEXT_SUFFIXES, is_hidden

ZOOMIFY_XML = "ImageProperties.xml"
_MAX_XML_BYTES = 1 << 16
_MAX_TILE_PX = 8192
_MAX_SIDE_PX = 10_000_000
_TILE = re.compile(r"(?:(\d+)-)?(\d+)[-_](\d+)\.(\w+)")
_THREADS = 4
_PAGE_SUFFIXES = {".htm", ".js", ".css"}
"""Besides texts: of what viewers put beside a pyramid."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class TilePyramid:
    """The finest level of a tile pyramid: every tile is there, none is decoded yet."""

    path: Path
    """The file that stands for it: `picture.dzi` or `ImageProperties.xml`."""
    kind: str
    """'DZI' or 'Zoomify'."""
    name: str
    """What a person calls it: the .dzi file, or the Zoomify folder."""
    size_wh: tuple[int, int]
    """Width and height of the picture, pixels."""
    tile_size: int
    """Pixels of picture per tile and axis, without overlap."""
    overlap: int
    """Pixels that a tile repeats of each neighbour."""
    tiles: tuple[tuple[Path, ...], ...]
    """Files by row, then column."""

    def state(self) -> tuple[int, int]:
        """Bytes of all tiles and when the youngest changed (ns): unlike after any change."""
        states = [tile.stat() for row in self.tiles for tile in row]
        states.append(self.path.stat())
        return sum(s.st_size for s in states), max(s.st_mtime_ns for s in states)

    def strips(self, box: Box, shrink: int, num_rows: int) -> Generator[np.ndarray, None, None]:
        """Rows of a part of the picture, from top to bottom; see `model.data.large.Picture`."""
        x0, y0, x1, y1 = box
        kept = np.empty((0, x1 - x0, 3), np.uint8)
        first, last = y0 // self.tile_size, (y1 - 1) // self.tile_size
        for index, rows in enumerate(self._rows(first, last), first):
            top = index * self.tile_size
            rows = rows[max(0, y0 - top) : y1 - top, x0:x1]
            if shrink > 1:
                rows = np.concatenate([kept, rows])
                rows, kept = np.split(rows, [len(rows) // shrink * shrink])
                if not len(rows):
                    continue
                rows = pyvips.Image.new_from_array(rows).shrink(shrink, shrink).numpy()
            for begin in range(0, len(rows), num_rows):
                yield rows[begin : begin + num_rows]

    def _rows(self, first: int, last: int) -> Generator[np.ndarray, None, None]:
        """The picture under rows of tiles, uint8 [H, W, 3]; the next is decoded meanwhile.

        Raises:
            ValueError: A tile is damaged or has another size than the pyramid says.
        """
        with ThreadPoolExecutor(_THREADS, "tiles") as pool:
            ahead = self._start_row(first, pool)
            for index in range(first, last + 1):
                rows, jobs = ahead
                if index < last:
                    ahead = self._start_row(index + 1, pool)
                for _ in jobs:
                    pass
                yield rows

    def _start_row(self, index: int, pool: ThreadPoolExecutor) -> tuple[np.ndarray, Iterator[None]]:
        """Pixels that are being filled, and what must be waited for."""
        width, height = self.size_wh
        top = index * self.tile_size
        rows = np.empty((min(self.tile_size, height - top), width, 3), np.uint8)

        def fill(column: int) -> None:
            left = column * self.tile_size
            self._fill(rows[:, left : left + self.tile_size], index, column)

        return rows, pool.map(fill, range(len(self.tiles[index])))

    def _fill(self, out: np.ndarray, row: int, column: int) -> None:
        """Decode one tile into `out`, less what it repeats of its neighbours."""
        path = self.tiles[row][column]
        try:
            pixels = decode_image(path)
        except (ImageError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ValueError(f"tile {path} {reason}") from error
        y, x = (self.overlap if row else 0), (self.overlap if column else 0)
        part = pixels[y : y + out.shape[0], x : x + out.shape[1]]
        if part.shape != out.shape:
            raise ValueError(
                f"tile {path} has {pixels.shape[1]} x {pixels.shape[0]} px, at least "
                f"{x + out.shape[1]} x {y + out.shape[0]} are needed; make the pyramid again."
            )
        out[:] = part


def is_tile_pyramid(path: Path) -> bool:
    """Whether `path` is a DZI file, its folder of tiles, or a Zoomify folder or its XML."""
    return _description(path) is not None


def find_tile_pyramid(path: Path) -> TilePyramid | None:
    """The tile pyramid that `path` stands for, None where it is something else.

    Args:
        path: A .dzi file, its `_files` folder, a Zoomify folder, its ImageProperties.xml, or a
            folder with one .dzi in it, its tiles, and no more than texts and pages beside them.

    Raises:
        ValueError: The description is damaged or a tile is missing; one line.
        OSError: The description or a folder cannot be read.
    """
    file = _description(path)
    if file is None:
        return None
    return _zoomify(file) if file.name == ZOOMIFY_XML else _dzi(file)


def _description(path: Path) -> Path | None:
    if path.is_file():
        return path if path.suffix.lower() == ".dzi" or path.name == ZOOMIFY_XML else None
    if not path.is_dir():
        return None
    if (path / ZOOMIFY_XML).is_file():
        return path / ZOOMIFY_XML
    if path.name.endswith("_files"):
        sibling = path.with_name(path.name.removesuffix("_files") + ".dzi")
        return sibling if sibling.is_file() else None
    found = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                suffix = Path(entry.name).suffix.lower()
                if suffix == ".dzi":
                    found.append(entry.name)
                elif not (
                    entry.name.endswith("_files")
                    or is_hidden(entry.name)
                    or suffix in TEXT_SUFFIXES | _PAGE_SUFFIXES
                ):
                    return None
    except OSError:  # whoever lists it next says so
        return None
    return path / found[0] if len(found) == 1 else None


def _zoomify(file: Path) -> TilePyramid:
    root = _xml(file)
    width, height = _whole(file, root, "WIDTH"), _whole(file, root, "HEIGHT")
    tile_size = _whole(file, root, "TILESIZE")
    found: dict[int, dict[tuple[int, int], Path]] = {}
    for group in sorted(file.parent.glob("TileGroup*")):
        for name in os.listdir(group):
            match = _TILE.fullmatch(name)
            if match and match[1]:
                level = found.setdefault(int(match[1]), {})
                level[int(match[3]), int(match[2])] = group / name
    tiles = found[max(found)] if found else {}
    return _checked(file, "Zoomify", file.parent.name, (width, height), tile_size, 0, tiles)


def _dzi(file: Path) -> TilePyramid:
    root = _xml(file)
    size = next((child for child in root if child.tag.rpartition("}")[2] == "Size"), root)
    width, height = _whole(file, size, "Width"), _whole(file, size, "Height")
    tile_size = _whole(file, root, "TileSize")
    overlap = _whole(file, root, "Overlap", 0)
    folder = file.with_name(file.stem + "_files")
    levels = [int(d.name) for d in folder.glob("*") if d.name.isdecimal()]
    tiles: dict[tuple[int, int], Path] = {}
    if levels:
        finest = folder / str(max(levels))
        wanted = root.get("Format", "").lower()
        for name in os.listdir(finest):
            match = _TILE.fullmatch(name)
            if match and not match[1] and match[4].lower() in (wanted, _SAME.get(wanted)):
                tiles[int(match[3]), int(match[2])] = finest / name
    return _checked(file, "DZI", file.name, (width, height), tile_size, overlap, tiles)


_SAME = {"jpg": "jpeg", "jpeg": "jpg"}


def _checked(
    file: Path,
    kind: str,
    name: str,
    size_wh: tuple[int, int],
    tile_size: int,
    overlap: int,
    tiles: dict[tuple[int, int], Path],
) -> TilePyramid:
    """The pyramid, once it is sure that no tile is missing."""
    if tile_size > _MAX_TILE_PX or max(size_wh) > _MAX_SIDE_PX or overlap > tile_size:
        raise ValueError(
            f"{file} says {size_wh[0]} x {size_wh[1]} px in tiles of {tile_size} px with overlap "
            f"{overlap}; at most {_MAX_SIDE_PX} px a side and {_MAX_TILE_PX} a tile can be read."
        )
    columns, rows = (-(-length // tile_size) for length in size_wh)
    if len(tiles) < columns * rows or max(tiles) != (rows - 1, columns - 1):
        places = ((row, column) for row in range(rows) for column in range(columns))
        missing = [place for place in places if place not in tiles]
        if missing:
            row, column = missing[0]
            raise ValueError(
                f"{file} needs {columns} x {rows} tiles of its finest level and {len(missing)} are "
                f"missing (first: row {row}, column {column}); copy the tiles again."
            )
    grid = tuple(tuple(tiles[row, column] for column in range(columns)) for row in range(rows))
    return TilePyramid(file, kind, name, size_wh, tile_size, overlap, grid)


def _xml(file: Path) -> ElementTree.Element:
    """The root of a small XML file."""
    with file.open("rb") as stream:
        data = stream.read(_MAX_XML_BYTES + 1)
    if len(data) > _MAX_XML_BYTES or b"<!ENTITY" in data:
        raise ValueError(f"{file} is no description of a tile pyramid; write it again.")
    try:
        return ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ValueError(f"{file} is damaged ({error}); write the pyramid again.") from error


def _whole(file: Path, element: ElementTree.Element, name: str, least: int = 1) -> int:
    """A whole number of at least `least` in an attribute."""
    text = element.get(name) or ""
    if not re.fullmatch(r"\d{1,9}", text) or int(text) < least:
        raise ValueError(
            f"{file} must say {name} as a whole number of {least} or more, got {text!r}; write the "
            "pyramid again."
        )
    return int(text)
