"""Latents between seeds in a real window: a way between two, a plane to drag in, truncation."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

import explorer.api
from explorer.app import App
from explorer.camera import Camera
from explorer.camera_path import CameraPath, Keyframe
from explorer.latents import Stars
from explorer.panels.director_panel import DirectorPanel
from explorer.panels.latent_plane import CELL_PX
from explorer.panels.latents_panel import PSI_STEPS, LatentsPanel
from explorer.settings import SettingsStore
from explorer.view_metadata import read_view
from model import open_scale_space
from model.checkpoints import header_of, save_checkpoint
from model.latent import Latent, Seed, blend, parse_seed, parts_of, plane_latent, psi_of, truncated
from model.space import Window
from tests.explorer.conftest import MakeApp
from tests.explorer.fakes import FakeSpace, field_color, seed_color
from tests.model.small import small_generator

WAIT_MS = 30_000
SEEDS, BETWEEN, PLANE = 0, 1, 2
LEFT = Qt.MouseButton.LeftButton


def until_exact(qtbot: QtBot, app: App) -> None:
    qtbot.waitUntil(lambda: app.viewport.is_exact, timeout=WAIT_MS)


def opened(
    make_app: MakeApp,
    qtbot: QtBot,
    page: int,
    space: FakeSpace | None = None,
    store: SettingsStore | None = None,
) -> tuple[App, LatentsPanel]:
    space = space or FakeSpace(has_latents=True)
    app = make_app(space, store=store, window_size=(860, 640))
    until_exact(qtbot, app)
    app.window.actions_by_id["latents"].trigger()
    panel = app.window.panels["latents"]
    assert isinstance(panel, LatentsPanel) and panel.isVisible()
    QTest.mouseClick(panel.tabs.button(page), LEFT)
    qtbot.waitUntil(lambda: panel.stack.currentIndex() == page, timeout=WAIT_MS)
    return app, panel


def colors(x: float, y: float, seed: Seed) -> NDArray[np.float64]:
    """The colour of a field point, 0 to 255."""
    return seed_color(field_color(np.array(x), np.array(y)), seed) * 127.5 + 127.5


def until_shown(qtbot: QtBot, app: App, seed: Seed) -> None:
    """The window shows this latent, exactly and in its colours."""
    qtbot.waitUntil(
        lambda: app.viewport.stream.seed == seed and app.viewport.is_exact, timeout=WAIT_MS
    )
    camera = app.viewport.view_state.displayed
    image = app.viewport.grabFramebuffer()
    color = image.pixelColor(image.width() // 2, image.height() // 2)
    found = np.array([color.red(), color.green(), color.blue()], float)
    np.testing.assert_allclose(found, colors(camera.cx, camera.cy, seed), atol=3)


def click_row(panel: LatentsPanel, row: int) -> None:
    """Click a picture in the list of seeds."""
    at = panel.browser.list.visualItemRect(panel.browser.list.item(row)).center()
    QTest.mouseClick(panel.browser.list.viewport(), LEFT, pos=at)


def drag_plane(panel: LatentsPanel, by: tuple[int, int], moves: int) -> None:
    """Press in the middle, move in so many events, let go."""
    plane = panel.plane
    start = QPoint(plane.width() // 2, plane.height() // 2)
    QTest.mousePress(plane, LEFT, pos=start)
    for number in range(1, moves + 1):
        step = QPoint(by[0] * number // moves, by[1] * number // moves)
        QTest.mouseMove(plane, start + step)
    QTest.mouseRelease(plane, LEFT, pos=start + QPoint(*by))


# A way between two.


def test_a_slider_blends_two_latents(make_app: MakeApp, qtbot: QtBot) -> None:
    app, panel = opened(make_app, qtbot, BETWEEN)
    between = panel.between
    assert between.ends == (0, 1)
    QTest.keyClicks(_cleared(between.combos[1].lineEdit()), "2")
    QTest.keyClick(between.combos[1].lineEdit(), Qt.Key.Key_Return)
    assert between.ends == (0, 2)
    between.slider.setFocus()
    QTest.keyClick(between.slider, Qt.Key.Key_PageUp)
    until_shown(qtbot, app, blend(0, 2, 0.25))
    assert panel.text.text() == "0~2@0.25" and between.share.text() == "75% of 0, 25% of 2"
    app.window.status_line.refresh()
    assert app.window.status_line.seed.text() == "seed 0~"
    strip = between.strip
    QTest.mouseClick(strip, LEFT, pos=QPoint(strip.width() - 1, strip.height() // 2))
    until_shown(qtbot, app, 2)
    wanted = list(between.wanted())
    qtbot.waitUntil(lambda: all(panel.pictures.of(s) for s in wanted), timeout=WAIT_MS)
    middle = panel.pictures.of(blend(0, 2, 0.5))
    assert middle is not None
    image = middle.toImage()
    color = image.pixelColor(image.width() // 2, image.height() // 2)
    found = (color.red(), color.green(), color.blue())
    np.testing.assert_allclose(found, colors(0, 0, blend(0, 2, 0.5)), atol=8)


def test_what_is_no_latent_is_said_and_changes_nothing(make_app: MakeApp, qtbot: QtBot) -> None:
    app, panel = opened(make_app, qtbot, BETWEEN)
    said: list[str] = []
    panel.notice.connect(said.append)
    for line in (panel.between.combos[0].lineEdit(), panel.text):
        QTest.keyClicks(_cleared(line), "1~2")
        QTest.keyClick(line, Qt.Key.Key_Return)
    assert len(said) >= 2 and all("no weight" in text for text in said)
    assert panel.between.ends == (0, 1) and app.viewport.stream.seed == 0


def test_a_written_latent_is_shown_and_found_on_its_way_and_plane(
    make_app: MakeApp, qtbot: QtBot
) -> None:
    app, panel = opened(make_app, qtbot, SEEDS)
    QTest.keyClicks(_cleared(panel.text), "7~8@0.3~psi0.5")
    QTest.keyClick(panel.text, Qt.Key.Key_Return)
    until_shown(qtbot, app, parse_seed("7~8@0.3~psi0.5"))
    panel.text.clearFocus()
    qtbot.waitUntil(lambda: panel.plane.position == (7.3, 0.0), timeout=WAIT_MS)
    assert panel.truncation.value() == PSI_STEPS // 2 and panel.psi_shown.text() == "0.50"
    assert panel.browser.seed.value() == 7
    panel.between.set_ends(7, 8)
    panel.refresh()
    assert panel.between.slider.value() == 30


def test_stars_of_blends_are_kept_and_offered(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    app, panel = opened(make_app, qtbot, BETWEEN, store=SettingsStore(tmp_path))
    panel.between.slider.setValue(40)
    until_shown(qtbot, app, blend(0, 1, 0.4))
    panel.refresh()
    QTest.mouseClick(panel.star, LEFT)
    assert panel.star.text() == "★" and blend(0, 1, 0.4) in panel.stars
    combo = panel.between.combos[0]
    assert [combo.itemText(i) for i in range(combo.count())] == ["0~1@0.4"]
    (kept,) = (tmp_path / "stars").iterdir()
    assert list(Stars(kept)) == [blend(0, 1, 0.4)]
    QTest.mouseClick(panel.tabs.button(SEEDS), LEFT)
    QTest.mouseClick(panel.browser.only_stars, LEFT)
    assert panel.browser.list.item(0).text() == "★ 0~"
    app.window.places.seed_asked.emit(5)
    until_shown(qtbot, app, 5)
    click_row(panel, 0)
    until_shown(qtbot, app, blend(0, 1, 0.4))


def _cleared(line: object) -> object:
    line.setFocus()  # type: ignore[attr-defined]
    line.clear()  # type: ignore[attr-defined]
    return line


# The plane.


@pytest.mark.parametrize("moves", [2, 45])
def test_the_plane_follows_the_hand_however_many_moves_there_are(
    make_app: MakeApp, qtbot: QtBot, moves: int
) -> None:
    app, panel = opened(make_app, qtbot, PLANE)
    assert panel.plane.position == (0.0, 0.0)
    by = -CELL_PX[0] - CELL_PX[0] // 4, -CELL_PX[1] // 2
    drag_plane(panel, by, moves)
    assert panel.plane.position == pytest.approx((1.25, 0.5))
    until_shown(qtbot, app, plane_latent(1.25, 0.5))
    assert dict(parts_of(app.viewport.stream.seed)) == {1: 0.375, 2: 0.125, 101: 0.375, 102: 0.125}
    drag_plane(panel, (-by[0], -by[1]), moves)
    assert panel.plane.position == pytest.approx((0.0, 0.0))
    until_shown(qtbot, app, 0)


def test_a_click_and_the_arrows_go_to_places_of_the_plane(make_app: MakeApp, qtbot: QtBot) -> None:
    app, panel = opened(make_app, qtbot, PLANE)
    plane = panel.plane
    near = plane.to_screen(1, 1) + QPointF(9, 5)
    QTest.mouseClick(plane, LEFT, pos=near.toPoint())
    until_shown(qtbot, app, 101)  # the very seed whose picture was clicked
    plane.setFocus()
    QTest.keyClick(plane, Qt.Key.Key_Right)
    assert plane.position == pytest.approx((1.1, 1.0))
    until_shown(qtbot, app, plane_latent(1.1, 1.0))
    QTest.keyClick(plane, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    QTest.keyClick(plane, Qt.Key.Key_Up, Qt.KeyboardModifier.ShiftModifier)
    QTest.keyClick(plane, Qt.Key.Key_Up)
    assert plane.position == (2.0, 0.0)
    until_shown(qtbot, app, 2)
    assert panel.where.text() == "column 2.00, row 0.00"
    seeds = [seed for _, _, seed in plane.visible()]
    assert seeds[0] == 2 and {1, 3, 102} <= set(seeds)
    qtbot.waitUntil(lambda: all(panel.pictures.of(seed) for seed in seeds), timeout=WAIT_MS)


class GatedSpace(FakeSpace):
    """Renders only while the gate is open."""

    def __init__(self) -> None:
        super().__init__(has_latents=True)
        self.gate = threading.Event()
        self.gate.set()

    def render(self, windows: Sequence[Window]) -> torch.Tensor:
        self.gate.wait(30)
        return super().render(windows)


def test_while_one_drags_only_the_newest_is_asked_for(make_app: MakeApp, qtbot: QtBot) -> None:
    space = GatedSpace()
    app, panel = opened(make_app, qtbot, PLANE, space)
    wanted = [seed for _, _, seed in panel.plane.visible()]
    qtbot.waitUntil(lambda: all(panel.pictures.of(s) for s in wanted), timeout=WAIT_MS)
    asked: list[Seed] = []
    panel.seed_dragged.connect(asked.append)
    space.gate.clear()
    begin = len(space.rendered)
    drag_plane(panel, (-CELL_PX[0] // 2, 0), CELL_PX[0] // 2)
    assert len(asked) > 40 and asked[-1] == plane_latent(0.5, 0.0)
    assert app.viewport.stream.seed == asked[0] and app.viewport.is_swapping
    space.gate.set()
    until_shown(qtbot, app, asked[-1])
    drawn = {window.seed for window in space.rendered[begin:] if isinstance(window.seed, Latent)}
    assert drawn <= {asked[0], asked[-1]}


def test_while_one_drags_no_frame_mixes_two(make_app: MakeApp, qtbot: QtBot) -> None:
    space = FakeSpace(has_latents=True, pixels_per_s=1_500_000)
    app, panel = opened(make_app, qtbot, PLANE, space)
    viewport, shares = app.viewport, []
    points = [(0.0, 0.0), (-0.3, -0.25), (0.3, 0.25), (-0.3, 0.25)]
    ends = [np.stack([colors(*p, s) for p in points]) for s in (0, 1)]

    def look() -> None:
        image, ratio = viewport.grabFramebuffer(), []
        for (x, y), a, b in zip(points, *ends, strict=True):
            sx, sy = viewport.view_state.view.to_screen(x, y)
            color = image.pixelColor(round(sx), round(sy))
            found = np.array([color.red(), color.green(), color.blue()]) - a
            ratio.append(float(found @ (b - a) / ((b - a) @ (b - a))))
        shares.append(ratio)

    drag_from = QPoint(panel.plane.width() // 2, panel.plane.height() // 2)
    QTest.mousePress(panel.plane, LEFT, pos=drag_from)
    for number in range(1, 17):
        QTest.mouseMove(panel.plane, drag_from - QPoint(7 * number, 0))
        qtbot.wait(40)
        look()
    QTest.mouseRelease(panel.plane, LEFT, pos=drag_from - QPoint(112, 0))
    until_shown(qtbot, app, 1)
    moving = [ratio for ratio in shares if 0.05 < np.mean(ratio) < 0.95]
    assert moving, "what is between was never seen"
    assert max(max(ratio) - min(ratio) for ratio in shares) < 0.1


def test_another_seed_is_shown_whole_from_its_first_frame(make_app: MakeApp, qtbot: QtBot) -> None:
    """What is shown stays until there is as much of the new; then it goes, all of it."""
    space = FakeSpace(has_latents=True, pixels_per_s=800_000)
    app, _ = opened(make_app, qtbot, SEEDS, space)
    viewport = app.viewport
    viewport.view_state.jump_to(Camera(0.1, 0.05, 2.0))
    viewport.wake()
    until_exact(qtbot, app)
    view = viewport.view_state.view
    places = [(60, 60), (view.size[0] // 2, view.size[1] // 2), (view.size[0] - 60, 300)]
    seen: list[tuple[int, ...]] = []
    app.window.places.seed_asked.emit(3)
    deadline = time.monotonic() + 30
    while not viewport.is_exact and time.monotonic() < deadline:
        qtbot.wait(10)
        image, which = viewport.grabFramebuffer(), []
        for sx, sy in places:
            x, y = view.to_field(sx + 0.5, sy + 0.5)
            color = image.pixelColor(sx, sy)
            found = np.array([color.red(), color.green(), color.blue()])
            which.append(min((0, 3), key=lambda s: np.abs(found - colors(x, y, s)).sum()))
        seen.append(tuple(which))
    assert set(seen) <= {(0, 0, 0), (3, 3, 3)} and seen[-1] == (3, 3, 3)


# Truncation.


def test_truncation_leads_towards_the_mean_and_stays_for_other_seeds(
    make_app: MakeApp, qtbot: QtBot
) -> None:
    app, panel = opened(make_app, qtbot, SEEDS)
    panel.browser.seed.setValue(4)
    until_shown(qtbot, app, 4)
    assert panel.psi == 1.0
    panel.truncation.setValue(PSI_STEPS // 2)
    until_shown(qtbot, app, truncated(4, 0.5))
    assert panel.text.text() == "4~psi0.5"
    click_row(panel, 2)
    until_shown(qtbot, app, truncated(2, 0.5))
    wanted = list(panel.browser.wanted())
    assert all(psi_of(seed) == 0.5 for seed in wanted)
    qtbot.waitUntil(lambda: all(panel.pictures.of(s) for s in wanted), timeout=WAIT_MS)
    panel.truncation.setValue(0)
    until_shown(qtbot, app, truncated(2, 0.0))  # grey, whatever the seed
    panel.truncation.setValue(PSI_STEPS)
    until_shown(qtbot, app, 2)


def test_truncation_acts_on_the_seed_that_was_asked_for_last(
    make_app: MakeApp, qtbot: QtBot
) -> None:
    """Whoever clicks a seed and moves the slider at once means that seed, shown or not yet."""
    app, panel = opened(make_app, qtbot, SEEDS)
    panel.browser.seed.setValue(4)
    until_shown(qtbot, app, 4)
    panel.truncation.setValue(PSI_STEPS // 2)
    until_shown(qtbot, app, truncated(4, 0.5))
    click_row(panel, 2)
    assert app.viewport.is_swapping  # not shown yet
    panel.truncation.setValue(PSI_STEPS // 4)
    until_shown(qtbot, app, truncated(2, 0.25))
    QTest.keyClicks(_cleared(panel.text), "7~8@0.3~psi0.5")
    QTest.keyClick(panel.text, Qt.Key.Key_Return)
    panel.truncation.setValue(PSI_STEPS)
    until_shown(qtbot, app, parse_seed("7~8@0.3"))


# The same everywhere.


@pytest.mark.parametrize("text", ["3~8@0.25", "207~208@0.1~307@0.2~308@0.3~psi0.7"])
def test_a_latent_is_the_same_in_the_window_a_link_a_still_the_api_and_the_command(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path, text: str
) -> None:
    from explorer.cli import run

    generator = small_generator(z_dim=8)
    checkpoint = tmp_path / "many.safetensors"
    save_checkpoint(checkpoint, generator, header_of(generator.config, {}, "CC0-1.0"))
    app = make_app(open_scale_space(checkpoint, "cpu"), path=str(checkpoint))
    until_exact(qtbot, app)
    app.viewport.view_state.jump_to(Camera(0.05, -0.05, 1.0))
    app.viewport.wake()
    app.window.places.seed_asked.emit(parse_seed(text))
    qtbot.waitUntil(lambda: app.viewport.stream.seed == parse_seed(text), timeout=WAIT_MS)
    until_exact(qtbot, app)
    app.window.places.copy_link()
    link = QGuiApplication.clipboard().text()
    assert f"seed={text}&" in link
    app.window.save_still(str(tmp_path / "still.png"))
    qtbot.waitUntil((tmp_path / "still.png").exists, timeout=WAIT_MS)
    view = read_view(tmp_path / "still.png")
    assert view is not None and str(view.seed) == text and view.size is not None
    app.window.places.seed_asked.emit(0)
    qtbot.waitUntil(lambda: app.viewport.stream.seed == 0, timeout=WAIT_MS)
    app.window.places.go_text(link)
    assert str(app.viewport.stream.seed) == text
    app.window.places.copy_options()
    options = QGuiApplication.clipboard().text()
    assert options.endswith(f"--seed {text}")
    app.window.places.seed_asked.emit(0)
    app.window.places.go_text(options)
    assert str(app.viewport.stream.seed) == text
    with explorer.api.open(checkpoint, "cpu") as scene:
        ours = scene.render(view.center_xy, view.level, view.size, text)
        plain = scene.render(view.center_xy, view.level, view.size, 3)
    place = ["--center", *map(repr, view.center_xy), "--level", repr(view.level)]
    size = ["--size", *map(str, view.size), "--seed", text]
    words = ["render", str(checkpoint), *place, *size, "--device", "cpu"]
    assert run([*words, "--out", str(tmp_path / "theirs.png")]) == 0
    pictures = [_pixels(tmp_path / "still.png"), _pixels(tmp_path / "theirs.png"), ours]
    for picture in pictures[:2]:
        assert picture.shape == ours.shape
        assert np.abs(picture.astype(int) - ours.astype(int)).max() <= 1
    assert np.abs(plain.astype(int) - ours.astype(int)).mean() > 2


def _pixels(file: Path) -> NDArray[np.uint8]:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


# Flights.


def test_a_flight_turns_one_latent_into_another(make_app: MakeApp, qtbot: QtBot) -> None:
    app, _ = opened(make_app, qtbot, SEEDS)
    here = app.viewport.view_state.displayed
    there = Camera(0.1, 0.0, here.log2_zoom + 0.5)
    path = CameraPath((Keyframe(0.0, here, seed=0), Keyframe(1.2, there, "linear", seed=2)))
    seen: list[Seed] = []
    app.viewport.frame_painted.connect(lambda: seen.append(app.viewport.stream.seed))
    app.viewport.play_path(path)
    until_shown(qtbot, app, 2)
    between = [dict(parts_of(seed)) for seed in seen if seed not in (0, 2)]
    assert between and all(set(parts) == {0, 2} for parts in between)
    shares = [parts[2] for parts in between]
    assert shares == sorted(shares)


def test_reduced_motion_shows_the_latent_at_the_end_at_once(
    make_app: MakeApp, qtbot: QtBot
) -> None:
    app, _ = opened(make_app, qtbot, SEEDS)
    state = app.viewport.view_state
    state.config = replace(state.config, reduced_motion=True)
    there = Camera(0.1, 0.0, 2.0)
    keys = (Keyframe(0.0, state.displayed, seed=0), Keyframe(9.0, there, seed=2))
    app.viewport.play_path(CameraPath(keys))
    assert app.viewport.stream.seed == 2 and state.displayed == there
    until_shown(qtbot, app, 2)


def test_keyframes_keep_their_latents_in_the_zoom_director(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    app, _ = opened(make_app, qtbot, SEEDS)
    app.window.actions_by_id["director"].trigger()
    panel = app.window.panels["director"]
    assert isinstance(panel, DirectorPanel)
    for seed in (1, 3):
        app.window.places.seed_asked.emit(seed)
        until_shown(qtbot, app, seed)
        QTest.keyClick(app.window, Qt.Key.Key_K)
    keys = panel.director.keys
    assert [key.seed for key in keys] == [1, 3]
    assert keys[1].time_s > 1  # the same place, but a change that one is to see
    first, second = (panel.pictures.of(key.camera, key.seed).toImage() for key in keys)
    assert first != second
    panel.scrub(keys[1].time_s / 2)
    until_shown(qtbot, app, blend(1, 3, 0.5))
    panel.go(0)
    until_shown(qtbot, app, 1)
    panel.save(str(tmp_path / "flight.json"))
    panel.director.clear()
    panel.open(str(tmp_path / "flight.json"))
    assert panel.director.keys == keys
    panel.director.even_speed()
    assert panel.director.duration_s == pytest.approx(keys[1].time_s)
    panel.timeline.set_playhead(0.0)
    panel.toggle_play()
    until_shown(qtbot, app, 3)
