"""`scalespace-explorer record`: a film of a flight, every frame rendered for its own camera."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.camera_path import CameraPath, flight, load_path
from explorer.cli import UsageError, add_device, finite_float, positive_float, positive_int
from explorer.commands._offline import check_output, opened
from explorer.progress import ProgressLine, minutes
from explorer.view_links import StillView, scene_name
from explorer.view_metadata import film_fields
from explorer.view_state import Camera, View

if TYPE_CHECKING:
    import numpy as np

    from model.space import ScaleSpace

_DEFAULT_SECONDS = 10.0
_MAX_FRAMES = 1_000_000


def add_parser(subparsers: Any) -> None:
    """Add the command to argparse's `subparsers`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "record",
        help="a film of a flight",
        description="Record a flight as an H.264 film; every frame is rendered for its own camera.",
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
        help="pixels (default: 1280 720); odd sides grow by one",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="names the latent")
    parser.add_argument("--out", required=True, metavar="F.mp4", help="the film")
    add_device(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Record the film and move it into place."""
    out = Path(args.out)
    check_output(out, (".mp4",))
    if (args.path is None) == (args.start is None and args.end is None):
        raise UsageError("record needs either --path, or both --from and --to.")
    if args.path is None and (args.start is None or args.end is None):
        raise UsageError("record needs both --from and --to.")
    path = None if args.path is None else load_path(args.path)
    seconds = args.seconds
    if seconds is None:
        seconds = _DEFAULT_SECONDS if path is None else path.duration_s
    size = film_size(args.size[0], args.size[1])
    check_length(seconds, args.fps)
    with opened(Path(args.scene), args.device) as space:
        if path is None:
            start = camera_at(args.start, size, space.patch_size)
            end = camera_at(args.end, size, space.patch_size)
            path = flight(start, end, seconds, ease="linear")
        record(
            space,
            path,
            out,
            size=size,
            fps=args.fps,
            seconds=seconds,
            seed=args.seed,
            name=scene_name(args.scene),
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


def check_length(seconds: float, fps: float) -> int:
    """Number of frames of a film.

    Raises:
        UsageError: There is none, or more than anybody wants.
    """
    num_frames = round(seconds * fps)
    if not 1 <= num_frames <= _MAX_FRAMES:
        raise UsageError(
            f"a film must have 1 to {_MAX_FRAMES} frames, {seconds:g} s at {fps:g} frames/s give "
            f"{num_frames}; change --seconds or --fps."
        )
    return num_frames


def camera_at(view: list[float], size: tuple[int, int], patch_size: int) -> Camera:
    """The camera of a view given as x, y and the level of its own pixels."""
    x, y, level = view
    zero = View(Camera(x, y, 0.0), size)
    return Camera(x, y, level - zero.level(patch_size))


def record(
    space: ScaleSpace,
    path: CameraPath,
    out: Path,
    *,
    size: tuple[int, int],
    fps: float,
    seconds: float,
    seed: int = 0,
    name: str = "",
) -> None:
    """Fly `path` through `space` in `seconds`, and print where the film is.

    The film carries its path and `name`, the scene's as `explorer.view_links.scene_name` has it.

    Raises:
        OSError: The film cannot be written; nothing is left of it.
    """
    from explorer.recorder import FilmSpec, part_path, record_film
    from model.rendering import render_view

    num_frames = check_length(seconds, fps)

    def render_frame(number: int) -> np.ndarray:
        time_s = path.duration_s * number / max(1, num_frames - 1)
        camera = path.at(time_s)
        level = View(camera, size).level(space.patch_size)
        return render_view(space, (camera.cx, camera.cy), level, size, seed)

    first = path.at(0.0)
    view = StillView(
        center_xy=(first.cx, first.cy),
        level=View(first, size).level(space.patch_size),
        size=size,
        seed=seed,
        name=name,
        identity=space.identity,
    )
    metadata = film_fields(view, json.loads(path.to_json()), seconds)
    spec = FilmSpec(size, fps, num_frames, metadata)
    line = ProgressLine(f"recording {out.name}")
    begin = time.monotonic()

    def progress(done: int) -> None:
        speed = done / max(1e-6, time.monotonic() - begin)
        line(done / num_frames, f"frame {done} of {num_frames}, {speed:.1f} a second")

    print(f"recording to {part_path(out)}, renamed when it is whole", file=sys.stderr)
    try:
        record_film(out, spec, render_frame, progress)
    finally:
        line.close()
    print(f"{out}: {num_frames} frames, {minutes(num_frames / fps)}, {size[0]} x {size[1]}")
