"""Stills as files: the same for the app and the command line. Every one carries its view."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.view_metadata import VIEW_KEY, StillView, view_text, xmp_packet

if TYPE_CHECKING:
    import numpy as np

STILL_FORMATS = {
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
}
"""Endings and Pillow's names of them."""
_MOST_PX = {"WEBP": 16_383, "JPEG": 65_500}
"""A side, of formats that end somewhere."""
_XMP_TAG = 700


def check_still(out: Path, size_wh: tuple[int, int]) -> None:
    """Raise ValueError where the format that `out` names holds no such picture."""
    kind = STILL_FORMATS[out.suffix.lower()]
    most = _MOST_PX.get(kind, max(size_wh))
    if max(size_wh) > most:
        raise ValueError(
            f"a {kind} holds at most {most} pixels a side, this still has {size_wh[0]} x "
            f"{size_wh[1]}; write .png or .tif, or ask for a smaller size."
        )


def write_still(out: Path, image: np.ndarray, view: StillView) -> None:
    """Write uint8 [H, W, 3] under a temporary name and move it into place.

    Args:
        out: File whose ending, one of `STILL_FORMATS`, names the format.
        image: The picture.
        view: Where it was taken; `explorer.view_metadata.read_view` gives it back.

    Raises:
        OSError: It cannot be written; nothing is left of it.
    """
    from PIL import Image, PngImagePlugin

    kind = STILL_FORMATS[out.suffix.lower()]
    options: dict[str, Any] = {}
    if kind == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt(VIEW_KEY, view_text(view))
        options = {"pnginfo": info, "compress_level": 4}
    elif kind == "JPEG":
        options = {"quality": 95, "subsampling": 0, "xmp": xmp_packet(view)}
    elif kind == "WEBP":
        options = {"lossless": True, "xmp": xmp_packet(view)}
    elif kind == "TIFF":
        options = {"tiffinfo": {_XMP_TAG: xmp_packet(view)}}
    temp = out.with_name(f".{out.stem}.{os.getpid()}.part{out.suffix}")
    try:
        with temp.open("wb") as file:
            Image.fromarray(image).save(file, kind, **options)
            file.flush()
            os.fsync(file.fileno())
        temp.replace(out)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(
            error.errno, f"{out} cannot be written: {reason}; write to another disk or folder."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temp.unlink(missing_ok=True)
