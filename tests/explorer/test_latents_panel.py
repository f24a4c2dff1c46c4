"""Latents in a real window: seeds with thumbnails, stars, one click, and one seed everywhere."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QImage
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from explorer.app import App
from explorer.camera import Camera
from explorer.latents import Stars
from explorer.messages import ExactView, PictureRequest
from explorer.panels.latents_panel import LatentsPanel
from explorer.panels.seed_browser import PAGE
from explorer.places import read_place
from explorer.settings import SettingsStore
from explorer.view_links import StillView, format_link, parse_link
from explorer.view_metadata import read_view
from model.scale import density
from tests.explorer.conftest import MakeApp
from tests.explorer.fakes import FakeSpace, field_color, seed_color

WAIT_MS = 30_000
PLACE = Camera(0.1, 0.05, 1.0)


def until_exact(qtbot: QtBot, app: App) -> None:
    qtbot.waitUntil(lambda: app.viewport.is_exact, timeout=WAIT_MS)


def opened(
    make_app: MakeApp, qtbot: QtBot, store: SettingsStore | None = None
) -> tuple[App, LatentsPanel]:
    app = make_app(FakeSpace(has_latents=True), store=store, window_size=(800, 600))
    until_exact(qtbot, app)
    QTest.keyClick(app.window, Qt.Key.Key_N)
    panel = app.window.panels["latents"]
    assert isinstance(panel, LatentsPanel) and panel.isVisible()
    return app, panel


def colors(
    x: float | NDArray[np.float64], y: float | NDArray[np.float64], seed: int
) -> NDArray[np.float64]:
    """The colours of field points, 0 to 255."""
    return seed_color(field_color(np.array(x), np.array(y)), seed) * 127.5 + 127.5


def thumbnail(panel: LatentsPanel, row: int) -> NDArray[np.float64]:
    """The middle of a thumbnail."""
    image = panel.browser.list.item(row).icon().pixmap(panel.browser.list.iconSize()).toImage()
    color = image.pixelColor(image.width() // 2, image.height() // 2)
    return np.array([color.red(), color.green(), color.blue()], float)


def until_thumbnails(qtbot: QtBot, panel: LatentsPanel, place: tuple[float, float]) -> None:
    def there() -> bool:
        seeds = panel.browser.seeds()
        return all(
            np.abs(thumbnail(panel, row) - colors(*place, seed)).max() < 8
            for row, seed in enumerate(seeds)
        )

    qtbot.waitUntil(there, timeout=WAIT_MS)


def shown_in_the_middle(app: App) -> NDArray[np.float64]:
    image = app.viewport.grabFramebuffer()
    color = image.pixelColor(image.width() // 2, image.height() // 2)
    return np.array([color.red(), color.green(), color.blue()], float)


def click(panel: LatentsPanel, row: int) -> None:
    at = panel.browser.list.visualItemRect(panel.browser.list.item(row)).center()
    QTest.mouseClick(panel.browser.list.viewport(), Qt.MouseButton.LeftButton, pos=at)


def test_thumbnails_show_the_place_with_every_seed_of_the_page(
    make_app: MakeApp, qtbot: QtBot
) -> None:
    app, panel = opened(make_app, qtbot)
    until_thumbnails(qtbot, panel, (0.0, 0.0))
    app.viewport.view_state.jump_to(PLACE)
    app.viewport.wake()
    until_thumbnails(qtbot, panel, (PLACE.cx, PLACE.cy))
    QTest.mouseClick(panel.browser.after, Qt.MouseButton.LeftButton)
    assert panel.browser.seeds() == list(range(PAGE, 2 * PAGE))
    assert panel.browser.range.text() == f"seeds {PAGE} to {2 * PAGE - 1}"
    until_thumbnails(qtbot, panel, (PLACE.cx, PLACE.cy))
    QTest.mouseClick(panel.browser.before, Qt.MouseButton.LeftButton)
    assert panel.browser.seeds()[0] == 0 and not panel.browser.before.isEnabled()
    panel.browser.seed.setValue(100)
    assert 100 in panel.browser.seeds() and app.viewport.stream.seed == 100


def test_a_click_shows_the_seed_from_the_same_place(make_app: MakeApp, qtbot: QtBot) -> None:
    app, panel = opened(make_app, qtbot)
    app.viewport.view_state.jump_to(PLACE)
    app.viewport.wake()
    until_exact(qtbot, app)
    np.testing.assert_allclose(shown_in_the_middle(app), colors(0.1, 0.05, 0), atol=3)
    root = app.viewport.root
    assert root is not None
    click(panel, 2)
    assert app.viewport.stream.seed == 2
    assert app.viewport.view_state.displayed == PLACE
    assert not app.viewport.is_exact
    until_exact(qtbot, app)
    np.testing.assert_allclose(shown_in_the_middle(app), colors(0.1, 0.05, 2), atol=3)
    held = app.viewport.held_exact
    assert held is not None and held.seed == 2
    app.window.status_line.refresh()
    assert app.window.status_line.seed.text() == "seed 2"
    qtbot.waitUntil(lambda: app.viewport.root is not root, timeout=WAIT_MS)
    whole = app.viewport.root
    assert whole is not None and whole.shape == root.shape
    center = whole[whole.shape[0] // 2, whole.shape[1] // 2, :3]
    np.testing.assert_allclose(center, colors(0.0, 0.0, 2), atol=4)


def test_the_small_picture_of_another_latent_is_of_the_same_window(
    make_app: MakeApp, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = FakeSpace((1.37, 1.0), has_latents=True)
    app = make_app(space)
    qtbot.waitUntil(lambda: app.viewport.scene is not None, timeout=WAIT_MS)
    asked: list[PictureRequest] = []
    monkeypatch.setattr(app.inference, "ask_pictures", asked.append)
    app.window.places.seed_asked.emit(2)
    (picture,) = next(request.pictures for request in asked if request.owner == "root")
    first = space.rendered[0]
    assert picture.view == ExactView(first.origin_xy, first.level, (first.width, first.height))


def test_quick_changes_end_with_the_last_seed(make_app: MakeApp, qtbot: QtBot) -> None:
    """The pieces of a frame that is being rendered are never those of two seeds."""
    app = make_app(FakeSpace(has_latents=True, pixels_per_s=600_000), window_size=(800, 600))
    until_exact(qtbot, app)
    for seed in (1, 2, 3, 4, 1, 3):
        app.window.places.seed_asked.emit(seed)
        qtbot.wait(330)
    until_exact(qtbot, app)
    held = app.viewport.held_exact
    assert held is not None and held.seed == 3
    d = density(held.view.level, 64)
    height, width = held.pixels.shape[:2]
    x = held.view.origin_xy[0] + (np.arange(width) + 0.5) / d
    y = held.view.origin_xy[1] + (np.arange(height) + 0.5) / d
    np.testing.assert_allclose(held.pixels[..., :3], colors(x[None, :], y[:, None], 3), atol=2)
    np.testing.assert_allclose(shown_in_the_middle(app), colors(0.0, 0.0, 3), atol=3)
    app.viewport._accept(replace(held, seed=4), time.perf_counter())
    assert app.viewport.held_exact is held


def test_stars_are_kept_per_scene(make_app: MakeApp, qtbot: QtBot, tmp_path: Path) -> None:
    app, panel = opened(make_app, qtbot, SettingsStore(tmp_path))
    click(panel, 3)
    QTest.mouseClick(panel.star, Qt.MouseButton.LeftButton)
    assert panel.star.text() == "★" and panel.browser.list.item(3).text() == "★ 3"
    panel.browser.seed.setValue(40)
    QTest.mouseClick(panel.star, Qt.MouseButton.LeftButton)
    QTest.mouseClick(panel.browser.only_stars, Qt.MouseButton.LeftButton)
    assert panel.browser.seeds() == [3, 40] and not panel.browser.after.isEnabled()
    until_thumbnails(qtbot, panel, (0.0, 0.0))
    (kept,) = (tmp_path / "stars").iterdir()
    assert list(Stars(kept)) == [3, 40]
    QTest.mouseClick(panel.star, Qt.MouseButton.LeftButton)
    assert panel.browser.seeds() == [3]
    app.close()
    again, panel = opened(make_app, qtbot, SettingsStore(tmp_path))
    assert list(panel.stars) == [3]
    assert panel.browser.list.item(3).text() == "★ 3"
    again.close()


def test_stars_that_were_damaged_meanwhile_are_told_and_left(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    app, panel = opened(make_app, qtbot, SettingsStore(tmp_path))
    QTest.mouseClick(panel.star, Qt.MouseButton.LeftButton)
    (kept,) = (tmp_path / "stars").iterdir()
    kept.write_text("{")
    QTest.mouseClick(panel.star, Qt.MouseButton.LeftButton)
    assert "The star was not kept" in app.window.notice.text()
    assert panel.star.isChecked() and list(panel.stars) == [0] and kept.read_text() == "{"


def test_a_damaged_file_of_stars_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "stars.json"
    file.write_text("{}")
    with pytest.raises(ValueError, match="holds no starred seeds"):
        Stars(file)
    assert file.read_text() == "{}"


def test_the_seed_goes_with_links_stills_and_options(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    app, panel = opened(make_app, qtbot)
    places = app.window.places
    click(panel, 4)
    until_exact(qtbot, app)
    places.copy_link()
    link = QGuiApplication.clipboard().text()
    assert parse_link(link).seed == 4
    places.copy_options()
    options = read_place(QGuiApplication.clipboard().text())
    assert isinstance(options, StillView) and options.seed == 4
    app.window.save_still(str(tmp_path / "still.png"))
    qtbot.waitUntil(lambda: (tmp_path / "still.png").exists(), timeout=WAIT_MS)
    view = read_view(tmp_path / "still.png")
    assert view is not None and view.seed == 4
    with Image.open(tmp_path / "still.png") as still:
        pixel = np.asarray(still)[still.height // 2, still.width // 2]
    np.testing.assert_allclose(pixel, colors(0.0, 0.0, 4), atol=4)
    click(panel, 0)
    assert app.viewport.stream.seed == 0
    places.go_text(link)
    assert app.viewport.stream.seed == 4
    places.go_text(format_link(StillView((0.0, 0.0), 1.0, name=view.name)))
    assert app.viewport.stream.seed == 0


def test_hidden_it_wants_nothing(make_app: MakeApp, qtbot: QtBot) -> None:
    space = FakeSpace(has_latents=True)
    app = make_app(space, window_size=(800, 600))
    until_exact(qtbot, app)
    panel = app.window.panels["latents"]
    app.window.actions_by_id["latents"].trigger()
    until_thumbnails(qtbot, panel, (0.0, 0.0))
    app.window.actions_by_id["latents"].trigger()
    assert not panel.isVisible()
    app.viewport.view_state.jump_to(PLACE)
    app.viewport.wake()
    until_exact(qtbot, app)
    count = len(space.rendered)
    qtbot.wait(600)
    seeds = {window.seed for window in space.rendered[count:]}
    assert seeds <= {0}


def test_a_scene_of_one_picture_says_so(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    until_exact(qtbot, app)
    app.window.actions_by_id["latents"].trigger()
    panel = app.window.panels["latents"]
    assert isinstance(panel, LatentsPanel)
    assert (
        panel.single.isVisible() and not panel.browser.isVisible() and not panel.plane.isVisible()
    )
    assert "one picture" in panel.single.text()
    app.window.places.seed_asked.emit(5)
    assert app.viewport.stream.seed == 0
    assert not app.window.status_line.seed.isVisible()


def test_the_panel_is_readable_in_both_themes(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    app, panel = opened(make_app, qtbot)
    until_thumbnails(qtbot, panel, (0.0, 0.0))
    for theme in ("dark", "light"):
        app.window.actions_by_id[f"theme_{theme}"].trigger()
        image = panel.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
        assert image.width() >= panel.minimumSizeHint().width()
    for row in range(panel.browser.list.count()):
        rect = panel.browser.list.visualItemRect(panel.browser.list.item(row))
        assert rect.width() >= panel.browser.list.iconSize().width()
