"""Cut an unregistered training set from one large picture, as the paper's sets were made.

The paper's captures have continuous levels, uniform inside each octave, at uniform places, with
few patches in the coarse octaves (500, 1500, 4000, then 30,000 each). `CutConfig.counts` with one
number draws levels uniform over the whole range; with one number per octave it is the paper's way.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import shutil
import tempfile
import zipfile
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from model.data.labels import CSV_COLUMNS, DATASET_JSON
from model.data.patches import MAX_THREADS
from model.pyramid import ImagePyramid
from model.pyramid_build import Progress
from model.space import to_uint8

FORMS = ("dataset.json", "csv", "folders", "zip")
_CHUNK = 32
"""Patches a thread cuts at a time."""
_PNG_LEVEL = 3


@dataclass(frozen=True)
class CutConfig:
    """Which patches are cut."""

    levels: tuple[float, float]
    """Lowest and highest level, octaves; >= 0, so that every patch lies inside the field."""
    counts: tuple[int, ...]
    """Patches in each of equal parts of `levels`, coarse to fine; one number for all."""
    seed: int = 0
    """Of levels, places, noise and order."""
    label_noise: float = 0.0
    """Labels are off by up to this much, uniform, octaves."""
    level_step: float = 0.0
    """Levels are whole multiples of this, octaves; 0: continuous."""

    def __post_init__(self) -> None:
        low, high = self.levels
        if not 0 <= low <= high < math.inf:
            raise ValueError(
                f"levels must be 0 <= A <= B, got {low:g} {high:g}; a patch of level 0 already "
                "spans the shorter side."
            )
        if not self.counts or min(self.counts) < 0 or sum(self.counts) < 1:
            raise ValueError(f"counts must be 0 or more and at least one 1, got {self.counts}.")
        if not (0 <= self.label_noise < math.inf and 0 <= self.level_step < math.inf):
            raise ValueError(
                "label_noise and level_step must be 0 or more octaves, got "
                f"{self.label_noise:g} and {self.level_step:g}."
            )
        if self.level_step and not self._steps(low, high):
            raise ValueError(
                f"no multiple of level_step {self.level_step:g} lies in {low:g} to {high:g}; take "
                "a smaller step."
            )

    def _steps(self, low: float, high: float) -> range:
        """The multiples of `level_step` from `low` to `high`."""
        first = math.ceil(low / self.level_step - 1e-9)
        return range(first, math.floor(high / self.level_step + 1e-9) + 1)

    def snapped(self, levels: np.ndarray) -> np.ndarray:
        """`levels` at the nearest allowed multiple of `level_step`; unchanged where it is 0."""
        if not self.level_step:
            return levels
        steps = self._steps(*self.levels)
        nearest = np.clip(np.round(levels / self.level_step), steps[0], steps[-1])
        return nearest * self.level_step


@dataclass(frozen=True)
class Cut:
    """One patch: its pixels, what its label says, and what is true."""

    name: str
    """File name; says nothing of level or place."""
    pixels: np.ndarray
    """uint8 [P, P, 3]."""
    label: float
    """log2_zoom as the data set will say it, octaves."""
    level: float
    """True log2_zoom, octaves."""
    center_xy: tuple[float, float]
    """True centre, field units of the (cropped) picture."""


def cut_patches(
    pyramid: ImagePyramid, config: CutConfig, threads: int | None = None
) -> Generator[Cut, None, None]:
    """Cut all patches in the order of their names; equal for equal pyramids and configs.

    Levels are uniform inside each part, places uniform where the patch lies inside the field.
    Where the range begins at level 0, one patch has it exactly: it spans the whole shorter side and
    anchors all others.

    Raises:
        ValueError: The image has no pixels for the highest level.
    """
    finest = pyramid.level_range[1]
    if config.levels[1] > finest + 1e-9:
        raise ValueError(
            f"levels must end at {finest:.2f} or below for this image, got {config.levels[1]:g}; "
            "patches beyond show magnified pixels."
        )
    levels, centers, labels = _draw(pyramid.field_size, config)
    digits = max(6, len(str(len(levels) - 1)))
    size = pyramid.patch_size

    def cut(begin: int) -> list[Cut]:
        part = slice(begin, begin + _CHUNK)
        origins = centers[part] - 0.5 * 2.0 ** -levels[part, None]
        pixels = to_uint8(pyramid.sample(origins, levels[part], size)).numpy()
        return [
            Cut(f"{i:0{digits}d}.png", image, float(label), float(level), (float(x), float(y)))
            for i, image, label, level, (x, y) in zip(
                range(begin, begin + len(pixels)), pixels, labels[part], levels[part], centers[part]
            )
        ]

    yield from _in_order(cut, range(0, len(levels), _CHUNK), threads)


def _in_order(
    cut: Callable[[int], list[Cut]], begins: Sequence[int], threads: int | None
) -> Iterator[Cut]:
    """Results in order, a few chunks ahead of whoever takes them."""
    if threads is None:
        threads = min(MAX_THREADS, os.cpu_count() or 1)
    waiting: deque[Future[list[Cut]]] = deque()
    with ThreadPoolExecutor(threads, "cut") as pool:
        try:
            for begin in begins:
                waiting.append(pool.submit(cut, begin))
                if len(waiting) > 2 * threads:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _draw(
    field_size: tuple[float, float], config: CutConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Levels [N], centres [N, 2] and labels [N], shuffled."""
    rng = np.random.default_rng(config.seed)
    edges = np.linspace(*config.levels, len(config.counts) + 1)
    parts = [rng.uniform(a, b, n) for a, b, n in zip(edges, edges[1:], config.counts)]
    levels = config.snapped(np.concatenate(parts))
    if config.levels[0] == 0:
        levels[0] = 0.0
    levels = rng.permutation(levels)
    room = np.asarray(field_size) - 2.0 ** -levels[:, None]
    centers = rng.uniform(-0.5, 0.5, room.shape) * np.maximum(room, 0)
    labels = levels + rng.uniform(-config.label_noise, config.label_noise, len(levels))
    return levels, centers, labels


def check_target(out: Path, form: str) -> None:
    """Find out before the work whether a data set of `form` can be written to `out`.

    Raises:
        ValueError: It cannot; the message says what to do.
    """
    if form not in FORMS:
        raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r}.")
    if (form == "zip") != (out.suffix.lower() == ".zip"):
        raise ValueError(f"the form zip and a name that ends in .zip go together, got {out}.")
    if not out.parent.is_dir():
        raise ValueError(f"the folder {out.parent} does not exist; make it first.")
    if out.exists() and (not out.is_dir() or form == "zip" or set(out.iterdir()) - _left_in(out)):
        raise ValueError(f"{out} exists already; remove it or give another name.")


def _left_in(out: Path) -> set[Path]:
    """What a cutting that was killed has left in a folder that was there."""
    return set(out.glob(f".{out.resolve().name}.tmp-*"))


def write_patches(
    pyramid: ImagePyramid,
    config: CutConfig,
    out: Path,
    form: str = "dataset.json",
    truth: Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Cut a training set and write it as one of `FORMS`; nothing appears before all is cut.

    Args:
        pyramid: The picture.
        config: Which patches.
        out: A new or empty folder, or a new .zip.
        form: 'dataset.json', 'csv' (labels.csv), 'folders' (one per level) or 'zip'.
        truth: CSV for the true levels and places, outside of the data set.
        progress: Called with the fraction that is done; whatever it raises cancels.

    Raises:
        ValueError: `out` is not free, or `config` does not fit the image or the form.
        OSError: It cannot be written.
    """
    check_target(out, form)
    if form == "folders" and (config.label_noise or not config.level_step):
        raise ValueError(
            "folders are named by their level: they need a level_step and no label_noise."
        )
    total = sum(config.counts)
    rows: list[tuple[object, ...]] = []
    cuts = cut_patches(pyramid, config)
    with contextlib.closing(cuts), _sink(out, form == "zip") as write:
        labels: list[list[object]] = []
        for number, cut in enumerate(cuts, 1):
            name = f"{cut.label:g}/{cut.name}" if form == "folders" else cut.name
            write(name, _png(cut.pixels))
            labels.append([name, round(cut.label, 6)])
            rows.append((name, f"{cut.level:.6f}", *(f"{v:.9f}" for v in cut.center_xy)))
            if progress is not None and (number % _CHUNK == 0 or number == total):
                progress(number / total)
        if form == "csv":
            write("labels.csv", _csv_text(CSV_COLUMNS[:2], labels))
        elif form != "folders":
            text = json.dumps({"labels": labels})
            write(DATASET_JSON, text.replace("], [", "],\n [").encode() + b"\n")
        if truth is not None:
            _write_file(truth, _csv_text(CSV_COLUMNS[:4], rows))


Write = Callable[[str, bytes], None]


@contextlib.contextmanager
def _sink(out: Path, zipped: bool) -> Iterator[Write]:
    """Takes files by name; they appear at `out` once all are written, in a new folder together, in
    one that is there one by one."""
    out = out.resolve()
    place = out if out.is_dir() else out.parent
    for left in _left_in(out) if out.is_dir() else ():
        shutil.rmtree(left, ignore_errors=True)
    temp = Path(tempfile.mkdtemp(prefix=f".{out.name}.tmp-", dir=place))
    try:
        if zipped:
            part = temp / out.name
            with zipfile.ZipFile(part, "w") as archive:  # PNG is compressed already
                yield lambda name, data: archive.writestr(zipfile.ZipInfo(name), data)
            part.replace(out)
            return
        folder = temp / out.name
        folder.mkdir()

        def write(name: str, data: bytes) -> None:
            path = folder / name
            if "/" in name:
                path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)

        yield write
        if not out.is_dir():
            folder.rename(out)
            return
        # It was empty, see `check_target`, and stays: it may be a disk, or where one works.
        for path in sorted(folder.iterdir()):
            path.rename(out / path.name)
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def _png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=_PNG_LEVEL)
    return stream.getvalue()


def _csv_text(header: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue().encode()


def _write_file(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
