"""What must never abort or hang: closing amid work, floating panels, lost contexts, many signals.

That no thread is left after any of these is seen to by a fixture of all tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PySide6.QtCore import QProcess, Qt
from PySide6.QtWidgets import QApplication, QDockWidget, QMainWindow
from pytestqt.qtbot import QtBot

from explorer.app import App
from explorer.camera import Camera
from explorer.camera_path import CameraPath, Keyframe, flight
from explorer.messages import Progress
from explorer.panels.film_dialog import FilmChoice
from explorer.panels.lazy import FACTORIES
from explorer.panels.panel_thread import PanelThread
from explorer.training_thread import BesideConfig
from tests.explorer.conftest import MakeApp
from tests.explorer.fakes import FakeSpace
from tests.explorer.hands import drop, wheel
from tests.explorer.training_sets import recipe_for, small_presets, write_patches

WAIT_MS = 60_000
EMISSIONS = 1000
ROOT = Path(__file__).parents[2]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture that can be opened as a scene, by this process and by its children."""
    blocks = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    file = tmp_path / "picture.png"
    Image.fromarray(blocks).resize((320, 240), Image.Resampling.BICUBIC).save(file)
    return file


@pytest.fixture
def app(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, picture: Path, qtbot: QtBot) -> App:
    """A window over a formula, with a path that its children can open."""
    small_presets(monkeypatch)
    app = make_app(FakeSpace(pixels_per_s=2e6), str(picture), window_size=(700, 520))
    app.training.config = BesideConfig(publish_s=0.2, tick_s=0.0, niceness=0, threads=1)
    qtbot.waitUntil(lambda: app.viewport.is_exact, timeout=WAIT_MS)
    return app


def pixels(app: App) -> NDArray[np.uint8]:
    """The framebuffer: [H, W, 4]."""
    image = app.viewport.grabFramebuffer()
    image = image.convertToFormat(image.Format.Format_RGBA8888)
    flat = np.frombuffer(image.constBits(), np.uint8)
    return flat.reshape(image.height(), image.width(), 4).copy()


# Closing during every kind of work. Each begins one, and returns what must have ended.


def opening(app: App, qtbot: QtBot, tmp_path: Path) -> Callable[[], bool]:
    app.open("another.fake")
    return lambda: not app.inference.is_alive


def inference(app: App, qtbot: QtBot, tmp_path: Path) -> Callable[[], bool]:
    wheel(app.viewport, 6, 100, 100)
    qtbot.waitSignal(app.viewport.fresh_shown, timeout=WAIT_MS).wait()
    assert app.viewport.is_moving
    return lambda: not app.inference.is_alive


def exact_frame(app: App, qtbot: QtBot, tmp_path: Path) -> Callable[[], bool]:
    app.viewport.view_state.jump_to(Camera(0.1, 0.1, 2.0))
    app.viewport.wake()
    qtbot.waitUntil(lambda: app.inference._exact is not None, timeout=WAIT_MS)
    return lambda: not app.inference.is_alive


def still(app: App, qtbot: QtBot, tmp_path: Path) -> Callable[[], bool]:
    folder = tmp_path / "stills"
    folder.mkdir()
    app.window.save_still(str(folder / "still.png"))
    return lambda: {p.name for p in folder.iterdir()} <= {"still.png"}


def film(app: App, qtbot: QtBot, tmp_path: Path) -> Callable[[], bool]:
    app.window.actions_by_id["director"].trigger()
    panel = app.window.panels["director"]
    path = CameraPath((Keyframe(0.0, Camera(0, 0, 0)), Keyframe(60.0, Camera(0.1, 0, 2))))
    panel.film.export(path, tmp_path / "film.mp4", FilmChoice(".mp4", (160, 120), 12))  # type: ignore[attr-defined]
    process = panel.film.process  # type: ignore[attr-defined]
    child = process._process
    assert child is not None and child.waitForStarted(10_000)
    return lambda: not process.is_running


def export(app: App, qtbot: QtBot, tmp_path: Path) -> Callable[[], bool]:
    app.window.actions_by_id["export"].trigger()
    dialog = app.window.export_dialog
    assert dialog is not None
    dialog.file.setText(str(tmp_path / "out.png"))
    dialog.start()
    assert dialog.process.waitForStarted(10_000)
    return lambda: dialog.process.state() == QProcess.ProcessState.NotRunning


def training(app: App, qtbot: QtBot, tmp_path: Path) -> Callable[[], bool]:
    data = write_patches(tmp_path / "stars")
    app.training.begin(recipe_for(data, tmp_path / "run"))
    thread = app.training.thread_of_run
    assert thread is not None
    qtbot.waitUntil(lambda: thread.live(str(tmp_path / "run")) is not None, timeout=WAIT_MS)
    return lambda: (
        (tmp_path / "run" / "state.safetensors").exists()
        or bool(list((tmp_path / "run").glob("*")))
    )


def doctor(app: App, qtbot: QtBot, tmp_path: Path) -> Callable[[], bool]:
    assert drop(app.window, write_patches(tmp_path / "stars", count=200))
    looking = app.training._doctor
    assert looking is not None
    return lambda: looking.join(0.0)


def placement(app: App, qtbot: QtBot, tmp_path: Path) -> Callable[[], bool]:
    data = write_patches(tmp_path / "stars", count=60)
    app.training.begin(recipe_for(data, tmp_path / "run", placement="match"))
    thread = app.training.thread_of_run
    assert thread is not None
    return lambda: thread.join(0.0)


WORKS = (opening, inference, exact_frame, still, film, export, training, doctor, placement)


@pytest.mark.parametrize("begin", WORKS, ids=lambda work: work.__name__)
def test_the_window_closes_during(
    app: App, qtbot: QtBot, tmp_path: Path, begin: Callable[..., Callable[[], bool]]
) -> None:
    has_ended = begin(app, qtbot, tmp_path)
    app.close()
    assert has_ended() and not app.inference.is_alive and not app.window.isVisible()


def test_the_process_ends_cleanly_while_the_doctor_times_the_machine(tmp_path: Path) -> None:
    """A thread in torch, when Python ends under it, aborts the process: none may be left."""
    script = """
import sys, torch
from PySide6.QtCore import QTimer
import explorer.app as app
import model.data.doctor_cost as cost

began = []

def compute(*_args, check):
    image, weight = torch.randn(1, 8, 256, 256), torch.randn(8, 8, 3, 3)
    while True:
        began.append(1)
        check()
        torch.nn.functional.conv2d(image, weight)

def build(*args, **named):
    made = build_app(*args, **named)
    QTimer.singleShot(0, lambda: made.training.look(sys.argv[1]))
    timer = QTimer(made.window)
    timer.timeout.connect(lambda: began and made.window.close())
    timer.start(20)
    return made

cost.measure_machine = lambda *args, check, **_named: compute(check=check)
build_app, app.build_app = app.build_app, build
sys.exit(app.run_app(None, "cpu", new_window=True))
"""
    data = write_patches(tmp_path / "stars", count=30, size=64)  # of the presets as they are
    environment = os.environ | {
        "SCALESPACE_EXPLORER_FOLDER": str(tmp_path / "settings"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", script, str(data)],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "QThread" not in done.stderr and "Traceback" not in done.stderr


def test_a_bookmark_that_is_being_renamed_can_be_renamed_again(app: App, qtlog: Any) -> None:
    panel = app.window.bookmarks_panel
    app.window.actions_by_id["add_bookmark"].trigger()
    panel.show()
    panel.list.setCurrentRow(0)
    panel.rename()
    panel.rename()
    assert not [record.message for record in qtlog.records if "edit" in record.message]


def test_what_is_no_path_is_told_and_breaks_nothing(app: App) -> None:
    app.window.arrivals.take("{" * 3000)
    assert "cannot be read" in app.window.notice.text() and len(app.window.notice.text()) < 120


# Panels.


def test_every_panel_floats_and_comes_back_while_the_view_moves(app: App, qtbot: QtBot) -> None:
    app.viewport.view_state.jump_to(Camera(0.1, -0.1, 1.0))
    for name in FACTORIES:
        app.window.actions_by_id[name].trigger()
    app.window.actions_by_id["bookmarks"].trigger()
    docks = app.window.findChildren(QDockWidget)
    assert len(docks) == len(FACTORIES) + 1
    app.viewport.play_path(flight(Camera(0.1, -0.1, 1.0), Camera(-0.2, 0.1, 4.0), 1.0))
    for dock in docks:
        dock.setFloating(True)
        QApplication.processEvents()
        assert dock.isFloating() and dock.isVisible()
        dock.setFloating(False)
        QApplication.processEvents()
        app.window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, dock)
        QApplication.processEvents()
        dock.hide()
    for dock in docks[1:]:
        app.window.tabifyDockWidget(docks[0], dock)
        dock.show()
        dock.raise_()
        QApplication.processEvents()
    for dock in docks:
        dock.close()
    qtbot.waitUntil(lambda: app.viewport.is_exact, timeout=WAIT_MS)
    assert app.window.failure_dialog is None


# OpenGL.


def test_a_lost_context_is_made_anew_and_shows_the_same_pixels(app: App, qtbot: QtBot) -> None:
    """Without shared contexts, another top-level window makes Qt destroy the one before."""
    viewport = app.viewport
    viewport.view_state.jump_to(Camera(0.1, -0.05, 2.0))
    viewport.wake()
    qtbot.waitUntil(lambda: viewport.is_exact, timeout=WAIT_MS)
    before, first = pixels(app), viewport.context()
    lost: list[int] = []
    first.aboutToBeDestroyed.connect(lambda: lost.append(1))
    size = viewport.size()
    other = QMainWindow()
    shared = Qt.ApplicationAttribute.AA_ShareOpenGLContexts
    QApplication.setAttribute(shared, False)
    try:
        viewport.setParent(None)
        other.setCentralWidget(viewport)
        viewport.setFixedSize(size)
        other.show()
        qtbot.waitExposed(other)
        qtbot.waitUntil(lambda: viewport.is_exact and viewport.context() is not None)
        assert lost, "the context was to be lost"
        assert viewport.context() is not first
        # What fades in anew has faded in.
        qtbot.waitUntil(lambda: bool((pixels(app) == before).all()), timeout=WAIT_MS)
        app.window.setCentralWidget(viewport)
        viewport.show()
        qtbot.waitUntil(lambda: viewport.is_exact and viewport.isVisible(), timeout=WAIT_MS)
        qtbot.waitUntil(lambda: bool((pixels(app) == before).all()), timeout=WAIT_MS)
    finally:
        QApplication.setAttribute(shared, True)
        other.deleteLater()
    assert app.window.failure_dialog is None


def test_a_driver_that_fails_is_told_once_and_the_window_lives(
    app: App, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_named: object) -> None:
        raise RuntimeError("the context is gone")

    monkeypatch.setattr(app.viewport._compositor, "draw", fail)
    app.viewport.update()
    qtbot.waitUntil(lambda: app.window.failure_dialog is not None, timeout=WAIT_MS)
    assert "the context is gone" in app.window.failure_dialog.informativeText()  # type: ignore[union-attr]
    wheel(app.viewport, 2, 50, 50)
    app.window.actions_by_id["add_bookmark"].trigger()
    QApplication.processEvents()
    assert app.window.isVisible()


_WITHOUT_OPENGL = """
from PySide6.QtCore import QTimer
from explorer.app import build_app

app = build_app("night.fake", "cpu", opener=lambda *_: None)
app.window.failure_box.tell = lambda failure: (print(failure.text), app.close())
QTimer.singleShot(60_000, app.close)
app.start()
raise SystemExit(app.exec())
"""


@pytest.mark.skipif("DISPLAY" not in os.environ, reason="only X11 can be told to refuse")
def test_a_system_that_gives_no_context_is_told() -> None:
    environment = os.environ | {"QT_QPA_PLATFORM": "xcb", "QT_XCB_GL_INTEGRATION": "none"}
    command = [sys.executable, "-c", _WITHOUT_OPENGL]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "no OpenGL context could be made" in done.stdout


def test_nobody_is_told_anything_while_qt_paints(app: App, qtbot: QtBot) -> None:
    """Whoever is told may lay the window out anew, and Qt would compose a freed texture."""
    viewport, amid = app.viewport, []
    for signal in (
        viewport.scene_opened,
        viewport.message_received,
        viewport.pictures_ready,
        viewport.fresh_shown,
        viewport.exact_shown,
    ):
        signal.connect(lambda _value: amid.append(viewport._is_painting))
    app.window.actions_by_id["xray"].trigger()
    app.open("another.fake")
    wheel(viewport, 2, 100, 100)
    qtbot.waitSignal(viewport.pictures_ready, timeout=WAIT_MS).wait()
    qtbot.waitUntil(lambda: viewport.is_exact, timeout=WAIT_MS)
    assert len(amid) > 4 and not any(amid)


# Signals from threads.


def test_a_thousand_emissions_of_every_signal_while_the_window_closes(
    app: App, qtbot: QtBot, tmp_path: Path
) -> None:
    """Everything that a thread tells the window, from four threads at once, through its end."""
    window, training = app.window, app.training
    for name in FACTORIES:
        window.actions_by_id[name].trigger()
    doctor = training._doctor
    assert doctor is None
    panels = window.findChildren(PanelThread)
    assert len(panels) >= 2
    going, goon = threading.Barrier(5), threading.Event()

    def post() -> None:
        app.inference._mailbox.put(Progress("posted"))

    def side() -> None:
        for panel in panels:
            panel.side.tell(Progress("told"))

    def bells() -> None:
        training._training_bell.rung.emit()
        training._doctor_bell.rung.emit()

    def looked() -> None:
        window.arrivals._looked.emit(str(tmp_path / "no.mp4"), None)

    failures: list[BaseException] = []

    def storm(act: Callable[[], None]) -> None:
        try:
            going.wait()
            for number in range(EMISSIONS):
                if number == EMISSIONS // 2:
                    goon.wait()
                act()
        except BaseException as error:  # noqa: BLE001  # it is looked at below
            failures.append(error)

    threads = [threading.Thread(target=storm, args=(act,)) for act in (post, side, bells, looked)]
    for thread in threads:
        thread.start()
    going.wait()
    for _ in range(5):
        QApplication.processEvents()
    goon.set()  # the other half comes while the window closes, and after
    app.close()
    for thread in threads:
        thread.join()
    QApplication.processEvents()
    assert not failures and not window.isVisible()
