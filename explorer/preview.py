"""The small picture inside a checkpoint, decoded without torch or Pillow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtGui import QImage

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
