"""Do patches that found their place train like the registered picture?

    python -m benchmarks.placed_twin --image IMAGE [--crop X0 Y0 X1 Y1] [--count 20000]
        [--octaves 5] [--kimg 12] [--cache FOLDER] [--json F]

Patches are cut from an image, without places and with noisy labels. A run on them, which places
them first, and a run on the image itself have the same recipe, levels, seed and number of windows.
Both are compared with the image, level by level, at held-out windows. The one place and scale of
the whole, which no patch can tell, is taken out: from the patches' places and where they were cut.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.fidelity import BATCH, WINDOWS, held_out_windows
from benchmarks.machine import describe_machine
from benchmarks.options import add_picture, crop_of
from benchmarks.tables import table, write_json
from model.metrics.fidelity import psnr
from model.placement.frame import Gauge, boxed
from model.pyramid import ImagePyramid
from model.run_files import CHECKPOINT
from model.space import ScaleSpace
from model.training_sets import PLACES

_LABEL_NOISE = 0.1  # octaves


@dataclass(frozen=True)
class Similarity:
    """From a run's field to the image's: `scale` times as large, then moved."""

    scale: float
    shift_xy: tuple[float, float]
    """Field units of the image."""

    @property
    def octaves(self) -> float:
        """Added to a level of the run, it is the level of the image."""
        return float(-np.log2(self.scale))


@dataclass(frozen=True)
class LevelTwins:
    """PSNR of both runs against the image, dB."""

    level: float
    placed_db: float
    registered_db: float

    @property
    def loss_db(self) -> float:
        """What placing cost."""
        return self.registered_db - self.placed_db


def fitted_similarity(run_xy: np.ndarray, image_xy: np.ndarray) -> Similarity:
    """Least squares from centres [N, 2] in a run's field to the same patches' in the image's."""
    run_mean, image_mean = run_xy.mean(0), image_xy.mean(0)
    run, image = run_xy - run_mean, image_xy - image_mean
    scale = float((run * image).sum() / (run * run).sum())
    x, y = (image_mean - scale * run_mean).tolist()
    return Similarity(scale, (x, y))


def similarity_of(places: Path, truth: Path) -> Similarity:
    """From a run's field to the image, by where its patches were found and where they were cut."""
    cut = {row["file"]: (float(row["x"]), float(row["y"])) for row in _rows(truth)}
    found = [row for row in _rows(places) if row["x"]]
    center_xy = np.array([(float(r["x"]), float(r["y"])) for r in found])
    level = np.array([float(r["log2_zoom"]) for r in found])
    gauge: Gauge = boxed(center_xy, level)
    return fitted_similarity(gauge.centers(center_xy), np.array([cut[r["file"]] for r in found]))


def level_psnr(
    space: ScaleSpace, picture: ImagePyramid, level: float, similarity: Similarity, count: int
) -> float:
    """PSNR (dB) of held-out windows of a run against the image at the same places."""
    windows = held_out_windows(space, level, count, 0)
    with torch.inference_mode():
        img = torch.cat(
            [space.render(windows[i : i + BATCH]).float().cpu() for i in range(0, count, BATCH)]
        )
    origins = np.array([w.origin_xy for w in windows]) * similarity.scale + similarity.shift_xy
    levels = np.full(count, level + similarity.octaves)
    return psnr(img, picture.sample(origins, levels, space.patch_size))


def compare(options: argparse.Namespace, folder: Path) -> tuple[list[LevelTwins], Similarity]:
    """Cut, train both, measure."""
    from model import open_scale_space

    crop = [] if options.crop is None else ["--crop", *map(str, options.crop)]
    cache = [] if options.cache is None else ["--cache", str(options.cache)]
    levels = ["--levels", "0", str(options.octaves)]
    patches, truth = folder / "patches", folder / "truth.csv"
    _explorer(
        ["patches", str(options.image), "--out", str(patches), "--count", str(options.count)]
        + ["--label-noise", str(_LABEL_NOISE), "--truth", str(truth), *levels, *crop, *cache]
    )
    recipe = ["--kimg", str(options.kimg), "--seed", "0", *levels, *cache]
    spaces = {}
    for name, data in (("placed", [str(patches)]), ("registered", [str(options.image), *crop])):
        _explorer(["train", *data, "--out", str(folder / name), *recipe])
        spaces[name] = open_scale_space(folder / name / CHECKPOINT, device="cpu")
    similarity = similarity_of(folder / "placed" / PLACES, truth)
    picture = ImagePyramid.open(
        options.image,
        crop=crop_of(options),
        patch_size=spaces["registered"].patch_size,
        cache_dir=options.cache,
    )
    twins = [
        LevelTwins(
            level,
            level_psnr(spaces["placed"], picture, level, similarity, options.windows),
            level_psnr(
                spaces["registered"], picture, level, Similarity(1.0, (0.0, 0.0)), options.windows
            ),
        )
        for level in np.arange(0, options.octaves + 0.25, 0.5).tolist()
    ]
    picture.close()
    return twins, similarity


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, write the JSON: 0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.placed_twin", description=__doc__)
    add_picture(parser)
    parser.add_argument("--count", type=int, default=20000, help="patches (default: 20000)")
    parser.add_argument("--octaves", type=int, default=5, help="levels 0 to this (default: 5)")
    parser.add_argument("--kimg", type=float, default=12.0, help="of each run (default: 12)")
    parser.add_argument("--windows", type=int, default=WINDOWS, help="a level (default: 64)")
    parser.add_argument("--folder", type=Path, help="keep patches and runs here")
    parser.add_argument("--json", type=Path, metavar="F", help="write the figures here too")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = options.folder or Path(scratch)
            folder.mkdir(parents=True, exist_ok=True)
            twins, similarity = compare(options, folder)
    except (ValueError, OSError, subprocess.CalledProcessError) as error:
        print(f"placed_twin: {error}", file=sys.stderr)
        return 1
    rows = [(f"{t.level:g}", t.placed_db, t.registered_db, t.loss_db) for t in twins]
    print(table("PSNR, dB", ("level", "placed", "registered", "loss"), rows))
    worst = max(t.loss_db for t in twins)
    print(
        f"largest loss: {worst:.2f} dB; scale of the whole off by {similarity.octaves:.4f} octave"
    )
    if options.json is not None:
        result: dict[str, Any] = {
            "machine": describe_machine(),
            "settings": {"count": options.count, "octaves": options.octaves, "kimg": options.kimg},
            "similarity": asdict(similarity),
            "levels": [asdict(t) | {"loss_db": t.loss_db} for t in twins],
        }
        write_json(options.json, result)
    return 0


def _explorer(arguments: list[str]) -> None:
    subprocess.run([sys.executable, "-m", "explorer", *arguments], check=True)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    sys.exit(main())
