"""`scalespace-explorer place`: where every patch of an unordered collection belongs."""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.cli import UsageError, add_device, finite_float, positive_int
from explorer.commands._offline import check_output
from explorer.progress import ProgressLine

if TYPE_CHECKING:
    from model.data.patches import PatchCollection
    from model.placement.collection import CollectionPlacement


def add_parser(subparsers: Any) -> None:
    """Add the command to argparse's `subparsers`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "place",
        help="where every patch belongs",
        description="Find out where in the picture every patch belongs. The labels say how finely "
        "each shows it, and may be somewhat wrong; Ctrl-C keeps what is done for --resume. Where "
        "no image has a label they are taken for photographs, and level, roll and perspective are "
        "found too.",
    )
    parser.add_argument(
        "data", metavar="DATA", help="folder or zip of patches with their levels, or of photographs"
    )
    parser.add_argument("--out", required=True, metavar="PLACES.csv", help="the places, as a table")
    parser.add_argument(
        "--coverage", metavar="FILE.png", help="picture of how often each place is covered"
    )
    parser.add_argument("--exclude", metavar="FILE", help="names to leave out, one a line")
    parser.add_argument("--resume", action="store_true", help="go on where the last call stopped")
    parser.add_argument(
        "--level-error",
        type=finite_float,
        default=0.25,
        metavar="OCTAVES",
        help="labels may be wrong by up to this, at most 0.5 (default: 0.25)",
    )
    parser.add_argument(
        "--patch-size",
        type=positive_int,
        metavar="P",
        help="pixels to compare, at least 16 (default: the patches' own, at most 64)",
    )
    parser.add_argument("--json", metavar="F.json", help="write the figures there")
    add_device(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Place the patches, write the table, and say in a few lines what came of it."""
    out = Path(args.out)
    check_output(out, (".csv",))
    for option, suffix in (("coverage", ".png"), ("json", ".json")):
        path = getattr(args, option)
        if path is not None:
            _check_extra(Path(path), option, suffix)
    from model.data.patches import PatchCollection, open_data, read_excludes
    from model.opening import resolve_device
    from model.placement.collection import place_collection
    from model.placement.config import PlacementConfig

    config = PlacementConfig(level_error=args.level_error, device=str(resolve_device(args.device)))
    data = open_data(args.data)
    if not isinstance(data, PatchCollection):
        raise UsageError(
            f"{args.data} is one large image, which needs no placing; give a folder of patches."
        )
    try:
        if args.exclude is not None:
            data = data.without(read_excludes(Path(args.exclude)))
        if data.patches and all(patch.level is None for patch in data.patches):
            return _place_photographs(args, data, out)
        line = ProgressLine(f"placing {len(data.patches)} patches")
        try:
            placed = place_collection(data, out, config, args.patch_size, args.resume, line)
        finally:
            line.close()
    finally:
        data.close()
    _report(args, placed)
    return 0


def _place_photographs(args: argparse.Namespace, data: PatchCollection, out: Path) -> int:
    """The same for images of which nothing is known."""
    if args.coverage is not None or args.resume:
        raise UsageError(
            "--coverage and --resume are for labelled patches; no image here has a level."
        )
    from model.placement.photographs import PhotoConfig, place_unlabelled, write_rows

    line = ProgressLine(f"placing {len(data.patches)} photographs")
    try:
        rows = place_unlabelled(data, PhotoConfig(patch_size=args.patch_size), line)
    finally:
        line.close()
    write_rows(out, rows)
    placed = sum(row["status"] == "placed" for row in rows)
    for row in rows:
        if row["status"] != "placed":
            print(f"{row['file']}: {row['reason']}")
    print(f"{placed} of {len(rows)} photographs placed")
    if args.json is not None:
        entry = {"photographs": len(rows), "placed": placed}
        _write_json(Path(args.json), {"places": str(args.out), "scenes": [entry]})
    print(args.out)
    return 0


def _check_extra(path: Path, option: str, suffix: str) -> None:
    """Find out before the work whether a further file can be written."""
    if path.suffix.lower() != suffix or path.is_dir() or not path.parent.is_dir():
        raise UsageError(
            f"--{option} must be a {suffix} file in a folder that exists, got {str(path)!r}."
        )


def _report(args: argparse.Namespace, placed: CollectionPlacement) -> None:
    """Print the figures; draw the coverage; write the JSON."""
    import numpy as np

    from model.placement.coverage import write_coverage

    scenes: list[dict[str, Any]] = []
    for name, field_size in placed.field_sizes.items():
        files = [file for file in placed.files if file.scene == name]
        own = [file.placement for file in files if not file.placement.reason]
        reasons = Counter(f.placement.reason for f in files if f.placement.reason)
        entry: dict[str, Any] = {
            "scene": name,
            "patches": len(files),
            "placed": len(own),
            "unplaced": dict(sorted(reasons.items())),
            "field_size": field_size,
        }
        if args.coverage is not None and own:
            path = Path(args.coverage)
            if len(placed.field_sizes) > 1:
                path = path.with_name(f"{path.stem}-{_file_name(name)}{path.suffix}")
            octaves = write_coverage(
                path,
                np.array([place.center_xy for place in own]),
                np.array([place.level for place in own]),
                field_size,
            )
            entry["coverage"] = [vars(octave) for octave in octaves]
            print(path)
        scenes.append(entry)
        words = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        label = f"{name}: " if name else ""
        print(f"{label}{len(own)} of {len(files)} patches placed{f' ({words})' if words else ''}")
    if args.json is not None:
        _write_json(Path(args.json), {"places": str(args.out), "scenes": scenes})
    print(args.out)


def _file_name(scene: str) -> str:
    """A scene's name as part of a file's name."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in scene) or "scene"


def _write_json(path: Path, value: dict[str, Any]) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
