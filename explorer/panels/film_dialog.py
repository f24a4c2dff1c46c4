"""What a film of the flight is to be: kind, size, rate."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from explorer.zoom_strip import StripPlan

KINDS = (".mp4", ".webm", "", ".png")
"""Endings by the rows of the list of kinds: H.264, VP9, a folder of PNG frames, the strip."""
_SIZES = ((1280, 720), (1920, 1080), (2560, 1440), (3840, 2160), (1080, 1080), (1080, 1920))


@dataclass(frozen=True)
class FilmChoice:
    """What was chosen."""

    suffix: str
    """One of `KINDS`."""
    size: tuple[int, int]
    """Width and height, pixels."""
    fps: int

    @property
    def is_strip(self) -> bool:
        """Whether the whole zoom is wanted as one picture."""
        return self.suffix == ".png"


class FilmDialog(QDialog):
    """Asks for kind, size and rate; does not block."""

    chosen = Signal(object)
    """A `FilmChoice`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Export a film of the flight"))
        self.setAccessibleName(self.windowTitle())
        self._seconds = 0.0
        self._octaves = 0.0
        self.kind = QComboBox()
        self.kind.addItems(
            [
                self.tr("MP4 film (H.264)"),
                self.tr("WebM film (VP9)"),
                self.tr("PNG frames in a folder"),
                self.tr("Strip: the whole zoom as one tall PNG"),
            ]
        )
        self.preset = QComboBox()
        self.preset.addItems([f"{w} × {h}" for w, h in _SIZES])
        self.preset.addItem(self.tr("Other"))
        self.width_px, self.height_px = _spin(16, 16384), _spin(16, 16384)
        self.fps = _spin(1, 240)
        self.fps.setValue(30)
        self.note = QLabel()
        self.note.setObjectName("quiet")
        self.note.setWordWrap(True)
        self._lay_out()
        self.preset.activated.connect(self._take_preset)
        for spin in (self.width_px, self.height_px, self.fps):
            spin.valueChanged.connect(lambda _value: self._refresh())
        self.kind.currentIndexChanged.connect(lambda _row: self._refresh())
        self.preset.setCurrentIndex(1)
        self._take_preset(1)

    def _lay_out(self) -> None:
        sides = QHBoxLayout()
        times = QLabel("×")
        for side in (self.width_px, times, self.height_px):
            sides.addWidget(side)
        sides.addStretch(1)
        form = QFormLayout()
        rows: tuple[tuple[str, QWidget], ...] = (
            (self.tr("Kind"), self.kind),
            (self.tr("Size"), self.preset),
            (self.tr("Frames a second"), self.fps),
        )
        for name, widget in rows:
            form.addRow(name, widget)
            widget.setAccessibleName(name)
        form.insertRow(2, self.tr("Pixels"), sides)
        self.width_px.setAccessibleName(self.tr("Width in pixels"))
        self.height_px.setAccessibleName(self.tr("Height in pixels"))
        buttons = QDialogButtonBox()
        self.go_button = buttons.addButton(
            self.tr("Export…"), QDialogButtonBox.ButtonRole.AcceptRole
        )
        cancel = buttons.addButton(self.tr("Cancel"), QDialogButtonBox.ButtonRole.RejectRole)
        for button in (self.go_button, cancel):
            button.setAccessibleName(button.text())
        buttons.accepted.connect(self._accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 16, 18, 14)
        layout.setSpacing(12)
        layout.addLayout(form)
        layout.addWidget(self.note)
        layout.addWidget(buttons)
        self.setMinimumWidth(400)

    def ask(self, seconds: float, octaves: float) -> None:
        """Show the dialog for a flight that lasts `seconds` and zooms by `octaves`."""
        self._seconds, self._octaves = seconds, octaves
        self._refresh()
        self.show()
        self.raise_()

    @property
    def choice(self) -> FilmChoice:
        """What is chosen now."""
        suffix = KINDS[self.kind.currentIndex()]
        width, height = self.width_px.value(), self.height_px.value()
        if suffix in (".mp4", ".webm"):  # they store pairs of pixels
            width, height = width + width % 2, height + height % 2
        return FilmChoice(suffix, (width, height), self.fps.value())

    def _take_preset(self, row: int) -> None:
        if row < len(_SIZES):
            self.width_px.setValue(_SIZES[row][0])
            self.height_px.setValue(_SIZES[row][1])

    def _refresh(self) -> None:
        """Say what will come of it."""
        choice = self.choice
        size = (self.width_px.value(), self.height_px.value())
        self.preset.setCurrentIndex(_SIZES.index(size) if size in _SIZES else len(_SIZES))
        self.height_px.setEnabled(not choice.is_strip)
        self.fps.setEnabled(not choice.is_strip)
        if choice.is_strip:
            try:
                height = StripPlan.rows(self._octaves, choice.size[0])
                text = self.tr("{0} octaves, {1} × {2} pixels: once around from left to right.")
                text = text.format(f"{self._octaves:.1f}", choice.size[0], height)
            except ValueError as error:
                text, height = str(error), 0
            self.go_button.setEnabled(height > 0)
        else:
            frames = round(self._seconds * choice.fps)
            self.go_button.setEnabled(frames > 0)
            text = self.tr("{0} frames, {1} s; each is rendered for its own camera.")
            text = text.format(frames, f"{self._seconds:.1f}")
        self.note.setText(text)

    def _accept(self) -> None:
        self.accept()
        self.chosen.emit(self.choice)


def _spin(low: int, high: int) -> QSpinBox:
    spin = QSpinBox()
    spin.setRange(low, high)
    spin.setMinimumWidth(90)
    return spin
