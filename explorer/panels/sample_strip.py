"""The newest samples of a run, as a strip that scrolls."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QPixmap
from PySide6.QtWidgets import QLabel, QScrollArea, QWidget

_STRIP_PX = 176


class SampleStrip(QScrollArea):
    """The newest samples of a run: generated above, real below, the coarsest octave first."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(self.tr("Samples by octave"))
        self._picture = QLabel()
        self._picture.setAccessibleName(self.tr("Samples: generated above, real below"))
        self.setWidget(self._picture)
        bar = self.horizontalScrollBar().sizeHint().height()
        self.setFixedHeight(_STRIP_PX + bar + 4)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.file = ""

    def show_file(self, file: str) -> None:
        """Show the strip that lies there; one that cannot be read leaves the present one."""
        pixmap = QPixmap(file)
        if pixmap.isNull() or not Path(file).exists():
            return
        self.file = file
        ratio = self.devicePixelRatioF()
        smooth = Qt.TransformationMode.SmoothTransformation
        pixmap = pixmap.scaledToHeight(round(_STRIP_PX * ratio), smooth)
        pixmap.setDevicePixelRatio(ratio)
        self._picture.setPixmap(pixmap)
        self._picture.adjustSize()

    def clear(self) -> None:
        """Another run begins."""
        self.file = ""
        self._picture.clear()
