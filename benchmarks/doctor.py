"""The dataset doctor at size: speed on many files, and one report whatever the form.

    python -m benchmarks.doctor --files 100000 [--json F]
    python -m benchmarks.doctor --same-forms [--count 20000] [--json F]

The first writes that many 64-px PNGs of a made picture into a temporary folder, with known faults
among them (of each thousand: 5 cut off, 5 of one colour, 5 equal to another), times the doctor, and
checks that it finds exactly those. The second writes the same patches in every form and compares
what is read, and the reports.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.machine import describe_machine, usable_cores
from benchmarks.tables import facts, write_json

PATCH_PX = 64
PICTURE_PX = 2048
LEVELS = (0.2, 4.0)
"""Octaves. At level 0 all patches show the whole, and many would be equal."""
FORMS = ("dataset.json", "zip", "csv", "folders")
_FAULTS = {3: "unreadable", 5: "blank", 7: "exact-duplicate"}
"""What patch number n is where n modulo 200 is the key."""
_PERIOD = 200


def make_picture(size: int = PICTURE_PX, seed: int = 0) -> np.ndarray:
    """Noise whose power falls as frequency to the -2.2, as in pictures. uint8 [S, S, 3]."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    frequency[0, 0] = 1
    planes = []
    for _ in range(3):
        noise = np.fft.rfft2(rng.standard_normal((size, size)).astype(np.float32))
        plane = np.fft.irfft2(noise / frequency**1.1, (size, size))
        planes.append(plane / plane.std())
    mixed = planes[0][..., None] + 0.4 * np.stack(planes, -1)
    return np.asarray(np.clip(128 + 40 * mixed, 0, 255).astype(np.uint8))


def _name(number: int) -> str:
    return f"{number // 1000:05d}/{number:06d}.png"


def _write_part(folder: Path, begin: int, end: int) -> list[tuple[str, float]]:
    """Patches `begin` to `end` as files, and their labels; one process of several."""
    source = Image.fromarray(make_picture())
    mips = [source.reduce(2**k) if k else source for k in range(4)]
    labels = []
    for number in range(begin, end):
        fault = _FAULTS.get(number % _PERIOD)
        picked = number - 1 if fault == "exact-duplicate" else number
        rng = np.random.default_rng((1, picked))
        level = float(rng.uniform(*LEVELS))
        mip = mips[3 - int(level)]  # 2 to 4 of its pixels make one
        side = mip.width * 2.0**-level
        x, y = rng.uniform(0, mip.width - side, 2)
        box = (x, y, x + side, y + side)
        image = mip.resize((PATCH_PX, PATCH_PX), Image.Resampling.BILINEAR, box=box)
        if fault == "blank":
            image = Image.new("RGB", image.size, (number % 256, 90, 120))
        stream = io.BytesIO()
        image.save(stream, "PNG", compress_level=1)
        data = stream.getvalue()
        (folder / _name(number)).write_bytes(data[:300] if fault == "unreadable" else data)
        labels.append((_name(number), round(level, 6)))
    return labels


def make_files(folder: Path, count: int) -> None:
    """Write a set of `count` patches with `dataset.json`, on all cores."""
    for start in range(0, count, 1000):
        (folder / f"{start // 1000:05d}").mkdir()
    cores = usable_cores()
    bounds = np.linspace(0, count, cores + 1).astype(int).tolist()
    with ProcessPoolExecutor(cores) as pool:
        parts = pool.map(_write_part, [folder] * cores, bounds, bounds[1:])
        labels = [list(label) for part in parts for label in part]
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))


def measure_speed(count: int) -> dict[str, Any]:
    """Make the files, time the doctor on them, and check what it found."""
    from model.data.doctor import DoctorConfig, inspect_data

    with tempfile.TemporaryDirectory(prefix="doctor-") as temp:
        begin = time.perf_counter()
        make_files(Path(temp), count)
        made = time.perf_counter() - begin
        steps: list[float] = []
        begin, begin_cpu = time.perf_counter(), time.process_time()
        report = inspect_data(temp, DoctorConfig(costs=False), steps.append)
        elapsed, cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
    found = {f.kind: len(f.items) for f in report.findings}
    planted = {
        kind: sum(number % _PERIOD == at for number in range(count)) for at, kind in _FAULTS.items()
    }
    right = all(found.get(kind, 0) == number for kind, number in planted.items())
    return {
        "files": count,
        "seconds": elapsed,
        "cpu seconds": cpu,
        "cpu ms per file": 1e3 * cpu / count,
        "seconds for 100,000": elapsed / count * 1e5,
        "seconds to make the files": made,
        "progress steps": len(steps),
        "planted": planted,
        "found": found,
        "of the planted kinds, exactly the planted found": right,
    }


def _labelled(folder: Path) -> dict[str, float]:
    """Files of an octave-folder set and the level of each."""
    paths = sorted(folder.rglob("*.png"))
    return {p.relative_to(folder).as_posix(): float(p.parent.name) for p in paths}


def write_forms(folder: Path, root: Path) -> Iterator[Path]:
    """The set of octave folders `folder` in every form, one after the other."""
    levels = _labelled(folder)
    rows = [[name, level] for name, level in levels.items()]
    labels = json.dumps({"labels": rows})
    yield folder
    (folder / "dataset.json").write_text(labels)
    yield folder
    with zipfile.ZipFile(root / "set.zip", "w") as archive:
        for name in levels:
            archive.write(folder / name, name)
        archive.writestr("dataset.json", labels)
    yield root / "set.zip"
    (folder / "dataset.json").unlink()
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "log2_zoom"], *rows])
    yield folder


def compare_forms(count: int) -> dict[str, Any]:
    """Write the same patches in every form; compare names, labels, pixels and reports."""
    from model.data.cut import CutConfig, write_patches
    from model.data.doctor import DoctorConfig, inspect_data
    from model.data.doctor_cost import measure_machine
    from model.data.patches import PatchCollection, open_data
    from model.pyramid import ImagePyramid

    machine = measure_machine(trial=True)
    result: dict[str, Any] = {"patches": count}
    seen: list[tuple[object, ...]] = []
    with tempfile.TemporaryDirectory(prefix="doctor-") as temp:
        root = Path(temp)
        Image.fromarray(make_picture()).save(root / "picture.png")
        pyramid = ImagePyramid.open(root / "picture.png", cache_dir=root / "cache")
        config = CutConfig((0.0, 5.0), (count,), level_step=0.25)
        write_patches(pyramid, config, root / "set", "folders")
        pyramid.close()
        finest = root / "set" / "5"
        shutil.copy(min(finest.iterdir()), root / "set" / "4" / "twin.png")
        for path in write_forms(root / "set", root):
            report = inspect_data(path, DoctorConfig(), machine=machine)
            with open_data(path) as data:  # type: ignore[union-attr]
                if not isinstance(data, PatchCollection):
                    raise RuntimeError(f"{path} was not opened as patches.")
                pixels = data.images(range(len(data)), PATCH_PX)
                digest = hashlib.sha256(pixels.tobytes()).hexdigest()
                plain = replace(report, path="", form="")
                seen.append((data.patches, digest, plain.to_json(), plain.to_text(None)))
            result[f"findings as {report.form}, {path.suffix or 'folder'}"] = len(report.findings)
        result["names, labels and pixels equal"] = all(s[:2] == seen[0][:2] for s in seen)
        result["reports equal (path and form aside)"] = all(s[2:] == seen[0][2:] for s in seen)
        result["forms"] = len(seen)
    return result


def main() -> int:
    """Parse, measure, print; 1 where something is not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.doctor", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--files", type=int, metavar="N", help="time the doctor on N files")
    what.add_argument("--same-forms", action="store_true", help="compare the forms of a set")
    parser.add_argument("--count", type=int, default=20_000, help="patches of --same-forms")
    parser.add_argument("--json", type=Path, metavar="F", help="write the figures here")
    args = parser.parse_args()
    if (args.files or args.count) < 1000:
        parser.error("at least 1000 patches are needed for figures that mean something")
    result = compare_forms(args.count) if args.same_forms else measure_speed(args.files)
    print(facts("the doctor", result))
    if args.json is not None:
        write_json(args.json, {"machine": describe_machine(), "doctor": result})
    return 0 if all(value is not False for value in result.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
