"""What training needs to know, in a few fields; the rest is folded away."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QStandardPaths, Qt, Signal
from PySide6.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSlider,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from explorer.panels.doctor_page import verdict
from model.data.report import DoctorReport
from model.training_setup import MAX_ASPECT, Recipe

RUNS_FOLDER = "scalespace-runs"
_FIELD_PX = 28
PRESETS = {"laptop": 30.0, "studio": 60.0, "paper": 1440.0}
"""Minutes by preset, where the doctor has not said."""


def default_folder(name: str) -> Path:
    """A new folder for a run on `name`, under the person's documents."""
    place = QStandardPaths.StandardLocation.DocumentsLocation
    parent = Path(QStandardPaths.writableLocation(place) or Path.home()) / RUNS_FOLDER
    first = parent / f"{name}-{time.strftime('%Y%m%d')}"
    folder, number = first, 2
    while folder.exists():
        folder, number = first.with_name(f"{first.name}-{number}"), number + 1
    return folder


def share_slider(name: str) -> QSlider:
    """A slider of the machine's share, in tenths."""
    slider = QSlider(Qt.Orientation.Horizontal)
    slider.setRange(1, 10)
    slider.setPageStep(1)
    slider.setValue(10)
    slider.setAccessibleName(name)
    return slider


class TrainingForm(QWidget):
    """Asks for the run folder, the preset, the budget, and what is seldom changed."""

    start_asked = Signal(object, float)
    """A `Recipe`, and the share of the machine."""
    back_asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._report: DoctorReport | None = None
        self._path = ""
        self._has_begun = False
        """What is filled in was for a training that is under way, or over."""
        tr = self.tr
        self.data = QLabel()
        self.data.setWordWrap(True)
        self.summary = QLabel()
        self.summary.setObjectName("quiet")
        self.summary.setWordWrap(True)
        self.folder = QLineEdit()
        self.preset = QComboBox()
        self.minutes = QDoubleSpinBox()
        self.minutes.setRange(0.1, 100_000.0)
        self.minutes.setDecimals(1)
        self.minutes.setSuffix(tr(" min"))
        self.placement = QComboBox()
        self.placement.addItem(tr("Find the place of every patch"), "match")
        self.placement.addItem(tr("Train without places"), "none")
        self.share = share_slider(tr("Share of the machine"))
        self.share_text = QLabel()
        self.share.valueChanged.connect(lambda v: self.share_text.setText(f"{10 * v} %"))
        self.share_text.setText("100 %")
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        form.addRow(tr("Run folder"), self._folder_row())
        form.addRow(tr("Preset"), self.preset)
        form.addRow(tr("Time"), self.minutes)
        form.addRow(tr("Places"), self.placement)
        form.addRow(tr("Share"), _row(self.share, self.share_text))
        self._form = form
        self.more = QToolButton()
        self.more.setText(tr("More"))
        self.more.setCheckable(True)
        self.more.setArrowType(Qt.ArrowType.RightArrow)
        self.more.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.rest = self._make_rest()
        self.rest.hide()
        self.more.toggled.connect(self._unfold)
        self.back = QPushButton(tr("Back"))
        self.back.clicked.connect(self.back_asked)
        self.start = QPushButton(tr("Start"))
        self.start.setDefault(True)
        self.start.clicked.connect(self._start)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 12, 16, 14)
        column.setSpacing(10)
        column.addWidget(self.data)
        column.addWidget(self.summary)
        column.addLayout(form)
        column.addWidget(self.more, 0, Qt.AlignmentFlag.AlignLeft)
        column.addWidget(self.rest)
        column.addStretch(1)
        column.addWidget(_row(self.back, None, self.start))
        self.preset.currentTextChanged.connect(self._preset_chosen)
        self._name_all()

    def _folder_row(self) -> QWidget:
        return _row(self.folder, _browse_button(self.tr("Choose the run folder"), self._browse))

    def _make_rest(self) -> QWidget:
        """What is seldom changed."""
        tr = self.tr
        self.seed = QSpinBox()
        self.seed.setRange(0, 2**31 - 1)
        self.all_levels = QCheckBox(tr("All that the data hold"))
        self.all_levels.setChecked(True)
        self.lowest, self.highest = QDoubleSpinBox(), QDoubleSpinBox()
        for box, value in ((self.lowest, 0.0), (self.highest, 5.0)):
            box.setRange(-4.0, 16.0)
            box.setSingleStep(0.5)
            box.setValue(value)
            box.setEnabled(False)
            self.all_levels.toggled.connect(lambda on, b=box: b.setEnabled(not on))
        self.begin_with = QLineEdit()
        self.begin_with.setPlaceholderText(tr("New weights"))
        self.begin_with.setClearButtonEnabled(True)
        self.begin_with.setToolTip(
            tr("A checkpoint of the same kind, whose weights go on learning; a run's best is one")
        )
        self.browse_begin_with = _browse_button(
            tr("Choose the checkpoint"), self._browse_checkpoint
        )
        self.aspect = QDoubleSpinBox()
        self.aspect.setRange(1 / MAX_ASPECT, MAX_ASPECT)
        self.aspect.setDecimals(3)
        self.aspect.setSingleStep(0.05)
        self.aspect.setValue(1.0)
        self.aspect.setToolTip(tr("Without places nothing in the patches tells the scene's shape"))
        self.autosave = QSpinBox()
        self.autosave.setRange(5, 3600)
        self.autosave.setValue(60)
        self.autosave.setSuffix(tr(" s"))
        rest = QWidget()
        form = QFormLayout(rest)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow(tr("Begin with"), _row(self.begin_with, self.browse_begin_with))
        form.addRow(tr("Seed"), self.seed)
        form.addRow(tr("Levels"), self.all_levels)
        form.addRow("", _row(self.lowest, self.highest))
        form.addRow(tr("Width over height"), self.aspect)
        form.addRow(tr("Autosave every"), self.autosave)
        self.placement.currentIndexChanged.connect(
            lambda: form.setRowVisible(self.aspect, self.placement.currentData() == "none")
        )
        form.setRowVisible(self.aspect, False)
        return rest

    def _name_all(self) -> None:
        """For those who hear the window."""
        tr = self.tr
        for widget, name in (
            (self.folder, tr("Run folder")),
            (self.preset, tr("Preset")),
            (self.minutes, tr("Minutes of training")),
            (self.placement, tr("Places of the patches")),
            (self.more, tr("More settings")),
            (self.begin_with, tr("Checkpoint to begin with")),
            (self.seed, tr("Seed")),
            (self.all_levels, tr("All levels that the data hold")),
            (self.lowest, tr("Lowest level, octaves")),
            (self.highest, tr("Highest level, octaves")),
            (self.aspect, tr("Width of the scene over its height")),
            (self.autosave, tr("Seconds from save to save")),
            (self.back, tr("Back to the report")),
            (self.start, tr("Start training")),
        ):
            widget.setAccessibleName(name)
            if isinstance(widget, QComboBox | QAbstractSpinBox):
                widget.setMinimumHeight(_FIELD_PX)

    def show_report(self, report: DoctorReport, data: str) -> None:
        """Ask for the training on `data` (a path), of which this is the report."""
        again, self._path = data == self._path and not self._has_begun, data
        path = Path(data)
        if again:
            self.update_report(report)
            return
        self._has_begun = False
        self.aspect.setValue(1.0)
        self.placement.setCurrentIndex(0)
        self.all_levels.setChecked(True)
        self.data.setText(self.tr("Train on {0}").format(path.name))
        self.data.setToolTip(str(path))
        self.begin_with.clear()
        self.folder.setText(str(default_folder(path.stem)))
        self._form.setRowVisible(self.placement, report.patches is not None)
        self.update_report(report)
        self.preset.clear()
        self.preset.addItems(list(PRESETS))
        self._preset_chosen(self.preset.currentText())

    def update_report(self, report: DoctorReport) -> None:
        """The doctor has seen more of the same data; what the person filled in stays."""
        self._report = report
        self.summary.setText(
            verdict(report) if report.complete else self.tr("The doctor is still looking.")
        )
        self._minutes = PRESETS | {cost.preset: cost.budget_minutes for cost in report.costs}

    def recipe(self) -> Recipe:
        """What the fields say."""
        assert self._report is not None, "a report comes first"
        levels = None
        if not self.all_levels.isChecked():
            levels = (self.lowest.value(), self.highest.value())
        return Recipe(
            data=self._path,
            folder=self.folder.text().strip(),
            preset=self.preset.currentText(),
            minutes=self.minutes.value(),
            levels=levels,
            placement=self.placement.currentData(),
            aspect=self.aspect.value() if self.placement.currentData() == "none" else 1.0,
            exclude=self._report.excluded,
            autosave_seconds=float(self.autosave.value()),
            seed=self.seed.value(),
            start=self.begin_with.text().strip(),
        )

    def _preset_chosen(self, name: str) -> None:
        if self._report is not None and name:
            self.minutes.setValue(self._minutes[name])

    def _unfold(self, on: bool) -> None:
        self.rest.setVisible(on)
        self.more.setArrowType(Qt.ArrowType.DownArrow if on else Qt.ArrowType.RightArrow)

    def _browse(self) -> None:
        name = QFileDialog.getExistingDirectory(self, self.tr("Folder of the run"))
        if name:
            self.folder.setText(name)

    def _browse_checkpoint(self) -> None:
        kind = self.tr("Checkpoints (*.safetensors)")
        name, _ = QFileDialog.getOpenFileName(self, self.tr("Checkpoint to begin with"), "", kind)
        if name:
            self.begin_with.setText(name)

    def _start(self) -> None:
        if self.folder.text().strip():
            self._has_begun = True
            self.start_asked.emit(self.recipe(), self.share.value() / 10)
        else:
            self.folder.setFocus()


def _browse_button(name: str, clicked: Callable[[], None]) -> QToolButton:
    """Opens a file dialog."""
    button = QToolButton()
    button.setText("…")
    button.setAccessibleName(name)
    button.setToolTip(name)
    button.clicked.connect(clicked)
    return button


def _row(*widgets: QWidget | None) -> QWidget:
    """Widgets beside each other; None is room."""
    box = QWidget()
    line = QHBoxLayout(box)
    line.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        if widget is None:
            line.addStretch(1)
        else:
            line.addWidget(widget)
    return box
