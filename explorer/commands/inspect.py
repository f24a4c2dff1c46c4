"""`scalespace-explorer inspect`: what a training set holds, what is wrong, what it will cost."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from explorer.cli import UsageError, add_device, positive_int
from explorer.progress import ProgressLine

_NOTHING_USABLE = 2


def add_parser(subparsers: Any) -> None:
    """Add the command to argparse's `subparsers`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "inspect",
        help="what a training set holds, and what is wrong with it",
        description="Look at every file of a training set: what is there, what is wrong and what "
        "to do, and what training would take on this machine. Exit code 2 where nothing is usable.",
    )
    parser.add_argument(
        "data", metavar="DATA", help="folder or zip of patches, image, .dzi or Zoomify folder"
    )
    parser.add_argument("--json", metavar="F", help="write the whole report here, for programs")
    parser.add_argument(
        "--exclude-out", metavar="F", help="write the names to leave out, one a line, for --exclude"
    )
    parser.add_argument(
        "--patch-size",
        type=positive_int,
        metavar="P",
        help="pixels that training will have (default: the most frequent; 64 for an image)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="decode a sample only, and time no training"
    )
    parser.add_argument("--all", action="store_true", help="name every file, not three a finding")
    add_device(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Look, print the page, and write what was asked for."""
    targets = [Path(f) for f in (args.json, args.exclude_out) if f is not None]
    for target in targets:
        if target.is_dir() or not target.parent.is_dir():
            raise UsageError(f"{target} must be a file in a folder that exists; name another.")
    from model.data.doctor import DoctorConfig, inspect_data

    config = DoctorConfig(patch_size=args.patch_size, quick=args.quick, device=args.device)
    line = ProgressLine(f"inspecting {Path(args.data).name}")
    try:
        report = inspect_data(args.data, config, line)
    finally:
        line.close()
    _print(report.to_text(None if args.all else 3))
    if args.json is not None:
        _write(Path(args.json), report.to_json())
    if args.exclude_out is not None:
        _write(Path(args.exclude_out), report.exclude_text())
    return 0 if report.usable else _NOTHING_USABLE


def _print(text: str) -> None:
    """Print what the terminal can show of `text`."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), end="")


def _write(path: Path, text: str) -> None:
    """Whole, or not at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
