"""How the scene compares with the real picture, level by level: one sentence and a table."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from explorer.truth_messages import (
    REMEMBERED_DB,
    TEXTURED_DB,
    OctaveFigures,
    decibel_text,
    verdict_runs,
)


class LensFigures(QWidget):
    """Shows the figures of one view; empty until there are some."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 6, 0, 0)
        self.sentence = QLabel()
        self.sentence.setAccessibleName(self.tr("Which octaves are remembered"))
        self.sentence.setWordWrap(True)
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
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setStretchLastSection(True)
        header.setHighlightSections(False)
        self.table.setToolTip(
            self.tr(
                "Of the middle of the view, 64 to 256 pixels a side, rendered at each level.\n"
                "Remembered: PSNR of {0} dB or more. Else invented, where fine detail (power "
                "above half the Nyquist frequency) is at most {1} dB weaker than in the real "
                "picture; else soft."
            ).format(f"{REMEMBERED_DB:.0f}", f"{-TEXTURED_DB:.0f}")
        )
        layout.addWidget(self.table, 1)
        self._words = {
            "remembered": self.tr("remembered"),
            "invented": self.tr("invented"),
            "soft": self.tr("soft"),
        }
        self.clear()

    def clear(self) -> None:
        """Show none."""
        self.sentence.setText("")
        self.table.setRowCount(0)
        self.table.hide()

    def show_figures(self, octaves: tuple[OctaveFigures, ...], ends_at: float | None) -> None:
        """Write them.

        Args:
            octaves: The coarsest first.
            ends_at: Level where the real picture ends, if that is below the view; octaves.
        """
        text = self._sentence(octaves)
        if ends_at is not None:
            text += " " + self.tr("The real picture ends at level {0}.").format(f"{ends_at:.1f}")
        self.sentence.setText(text)
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

    def _sentence(self, octaves: tuple[OctaveFigures, ...]) -> str:
        parts = []
        for verdict, first, last in verdict_runs(octaves):
            several = self.tr("{0} to {1}").format(f"{first:g}", f"{last:g}")
            levels = f"{first:g}" if first == last else several
            parts.append(f"{levels} {self._words[verdict]}")
        if not parts:
            return self.tr("There is no whole octave in view that the real picture has.")
        return self.tr("Octaves {0}.").format(", ".join(parts))
