"""`scalespace-explorer record`: a film of a flight, every frame rendered for its own camera.

As MP4, WebM or a folder of PNG frames; or the whole zoom as one tall picture.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from explorer.api import CameraPath, Scene, check_film, flight, load_path
from explorer.cli import (
    UsageError,
    add_device,
    add_seed,
    finite_float,
    positive_float,
    positive_int,
)
from explorer.commands._offline import check_output, opened
from explorer.filming import film_frames, is_folder
from explorer.progress import ProgressLine, minutes
from model.latent import Seed

_DEFAULT_SECONDS = 10.0


def add_parser(subparsers: Any) -> None:
    """Add the command to argparse's `subparsers`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "record",
        help="a film of a flight",
        description="Record a flight as a film; every frame is rendered for its own camera. "
        "Killed, it leaves a part that plays, and goes on with --resume.",
    )
    view: dict[str, Any] = {"nargs": 3, "type": finite_float, "metavar": ("X", "Y", "L")}
    parser.add_argument("scene", metavar="CKPT", help="checkpoint, image or run folder")
    parser.add_argument("--path", metavar="PATH.json", help="camera path, as the app saves it")
    parser.add_argument(
        "--from",
        dest="start",
        **view,
        help="first view: centre in field units, and the level of the film's own pixels",
    )
    parser.add_argument("--to", dest="end", **view, help="last view")
    parser.add_argument(
        "--seconds",
        type=positive_float,
        metavar="S",
        help=f"length of the film (default: that of the path, else {_DEFAULT_SECONDS:g})",
    )
    parser.add_argument("--fps", type=positive_float, default=30.0, metavar="F", help="default: 30")
    parser.add_argument(
        "--size",
        nargs=2,
        type=positive_int,
        default=[1280, 720],
        metavar=("W", "H"),
        help="pixels (default: 1280 720); odd sides of a film grow by one",
    )
    add_seed(parser)
    parser.add_argument(
        "--out",
        required=True,
        metavar="F.mp4",
        help="the film, .mp4 (H.264) or .webm (VP9); a name without an ending is a folder for PNG "
        "frames",
    )
    parser.add_argument(
        "--strip",
        action="store_true",
        help="write the whole zoom as one tall picture instead, --out F.png: once around its end "
        "from left to right, as wide as --size says, and deeper from top to bottom",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on where a recording of the same film or strip was broken: it will be the same, "
        "frame by frame, as an unbroken one; and keep what there is, should this one break too",
    )
    parser.add_argument(
        "--count", action="store_true", help="write a line for every frame, for other programs"
    )
    add_device(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Record the film and move it into place."""
    out = Path(args.out)
    if args.strip:
        check_output(out, (".png",))
    else:
        try:
            check_film(out, "--out")
        except ValueError as error:
            raise UsageError(str(error)) from error
    if (args.path is None) == (args.start is None and args.end is None):
        raise UsageError("record needs either --path, or both --from and --to.")
    if args.path is None and (args.start is None or args.end is None):
        raise UsageError("record needs both --from and --to.")
    path = None if args.path is None else load_path(args.path)
    seconds = args.seconds
    if seconds is None:
        seconds = _DEFAULT_SECONDS if path is None else path.duration_s
    size = (args.size[0], args.size[1])
    if not args.strip:
        size = size if is_folder(out) else film_size(*size)
        film_frames(seconds, args.fps)
    with opened(Path(args.scene), args.device) as scene:
        if path is None:
            (x0, y0, level0), (x1, y1, level1) = args.start, args.end
            start = scene.camera((x0, y0), level0, size)
            end = scene.camera((x1, y1), level1, size)
            path = flight(start, end, seconds, ease="linear")
        if args.strip:
            options = {"seed": args.seed, "resume": args.resume, "count": args.count}
            strip(scene, path, out, size[0], **options)
            return 0
        record(
            scene,
            path,
            out,
            size=size,
            fps=args.fps,
            seconds=seconds,
            seed=args.seed,
            resume=args.resume,
            count=args.count,
        )
    return 0


def film_size(width: int, height: int) -> tuple[int, int]:
    """An even size, with a note where it differs from what was asked for."""
    from explorer.recorder import even_size

    size = even_size(width, height)
    if size != (width, height):
        print(
            f"note: H.264 needs even sides: recording {size[0]} x {size[1]} "
            f"instead of {width} x {height}.",
            file=sys.stderr,
        )
    return size


def record(
    scene: Scene,
    path: CameraPath,
    out: Path,
    *,
    size: tuple[int, int],
    fps: float,
    seconds: float,
    seed: Seed = 0,
    resume: bool = False,
    count: bool = False,
) -> None:
    """Fly `path` through `scene` in `seconds`, and print where the film is.

    Raises:
        OtherFilmError: There is something else where the film is to go, or to go on.
        OSError: The film cannot be written; nothing is left of it unless `resume`.
    """
    from explorer.recorder import part_path

    num_frames = film_frames(seconds, fps)
    if not is_folder(out):
        print(f"recording to {part_path(out)}, renamed when it is whole", file=sys.stderr)
    line = ProgressLine(f"recording {out.name}")
    progress = _counter(line, num_frames, count)
    try:
        scene.record(
            path, out, size, fps, seconds=seconds, seed=seed, resume=resume, progress=progress
        )
    finally:
        line.close()
    print(f"{out}: {num_frames} frames, {minutes(num_frames / fps)}, {size[0]} x {size[1]}")


def strip(
    scene: Scene,
    path: CameraPath,
    out: Path,
    width: int,
    *,
    seed: Seed = 0,
    resume: bool = False,
    count: bool = False,
) -> None:
    """Write the whole zoom of `path` as one picture, and print where it is.

    Raises:
        OtherFilmError: What is to be gone on with is of another strip.
        ValueError: The path does not zoom.
        OSError: The picture cannot be written; nothing is left of it unless `resume`.
    """
    line = ProgressLine(f"rendering {out.name}")
    try:
        progress = _counter(line, None, count)
        scene.record_strip(path, out, width, seed=seed, resume=resume, progress=progress)
    finally:
        line.close()
    print(out)


def _counter(line: ProgressLine, total: int | None, count: bool) -> Callable[[float], None]:
    """What is to be called with the fraction that is done.

    It draws `line`, or, with `count`, writes `done FRACTION` for other programs.
    """
    begin = time.monotonic()
    before: int | None = None  # frames that an earlier run had done

    def progress(fraction: float) -> None:
        nonlocal before
        if count:
            print(f"done {fraction:.6f}", file=sys.stderr, flush=True)
        elif total is None:
            line(fraction)
        else:
            done = round(fraction * total)
            before = done - 1 if before is None else before
            speed = (done - before) / max(1e-6, time.monotonic() - begin)
            line(fraction, f"frame {done} of {total}, {speed:.1f} a second")

    return progress
