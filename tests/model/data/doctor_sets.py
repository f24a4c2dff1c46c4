"""Training sets that the doctor's tests make: cut from a painted picture, in every form."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

P = 32


def picture(size: int = 512, seed: int = 0) -> np.ndarray:
    """A picture with detail at all scales (power falls as frequency to the -2), uint8 [S, S, 3]."""
    rng = np.random.default_rng(seed)
    f = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    f[0, 0] = 1
    planes = []
    for _ in range(3):
        noise = np.fft.rfft2(rng.standard_normal((size, size)))
        plane = np.fft.irfft2(noise / f**1.1, (size, size))
        planes.append(plane / plane.std())
    mixed = planes[0][..., None] + 0.3 * np.stack(planes, -1)
    return np.clip(128 + 40 * mixed, 0, 255).astype(np.uint8)


def cut(
    count: int, levels: tuple[float, float] = (0.0, 4.0), seed: int = 0
) -> list[tuple[np.ndarray, float]]:
    """Patches of `picture` and their levels: random places, averaged to P pixels."""
    source = Image.fromarray(picture())
    rng = np.random.default_rng(seed)
    out = []
    for level in rng.uniform(*levels, count):
        side = 512 * 2.0**-level
        x, y = rng.uniform(0, 512 - side, 2)
        box = (x, y, x + side, y + side)
        image = source.resize((P, P), Image.Resampling.BOX, box=box)
        out.append((np.asarray(image), float(level)))
    return out


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def write_folder(folder: Path, patches: Sequence[tuple[np.ndarray, float | None]]) -> Path:
    """A folder with `dataset.json`; patches of level None stay without a label."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = []
    for number, (pixels, level) in enumerate(patches):
        (folder / f"{number:04d}.png").write_bytes(png(pixels))
        if level is not None:
            labels.append([f"{number:04d}.png", level])
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    return folder


def write_form(root: Path, form: str, files: dict[str, bytes], levels: dict[str, float]) -> Path:
    """The same files in one of the forms: 'dataset.json', 'zip', 'csv', 'folders'."""
    labels = json.dumps({"labels": [[name, level] for name, level in levels.items()]}).encode()
    if form == "zip":
        with zipfile.ZipFile(root / "set.zip", "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
            archive.writestr("dataset.json", labels)
        return root / "set.zip"
    folder = root / form.replace(".", "-")
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    if form == "dataset.json":
        (folder / "dataset.json").write_bytes(labels)
    elif form == "csv":
        with (folder / "labels.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("file", "log2_zoom"), *levels.items()])
    return folder
