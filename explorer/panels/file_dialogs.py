"""The system's dialogs for files: what to open, what to play, where a still goes."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QStandardPaths
from PySide6.QtWidgets import QFileDialog, QMessageBox, QWidget

from explorer.stills import STILL_FORMATS

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
    title = _tr("Save a still")
    name = QFileDialog.getSaveFileName(parent, title, proposal, _STILL_FILTER)[0]
    if not name or Path(name).suffix.lower() in STILL_FORMATS:
        return name
    return confirmed(parent, title, name, f"{name}.png")


def with_ending(name: str, ending: str, endings: Iterable[str]) -> str:
    """`name` with `ending`, in place of that of `endings` which it has; else after all of it."""
    path = Path(name)
    return str(path.with_suffix(ending)) if path.suffix.lower() in endings else name + ending


def confirmed(parent: QWidget, title: str, chosen: str, name: str) -> str:
    """`name`, which a dialog's `chosen` became; '' where that is a file and is to stay.

    The dialog has asked about `chosen`, not about what became of it.
    """
    if name == chosen or not Path(name).is_file():
        return name
    text = _tr("{0} already exists. Replace it?").format(Path(name).name)
    answer = QMessageBox.question(parent, title, text)
    return name if answer == QMessageBox.StandardButton.Yes else ""


def _tr(text: str) -> str:
    return QCoreApplication.translate("FileDialogs", text)
