"""Boxes, fingers, minimap, scale bar and the pixel under the cursor, in a real window."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QImage, QPointingDevice
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot
from safetensors.numpy import save_file

from explorer.app import App
from explorer.camera import Camera, View, box_camera
from explorer.config import CameraConfig
from explorer.panels.overlays import scale_bar
from explorer.preview import millimetres_per_unit
from explorer.readout import color_at
from explorer.view_state import ViewState
from model.header import CheckpointHeader
from tests.explorer.conftest import MakeApp
from tests.explorer.fakes import FakeSpace, field_color
from tests.explorer.hands import drag, hover, wheel

WAIT_MS = 30_000
SHIFT = Qt.KeyboardModifier.ShiftModifier


def until_exact(qtbot: QtBot, app: App) -> None:
    qtbot.waitUntil(lambda: app.viewport.is_exact, timeout=WAIT_MS)


def device(app: App, x: float, y: float) -> tuple[float, float]:
    """The device pixel at the logical one."""
    ratio = app.viewport.devicePixelRatioF()
    return x * ratio, y * ratio


def until_settled(qtbot: QtBot, app: App) -> None:
    qtbot.waitUntil(lambda: app.viewport.view_state.is_settled, timeout=WAIT_MS)


@pytest.mark.parametrize("by_key", [False, True])
def test_a_drawn_box_fills_the_window(make_app: MakeApp, qtbot: QtBot, by_key: bool) -> None:
    app = make_app()
    until_exact(qtbot, app)
    viewport = app.viewport
    before = viewport.view_state.view
    if by_key:
        QTest.keyClick(app.window, Qt.Key.Key_Z)
        assert viewport.is_boxing
    drag(viewport, (260, 200), (140, 110), Qt.KeyboardModifier.NoModifier if by_key else SHIFT)
    assert not viewport.is_boxing and viewport.view_state.is_flying
    until_settled(qtbot, app)
    view = viewport.view_state.view
    left, top = view.to_screen(*before.to_field(*device(app, 140, 110)))
    right, bottom = view.to_screen(*before.to_field(*device(app, 260, 200)))
    width, height = view.size
    assert min(left, top) >= -0.01 and right <= width + 0.01 and bottom <= height + 0.01
    assert max((right - left) / width, (bottom - top) / height) == pytest.approx(1.0)


def test_a_box_can_be_called_off_and_a_click_is_none(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    until_exact(qtbot, app)
    before = app.viewport.view_state.displayed
    QTest.keyClick(app.window, Qt.Key.Key_Z)
    QTest.keyClick(app.window, Qt.Key.Key_Escape)
    assert not app.viewport.is_boxing
    drag(app.viewport, (100, 100), (102, 101), SHIFT)
    assert not app.viewport.is_boxing and app.viewport.view_state.displayed == before
    with pytest.raises(ValueError, match="right > left"):
        box_camera(app.viewport.view_state.view, (5, 5, 5, 9))


def test_one_finger_drags_and_flings_two_fingers_pan_and_pinch(
    make_app: MakeApp, qtbot: QtBot
) -> None:
    app = make_app()
    until_exact(qtbot, app)
    viewport, state = app.viewport, app.viewport.view_state
    screen = QTest.createTouchDevice()
    state.jump_to(Camera(0.0, 0.0, 2.0))
    held = state.view.to_field(*device(app, 200, 150))
    QTest.touchEvent(viewport, screen).press(0, QPoint(200, 150), viewport).commit()
    QTest.touchEvent(viewport, screen).move(0, QPoint(230, 170), viewport).commit()
    assert state.view.to_screen(*held) == pytest.approx(device(app, 230, 170), abs=1e-6)
    # A second finger: the field points under both stay under them.
    events = QTest.touchEvent(viewport, screen)
    events.move(0, QPoint(230, 170), viewport).press(1, QPoint(290, 170), viewport).commit()
    one, two = (
        state.view.to_field(*device(app, 230, 170)),
        state.view.to_field(*device(app, 290, 170)),
    )
    events = QTest.touchEvent(viewport, screen)
    events.move(0, QPoint(180, 160), viewport).move(1, QPoint(300, 160), viewport).commit()
    assert state.view.to_screen(*one) == pytest.approx(device(app, 180, 160), abs=1e-6)
    assert state.view.to_screen(*two) == pytest.approx(device(app, 300, 160), abs=1e-6)
    assert state.displayed.log2_zoom == pytest.approx(3.0)
    events = QTest.touchEvent(viewport, screen)
    events.release(0, QPoint(180, 160), viewport).release(1, QPoint(300, 160), viewport).commit()
    assert not state.is_dragging
    until_settled(qtbot, app)


def test_a_double_tap_comes_closer(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    until_exact(qtbot, app)
    viewport, screen = app.viewport, QTest.createTouchDevice()
    before = viewport.view_state.target.log2_zoom
    for _ in range(2):
        QTest.touchEvent(viewport, screen).press(0, QPoint(100, 90), viewport).commit()
        QTest.touchEvent(viewport, screen).release(0, QPoint(100, 90), viewport).commit()
    assert viewport.view_state.target.log2_zoom == pytest.approx(before + 1.0)


def test_shift_makes_the_wheel_finer_and_the_setting_inverts_it(
    make_app: MakeApp, qtbot: QtBot
) -> None:
    app = make_app()
    until_exact(qtbot, app)
    state = app.viewport.view_state
    start = state.target.log2_zoom
    wheel(app.viewport, 1, 200, 150, SHIFT)
    assert state.target.log2_zoom == pytest.approx(start + 0.25 / 4)
    app.window._set(invert_wheel=True, notch_octaves=0.5)
    wheel(app.viewport, -1, 200, 150)
    assert state.target.log2_zoom == pytest.approx(start + 0.25 / 4 + 0.5)


def test_the_minimap_shows_where_one_is_and_takes_one_there(
    make_app: MakeApp, qtbot: QtBot
) -> None:
    app = make_app()
    until_exact(qtbot, app)
    minimap, state = app.window.minimap, app.viewport.view_state
    assert not minimap.isVisible()
    QTest.keyClick(app.window, Qt.Key.Key_M)
    assert minimap.isVisible()
    assert app.viewport.rect().contains(minimap.geometry())
    shown = minimap.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    middle = shown.pixelColor(shown.width() // 2, shown.height() // 2)
    assert (middle.red(), middle.green(), middle.blue()) == pytest.approx(
        color_at(app.viewport, state.size[0] / 2, state.size[1] / 2), abs=8
    )
    state.jump_to(Camera(0.0, 0.0, 3.0))
    at = QPoint(minimap.width() // 4, minimap.height() // 4)
    QTest.mouseClick(minimap, Qt.MouseButton.LeftButton, pos=at)
    here = state.displayed
    assert (here.cx, here.cy) == pytest.approx((-1.25 / 4, -0.25), abs=0.02)
    assert here.log2_zoom == 3.0
    assert minimap.mark().center().toPoint() == pytest.approx(at, abs=1) or (
        abs(minimap.mark().center().x() - at.x()) <= 1
    )
    drag(minimap, (at.x(), at.y()), (minimap.width() // 2, minimap.height() // 2))
    assert state.displayed.cx == pytest.approx(0.0, abs=0.01)
    QTest.keyClick(app.window, Qt.Key.Key_M)
    assert not minimap.isVisible()


def test_a_jump_by_the_minimap_is_undone(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    until_exact(qtbot, app)
    QTest.keyClick(app.window, Qt.Key.Key_M)
    minimap, state = app.window.minimap, app.viewport.view_state
    home = state.displayed
    back = app.window.actions_by_id["back"]
    assert not back.isEnabled()
    at = QPoint(minimap.width() // 4, minimap.height() // 4)
    QTest.mouseClick(minimap, Qt.MouseButton.LeftButton, pos=at)
    assert state.displayed != home
    qtbot.waitUntil(lambda: len(app.window.places.history) == 2, timeout=WAIT_MS)
    assert back.isEnabled()
    back.trigger()
    until_settled(qtbot, app)
    assert state.displayed == home


@pytest.mark.parametrize("zoom", np.linspace(-2, 30, 41))
@pytest.mark.parametrize("mm", [None, 737.0])
def test_the_scale_bar_is_round_and_as_long_as_it_says(zoom: float, mm: float | None) -> None:
    view = View(Camera(0, 0, float(zoom)), (800, 600))
    text, length_px = scale_bar(view, 2.0, mm)
    assert 59 <= length_px <= 150.01
    number, _, unit = text.partition(" ")
    assert (unit == "") == (mm is None)
    size = (
        float(number)
        * {"": 1, "km": 1e6, "m": 1e3, "cm": 10, "mm": 1, "µm": 1e-3, "nm": 1e-6}[unit]
    )
    assert length_px * 2.0 == pytest.approx(size / (mm or 1.0) * view.density, rel=1e-6)
    assert f"{size:e}"[0] in "125"


def test_the_scale_bar_is_shown_and_follows(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    until_exact(qtbot, app)
    QTest.keyClick(app.window, Qt.Key.Key_B)
    bar = app.window.scale_bar
    assert bar.isVisible() and bar.text == "0.2"
    app.viewport.view_state.jump_to(Camera(0, 0, 4.0))
    qtbot.waitUntil(lambda: bar.text == "0.02", timeout=WAIT_MS)


def test_a_checkpoint_can_say_how_large_the_real_thing_is(tmp_path: Path) -> None:
    source = {"name": "x", "size": [4000, 2000], "crop": [0, 0, 1000, 2000], "size_mm": [800, 400]}
    for changes, expected in (({}, 200.0), ({"crop": None}, 400.0), ({"size_mm": "x"}, None)):
        header = CheckpointHeader(64, (1.0, 2.0), (0.0, 5.0), {}, source=source | changes)
        file = tmp_path / "x.safetensors"
        metadata = {"scalespace": json.dumps(json.loads(header.to_json()))}
        save_file({"a": np.zeros(1, np.float32)}, file, metadata)
        assert millimetres_per_unit(str(file)) == expected
    assert millimetres_per_unit("photo.png") is None
    assert millimetres_per_unit(str(tmp_path / "none.safetensors")) is None


def test_the_pixel_under_the_cursor_is_read(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app(FakeSpace(pixels_per_s=2e6))
    until_exact(qtbot, app)
    viewport, line = app.viewport, app.window.status_line
    viewport.view_state.jump_to(Camera(0.11, 0.07, 1.3))
    viewport.wake()
    until_exact(qtbot, app)
    image = viewport.grabFramebuffer()
    for x, y in ((10, 10), (200, 150), (399, 280)):
        px, py = device(app, x, y)
        shown = image.pixelColor(int(px), int(py))
        assert color_at(viewport, px, py) == pytest.approx(
            (shown.red(), shown.green(), shown.blue()), abs=1
        )
        hover(viewport, x, y)
        line.refresh()
        fx, fy = viewport.view_state.view.to_field(px, py)
        r, g, b = color_at(viewport, px, py) or (0, 0, 0)
        assert line.cursor.text() == f"{fx:+.5f} {fy:+.5f}  {r:3d} {g:3d} {b:3d}"
    # While tiles are all that there is, within what their sampling differs by.
    viewport.view_state.jump_to(Camera(0.1, 0.05, 2.2))
    fake = viewport.view_state.view.to_field(200.5, 150.5)
    color = color_at(viewport, 200, 150)
    expected = field_color(np.array(fake[0]), np.array(fake[1])) * 127.5 + 127.5
    assert color is not None and np.abs(np.array(color) - expected).max() < 14
    viewport.view_state.jump_to(Camera(0.0, 0.0, -0.6))
    assert color_at(viewport, 1, 1) is None
    viewport.pointer = None
    line.refresh()
    assert line.cursor.text() == ""


def rested(state: ViewState) -> None:
    for i in range(200):
        state.advance(0.016, 100.0 + i * 0.016)


def test_limits_give_a_little_and_come_back() -> None:
    state = ViewState((1.0, 1.0), 6.0, 64, (800, 600))
    deepest = state.zoom_limits[1]
    state.jump_to(Camera(0, 0, deepest))
    state.wheel(4, 400, 300, 0.0)
    assert deepest < state.displayed.log2_zoom <= deepest + state.config.give_max_octaves
    assert state.target.log2_zoom == deepest
    rested(state)
    assert state.displayed.log2_zoom == deepest
    state.jump_to(Camera(0, 0, 3.0))
    state.scroll_pan(-1e6, 0, 200.0)
    edge = state.target.cx
    given = (state.displayed.cx - edge) * state.view.density
    assert 0 < given <= state.config.give_max_fraction * 600 + 1e-6
    for _ in range(50):
        state.scroll_pan(-500, 0, 200.0)
    assert state.target.cx == pytest.approx(edge)
    rested(state)
    assert state.displayed.cx == pytest.approx(edge)


def test_reduced_motion_gives_nothing() -> None:
    config = CameraConfig(reduced_motion=True)
    state = ViewState((1.0, 1.0), 6.0, 64, (800, 600), config)
    state.jump_to(Camera(0, 0, state.zoom_limits[1]))
    state.wheel(4, 400, 300, 0.0)
    assert state.displayed.log2_zoom == state.zoom_limits[1]


def test_a_trackpad_is_no_touch_screen(make_app: MakeApp, qtbot: QtBot) -> None:
    """A trackpad that sends touches as well must not drag the picture with them."""
    app = make_app()
    until_exact(qtbot, app)
    pad = QTest.createTouchDevice(QPointingDevice.DeviceType.TouchPad)
    before = app.viewport.view_state.displayed
    QTest.touchEvent(app.viewport, pad).press(0, QPoint(200, 150), app.viewport).commit()
    QTest.touchEvent(app.viewport, pad).move(0, QPoint(250, 150), app.viewport).commit()
    QTest.touchEvent(app.viewport, pad).release(0, QPoint(250, 150), app.viewport).commit()
    assert app.viewport.view_state.displayed == before
