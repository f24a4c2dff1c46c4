"""Brings data, doctor, training, panel and viewport together. GUI thread only."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtWidgets import QFileDialog, QMessageBox

from explorer.doctor_thread import DoctorThread
from explorer.inference_thread import InferenceThread
from explorer.messages import Failure, OpenRequest, SceneInfo
from explorer.panels.training_plots import finish_preload, preload
from explorer.training_messages import (
    TRAINING,
    LiveSpace,
    Looked,
    LookEnded,
    LookProgress,
    Phase,
    SamplesSaved,
    StopFailed,
    TrainingEnded,
    TrainingNote,
    TrainingResult,
    TrainingTick,
    WeightsReady,
)
from explorer.training_thread import BesideConfig, TrainingThread
from explorer.unfinished_run import UnfinishedRun
from model.training_setup import Recipe, find_run, warm_up

if TYPE_CHECKING:
    from explorer.main_window import MainWindow
    from explorer.panels.training_panel import TrainingPanel
    from model.data.report import DoctorReport

log = logging.getLogger(__name__)
YIELD_S = 0.4
"""Training waits for so long after the last input, s; and all through a flight."""
_DRAWING_S = 1.5
"""And for so long at most, s, while newer weights are drawn."""
_INPUTS = frozenset(
    (
        QEvent.Type.Wheel,
        QEvent.Type.MouseButtonPress,
        QEvent.Type.MouseButtonDblClick,
        QEvent.Type.KeyPress,
        QEvent.Type.NativeGesture,
        QEvent.Type.TouchBegin,
        QEvent.Type.TouchUpdate,
    )
)
_NOT_IMAGES = (".safetensors",)


class _Bell(QObject):
    """Carries 'there are results' from a thread to the GUI thread."""

    rung = Signal()


def _is_trained(scene: SceneInfo) -> bool:
    """Whether the scene is no picture, but what was learned from one.

    A folder that was opened is a tile pyramid, or there is a checkpoint: see `model.opening`.
    """
    path = Path(scene.path)
    if scene.step is not None or path.suffix.lower() in _NOT_IMAGES:
        return True
    found = (path.glob(f"{place}*.safetensors") for place in ("", "checkpoints/"))
    return path.is_dir() and any(any(files) for files in found)


class TrainingDesk(QObject):
    """One data set is looked at, one run trains; the panel shows it, the viewport its weights."""

    def __init__(
        self,
        window: MainWindow,
        inference: InferenceThread,
        device: str = "auto",
        precision: str = "auto",
        config: BesideConfig | None = None,
    ) -> None:
        """`config` says how training lives beside the viewer."""
        super().__init__(window)
        self.window, self.inference = window, inference
        self.device, self.precision = device, precision
        self.config = config or BesideConfig()
        self.thread_of_run: TrainingThread | None = None
        """What is training; None: nothing is."""
        self._latest: TrainingThread | None = None
        self.unfinished = UnfinishedRun(window.store.folder)
        self._doctor: DoctorThread | None = None
        self._looked_all = False
        self._warming: threading.Thread | None = None
        self._offered: Recipe | None = None
        self._question: QMessageBox | None = None
        self._closing = False
        self._stop_failed = False
        """The run under way could not be saved, and has not trained since."""
        self._shown_once = self._is_noted = False
        """Of the run under way: whether its weights were shown, and its note is on the disk."""
        self._waits_for_window = False
        """There are newer weights, and the window is minimised."""
        self._handed_at = 0.0
        """When the newest weights were handed on."""
        self._drawn_since: float | None = None
        """The same of those that are open, and not drawn yet."""
        self._training_bell, self._doctor_bell = _Bell(), _Bell()
        queued = Qt.ConnectionType.QueuedConnection
        self._training_bell.rung.connect(self._take_training, queued)
        self._doctor_bell.rung.connect(self._take_doctor, queued)
        inference.live = self._live
        window.data_dropped.connect(self.look)
        window.training_asked.connect(self.look_at_scene)
        window.continue_asked.connect(self.choose_run)
        window.arrivals.run_come.connect(self.offer_run)
        window.panels.made.connect(self._on_made)
        window.viewport.frame_painted.connect(self._give_way)
        window.viewport.leaving.connect(self._hold)
        window.viewport.scene_opened.connect(self._on_opened)
        window.viewport.exact_came.connect(self._on_drawn)
        window.viewport.installEventFilter(self)
        window.installEventFilter(self)

    @property
    def is_training(self) -> bool:
        """A run is under way, or paused."""
        return self.thread_of_run is not None

    @property
    def panel(self) -> TrainingPanel:
        """The panel; made when it is first wanted."""
        panel: Any = self.window.panels["training"]
        return panel

    # Looking at data.

    def look(self, path: str) -> None:
        """Let the doctor look at `path`, and offer to train on it."""
        self._show_panel()
        if self.is_training:
            self.window.show_notice(self.tr("A run is training; stop it before another begins."))
            return
        self._cancel_doctor()
        self._warm_up()
        self.panel.doctor.start(Path(path).name)
        self.panel.show_page(self.panel.doctor)
        self._looked_all = False
        self._doctor = DoctorThread(
            path, self.device, self._doctor_bell.rung.emit, after=self._doctor
        )
        self._doctor.start()

    def _warm_up(self) -> None:
        """While the doctor looks and the person reads: import what comes next."""
        preload()
        if self._warming is None:
            self._warming = threading.Thread(target=warm_up, name="warm-up", daemon=True)
            self._warming.start()

    def look_at_scene(self) -> None:
        """The same for the image that is open."""
        scene = self.window.viewport.scene
        if scene is None:
            self.window.show_notice(self.tr("Open a large image first."))
        elif _is_trained(scene):
            self.window.show_notice(
                self.tr("{0} is a trained scale space; open a large image to train on it.").format(
                    scene.name
                )
            )
        else:
            self.look(scene.path)

    def _take_doctor(self) -> None:
        doctor = self._doctor
        if doctor is None:
            return
        page = self.panel.doctor
        for result in doctor.take_results():
            if isinstance(result, LookProgress):
                page.set_progress(result.fraction)
            elif isinstance(result, Looked):
                self._looked_all = result.report.complete
                page.show_report(result.report)
                if self.panel.page is self.panel.form:
                    self.panel.form.update_report(result.report)
            elif isinstance(result, LookEnded):
                page.stop()
                if result.failure is not None and not self.is_training:
                    self.window.show_failure(result.failure)
                    self.panel.show_page(self.panel.start)

    def _cancel_doctor(self) -> None:
        if self._doctor is not None:
            self._doctor.cancel()

    # The panel.

    def _on_made(self, name: str, panel: Any) -> None:
        """The training panel exists now: connect it."""
        if name != "training":
            return
        made: TrainingPanel = panel
        start, doctor, form, run = made.start, made.doctor, made.form, made.run
        start.look_asked.connect(self.look)
        start.image_asked.connect(self.look_at_scene)
        start.continue_asked.connect(self._go_on)
        start.forget_asked.connect(self._forget)
        start.data_found.connect(self._data_found)
        doctor.cancel_requested.connect(self._cancel_doctor)
        doctor.train_requested.connect(self._show_form)
        doctor.failed.connect(self.window.show_notice)
        doctor.exclude_list_written.connect(
            lambda file: self.window.show_notice(self.tr("Saved {0}").format(file))
        )
        form.back_asked.connect(lambda: self.panel.show_page(self.panel.doctor))
        form.start_asked.connect(self.begin)
        run.pause_asked.connect(lambda: self._to_run(TrainingThread.pause))
        run.resume_asked.connect(lambda: self._to_run(TrainingThread.resume))
        run.snapshot_asked.connect(lambda: self._to_run(TrainingThread.snapshot))
        run.share_chosen.connect(lambda share: self._to_run(lambda t: t.set_share(share)))
        run.stop_asked.connect(self._stop_asked)
        run.view_asked.connect(self._show_run)
        run.done_asked.connect(lambda: self.panel.show_page(self.panel.start))

    def _show_panel(self) -> None:
        self.panel.show()
        self.panel.raise_()

    def _show_form(self, report: DoctorReport) -> None:
        assert self._doctor is not None, "the report is the doctor's"
        self.panel.form.show_report(report, self._doctor.path)
        self.panel.show_page(self.panel.form)

    def _to_run(self, wish: Callable[[TrainingThread], None]) -> None:
        if self.thread_of_run is not None:
            wish(self.thread_of_run)

    # A run.

    def begin(self, recipe: Recipe, share: float = 1.0) -> None:
        """Train; the panel shows it."""
        if self.is_training:
            return
        recipe = replace(recipe, device=self.device)
        self._cancel_doctor()
        thread = TrainingThread(recipe, self._training_bell.rung.emit, self.config)
        thread.set_share(share)
        self.thread_of_run = self._latest = thread
        self._shown_once = self._is_noted = self._waits_for_window = False
        self._stop_failed = False
        self.panel.run.begin(recipe, share)
        if self._doctor is not None and not recipe.resume and not self._looked_all:
            self.panel.run.tell(self.tr("The doctor had not seen every file when this began."))
        self.panel.show_page(self.panel.run)
        thread.start()

    def offer_unfinished(self) -> None:
        """Where a crash ended a run: offer to go on with it."""
        recipe = self.unfinished.find()
        if recipe is None:
            return
        self._show_panel()
        self._offered = recipe
        self.panel.start.offer(recipe)
        self.window.show_notice(
            self.tr("Training on {0} was cut off; the panel can continue it.").format(
                Path(recipe.data).name
            )
        )

    def choose_run(self) -> None:
        """Ask for the folder of a run, and offer to go on with it."""
        name = QFileDialog.getExistingDirectory(
            self.window, self.tr("The folder of a training run")
        )
        if name:
            self.offer_run(name)

    def offer_run(self, folder: str) -> None:
        """Offer to go on with the run in `folder`."""
        if self.is_training:
            self.window.show_notice(self.tr("A run is training; stop it before another begins."))
            return
        try:
            known = find_run(Path(folder))
        except (ValueError, OSError) as error:
            title = self.tr("Cannot continue {0}").format(Path(folder).name)
            self.window.show_failure(Failure(title, str(error)))
            return
        self._cancel_doctor()
        self._show_panel()
        self._offered = known.recipe
        self.panel.start.offer_known(known)
        self.panel.show_page(self.panel.start)

    def _data_found(self, path: str) -> None:
        if self._offered is not None:
            self._offered = replace(self._offered, data=path)

    def _go_on(self) -> None:
        recipe, self._offered = self._offered, None
        minutes = self.panel.start.minutes_in_all()
        self.panel.start.offer(None)
        if recipe is not None:
            self.begin(replace(recipe, resume=True, minutes=minutes, kimg=None))

    def _forget(self) -> None:
        crashed = self.unfinished.find()
        if crashed is not None and self._offered == crashed:
            self.unfinished.clear()
        self._offered = None
        self.panel.start.offer(None)

    def _take_training(self) -> None:
        thread = self.thread_of_run
        if thread is None:
            return
        for result in thread.take_results():
            self._accept(thread, result)

    def _accept(self, thread: TrainingThread, result: TrainingResult) -> None:
        page = self.panel.run
        if isinstance(result, TrainingTick):
            page.show_tick(result)
        elif isinstance(result, Phase):
            page.show_phase(result)
            self._stop_failed = self._stop_failed and result.name != TRAINING
        elif isinstance(result, TrainingNote):
            page.tell(result.text)
        elif isinstance(result, SamplesSaved):
            page.show_samples(result)
        elif isinstance(result, WeightsReady):
            self._show_weights(thread, result)
        elif isinstance(result, StopFailed):
            self._stop_failed, self._closing = True, False
            page.not_stopped()
        elif isinstance(result, TrainingEnded):
            self._on_ended(thread, result)
        else:
            page.tell(f"{result.title}: {result.text}")
            if not self._closing:
                self.window.show_failure(result)

    def _show_weights(self, thread: TrainingThread, ready: WeightsReady) -> None:
        """Newer weights: into the viewport, unless the person looks at something else."""
        if not self._shown_once:
            self._note_begun(thread.recipe)
        # Not what is shown: another scene may be about to open.
        if self._shown_once and self.inference.asked != ready.folder:
            return
        # Nothing is painted of a minimised window, so that nothing is taken: it would pile up.
        self._waits_for_window = self.window.isMinimized()
        if not self._waits_for_window:
            self._hand_on()

    def _hand_on(self) -> None:
        """Let the newest weights be drawn."""
        self._waits_for_window, self._shown_once = False, True
        self._handed_at = time.perf_counter()
        self._show_run()

    def _on_opened(self, scene: SceneInfo) -> None:
        """Where these are newer weights: let all cores draw them."""
        thread, viewport = self.thread_of_run, self.window.viewport
        self._drawn_since = None
        if thread is None or scene.step is None or scene.path != thread.recipe.folder:
            return
        self._drawn_since = self._handed_at
        if viewport.isVisible() and not self.window.isMinimized():
            thread.drawing(_DRAWING_S)

    def _on_drawn(self) -> None:
        """Tell the run how long its newest weights took, if nobody moved."""
        since, self._drawn_since = self._drawn_since, None
        rest = self.window.viewport.view_state.rest_since
        if since is not None and rest is not None and rest < since and self.thread_of_run:
            self.thread_of_run.drawn_in(time.perf_counter() - since)

    def _note_begun(self, recipe: Recipe) -> None:
        try:
            self.unfinished.write(recipe)
            self._is_noted = True
        except OSError as error:
            log.warning("A crash of this run will not be offered to be continued: %s", error)

    def _show_run(self) -> None:
        """Open the run's newest weights; the view stays where it is."""
        if self._latest is not None:
            folder = self._latest.recipe.folder
            seed = self.window.viewport.stream.seed
            self.inference.open(OpenRequest(folder, self.device, self.precision, seed))

    def _on_ended(self, thread: TrainingThread, ended: TrainingEnded) -> None:
        thread.join(5.0)
        self.thread_of_run = None
        if not ended.kept:
            self._latest = None
        if self._is_noted:
            try:
                self.unfinished.clear()
            except OSError as error:
                log.warning("The note on the run cannot be removed: %s", error)
        self.panel.run.end(ended)
        if self._question is not None:
            self._question.close()
        if self._closing:
            self.window.close()

    def _live(self, path: str) -> LiveSpace | None:
        """In the inference thread: the newest weights of the run, where `path` is its folder."""
        thread = self._latest
        return None if thread is None else thread.live(path)

    def _hold(self) -> None:
        """A hand acts, or a flight begins: training waits at once, not after the next frame."""
        if self.thread_of_run is not None:
            self.thread_of_run.hold(YIELD_S)

    def _give_way(self) -> None:
        """After every painted frame: training waits while something moves the view.

        Not for the end of its easing: after `YIELD_S` the view is where it was to go, to a percent.
        """
        state = self.window.viewport.view_state
        since = state.rest_since
        if self.thread_of_run is None:
            return
        if since is None or state.is_dragging:
            self.thread_of_run.hold(YIELD_S)
        else:
            self.thread_of_run.hold(since + YIELD_S - time.perf_counter())

    # Stopping.

    def _stop_asked(self, keep: bool) -> None:
        if keep:
            self._stop(True)
        elif self.thread_of_run is not None:
            folder = self.thread_of_run.recipe.folder
            text = self.tr("Discard this run? What it has learned is removed from {0}.")
            box = self._ask(text.format(folder), self.tr("Discard"))
            box.accepted.connect(lambda: self._stop(False))

    def _stop(self, keep: bool, for_good: bool = False) -> None:
        if self.thread_of_run is not None:
            self.panel.run.stopping()
            self.thread_of_run.stop(keep, for_good)

    def _ask(self, text: str, yes: str) -> QMessageBox:
        """A question that does not block; `accepted` is yes."""
        box = QMessageBox(self.window)
        box.setIcon(QMessageBox.Icon.Question)
        box.setWindowModality(Qt.WindowModality.WindowModal)
        box.setWindowTitle(self.tr("Training"))
        box.setText(text)
        box.addButton(yes, QMessageBox.ButtonRole.AcceptRole)
        box.addButton(QMessageBox.StandardButton.Cancel)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.finished.connect(self._answered)
        self._question = box
        box.open()
        return box

    def _answered(self) -> None:
        self._question = None

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """A hand acts on the picture: training waits.

        The window is to close while a run trains: ask, and close when it has ended.
        """
        if watched is self.window.viewport:
            if event.type() in _INPUTS:
                self._hold()
            return False
        if event.type() == QEvent.Type.WindowStateChange and self._waits_for_window:
            if not self.window.isMinimized():
                self._hand_on()
            return False
        if event.type() != QEvent.Type.Close or not self.is_training:
            return False
        event.ignore()
        if not self._closing and self._question is None:
            text = self.tr("A run is training. Keep what it has learned, and close?")
            yes = self.tr("Keep and close")
            if self._stop_failed:
                text = self.tr(
                    "The last steps of the run were not saved. Close, though they may be lost?"
                )
                yes = self.tr("Close all the same")
            self._ask(text, yes).accepted.connect(self._keep_and_close)
        return True

    def _keep_and_close(self) -> None:
        self._closing = True
        self._stop(True, for_good=self._stop_failed)

    def close(self) -> None:
        """The app ends, asked or not: keep what was learned, end the threads."""
        self.window.viewport.removeEventFilter(self)
        self.window.removeEventFilter(self)
        self._cancel_doctor()
        finish_preload()
        if self._warming is not None:
            self._warming.join()
        if self._doctor is not None:
            self._doctor.join(20.0)  # a thread inside torch while the process ends aborts it
        thread, self.thread_of_run = self.thread_of_run, None
        if thread is not None:
            thread.stop(True, for_good=True)
            if thread.join(20.0):
                if self._is_noted:
                    self.unfinished.clear()
            else:
                log.warning("Training did not end in time; its last saved state is good.")
