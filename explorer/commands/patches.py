"""`scalespace-explorer patches`: an unregistered training set, cut from one large image."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from explorer.cli import UsageError, add_device, finite_float, positive_float, positive_int
from explorer.progress import ProgressLine

FORMS = ("dataset.json", "csv", "folders", "zip")


def add_parser(subparsers: Any) -> None:
    """Add the command to argparse's `subparsers`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "patches",
        help="an unregistered training set cut from an image",
        description="Cut an unregistered training set from one large image: patches of known level "
        "(up to noise) and unknown place, in no order.",
    )
    parser.add_argument("image", metavar="IMAGE", help="image, .dzi or Zoomify folder")
    parser.add_argument(
        "--out", required=True, metavar="FOLDER|FILE.zip", help="new or empty folder, or new zip"
    )
    number = parser.add_mutually_exclusive_group(required=True)
    number.add_argument(
        "--count", type=positive_int, metavar="N", help="patches, levels uniform over A to B"
    )
    number.add_argument(
        "--per-octave",
        nargs="+",
        type=_count,
        metavar="N",
        help="patches in each of equal parts of A to B, coarse to fine; "
        "the paper took 500 1500 4000 30000 ...",
    )
    parser.add_argument(
        "--levels",
        nargs=2,
        type=finite_float,
        required=True,
        metavar=("A", "B"),
        help="lowest and highest level, octaves; one patch has level 0 exactly where A is 0",
    )
    parser.add_argument("--patch-size", type=positive_int, default=64, metavar="P", help="pixels")
    parser.add_argument(
        "--crop",
        nargs=4,
        type=int,
        metavar=("X0", "Y0", "X1", "Y1"),
        help="part of the image, pixels (default: all of it)",
    )
    parser.add_argument("--seed", type=int, default=0, help="same seed, same patches")
    parser.add_argument(
        "--label-noise",
        type=positive_float,
        default=0.0,
        metavar="OCTAVES",
        help="labels are off by up to this much",
    )
    parser.add_argument(
        "--level-step",
        type=positive_float,
        metavar="OCTAVES",
        help="levels are multiples of this (default: continuous; 1 for --form folders)",
    )
    parser.add_argument("--truth", metavar="FILE.csv", help="true levels and places, for tests")
    parser.add_argument(
        "--form", choices=FORMS, help="how labels are kept (default: dataset.json, or zip by name)"
    )
    parser.add_argument("--cache", metavar="FOLDER", help="where the image's pyramid is kept")
    add_device(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Cut the patches and move them into place."""
    out = Path(args.out)
    form = args.form or ("zip" if out.suffix.lower() == ".zip" else "dataset.json")
    truth = _truth_path(args, out)
    from model.data.cut import CutConfig, check_target, write_patches
    from model.pyramid import ImagePyramid

    config = CutConfig(
        levels=(args.levels[0], args.levels[1]),
        counts=tuple(args.per_octave or [args.count]),
        seed=args.seed,
        label_noise=args.label_noise,
        level_step=args.level_step or (1.0 if form == "folders" else 0.0),
    )
    check_target(out, form)
    line = ProgressLine(f"reading {Path(args.image).name}")
    try:
        pyramid = ImagePyramid.open(
            args.image,
            crop=tuple(args.crop) if args.crop else None,
            patch_size=args.patch_size,
            cache_dir=args.cache,
            progress=line,
        )
    finally:
        line.close()
    line = ProgressLine(f"cutting {out.name}")
    try:
        write_patches(pyramid, config, out, form, truth, line)
    finally:
        line.close()
        pyramid.close()
    print(out)
    return 0


def _truth_path(args: argparse.Namespace, out: Path) -> Path | None:
    """Where the truth goes: a .csv that can be written and is not part of the data set."""
    if args.truth is None:
        return None
    truth = Path(args.truth)
    if truth.suffix.lower() != ".csv" or not truth.parent.is_dir() or truth.is_dir():
        raise UsageError(f"--truth must be a .csv in a folder that exists, got {args.truth}.")
    if out.resolve() in truth.resolve().parents:
        raise UsageError(f"--truth must lie outside of --out, got {args.truth}.")
    return truth


def _count(text: str) -> int:
    """argparse type: a whole number of 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number of 0 or more, got {text!r}")
    return int(text)
