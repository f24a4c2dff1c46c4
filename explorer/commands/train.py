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
    from model.events import Events
    from model.runs import Run, RunTick
    from model.training_setup import Recipe

PRESET_NAMES = ("laptop", "studio", "paper")


def add_parser(subparsers: Any) -> None:
    """Add the command to argparse's `subparsers`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "train",
        help="a scale space from one large image, or from patches",
        description="Train a scale space from one large image, or from a folder or zip of patches "
        "of one picture, which find their places first. Patches of several pictures, a folder "
        "each, train one generator for all: a seed is a picture. Runs on several GPUs under "
        "torchrun. Ctrl-C saves and stops.",
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
    parser.add_argument(
        "--aspect",
        type=positive_float,
        default=1.0,
        metavar="A",
        help="width over height of the scene, for --placement none (default: 1)",
    )
    parser.add_argument("--exclude", metavar="F", help="patches to leave out, one name a line")
    parser.add_argument("--licence", default="", help="text for the checkpoint's head")
    parser.add_argument("--cache", metavar="FOLDER", help="where the image's pyramid is kept")
    parser.add_argument(
        "--autosave", type=positive_float, metavar="S", help="seconds from save to save"
    )
    parser.add_argument(
        "--augment",
        default="",
        metavar="KINDS",
        help="for few patches: change what the discriminator sees, color,translation,cutout",
    )
    parser.add_argument(
        "--no-adversary",
        dest="adversarial",
        action="store_false",
        help="data with places: no discriminator, to compare with; what is invented blurs",
    )
    parser.add_argument(
        "--tensorboard", action="store_true", help="also write TensorBoard events into the run"
    )
    parser.add_argument(
        "--from",
        dest="start",
        default="",
        metavar="CKPT",
        help="start with the weights and levels of a checkpoint of the same scene; without places "
        "it may know the coarser levels only. The discriminator beside it (NAME.discriminator, "
        "which every run writes) comes with it where it sees detail as strongly: that of a run "
        "which began with a checkpoint. Else a new one is trained, which spoils detail for a while",
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
    from model.distributed import is_first_process
    from model.run_lock import training_alone
    from model.runs import check_folder

    recipe = _recipe(args)
    if not is_first_process():
        return _train(recipe, args)
    check_folder(folder, recipe.resume)  # before a lock comes into it
    with training_alone(folder):
        return _train(recipe, args)


def _train(recipe: Recipe, args: argparse.Namespace) -> int:
    from model.run_files import CHECKPOINT
    from model.trainer import Diverged
    from model.training_setup import close, prepare

    folder = Path(recipe.folder)
    line = ProgressLine(f"reading {Path(args.data).name}")

    def tell(text: str) -> None:
        line.close()
        print(text, file=sys.stderr)

    try:
        training = prepare(recipe, line.report, tell)
    finally:
        line.close()
    ranks = training.trainer.ranks
    events = _events(training) if args.tensorboard and ranks.is_first else None

    def on_tick(tick: RunTick) -> None:
        if events is not None:
            events.add(tick)
        _show(tick)

    try:
        training.train(on_tick, _stop_on_interrupt().is_set)
        ranks.leave()  # not after an error: others may be in an exchange that none can join now
    except Diverged as error:
        raise RuntimeError(
            f"training stopped: {error} The last saved state in {folder} is good; "
            "add --resume to go on from there."
        ) from error
    finally:
        if ranks.is_first:
            print(file=sys.stderr)
        if events is not None:
            events.close()
        close(training.source)
    if ranks.is_first:
        print(folder / CHECKPOINT)
    return 0


def _events(training: Run) -> Events | None:
    """Where TensorBoard finds the run; None, and a line that says so, where that is missing."""
    from model.events import Events

    try:
        return Events(training.folder, training.trainer.step_count)
    except ImportError as error:
        print(error, file=sys.stderr)
        return None


def _recipe(args: argparse.Namespace) -> Recipe:
    """What the command line asks for."""
    from model.data.patches import read_excludes
    from model.training_setup import Recipe

    return Recipe(
        data=args.data,
        folder=args.out,
        preset=args.preset,
        minutes=args.minutes,
        kimg=args.kimg,
        levels=tuple(args.levels) if args.levels else None,
        crop=tuple(args.crop) if args.crop else None,
        placement=args.placement,
        aspect=args.aspect,
        exclude=tuple(read_excludes(Path(args.exclude))) if args.exclude else (),
        licence=args.licence,
        cache=args.cache,
        autosave_seconds=args.autosave,
        augment=args.augment,
        adversarial=args.adversarial,
        seed=args.seed,
        start=args.start,
        resume=args.resume,
        device=args.device,
    )


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
