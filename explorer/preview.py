"""What a checkpoint's head tells the window: its small picture, and the size of the real thing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtGui import QImage

from model.header import read_header

if TYPE_CHECKING:
    from explorer.messages import Pixels


def decode_preview(data: bytes) -> Pixels | None:
    """The pixels of a small JPEG or PNG as uint8 [H, W, 4] RGBA; None where it is no image."""
    image = QImage.fromData(data)
    if image.isNull():
        return None
    image = image.convertToFormat(QImage.Format.Format_RGBA8888)
    height, width, stride = image.height(), image.width(), image.bytesPerLine()
    flat = np.frombuffer(image.constBits(), np.uint8).reshape(height, stride)
    return flat[:, : 4 * width].reshape(height, width, 4).copy()


def millimetres_per_unit(path: str) -> float | None:
    """Millimetres of a field unit of the scene at `path`; None where it does not say.

    A checkpoint says it by `source`: its `size_mm` [width, height] is that of the whole image of
    `size` pixels, of which `crop` was trained; a field unit is the shorter side of the crop.
    """
    if not path.endswith(".safetensors"):
        return None
    try:
        source = read_header(path).source or {}
        width, height = (float(v) for v in source["size"])
        crop = source.get("crop") or (0, 0, width, height)
        x0, y0, x1, y1 = (float(v) for v in crop)
        wide_mm, high_mm = (float(v) for v in source["size_mm"])
        mm = min((x1 - x0) * wide_mm / width, (y1 - y0) * high_mm / height)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return mm if math.isfinite(mm) and mm > 0 else None
