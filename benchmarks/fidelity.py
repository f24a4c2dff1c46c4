"""How true a checkpoint is to the image it was trained on, level by level.

    python -m benchmarks.fidelity CKPT IMAGE [--json F]

Windows that training never saw exactly (64 a level, placed by a seed of their own, inside the
field) are rendered by the checkpoint and by `ImagePyramid`, the image itself. The image is cropped
as the checkpoint's head says. *Held out* means the windows: the picture is the same one. Whole and
half levels are measured. `scalespace-explorer evaluate` measures this and much more; this is quick.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import describe_machine
from benchmarks.rendering import place_in_field
from benchmarks.tables import table, write_json
from model.header import read_header
from model.metrics.fidelity import psnr
from model.metrics.spectrum import decibels, high_band_power
from model.space import ScaleSpace, Window

WINDOWS = 64
"""Held-out windows a level."""
BATCH = 16
STEP = 0.5
"""Octaves from one measured level to the next."""


@dataclass(frozen=True)
class LevelFidelity:
    """Figures of one level over its windows."""

    level: float
    """Octaves."""
    psnr_db: float
    """`psnr` of all windows together."""
    psnr_worst_db: float
    """`psnr` of the worst window."""
    high_band_db: float
    """`high_band_power` against that of the real windows: 0 is as much texture, -15 a blur."""
    mean_error: float
    """Mean difference of values, in [-1, 1]: a cast of colour or brightness."""


def held_out_windows(space: ScaleSpace, level: float, count: int, seed: int) -> list[Window]:
    """`count` windows of one patch at `level`, uniformly placed inside the field."""
    chance = random.Random(f"held out/{seed}/{level:g}")
    size = space.patch_size
    return [
        Window(
            place_in_field(space, level, (size, size), (chance.random(), chance.random())),
            level,
            size,
            size,
        )
        for _ in range(count)
    ]


def levels_of(space: ScaleSpace, step: float) -> list[float]:
    """The multiples of `step` (octaves, above 0) in the level range of `space`.

    Raises:
        ValueError: `step` is not above 0.
    """
    if step <= 0:
        raise ValueError(f"--step must be above 0 octaves, got {step:g}.")
    low, high = space.level_range
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)] or [low]


def measure_fidelity(
    space: ScaleSpace,
    truth: ScaleSpace,
    levels: Sequence[float],
    count: int = WINDOWS,
    seed: int = 0,
    progress: Callable[[LevelFidelity], None] | None = None,
) -> list[LevelFidelity]:
    """Compare `space` with `truth` on `count` windows a level; `progress` hears of each level."""
    results = []
    for level in levels:
        windows = held_out_windows(space, level, count, seed)
        batches = [windows[i : i + BATCH] for i in range(0, count, BATCH)]
        with torch.inference_mode():
            img = torch.cat([space.render(batch).float().cpu() for batch in batches])
            real_img = torch.cat([truth.render(batch).float().cpu() for batch in batches])
        result = LevelFidelity(
            level=level,
            psnr_db=psnr(img, real_img),
            psnr_worst_db=min(psnr(a, b) for a, b in zip(img, real_img, strict=True)),
            high_band_db=decibels(high_band_power(img), high_band_power(real_img)),
            mean_error=float((img.clamp(-1, 1) - real_img).mean()),
        )
        results.append(result)
        if progress is not None:
            progress(result)
    return results


def open_truth(checkpoint: Path, image: Path) -> ScaleSpace:
    """`image` as the scale space that the checkpoint was trained on: its crop, its patches.

    Raises:
        CheckpointError, ValueError, OSError: One line says what does not fit.
    """
    from model.pyramid import ImagePyramid

    header = read_header(checkpoint)
    source = header.source or {}
    crop = source.get("crop")
    truth = ImagePyramid.open(
        image, crop=None if crop is None else tuple(crop), patch_size=header.patch_size
    )
    if any(abs(a - b) > 1e-3 for a, b in zip(truth.field_size, header.field_size, strict=True)):
        raise ValueError(
            f"the field of {image} must be {header.field_size} as the checkpoint's, got "
            f"{truth.field_size}; give the image it was trained on ({source.get('name', '?')})."
        )
    return truth


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, write the JSON: 0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fidelity", description=__doc__)
    parser.add_argument("checkpoint", type=Path, metavar="CKPT")
    parser.add_argument("image", type=Path, metavar="IMAGE", help="what it was trained on")
    parser.add_argument("--json", type=Path, metavar="F", help="write the figures here too")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--precision", default="auto", help="auto (the app's) or fp32")
    parser.add_argument("--windows", type=int, default=WINDOWS, help="a level (default: 64)")
    parser.add_argument("--step", type=float, default=STEP, help="octaves (default: 0.5)")
    parser.add_argument("--seed", type=int, default=0, help="of the windows' places")
    options = parser.parse_args(arguments)
    try:
        return _report(options)
    except (ValueError, OSError) as error:
        print(f"fidelity: {error}", file=sys.stderr)
        return 1


def _report(options: argparse.Namespace) -> int:
    from model import open_scale_space

    truth = open_truth(options.checkpoint, options.image)
    space = open_scale_space(options.checkpoint, device=options.device, precision=options.precision)
    start = time.perf_counter()
    levels = levels_of(space, options.step)
    rows = measure_fidelity(space, truth, levels, options.windows, options.seed)
    head = ("level", "PSNR dB", "worst dB", "high band dB", "mean error")
    title = (
        f"{options.checkpoint.name} against {options.image.name}, {options.windows} windows a level"
    )
    print(table(title, head, [(f"{r.level:g}", *list(asdict(r).values())[1:]) for r in rows]))
    if options.json:
        result: dict[str, Any] = {
            "checkpoint": options.checkpoint.name,
            "image": options.image.name,
            "windows": options.windows,
            "seed": options.seed,
            "precision": options.precision,
            "levels": [asdict(row) for row in rows],
            "seconds": time.perf_counter() - start,
            "machine": describe_machine(),
        }
        write_json(options.json, result)
        print(f"wrote {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
