"""What the commands that render without a window share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from explorer.cli import UsageError
from explorer.progress import ProgressLine

if TYPE_CHECKING:
    from model.space import ScaleSpace


@contextlib.contextmanager
def opened(path: Path, device: str, precision: str = "auto") -> Iterator[ScaleSpace]:
    """The scale space at `path`; building an image's pyramid shows its progress.

    Raises:
        CheckpointError, ValueError, OSError: See `model.open_scale_space`.
    """
    from model import open_scale_space

    line = ProgressLine(f"reading {path.name}")
    try:
        space = open_scale_space(path, device, precision, progress=line)
    finally:
        line.close()
    try:
        yield space
    finally:
        close = getattr(space, "close", None)
        if close is not None:
            close()


def check_output(out: Path, suffixes: tuple[str, ...]) -> None:
    """Find out before the work whether the result can be written.

    Raises:
        UsageError: The folder does not exist, `out` is a folder, or its ending is not known.
    """
    if out.suffix.lower() not in suffixes:
        raise UsageError(f"--out must end in {' or '.join(suffixes)}, got {out.name!r}.")
    if not out.parent.is_dir():
        raise UsageError(f"the folder of --out, {out.parent}, does not exist; make it first.")
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder; give the name of a file.")
