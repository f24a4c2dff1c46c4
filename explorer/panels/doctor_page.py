"""The doctor's page: what was dropped on the window, what is wrong with it, what it will cost."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import (
    QFileDialog,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from model.data.report import ERROR, NOTE, DoctorReport, Finding, Octave
from model.data.report_text import COST_HEAD, cost_row, image_summary, patch_summary, plural

_EXAMPLES = 3
_LOOKING = "Looking at every file…"
_MARKS = {"error": "●", "warning": "▲", "note": "○"}
_BAR_PX, _GAP_PX, _CHART_PX = 34, 8, 92
_MIN_WIDTH_PX, _MAX_WIDTH_PX = 600, 860


class DoctorPage(QWidget):
    """Shows a report that grows while the doctor works, and lets the person act on it.

    Lives in the GUI thread; whoever runs the doctor calls `start`, `set_progress`, `show_report`.
    """

    cancel_requested = Signal()
    train_requested = Signal(object)
    """The report whose data should be trained on."""
    exclude_list_written = Signal(str)
    """Path of the file."""
    failed = Signal(str)
    """One line that says what went wrong, for the notice."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.report: DoctorReport | None = None
        self._working = False
        self.setMinimumWidth(_MIN_WIDTH_PX)
        self.title = _label("", 1.5)
        self.title.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.verdict = _label("", dim=True)
        self.progress = QProgressBar()
        self.progress.setRange(0, 1000)
        self.progress.setTextVisible(False)
        self.progress.setFixedHeight(6)
        self.cancel = QPushButton("Cancel")
        self.cancel.clicked.connect(self.cancel_requested)
        self.export = QPushButton("Export exclude list…")
        self.export.clicked.connect(lambda: self.export_excludes())
        self.train = QPushButton("Train")
        self.train.setDefault(True)
        self.train.clicked.connect(self._train)
        self._scroll = QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(28, 24, 28, 20)
        outer.setSpacing(10)
        for widget in (self.title, self.verdict, self.progress):
            outer.addWidget(widget)
        outer.addWidget(self._scroll, 1)
        buttons = QHBoxLayout()
        buttons.addWidget(self.cancel)
        buttons.addStretch(1)
        buttons.addWidget(self.export)
        buttons.addWidget(self.train)
        outer.addLayout(buttons)
        self._refresh()

    def start(self, name: str) -> None:
        """Show that the doctor has begun to look at `name`."""
        self.report, self._working = None, True
        self.title.setText(name)
        self.progress.setValue(0)
        self._scroll.setWidget(QWidget())
        self._refresh()

    def set_progress(self, fraction: float) -> None:
        """The finished share, in [0, 1]."""
        self.progress.setValue(round(1000 * min(max(fraction, 0.0), 1.0)))

    def show_report(self, report: DoctorReport) -> None:
        """Show a report; one that is not complete leaves the doctor at work."""
        position = self._scroll.verticalScrollBar().value()
        self.report, self._working = report, not report.complete
        self.title.setText(Path(report.path).name or report.path)
        self.title.setToolTip(report.path)
        self._scroll.setWidget(_content(report))
        self._scroll.verticalScrollBar().setValue(position)
        self._refresh()

    def stop(self) -> None:
        """The doctor was cancelled or failed; what is shown stays."""
        self._working = False
        self._refresh()

    def export_excludes(self, path: str | None = None) -> None:
        """Write the exclude list; `path` None asks for one."""
        if self.report is None:
            return
        if path is None:
            suggestion = f"{Path(self.report.path).stem}-exclude.txt"
            path, _ = QFileDialog.getSaveFileName(
                self, "Export exclude list", suggestion, "Text (*.txt)"
            )
        if not path:
            return
        part = Path(path).with_name(f".{Path(path).name}.part")
        try:
            part.write_text(self.report.exclude_text(), encoding="utf-8")
            os.replace(part, path)
        except OSError as error:
            part.unlink(missing_ok=True)
            self.failed.emit(f"{path}: {error.strerror}; choose another folder.")
            return
        self.exclude_list_written.emit(path)

    def _train(self) -> None:
        if self.report is not None:
            self.train_requested.emit(self.report)

    def _refresh(self) -> None:
        """What can be done now."""
        report, working = self.report, self._working
        self.progress.setVisible(working)
        self.cancel.setVisible(working)
        self.export.setVisible(bool(report and report.excluded) and not working)
        usable = bool(report and report.usable)
        self.train.setEnabled(usable)
        looking = "Looking at every file… Training need not wait." if usable else _LOOKING
        self.verdict.setText(looking if working else verdict(report))


def verdict(report: DoctorReport | None) -> str:
    """One line for a whole report."""
    if report is None:
        return "Drop a folder, a zip or an image."
    errors, warnings = report.count(ERROR), report.count("warning")
    if not report.usable:
        return "Nothing here can be trained on; see below."
    parts = [plural(errors, "error")] if errors else []
    parts += [plural(warnings, "warning")] if warnings else []
    if not report.complete:
        parts.append("not finished")
    wrong = ", ".join(parts) or "nothing is wrong"
    if report.excluded:
        wrong += f"; {plural(len(report.excluded), 'patch')} will be left out"
    return f"Ready to train: {wrong}."


def _content(report: DoctorReport) -> QWidget:
    """All between the head and the buttons."""
    content = QWidget()
    content.setMaximumWidth(_MAX_WIDTH_PX)
    column = QVBoxLayout(content)
    column.setContentsMargins(0, 8, 12, 8)
    column.setSpacing(16)
    rows: list[tuple[str, str]] = []
    if report.patches is not None:
        rows = patch_summary(report.patches)
    elif report.image is not None:
        rows = image_summary(report.image)
    if rows:
        column.addWidget(_table(rows))
    if report.patches is not None and report.patches.octaves:
        column.addWidget(_label("Patches by octave", 1.1))
        column.addWidget(OctaveChart(report.patches.octaves))
    if report.findings:
        column.addWidget(_label("Findings", 1.1))
    for finding in report.findings:
        column.addWidget(_finding(finding))
    if report.costs:
        column.addWidget(_label("Training on this machine", 1.1))
        costs = [COST_HEAD, *(cost_row(cost) for cost in report.costs)]
        column.addWidget(_table(costs, head=True))
        for method in dict.fromkeys(cost.method for cost in report.costs):
            names = ", ".join(c.preset for c in report.costs if c.method == method)
            column.addWidget(_label(f"{names}: {method}.", dim=True))
    column.addStretch(1)
    return content


def _finding(finding: Finding) -> QWidget:
    """One finding: what it is, what to do, a few names."""
    box = QWidget()
    grid = QGridLayout(box)
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setHorizontalSpacing(12)
    grid.setVerticalSpacing(3)
    grid.setColumnStretch(1, 1)
    mark = _label(_MARKS[finding.severity], dim=finding.severity == NOTE)
    mark.setToolTip(finding.severity)
    _keep_whole(mark)
    grid.addWidget(mark, 0, 0, Qt.AlignmentFlag.AlignTop)
    count = f"  ({len(finding.items):,})" if finding.items else ""
    grid.addWidget(_label(f"{finding.title}{count}"), 0, 1)
    grid.addWidget(_label(finding.advice, dim=True), 1, 1)
    lines = [f"{item.name}: {item.message}" for item in finding.items[:_EXAMPLES]]
    rest = len(finding.items) - _EXAMPLES
    if rest > 0:
        lines.append(f"and {rest:,} more")
    names = _label("\n".join(lines), 0.9, dim=True)
    names.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    grid.addWidget(names, 2, 1)
    return box


def _table(rows: Sequence[Sequence[str]], head: bool = False) -> QWidget:
    """Text in columns; the first row or the first column is quiet."""
    box = QWidget()
    grid = QGridLayout(box)
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setHorizontalSpacing(22)
    grid.setVerticalSpacing(5)
    for y, row in enumerate(rows):
        for x, text in enumerate(row):
            label = _label(text, dim=(y == 0) if head else (x == 0))
            if head or x == 0:
                _keep_whole(label)
            grid.addWidget(label, y, x)
    grid.setColumnStretch(len(rows[0]) - 1 if not head else len(rows[0]), 1)
    return box


def _label(text: str, size: float = 1.0, dim: bool = False) -> QLabel:
    """Plain text that wraps: `size` times the usual, in the theme's quiet colour if `dim`."""
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    if size == 1.0 and not dim:
        return label
    font = label.font()
    font.setPointSizeF(font.pointSizeF() * size)
    label.setFont(font)
    if dim:
        label.setObjectName("quiet")
    return label


def _keep_whole(label: QLabel) -> None:
    """One line that its column must be wide enough for."""
    label.setWordWrap(False)
    label.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Minimum)


class OctaveChart(QWidget):
    """A small bar chart of patches by octave."""

    def __init__(self, octaves: Sequence[Octave]) -> None:
        super().__init__()
        self._octaves = tuple(octaves)
        line = self.fontMetrics().height()
        self.setFixedHeight(_CHART_PX + 2 * line)
        self.setMinimumWidth(len(self._octaves) * (_BAR_PX + _GAP_PX))
        self.setAccessibleName(", ".join(f"octave {o.octave}: {o.count}" for o in octaves))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Bars, their counts above, their octaves below."""
        painter = QPainter(self)
        palette, line = self.palette(), self.fontMetrics().height()
        font = painter.font()
        font.setPointSizeF(font.pointSizeF() * 0.8)
        painter.setFont(font)
        most = max(octave.count for octave in self._octaves)
        for index, octave in enumerate(self._octaves):
            x = index * (_BAR_PX + _GAP_PX)
            height = round(_CHART_PX * octave.count / max(1, most))
            top = line + _CHART_PX - height
            painter.fillRect(x, top, _BAR_PX, max(height, 1), palette.highlight())
            painter.setPen(palette.windowText().color())
            middle = Qt.AlignmentFlag.AlignCenter
            wide = x - _GAP_PX // 2
            painter.drawText(wide, top - line, _BAR_PX + _GAP_PX, line, middle, short(octave.count))
            painter.setPen(palette.placeholderText().color())
            below = line + _CHART_PX
            painter.drawText(wide, below, _BAR_PX + _GAP_PX, line, middle, str(octave.octave))
        painter.end()


def short(count: int) -> str:
    """12345 is '12k'."""
    if count < 10_000:
        return str(count)
    return f"{count / 1000:.0f}k" if count < 1_000_000 else f"{count / 1e6:.1f}M"
