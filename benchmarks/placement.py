"""How well patches find their place: cut from an image, shuffled, placed, compared with the truth.

    python -m benchmarks.placement --image IMAGE --count N --octaves K
        [--label-noise 0.1] [--foreign 0.02] [--foreign-image IMAGE] [--json F]

Patches are cut as the paper's data were: level uniform within each octave, place uniform. Every
octave covers the field at least `COVERAGE` times; what is left of the count is spread evenly.
Labels get noise, some patches are replaced by such of another picture, and all are shuffled.
Errors are what is left after the one offset that no patch can tell, in pixels of the patch.
"""

from __future__ import annotations

import argparse
import math
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.machine import describe_machine
from benchmarks.options import add_picture, crop_of
from benchmarks.tables import table, write_json
from explorer.progress import ProgressLine
from model.placement import PlacementConfig, PlacementResult, place_patches
from model.pyramid import ImagePyramid

COVERAGE, COVERAGE_RISE = 1.55, 1.3
"""Times that the finest octave's patches cover the field, at least, and by how much more each
coarser one does: what an octave leaves bare, the next finer one has to find without."""
_CUT_BATCH = 200


@dataclass(frozen=True)
class OctavePlacement:
    """Figures of one octave's own patches."""

    octave: int
    """Levels from this to the next whole one."""
    count: int
    coverage: float
    """Patches' area over the field's."""
    placed: float
    """Share of the count, in [0, 1]."""
    error_median_px: float
    error_95_px: float
    error_max_px: float
    level_error_median: float
    """Octaves."""


@dataclass(frozen=True)
class Trial:
    """Patches with their truth, shuffled."""

    images: np.ndarray
    """uint8 [N, P, P, 3]."""
    labels: np.ndarray
    """Levels with noise. float64 [N]."""
    levels: np.ndarray
    """True levels. float64 [N]."""
    center_xy: np.ndarray
    """True centres, field units. float64 [N, 2]."""
    foreign: np.ndarray
    """Patches of the other picture. bool [N]."""


def octave_counts(count: int, octaves: int, area: float) -> list[int]:
    """Patches of each octave: enough for `COVERAGE`, the rest evenly.

    Args:
        count: Patches in all.
        octaves: Levels 0 to this.
        area: Of the field, square field units.
    """
    # The mean of 4**-level over an octave is 3 / (4 ln 4) of its value at the octave's beginning.
    mean_area = 3 / (4 * math.log(4))
    needed = [
        COVERAGE * COVERAGE_RISE ** (octaves - 1 - k) * area / (mean_area * 0.25**k)
        for k in range(octaves)
    ]
    low, high = 0.0, float(count)
    for _ in range(60):
        even = (low + high) / 2
        if sum(max(even, n) for n in needed) > count:
            high = even
        else:
            low = even
    counts = [int(max(low, n)) for n in needed]
    counts[-1] += count - sum(counts)
    if counts[-1] < 1:
        raise ValueError(
            f"{count} patches cannot cover {octaves} octaves {COVERAGE} times; ask for more."
        )
    return counts


def cut_trial(
    picture: ImagePyramid,
    other: ImagePyramid,
    count: int,
    octaves: int,
    label_noise: float,
    foreign_share: float,
    seed: int,
    progress: ProgressLine,
) -> Trial:
    """Cut the patches.

    Args:
        picture: What is to be put together.
        other: Where the foreign patches come from.
        count: Patches, foreign ones included.
        octaves: Levels 0 to this.
        label_noise: Labels are off by up to this, octaves, uniform.
        foreign_share: Share of the foreign patches.
        seed: Fixes everything.
        progress: Called with the fraction that is cut.
    """
    rng = np.random.default_rng(seed)
    width, height = picture.field_size
    counts = octave_counts(count, octaves, width * height)
    levels = np.concatenate([k + rng.random(n) for k, n in enumerate(counts)])
    levels = levels[rng.permutation(count)]
    foreign = np.zeros(count, bool)
    foreign[rng.choice(count, round(foreign_share * count), replace=False)] = True
    span = 2.0 ** -levels[:, None]
    place = rng.random((count, 2)) - 0.5
    size = np.where(foreign[:, None], other.field_size, picture.field_size)
    center = place * (size - span)
    side = picture.patch_size
    images = np.empty((count, side, side, 3), np.uint8)
    for source, rows in ((picture, np.flatnonzero(~foreign)), (other, np.flatnonzero(foreign))):
        for begin in range(0, len(rows), _CUT_BATCH):
            chosen = rows[begin : begin + _CUT_BATCH]
            origin = center[chosen] - span[chosen] / 2
            cut = source.sample(origin, levels[chosen], side).numpy()
            cut = np.clip(np.round((cut + 1) * 127.5), 0, 255)
            images[chosen] = cut.astype(np.uint8).transpose(0, 2, 3, 1)
            progress(min(1.0, (begin + len(chosen)) / count))
    labels = levels + rng.uniform(-label_noise, label_noise, count)
    return Trial(images, labels, levels, center, foreign)


def compare(trial: Trial, result: PlacementResult, area: float) -> list[OctavePlacement]:
    """Errors by octave, after the one offset that is free (the median of all differences)."""
    placed = result.placed & ~trial.foreign
    difference = result.center_xy - trial.center_xy
    difference = difference - np.median(difference[placed], 0)
    pixels = result_pixels(trial)
    error = np.hypot(difference[:, 0], difference[:, 1]) * pixels
    rows = []
    for octave in range(math.ceil(trial.levels.max())):
        own = (trial.levels >= octave) & (trial.levels < octave + 1) & ~trial.foreign
        if not own.any():
            continue
        here = own & placed
        errors = error[here] if here.any() else np.array([math.nan])
        level = np.abs(result.level - trial.levels)[here]
        rows.append(
            OctavePlacement(
                octave,
                int(own.sum()),
                float((4.0 ** -trial.levels[own]).sum() / area),
                float(here.sum() / own.sum()),
                float(np.median(errors)),
                float(np.quantile(errors, 0.95)),
                float(errors.max()),
                float(np.median(level)) if here.any() else math.nan,
            )
        )
    return rows


def result_pixels(trial: Trial) -> np.ndarray:
    """Patch pixels per field unit of each patch, by its true level. float64 [N]."""
    return trial.images.shape[1] * 2.0**trial.levels


def procedural_picture(width: int, height: int, seed: int) -> np.ndarray:
    """A picture with texture at every scale: noise of all octaves, and discs.

    Returns:
        uint8 [height, width, 3].
    """
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    cells, gain = 4, 60.0
    while cells < max(width, height):
        shape = (max(2, cells * height // width), cells)
        for channel in range(3):
            noise = Image.fromarray(rng.standard_normal(shape).astype(np.float32))
            grown = noise.resize((width, height), Image.Resampling.BICUBIC)
            total[..., channel] += gain * np.asarray(grown)
        cells, gain = cells * 2, gain * 0.8
    for _ in range(40):
        x, y = rng.integers(0, width), rng.integers(0, height)
        radius = max(1, int(min(width, height) * rng.uniform(0.005, 0.08)))
        across = slice(max(0, x - radius), x + radius)
        down = slice(max(0, y - radius), y + radius)
        rows, columns = np.ogrid[:height, :width]
        inside = (rows[down] - y) ** 2 + (columns[:, across] - x) ** 2 < radius**2
        total[down, across][inside] += rng.uniform(-80, 80, 3).astype(np.float32)
    return np.clip(total + 128, 0, 255).astype(np.uint8)


def main(argv: Sequence[str] | None = None) -> int:
    """Cut, place, compare, print."""
    args = _parser().parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        other_path = args.foreign_image
        if other_path is None:
            other_path = Path(folder) / "other.png"
            Image.fromarray(procedural_picture(2048, 1536, 7)).save(other_path)
        crop = crop_of(args)
        line = ProgressLine("reading the image")
        picture = ImagePyramid.open(
            args.image, crop=crop, patch_size=args.patch_size, cache_dir=args.cache, progress=line
        )
        line.close()
        other = ImagePyramid.open(other_path, patch_size=args.patch_size, cache_dir=folder)
        line = ProgressLine("cutting")
        trial = cut_trial(
            picture,
            other,
            args.count,
            args.octaves,
            args.label_noise,
            args.foreign,
            args.seed,
            line,
        )
        line.close()
        other.close()
    area = picture.field_size[0] * picture.field_size[1]
    picture.close()
    report = _placed(args, trial, area)
    print(_as_text(report))
    if args.json is not None:
        write_json(Path(args.json), report)
    return 0


def _placed(args: argparse.Namespace, trial: Trial, area: float) -> dict[str, Any]:
    """Place the patches and say how well that went."""
    line = ProgressLine("placing")
    begin, begin_cpu = time.monotonic(), time.process_time()
    config = PlacementConfig(level_error=max(0.1, args.label_noise), device=args.device)
    result = place_patches(trial.images, trial.labels, config, line)
    seconds, cpu = time.monotonic() - begin, time.process_time() - begin_cpu
    line.close()
    own = ~trial.foreign
    return {
        "count": args.count,
        "octaves": args.octaves,
        "label_noise": args.label_noise,
        "foreign": int(trial.foreign.sum()),
        "foreign_placed": int((result.placed & trial.foreign).sum()),
        "own_placed": float((result.placed & own).sum() / own.sum()),
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "field_size": result.field_size,
        "by_octave": [asdict(row) for row in compare(trial, result, area)],
        "reasons": {r: result.reason.count(r) for r in sorted(set(result.reason)) if r},
        "machine": describe_machine(),
    }


def _as_text(report: dict[str, Any]) -> str:
    """The page that is printed."""
    rows = [
        [
            str(row["octave"]),
            str(row["count"]),
            f"{row['coverage']:.1f}",
            f"{100 * row['placed']:.2f} %",
            f"{row['error_median_px']:.3f}",
            f"{row['error_95_px']:.3f}",
            f"{row['error_max_px']:.1f}",
            f"{row['level_error_median']:.4f}",
        ]
        for row in report["by_octave"]
    ]
    head = ["octave", "own", "coverage", "placed", "median px", "95 % px", "max px", "level"]
    return "\n".join(
        [
            table("placement", head, rows),
            f"own placed: {100 * report['own_placed']:.2f} %; foreign placed: "
            f"{report['foreign_placed']} of {report['foreign']}; not placed: {report['reasons']}",
            f"{report['seconds']:.0f} s ({report['cpu_seconds']:.0f} s of processor), "
            f"peak memory {report['peak_memory_gb']:.1f} GB, "
            f"field {report['field_size'][0]:.4f} x {report['field_size'][1]:.4f}",
        ]
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.placement", description="Measure placement."
    )
    add_picture(parser)
    parser.add_argument("--patch-size", type=int, default=64, metavar="P")
    parser.add_argument("--count", type=int, default=20_000, metavar="N")
    parser.add_argument("--octaves", type=int, default=5, metavar="K")
    parser.add_argument("--label-noise", type=float, default=0.1, metavar="OCTAVES")
    parser.add_argument("--foreign", type=float, default=0.02, metavar="SHARE")
    parser.add_argument("--foreign-image", type=Path, help="default: a procedural picture")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", metavar="F", help="write the figures there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
