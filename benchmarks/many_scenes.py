"""Does one generator hold many scenes: which do its latents show, and is each one scene?

    python -m benchmarks.many_scenes --image IMAGE [--crop X0 Y0 X1 Y1] [--scenes 8]
        [--octaves 4] [--count 1500] [--kimg 12] [--folder FOLDER] [--json F] [--strips F.jpg]
    python -m benchmarks.many_scenes --image IMAGE ... --checkpoint CKPT [--json F] [--strips F.jpg]

Square crops of an image, of different places and sizes, are scenes of their own: patches are cut
from each, without places, and one generator learns them all. Then 64 latents are drawn. Each is
said to show the real scene to which its whole view is most alike, low-passed to 16 x 16 pixels.
Whether a latent is one scene over its octaves is asked of its own views: a fine one, averaged, is
compared with the coarse one about the same place, and, as a control, with that of another latent.
With `--checkpoint` nothing is trained: that one is measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.machine import describe_machine
from benchmarks.options import add_picture, add_preset, crop_of
from benchmarks.quality.pictures import make_latent_strips
from benchmarks.tables import facts, table, write_json
from explorer.progress import ProgressLine
from kernels.resample import resample
from model.data.cut import CutConfig, write_patches
from model.header import read_header
from model.losses import diversity
from model.metrics.consistency import consistency_windows, shared_pixels
from model.metrics.fidelity import psnr_of_mse
from model.metrics.layout import LOW_PASS_PX
from model.metrics.windows import render_all
from model.presets import PRESETS
from model.pyramid import ImagePyramid
from model.run_files import CHECKPOINT, LOG, STATE
from model.scale import whole_levels
from model.space import ScaleSpace, Window
from model.training_setup import Recipe, close, prepare

LATENTS = 64
ALIKE = 0.5
"""Correlation from which a latent is said to show a scene."""
_FIRST_SEED = 1000
SHOWN_SEEDS = range(_FIRST_SEED, _FIRST_SEED + 6)
"""Latents that are drawn: the first of those that are measured."""
_PAIRS = 64
Box = tuple[int, int, int, int]


def scene_boxes(box: Box, count: int, sides: tuple[int, int], seed: int = 0) -> list[Box]:
    """Square crops, each in a cell of its own of a grid over `box`: x0, y0, x1, y1 in its pixels.

    Args:
        box: Where they lie.
        count: Scenes.
        sides: Smallest and largest side, pixels; spread evenly in octaves.
        seed: Of places.

    Raises:
        ValueError: The largest does not fit into a cell.
    """
    width, height = box[2] - box[0], box[3] - box[1]
    columns = max(1, round((count * width / height) ** 0.5))
    rows = -(-count // columns)
    cell = (width // columns, height // rows)
    if sides[1] > min(cell):
        raise ValueError(
            f"{count} scenes of up to {sides[1]} px need cells of as many, got {cell}; "
            "ask for fewer scenes or smaller --sides."
        )
    rng = np.random.default_rng(seed)
    lengths = rng.permutation(np.geomspace(*sides, count).round().astype(int))
    found = []
    for index, side in enumerate(lengths.tolist()):
        x = box[0] + index % columns * cell[0] + int(rng.integers(0, cell[0] - side + 1))
        y = box[1] + index // columns * cell[1] + int(rng.integers(0, cell[1] - side + 1))
        found.append((x, y, x + side, y + side))
    return found


def layouts(img: torch.Tensor) -> np.ndarray:
    """Low-passed images [N, 3, P, P], each channel less its mean, of unit length: [N, 768].

    The scalar product of two is their correlation, as `model.metrics.layout` has it.
    """
    small = F.adaptive_avg_pool2d(img.double(), LOW_PASS_PX)
    flat = (small - small.mean((2, 3), keepdim=True)).flatten(1).numpy()
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9))


def whole_views(space: ScaleSpace, seeds: Sequence[int]) -> torch.Tensor:
    """The whole scene of each latent at level 0: float32 [N, 3, P, P]."""
    p = space.patch_size
    return render_all(space, [Window((-0.5, -0.5), 0.0, p, p, seed) for seed in seeds])


def agreement(
    space: ScaleSpace, level: float, seeds: Sequence[int], shown: Sequence[int]
) -> tuple[float, float]:
    """PSNR (dB) of fine views against views an octave further out about the same places.

    Args:
        space: Renders both.
        level: Of the fine views, octaves.
        seeds: Latents; each gives as many pairs.
        shown: Which scene each shows; the control is a latent that shows another, if any does.

    Returns:
        Of the same latent, and of another.
    """
    rng = np.random.default_rng(0)
    each = max(1, _PAIRS // len(seeds))
    fine, coarse, moved = consistency_windows(space, level, 1.0, each * len(seeds), rng)
    p = space.patch_size
    inside = shared_pixels(p, 1.0)
    first = (p - inside) // 2
    own = [seeds[i // each] for i in range(len(fine))]
    other = []
    for i in range(len(fine)):
        unlike = [s for s, scene in zip(seeds, shown) if scene != shown[i // each]] or list(seeds)
        other.append(unlike[i % len(unlike)])
    origin = torch.from_numpy(p / 2 + (first - p / 2 - moved) * 2.0)
    img = render_all(space, [replace(w, seed=s) for w, s in zip(fine, own)])
    pooled = resample(img, origin, origin.new_full((len(fine),), 2.0), (inside, inside))
    found = []
    for which in (own, other):
        views = render_all(space, [replace(w, seed=s) for w, s in zip(coarse, which)])
        there = views[..., first : first + inside, first : first + inside]
        found.append(psnr_of_mse(float((pooled - there).double().square().mean())))
    return found[0], found[1]


def measure(
    space: ScaleSpace, scenes: Sequence[ScaleSpace], latents: int = LATENTS
) -> dict[str, Any]:
    """Which scenes latents show, how much they differ, and whether each is one over octaves."""
    seeds = list(range(_FIRST_SEED, _FIRST_SEED + latents))
    views = whole_views(space, seeds)
    real = torch.cat([whole_views(scene, [0]) for scene in scenes])
    likeness = layouts(views) @ layouts(real).T
    nearest, best = likeness.argmax(1), likeness.max(1)
    shown = np.bincount(nearest[best >= ALIKE], minlength=len(scenes))
    own = layouts(real) @ layouts(real).T
    np.fill_diagonal(own, -1.0)
    levels = whole_levels((1.0, space.level_range[1]))
    few, whose = seeds[:16], nearest[:16].tolist()
    pairs = {f"{level:g}": agreement(space, level, few, whose) for level in levels}
    return {
        "latents_by_scene": shown.tolist(),
        "shown": int((shown > 0).sum()),
        "no_scene": int((best < ALIKE).sum()),
        "likeness": {"median": float(np.median(best)), "real_scenes_highest": float(own.max())},
        "diversity": diversity(views, real),
        "consistency_db": {k: {"own": a, "another": b} for k, (a, b) in pairs.items()},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was found, write the JSON: 0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.many_scenes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_picture(parser)
    parser.add_argument("--scenes", type=int, default=8, help="default: 8")
    parser.add_argument("--sides", type=int, nargs=2, default=(1024, 3000), metavar=("A", "B"))
    parser.add_argument("--octaves", type=int, default=4, help="levels 0 to this (default: 4)")
    parser.add_argument("--count", type=int, default=1500, help="patches a scene (default: 1500)")
    parser.add_argument("--kimg", type=float, default=12.0, help="default: 12")
    add_preset(parser)
    parser.add_argument(
        "--checkpoint", type=Path, metavar="CKPT", help="measure this, train nothing"
    )
    parser.add_argument("--folder", type=Path, help="keep patches and the run here, and go on")
    parser.add_argument("--json", type=Path, metavar="F", help="write the figures here too")
    parser.add_argument(
        "--strips", type=Path, metavar="F.jpg", help="draw a few latents at every octave"
    )
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = options.folder or Path(scratch)
            folder.mkdir(parents=True, exist_ok=True)
            result = _train_and_measure(options, folder)
    except (ValueError, OSError) as error:
        print(f"many_scenes: {error}", file=sys.stderr)
        return 1
    if options.json is not None:
        write_json(options.json, result)
        print(f"\nwrote {options.json}")
    return 0


def _train_and_measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from model import open_scale_space

    boxes = _boxes(options)
    patch_size = PRESETS[options.preset].generator.patch_size
    pyramids = []
    try:
        for index, box in enumerate(boxes):
            line = ProgressLine(f"cutting scene {index + 1} of {len(boxes)}")
            pyramid = ImagePyramid.open(
                options.image, crop=box, patch_size=patch_size, cache_dir=options.cache
            )
            pyramids.append(pyramid)
            out = folder / "patches" / f"scene{index + 1}"
            if options.checkpoint is None and not out.exists():
                out.parent.mkdir(exist_ok=True)
                config = CutConfig((0.0, float(options.octaves)), (options.count,), seed=index)
                write_patches(pyramid, config, out, "dataset.json", None, line)
            line.close()
        if options.checkpoint is None:
            cost, checkpoint = _train(options, folder), folder / "run" / CHECKPOINT
        else:
            checkpoint = options.checkpoint
            training = read_header(checkpoint).training
            cost = {name: training[name] for name in ("kimg", "minutes") if name in training}
        space = open_scale_space(checkpoint, device="cpu")
        found = measure(space, pyramids)
        if options.strips is not None:
            levels = [float(level) for level in range(options.octaves + 1)]
            make_latent_strips(space, SHOWN_SEEDS, levels, options.strips)
    finally:
        for pyramid in pyramids:
            pyramid.close()
    title = f"{found['shown']} of {len(boxes)} scenes are shown by {LATENTS} latents"
    latents = found["latents_by_scene"]
    rows = [(i + 1, box[2] - box[0], n) for i, (box, n) in enumerate(zip(boxes, latents))]
    print(table(title, ("scene", "side px", "latents"), rows))
    plain = {
        "latents that show none": found["no_scene"],
        "correlation with the scene shown, median": found["likeness"]["median"],
        "highest between two real scenes": found["likeness"]["real_scenes_highest"],
        "diversity (1: as the real scenes)": found["diversity"],
    }
    print(facts("\nlatents", plain))
    pairs = [(k, v["own"], v["another"]) for k, v in found["consistency_db"].items()]
    print("\n" + table("consistency over octaves, dB", ("level", "own", "another"), pairs))
    return {
        "machine": describe_machine(),
        "settings": {
            name: getattr(options, name)
            for name in ("scenes", "sides", "octaves", "count", "preset")
        }
        | {"image": options.image.name, "boxes": boxes},
        **cost,
        **found,
    }


def _boxes(options: argparse.Namespace) -> list[Box]:
    box = crop_of(options)
    if box is None:
        pyramid = ImagePyramid.open(options.image, cache_dir=options.cache)
        box = (0, 0, *pyramid.base_size)
        pyramid.close()
    return scene_boxes(box, options.scenes, tuple(options.sides))


def _train(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train, or go on; what it cost, and the diversity that training saw last."""
    line = ProgressLine("training")
    run = prepare(
        Recipe(
            data=str(folder / "patches"),
            folder=str(folder / "run"),
            preset=options.preset,
            kimg=options.kimg,
            placement="none",
            resume=(folder / "run" / STATE).exists(),
        ),
        line.report,
    )
    busy = time.process_time()
    try:
        run.train(lambda tick: line(tick.fraction))
    finally:
        line.close()
        close(run.source)
    log = [json.loads(text) for text in (folder / "run" / LOG).read_text().splitlines()]
    seen = [tick["losses"].get("diversity") for tick in log[-10:]]
    return {
        "kimg": run.trainer.cur_nimg / 1000,
        "minutes": run.trainer.elapsed / 60,
        "processor_minutes_of_this_call": (time.process_time() - busy) / 60,
        "training_diversity": float(np.mean([v for v in seen if v is not None] or [np.nan])),
    }


if __name__ == "__main__":
    sys.exit(main())
