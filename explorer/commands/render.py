"""`scalespace-explorer render`: a still of one view, the same pixels as the app shows."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from explorer.api import STILL_FORMATS
from explorer.cli import add_device, add_seed, finite_float, positive_int
from explorer.commands._offline import check_output, opened
from explorer.progress import ProgressLine


def add_parser(subparsers: Any) -> None:
    """Add the command to argparse's `subparsers`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "render", help="a still of one view", description="Render a still of one view."
    )
    parser.add_argument("scene", metavar="CKPT", help="checkpoint, image or run folder")
    parser.add_argument(
        "--center",
        nargs=2,
        type=finite_float,
        metavar=("X", "Y"),
        required=True,
        help="centre of the view, field units: the shorter side of the scene is 1, 0 0 its middle",
    )
    parser.add_argument(
        "--level",
        type=finite_float,
        metavar="L",
        required=True,
        help="level of the still's own pixels, octaves: patch size * 2^L pixels per field unit",
    )
    parser.add_argument(
        "--size", nargs=2, type=positive_int, metavar=("W", "H"), required=True, help="pixels"
    )
    add_seed(parser)
    parser.add_argument(
        "--out", required=True, metavar="F.png", help=f"the still: {', '.join(STILL_FORMATS)}"
    )
    add_device(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Render the still and move it into place."""
    out = Path(args.out)
    check_output(out, tuple(STILL_FORMATS))
    line = ProgressLine(f"rendering {out.name}")
    with opened(Path(args.scene), args.device) as scene:
        try:
            scene.save_still(
                out, tuple(args.center), args.level, tuple(args.size), args.seed, progress=line
            )
        finally:
            line.close()
    print(out)
    return 0
