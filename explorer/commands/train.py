"""`scalespace-explorer train`: a scale space from one large image, or from many patches of it."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from explorer.cli import UsageError, add_device, finite_float, positive_float
from explorer.progress import ProgressLine, minutes

if TYPE_CHECKING:
    from model.runs import RunTick

PRESET_NAMES = ("laptop", "studio", "paper")


def add_parser(subparsers: Any) -> None:
    """Add the command to argparse's `subparsers`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "train",
        help="a scale space from one large image, or from patches",
        description="Train a scale space from one large image, or from a folder or zip of patches "
        "of one picture, which find their places first. Ctrl-C saves and stops.",
    )
    parser.add_argument(
        "data", metavar="DATA", help="one large image, or a folder or zip of labelled patches"
    )
    parser.add_argument("--out", required=True, metavar="RUN", help="folder of the run")
    parser.add_argument(
        "--preset", choices=PRESET_NAMES, default="laptop", help="size of the networks"
    )
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=positive_float, metavar="M", help="budget in minutes")
    budget.add_argument("--kimg", type=positive_float, metavar="K", help="budget in 1000 windows")
    parser.add_argument(
        "--levels",
        nargs=2,
        type=finite_float,
        metavar=("A", "B"),
        help="levels to learn, octaves (default: 0 to what the image holds)",
    )
    parser.add_argument(
        "--crop",
        nargs=4,
        type=int,
        metavar=("X0", "Y0", "X1", "Y1"),
        help="part of the image, pixels (default: all of it)",
    )
    parser.add_argument(
        "--placement",
        choices=("match", "none"),
        default="match",
        help="patches: find their places, or train without (adversarially, the paper's way)",
    )
    parser.add_argument("--exclude", metavar="F", help="patches to leave out, one name a line")
    parser.add_argument("--licence", default="", help="text for the checkpoint's head")
    parser.add_argument("--cache", metavar="FOLDER", help="where the image's pyramid is kept")
    parser.add_argument(
        "--autosave", type=positive_float, metavar="S", help="seconds from save to save"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the folder's saved state")
    add_device(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train until the budget is used or Ctrl-C, and say where the checkpoint is."""
    folder = Path(args.out)
    if args.resume and not folder.is_dir():
        raise UsageError(f"--resume needs an existing run, {folder} does not exist.")
    from model.opening import resolve_device
    from model.runs import CHECKPOINT, Run
    from model.trainer import Diverged

    preset, data = _recipe(args, folder)
    source = _open_data(args, folder, preset, data)
    try:
        if not args.resume:
            preset = _fitted(args, preset, source)
        training = Run(folder, preset, source, data, args.resume, resolve_device(args.device))
        stop = _stop_on_interrupt()
        try:
            training.train(_show, stop.is_set)
        except Diverged as error:
            raise RuntimeError(
                f"training stopped: {error} The last saved state in {folder} is good; "
                "add --resume to go on from there."
            ) from error
    finally:
        print(file=sys.stderr)
        if source.picture is not None:
            source.picture.close()
    print(folder / CHECKPOINT)
    return 0


def _recipe(args: argparse.Namespace, folder: Path) -> tuple[Any, dict[str, Any]]:
    """Preset and data description: from the command line, or from the run that goes on."""
    from dataclasses import replace

    from model.presets import PRESETS
    from model.runs import load_config, with_budget

    if args.resume:
        preset, data = load_config(folder)
        return with_budget(preset, args.minutes, args.kimg), data
    preset = with_budget(PRESETS[args.preset], args.minutes, args.kimg)
    seconds = args.autosave or preset.train.autosave_seconds
    train = replace(preset.train, seed=args.seed, autosave_seconds=seconds)
    preset = replace(preset, train=train)
    data = {"crop": args.crop, "licence": args.licence, "placement": args.placement}
    return preset, data


def _fitted(args: argparse.Namespace, preset: Any, source: Any) -> Any:
    """The preset for this scene: its field, its levels, and no memory of places without places."""
    from dataclasses import replace

    found = source.level_range
    low, high = args.levels or (0.0 if source.is_registered else found[0], found[1])
    if not source.is_registered:
        preset = replace(preset, generator=replace(preset.generator, memory=None))
    return preset.for_field(source.field_size, (low, high))


def _open_data(args: argparse.Namespace, folder: Path, preset: Any, data: dict[str, Any]) -> Any:
    """What the trainer learns from."""
    from model.data.patches import PatchCollection, open_data, read_excludes
    from model.pyramid import ImagePyramid
    from model.training_data import PictureData
    from model.training_sets import placed_data, unplaced_data

    patch_size = preset.generator.patch_size
    cache = None if args.cache is None else Path(args.cache)
    line = ProgressLine(f"reading {Path(args.data).name}")
    try:
        collection = open_data(args.data)
        if not isinstance(collection, PatchCollection):
            crop = tuple(data["crop"]) if data["crop"] else None
            pyramid = ImagePyramid.open(
                args.data, crop=crop, patch_size=patch_size, cache_dir=cache, progress=line
            )
            data["source"] = pyramid.source
            return PictureData(pyramid)
        if data["crop"]:
            raise UsageError("--crop is for one large image; patches are taken whole.")
        with collection:
            if args.exclude:
                collection = collection.without(read_excludes(Path(args.exclude)))
            if data.get("placement") == "none":
                return unplaced_data(collection, patch_size, line.report)
            return placed_data(
                collection, folder, patch_size, cache, line.report, reuse=args.resume
            )
    finally:
        line.close()


def _stop_on_interrupt() -> threading.Event:
    """An event that the first Ctrl-C sets; the second interrupts at once."""
    stop = threading.Event()

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print("\nsaving, then stopping; Ctrl-C again stops at once.", file=sys.stderr)

    signal.signal(signal.SIGINT, on_interrupt)
    return stop


def _show(tick: RunTick) -> None:
    """One live line; what one should know stays above it."""
    if tick.note:
        clear = "\r\033[K" if sys.stderr.isatty() else ""
        print(f"{clear}{tick.note}", file=sys.stderr)
    left = tick.minutes * 60 * (1 / max(tick.fraction, 1e-6) - 1)
    losses = "  ".join(f"{name} {value:.4f}" for name, value in tick.losses.items())
    text = (
        f"{tick.kimg:8.1f} kimg  {100 * tick.fraction:5.1f} %  "
        f"{tick.images_per_second:5.1f} img/s  {minutes(left)} left  {losses}"
    )
    end = "" if sys.stderr.isatty() else "\n"
    print(f"\r\033[K{text}" if not end else text, end=end, file=sys.stderr, flush=True)
