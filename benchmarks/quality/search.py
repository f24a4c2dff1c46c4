"""The best JPEG or AVIF pyramid, and the best thumbnail, that fit into so many bytes.

A pyramid's levels are whole octaves below its top; one quality holds for all of them. For each top
the best quality that fits is found on a sample and settled by encoding all of it. The candidates
are then compared by what they show.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.quality.encoded import (
    TILE_PX,
    EncodedPicture,
    EncodedWriter,
    Index,
    Stored,
    encode,
    halved,
)
from benchmarks.quality.settings import Settings, Truth
from model.scale import density, whole_levels

if TYPE_CHECKING:
    from model.space import ScaleSpace

BITS = (0.12, 4.0)
"""Bits per pixel of the whole pyramid between which a top level is worth trying."""
THUMBNAIL_QUALITY = 90
_SAMPLE_PX = 1024
_SAMPLES = 6
"""Squares of each level on which a quality is tried."""
_STRIP_PX = 512
_TRIES = 4
_FULL = 0.975  # of the budget: one more step of quality would not fit
_CAUTION = 0.985  # of the budget, for the first try: a sample is not the whole

Tick = Callable[[float], None]


@dataclass(frozen=True)
class Level:
    """One level of the picture to encode: raw pixels in a file."""

    level: float
    file: str
    width: int
    height: int

    def pixels(self) -> np.ndarray:
        """uint8 [H, W, 3], mapped."""
        return np.memmap(self.file, np.uint8, mode="r", shape=(self.height, self.width, 3))


@dataclass(frozen=True)
class Candidate:
    """One baseline to be encoded."""

    codec: str
    levels: tuple[Level, ...]
    """The finest first."""
    budget: int
    """Bytes."""

    @property
    def name(self) -> str:
        """For files."""
        return f"{self.codec}-{self.levels[0].level:.2f}"


def budget_for(size: int) -> int:
    """Bytes of the baselines of a checkpoint of `size` bytes: rounded up, by 6 % at most.

    Checkpoints of about one size so share their baselines; none has more bytes than they.
    """
    step = 1 << max(0, size.bit_length() - 5)
    return -(-size // step) * step


def own_levels(truth: Truth) -> list[Level]:
    """The image itself and its halves, as its pyramid keeps them; down to level 0."""
    from model.pyramid_build import find_or_build, mip_path
    from model.scale import level_of_density

    folder, files = find_or_build(
        Path(truth.image),
        truth.crop,
        None,
        None if truth.cache is None else Path(truth.cache),
        None,
    )
    top = level_of_density(min(files.width, files.height), truth.patch_size)
    return [
        Level(top - mip, str(mip_path(folder, mip)), *files.mip_size(mip))
        for mip in range(files.num_mips)
        if top - mip > -1e-6
    ]


def between_level(top: float) -> float:
    """The top of the second family of pyramids: about half an octave below the image's own."""
    return round(2 * (top - 0.5)) / 2


def between_levels(truth: Truth, folder: Path, tick: Tick | None = None) -> list[Level]:
    """The image rendered half an octave or so below its own density, and its halves.

    They are kept in `folder`; what is there already is taken.
    """
    with_space = truth.open()
    level = between_level(with_space.level_range[1])
    d = density(level, truth.patch_size)
    width, height = (math.ceil(side * d - 1e-6) for side in with_space.field_size)
    found: list[Level] = []
    while level > -1e-6:
        found.append(Level(level, str(folder / f"level-{len(found):02d}.u8"), width, height))
        level, width, height = level - 1, -(-width // 2), -(-height // 2)
    if all(Path(each.file).exists() for each in found):
        return found
    folder.mkdir(parents=True, exist_ok=True)
    first = found[0]
    part = Path(f"{first.file}.part")
    base = np.memmap(part, np.uint8, mode="w+", shape=(first.height, first.width, 3))
    for y in range(0, first.height, _STRIP_PX):
        rows = min(_STRIP_PX, first.height - y)
        base[y : y + rows] = _rendered(with_space, first.level, y, first.width, rows)
        if tick is not None:
            tick((y + rows) / first.height)
    base.flush()
    part.replace(first.file)
    pixels: np.ndarray = base
    for each in found[1:]:
        pixels = _halved_in_strips(pixels)
        part = Path(f"{each.file}.part")
        pixels.tofile(part)
        part.replace(each.file)
    return found


def _rendered(space: ScaleSpace, level: float, y: int, width: int, rows: int) -> np.ndarray:
    """Whole rows of the field at a level: uint8 [rows, width, 3]."""
    from model.space import Window, to_uint8

    d = density(level, space.patch_size)
    left, top = (-side / 2 for side in space.field_size)
    window = Window((left, top + y / d), level, rows, width)
    return np.asarray(to_uint8(space.render([window]))[0].numpy())


def _halved_in_strips(pixels: np.ndarray) -> np.ndarray:
    """`halved`, with little memory beside the result."""
    strips = range(0, len(pixels), 2 * _STRIP_PX)
    return np.concatenate([halved(pixels[y : y + 2 * _STRIP_PX]) for y in strips])


def candidates(families: Sequence[Sequence[Level]], codec: str, budget: int) -> list[Candidate]:
    """Pyramids of any top whose bits per pixel are within `BITS`; the whole one at least."""
    found = []
    for family in families:
        for first in range(len(family)):
            pixels = sum(level.width * level.height for level in family[first:])
            bits = 8 * budget / pixels
            if BITS[0] <= bits and (bits <= BITS[1] or first == 0):
                found.append(Candidate(codec, tuple(family[first:]), budget))
    return sorted(found, key=lambda c: -c.levels[0].level)


def encode_best(
    candidate: Candidate,
    out: Path,
    field_size: tuple[float, float],
    patch_size: int,
    settings: Settings,
) -> dict[str, Any] | None:
    """Encode a pyramid at the best quality that fits; None where none does.

    Returns:
        `top` (level), `quality`, `bytes` of the file.
    """
    sampled = _Sample(candidate, settings)
    quality = sampled.best(candidate.budget, 1 / _CAUTION)
    best: dict[str, Any] | None = None
    for _ in range(_TRIES):
        if quality is None:
            break
        spare = out.with_name(f"{out.name}.{quality}")
        size = _encode_all(candidate, quality, spare, field_size, patch_size, settings)
        if size <= candidate.budget and (best is None or quality > best["quality"]):
            spare.replace(out)
            best = {"top": candidate.levels[0].level, "quality": quality, "bytes": size}
        spare.unlink(missing_ok=True)
        if _FULL * candidate.budget <= size <= candidate.budget:
            break
        correction = size / sampled.bytes_at(quality)
        wanted = sampled.best(candidate.budget, correction)
        if best is not None and (wanted is None or wanted <= best["quality"]):
            break
        if size > candidate.budget and (wanted is None or wanted >= quality):
            wanted = quality - 1 if quality > 1 else None
        if wanted == quality:
            break
        quality = wanted
    return best


class _Sample:
    """How many bytes a pyramid takes at a quality, from squares of it."""

    def __init__(self, candidate: Candidate, settings: Settings) -> None:
        rng = np.random.default_rng(settings.seed)
        self._codec, self._speed = candidate.codec, settings.avif_speed
        self._squares: list[tuple[np.ndarray, float]] = []
        for number, level in enumerate(candidate.levels[:4]):
            pixels = level.pixels()
            squares = _squares(pixels, max(2, _SAMPLES >> number), rng)
            # The levels that are not tried cost as much a pixel as the coarsest that is.
            rest = candidate.levels[number:] if number == 3 else (level,)
            area = sum(each.width * each.height for each in rest)
            seen = sum(s.shape[0] * s.shape[1] for s in squares)
            self._squares += [(np.array(square), area / seen) for square in squares]
        self._found: dict[int, float] = {}

    def bytes_at(self, quality: int) -> float:
        """Estimated size of all of it."""
        if quality not in self._found:
            self._found[quality] = sum(
                share * len(encode(square, self._codec, quality, self._speed))
                for square, share in self._squares
            )
        return self._found[quality]

    def best(self, budget: int, correction: float) -> int | None:
        """The largest quality (1 to 95) whose estimate, times `correction`, fits."""
        low, high = 0, 95
        while low < high:
            middle = (low + high + 1) // 2
            if self.bytes_at(middle) * correction <= budget:
                low = middle
            else:
                high = middle - 1
        return low or None


def _squares(pixels: np.ndarray, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Squares of a level, spread over it."""
    height, width = pixels.shape[:2]
    side = min(_SAMPLE_PX, height, width)
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    found = []
    for row in range(rows):
        for column in range(columns):
            y = int((row + rng.random()) / rows * (height - side))
            x = int((column + rng.random()) / columns * (width - side))
            found.append(pixels[y : y + side, x : x + side])
    return found


def _encode_all(
    candidate: Candidate,
    quality: int,
    out: Path,
    field_size: tuple[float, float],
    patch_size: int,
    settings: Settings,
) -> int:
    """Write the file; its bytes."""
    levels = tuple(Stored(each.level, each.width, each.height) for each in candidate.levels)
    index = Index(candidate.codec, quality, patch_size, field_size, levels)
    with EncodedWriter(out, index) as writer:
        for number, level in enumerate(candidate.levels):
            pixels = level.pixels()
            for row in range(-(-level.height // TILE_PX)):
                for column in range(-(-level.width // TILE_PX)):
                    y, x = row * TILE_PX, column * TILE_PX
                    tile = pixels[y : y + TILE_PX, x : x + TILE_PX]
                    data = encode(tile, candidate.codec, quality, settings.avif_speed)
                    writer.put(number, row, column, data)
    return out.stat().st_size


def encode_thumbnail(
    truth: Truth, budget: int, out: Path, settings: Settings
) -> dict[str, Any] | None:
    """One JPEG of quality 90, as fine as fits: nothing else is stored. As `encode_best`.

    Its level is searched in eighths of an octave.
    """
    space = truth.open()
    rng = np.random.default_rng(settings.seed)

    def size_at(level: float) -> float:
        d = density(level, space.patch_size)
        side = min(_SAMPLE_PX, int(min(space.field_size) * d))
        total = 0
        for _ in range(_SAMPLES):
            y = int(rng.random() * (space.field_size[1] * d - side))
            row = _square_at(space, level, rng, y, side)
            total += len(encode(row, "jpeg", THUMBNAIL_QUALITY))
        area = space.field_size[0] * space.field_size[1] * d * d
        return total / (_SAMPLES * side * side) * area

    top = space.level_range[1]
    low, high = 0, math.floor(8 * top)
    while low < high:
        middle = (low + high + 1) // 2
        if size_at(middle / 8) <= budget:
            low = middle
        else:
            high = middle - 1
    for eighths in range(low + 1, -1, -1):
        level = min(eighths / 8, top)
        size = _write_thumbnail(space, level, out)
        if size <= budget:
            return {"top": level, "quality": THUMBNAIL_QUALITY, "bytes": size}
    out.unlink(missing_ok=True)
    return None


def _square_at(
    space: ScaleSpace, level: float, rng: np.random.Generator, y: int, side: int
) -> np.ndarray:
    from model.space import Window, to_uint8

    d = density(level, space.patch_size)
    x = int(rng.random() * (space.field_size[0] * d - side))
    left, top = (-extent / 2 for extent in space.field_size)
    window = Window((left + x / d, top + y / d), level, side, side)
    return np.asarray(to_uint8(space.render([window]))[0].numpy())


def _write_thumbnail(space: ScaleSpace, level: float, out: Path) -> int:
    """Encode the whole field at one level; bytes of the file."""
    d = density(level, space.patch_size)
    width, height = (math.ceil(side * d - 1e-6) for side in space.field_size)
    stored = (Stored(level, width, height),)
    index = Index("jpeg", THUMBNAIL_QUALITY, space.patch_size, space.field_size, stored)
    with EncodedWriter(out, index) as writer:
        for row in range(-(-height // TILE_PX)):
            rows = min(TILE_PX, height - row * TILE_PX)
            strip = np.concatenate(
                [
                    _rendered(space, level, row * TILE_PX + y, width, min(_STRIP_PX, rows - y))
                    for y in range(0, rows, _STRIP_PX)
                ]
            )
            for column in range(-(-width // TILE_PX)):
                tile = strip[:, column * TILE_PX : (column + 1) * TILE_PX]
                writer.put(0, row, column, encode(tile, "jpeg", THUMBNAIL_QUALITY))
    return out.stat().st_size


def score(file: Path, truth: Truth, settings: Settings) -> dict[str, float]:
    """How good an encoded picture is, roughly: what candidates are chosen by.

    Returns:
        `psnr`: mean over whole levels, dB. `swd`: mean over the levels of realism of the distance
        over the floor.
    """
    from model.metrics import EvaluationConfig, evaluate

    real, space = truth.open(), EncodedPicture.open(file)
    levels = whole_levels(real.level_range)
    fidelity = evaluate(
        space,
        real,
        EvaluationConfig(
            levels=tuple(levels),
            held_out=settings.held_out,
            metrics=("fidelity",),
            seed=settings.seed,
            bootstrap=0,
        ),
    )
    far = tuple(level for level in levels if level >= settings.realism_from) or (levels[-1],)
    realism = evaluate(
        space,
        real,
        EvaluationConfig(
            levels=far,
            windows=settings.search_windows,
            metrics=("swd",),
            seed=settings.seed,
            bootstrap=0,
        ),
    )
    psnr = [fidelity.figures[f"{level:g}"]["fidelity"]["psnr"].value for level in levels]
    ratios = [realism.figures[f"{level:g}"]["swd"]["real"].ratio or math.nan for level in far]
    space.close()
    return {"psnr": float(np.mean(psnr)), "swd": float(np.mean(ratios))}


def encode_and_score(
    candidate: Candidate,
    truth: Truth,
    field_size: tuple[float, float],
    out: Path,
    settings: Settings,
) -> dict[str, Any]:
    """A job for a worker: encode, compare; `{}` where no quality fits."""
    found = encode_best(candidate, out, field_size, truth.patch_size, settings)
    if found is None:
        return {}
    return {"codec": candidate.codec, **found, **score(out, truth, settings), "file": out.name}


def thumbnail_and_score(truth: Truth, budget: int, out: Path, settings: Settings) -> dict[str, Any]:
    """As `encode_and_score`, of the thumbnail."""
    found = encode_thumbnail(truth, budget, out, settings)
    if found is None:
        return {}
    return {"codec": "bicubic", **found, **score(out, truth, settings), "file": out.name}


def candidate_key(candidate: Candidate) -> dict[str, Any]:
    """What a candidate is made from, as plain values, without folders."""
    fields = asdict(candidate)
    for level in fields["levels"]:
        level["file"] = Path(level["file"]).name
    return fields
