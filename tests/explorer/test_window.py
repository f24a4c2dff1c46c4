"""The real window over a known picture: no holes, no seams, nothing stale, the point stays."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PySide6.QtCore import QMimeData, QObject, QPoint, QPointF, Qt, QUrl, Signal
from PySide6.QtGui import (
    QDragEnterEvent,
    QDropEvent,
    QNativeGestureEvent,
    QPointingDevice,
    QWheelEvent,
)
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QCheckBox
from pytestqt.qtbot import QtBot

from explorer.app import App
from explorer.camera import Camera, fit_camera
from explorer.camera_path import flight
from explorer.viewport import Viewport
from tests.explorer.conftest import MakeApp
from tests.explorer.fakes import FakeSpace, expected_rgb

FIELD = (1.25, 1.0)
WAIT_MS = 30_000
ROOT_ERROR = 14
"""What linear sampling of the root (about 400 x 320 pixels) may differ from the formula, 255ths."""


def wheel(viewport: Viewport, notches: float, x: float, y: float) -> None:
    at = QPointF(x, y)
    event = QWheelEvent(
        at, viewport.mapToGlobal(at), QPoint(), QPoint(0, round(120 * notches)),
        Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(viewport, event)


def pixels(viewport: Viewport) -> NDArray[np.float64]:
    """The framebuffer: [H, W, 3] in 0 to 255. Painting it advances the camera as any frame does."""
    image = viewport.grabFramebuffer().convertToFormat(
        viewport.grabFramebuffer().Format.Format_RGB888
    )
    flat = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return flat[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).astype(np.float64)


def error(viewport: Viewport) -> float:
    """Largest difference between the frame and the formula at the displayed camera, 255ths."""
    image = viewport.grabFramebuffer()
    view = viewport.view_state.view
    image = image.convertToFormat(image.Format.Format_RGB888)
    flat = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    shown = flat[:, : 3 * image.width()].reshape(image.height(), image.width(), 3)
    return float(np.nanmax(np.abs(shown - expected_rgb(view, viewport.view_state.field_size))))


def device(viewport: Viewport, x: float, y: float) -> tuple[float, float]:
    """The device pixel at the logical one."""
    ratio = viewport.devicePixelRatioF()
    return x * ratio, y * ratio


def until_exact(qtbot: QtBot, app: App) -> None:
    qtbot.waitUntil(lambda: app.viewport.is_exact, timeout=WAIT_MS)


def test_the_window_opens_on_the_whole_picture_and_becomes_exact(
    make_app: MakeApp, qtbot: QtBot
) -> None:
    app = make_app()
    until_exact(qtbot, app)
    viewport = app.viewport
    assert viewport.view_state.displayed == fit_camera(FIELD, viewport.view_state.size)
    assert error(viewport) <= 1.2
    assert viewport.first_frame_at is not None and viewport.first_fresh_at is not None
    assert len(viewport.meter.exact_delays_s) == 1
    assert "night" in app.window.windowTitle()


def test_zoom_is_about_the_cursor_and_every_frame_is_whole_and_in_place(
    make_app: MakeApp, qtbot: QtBot
) -> None:
    """Wheel in, out, pan and zoom again; each frame shows the formula at its own camera."""
    app = make_app(FakeSpace(pixels_per_s=2e6))
    until_exact(qtbot, app)
    viewport = app.viewport
    rng = random.Random(0)
    frames = 0
    for x, y, notches in ((300.0, 150.0, 1.0), (120.0, 260.0, -1.0), (240.0, 200.0, 2.0)):
        px, py = device(viewport, x, y)
        held = viewport.view_state.view.to_field(px, py)
        for _ in range(5):
            wheel(viewport, notches, x, y)
            for _ in range(rng.randint(1, 3)):
                assert error(viewport) < ROOT_ERROR
                frames += 1
                sx, sy = viewport.view_state.view.to_screen(*held)
                assert abs(sx - px) < 0.5 and abs(sy - py) < 0.5
                QApplication.processEvents()
        qtbot.waitUntil(lambda: viewport.view_state.is_settled, timeout=WAIT_MS)
    assert frames >= 15
    until_exact(qtbot, app)
    assert error(viewport) <= 1.2


def test_twenty_notches_in_and_out_through_events(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    until_exact(qtbot, app)
    before = app.viewport.view_state.displayed
    for notch in [1] * 20 + [-1] * 20:
        wheel(app.viewport, notch, 321, 123)
        app.viewport.grabFramebuffer()
    until_exact(qtbot, app)
    after = app.viewport.view_state.displayed
    assert abs(after.cx - before.cx) < 1e-9 and abs(after.cy - before.cy) < 1e-9
    assert abs(after.log2_zoom - before.log2_zoom) < 1e-9


def test_drag_moves_the_picture_with_the_pointer(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    viewport = app.viewport
    until_exact(qtbot, app)
    viewport.view_state.jump_to(Camera(0.0, 0.0, 2.0))
    held = viewport.view_state.view.to_field(*device(viewport, 200, 150))
    QTest.mousePress(viewport, Qt.MouseButton.LeftButton, pos=QPoint(200, 150))
    for i in range(1, 10):
        QTest.mouseMove(viewport, QPoint(200 + 5 * i, 150 + 2 * i))
        assert viewport.view_state.view.to_screen(*held) == pytest.approx(
            device(viewport, 200 + 5 * i, 150 + 2 * i), abs=1e-6
        )
        assert error(viewport) < ROOT_ERROR
    QTest.mouseRelease(viewport, Qt.MouseButton.LeftButton, pos=QPoint(245, 168))
    until_exact(qtbot, app)
    assert error(viewport) <= 1.2


def test_keys_pinch_and_double_click_reach_the_camera(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    until_exact(qtbot, app)
    viewport, state = app.viewport, app.viewport.view_state
    QTest.keyClick(viewport, Qt.Key.Key_Plus)
    assert state.target.log2_zoom == pytest.approx(state.zoom_limits[0] + 0.5 + 0.25)
    QTest.mouseDClick(viewport, Qt.MouseButton.LeftButton, pos=QPoint(100, 100))
    assert state.target.log2_zoom == pytest.approx(state.zoom_limits[0] + 0.5 + 1.25)
    at = QPointF(100, 100)
    gesture = QNativeGestureEvent(
        Qt.NativeGestureType.ZoomNativeGesture, QPointingDevice.primaryPointingDevice(), 2,
        at, at, viewport.mapToGlobal(at), 1.0, QPointF(),
    )  # fmt: skip
    QApplication.sendEvent(viewport, gesture)
    assert state.target.log2_zoom == pytest.approx(state.zoom_limits[0] + 0.5 + 2.25)
    QTest.keyClick(app.window, Qt.Key.Key_Home)
    qtbot.waitUntil(lambda: state.is_settled, timeout=WAIT_MS)
    assert state.displayed == fit_camera(FIELD, state.size)


def test_a_resized_window_is_drawn_at_its_new_size(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    until_exact(qtbot, app)
    app.window.resize(620, 330)
    wide = round(620 * app.viewport.devicePixelRatioF())
    qtbot.waitUntil(lambda: app.viewport.view_state.size[0] == wide, timeout=WAIT_MS)
    until_exact(qtbot, app)
    assert pixels(app.viewport).shape[:2] == app.viewport.view_state.size[::-1]
    assert error(app.viewport) <= 1.2


def test_a_new_context_is_filled_again(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    until_exact(qtbot, app)
    app.viewport._drop_context()
    app.viewport.makeCurrent()
    app.viewport.initializeGL()
    app.viewport.doneCurrent()
    app.viewport.wake()
    assert error(app.viewport) <= 1.2


def test_a_path_is_flown_and_fresh_tiles_are_counted(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app(FakeSpace(pixels_per_s=1e6))
    viewport = app.viewport
    until_exact(qtbot, app)
    viewport.meter.reset()
    there = Camera(0.2, 0.1, 3.0)
    with qtbot.waitSignal(viewport.path_finished, timeout=WAIT_MS):
        viewport.play_path(flight(viewport.view_state.displayed, there, 1.0))
        assert viewport.is_moving and not viewport.is_exact
    assert viewport.view_state.displayed.log2_zoom == pytest.approx(3.0)
    figures = viewport.meter.summary()
    assert figures["fresh_per_s"] > 0 and figures["displayed_fps"] > 0
    with qtbot.waitSignal(viewport.exact_shown, timeout=WAIT_MS):
        pass
    assert error(viewport) <= 1.2


def test_nothing_is_painted_while_nothing_changes(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    until_exact(qtbot, app)
    qtbot.wait(400)
    before = len(app.viewport.meter.frame_times)
    qtbot.wait(400)
    assert len(app.viewport.meter.frame_times) - before <= 1


class OtherSpace(FakeSpace):
    """White, of another shape."""

    def render(self, windows):  # type: ignore[no-untyped-def]
        return super().render(windows) * 0 + 1


def test_another_scene_replaces_everything_of_the_first(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    until_exact(qtbot, app)
    other = OtherSpace((1.0, 1.0), identity="white")
    app.inference._opener = lambda *_: other
    app.open("white.fake")
    qtbot.waitUntil(
        lambda: app.viewport.scene is not None and app.viewport.scene.identity == "white",
        timeout=WAIT_MS,
    )
    for _ in range(4):
        image = pixels(app.viewport)
        middle = image[40:-40, image.shape[1] // 2 - 100 : image.shape[1] // 2 + 100]
        assert middle.min() == 255
    until_exact(qtbot, app)


def test_a_scene_that_cannot_be_opened_is_a_dialog_and_the_app_goes_on(
    make_app: MakeApp, qtbot: QtBot
) -> None:
    app = make_app(ValueError("picture.tif is truncated: copy it again."))
    qtbot.waitUntil(lambda: app.window.failure_dialog is not None, timeout=WAIT_MS)
    dialog = app.window.failure_dialog
    assert dialog is not None
    assert "truncated: copy it again" in dialog.informativeText()
    assert "night.fake" in dialog.windowTitle()
    dialog.accept()
    assert app.window.failure_dialog is None
    app.inference._opener = lambda *_: FakeSpace()
    app.open("better.fake")
    until_exact(qtbot, app)


@pytest.mark.parametrize("content", [None, b"short", b"\x10" + bytes(7) + b"not json at all!"])
def test_a_bad_checkpoint_is_a_dialog_at_once(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "bad.safetensors"
    if content is not None:
        file.write_bytes(content)
    app = make_app(path=str(file))
    assert app.window.failure_dialog is not None
    assert "bad.safetensors" in app.window.failure_dialog.informativeText()


def test_a_rendering_failure_is_shown_and_not_tried_again(make_app: MakeApp, qtbot: QtBot) -> None:
    space = FakeSpace(fail_after=1)
    app = make_app(space)
    qtbot.waitUntil(lambda: app.window.failure_dialog is not None, timeout=WAIT_MS)
    assert app.window.failure_dialog is not None
    assert "ran out of paint" in app.window.failure_dialog.informativeText()
    tried = len(space.rendered)
    for _ in range(10):
        wheel(app.viewport, 1, 200, 200)
        qtbot.wait(10)
    assert len(space.rendered) == tried


def test_a_dropped_file_is_opened(make_app: MakeApp, qtbot: QtBot, tmp_path: Path) -> None:
    app = make_app()
    until_exact(qtbot, app)
    asked: list[str] = []
    app.window.open_requested.connect(asked.append)
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path / "dropped.png"))])
    enter = QDragEnterEvent(
        QPoint(10, 10), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    QApplication.sendEvent(app.window, enter)
    assert enter.isAccepted()
    drop = QDropEvent(
        QPointF(10, 10), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    QApplication.sendEvent(app.window, drop)
    assert asked == [str(tmp_path / "dropped.png")]


def test_a_still_equals_the_screen(make_app: MakeApp, qtbot: QtBot, tmp_path: Path) -> None:
    app = make_app()
    until_exact(qtbot, app)
    app.viewport.view_state.jump_to(Camera(0.1, 0.05, 2.0))
    app.viewport.wake()
    until_exact(qtbot, app)
    app.window.save_still(str(tmp_path / "still"))
    qtbot.waitUntil((tmp_path / "still.png").exists, timeout=WAIT_MS)
    with Image.open(tmp_path / "still.png") as image:
        saved = np.asarray(image.convert("RGB")).astype(np.float64)
    height, width = app.viewport.view_state.size[::-1]
    assert np.abs(saved[:height, :width] - pixels(app.viewport)).max() <= 1


def test_space_presses_a_button_and_falls_into_the_picture(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    state = app.viewport.view_state
    app.viewport.setFocus()
    QTest.keyClick(app.window.focusWidget(), Qt.Key.Key_Space)
    assert state.is_flying
    app.viewport.stop_path()
    lens = app.window.panels["lens"]
    lens.show()
    box = QCheckBox("by itself", lens)
    box.show()
    box.setFocus()
    qtbot.waitUntil(box.hasFocus, timeout=5000)
    QTest.keyClick(box, Qt.Key.Key_Space)
    assert box.isChecked() and not state.is_flying


def test_a_held_key_repeats_steps_alone(make_app: MakeApp) -> None:
    actions = make_app().window.actions_by_id
    repeating = {action.id for action in actions if actions[action.id].autoRepeat()}
    assert repeating == {"zoom_in", "zoom_out"}


def test_full_screen_ends_as_large_as_it_began(make_app: MakeApp, qtbot: QtBot) -> None:
    window = make_app().window
    window.setWindowState(Qt.WindowState.WindowMaximized)
    window.toggle_full_screen()
    assert window.isFullScreen() and not window.menuBar().isVisible()
    window.toggle_full_screen()
    assert window.isMaximized() and not window.isFullScreen() and window.menuBar().isVisible()
    window.toggle_full_screen()
    window.setWindowState(Qt.WindowState.WindowNoState)  # as a window manager does it
    assert window.menuBar().isVisible() and window.status_line.isVisible()


def test_sheet_of_keys_full_screen_and_escape(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    until_exact(qtbot, app)
    window = app.window
    QTest.keyClick(window, Qt.Key.Key_F1)
    assert window.keys_sheet.isVisible()
    QTest.keyClick(window, Qt.Key.Key_Escape)
    assert not window.keys_sheet.isVisible()
    QTest.keyClick(window, Qt.Key.Key_F11)
    assert window.isFullScreen() and not window.status_line.isVisible()
    QTest.keyClick(window, Qt.Key.Key_Escape)
    assert not window.isFullScreen() and window.status_line.isVisible()


def test_the_status_line_says_where_one_is(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    until_exact(qtbot, app)
    line = app.window.status_line
    line.refresh()
    assert line.magnification.text() == "×1.00"
    assert line.exactness.text() == "exact"
    assert line.device.text() == "cpu"
    level = app.viewport.view_state.view.level(64)
    assert line.level.text() == f"level {level:.2f}"


def test_closing_in_the_middle_of_a_flight_ends_the_thread(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app(FakeSpace(pixels_per_s=0.3e6))
    app.viewport.play_path(flight(Camera(0, 0, 0), Camera(0.1, 0.1, 4.0), 5.0))
    qtbot.wait(100)
    app.window.close()
    assert not app.inference.is_alive


def test_a_thousand_signals_leave_the_process_alive(qapp: QApplication) -> None:
    """PySide6 6.12 on Python 3.11 loses a reference to True with every emit, and aborts."""

    class Bell(QObject):
        rung = Signal(bool)

    bell = Bell()
    heard: list[bool] = []
    bell.rung.connect(heard.append)
    for _ in range(1000):
        bell.rung.emit(True)
    assert heard == [True] * 1000
