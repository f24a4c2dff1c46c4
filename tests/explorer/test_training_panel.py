"""Training through the window: drop, doctor, start, look, stop; closing asks; a crash is offered.

Every test has a real window on a real run, tiny as it is.
"""

from __future__ import annotations

import errno
import json
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtWidgets import QFileDialog, QMessageBox, QWidget
from pytestqt.qtbot import QtBot

from explorer.app import App
from explorer.camera import Camera
from explorer.messages import OpenRequest
from explorer.panels.training_panel import RunPage, TrainingPanel
from explorer.panels.training_plots import MAX_POINTS, TrainingPlots
from explorer.settings import SettingsStore
from explorer.tile_grid import APRON_PX
from explorer.training_desk import YIELD_S
from explorer.training_messages import (
    PAUSED,
    SAVING,
    TRAINING,
    WAITING,
    LiveSpace,
    Phase,
    SamplesSaved,
    TrainingTick,
)
from explorer.training_thread import BesideConfig
from explorer.unfinished_run import FILE, UnfinishedRun
from model.data.report import DoctorReport, PatchFacts
from model.run_files import CHECKPOINT, STATE
from tests.explorer.conftest import MakeApp
from tests.explorer.fakes import FakeSpace
from tests.explorer.hands import drop, wheel
from tests.explorer.training_sets import recipe_for, small_presets, write_patches

SLOW_MS = 60_000


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_patches(tmp_path_factory.mktemp("data") / "stars")


@pytest.fixture
def app(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[App]:
    """A window over a formula; training in it is tiny and quick to show."""
    small_presets(monkeypatch)
    store = SettingsStore(tmp_path / "settings")
    app = make_app(store=store, window_size=(900, 600))
    app.training.config = BesideConfig(publish_s=0.2, tick_s=0.0, niceness=0, threads=1)
    yield app
    app.close()
    assert not [t for t in threading.enumerate() if t.name in ("training", "doctor")]


def panel_of(app: App) -> TrainingPanel:
    panel = app.window.panels["training"]
    assert isinstance(panel, TrainingPanel)
    return panel


def question(app: App) -> QMessageBox:
    box = app.training._question
    assert box is not None
    return box


def answer(box: QMessageBox, text: str) -> None:
    """Press the button with this text."""
    (button,) = [b for b in box.buttons() if b.text().replace("&", "") == text]
    button.click()


def begin(app: App, data: Path, folder: Path, qtbot: QtBot) -> TrainingPanel:
    """Start a run past the doctor; returns when its weights are in the viewport."""
    panel = panel_of(app)
    panel.show()
    app.training.begin(recipe_for(data, folder))
    showing(app, folder, qtbot)
    return panel


def showing(app: App, folder: Path, qtbot: QtBot) -> None:
    """Wait until the viewport shows the run."""
    qtbot.waitUntil(
        lambda: app.viewport.scene is not None and app.viewport.scene.path == str(folder),
        timeout=SLOW_MS,
    )


def stopped(app: App, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not app.training.is_training, timeout=SLOW_MS)


def test_dropped_data_become_a_scene_that_one_can_fly_through(
    app: App, data: Path, tmp_path: Path, qtbot: QtBot
) -> None:
    """Drop, doctor, form, start, first weights in the viewport, newer ones, stop and keep."""
    assert drop(app.window, data)
    panel = panel_of(app)
    assert panel.isVisible() and panel.page is panel.doctor
    qtbot.waitUntil(panel.doctor.train.isEnabled, timeout=SLOW_MS)
    panel.doctor.train.click()
    form = panel.form
    assert panel.page is form and form.isVisible() and not form.rest.isVisible()
    assert "scalespace-runs" in form.folder.text() and "stars-" in form.folder.text()
    form.more.click()
    assert form.rest.isVisible()
    run = tmp_path / "run"
    form.folder.setText(str(run))
    assert not form.aspect.isVisible()  # placed patches tell it themselves
    form.placement.setCurrentIndex(form.placement.findData("none"))
    assert form.aspect.isVisible()
    form.aspect.setValue(1.25)
    form.seed.setValue(7)
    form.start.click()
    assert panel.page is panel.run
    showing(app, run, qtbot)
    first = app.viewport.scene
    assert first is not None and first.step is not None and first.step >= 1
    assert f"step {first.step:,}" in app.window.windowTitle()
    # Newer weights come where one is, and one stays there.
    app.viewport.view_state.jump_to(Camera(0.1, -0.05, 1.5))
    app.viewport.wake()
    there = app.viewport.view_state.displayed
    assert there.cx == 0.1
    qtbot.waitUntil(lambda: app.viewport.scene.step > first.step + 2, timeout=SLOW_MS)  # type: ignore[union-attr, operator]
    assert app.viewport.view_state.displayed == there
    app.window.status_line.refresh()
    assert app.window.status_line.step.text().startswith("step ")
    qtbot.waitUntil(lambda: panel.run.plots.losses.points("consistency") > 3, timeout=SLOW_MS)
    assert panel.run.plots.speed.points("windows/s") > 3
    assert (tmp_path / "settings" / FILE).exists()
    panel.run.snapshot.click()
    qtbot.waitUntil(lambda: bool(panel.run.samples.file), timeout=SLOW_MS)
    panel.run.keep.click()
    stopped(app, qtbot)
    assert (run / STATE).exists() and str(run) in panel.run.state.text()
    config = json.loads((run / "config.json").read_text())
    assert config["train"]["seed"] == 7 and config["generator"]["field_size"] == [1.25, 1.0]
    assert not (tmp_path / "settings" / FILE).exists()


def test_a_run_begins_with_the_checkpoint_that_was_chosen(
    app: App, data: Path, tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    panel = begin(app, data, first, qtbot)
    panel.run.keep.click()
    stopped(app, qtbot)
    assert drop(app.window, data)
    qtbot.waitUntil(panel.doctor.train.isEnabled, timeout=SLOW_MS)
    panel.doctor.train.click()
    form = panel.form
    assert form.recipe().start == ""
    form.more.click()
    chosen = str(first / CHECKPOINT)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (chosen, ""))
    form.browse_begin_with.click()
    assert form.begin_with.text() == chosen
    form.folder.setText(str(second))
    form.placement.setCurrentIndex(form.placement.findData("none"))
    form.start.click()
    showing(app, second, qtbot)
    panel.run.keep.click()
    stopped(app, qtbot)
    assert json.loads((second / "config.json").read_text())["data"]["start"] == CHECKPOINT
    # The next set is asked about afresh.
    assert drop(app.window, data)
    qtbot.waitUntil(panel.doctor.train.isEnabled, timeout=SLOW_MS)
    panel.doctor.train.click()
    assert form.begin_with.text() == ""


def test_pause_makes_no_steps_until_it_is_resumed(
    app: App, data: Path, tmp_path: Path, qtbot: QtBot
) -> None:
    panel = begin(app, data, tmp_path / "run", qtbot)
    panel.run.pause.click()
    qtbot.waitUntil(lambda: panel.run.is_paused, timeout=SLOW_MS)
    assert panel.run.pause.text() == "Resume" and panel.run.state.text() == "Paused."
    points = panel.run.plots.speed.points("windows/s")
    panel.run.pause.click()
    qtbot.waitUntil(lambda: panel.run.plots.speed.points("windows/s") > points + 1, timeout=SLOW_MS)
    assert panel.run.pause.text() == "Pause"


def test_a_movement_of_the_view_makes_training_wait(
    app: App, data: Path, tmp_path: Path, qtbot: QtBot
) -> None:
    begin(app, data, tmp_path / "run", qtbot)
    thread = app.training.thread_of_run
    assert thread is not None
    qtbot.waitUntil(lambda: not app.viewport.is_moving)
    before = time.perf_counter()
    wheel(app.viewport, 1, 200, 150)
    qtbot.waitUntil(lambda: thread._hold_until > before)
    # At rest again, it goes on.
    ticks = panel_of(app).run.plots.speed
    points = ticks.points("windows/s")
    qtbot.waitUntil(lambda: ticks.points("windows/s") > points + 1, timeout=SLOW_MS)


def test_an_input_makes_training_wait_before_a_frame_is_painted(
    app: App, data: Path, tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(app, data, tmp_path / "run", qtbot)
    qtbot.waitUntil(lambda: app.viewport.is_exact, timeout=SLOW_MS)
    held: list[tuple[float, int]] = []
    thread = app.training.thread_of_run
    assert thread is not None
    frames = app.viewport.meter.frame_times
    monkeypatch.setattr(thread, "hold", lambda s: held.append((s, len(frames))))
    before = len(frames)
    wheel(app.viewport, 1, 400, 300)
    assert (YIELD_S, before) in held
    held.clear()
    qtbot.keyClick(app.viewport, Qt.Key.Key_Right)
    assert held and held[0][0] == YIELD_S
    held.clear()
    app.viewport.fly_to(Camera(0.0, 0.0, 1.0))
    assert held and held[0][0] == YIELD_S


def test_what_one_looks_at_is_not_taken_away(
    app: App, data: Path, tmp_path: Path, qtbot: QtBot
) -> None:
    """Another scene opened while a run trains stays; 'View' goes back to the run."""
    panel = begin(app, data, tmp_path / "run", qtbot)
    app.open("night.fake")
    qtbot.waitUntil(lambda: app.viewport.scene.path == "night.fake", timeout=SLOW_MS)  # type: ignore[union-attr]
    assert app.window.status_line.step.text() == "" or app.viewport.scene.step is None  # type: ignore[union-attr]
    told: list[int] = []
    app.training._show_run = lambda: told.append(1)  # type: ignore[method-assign]
    thread = app.training.thread_of_run
    step = thread.live(str(tmp_path / "run")).step  # type: ignore[union-attr]
    qtbot.waitUntil(
        lambda: thread.live(str(tmp_path / "run")).step > step + 1,  # type: ignore[union-attr]
        timeout=SLOW_MS,
    )
    del app.training._show_run
    assert not told and app.viewport.scene.path == "night.fake"  # type: ignore[union-attr]
    panel.run.view.click()
    showing(app, tmp_path / "run", qtbot)


def test_discarding_asks_and_removes_the_folder(
    app: App, data: Path, tmp_path: Path, qtbot: QtBot
) -> None:
    panel = begin(app, data, tmp_path / "run", qtbot)
    panel.run.discard.click()
    answer(question(app), "Cancel")
    assert app.training.is_training and (tmp_path / "run").exists()
    panel.run.discard.click()
    answer(question(app), "Discard")
    stopped(app, qtbot)
    assert not (tmp_path / "run").exists()
    panel.run.done.click()
    assert panel.page is panel.start


def test_closing_the_window_asks_keeps_and_closes(
    app: App, data: Path, tmp_path: Path, qtbot: QtBot
) -> None:
    begin(app, data, tmp_path / "run", qtbot)
    app.window.close()
    assert app.window.isVisible() and app.training.is_training
    answer(question(app), "Cancel")
    assert app.window.isVisible() and app.training.is_training
    app.window.close()
    answer(question(app), "Keep and close")
    qtbot.waitUntil(lambda: not app.window.isVisible(), timeout=SLOW_MS)
    assert (tmp_path / "run" / STATE).exists() and not app.inference.is_alive
    assert not (tmp_path / "settings" / FILE).exists()


def test_a_window_that_cannot_keep_the_run_stays_open_and_says_why(
    app: App, data: Path, tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = begin(app, data, tmp_path / "run", qtbot)
    qtbot.waitUntil((tmp_path / "run" / CHECKPOINT).exists, timeout=SLOW_MS)

    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("model.runs.save_state", full)
    app.window.close()
    answer(question(app), "Keep and close")
    qtbot.waitUntil(lambda: app.window.failure_dialog is not None, timeout=SLOW_MS)
    qtbot.waitUntil(lambda: panel.run.is_paused, timeout=SLOW_MS)
    assert app.window.isVisible() and app.training.is_training
    assert panel.run.pause.text() == "Resume" and panel.run.pause.isEnabled()
    assert panel.run.keep.isEnabled() and panel.run.discard.isEnabled()
    # There may never be room: then what was saved before is kept.
    app.window.close()
    answer(question(app), "Close all the same")
    qtbot.waitUntil(lambda: not app.window.isVisible(), timeout=SLOW_MS)
    assert (tmp_path / "run" / STATE).exists()


def test_a_run_that_a_crash_ended_is_offered_and_goes_on(
    app: App, data: Path, tmp_path: Path, qtbot: QtBot
) -> None:
    panel = begin(app, data, tmp_path / "run", qtbot)
    panel.run.keep.click()
    stopped(app, qtbot)
    app.training.offer_unfinished()
    assert not panel.start._rescue.isVisibleTo(panel.start)  # it ended as it should
    UnfinishedRun(tmp_path / "settings").write(recipe_for(data, tmp_path / "run"))
    panel.run.done.click()
    app.training.offer_unfinished()
    assert str(tmp_path / "run") in panel.start.unfinished.text() and panel.start.go_on.isVisible()
    panel.start.go_on.click()
    assert app.training.is_training
    recipe = app.training.thread_of_run.recipe  # type: ignore[union-attr]
    assert recipe.resume and recipe.data == str(data)
    qtbot.waitUntil(lambda: panel.run.plots.speed.points("windows/s") > 0, timeout=SLOW_MS)
    assert app.training.unfinished.find() is None  # it is training now


def test_a_run_that_fails_leaves_the_note_of_another_and_a_stopping_one_offers_nothing(
    app: App, data: Path, tmp_path: Path, qtbot: QtBot
) -> None:
    other = UnfinishedRun(tmp_path / "settings")  # another window trains
    other.write(recipe_for(data, tmp_path / "other"))
    panel = panel_of(app)
    panel.show()
    app.training.begin(recipe_for(tmp_path / "nothing", tmp_path / "run"))
    stopped(app, qtbot)
    assert (tmp_path / "settings" / FILE).exists()
    assert app.window.failure_dialog is not None
    app.window.failure_dialog.close()
    begin(app, data, tmp_path / "run", qtbot)
    panel.run.keep.click()
    panel.run.show_phase(Phase(SAVING, "", None))
    assert not panel.run.pause.isEnabled() and not panel.run.snapshot.isEnabled()
    stopped(app, qtbot)
    assert (tmp_path / "settings" / FILE).exists()


def test_a_crash_without_a_saved_state_is_not_offered(tmp_path: Path) -> None:
    note = UnfinishedRun(tmp_path)
    note.write(recipe_for(tmp_path, tmp_path / "run"))
    note._lock.unlock()  # type: ignore[union-attr]
    assert note.find() is None
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / STATE).write_bytes(b"")
    assert note.find() == recipe_for(tmp_path, tmp_path / "run")
    (tmp_path / FILE).write_text("[]")
    assert note.find() is None
    UnfinishedRun(None).write(recipe_for(tmp_path, tmp_path))


def test_an_open_image_can_be_trained_on_and_a_trained_one_cannot(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, qtbot: QtBot
) -> None:
    small_presets(monkeypatch)
    app = make_app(FakeSpace(), path=str(tmp_path / "other.safetensors"))
    looked: list[str] = []
    monkeypatch.setattr(app.training, "look", looked.append)
    app.inference.open(OpenRequest(str(tmp_path / "trained.safetensors")))
    qtbot.waitUntil(lambda: app.viewport.scene is not None)
    app.window.actions_by_id["train_image"].trigger()
    assert not looked and "trained scale space" in app.window.notice.text()
    # Nor a run by its folder, or a folder of checkpoints.
    (tmp_path / "run" / "samples").mkdir(parents=True)
    for file in (STATE, CHECKPOINT):
        (tmp_path / "run" / file).write_bytes(b"")
    (tmp_path / "weights" / "checkpoints").mkdir(parents=True)
    (tmp_path / "weights" / "checkpoints" / "first.safetensors").write_bytes(b"")
    (tmp_path / "tiles").mkdir()
    (tmp_path / "tiles" / "ImageProperties.xml").write_text("<IMAGE_PROPERTIES />")
    pictures = ["big.png", "tiles", "run/mine.png"]
    for name in ("run", "weights", *pictures):
        app.inference.open(OpenRequest(str(tmp_path / name)))
        qtbot.waitUntil(lambda name=name: app.viewport.scene.path == str(tmp_path / name))  # type: ignore[misc]
        app.window.notice.hide()
        app.window.actions_by_id["train_image"].trigger()
        assert app.window.notice.isVisible() == (name not in pictures)
    assert looked == [str(tmp_path / name) for name in pictures]


def test_curves_never_have_more_points_than_they_may(qtbot: QtBot) -> None:
    plots = TrainingPlots()
    qtbot.addWidget(plots)
    for step in range(2 * MAX_POINTS + 5):
        losses = {"adversarial": 0.5, "real_logit": -1.0, "gradient": 3.0}
        plots.add(TrainingTick(step, step / 10, 0.5, 60.0, 12.0, losses))
    assert MAX_POINTS // 2 <= plots.losses.points("adversarial") <= MAX_POINTS
    assert plots.logits.points("real_logit") and not plots.losses.points("real_logit")
    assert not plots.losses.points("gradient") and plots.logits.isVisibleTo(plots)
    assert plots.losses.plot is None and not plots.distances.isVisibleTo(plots)
    plots.add_samples(SamplesSaved("step.jpg", 3, 0.1, (("0", 1.5), ("1", 4.0))))
    assert plots.distances.points("1") == 1 and plots.distances.isVisibleTo(plots)
    # Drawn from then on, with what came before; built in turns.
    plots.build()
    qtbot.waitUntil(lambda: plots.speed.plot is not None, timeout=SLOW_MS)
    curves = plots.losses.plot._curves  # type: ignore[union-attr]
    assert len(curves["adversarial"].getData()[0]) == plots.losses.points("adversarial")
    # One point so far: seen as a dot, within axes that hold it.
    dots = plots.distances.plot
    assert dots is not None and dots._curves["1"].opts["symbol"] == "o"
    (left, right), (low, high) = dots.getPlotItem().viewRange()
    assert left < 0.1 < right and low < math.log10(1.5) and high > math.log10(4.0)
    assert curves["adversarial"].opts["symbol"] is None
    assert "windows" in plots.speed.plot.getPlotItem().getAxis("bottom").labelText  # type: ignore[union-attr]
    plots.clear_all()
    assert not plots.losses.points("adversarial") and not plots.logits.isVisibleTo(plots)
    assert not plots.losses.plot._curves  # type: ignore[union-attr]


def test_the_page_says_that_it_waits_and_can_be_paused_meanwhile(qtbot: QtBot) -> None:
    page = RunPage()
    qtbot.addWidget(page)
    page.begin(recipe_for(Path("data"), Path("run")), 1.0)
    for name, state, button in (
        (TRAINING, "Training …", "Pause"),
        (PAUSED, "Paused.", "Resume"),
        (WAITING, "Waiting for places …", "Pause"),
    ):
        page.show_phase(Phase(name))
        assert page.state.text() == state and page.pause.text() == button
        assert page.pause.isEnabled()


class Paintings(QObject):
    """Counts how often widgets are painted."""

    def __init__(self, *widgets: QWidget) -> None:
        super().__init__()
        self.counts = dict.fromkeys(widgets, 0)
        for widget in widgets:
            widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Paint:
            self.counts[watched] += 1  # type: ignore[index]
        return False


def test_a_tick_is_one_painting(qtbot: QtBot) -> None:
    page = RunPage()
    qtbot.addWidget(page)
    page.resize(460, 800)
    page.plots.build()
    page.show()
    qtbot.waitUntil(lambda: page.plots.speed.plot is not None, timeout=SLOW_MS)
    plots = [c.plot.viewport() for c in (page.plots.losses, page.plots.logits, page.plots.speed)]  # type: ignore[union-attr]
    paintings = Paintings(page, page.state, page.progress, *plots)
    counts = []
    for step in range(1, 9):
        paintings.counts = dict.fromkeys(paintings.counts, 0)
        losses = {"adversarial": 2.0**step, "real_logit": -1.0 * step}
        page.show_tick(TrainingTick(step, step / 10, step / 10, 90.0 - step, 9.0 * step, losses))
        qtbot.wait(60)
        counts.append(list(paintings.counts.values()))
    # Another plot appears with the first tick, and the page is laid out anew.
    assert counts[1:] == [[1] * len(paintings.counts)] * 7
    shown = page.plots.losses.plot.getPlotItem().viewRange()  # type: ignore[union-attr]
    assert shown[0][0] <= 0.1 and shown[0][1] >= 0.8
    assert shown[1][0] <= math.log10(2) and shown[1][1] >= math.log10(256)
    page.plots.add_samples(SamplesSaved("", 8, 0.8, (("0", math.nan), ("1", math.inf))))
    page.plots.add_samples(SamplesSaved("", 9, 0.9, (("0", 3.0), ("1", math.inf))))
    distances = page.plots.distances.plot.getPlotItem().viewRange()  # type: ignore[union-attr]
    assert all(math.isfinite(bound) for both in distances for bound in both)


def test_any_run_on_the_disk_is_offered_and_goes_on(
    app: App, data: Path, tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the menu or dropped; its own budget, or the time that is asked for."""
    run = tmp_path / "run"
    panel = begin(app, data, run, qtbot)
    panel.run.keep.click()
    stopped(app, qtbot)
    start = panel.start
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_args: str(run))
    app.window.actions_by_id["continue_run"].trigger()
    assert panel.page is start and start.go_on.isVisible() and start.more.isVisible()
    assert "stars" in start.unfinished.text() and not start.find_folder.isVisible()
    start.forget.click()
    assert not start.go_on.isVisible()
    assert drop(app.window, run)
    assert start.go_on.isVisible() and start.minutes_in_all() is None
    start.go_on.click()
    recipe = app.training.thread_of_run.recipe  # type: ignore[union-attr]
    assert recipe.resume and recipe.data == str(data) and recipe.placement == "none"
    assert recipe.minutes is None
    qtbot.waitUntil(lambda: panel.run.plots.speed.points("windows/s") > 0, timeout=SLOW_MS)
    app.training.offer_run(str(run))  # it trains: nothing is offered
    assert panel.page is panel.run
    panel.run.keep.click()
    stopped(app, qtbot)


def test_a_run_whose_data_moved_asks_where_they_are(
    app: App, data: Path, tmp_path: Path, qtbot: QtBot
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text('{"data": {"path": "/no/where"}}')
    app.training.offer_run(str(run))  # nothing is saved: told, not offered
    panel = panel_of(app)
    assert not panel.start._rescue.isVisibleTo(panel.start)
    (run / STATE).write_bytes(b"")
    (run / "log.jsonl").write_text('{"minutes": 4.0, "fraction": 1.0}\n{"minutes": 5')
    app.training.offer_run(str(run))
    start = panel.start
    assert "/no/where" in start.unfinished.text() and not start.go_on.isEnabled()
    assert start.find_folder.isVisible()
    start._find(str(data))
    assert start.go_on.isEnabled() and not start.find_folder.isVisible()
    assert app.training._offered.data == str(data)  # type: ignore[union-attr]
    assert start.minutes_in_all() == 4.0 + start.more.value()  # its budget is used up


def test_the_form_keeps_what_was_filled_in_for_its_data_alone(
    app: App, data: Path, tmp_path: Path
) -> None:
    panel = panel_of(app)
    form = panel.form
    report = DoctorReport(str(data), "folder", facts(), None, (), (), ())
    form.show_report(report, str(data))
    form.minutes.setValue(7.0)
    form.folder.setText(str(tmp_path / "mine"))
    form.placement.setCurrentIndex(form.placement.findData("none"))
    form.aspect.setValue(1.5)
    form.all_levels.setChecked(False)
    form.show_report(report, str(data))  # back to the report, and on again
    assert form.minutes.value() == 7.0 and form.recipe().folder == str(tmp_path / "mine")
    assert form.recipe().aspect == 1.5 and form.recipe().levels is not None
    form.placement.setCurrentIndex(form.placement.findData("match"))
    assert form.recipe().aspect == 1.0  # its row is hidden
    form.show_report(report, str(tmp_path / "others"))
    assert form.recipe().levels is None and "others" in form.recipe().folder


def test_the_form_can_be_filled_in_while_the_doctor_looks(app: App, data: Path) -> None:
    """What is found meanwhile is left out; what the person chose stays."""
    part = DoctorReport(str(data), "csv", facts(), None, (), (), (), complete=False)
    panel = panel_of(app)
    panel.form.show_report(part, str(data))
    panel.form.minutes.setValue(7.0)
    assert "still looking" in panel.form.summary.text()
    panel.form.update_report(replace(part, complete=True, excluded=("a.png",)))
    assert panel.form.recipe().exclude == ("a.png",) and panel.form.recipe().minutes == 7.0
    assert "Ready to train" in panel.form.summary.text()


def facts() -> PatchFacts:
    return PatchFacts(9, 3, 3, 9, 9, 9, 0, 1, 32, False, (), (), ())


def test_newer_weights_cost_the_exact_frame_alone_until_somebody_moves(
    make_app: MakeApp, qtbot: QtBot
) -> None:
    """Tiles for a next move would take training's time twice a minute, and mostly for nothing."""
    app = make_app(window_size=(900, 600))
    qtbot.waitUntil(lambda: app.viewport.is_exact, timeout=SLOW_MS)
    for step in (2, 3):  # the first weights of a run are another scene than what was open
        space = FakeSpace(identity=f"run@{step}")
        live = LiveSpace(space, step)
        app.inference.live = lambda path, live=live: live if path == "run" else None
        app.inference.open(OpenRequest("run"))
        qtbot.waitUntil(
            lambda: app.viewport.scene.identity == space.identity,  # type: ignore[union-attr]  # noqa: B023
            timeout=SLOW_MS,
        )
        qtbot.waitUntil(lambda: app.viewport.is_exact, timeout=SLOW_MS)
    qtbot.wait(300)

    def tiles() -> int:
        side = app.config.streaming.tile_px + 2 * APRON_PX
        return sum((window.width, window.height) == (side, side) for window in space.rendered)

    assert tiles() == 0 and not app.viewport.queue_length
    # What is on the screen is of the weights before, and is not called exact.
    newer = FakeSpace(identity="run@8", pixels_per_s=300_000)
    app.inference.live = lambda path: LiveSpace(newer, 8) if path == "run" else None
    app.inference.open(OpenRequest("run"))
    qtbot.waitUntil(lambda: app.viewport.scene.identity == "run@8", timeout=SLOW_MS)  # type: ignore[union-attr]
    with qtbot.waitSignal(app.viewport.exact_shown, timeout=SLOW_MS):
        pass
    held = app.viewport.held_exact
    assert held is not None and held.scene == "run@8"
    space = newer
    wheel(app.viewport, 2, 300, 200)
    qtbot.waitUntil(lambda: tiles() > 20, timeout=SLOW_MS)
    # A hand moves while weights are on their way: it does not wait for a whole frame of them.
    newest = FakeSpace(identity="run@9", pixels_per_s=300_000)
    app.inference.live = lambda path: LiveSpace(newest, 9) if path == "run" else None
    wheel(app.viewport, 2, 300, 200)
    app.inference.open(OpenRequest("run"))
    space = newest
    qtbot.waitUntil(lambda: tiles() > 0, timeout=SLOW_MS)


def test_newer_weights_come_where_one_is_and_never_show_less_than_before(
    make_app: MakeApp, qtbot: QtBot
) -> None:
    """The view stays, and the frame that is on the screen, until there is a newer one."""
    app = make_app(window_size=(900, 600))
    steps = {"run": 1}
    app.inference.live = lambda path: (
        LiveSpace(FakeSpace(identity=f"run@{steps['run']}"), steps["run"])
        if path == "run"
        else None
    )
    qtbot.waitUntil(lambda: app.viewport.is_exact, timeout=SLOW_MS)
    app.viewport.view_state.jump_to(Camera(0.1, -0.05, 2.5))
    app.viewport.wake()
    there = app.viewport.view_state.displayed
    app.inference.open(OpenRequest("run"))  # as yet another scene than what was open
    qtbot.waitUntil(lambda: app.viewport.scene.identity == "run@1", timeout=SLOW_MS)  # type: ignore[union-attr]
    for step in (3, 8):
        qtbot.waitUntil(lambda: app.viewport.is_exact, timeout=SLOW_MS)
        kept: list[int] = []
        app.viewport.scene_opened.connect(
            lambda _info, kept=kept: kept.append(len(app.viewport._compositor._exact))  # type: ignore[union-attr]
        )
        steps["run"] = step
        app.inference.open(OpenRequest("run"))
        qtbot.waitUntil(lambda: app.viewport.scene.identity == f"run@{step}", timeout=SLOW_MS)  # type: ignore[union-attr]  # noqa: B023
        assert kept[0] >= 1 and not app.viewport.is_exact
        assert app.viewport.view_state.displayed == there
        assert app.window.windowTitle().startswith(f"run, step {step}")
    qtbot.waitUntil(lambda: app.viewport.is_exact, timeout=SLOW_MS)
    app.open("night.fake")
    qtbot.waitUntil(lambda: app.viewport.scene.identity == "fake", timeout=SLOW_MS)  # type: ignore[union-attr]
    assert app.viewport.view_state.displayed != there  # another scene begins with the whole of it
