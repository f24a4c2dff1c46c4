"""`scalespace-explorer export`: the field or a box of it as a file of any size.

`prepare` and `estimate` and `model.export.export` are what the window calls too.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.cli import UsageError, add_device, finite_float, positive_int
from explorer.commands._offline import check_output, opened
from explorer.export_page import deepzoom_page
from explorer.progress import ProgressLine, minutes
from explorer.view_links import StillView, scene_name

if TYPE_CHECKING:
    from model.export import ExportPlan, Preflight
    from model.space import ScaleSpace

EXPORT_FORMATS = (".tif", ".tiff", ".dzi", ".png", ".jpg", ".jpeg")
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
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="names the latent")
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
    add_device(parser)
    parser.set_defaults(run=run)


def quality(text: str) -> int | str:
    """argparse type: 'lossless' or a whole number."""
    return text if text == "lossless" else positive_int(text)


def run(args: argparse.Namespace) -> int:
    """Say what it will cost, render, write, and print where the file is."""
    out = Path(args.out)
    check_output(out, EXPORT_FORMATS)
    from model.export import check_target, export

    with opened(Path(args.scene), args.device, args.precision) as space:
        plan = prepare(
            space,
            out,
            args.level,
            name=scene_name(args.scene),
            box=args.box,
            seed=args.seed,
            quality=args.quality,
            tile_px=args.tile,
        )
        try:
            work = check_target(plan, args.resume)
        except FileExistsError as error:
            raise UsageError(error.strerror) from error
        low, high = space.level_range
        if not low <= args.level <= high:
            print(
                f"note: level {args.level:g} lies outside those that the scene was made for, "
                f"{low:g} to {high:g}.",
                file=sys.stderr,
            )
        cost = estimate(space, plan, args.resume)
        print(describe(cost), file=sys.stderr)
        cost.check(plan)
        if not args.yes and not _agreed(cost):
            print("nothing was exported.", file=sys.stderr)
            return 0
        rendering = ProgressLine(f"rendering {out.name}")
        writing: list[ProgressLine] = []

        def on_write(fraction: float) -> None:
            if not writing:  # its time begins here
                rendering.close()
                writing.append(ProgressLine(f"writing {out.name}"))
            writing[0](fraction)

        try:
            export(space, plan, resume=args.resume, on_render=rendering, on_write=on_write)
        except KeyboardInterrupt:
            if work.exists:
                print(
                    f"\nwhat was rendered is kept in {work.folder}: go on with --resume, or delete "
                    "it.",
                    file=sys.stderr,
                    end="",
                )
            raise
        finally:
            for line in (rendering, *writing):
                line.close()
    width, height = plan.size
    print(f"{', '.join(str(p) for p in reversed(plan.outputs()))}: {width} x {height} pixels")
    return 0


def prepare(
    space: ScaleSpace,
    out: Path,
    level: float,
    *,
    name: str = "",
    box: tuple[float, float, float, float] | list[float] | None = None,
    seed: int = 0,
    quality: int | str | None = None,
    tile_px: int = 256,
) -> ExportPlan:
    """The plan of an export that carries its view, and its page where it is a DeepZoom.

    Args:
        space: What is exported.
        out: The file; its ending, one of `EXPORT_FORMATS`, names its kind.
        level: Level of the file's own pixels, octaves.
        name: The scene's, as `scene_name` has it.
        box: Left, top, right, bottom, field units; None takes the whole field.
        seed: Names the latent.
        quality: JPEG quality, 'lossless', or None for what the kind of file usually has.
        tile_px: Side of the tiles in the file, pixels.

    Raises:
        ValueError: It cannot be; the message says what to do.
    """
    from explorer.view_metadata import view_text, xmp_packet
    from model.export import plan_export
    from model.export.plan import DEEPZOOM_OVERLAP

    corners = None if box is None else (box[0], box[1], box[2], box[3])
    plan = plan_export(space, out, level, box=corners, seed=seed, quality=quality, tile_px=tile_px)
    view = StillView(plan.center_xy, level, plan.size, seed, name, space.identity)
    plan = replace(plan, view_json=view_text(view), xmp=xmp_packet(view))
    if plan.kind != "dzi":
        return plan
    x, y = plan.center_xy
    page = deepzoom_page(
        title=name or out.stem,
        caption=f"{name or out.stem}, level {level:g}, {plan.size[0]} x {plan.size[1]} pixels"
        + ("" if box is None else f" around {x:.4g}, {y:.4g}"),
        folder=f"{out.stem}_files",
        size=plan.size,
        tile_size=tile_px - 2 * DEEPZOOM_OVERLAP,
        overlap=DEEPZOOM_OVERLAP,
        suffix="png" if plan.quality is None else "jpg",
    )
    return replace(plan, page=page)


def estimate(space: ScaleSpace, plan: ExportPlan, resume: bool = False) -> Preflight:
    """What is left to do and what it costs, from a trial of about two seconds.

    Raises:
        ValueError: `resume`, and the work folder is of another export.
    """
    from model.export import WorkFolder, measure

    work = WorkFolder(plan)
    if resume and work.exists:
        work.resume()
    return measure(space, work)


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
