"""`scalespace-explorer evaluate`: how good a scale space is, by level, against real data."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.cli import UsageError, add_device, finite_float, positive_int
from explorer.commands._offline import check_output
from explorer.progress import ProgressLine
from model.header import read_header

if TYPE_CHECKING:
    from model.metrics import EvaluationConfig, RealWindows
    from model.pyramid import ImagePyramid
    from model.space import ScaleSpace

METRIC_NAMES = (
    *("swd", "kid", "spectrum", "fid"),
    *("fidelity", "consistency", "flicker", "pan", "seams", "layout"),
)
"""As `model.metrics.METRICS`, which would import torch."""
_PATCH_SIZE = 64


def add_parser(subparsers: Any) -> None:
    """Add the command to argparse's `subparsers`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "evaluate",
        help="how good a scale space is",
        description="Measure a scale space against real data, by level: print a table, and JSON "
        "for a file. Nothing is downloaded.",
    )
    parser.add_argument(
        "scene",
        metavar="CKPT",
        help="checkpoint or run folder; or an image, to measure what it holds as a baseline",
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help="the image it was made from, or a folder or zip of patches with levels",
    )
    parser.add_argument(
        "--crop",
        nargs=4,
        type=int,
        metavar=("X0", "Y0", "X1", "Y1"),
        help="part of the image, pixels (default: the checkpoint's own, else all of it)",
    )
    parser.add_argument(
        "--levels",
        nargs="+",
        type=finite_float,
        metavar="L",
        help="octaves (default: every whole level)",
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        choices=METRIC_NAMES,
        metavar="NAME",
        help=f"of {', '.join(METRIC_NAMES)} (default: all that the data allows, but fid)",
    )
    parser.add_argument(
        "--windows", type=positive_int, default=2000, help="a level and set (default: 2000)"
    )
    parser.add_argument(
        "--held-out",
        type=positive_int,
        default=64,
        metavar="N",
        help="windows a level for PSNR, MS-SSIM and layout (default: 64)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (default: 0)")
    parser.add_argument(
        "--bootstrap", type=int, default=20, metavar="B", help="resamplings (default: 20)"
    )
    parser.add_argument("--fid-weights", metavar="F", help="Inception weights, for fid")
    parser.add_argument("--precision", default="auto", help="auto (the app's), fp32, bf16 or fp16")
    parser.add_argument(
        "--patch-size",
        type=positive_int,
        metavar="P",
        help="pixels, where CKPT is an image (default: 64)",
    )
    parser.add_argument("--cache", metavar="FOLDER", help="where an image's pyramid is kept")
    parser.add_argument("--json", metavar="F.json", help="write every figure here")
    add_device(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, write the JSON."""
    out = None if args.json is None else Path(args.json)
    if out is not None:
        check_output(out, (".json",))
    from model.metrics import EvaluationConfig, evaluate

    config = EvaluationConfig(
        levels=None if args.levels is None else tuple(args.levels),
        windows=args.windows,
        held_out=args.held_out,
        metrics=None if args.metrics is None else tuple(args.metrics),
        seed=args.seed,
        bootstrap=args.bootstrap,
        fid_weights=args.fid_weights,
    )
    with contextlib.ExitStack() as stack:
        space = _open_space(args, stack)
        real = _open_data(args, space.patch_size, stack)
        config = _with_levels(config, space, real)
        line = ProgressLine(f"measuring {Path(args.scene).name}")
        try:
            result = evaluate(space, real, config, line)
        finally:
            line.close()
    names = {"scale_space": Path(args.scene).name, "data": Path(args.data).name}
    print(f"{names['scale_space']} against {names['data']}, {args.windows} windows a level\n")
    print(result.table())
    if out is not None:
        from benchmarks.machine import describe_machine
        from benchmarks.tables import write_json

        write_json(out, {**names, **result.to_json(), "machine": describe_machine()})
        print(f"\nwrote {out}")
    return 0


def _open_space(args: argparse.Namespace, stack: contextlib.ExitStack) -> ScaleSpace:
    """What is measured: a generator, or an image as it is."""
    from model.opening import is_checkpoint, open_scale_space

    path = Path(args.scene)
    if path.is_dir() or is_checkpoint(path):
        if args.patch_size is not None:
            raise UsageError("--patch-size is for images; a checkpoint has its own.")
        return open_scale_space(path, args.device, args.precision)
    return _open_image(path, None, args.patch_size or _PATCH_SIZE, args.cache, stack)


def _open_data(
    args: argparse.Namespace, patch_size: int, stack: contextlib.ExitStack
) -> RealWindows:
    """The real data, with the patch size of what is measured."""
    from model.data.patches import PatchCollection, open_data
    from model.metrics import CollectionWindows, SceneWindows

    data = open_data(args.data)
    if not isinstance(data, PatchCollection):
        crop = tuple(args.crop) if args.crop else _crop_of(Path(args.scene))
        return SceneWindows(_open_image(data.path, crop, patch_size, args.cache, stack))
    stack.enter_context(data)
    if args.crop:
        raise UsageError(f"--crop is for images; {args.data} holds patches.")
    return CollectionWindows(data, patch_size, Path(args.data).name)


def _crop_of(scene: Path) -> tuple[int, ...] | None:
    """The part of its image that a checkpoint was trained on, as its head says; None: all."""
    from model.opening import is_checkpoint, newest_checkpoint

    if scene.is_dir():
        scene = newest_checkpoint(scene)
    if not is_checkpoint(scene):
        return None
    source = read_header(scene).source or {}
    if source.get("crop") is None:
        return None
    crop = tuple(int(v) for v in source["crop"])
    # All of it has the pyramid that training has built, which asks for no crop.
    return None if crop == (0, 0, *source.get("size", ())) else crop


def _open_image(
    path: Path, crop: Any, patch_size: int, cache: str | None, stack: contextlib.ExitStack
) -> ImagePyramid:
    from model.pyramid import ImagePyramid

    line = ProgressLine(f"reading {path.name}")
    try:
        pyramid = ImagePyramid.open(
            path, crop=crop, patch_size=patch_size, cache_dir=cache, progress=line
        )
    finally:
        line.close()
    stack.callback(pyramid.close)
    return pyramid


def _with_levels(
    config: EvaluationConfig, space: ScaleSpace, real: RealWindows
) -> EvaluationConfig:
    """An image as baseline is measured at all levels of the data, whatever it holds itself."""
    from dataclasses import replace

    from model.pyramid import ImagePyramid
    from model.scale import whole_levels

    if config.levels is not None or not isinstance(space, ImagePyramid):
        return config
    low, high = real.level_range
    return replace(config, levels=whole_levels((max(0.0, low), high)) or None)
