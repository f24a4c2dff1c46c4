"""What a file remembers of its scene: a coded picture of moderate density, read at any scale.

The network is the enhancement layer: it gets the picture octave by octave, low-passed to the
density of each of its stages, and adds what the picture does not hold. In as many bytes a picture
codec holds an octave more than trained features (`docs/experiments.md`); it needs no training, and
is the same for the network that trains and for its average.

Source: base and enhancement layers as in scalable coding (Schwarz et al. 2007); a coded picture
under a GAN as in Agustsson et al. 2019. Differs: read at continuous scale and offset.
"""

from __future__ import annotations

import functools
import io
import json
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from PIL import Image, features
from torch import nn

from kernels.resample import resample
from model.placement.workers import Workers
from model.scale import level_of_density
from model.space import ScaleSpace, Window, to_uint8

TILE = 1024
"""Pixels a side of what is coded at once."""
_HALVINGS = 6
_ALIGNED = 2**_HALVINGS  # pixels: halving leaves whole ones
_BEST, _LEAST = 88, 10  # qualities of the codec
_QUICK, _THOROUGH = 9, 8
"""Speeds of the codec: where bytes are plenty, and where they are not."""
_SAMPLE = 12  # tiles that tell how many bytes a quality takes
_FORMATS = ("AVIF", "WEBP")
_MAX_PIXELS = 1 << 29
_HEAD_BYTES = 8
_THREADS = 4


class BaseLayer(nn.Module):
    """A picture of the whole field and its halvings; grey until it is filled.

    Pixel i of the picture lies at (i + 0.5) / `density` field units from the field's low edge.
    Copies share the pixels: nothing changes them.
    """

    def __init__(self, field_size: tuple[float, float]) -> None:
        super().__init__()
        self.field_size, self.density = field_size, 1.0
        self._coded = torch.empty(0, dtype=torch.uint8)
        self._set_mips([torch.full((1, 1, 3), 128, dtype=torch.uint8)])

    @classmethod
    def of(
        cls,
        source: ScaleSpace,
        pixels_per_unit: float,
        max_bytes: int,
        progress: Callable[[float], object] = lambda fraction: None,
    ) -> Self:
        """Code what `source` shows.

        Args:
            source: The truth. Rendered from several threads at once.
            pixels_per_unit: Density of the picture.
            max_bytes: What it takes at most, as far as the codec's least quality can.
            progress: Called with the finished share, between any two tiles; may wait, and whatever
                it raises cancels.
        """
        base = cls(source.field_size)
        width, height = (_aligned(s * pixels_per_unit) for s in source.field_size)
        places = [(x, y) for y in range(0, height, TILE) for x in range(0, width, TILE)]
        level = level_of_density(pixels_per_unit, source.patch_size)
        left, top = (-s / 2 for s in source.field_size)
        done = 0.0

        def render(place: tuple[int, int]) -> np.ndarray:
            x, y = place
            window = Window(
                (left + x / pixels_per_unit, top + y / pixels_per_unit),
                level,
                min(TILE, height - y),
                min(TILE, width - x),
            )
            return to_uint8(source.render([window]))[0].numpy()

        def code_all(quality: int, speed: int) -> list[bytes]:
            nonlocal done
            files: list[bytes] = []
            for file in workers.map(lambda p: _encode(render(p), quality, speed), places):
                files.append(file)
                done = len(files) / len(places)
            return files

        with Workers(lambda: _ignore(progress(done))) as workers:
            few = list(workers.map(render, places[:: -(-len(places) // _SAMPLE)]))
            quality, speed = _choose(few, max_bytes * len(few) / len(places), workers)
            files = code_all(quality, speed)
            while sum(map(len, files)) > max_bytes and quality > _LEAST:
                over = sum(map(len, files)) / max_bytes - 1
                quality = max(_LEAST, quality - max(1, round(30 * over)))
                files = code_all(quality, speed)
        base._load(files, (width, height), pixels_per_unit)
        progress(1.0)
        return base

    def read(self, xs: torch.Tensor, ys: torch.Tensor, pixels_per_unit: float) -> torch.Tensor:
        """The picture on a lattice, low-passed to it; its nearest edge goes on outside the field.

        Args:
            xs: Column coordinates, float64 [N, W] on the CPU, field units, evenly spaced.
            ys: Row coordinates, float64 [N, H].
            pixels_per_unit: Density of the lattice.

        Returns:
            float32 [N, 3, H, W] in [-1, 1].
        """
        # Halvings are averages over whole pixels, as the truth is. From one of the lattice's own
        # density, but beside it, the truth can only be guessed: half an octave more it must have.
        number = math.floor(math.log2(self.density / pixels_per_unit) - 0.5)
        number = min(max(number, 0), self._num_mips - 1)
        pixels = getattr(self, f"mip{number}")
        density = self.density / 2**number
        step = density / pixels_per_unit
        origins = [
            (nodes[:, 0] + side / 2) * density - step / 2
            for nodes, side in zip((xs, ys), self.field_size, strict=True)
        ]
        read = resample(
            pixels.permute(2, 0, 1).expand(len(xs), -1, -1, -1),
            torch.stack(origins, 1),
            torch.full((len(xs),), step, dtype=torch.float64),
            (ys.shape[1], xs.shape[1]),
            filter="mixed",
        )
        return read.mul_(1 / 127.5).sub_(1)

    def get_extra_state(self) -> torch.Tensor:
        """The coded picture, uint8; part of `state_dict`."""
        return self._coded.clone()  # safetensors refuses what two networks share

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Decode what `get_extra_state` gave.

        Raises:
            ValueError: It is damaged; one line.
        """
        if not isinstance(state, torch.Tensor) or state.dtype != torch.uint8 or state.ndim != 1:
            raise ValueError("the coded picture must be bytes")
        if torch.equal(state, self._coded):
            return
        data = state.cpu().numpy().tobytes()
        try:
            end = _HEAD_BYTES + int.from_bytes(data[:_HEAD_BYTES], "little")
            head = json.loads(data[_HEAD_BYTES:end])
            density, (width, height) = float(head["density"]), map(int, head["size"])
            sizes = [int(s) for s in head["bytes"]]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"the coded picture has no readable head ({error})") from error
        tiles = -(-width // TILE) * -(-height // TILE)
        if not (0 < width * height <= _MAX_PIXELS and density > 0 and len(sizes) == tiles):
            raise ValueError(f"a coded picture of {width} x {height} pixels cannot be read")
        files = []
        for size in sizes:
            files.append(data[end : end + size])
            end += size
        self._load(files, (width, height), density)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Itself: a copy of a network that trains, or of its average, shows the same picture."""
        return self

    def _load(self, files: Sequence[bytes], size: tuple[int, int], density: float) -> None:
        """Take over a coded picture of `size` (width, height)."""
        width, height = size
        places = [(x, y) for y in range(0, height, TILE) for x in range(0, width, TILE)]
        mips = [
            torch.empty(height // 2**k, width // 2**k, 3, dtype=torch.uint8)
            for k in range(_HALVINGS + 1)
        ]

        def decode(file: bytes, place: tuple[int, int]) -> None:
            x, y = place
            tile = _decode(file, (min(TILE, width - x), min(TILE, height - y)))
            for k, mip in enumerate(mips):
                if k:
                    tile = tile.reduce(2)
                pixels = torch.from_numpy(np.array(tile))
                mip[y >> k :, x >> k :][: tile.height, : tile.width] = pixels

        with ThreadPoolExecutor(_THREADS, "base layer") as pool:
            list(pool.map(decode, files, places))
        head = json.dumps({"density": density, "size": size, "bytes": [len(f) for f in files]})
        coded = len(head).to_bytes(_HEAD_BYTES, "little") + head.encode() + b"".join(files)
        device = self.mip0.device
        self._coded = torch.frombuffer(bytearray(coded), dtype=torch.uint8)
        self.density = density
        self._set_mips([mip.to(device) for mip in mips])

    def _set_mips(self, mips: Sequence[torch.Tensor]) -> None:
        """Take over the picture, uint8 [H, W, 3], and its halvings."""
        self._num_mips = len(mips)
        for number, mip in enumerate(mips):
            self.register_buffer(f"mip{number}", mip, persistent=False)


def _aligned(pixels: float) -> int:
    return max(1, math.ceil((pixels - 1e-6) / _ALIGNED)) * _ALIGNED


def _choose(few: Sequence[np.ndarray], max_bytes: float, workers: Workers) -> tuple[int, int]:
    """Quality and speed of the codec at which `few` tiles take at most `max_bytes`."""

    @functools.cache
    def size(quality: int, speed: int = _QUICK) -> int:
        return sum(map(len, workers.map(partial(_encode, quality=quality, speed=speed), few)))

    def best(max_bytes: float) -> int:
        low, high = _LEAST, _BEST
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if size(middle) <= max_bytes else (low, middle)
        return low

    if size(_BEST) <= max_bytes:
        return _BEST, _QUICK
    quality = best(max_bytes)
    # The search is quick; what the thorough codec saves goes into quality.
    return best(max_bytes * size(quality) / size(quality, _THOROUGH)), _THOROUGH


def _encode(pixels: np.ndarray, quality: int, speed: int) -> bytes:
    """A tile, uint8 [H, W, 3], as AVIF, or as WebP where this Pillow has no AVIF."""
    data = io.BytesIO()
    image = Image.fromarray(pixels)
    if features.check("avif"):
        # One thread: bytes must not depend on the machine, and tiles are coded side by side.
        image.save(data, "AVIF", quality=quality, speed=speed, subsampling="4:4:4", max_threads=1)
    else:
        image.save(data, "WEBP", quality=quality)
    return data.getvalue()


def _decode(file: bytes, size: tuple[int, int]) -> Image.Image:
    """A tile of `size`, which is checked before it is decoded."""
    try:
        with Image.open(io.BytesIO(file), formats=_FORMATS) as opened:
            if opened.size != size:
                raise ValueError(f"a tile must have {size} pixels, has {opened.size}")
            return opened.convert("RGB")
    except OSError as error:
        raise ValueError(f"a tile of the coded picture is damaged ({error})") from error


def _ignore(result: object) -> None:
    """For a callback whose result does not matter."""
