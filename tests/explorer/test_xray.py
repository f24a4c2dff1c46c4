"""The scale x-ray in a real window: one place at every octave, and where octaves disagree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from explorer.app import App
from explorer.camera import Camera
from explorer.messages import SceneInfo
from explorer.octave_views import center_of, figure_pictures, region_in, view_at
from explorer.panels.xray_panel import XrayPanel
from explorer.panels.xray_squares import SQUARE_PX
from explorer.truth import octave_map
from explorer.truth_messages import OctaveMapRequest
from model.scale import Lattice, density
from model.space import Window, to_uint8
from tests.explorer.conftest import MakeApp
from tests.explorer.fakes import FakeSpace
from tests.explorer.hands import hover

WAIT_MS = 30_000
SIZE = (860, 440)
A = Camera(0.1, 0.05, 1.5)
SCENE = SceneInfo("fake", "night", "night.fake", 64, (1.25, 1.0), (0.0, 8.5), "cpu")


class TwoFaced(FakeSpace):
    """Right of the middle, its finer levels are darker than the coarser ones."""

    def render(self, windows: Sequence[Window]) -> torch.Tensor:
        img = super().render(windows)
        d = density(windows[0].level, self.patch_size)
        for image, w in zip(img, windows, strict=True):
            lattice = Lattice.at(w.origin_xy[0], d)
            x = (lattice.first + lattice.phase + np.arange(w.width) + 0.5) / d
            image -= torch.from_numpy(0.2 * (x > 0) * (w.level > 3.2)).float()
        return img


def opened(
    qtbot: QtBot, make_app: MakeApp, space: FakeSpace | None = None, camera: Camera = A
) -> tuple[App, XrayPanel]:
    """The panel over a view at rest."""
    app = make_app(space, window_size=SIZE)
    qtbot.waitUntil(lambda: app.viewport.scene is not None, timeout=WAIT_MS)
    app.window.actions_by_id["xray"].trigger()
    panel = app.window.panels["xray"]
    assert isinstance(panel, XrayPanel)
    app.viewport.view_state.jump_to(camera)
    app.viewport.wake()
    qtbot.waitUntil(lambda: app.viewport.is_exact, timeout=WAIT_MS)
    return app, panel


def until_drawn(qtbot: QtBot, panel: XrayPanel) -> None:
    def drawn() -> bool:
        return bool(panel.grid.squares) and all(s.image is not None for s in panel.grid.squares)

    qtbot.waitUntil(drawn, timeout=WAIT_MS)


def square_rgb(panel: XrayPanel, number: int) -> np.ndarray:
    """What a square shows: uint8 [H, W, 3]."""
    image = panel.grid.squares[number].image
    assert image is not None
    bgra = np.frombuffer(image.constBits(), np.uint8)
    return bgra.reshape(image.height(), image.width(), 4)[..., 2::-1]


def test_every_octave_of_one_place_side_by_side(make_app: MakeApp, qtbot: QtBot) -> None:
    app, panel = opened(qtbot, make_app)
    until_drawn(qtbot, panel)
    assert [s.level for s in panel.grid.squares] == list(range(9))
    here = app.viewport.view_state.displayed
    assert panel.center_xy == (here.cx, here.cy)

    def current() -> bool:
        for number, square in enumerate(panel.grid.squares):
            view = view_at(panel.center_xy, square.level, (SQUARE_PX, SQUARE_PX), SCENE)
            width, height = view.size
            window = Window(view.origin_xy, view.level, height, width)
            expected = to_uint8(FakeSpace().render([window]))[0].numpy()
            if not np.array_equal(square_rgb(panel, number), expected):
                return False
        return True

    qtbot.waitUntil(current, timeout=WAIT_MS)
    level = app.viewport.view_state.view.level(64)
    marked = [s.level for s in panel.grid.squares if s.is_here]
    assert marked == [round(level)]
    positions = {(s.x(), s.y()) for s in panel.grid.squares}
    assert len(positions) == 9 and all(s.isVisible() for s in panel.grid.squares)


def test_a_click_flies_to_that_octave_of_the_place(make_app: MakeApp, qtbot: QtBot) -> None:
    app, panel = opened(qtbot, make_app)
    until_drawn(qtbot, panel)
    QTest.mouseClick(panel.grid.squares[6], Qt.MouseButton.LeftButton)
    assert app.viewport.view_state.is_flying
    qtbot.waitUntil(lambda: app.viewport.is_exact, timeout=WAIT_MS)
    state = app.viewport.view_state
    assert state.view.level(64) == pytest.approx(6.0, abs=1e-6)
    assert (state.displayed.cx, state.displayed.cy) == pytest.approx((A.cx, A.cy), abs=1e-9)
    assert [s.level for s in panel.grid.squares if s.is_here] == [6.0]


def test_the_place_under_the_cursor_when_asked(make_app: MakeApp, qtbot: QtBot) -> None:
    app, panel = opened(qtbot, make_app)
    hover(app.viewport, 60, 90)
    assert panel.center_xy == (A.cx, A.cy)
    panel.follow_box.setChecked(True)
    expected = app.viewport.view_state.view.to_field(60, 90)
    assert panel.center_xy == pytest.approx(expected, abs=1e-6)
    hover(app.viewport, 100, 40)
    expected = app.viewport.view_state.view.to_field(100, 40)
    qtbot.waitUntil(lambda: panel.center_xy == pytest.approx(expected, abs=1e-6), timeout=WAIT_MS)


@pytest.mark.parametrize(("space", "agrees"), [(FakeSpace(), True), (TwoFaced(), False)])
def test_the_map_shows_where_octaves_disagree(
    make_app: MakeApp, qtbot: QtBot, space: FakeSpace, agrees: bool
) -> None:
    # The view is at level 3.6 or so: the darker half is there at its level, and not below.
    app, panel = opened(qtbot, make_app, space, Camera(0.0, 0.0, 1.2))
    view = app.viewport.view_state.view
    assert 3.2 < view.level(64) < 4.2
    qtbot.waitUntil(lambda: panel.map_view.map is not None, timeout=WAIT_MS)
    found = panel.map_view.map
    assert found is not None
    assert max(found.pixels.shape) <= 192 and found.pixels.dtype == np.uint8
    steps = found.pixels.astype(float) * found.peak / 255
    middle = steps.shape[1] // 2
    assert steps[:, : middle - 2].max() < 2.5
    expected = 0.0 if agrees else 0.2 * 127.5
    assert np.median(steps[:, middle + 2 :]) == pytest.approx(expected, abs=2.5)
    assert found.mean == pytest.approx(expected / 2, abs=2.0)
    assert f"{found.mean:.2f} of 255" in panel.map_text.text()


def test_hidden_it_asks_for_nothing(make_app: MakeApp, qtbot: QtBot) -> None:
    space = FakeSpace()
    app, panel = opened(qtbot, make_app, space)
    until_drawn(qtbot, panel)
    app.window.actions_by_id["xray"].trigger()
    assert panel.isHidden()
    space.rendered.clear()
    app.viewport.view_state.jump_to(Camera(-0.2, -0.1, 2.0))
    app.viewport.wake()
    qtbot.waitUntil(lambda: app.viewport.is_exact, timeout=WAIT_MS)
    qtbot.wait(50)
    assert space.rendered and not [w for w in space.rendered if w.width == SQUARE_PX]


def test_a_map_of_any_size_is_small_and_right() -> None:
    rng = np.random.default_rng(5)
    coarse = rng.integers(40, 200, (151, 401, 4), dtype=np.uint8)
    fine = np.repeat(np.repeat(coarse, 2, 0), 2, 1)
    fine = np.pad(fine, ((0, 1), (0, 1), (0, 0)), mode="edge")
    same = octave_map(OctaveMapRequest(1, fine, coarse))
    assert same.pixels.max() == 0 and same.mean == 0 and same.peak == 8.0
    assert max(same.pixels.shape) <= 192
    brighter = fine.copy()
    brighter[:150, :, :3] += 30
    found = octave_map(OctaveMapRequest(2, brighter, coarse))
    assert found.peak == pytest.approx(30) and found.number == 2
    assert (found.pixels[:24] == 255).all() and (found.pixels[26:] == 0).all()
    assert found.mean == pytest.approx(30 * 75 / 151)
    with pytest.raises(ValueError, match="half the sides"):
        octave_map(OctaveMapRequest(3, fine, coarse[:100]))


def test_windows_stay_in_the_field() -> None:
    whole = view_at((0.6, -0.4), 0.0, (128, 128), SCENE)
    assert whole.size == (80, 64) and whole.origin_xy == (-0.625, -0.5)
    corner = view_at((0.6, -0.5), 3.0, (128, 128), SCENE)
    assert corner.size == (128, 128)
    assert corner.origin_xy == pytest.approx((0.625 - 0.25, -0.5))
    middle = view_at((0.1, 0.2), 5.0, (100, 60), SCENE)
    assert center_of(middle, 64) == pytest.approx((0.1, 0.2))


def test_figures_are_of_the_middle_of_a_region_at_bounded_size() -> None:
    region = region_in(SCENE.field_size, (0.05, 0.06, 0.15, 0.14))
    assert region is not None
    pictures = figure_pictures(region, SCENE, 3, top_level=5.0)
    assert [p.view.level for p in pictures] == [0, 1, 2, 3, 4, 5]
    assert all(p.seed == 3 for p in pictures)
    for picture in pictures:
        width, height = picture.view.size
        assert 64 <= width <= 256 and 64 <= height <= 256
        if picture.view.level >= 2:
            assert center_of(picture.view, 64) == pytest.approx((0.1, 0.1), abs=2e-3)


def test_a_region_is_what_lies_in_the_field() -> None:
    half = region_in((1.25, 1.0), (0.5, -0.2, 0.9, 0.2), is_round=True)
    assert half is not None and half.circle == pytest.approx((0.7, 0.0, 0.2))
    assert (half.left, half.right) == (0.5, 0.625)
    assert half.center_xy == pytest.approx((0.5625, 0.0)) and half.size == pytest.approx(
        (0.125, 0.4)
    )
    # The corner of the square is in the field, the circle is not.
    assert region_in((1.25, 1.0), (0.6, 0.48, 0.8, 0.68), is_round=True) is None
    assert region_in((1.25, 1.0), (0.6, 0.48, 0.8, 0.68)) is not None
    assert region_in((1.25, 1.0), (0.7, 0.0, 0.9, 0.2)) is None
