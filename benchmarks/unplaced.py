"""What each part of training without places is worth: the full method, and it without one part.

    python -m benchmarks.unplaced --image IMAGE [--crop X0 Y0 X1 Y1] [--count 20000]
        [--octaves 5] [--kimg 10] [--only VARIANT ...] [--folder FOLDER] [--json F]
    python -m benchmarks.unplaced --image IMAGE ... --run RUN [--json F]

Patches are cut from an image, without places. Every variant trains on the same ones, from the same
seed, for as many windows, and is measured against the image, which no training saw. Beside them
stands a bicubic zoom of the whole image at level 0: what is right at the coarsest octave and shows
nothing of its own at the finer ones. With `--run` nothing is trained: a run that is there is
measured beside the zoom.

With `--folder` patches, runs and figures stay there: a second call measures nothing twice, goes on
with a run that was cut off, and adds the variants that are named.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F

import model.presets
import model.trainer
from benchmarks.machine import describe_machine
from benchmarks.options import add_picture, add_preset, crop_of
from benchmarks.tables import table, write_json
from explorer.progress import ProgressLine
from model.consistency import coarser_windows
from model.data.cut import CutConfig, write_patches
from model.discriminator import Discriminator
from model.metrics import EvaluationConfig, evaluate
from model.presets import Preset
from model.pyramid import ImagePyramid
from model.rendering import render_view
from model.run_files import CHECKPOINT, STATE
from model.runs import RunTick
from model.sampling import draw_windows
from model.scale import Lattice, density
from model.space import ScaleSpace, Window, check_batch
from model.training_setup import Recipe, close, prepare

UNIT_ERROR = 2.25
"""The released code of the paper measures places in two units: its canvas of 36 pixels, margins and
all, is 2.25 times as wide as the 16 pixels that are shown, and training forgets the factor."""
ZOOM = "bicubic zoom"
LAYOUT_LEVELS = (0.0, 1.0, 2.0)
_METRICS = ("layout", "swd", "consistency")


class LevelBlind(Discriminator):
    """A discriminator that is told the same level of every patch."""

    def forward(
        self, img: torch.Tensor, levels: torch.Tensor, dtype: torch.dtype = torch.float32
    ) -> torch.Tensor:
        """As `Discriminator.forward`; `levels` are not looked at."""
        return super().forward(img, torch.full_like(levels, sum(self.level_range) / 2), dtype)


def draw_windows_too_wide(
    level: float,
    count: int,
    patch_size: int,
    field_size: tuple[float, float],
    alignment: int,
    rng: Any,
) -> list[Window]:
    """As `model.sampling.draw_windows`, with every place `UNIT_ERROR` times as far off.

    The coarsest window lies where it should; finer ones come from a field that is so much wider
    than what it shows.
    """
    d = density(level, patch_size)
    moved = []
    for w in draw_windows(level, count, patch_size, field_size, alignment, rng):
        x, y = (
            at + round((UNIT_ERROR - 1) * (at * d + patch_size / 2) / alignment) * alignment / d
            for at in w.origin_xy
        )
        moved.append(replace(w, origin_xy=(x, y)))
    return moved


def coarser_windows_too_wide(
    windows: Sequence[Window],
    octaves: float,
    patch_size: int,
    field_size: tuple[float, float],
    alignment: int,
) -> list[Window]:
    """As `model.consistency.coarser_windows`, in the field that `draw_windows_too_wide` fills."""
    width, height = field_size
    wide = (UNIT_ERROR * width, UNIT_ERROR * height)
    return coarser_windows(windows, octaves, patch_size, wide, alignment)


@dataclass(frozen=True)
class Variant:
    """The full method, or it without one part."""

    name: str
    says: str
    loss: dict[str, float] = field(default_factory=dict)
    """Fields of `LossConfig` that differ."""
    train: dict[str, float] = field(default_factory=dict)
    """Fields of `TrainConfig` that differ."""
    in_trainer: dict[str, object] = field(default_factory=dict)
    """Names of `model.trainer` that stand for something else while it trains."""

    def preset(self, preset: Preset) -> Preset:
        """`preset` as the variant has it."""
        return replace(
            preset,
            loss=replace(preset.loss, **self.loss),  # type: ignore[arg-type]
            train=replace(preset.train, **self.train),  # type: ignore[arg-type]
        )

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """While it lasts, the trainer is the variant's."""
        with contextlib.ExitStack() as stack:
            for name, instead in self.in_trainer.items():
                stack.enter_context(mock.patch.object(model.trainer, name, instead))
            yield


VARIANTS = (
    Variant("full", "as it is"),
    Variant("no-consistency", "octaves need not agree", loss={"consistency_weight": 0.0}),
    Variant("no-schedule", "all octaves alike from the start", train={"coarse_first": 1.0}),
    Variant(
        "level-blind",
        "the discriminator is not told the level",
        in_trainer={"Discriminator": LevelBlind},
    ),
    Variant(
        "unit-error",
        f"places {UNIT_ERROR} times too far off, as in the released code",
        in_trainer={
            "draw_windows": draw_windows_too_wide,
            "coarser_windows": coarser_windows_too_wide,
        },
    ),
)


class BicubicZoom:
    """The whole field at level 0, enlarged to any window by cubic convolution."""

    identity = ZOOM

    def __init__(self, scene: ScaleSpace) -> None:
        self.patch_size, self.field_size = scene.patch_size, scene.field_size
        self.level_range = scene.level_range
        # Of whole pixels, an even number of them: the centre of the field is a corner of four.
        width, height = (2 * math.ceil(side * self.patch_size / 2) for side in self.field_size)
        pixels = torch.from_numpy(render_view(scene, (0.0, 0.0), 0.0, (width, height)))
        self._image = (pixels.permute(2, 0, 1)[None].float() / 127.5 - 1).contiguous()

    def render(self, windows: Sequence[Window]) -> torch.Tensor:
        """See `model.space.ScaleSpace.render`."""
        check_batch(windows)
        d = density(windows[0].level, self.patch_size)
        grids = []
        for w in windows:
            axes = []
            for axis, size in enumerate((w.width, w.height)):
                lattice = Lattice.at(w.origin_xy[axis], d)
                at = (lattice.first + lattice.phase + torch.arange(size) + 0.5) / d
                covered = self._image.shape[3 - axis] / self.patch_size  # field units
                axes.append((at / (covered / 2)).float())
            y, x = torch.meshgrid(axes[1], axes[0], indexing="ij")
            grids.append(torch.stack([x, y], 2))
        img = self._image.expand(len(windows), -1, -1, -1)
        return F.grid_sample(img, torch.stack(grids), "bicubic", "border", align_corners=False)


@dataclass(frozen=True)
class Task:
    """What all variants share."""

    patches: Path
    folder: Path
    kimg: float
    """Windows that each sees, thousands."""
    aspect: float
    """Width over height of the scene."""
    preset: Preset
    seed: int = 0


def train_variant(
    variant: Variant, task: Task, on_tick: Callable[[RunTick], None] = lambda tick: None
) -> dict[str, float]:
    """Train it in a folder of its own, or go on with it there.

    Returns:
        `kimg`, `minutes` (wall clock of the steps) and `processor_minutes` (of all threads; those
        of a run that was cut off in proportion).
    """
    folder = task.folder / variant.name
    name = "variant"
    recipe = Recipe(
        data=str(task.patches),
        folder=str(folder),
        preset=name,
        kimg=task.kimg,
        placement="none",
        aspect=task.aspect,
        seed=task.seed,
        resume=(folder / STATE).exists(),
    )
    with (
        mock.patch.dict(model.presets.PRESETS, {name: variant.preset(task.preset)}),
        variant.applied(),
    ):
        run = prepare(recipe, lambda label, share: None)
        try:
            trainer = run.trainer
            before, busy = trainer.elapsed, time.process_time()
            run.train(on_tick)
            busy = time.process_time() - busy
        finally:
            close(run.source)
    share = busy / max(trainer.elapsed - before, 1e-9)
    finished = trainer.elapsed == before
    return {
        "kimg": trainer.cur_nimg / 1000,
        "minutes": trainer.elapsed / 60,
        "processor_minutes": trainer.elapsed * (1.0 if finished else share) / 60,
    }


def measure(
    space: ScaleSpace,
    scene: ScaleSpace,
    levels: Sequence[float],
    windows: int,
    metrics: Sequence[str] = _METRICS,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Figures by level, as `scalespace-explorer evaluate` computes and writes them."""
    config = EvaluationConfig(
        levels=tuple(levels), windows=windows, held_out=64, metrics=tuple(metrics)
    )
    found = evaluate(space, scene, config, progress).to_json()
    return {"figures": found["figures"], "windows": windows, "seconds": found["seconds"]}


def over_zoom(figures: dict[str, Any], zoom: dict[str, Any]) -> dict[str, float]:
    """By level: sliced Wasserstein distance over that of the bicubic zoom, real set's units."""
    return {
        level: found["swd"]["real"]["value"] / zoom[level]["swd"]["real"]["value"]
        for level, found in figures.items()
        if "swd" in found and level in zoom and level not in ("mixed", "mean")
    }


def report(rows: dict[str, dict[str, Any]], levels: Sequence[float], zoom: dict[str, Any]) -> str:
    """Three tables: distance over its floor by level, distance over the zoom's, and the rest."""
    labels = [f"{level:g}" for level in levels]
    distance, share, rest = [], [], []
    for name, row in rows.items():
        figures = row["figures"]
        ratios = [_figure(figures, label, "swd", "real", "ratio") for label in [*labels, "mean"]]
        distance.append([name, *ratios])
        if name != ZOOM:
            quotients = over_zoom(figures, zoom)
            share.append([name, *(quotients.get(label) for label in labels)])
            layout = [
                _figure(figures, f"{level:g}", "layout", "correlation", "value")
                for level in LAYOUT_LEVELS
                if level in levels
            ]
            agree = [_figure(figures, label, "consistency", "1", "value") for label in labels[1:]]
            rest.append([name, *layout, *agree, row.get("kimg"), row.get("processor_minutes")])
    known = [f"layout {level:g}" for level in LAYOUT_LEVELS if level in levels]
    head = ["variant", *known, *(f"dB {label}" for label in labels[1:]), "kimg", "cpu min"]
    return "\n\n".join(
        [
            table("distance over its floor", ["variant", *labels, "mean"], distance),
            table("distance over that of the zoom", ["variant", *labels], share),
            table("layout; consistency with an octave further out", head, rest),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables, write the JSON: 0, or 1 with one line on stderr."""
    options = _parser().parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = options.folder or Path(scratch)
            folder.mkdir(parents=True, exist_ok=True)
            result = _compare(options, folder)
    except (ValueError, OSError) as error:
        print(f"unplaced: {error}", file=sys.stderr)
        return 1
    if options.json is not None:
        write_json(options.json, result)
        print(f"\nwrote {options.json}")
    return 0


def _parser() -> argparse.ArgumentParser:
    names = [variant.name for variant in VARIANTS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.unplaced",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_picture(parser)
    parser.add_argument("--count", type=int, default=20000, help="patches (default: 20000)")
    parser.add_argument("--octaves", type=int, default=5, help="levels 0 to this (default: 5)")
    parser.add_argument("--kimg", type=float, default=10.0, help="of each variant (default: 10)")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="VARIANT")
    parser.add_argument("--run", type=Path, help="measure this run or checkpoint, train nothing")
    parser.add_argument("--windows", type=int, default=500, help="a level (default: 500)")
    add_preset(parser)
    parser.add_argument("--folder", type=Path, help="keep patches, runs and figures here")
    parser.add_argument("--json", type=Path, metavar="F", help="write the figures here too")
    return parser


def _compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Cut, train, measure; print."""
    preset = model.presets.PRESETS[options.preset]
    line = ProgressLine(f"reading {options.image.name}")
    scene = ImagePyramid.open(
        options.image,
        crop=crop_of(options),
        patch_size=preset.generator.patch_size,
        cache_dir=options.cache,
        progress=line,
    )
    line.close()
    settings = {
        "image": options.image.name,
        "crop": options.crop,
        "count": options.count,
        "octaves": options.octaves,
        "kimg": None if options.run else options.kimg,
        "preset": options.preset,
    }
    levels = [float(level) for level in range(options.octaves + 1)]
    try:
        rows: dict[str, dict[str, Any]] = {}
        if options.run is not None:
            rows[options.run.name] = _measured(options.run, scene, levels, options.windows)
        else:
            rows = _trained(options, folder, preset, scene, levels, settings)
        zoom = _kept(
            folder / "zoom.json",
            {k: v for k, v in settings.items() if k != "kimg"} | {"windows": options.windows},
            lambda: measure(BicubicZoom(scene), scene, levels, options.windows, ("swd",)),
        )
    finally:
        scene.close()
    print(report(rows | {ZOOM: zoom}, levels, zoom["figures"]))
    shares = {name: over_zoom(row["figures"], zoom["figures"]) for name, row in rows.items()}
    return {
        "machine": describe_machine(),
        "settings": settings | {"windows": options.windows},
        "says": {v.name: v.says for v in VARIANTS if v.name in rows},
        "over_zoom": shares,
        "variants": rows,
        "zoom": zoom,
    }


def _trained(
    options: argparse.Namespace,
    folder: Path,
    preset: Preset,
    scene: ImagePyramid,
    levels: Sequence[float],
    settings: dict[str, Any],
) -> dict[str, dict[str, Any]]:
    """Figures of every variant that was asked for."""
    patches = folder / "patches.zip"
    if not patches.exists():
        line = ProgressLine(f"cutting {patches.name}")
        config = CutConfig(levels=(levels[0], levels[-1]), counts=(options.count,))
        write_patches(scene, config, patches, "zip", None, line)
        line.close()
    width, height = scene.field_size
    task = Task(patches, folder, options.kimg, width / height, preset)
    rows = {}
    for variant in VARIANTS:
        if variant.name in options.only:
            rows[variant.name] = _kept(
                folder / f"{variant.name}.json",
                settings | {"windows": options.windows},
                lambda variant=variant: _train_and_measure(  # type: ignore[misc]
                    variant, task, scene, levels, options.windows
                ),
            )
    return rows


def _train_and_measure(
    variant: Variant, task: Task, scene: ScaleSpace, levels: Sequence[float], windows: int
) -> dict[str, Any]:
    line = ProgressLine(f"training {variant.name}")
    cost = train_variant(variant, task, lambda tick: line(tick.fraction))
    line.close()
    return cost | _measured(task.folder / variant.name, scene, levels, windows)


def _measured(
    run: Path, scene: ScaleSpace, levels: Sequence[float], windows: int
) -> dict[str, Any]:
    """Figures of a run or checkpoint."""
    from model import open_scale_space

    checkpoint = run / CHECKPOINT if run.is_dir() else run
    line = ProgressLine(f"measuring {run.name}")
    space = open_scale_space(checkpoint, device="cpu")
    found = measure(space, scene, levels, windows, progress=line)
    line.close()
    return found


def _kept(
    path: Path, settings: dict[str, Any], compute: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """What `path` holds, where it is of the same settings; else computed, and kept there."""
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if found.pop("settings") != settings:
            raise ValueError(f"{path} is of other settings; name another --folder, or remove it.")
        return found
    found = compute()
    write_json(path, found | {"settings": settings})
    return found


def _figure(figures: dict[str, Any], level: str, metric: str, name: str, part: str) -> float | None:
    value = figures.get(level, {}).get(metric, {}).get(name, {}).get(part)
    return None if value is None else float(value)


if __name__ == "__main__":
    sys.exit(main())
