"""One pass over the files of a collection: decode each once, keep what the doctor needs of it."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from model.data.doctor_spectrum import NUM_BANDS, band_powers, luma
from model.data.images import ImageError, ImageInfo
from model.data.patches import LEAST_PHOTOGRAPH_PX, MAX_THREADS, PatchCollection
from model.presets import PRESETS
from model.pyramid_build import Progress

CHUNK = 64
"""Patches that a thread takes at a time."""
_CHUNK_PX = 1 << 22
"""Pixels that a thread measures at once: each takes some forty bytes on the way."""
MAX_PATCH_SIZE = 1024
"""Larger patches are measured as if they had so many pixels a side."""
THUMB_PX = 16
_HASH_PX, _HASH_COEFFICIENTS = 32, 8
_SAMPLE = 48
"""Patches that decide what size the others should have."""
DEFAULT_PATCH_SIZE = 64
_CLIPPED = (1, 254)
"""Grey levels up to and from which a pixel is black or white."""


@dataclass
class Scan:
    """What was found in each of N patches; rows of unread ones hold nothing."""

    patch_size: int
    """Pixels that all were brought to."""
    photographs: bool
    """Whether sizes may differ: no image has a level, so that all are taken for photographs."""
    least: int
    """Pixels of the shorter side below which training leaves an image out."""
    checked: np.ndarray
    """Whether decoding was tried. bool [N]."""
    read: np.ndarray
    """Whether it gave pixels. bool [N]."""
    sizes: np.ndarray
    """Width and height as stored, pixels. int32 [N, 2]."""
    digests: np.ndarray
    """Of the size and all pixels: equal for equal pixels, however they are coded. uint64 [N]."""
    hashes: np.ndarray
    """Signs of the lowest cosine coefficients: close for pictures that look alike. uint64 [N]."""
    spread: np.ndarray
    """Standard deviation of brightness, grey levels. float32 [N]."""
    clipped: np.ndarray
    """Share of pixels that are black or white in all colours. float32 [N]."""
    bands: np.ndarray
    """Of `doctor_spectrum.band_powers`; 0 where the size is not the set's. float32 [N, B]."""
    thumbs: np.ndarray
    """Brightness, averaged to 16 x 16. uint8 [N, 16, 16]."""
    failures: dict[int, str] = field(default_factory=dict)
    """Why a patch gave no pixels."""
    infos: dict[int, ImageInfo] = field(default_factory=dict)
    """Of patches that are anything but plain 8-bit RGB or grey."""
    modes: Counter[str] = field(default_factory=Counter)
    """'PNG RGB 8 bit' and how many there are."""

    @property
    def fits(self) -> np.ndarray:
        """Read, square and large enough; of photographs: read and large enough. bool [N]."""
        large = self.read & (self.sizes.min(1) >= self.patch_size)
        if self.photographs:
            return np.asarray(large)
        return np.asarray(large & (self.sizes[:, 0] == self.sizes[:, 1]))


def scan(
    collection: PatchCollection,
    indices: Sequence[int],
    patch_size: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    on_part: Callable[[Scan], None] | None = None,
) -> Scan:
    """Decode the patches `indices` once, in threads, and keep a few numbers of each.

    Args:
        collection: Of N patches.
        indices: Which are decoded.
        patch_size: Pixels that training will have; None takes the most frequent size.
        threads: None takes one a core, at most 8.
        progress: Called with the finished share; whatever it raises cancels.
        on_part: Called with the scan so far, soon after it began and after every tenth.
    """
    size, photographs = _expected_size(collection, indices)
    least = patch_size or min(preset.generator.patch_size for preset in PRESETS.values())
    if photographs:
        least = max(patch_size or 0, LEAST_PHOTOGRAPH_PX)
    found = _empty(len(collection), patch_size or size, photographs, least)
    if threads is None:
        threads = min(MAX_THREADS, os.cpu_count() or 1)
    order = np.asarray(indices, np.int64)
    count = max(1, min(CHUNK, _CHUNK_PX // found.patch_size**2))
    chunks = [order[i : i + count] for i in range(0, len(order), count)]
    waiting: deque[Future[_Part]] = deque()
    taken, next_part = 0, 0.02
    with ThreadPoolExecutor(threads, "doctor") as pool:
        try:
            while taken < len(chunks):
                while len(waiting) <= 2 * threads and taken + len(waiting) < len(chunks):
                    chunk = chunks[taken + len(waiting)]
                    waiting.append(pool.submit(_scan_chunk, collection, chunk, found))
                part = waiting.popleft().result()
                found.failures |= part.failures
                found.infos |= part.infos
                found.modes += part.modes
                # Masks change in this thread only: numpy counts them before it takes rows.
                found.checked[chunks[taken]] = True
                found.read[part.rows] = True
                taken += 1
                share = taken / len(chunks)
                if progress is not None:
                    progress(share)
                if on_part is not None and share >= next_part and share < 1:
                    next_part = math.floor(10 * share + 1) / 10
                    on_part(found)
        finally:
            for future in waiting:
                future.cancel()
    return found


@dataclass
class _Part:
    """What one chunk found, besides the rows of the arrays that it filled."""

    rows: list[int] = field(default_factory=list)
    failures: dict[int, str] = field(default_factory=dict)
    infos: dict[int, ImageInfo] = field(default_factory=dict)
    modes: Counter[str] = field(default_factory=Counter)


def _empty(count: int, patch_size: int, photographs: bool, least: int) -> Scan:
    return Scan(
        patch_size,
        photographs,
        least,
        checked=np.zeros(count, bool),
        read=np.zeros(count, bool),
        sizes=np.zeros((count, 2), np.int32),
        digests=np.zeros(count, np.uint64),
        hashes=np.zeros(count, np.uint64),
        spread=np.zeros(count, np.float32),
        clipped=np.zeros(count, np.float32),
        bands=np.zeros((count, NUM_BANDS), np.float32),
        thumbs=np.zeros((count, THUMB_PX, THUMB_PX), np.uint8),
    )


def _expected_size(collection: PatchCollection, indices: Sequence[int]) -> tuple[int, bool]:
    """The most frequent side of a sample, and whether these are photographs of any size."""
    if all(patch.level is None for patch in collection.patches):
        return DEFAULT_PATCH_SIZE, True
    step = max(1, len(indices) // _SAMPLE)
    sizes: Counter[tuple[int, int]] = Counter()
    for index in list(indices)[::step][:_SAMPLE]:
        try:
            height, width = collection.image(index).shape[:2]
        except (ImageError, MemoryError):
            continue
        sizes[width, height] += 1
    square = {s: n for s, n in sizes.items() if s[0] == s[1]}
    if not square:
        return DEFAULT_PATCH_SIZE, False
    return min(max(square, key=lambda s: (square[s], -s[0]))[0], MAX_PATCH_SIZE), False


def _scan_chunk(collection: PatchCollection, chunk: np.ndarray, out: Scan) -> _Part:
    """Fill the rows `chunk` of `out`."""
    part = _Part()
    size = out.patch_size
    pixels = np.empty((len(chunk), size, size, 3), np.uint8)
    rows: list[int] = []
    for index in chunk.tolist():
        try:
            image, info = collection.decoded(index)
        except ImageError as error:
            part.failures[index] = str(error)
            continue
        except MemoryError:
            part.failures[index] = "does not fit into memory; exclude it or make it smaller."
            continue
        part.modes[f"{info.kind} {info.mode} {info.bits} bit"] += 1
        if not _is_plain(info):
            part.infos[index] = info
        height, width = image.shape[:2]
        out.sizes[index] = width, height
        out.digests[index] = _digest(image)
        pixels[len(rows)] = image if (width, height) == (size, size) else fitted(image, size)
        rows.append(index)
    if rows:
        _measure(pixels[: len(rows)], rows, out)
        part.rows = rows
    return part


def _is_plain(info: ImageInfo) -> bool:
    plain = info.mode in ("RGB", "grey", "palette") and info.bits == 8
    return plain and info.frames == 1 and not info.turned


def _digest(image: np.ndarray) -> int:
    head = f"{image.shape[0]} {image.shape[1]} ".encode()
    digest = hashlib.blake2b(head, digest_size=8)
    digest.update(np.ascontiguousarray(image).data)
    return int.from_bytes(digest.digest(), "little")


def fitted(image: np.ndarray, size: int) -> np.ndarray:
    """`image` averaged to a square, whatever its shape."""
    shrunk = Image.fromarray(image).resize((size, size), Image.Resampling.BOX)
    return np.asarray(shrunk)


def _measure(pixels: np.ndarray, rows: list[int], out: Scan) -> None:
    """Numbers of a batch, uint8 [n, P, P, 3]."""
    size = out.patch_size
    grey = luma(pixels)
    out.spread[rows] = grey.std((1, 2))
    low, high = pixels.min(3), pixels.max(3)
    out.clipped[rows] = ((high <= _CLIPPED[0]) | (low >= _CLIPPED[1])).mean((1, 2))
    average = area_weights(THUMB_PX, size)
    out.thumbs[rows] = np.round(average @ grey @ average.T).astype(np.uint8)
    out.hashes[rows] = _hashes(grey)
    fit = np.isin(rows, np.flatnonzero(_square(out.sizes, size)))
    if fit.any() and not out.photographs:
        out.bands[np.asarray(rows)[fit]] = band_powers(grey[fit])


def _square(sizes: np.ndarray, size: int) -> np.ndarray:
    return np.asarray((sizes[:, 0] == sizes[:, 1]) & (sizes[:, 0] >= size))


def _hashes(grey: np.ndarray) -> np.ndarray:
    """64 signs of low cosine coefficients against their median, uint64 [N] of [N, P, P]."""
    n = _HASH_COEFFICIENTS
    angles = np.pi / _HASH_PX * np.arange(1, n + 1)[:, None] * (np.arange(_HASH_PX) + 0.5)
    basis = np.cos(angles).astype(np.float32) @ area_weights(_HASH_PX, grey.shape[1])
    coefficients = (basis @ grey @ basis.T).reshape(len(grey), n * n)
    bits = coefficients > np.median(coefficients, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def area_weights(outputs: int, inputs: int) -> np.ndarray:
    """Averages of equal parts of a row: float32 [outputs, inputs], rows sum to 1."""
    edges = np.linspace(0, inputs, outputs + 1)
    cells = np.arange(inputs)
    overlap = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    weights = np.clip(overlap, 0, None)
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)
