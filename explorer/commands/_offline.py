"""What the commands that render without a window share."""

from __future__ import annotations

from pathlib import Path

from explorer import api
from explorer.cli import UsageError
from explorer.progress import ProgressLine


def opened(path: Path, device: str, precision: str = "auto") -> api.Scene:
    """The scene at `path`; building an image's pyramid shows its progress.

    Raises:
        CheckpointError, ValueError, OSError: See `explorer.api.open`.
    """
    line = ProgressLine(f"reading {path.name}")
    try:
        return api.open(path, device, precision, progress=line)
    finally:
        line.close()


def check_output(out: Path, suffixes: tuple[str, ...]) -> None:
    """Find out before the work whether the result can be written.

    Raises:
        UsageError: The folder does not exist, `out` is a folder, or its ending is not known.
    """
    try:
        api.check_file(out, suffixes, "--out")
    except ValueError as error:
        raise UsageError(str(error)) from error
