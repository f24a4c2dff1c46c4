"""A picture kept the usual way, as JPEG or AVIF tiles in one file, read as a scale space.

The file is an uncompressed zip of tiles and `index.json`; its size counts. A view is read from a
level two octaves finer or more, where there is one, and made smaller: that averages what the codec
added. Above the finest level it is made larger. Both by a bicubic filter.
"""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from PIL import Image, features

from model.scale import Lattice, density
from model.space import Window, check_batch

TILE_PX = 2048
"""Side of a tile; so large that heads of files hardly count."""
_DECODED_BYTES = 1400 << 20
"""Of tiles that stay decoded."""
_INDEX = "index.json"
_FINER = 2.0  # octaves from a view to the level that it is read from, at least, if it can be
_EPSILON = 1e-6  # octaves
_CUBIC = -0.5


@dataclass(frozen=True)
class Stored:
    """One level of an encoded picture."""

    level: float
    """Octaves."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""


@dataclass(frozen=True)
class Index:
    """What `index.json` says."""

    codec: str
    quality: int
    patch_size: int
    """Pixels; fixes what level 0 means."""
    field_size: tuple[float, float]
    levels: tuple[Stored, ...]
    """The finest first, each half as dense as the one before."""

    @staticmethod
    def from_json(text: str) -> Index:
        fields = json.loads(text)
        levels = tuple(Stored(**level) for level in fields.pop("levels"))
        width, height = fields.pop("field_size")
        return Index(**fields, field_size=(width, height), levels=levels)


def missing_codec(codec: str) -> str:
    """Why `codec` cannot be used here, or '' where it can."""
    if codec == "avif" and not features.check("avif"):
        return "this Pillow was built without AVIF; install Pillow 11.3 or newer"
    return ""


def encode(pixels: np.ndarray, codec: str, quality: int, avif_speed: int = 8) -> bytes:
    """One tile, uint8 [H, W, 3], at a quality of 0 to 100; colours at half density (4:2:0)."""
    out = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if codec == "jpeg":
        image.save(out, "JPEG", quality=quality, subsampling=2, optimize=True, progressive=True)
    else:
        image.save(
            out, "AVIF", quality=quality, subsampling="4:2:0", speed=avif_speed, max_threads=1
        )
    return out.getvalue()


class EncodedWriter:
    """Writes the file tile by tile; it appears under its name when `close` was reached.

    Args:
        path: Of the file.
        index: What will be in it.
    """

    def __init__(self, path: Path, index: Index) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._part = path, path.with_name(f".{path.name}.part")
        self._zip = zipfile.ZipFile(self._part, "w", zipfile.ZIP_STORED)
        self._zip.writestr(_INDEX, json.dumps(asdict(index)))

    def put(self, level: int, row: int, column: int, data: bytes) -> None:
        """Add one tile."""
        self._zip.writestr(f"{level}/{row}-{column}", data)

    def __enter__(self) -> EncodedWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._zip.close()
        if kind is None:
            os.replace(self._part, self._path)
        else:
            self._part.unlink(missing_ok=True)


class EncodedPicture:
    """The file as a scale space; see the module.

    Args:
        path: Written by `EncodedWriter`. Use `open`.
        index: What it says of itself.
    """

    def __init__(self, path: Path, index: Index) -> None:
        self.index = index
        self.identity = f"encoded:{path.name}:{path.stat().st_size}"
        self.patch_size, self.field_size = index.patch_size, index.field_size
        self.level_range = (0.0, index.levels[0].level)
        self._zip = zipfile.ZipFile(path)
        self._tiles: OrderedDict[tuple[int, int, int], np.ndarray] = OrderedDict()
        self._held_bytes = 0
        self._smaller: list[np.ndarray] = []  # levels below the coarsest stored one

    @classmethod
    def open(cls, path: Path) -> EncodedPicture:
        """Open the file at `path`.

        Raises:
            OSError: It cannot be read.
        """
        with zipfile.ZipFile(path) as archive:
            index = Index.from_json(archive.read(_INDEX).decode())
        return cls(path, index)

    def close(self) -> None:
        """Let go of the file."""
        self._zip.close()

    def render(self, windows: Sequence[Window]) -> torch.Tensor:
        """See `model.space.ScaleSpace.render`; any level, also beyond the finest."""
        check_batch(windows)
        img = np.stack([self._window(w) for w in windows])
        return torch.from_numpy(img / np.float32(127.5) - np.float32(1)).permute(0, 3, 1, 2)

    def _window(self, window: Window) -> np.ndarray:
        """float32 [H, W, 3] in 0 to 255."""
        number = self._level_for(window.level)
        level = self.index.levels[0].level - number
        stored, wanted = density(level, self.patch_size), density(window.level, self.patch_size)
        step = stored / wanted
        sides = self._sides(number)
        taps = []
        for axis, length in enumerate((window.width, window.height)):
            lattice = Lattice.at(window.origin_xy[axis], wanted)
            first = np.arange(lattice.first, lattice.first + length, dtype=np.float64)
            centers = (first + (lattice.phase + 0.5)) * step + self.field_size[axis] * stored / 2
            taps.append(cubic_taps(centers, step, sides[axis]))
        (x0, across), (y0, down) = taps
        region = self._region(number, x0, y0, across.shape[1], down.shape[1]).astype(np.float32)
        rows = (down @ region.reshape(len(region), -1)).reshape(window.height, -1, 3)
        out = np.matmul(across, rows)
        return np.clip(out, 0, 255, out=out)

    def _level_for(self, level: float) -> int:
        """The coarsest level that is two octaves finer; counted from the finest, 0."""
        finest = self.index.levels[0].level
        coarser = math.floor(finest - level - _FINER + _EPSILON)
        while coarser > 0 and min(self._sides(coarser)) < 2:
            coarser -= 1
        return max(0, coarser)

    def _sides(self, number: int) -> tuple[int, int]:
        """Width and height of a level, pixels."""
        last = len(self.index.levels) - 1
        stored = self.index.levels[min(number, last)]
        shift = max(0, number - last)
        return -(-stored.width >> shift), -(-stored.height >> shift)

    def _region(self, number: int, x0: int, y0: int, width: int, height: int) -> np.ndarray:
        """uint8 [height, width, 3] of a level."""
        last = len(self.index.levels) - 1
        if number > last:
            if not self._smaller:
                self._smaller.append(self._region(last, 0, 0, *self._sides(last)))
            while len(self._smaller) <= number - last:
                self._smaller.append(halved(self._smaller[-1]))
            return self._smaller[number - last][y0 : y0 + height, x0 : x0 + width]
        out = np.empty((height, width, 3), np.uint8)
        for row in range(y0 // TILE_PX, (y0 + height - 1) // TILE_PX + 1):
            for column in range(x0 // TILE_PX, (x0 + width - 1) // TILE_PX + 1):
                tile = self._tile(number, row, column)
                top, left = row * TILE_PX - y0, column * TILE_PX - x0
                part = tile[max(0, -top) : height - top, max(0, -left) : width - left]
                y, x = max(0, top), max(0, left)
                out[y : y + part.shape[0], x : x + part.shape[1]] = part
        return out

    def _tile(self, number: int, row: int, column: int) -> np.ndarray:
        key = (number, row, column)
        if key in self._tiles:
            self._tiles.move_to_end(key)
            return self._tiles[key]
        data = self._zip.read(f"{number}/{row}-{column}")
        with Image.open(io.BytesIO(data)) as image:
            tile = np.asarray(image.convert("RGB"))
        self._tiles[key] = tile
        self._held_bytes += tile.nbytes
        while self._held_bytes > _DECODED_BYTES and len(self._tiles) > 1:
            self._held_bytes -= self._tiles.popitem(last=False)[1].nbytes
        return tile


def cubic_taps(centers: np.ndarray, step: float, length: int) -> tuple[int, np.ndarray]:
    """Weights of a bicubic filter (a = -0.5), stretched where it makes smaller.

    Args:
        centers: Of the output pixels, input pixels. float64 [S].
        step: Input pixels per output pixel.
        length: Input pixels there are; beyond them the edge goes on.

    Returns:
        The first input pixel that counts, and float32 [S, K]: the weights of it and the next ones.

    Source: Keys 1981, "Cubic convolution interpolation for digital image processing".
    """
    width = max(step, 1.0)
    num_taps = math.ceil(4 * width) + 1
    first = np.floor(centers - 2 * width).astype(np.int64)
    index = first[:, None] + np.arange(num_taps)
    t = np.abs(index + 0.5 - centers[:, None]) / width
    a = _CUBIC
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    weights = np.where(t < 1, near, np.where(t < 2, far, 0.0))
    weights /= weights.sum(1, keepdims=True)
    index = index.clip(0, length - 1)
    begin = int(index.min())
    matrix = np.zeros((len(centers), int(index.max()) - begin + 1), np.float32)
    np.add.at(matrix, (np.arange(len(centers))[:, None], index - begin), weights)
    return begin, matrix


def halved(pixels: np.ndarray) -> np.ndarray:
    """Averages of 2 x 2 pixels, the edge going on: uint8 [H, W, 3] to [ceil(H/2), ceil(W/2), 3]."""
    height, width = pixels.shape[:2]
    if height % 2 or width % 2:
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    total = pixels[0::2, 0::2].astype(np.uint16)
    for part in (pixels[0::2, 1::2], pixels[1::2, 0::2], pixels[1::2, 1::2]):
        total += part
    return ((total + 2) >> 2).astype(np.uint8)
