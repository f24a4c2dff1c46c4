"""The training panel: what to train on, the doctor's page, a few settings, and the run itself."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QDockWidget,
    QDoubleSpinBox,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from explorer.panels.doctor_page import DoctorPage
from explorer.panels.sample_strip import SampleStrip
from explorer.panels.training_form import TrainingForm, share_slider
from explorer.panels.training_plots import TrainingPlots
from explorer.progress import minutes
from explorer.training_messages import (
    PAUSED,
    PREPARING,
    SAVING,
    TRAINING,
    WAITING,
    Phase,
    SamplesSaved,
    TrainingEnded,
    TrainingTick,
)
from model.training_setup import KnownRun, Recipe

_LEAST_PX = 380
_MORE_MINUTES = 30.0
"""Proposed to go on with a run whose budget is used up."""


class TrainingPanel(QDockWidget):
    """Shows one page at a time; whoever trains connects the signals of `run`, `form`, `doctor`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Training"))
        self.setObjectName("training_dock")
        self.setAccessibleName(self.tr("Training"))
        self.start, self.doctor = StartPage(), DoctorPage()
        self.form, self.run = TrainingForm(), RunPage()
        body = QWidget()
        body.setMinimumWidth(_LEAST_PX)
        column = QVBoxLayout(body)
        column.setContentsMargins(0, 0, 0, 0)
        # Not a stack: that would be as wide as its widest page, whichever is shown.
        self._pages = (self.start, self.doctor, _scrolled(self.form), _scrolled(self.run))
        for page in self._pages:
            column.addWidget(page)
        self.setWidget(body)
        self.show_page(self.start)

    def show_page(self, page: QWidget) -> None:
        """Show `start`, `doctor`, `form` or `run`, and nothing else."""
        for each in self._pages:
            inside = each.widget() if isinstance(each, QScrollArea) else each
            each.setVisible(page is each or page is inside)
        self.page = page


class StartPage(QWidget):
    """Nothing is being trained: what one can do about that."""

    data_found = Signal(str)
    """What the run that is offered was trained on lies at this path now."""

    look_asked = Signal(str)
    """Let the doctor look at this path."""
    image_asked = Signal()
    """Train on the image that is open."""
    continue_asked = Signal()
    """Go on with the run that is offered."""
    forget_asked = Signal()
    """Never mind it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        tr = self.tr
        self.unfinished = QLabel()
        self.unfinished.setWordWrap(True)
        self.go_on = _button(tr("Continue training"))
        self.go_on.setDefault(True)
        self.go_on.clicked.connect(self.continue_asked)
        self.forget = _button(tr("Not any more"))
        self.forget.clicked.connect(self.forget_asked)
        self.more = QDoubleSpinBox()
        self.more.setRange(0.1, 100_000.0)
        self.more.setDecimals(1)
        self.more.setSuffix(tr(" min"))
        self.more.setAccessibleName(tr("Minutes that it goes on"))
        self._more_row = QWidget()
        self._more_row.setLayout(_line(QLabel(tr("Go on for")), self.more, None))
        self.find_folder = _button(tr("Its folder…"))
        self.find_folder.clicked.connect(lambda: self._find(_a_folder(self)))
        self.find_file = _button(tr("Its zip or image…"))
        self.find_file.clicked.connect(lambda: self._find(_a_file(self)))
        self._find_row = QWidget()
        self._find_row.setLayout(_line(self.find_folder, self.find_file, None))
        self._known: KnownRun | None = None
        self._planned = 0.0
        self._rescue = QWidget()
        rescue = QVBoxLayout(self._rescue)
        rescue.setContentsMargins(0, 0, 0, 18)
        for widget in (self.unfinished, self._find_row, self._more_row):
            rescue.addWidget(widget)
        rescue.addLayout(_line(self.go_on, self.forget, None))
        self._rescue.hide()
        text = QLabel(
            tr(
                "Drop a folder or a zip of patches or photographs of one picture on the window, "
                "or train on one large image."
            )
        )
        text.setWordWrap(True)
        self.choose_folder = _button(tr("Choose a folder…"))
        self.choose_folder.clicked.connect(self._choose_folder)
        self.choose_file = _button(tr("Choose a zip or an image…"))
        self.choose_file.clicked.connect(self._choose_file)
        self.image = _button(tr("Train on this image…"))
        self.image.clicked.connect(self.image_asked)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 12, 16, 14)
        column.setSpacing(10)
        column.addWidget(self._rescue)
        column.addWidget(text)
        for button in (self.choose_folder, self.choose_file, self.image):
            column.addWidget(button, 0, Qt.AlignmentFlag.AlignLeft)
        column.addStretch(1)

    def offer(self, recipe: Recipe | None) -> None:
        """Offer to go on with a run that a crash ended; None: there is none."""
        self._known = None
        self._rescue.setVisible(recipe is not None)
        self._find_row.hide()
        self._more_row.hide()
        self.go_on.setEnabled(True)
        if recipe is not None:
            self.unfinished.setText(
                self.tr("Training on {0} was cut off. What it had learned is in {1}.").format(
                    Path(recipe.data).name, recipe.folder
                )
            )

    def offer_known(self, known: KnownRun) -> None:
        """Offer to go on with a run that lies on the disk."""
        self._known = known
        self._rescue.show()
        self._more_row.show()
        left = known.minutes * (1 / max(known.fraction, 1e-6) - 1) if known.minutes else 0.0
        self.more.setValue(left if known.fraction < 1 and left > 0 else _MORE_MINUTES)
        self._planned = self.more.value()
        self._show_known(known.recipe.data)

    def minutes_in_all(self) -> float | None:
        """The budget that the person asks for, training so far included; None: the run's own."""
        known = self._known
        if known is None or (known.fraction < 1 and self.more.value() == self._planned):
            return None
        return known.minutes + self.more.value()

    def _show_known(self, data: str) -> None:
        assert self._known is not None, "a run is offered"
        folder, found = Path(self._known.recipe.folder), bool(data) and Path(data).exists()
        trained = minutes(60 * self._known.minutes)
        if found:
            text = self.tr("{0} was trained on {1} for {2}.")
        elif data:
            text = self.tr("{0} was trained for {2}. Its data are not at {1} any more: where?")
        else:
            text = self.tr("{0} was trained for {2}. It does not say on what data: on which?")
        name = Path(data).name if found else data
        self.unfinished.setText(text.format(folder.name, name, trained))
        self._find_row.setVisible(not found)
        self.go_on.setEnabled(found)

    def _find(self, path: str) -> None:
        if path:
            self.data_found.emit(path)
            self._show_known(path)

    def _choose_folder(self) -> None:
        name = _a_folder(self)
        if name:
            self.look_asked.emit(name)

    def _choose_file(self) -> None:
        name = _a_file(self)
        if name:
            self.look_asked.emit(name)


class RunPage(QWidget):
    """A run while it trains, and what came of it."""

    pause_asked = Signal()
    resume_asked = Signal()
    stop_asked = Signal(bool)
    """True: keep; False: discard (not yet asked back)."""
    snapshot_asked = Signal()
    share_chosen = Signal(float)
    """0.1 to 1."""
    view_asked = Signal()
    """Show what is being learned in the viewport."""
    done_asked = Signal()
    """Back to the start: another run."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        tr = self.tr
        self.title, self.state, self.note = QLabel(), QLabel(), QLabel()
        self.title.setTextFormat(Qt.TextFormat.PlainText)
        self.state.setObjectName("quiet")
        self.note.setObjectName("quiet")
        for label in (self.title, self.state, self.note):
            label.setWordWrap(True)
        self.progress = QProgressBar()
        self.progress.setRange(0, 1000)
        self.progress.setTextVisible(False)
        self.progress.setFixedHeight(6)
        self.progress.setAccessibleName(tr("Share of the budget that is used"))
        self.pause = _button(tr("Pause"))
        self.pause.clicked.connect(self._pause_or_resume)
        self.snapshot = _button(tr("Snapshot now"))
        self.snapshot.clicked.connect(self.snapshot_asked)
        self.view = _button(tr("View"))
        self.view.setToolTip(tr("Show what is being learned in the viewport"))
        self.view.clicked.connect(self.view_asked)
        self.keep = _button(tr("Stop and keep"))
        self.keep.clicked.connect(lambda: self.stop_asked.emit(True))
        self.discard = _button(tr("Stop and discard"))
        self.discard.clicked.connect(lambda: self.stop_asked.emit(False))
        self.done = _button(tr("Train something else"))
        self.done.clicked.connect(self.done_asked)
        self.share = share_slider(tr("Share of the machine"))
        self.share_text = QLabel("100 %")
        self.share.valueChanged.connect(self._share_moved)
        self._share_row = QWidget()
        self._share_row.setLayout(_line(QLabel(tr("Share")), self.share, self.share_text))
        self.plots = TrainingPlots()
        self.samples_text = QLabel(tr("Samples: none yet"))
        self.samples_text.setObjectName("quiet")
        self.samples_text.setWordWrap(True)
        self.samples = SampleStrip()
        self.is_paused = False
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 12, 16, 14)
        column.setSpacing(8)
        for widget in (self.title, self.state, self.progress, self.note):
            column.addWidget(widget)
        column.addLayout(_line(self.pause, self.snapshot, self.view, None))
        column.addLayout(_line(self.keep, self.discard, self.done, None))
        for below in (self._share_row, self.plots, self.samples_text, self.samples):
            column.addWidget(below)
        column.addStretch(1)

    def begin(self, recipe: Recipe, share: float) -> None:
        """A run begins."""
        self.title.setText(self.tr("Training on {0}").format(Path(recipe.data).name))
        self.title.setToolTip(recipe.folder)
        self.state.setText(self.tr("Preparing …"))
        self.share.setValue(round(10 * share))
        self.progress.setValue(0)
        self.plots.clear_all()
        self.plots.build()
        self.samples.clear()
        self.samples_text.setText(self.tr("Samples: none yet"))
        self.tell("")
        self.is_paused = self._is_stopping = False
        self._enable(running=True)
        for button in (self.pause, self.snapshot, self.view):
            button.setEnabled(False)

    def show_phase(self, phase: Phase) -> None:
        """Preparing, training, waiting, paused or saving."""
        self.is_paused = phase.name == PAUSED
        self.pause.setText(self.tr("Resume") if self.is_paused else self.tr("Pause"))
        if phase.name == PREPARING:
            percent = "" if phase.fraction is None else f" {phase.fraction:.0%}"
            self.state.setText(f"{phase.text[:1].upper()}{phase.text[1:]} …{percent}")
            self.progress.setValue(round(1000 * (phase.fraction or 0)))
            return
        for button in (self.view,) if self._is_stopping else (self.pause, self.snapshot, self.view):
            button.setEnabled(True)
        texts = {
            PAUSED: self.tr("Paused."),
            SAVING: self.tr("Saving …"),
            TRAINING: self.tr("Training …"),
            WAITING: self.tr("Waiting for places …"),
        }
        if phase.name in texts:
            self.state.setText(texts[phase.name])

    def show_tick(self, tick: TrainingTick) -> None:
        """Figures of another moment."""
        self.plots.add(tick)
        if not self.is_paused:
            self.state.setText(
                self.tr("Step {0}, {1} left, {2} windows a second").format(
                    f"{tick.step:,}", minutes(tick.seconds_left), f"{tick.images_per_second:.1f}"
                )
            )
        # At last: a bar that moves paints at once, and all that has changed with it.
        self.progress.setValue(round(1000 * tick.fraction))

    def show_samples(self, samples: SamplesSaved) -> None:
        """Another strip lies on the disk."""
        self.samples.show_file(samples.file)
        self.plots.add_samples(samples)
        self.samples_text.setText(
            self.tr("Samples at step {0}: generated above, real below, by octave").format(
                f"{samples.step:,}"
            )
        )

    def tell(self, text: str) -> None:
        """One thing that one should know of the run; an empty text takes it away."""
        self.note.setText(text)
        self.note.setVisible(bool(text))

    def end(self, ended: TrainingEnded) -> None:
        """The run is over."""
        self._enable(running=False)
        if ended.kept:
            text = self.tr("Finished.") if ended.finished else self.tr("Stopped.")
            if ended.finished:
                self.progress.setValue(self.progress.maximum())
            self.state.setText(self.tr("{0} Kept in {1}").format(text, ended.folder))
        else:
            self.state.setText(self.tr("Ended; nothing was kept."))
        self.view.setEnabled(ended.kept)

    def stopping(self) -> None:
        """A stop was asked for; it comes after the step under way."""
        self._is_stopping = True
        self.state.setText(self.tr("Stopping …"))
        for button in (self.pause, self.snapshot, self.keep, self.discard):
            button.setEnabled(False)

    def not_stopped(self) -> None:
        """What was learned could not be saved: the run is still there, and pauses."""
        self._is_stopping = False
        self._enable(running=True)

    def _enable(self, running: bool) -> None:
        for button in (self.pause, self.snapshot, self.keep, self.discard):
            button.setVisible(running)
            button.setEnabled(running)
        self._share_row.setVisible(running)
        self.done.setVisible(not running)
        self.pause.setText(self.tr("Pause"))

    def _pause_or_resume(self) -> None:
        if self.is_paused:
            self.tell("")
            self.resume_asked.emit()
        else:
            self.state.setText(self.tr("Pausing after this step …"))
            self.pause_asked.emit()

    def _share_moved(self, tenths: int) -> None:
        self.share_text.setText(f"{10 * tenths} %")
        self.share_chosen.emit(tenths / 10)


def _a_folder(parent: QWidget) -> str:
    return QFileDialog.getExistingDirectory(parent, parent.tr("A folder of pictures"))


def _a_file(parent: QWidget) -> str:
    title = parent.tr("A zip of pictures, or one large image")
    return QFileDialog.getOpenFileName(parent, title)[0]


def _button(text: str) -> QPushButton:
    button = QPushButton(text)
    button.setAccessibleName(text.rstrip("…"))
    return button


def _line(*widgets: QWidget | None) -> QHBoxLayout:
    """Widgets beside each other; None is room."""
    line = QHBoxLayout()
    line.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        if widget is None:
            line.addStretch(1)
        else:
            line.addWidget(widget)
    return line


def _scrolled(page: QWidget) -> QScrollArea:
    """`page` in an area that scrolls where there is too little room."""
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(page)
    return area
