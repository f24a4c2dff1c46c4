"""The system's dialogs for files: what to open, what to play, where a still goes."""

from __future__ import annotations

import time
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QStandardPaths
from PySide6.QtWidgets import QFileDialog, QWidget

_OPEN_FILTER = (
    "Scale spaces and images (*.safetensors *.png *.jpg *.jpeg *.tif *.tiff *.webp);;All files (*)"
)
_STILL_FILTER = "PNG (*.png);;TIFF (*.tif);;WebP (*.webp);;JPEG (*.jpg)"


def choose_file(parent: QWidget) -> str:
    """A scale space or an image to open; an empty text where none was chosen."""
    title = _tr("Open a scale space or an image")
    return QFileDialog.getOpenFileName(parent, title, "", _OPEN_FILTER)[0]


def choose_folder(parent: QWidget) -> str:
    """A folder to open: a run, or a tile pyramid; an empty text where none was chosen."""
    return QFileDialog.getExistingDirectory(parent, _tr("Open a folder"))


def choose_flight(parent: QWidget) -> str:
    """A camera path to play; an empty text where none was chosen."""
    title, kinds = _tr("Play a flight"), _tr("Camera paths (*.json)")
    return QFileDialog.getOpenFileName(parent, title, "", kinds)[0]


def choose_still(parent: QWidget, scene: str) -> str:
    """Where a still of `scene` (its name) goes; an empty text where nothing was chosen."""
    folder = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.PicturesLocation)
    proposal = str(Path(folder) / f"{scene}-{time.strftime('%Y%m%d-%H%M%S')}.png")
    return QFileDialog.getSaveFileName(parent, _tr("Save a still"), proposal, _STILL_FILTER)[0]


def _tr(text: str) -> str:
    return QCoreApplication.translate("FileDialogs", text)
