"""The zoom director in a real window: keyframes, timeline, preview, recording, films."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import QPoint, Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QFileDialog,
    QLabel,
    QMessageBox,
    QProgressBar,
    QWidget,
)
from pytestqt.qtbot import QtBot

import explorer.api
from explorer.app import App
from explorer.camera import Camera
from explorer.camera_path import CameraPath, Keyframe, load_path
from explorer.filming import Shots, film
from explorer.panels.director_panel import DirectorPanel
from explorer.panels.film_dialog import FilmChoice, FilmDialog
from explorer.recorder import part_path
from model import open_scale_space
from tests.explorer.conftest import MakeApp
from tests.explorer.hands import drag, wheel

WAIT_MS = 60_000
CTRL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
A, B, C = Camera(0.1, 0.05, 2.0), Camera(-0.2, 0.1, 3.0), Camera(0.0, 0.2, 4.0)


def until_exact(qtbot: QtBot, app: App) -> None:
    qtbot.waitUntil(lambda: app.viewport.is_exact, timeout=WAIT_MS)


def go(qtbot: QtBot, app: App, camera: Camera) -> None:
    app.viewport.view_state.jump_to(camera)
    app.viewport.wake()
    until_exact(qtbot, app)


def is_at(app: App, camera: Camera) -> bool:
    state = app.viewport.view_state
    here = state.displayed
    near = abs(here.cx - camera.cx) + abs(here.cy - camera.cy) < 1e-6
    return state.is_settled and near and abs(here.log2_zoom - camera.log2_zoom) < 1e-6


def panel_of(app: App) -> DirectorPanel:
    panel = app.window.panels["director"]
    assert isinstance(panel, DirectorPanel)
    return panel


def opened(qtbot: QtBot, app: App, *cameras: Camera) -> DirectorPanel:
    """The panel, shown, with keyframes that were kept by the key K."""
    until_exact(qtbot, app)
    app.window.actions_by_id["director"].trigger()
    panel = panel_of(app)
    qtbot.waitUntil(panel.timeline.isVisible, timeout=WAIT_MS)
    for camera in cameras:
        go(qtbot, app, camera)
        QTest.keyClick(app.window, Qt.Key.Key_K)
    return panel


def point_of(panel: DirectorPanel, index: int) -> tuple[int, int]:
    at = panel.timeline.key_rect(index).center().toPoint()
    return at.x(), at.y()


def times(panel: DirectorPanel) -> list[float]:
    return [key.time_s for key in panel.director.keys]


def test_keyframes_are_kept_dragged_in_time_and_edited(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app(window_size=(900, 700))
    panel = opened(qtbot, app, A, B, C)
    director, timeline = panel.director, panel.timeline
    assert app.window.actions_by_id["director"].isChecked()
    assert [key.camera for key in director.keys] == [A, B, C]
    pictures = [panel.pictures.of(camera).toImage() for camera in (A, B, C)]
    assert all(not p.isNull() and p.width() == 168 for p in pictures)
    assert pictures[0] != pictures[1] != pictures[2]
    director.set_duration(12.0)
    before = times(panel)
    x, y = point_of(panel, 1)
    drag(timeline, (x, y), (x + 60, y))
    moved = times(panel)
    assert moved[1] == pytest.approx(before[1] + 60 / timeline._scale, abs=0.02)
    assert (moved[0], moved[2]) == (before[0], before[2]) and timeline.selected == 1
    timeline.setFocus()
    QTest.keyClick(timeline, Qt.Key.Key_Z, CTRL)  # the whole drag
    assert times(panel) == before
    QTest.keyClick(timeline, Qt.Key.Key_Z, CTRL | SHIFT)
    assert times(panel) == moved
    QTest.keyClick(timeline, Qt.Key.Key_Right, SHIFT)
    assert times(panel)[1] == pytest.approx(moved[1] + 0.1)
    panel.hold.setValue(1.5)
    panel.ease.setCurrentIndex(1)
    panel.ease.activated.emit(1)
    assert director.keys[1].hold_s == 1.5 and director.keys[1].ease == "linear"
    panel.key_time.setValue(2.0)
    assert times(panel)[1] == 2.0
    panel.loop.setChecked(True)
    assert director.loop_s > 0
    panel.duration.setValue(20.0)
    panel.even_button.click()
    assert director.duration_s == pytest.approx(20.0)
    assert all(key.ease == "linear" for key in director.keys)
    go(qtbot, app, B)
    timeline.choose(0)
    panel.set_view()
    assert director.keys[0].camera == B
    QTest.keyClick(timeline, Qt.Key.Key_Delete)
    assert len(director.keys) == 2


def test_clicks_go_to_keyframes_and_the_timeline_scrubs(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app(window_size=(900, 700))
    panel = opened(qtbot, app, A, B)
    panel.director.set_duration(10.0)
    x, y = point_of(panel, 0)
    QTest.mouseClick(panel.timeline, Qt.MouseButton.LeftButton, pos=QPoint(x, y))
    qtbot.waitUntil(lambda: is_at(app, A), timeout=WAIT_MS)
    path = panel.director.path
    assert path is not None
    middle = QPoint(round(panel.timeline.x_of(5.0)), y)
    QTest.mouseClick(panel.timeline, Qt.MouseButton.LeftButton, pos=middle)
    assert panel.timeline.playhead_s == pytest.approx(5.0, abs=0.02)
    assert app.viewport.view_state.displayed == path.at(panel.timeline.playhead_s)
    QTest.mouseDClick(panel.timeline, Qt.MouseButton.LeftButton, pos=middle)
    assert times(panel) == [0.0, pytest.approx(5.0, abs=0.02), 10.0]
    QTest.keyClick(panel.timeline, Qt.Key.Key_Left)
    assert panel.timeline.selected == 0


def test_a_preview_flies_the_flight_and_stops(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app(window_size=(900, 700))
    panel = opened(qtbot, app, A, B)
    panel.director.set_duration(1.0)
    panel.timeline.set_playhead(0.0)
    heads: list[float] = []
    app.viewport.frame_painted.connect(lambda: heads.append(panel.timeline.playhead_s))
    panel.play_button.click()
    assert app.viewport.view_state.is_flying and panel.play_button.text() == "Stop"
    qtbot.waitUntil(lambda: is_at(app, B), timeout=WAIT_MS)
    qtbot.waitUntil(lambda: panel.play_button.text() == "Play", timeout=WAIT_MS)
    assert heads == sorted(heads) and heads[-1] == pytest.approx(1.0) and len(set(heads)) > 3
    panel.loop.setChecked(True)
    panel.director.set_duration(0.6)
    panel.play_button.click()
    qtbot.waitUntil(lambda: heads != sorted(heads), timeout=WAIT_MS)  # around again
    assert app.viewport.view_state.is_flying
    wheel(app.viewport, 1, 200, 100)  # a hand takes over
    qtbot.waitUntil(lambda: panel.play_button.text() == "Play", timeout=WAIT_MS)


def test_a_flight_by_hand_becomes_keyframes(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app(window_size=(900, 700))
    panel = opened(qtbot, app)
    action = app.window.actions_by_id["record_flight"]
    start = app.viewport.view_state.displayed
    action.trigger()
    assert action.isChecked() and panel.record_button.text() == "Stop recording"
    for _ in range(4):
        wheel(app.viewport, 1, 300, 150)
        QTest.qWait(150)
    qtbot.waitUntil(lambda: app.viewport.view_state.is_settled, timeout=WAIT_MS)
    panel.record_button.click()
    assert not action.isChecked()
    keys = panel.director.keys
    assert len(keys) >= 2 and keys[0].camera == start
    assert keys[-1].camera == app.viewport.view_state.displayed
    assert keys[-1].camera.log2_zoom == pytest.approx(start.log2_zoom + 1.0, abs=1e-3)
    assert panel.director.duration_s > 0.5
    panel.undo_action.trigger()
    assert not panel.director.keys


def test_a_tour_flies_through_the_bookmarks_and_can_be_edited(
    make_app: MakeApp, qtbot: QtBot
) -> None:
    app = make_app(window_size=(900, 700))
    until_exact(qtbot, app)
    app.window.actions_by_id["tour"].trigger()
    assert "no bookmarks" in app.window.notice.text()
    for camera in (A, B):
        go(qtbot, app, camera)
        app.window.places.add_bookmark()
    panel = opened(qtbot, app)
    panel.tour_action.trigger()
    cameras = [key.camera for key in panel.director.keys]
    for got, wanted in zip(cameras, (A, B), strict=True):
        assert (got.cx, got.cy, got.log2_zoom) == pytest.approx(
            (wanted.cx, wanted.cy, wanted.log2_zoom), abs=0.5
        )
    go(qtbot, app, C)
    app.window.actions_by_id["tour"].trigger()
    assert app.viewport.view_state.is_flying
    path = app.viewport.view_state._flight
    assert isinstance(path, CameraPath)
    assert [key.camera for key in path.keyframes] == [C, *cameras]
    app.viewport.stop_path()


def test_a_flight_is_saved_and_opened(make_app: MakeApp, qtbot: QtBot, tmp_path: Path) -> None:
    app = make_app(window_size=(900, 700))
    panel = opened(qtbot, app, A, B)
    panel.director.set_hold(0, 2.0)
    panel.loop.setChecked(True)
    path = panel.director.path
    panel.save(str(tmp_path / "flight.json"))
    assert load_path(tmp_path / "flight.json") == path
    panel.director.clear()
    panel.open(str(tmp_path / "flight.json"))
    assert panel.director.path == path
    (tmp_path / "none.json").write_text("{}")
    panel.open(str(tmp_path / "none.json"))
    assert "keyframes" in app.window.notice.text() and panel.director.path == path


@pytest.fixture
def picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image whose pyramid is built."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    blocks = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
    file = tmp_path / "picture.png"
    blocks.resize((320, 240), Image.Resampling.BICUBIC).save(file)
    open_scale_space(file)
    return file


def decoded(file: Path) -> list[np.ndarray]:
    with av.open(str(file)) as container:
        return [frame.to_ndarray() for frame in container.decode(video=0)]


def test_a_film_is_made_called_off_and_gone_on_with(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path, picture: Path
) -> None:
    app = make_app(path=str(picture), window_size=(900, 700))
    panel = opened(qtbot, app)
    path = CameraPath((Keyframe(0.0, Camera(0, 0, 0.0)), Keyframe(30.0, A, "linear")))
    panel.load(path)
    out, choice = tmp_path / "film.mp4", FilmChoice(".mp4", (160, 120), 12)
    panel.film.export(path, out, choice)
    assert panel.film.cancel_button.isVisible() and not panel.export_button.isEnabled()
    process = panel.film.process
    qtbot.waitUntil(lambda: process.fraction > 0.1 or not process.is_running, timeout=WAIT_MS)
    assert process.is_running, app.window.notice.text()
    panel.film.cancel_button.click()
    qtbot.waitUntil(lambda: not process.is_running, timeout=WAIT_MS)
    assert "Called off" in app.window.notice.text() and not out.exists()
    assert panel.export_button.isEnabled() and not panel.film.progress.isVisible()
    with av.open(str(part_path(out))) as container:
        assert sum(1 for _ in zip(range(12), container.decode(video=0), strict=False)) == 12
    seen: list[float] = []
    process.progressed.connect(seen.append)
    panel.film.export(path, out, choice)
    qtbot.waitUntil(lambda: not process.is_running, timeout=WAIT_MS)
    assert out.exists() and f"Saved {out}" in app.window.notice.text()
    assert not part_path(out).exists() and seen == sorted(seen) and seen[-1] == 1.0
    expected = tmp_path / "expected.mp4"
    with explorer.api.open(picture) as scene:
        film(Shots(scene, (160, 120)), path, expected, 12, 30.0)
    for a, b in zip(decoded(out), decoded(expected), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_film_that_cannot_be_made_is_told_and_closing_ends_one(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path, picture: Path
) -> None:
    app = make_app(path=str(picture), window_size=(900, 700))
    panel = opened(qtbot, app)
    path = CameraPath((Keyframe(0.0, A), Keyframe(500.0, B)))
    choice = FilmChoice(".mp4", (64, 48), 10)
    panel.film.export(path, tmp_path / "none" / "film.mp4", choice)
    qtbot.waitUntil(lambda: not panel.film.is_running, timeout=WAIT_MS)
    assert "does not exist" in app.window.notice.text()
    panel.film.export(path, tmp_path / "film.mp4", choice)
    assert panel.film.is_running
    app.close()
    assert not panel.film.is_running


@pytest.mark.parametrize("answer", ["Cancel", "No", "Yes"])
def test_what_is_left_of_a_film_is_lost_only_where_one_says_so(
    make_app: MakeApp,
    qtbot: QtBot,
    tmp_path: Path,
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
) -> None:
    app = make_app(path=str(picture), window_size=(900, 700))
    panel = opened(qtbot, app)
    out, choice = tmp_path / "film.mp4", FilmChoice(".mp4", (64, 48), 10)
    part_path(out).write_bytes(b"hours of work")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_args: (str(out), ""))
    begun: list[bool] = []
    monkeypatch.setattr(panel.film, "export", lambda *_args, resume: begun.append(resume))
    panel.film._path = CameraPath((Keyframe(0.0, A), Keyframe(5.0, B)))

    def reply() -> None:
        box = QApplication.activeModalWidget()
        assert isinstance(box, QMessageBox)
        if answer == "Cancel":
            QTest.keyClick(box, Qt.Key.Key_Escape)
        else:
            box.button(QMessageBox.StandardButton[answer]).click()

    QTimer.singleShot(0, reply)
    panel.film._ask_where(choice)
    assert begun == {"Cancel": [], "No": [False], "Yes": [True]}[answer]
    assert part_path(out).read_bytes() == b"hours of work"


def test_the_dialog_says_what_will_come_of_it(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app(window_size=(900, 700))
    panel = opened(qtbot, app, A, B)
    panel.director.set_duration(4.0)
    panel.export_button.click()
    dialog = panel.film.dialog
    assert isinstance(dialog, FilmDialog) and dialog.isVisible()
    assert dialog.choice == FilmChoice(".mp4", (1920, 1080), 30)
    assert "120 frames" in dialog.note.text()
    dialog.width_px.setValue(641)
    assert dialog.choice.size == (642, 1080)
    assert dialog.preset.currentText() == "Other"
    dialog.kind.setCurrentIndex(3)
    assert dialog.choice.is_strip and "1.0 octaves" in dialog.note.text()
    asked: list[object] = []
    dialog.chosen.disconnect()
    dialog.chosen.connect(asked.append)
    dialog.go_button.click()
    assert asked == [FilmChoice(".png", (641, 1080), 30)] and not dialog.isVisible()


def test_every_widget_has_a_name_and_nothing_is_clipped(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app(window_size=(1280, 800))
    panel = opened(qtbot, app, A, B)
    panel.export_button.click()
    assert panel.film.dialog is not None
    QApplication.processEvents()
    kinds = (QAbstractButton, QAbstractSpinBox, QComboBox, QProgressBar)
    for root in (panel.widget(), panel.film.dialog):
        for widget in root.findChildren(QWidget):
            if isinstance(widget, kinds) and not widget.objectName().startswith("qt_"):
                assert widget.accessibleName(), widget
            if isinstance(widget, (*kinds, QLabel)) and widget.isVisible():
                enough = widget.minimumSizeHint().width()
                assert widget.width() >= enough or isinstance(widget, QLabel), widget
    panel.film.dialog.reject()
