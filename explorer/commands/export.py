"""`scalespace-explorer export`: the field or a box of it as a file of any size.

The window's export dialog runs it as a process of its own.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.api import EXPORT_FORMATS, work_folder
from explorer.cli import UsageError, add_device, add_seed, finite_float, positive_int
from explorer.commands._offline import check_output, opened
from explorer.progress import ProgressLine, minutes

if TYPE_CHECKING:
    from model.export import Preflight

_ASK_S = 60.0
_ASK_BYTES = 2_000_000_000


def add_parser(subparsers: Any) -> None:
    """Add the command to argparse's `subparsers`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "export",
        help="a file of any size",
        description="Export the whole field, or a box of it, at any level: a pyramidal BigTIFF, a "
        "DeepZoom with a page to look at it, a PNG or a JPEG. Memory stays small whatever the "
        "size. Stopped or killed, it goes on with --resume.",
    )
    parser.add_argument("scene", metavar="CKPT", help="checkpoint, image or run folder")
    parser.add_argument(
        "--level",
        type=finite_float,
        metavar="L",
        required=True,
        help="level of the file's own pixels, octaves: patch size * 2^L pixels per field unit",
    )
    parser.add_argument(
        "--box",
        nargs=4,
        type=finite_float,
        metavar=("X0", "Y0", "X1", "Y1"),
        help="left, top, right, bottom of a part, field units: the shorter side of the scene is 1, "
        "0 0 its middle (default: the whole field)",
    )
    add_seed(parser)
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="of the generator (default: auto, as the app has it)",
    )
    parser.add_argument(
        "--out", required=True, metavar="F.tif", help=f"the file: {', '.join(EXPORT_FORMATS)}"
    )
    parser.add_argument(
        "--quality",
        type=quality,
        metavar="Q",
        help="JPEG quality of pixels, 1 to 100, or 'lossless' (default: 90 for .dzi and .jpg, "
        "lossless for .tif and .png)",
    )
    parser.add_argument(
        "--tile",
        type=positive_int,
        default=256,
        metavar="PX",
        help="side of the tiles in a .tif or .dzi, pixels (default: 256)",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on where a stopped export left its .work folder"
    )
    parser.add_argument(
        "--yes", action="store_true", help="do not ask before a long or large export"
    )
    parser.add_argument(
        "--estimate", action="store_true", help="say what it would cost, and export nothing"
    )
    parser.add_argument(
        "--percent",
        action="store_true",
        help="a line for each per cent, for programs that read it",
    )
    add_device(parser)
    parser.set_defaults(run=run)


def quality(text: str) -> int | str:
    """argparse type: 'lossless' or a whole number."""
    return text if text == "lossless" else positive_int(text)


def run(args: argparse.Namespace) -> int:
    """Say what it will cost, render, write, and print where the file is."""
    out = Path(args.out)
    check_output(out, EXPORT_FORMATS)
    lines: dict[str, ProgressLine] = {}
    costs: list[Preflight] = []

    def progress(step: str, fraction: float) -> None:
        if step not in lines:  # its time begins here
            for line in lines.values():
                line.close()
            every = 0.01 if args.percent else None
            lines[step] = ProgressLine(f"{step} {out.name}", every=every)
        lines[step](fraction)

    def agree(cost: Preflight) -> bool:
        costs.append(cost)
        _note_level(args.level, scene.info.level_range)
        if args.estimate:
            print(describe(cost))
            return False
        print(describe(cost), file=sys.stderr)
        if args.yes or _agreed(cost):
            return True
        print("nothing was exported.", file=sys.stderr)
        return False

    with opened(Path(args.scene), args.device, args.precision) as scene:
        try:
            made = scene.export(
                out,
                args.level,
                args.box,
                seed=args.seed,
                quality=args.quality,
                tile_px=args.tile,
                resume=args.resume,
                agree=agree,
                progress=progress,
            )
        except FileExistsError as error:
            raise UsageError(error.strerror) from error
        except KeyboardInterrupt:
            if work_folder(out).exists():
                print(
                    f"\nwhat was rendered is kept in {work_folder(out)}: go on with --resume, or "
                    "delete it.",
                    file=sys.stderr,
                    end="",
                )
            raise
        finally:
            for line in lines.values():
                line.close()
    if made:
        width, height = costs[0].size
        print(f"{', '.join(map(str, made))}: {width} x {height} pixels")
    return 0


def _note_level(level: float, level_range: tuple[float, float]) -> None:
    """Say so where nobody has trained what is asked for."""
    low, high = level_range
    if not low <= level <= high:
        print(
            f"note: level {level:g} lies outside those that the scene was made for, {low:g} to "
            f"{high:g}.",
            file=sys.stderr,
        )


def describe(cost: Preflight) -> str:
    """The preflight in one line."""
    from model.export.preflight import gigabytes

    width, height = cost.size
    return (
        f"{width} x {height} pixels: about {minutes(cost.render_s)} to render and "
        f"{minutes(cost.write_s)} to write, a file of about {gigabytes(cost.file_bytes)}, "
        f"{gigabytes(cost.work_bytes)} more while it works; {gigabytes(cost.free_bytes)} are free."
    )


def _agreed(cost: Preflight) -> bool:
    """Whether the person at the terminal wants it; nobody is asked elsewhere, or for little."""
    small = cost.render_s + cost.write_s < _ASK_S and cost.file_bytes < _ASK_BYTES
    if small or not sys.stdin.isatty():
        return True
    print("Go on? [Y/n] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("", "y", "yes")
