"""How the scene compares with the real picture, level by level: a sentence, a table, curves."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from explorer.panels.lens_overlay import Area
from explorer.panels.lens_spectrum import LensSpectrum
from explorer.panels.value_label import ValueLabel
from explorer.truth_messages import (
    REMEMBERED_DB,
    TEXTURED_DB,
    OctaveFigures,
    decibel_text,
    verdict_runs,
)

_ROW_PX = 22


class LensFigures(QWidget):
    """Shows the figures of one view; empty until there are some."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 6, 0, 0)
        self.sentence = ValueLabel(self.tr("Which octaves are remembered"))
        self.sentence.setWordWrap(True)
        self.where = ValueLabel(self.tr("What is compared"))
        self.where.setObjectName("quiet")
        layout.addWidget(self.where)
        layout.addWidget(self.sentence)
        columns = (self.tr("Level"), self.tr("PSNR, dB"), self.tr("Detail, dB"), self.tr("It is"))
        self.table = QTableWidget(0, len(columns))
        self.table.setAccessibleName(self.tr("Figures of each level"))
        self.table.setHorizontalHeaderLabels(columns)
        self.table.verticalHeader().hide()
        self.table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QTableWidget.SelectionMode.NoSelection)
        self.table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.table.setShowGrid(False)
        self.table.verticalHeader().setDefaultSectionSize(_ROW_PX)
        for set_policy in (
            self.table.setHorizontalScrollBarPolicy,
            self.table.setVerticalScrollBarPolicy,
        ):
            set_policy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setStretchLastSection(True)
        header.setHighlightSections(False)
        last = self.table.horizontalHeaderItem(len(columns) - 1)
        assert last is not None
        last.setTextAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.table.setToolTip(
            self.tr(
                "Of what the real picture lies over: its middle, at most 256 pixels a side, "
                "rendered at each level. Detail is that of 64 pixels a side at least.\n"
                "Remembered: PSNR of {0} dB or more. Else invented, where fine detail (power "
                "above half the Nyquist frequency) is at most {1} dB weaker than in the real "
                "picture; else soft."
            ).format(f"{REMEMBERED_DB:.0f}", f"{-TEXTURED_DB:.0f}")
        )
        layout.addWidget(self.table)
        self.spectrum = LensSpectrum()
        self.spectrum.setToolTip(
            self.tr(
                "Power above half the Nyquist frequency at each level: the detail that each octave "
                "brings."
            )
        )
        layout.addWidget(self.spectrum)
        layout.addStretch(1)
        self._areas = {
            "lens": self.tr("Under the lens:"),
            "split": self.tr("Right of the line:"),
            "whole": self.tr("In view:"),
        }
        self._words = {
            "remembered": self.tr("remembered"),
            "invented": self.tr("invented"),
            "soft": self.tr("soft"),
        }
        self.clear()

    def clear(self) -> None:
        """Show none."""
        self.where.setText("")
        self.sentence.setText("")
        self.table.setRowCount(0)
        self.table.hide()
        self.spectrum.show_octaves(())

    def show_figures(
        self, octaves: tuple[OctaveFigures, ...], area: Area, ends_at: float | None
    ) -> None:
        """Write them.

        Args:
            octaves: The coarsest first.
            area: What they are of.
            ends_at: Level where the real picture ends, if that is below the view; octaves.
        """
        text = self._sentence(octaves)
        if ends_at is not None:
            text += " " + self.tr("The real picture ends at level {0}.").format(f"{ends_at:.1f}")
        self.sentence.setText(text)
        self.where.setText(self._areas[area])
        self.spectrum.show_octaves(octaves)
        self.table.setRowCount(len(octaves))
        self.table.setVisible(bool(octaves))
        for row, each in enumerate(octaves):
            texts = (
                f"{each.level:g}",
                decibel_text(each.psnr_db),
                decibel_text(each.high_band_db),
                self._words[each.verdict],
            )
            for column, cell in enumerate(texts):
                item = QTableWidgetItem(cell)
                if column < len(texts) - 1:
                    item.setTextAlignment(
                        Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    )
                self.table.setItem(row, column, item)
        fit_height(self.table)

    def _sentence(self, octaves: tuple[OctaveFigures, ...]) -> str:
        parts = []
        for verdict, first, last in verdict_runs(octaves):
            several = self.tr("{0} to {1}").format(f"{first:g}", f"{last:g}")
            levels = f"{first:g}" if first == last else several
            parts.append(f"{levels} {self._words[verdict]}")
        if not parts:
            return self.tr("There is no whole octave in view that the real picture has.")
        return self.tr("Octaves {0}.").format(", ".join(parts))


def fit_height(table: QTableWidget) -> None:
    """Make `table` as high as its rows, so that it needs no scroll bar."""
    rows = sum(table.rowHeight(row) for row in range(table.rowCount()))
    table.setFixedHeight(table.horizontalHeader().sizeHint().height() + rows + 4)
