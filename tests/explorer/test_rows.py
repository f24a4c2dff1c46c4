"""Rows of docs/features.md that other tests show by their parts only: here in a real window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

import explorer.api
from explorer.app import App
from explorer.camera_path import CameraPath, Keyframe
from explorer.film_process import STRIP
from explorer.panels.film_dialog import FilmChoice
from explorer.tile_cache import TileCache
from explorer.view_state import Camera
from explorer.zoom_strip import part_path
from model import open_scale_space
from model.scale import density
from model.space import Window
from tests.explorer.conftest import MakeApp
from tests.explorer.fakes import FakeSpace
from tests.explorer.hands import wheel

WAIT_MS = 30_000
MIB = 1 << 20


def until_exact(qtbot: QtBot, app: App) -> None:
    qtbot.waitUntil(lambda: app.viewport.is_exact, timeout=WAIT_MS)


def go(qtbot: QtBot, app: App, camera: Camera) -> None:
    until_exact(qtbot, app)
    app.viewport.view_state.jump_to(camera)
    app.viewport.wake()
    until_exact(qtbot, app)


def test_beyond_the_limit_the_picture_gives_way_and_comes_back(
    make_app: MakeApp, qtbot: QtBot
) -> None:
    app = make_app()
    until_exact(qtbot, app)
    state, seen = app.viewport.view_state, []
    app.viewport.frame_painted.connect(lambda: seen.append(state.displayed.log2_zoom))
    lowest = state.zoom_limits[0]
    for _ in range(2):  # to the limit, then beyond
        for _ in range(8):
            wheel(app.viewport, -1, 240, 180)
        qtbot.waitUntil(lambda: state.is_settled, timeout=WAIT_MS)
        assert state.displayed.log2_zoom == lowest
    assert min(seen) < lowest - 0.01


def test_a_held_key_goes_on_until_it_is_let_go(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    go(qtbot, app, Camera(0.0, 0.0, 4.0))
    state = app.viewport.view_state
    QTest.keyClick(app.viewport, Qt.Key.Key_Right)
    tapped = state.target.cx
    assert tapped > 0
    QTest.keyPress(app.viewport, Qt.Key.Key_Right)
    qtbot.waitUntil(lambda: state.target.cx > 6 * tapped, timeout=WAIT_MS)
    QTest.keyRelease(app.viewport, Qt.Key.Key_Right)
    until_exact(qtbot, app)
    there = state.displayed
    qtbot.wait(100)
    assert state.displayed == there and there.cy == 0 and there.log2_zoom == 4.0


def test_a_flight_to_a_bookmark_backs_away_on_its_way(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    here, there = Camera(-0.4, -0.3, 5.0), Camera(0.4, 0.3, 5.0)
    go(qtbot, app, there)
    app.window.places.add_bookmark("there")
    go(qtbot, app, here)
    state, zooms = app.viewport.view_state, []
    app.viewport.frame_painted.connect(lambda: zooms.append(state.displayed.log2_zoom))
    app.window.places.go_bookmark(0)
    assert state.is_flying
    qtbot.waitUntil(lambda: not state.is_flying, timeout=WAIT_MS)
    assert state.displayed.cx == pytest.approx(there.cx, abs=1e-6)
    assert state.displayed.log2_zoom == pytest.approx(there.log2_zoom, abs=1e-6)
    assert min(zooms) < 3.0


def test_kept_tiles_stay_within_their_bytes(make_app: MakeApp, qtbot: QtBot) -> None:
    space = FakeSpace()
    app = make_app(space)
    until_exact(qtbot, app)
    stream = app.viewport.stream
    stream.cache = TileCache(4 * MIB)
    most: list[int] = []
    app.viewport.frame_painted.connect(lambda: most.append(stream.cache.bytes))
    places = [(x / 3 - 0.33, y / 3 - 0.33) for x in range(3) for y in range(3)]
    for x, y in places:
        go(qtbot, app, Camera(x, y, 4.0))
        qtbot.waitUntil(lambda: app.viewport.queue_length == 0, timeout=WAIT_MS)
    assert 3 * MIB < max(most) <= 4 * MIB
    assert len(space.rendered) * 64 * 64 * 4 > 5 * MIB  # more than there is room for


def test_at_rest_the_window_fetches_a_little_ahead_and_stops(
    make_app: MakeApp, qtbot: QtBot
) -> None:
    space = FakeSpace()
    app = make_app(space)
    go(qtbot, app, Camera(0.1, 0.1, 3.0))
    qtbot.waitUntil(lambda: app.viewport.queue_length == 0, timeout=WAIT_MS)
    left, top, right, bottom = app.viewport.view_state.view.bounds()

    def is_beside(window: Window) -> bool:
        d = density(window.level, space.patch_size)
        x, y = window.origin_xy
        across, down = window.width / d, window.height / d
        return x > right or x + across < left or y > bottom or y + down < top

    assert any(is_beside(window) for window in space.rendered)
    count = len(space.rendered)
    qtbot.wait(300)
    assert len(space.rendered) == count


def test_a_strip_is_made_beside_the_window_and_gone_on_with(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    blocks = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
    picture = tmp_path / "picture.png"
    blocks.resize((320, 240), Image.Resampling.BICUBIC).save(picture)
    open_scale_space(picture)
    app = make_app(path=str(picture), window_size=(900, 700))
    qtbot.waitUntil(lambda: app.viewport.scene is not None, timeout=WAIT_MS)
    app.window.actions_by_id["director"].trigger()
    film = app.window.panels["director"].film
    path = CameraPath((Keyframe(0.0, Camera(0, 0, 0.0)), Keyframe(3.0, Camera(0.1, 0.1, 3.0))))
    out, choice = tmp_path / "strip.png", FilmChoice(STRIP[-4:], (800, 1), 12)
    assert choice.is_strip
    film.export(path, out, choice)
    process = film.process
    qtbot.waitUntil(lambda: process.fraction > 0 or not process.is_running, timeout=WAIT_MS)
    assert process.is_running, app.window.notice.text()
    film.cancel_button.click()
    qtbot.waitUntil(lambda: not process.is_running, timeout=WAIT_MS)
    assert "to go on" in app.window.notice.text()
    assert part_path(out).exists() and not out.exists()
    seen: list[float] = []
    process.progressed.connect(seen.append)
    film.export(path, out, choice)
    qtbot.waitUntil(lambda: not process.is_running, timeout=WAIT_MS)
    assert f"Saved {out}" in app.window.notice.text() and not part_path(out).exists()
    assert seen[-1] == 1.0
    with explorer.api.open(picture) as scene:
        expected = scene.record_strip(path, tmp_path / "expected.png", 800)
    assert out.read_bytes() == expected.read_bytes()
