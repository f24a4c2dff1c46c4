"""`scalespace-explorer train`: a scale space from one large image, while you wait."""

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
        help="a scale space from one large image",
        description="Train a scale space from one large image. Ctrl-C saves and stops.",
    )
    parser.add_argument("data", metavar="IMAGE", help="one large image")
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
    pyramid = _open_image(args, preset.generator.patch_size, data)
    try:
        if not args.resume:
            low, high = args.levels or (0.0, pyramid.level_range[1])
            preset = preset.for_field(pyramid.field_size, (low, high))
            data["source"] = pyramid.source
        training = Run(folder, preset, pyramid, data, args.resume, resolve_device(args.device))
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
        pyramid.close()
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
    return preset, {"crop": args.crop, "licence": args.licence}


def _open_image(args: argparse.Namespace, patch_size: int, data: dict[str, Any]) -> Any:
    from model.pyramid import ImagePyramid

    line = ProgressLine(f"reading {Path(args.data).name}")
    crop = tuple(data["crop"]) if data["crop"] else None
    try:
        return ImagePyramid.open(
            args.data, crop=crop, patch_size=patch_size, cache_dir=args.cache, progress=line
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
    """One live line."""
    left = tick.minutes * 60 * (1 / max(tick.fraction, 1e-6) - 1)
    losses = "  ".join(f"{name} {value:.4f}" for name, value in tick.losses.items())
    text = (
        f"{tick.kimg:8.1f} kimg  {100 * tick.fraction:5.1f} %  "
        f"{tick.images_per_second:5.1f} img/s  {minutes(left)} left  {losses}"
    )
    end = "" if sys.stderr.isatty() else "\n"
    print(f"\r\033[K{text}" if not end else text, end=end, file=sys.stderr, flush=True)
