"""How true a checkpoint is to the image it was trained on, level by level.

    python -m benchmarks.fidelity CKPT IMAGE [--json F]

Windows that training never saw exactly (64 a level, placed by a seed of their own, inside the
field) are rendered by the checkpoint and by `ImagePyramid`, the image itself. The image is cropped
as the checkpoint's head says. *Held out* means the windows: the picture is the same one.
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
from benchmarks.rendering import place_in_field, whole_levels
from benchmarks.tables import table, write_json
from model.header import CheckpointError, read_header
from model.space import ScaleSpace, Window

WINDOWS = 64
"""Held-out windows a level."""
BATCH = 16
HIGH_BAND = 0.25
"""Half the Nyquist frequency, cycles per pixel."""


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


def psnr(img: torch.Tensor, real_img: torch.Tensor) -> float:
    """Peak signal to noise ratio, dB: 10 log10(2**2 / mean squared difference).

    The mean is over everything: of many windows this is lower than the mean of their ratios. Values
    outside [-1, 1] are cut off first, as the screen does.

    Args:
        img, real_img: In [-1, 1]. float [..., 3, H, W].
    """
    difference = img.clamp(-1, 1).double() - real_img.clamp(-1, 1).double()
    mse = float(difference.square().mean())
    return math.inf if mse == 0 else 10 * math.log10(4 / mse)


def high_band_power(img: torch.Tensor) -> float:
    """Mean power above half the Nyquist frequency.

    Each channel of each window loses its mean and is weighted by a Hann window; the squared modulus
    of its Fourier transform, over the sum of the squared weights, is averaged over all frequencies
    (fx, fy) with hypot(fx, fy) > 0.25 cycles per pixel, over channels and windows. White noise of
    variance v has v whatever the size of the windows.

    Args:
        img: float [N, C, H, W].
    """
    height, width = img.shape[-2:]
    x = img.clamp(-1, 1).double()
    x = x - x.mean((-2, -1), keepdim=True)
    weights = torch.outer(
        torch.hann_window(height, periodic=False, dtype=torch.float64),
        torch.hann_window(width, periodic=False, dtype=torch.float64),
    )
    power = torch.fft.fft2(x * weights).abs().square() / weights.square().sum()
    frequency = torch.hypot(
        torch.fft.fftfreq(height, dtype=torch.float64)[:, None],
        torch.fft.fftfreq(width, dtype=torch.float64)[None],
    )
    return float(power[..., frequency > HIGH_BAND].mean())


def decibels(power: float, reference: float) -> float:
    """10 log10(power / reference); infinities where one of them is 0."""
    if power == reference:
        return 0.0
    if power <= 0 or reference <= 0:
        return math.inf if power > reference else -math.inf
    return 10 * math.log10(power / reference)


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
    parser.add_argument("--seed", type=int, default=0, help="of the windows' places")
    options = parser.parse_args(arguments)
    try:
        return _report(options)
    except (CheckpointError, ValueError, OSError) as error:
        print(f"fidelity: {error}", file=sys.stderr)
        return 1


def _report(options: argparse.Namespace) -> int:
    from model import open_scale_space

    truth = open_truth(options.checkpoint, options.image)
    space = open_scale_space(options.checkpoint, device=options.device, precision=options.precision)
    start = time.perf_counter()
    rows = measure_fidelity(space, truth, whole_levels(space), options.windows, options.seed)
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
