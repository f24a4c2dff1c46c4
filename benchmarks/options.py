"""Command-line options that several benchmarks share."""

from __future__ import annotations

import argparse
from pathlib import Path

from model.presets import PRESETS


def add_picture(parser: argparse.ArgumentParser) -> None:
    """Which picture is measured: `--image`, `--crop`, `--cache`."""
    parser.add_argument("--image", type=Path, required=True, help="the picture, any form")
    parser.add_argument(
        "--crop", type=int, nargs=4, metavar=("X0", "Y0", "X1", "Y1"), help="part of it, pixels"
    )
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="for the picture's pyramid")


def add_preset(parser: argparse.ArgumentParser) -> None:
    """Size of the networks that are trained: `--preset`."""
    parser.add_argument("--preset", choices=tuple(PRESETS), default="laptop")


def crop_of(options: argparse.Namespace) -> tuple[int, int, int, int] | None:
    """The part that `--crop` names; None: all of the picture."""
    if options.crop is None:
        return None
    x0, y0, x1, y1 = options.crop
    return x0, y0, x1, y1
