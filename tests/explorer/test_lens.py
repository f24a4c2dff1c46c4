"""The reality lens in a real window: real pixels in their place, and honest figures."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QImage, QRegion
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from explorer.app import App
from explorer.camera import Camera
from explorer.messages import ExactView, OpenRequest
from explorer.octave_views import region_in
from explorer.panels.lens_panel import LensPanel
from explorer.readout import color_at
from explorer.settings import Settings, SettingsStore
from explorer.training_messages import LiveSpace
from explorer.truth import signed_difference
from explorer.truth_messages import Figures, OctaveFigures, TruthOpened, verdict_runs
from explorer.truth_paths import TruthPaths
from model.header import METADATA_KEY, CheckpointHeader
from model.pyramid import ImagePyramid
from model.pyramid_build import default_cache_dir
from model.space import ScaleSpace, Window, to_uint8
from tests.explorer.conftest import MakeApp
from tests.explorer.fakes import FakeSpace, field_color
from tests.explorer.hands import hover

WAIT_MS = 30_000
FIELD = (1.25, 1.0)
SIZE = (820, 420)
A = Camera(0.1, 0.05, 1.5)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Pyramids of these tests go with them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def painting(height: int = 512, sign: float = 1.0, noise: float = 0.0) -> NDArray[np.uint8]:
    """The fake's field as a picture; `sign` -1 is its negative, `noise` is of single pixels."""
    width = round(height * FIELD[0])
    x = ((np.arange(width) + 0.5) / width - 0.5) * FIELD[0]
    y = ((np.arange(height) + 0.5) / height - 0.5) * FIELD[1]
    img = sign * field_color(x[None, :], y[:, None])
    img += noise * np.random.default_rng(3).standard_normal(img.shape)
    return np.clip(img * 127.5 + 128, 0, 255).astype(np.uint8)


def save(path: Path, pixels: NDArray[np.uint8]) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def show_lens(qtbot: QtBot, app: App) -> LensPanel:
    qtbot.waitUntil(lambda: app.viewport.scene is not None, timeout=WAIT_MS)
    app.window.actions_by_id["lens"].trigger()
    panel = app.window.panels["lens"]
    assert isinstance(panel, LensPanel)
    return panel


def until_shown(qtbot: QtBot, app: App, panel: LensPanel) -> None:
    """Wait for the exact frame, and the real picture of the same view."""

    def shown() -> bool:
        frame = panel.overlay.frame
        there = frame is not None and frame.view == app.viewport.current_exact()
        return app.viewport.is_exact and there

    qtbot.waitUntil(shown, timeout=WAIT_MS)


def opened_lens(qtbot: QtBot, app: App, picture: Path, camera: Camera = A) -> LensPanel:
    panel = show_lens(qtbot, app)
    app.viewport.view_state.jump_to(camera)
    app.viewport.wake()
    panel.open_truth(str(picture))
    until_shown(qtbot, app, panel)
    return panel


def painted(widget: QWidget) -> NDArray[np.uint8]:
    """What a widget paints over what lies below: uint8 [H, W, 4], RGBA."""
    image = QImage(widget.size(), QImage.Format.Format_ARGB32_Premultiplied)
    image.fill(Qt.GlobalColor.transparent)
    widget.render(image, QPoint(), QRegion(), QWidget.RenderFlag(0))
    rgba = image.convertToFormat(QImage.Format.Format_RGBA8888)
    rows = np.frombuffer(rgba.constBits(), np.uint8).reshape(rgba.height(), rgba.bytesPerLine())
    return rows[:, : 4 * rgba.width()].reshape(rgba.height(), rgba.width(), 4).copy()


def real_rgb(app: App, x: int, y: int, sign: float) -> NDArray[np.float64]:
    """The colour that the real picture has at a screen point, 0 to 255, by its formula."""
    fx, fy = app.viewport.view_state.view.to_field(x + 0.5, y + 0.5)
    return np.asarray(sign * field_color(np.array(fx), np.array(fy)) * 127.5 + 127.5)


def test_the_lens_shows_the_real_picture_at_the_same_place(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    app = make_app(window_size=SIZE)
    panel = opened_lens(qtbot, app, save(tmp_path / "real.png", painting(sign=-1)))
    overlay = panel.overlay
    panel.controls.size_slider.setValue(60)
    hover(app.viewport, 90, 120)
    pixels = painted(overlay)
    for x, y in ((90, 120), (60, 100), (120, 150)):
        assert pixels[y, x, 3] == 255
        assert np.abs(pixels[y, x, :3] - real_rgb(app, x, y, -1)).max() < 4
    for x, y in ((90, 190), (20, 120), (170, 200)):
        assert pixels[y, x, 3] == 0
    hover(app.viewport, 160, 200)
    moved = painted(overlay)
    assert moved[200, 170, 3] == 255 and moved[100, 60, 3] == 0
    frame = overlay.frame
    assert frame is not None
    with_crop = ImagePyramid.open(tmp_path / "real.png", patch_size=64)
    (width, height), view = frame.view.size, frame.view
    window = Window(view.origin_xy, view.level, height, width)
    assert np.array_equal(frame.pixels[..., :3], to_uint8(with_crop.render([window]))[0].numpy())
    with_crop.close()


def test_bracket_keys_change_the_lens(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app(window_size=SIZE)
    panel = show_lens(qtbot, app)
    before = panel.overlay.radius_px
    QTest.keyClick(app.window, Qt.Key.Key_BracketRight)
    assert panel.overlay.radius_px > before
    QTest.keyClick(app.window, Qt.Key.Key_BracketLeft)
    assert panel.overlay.radius_px == before == panel.controls.size_slider.value()
    show_lens(qtbot, app)
    assert panel.isHidden() and panel.overlay.isHidden()
    panel.show()
    assert panel.overlay.isVisible()
    panel.close()
    assert panel.overlay.isHidden() and not app.window.actions_by_id["lens"].isChecked()
    QTest.keyClick(app.window, Qt.Key.Key_BracketRight)
    assert panel.overlay.radius_px == before


def test_the_line_is_dragged_and_moved_by_keys(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    app = make_app(window_size=SIZE)
    panel = opened_lens(qtbot, app, save(tmp_path / "real.png", painting(sign=-1)))
    QTest.mouseClick(panel.controls.buttons["split"], Qt.MouseButton.LeftButton)
    overlay, handle = panel.overlay, panel.overlay.handle
    assert handle.isVisible()
    width = overlay.width()
    left = Qt.MouseButton.LeftButton
    QTest.mousePress(handle, left, pos=QPoint(8, 50))
    for x in (width * 5 // 8, width * 3 // 4):
        QTest.mouseMove(handle, handle.mapFromParent(QPoint(x, 50)))
    QTest.mouseRelease(handle, left, pos=QPoint(8, 50))
    line = round(overlay.split * width)
    assert abs(line - 3 * width // 4) <= 1
    pixels = painted(overlay)
    y = 200
    assert pixels[y, line - 20, 3] == 0
    x = line + 20
    assert np.abs(pixels[y, x, :3] - real_rgb(app, x, y, -1)).max() < 4
    QTest.keyClick(handle, Qt.Key.Key_Left)
    assert overlay.split * width < line - 1
    panel.controls.choose("lens")
    assert not handle.isVisible()


def test_the_difference_is_grey_where_both_are_equal(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    app = make_app(window_size=SIZE)
    img = painting(1024)
    img[:, 640:] = np.clip(img[:, 640:].astype(int) - 20, 0, 255).astype(np.uint8)
    panel = opened_lens(qtbot, app, save(tmp_path / "real.png", img), Camera(0.0, 0.0, 1.0))
    panel.controls.choose("whole")
    panel.controls.choose("difference")
    panel.controls.gain_slider.setValue(1)  # twice

    def there() -> bool:
        frame = panel.overlay.frame
        return frame is not None and frame.difference is not None and frame.gain == 2.0

    qtbot.waitUntil(there, timeout=WAIT_MS)
    frame = panel.overlay.frame
    assert frame is not None and frame.difference is not None
    middle = frame.view.size[0] // 2
    left, right = frame.difference[:, : middle - 4, :3], frame.difference[:, middle + 4 :, :3]
    assert np.abs(left.astype(int) - 128).max() <= 4
    assert np.abs(np.median(right) - 168) <= 3
    pixels = painted(panel.overlay)
    assert abs(int(pixels[200, 60, 1]) - 128) <= 4


def test_a_signed_difference_has_its_gain_and_ends() -> None:
    generated = np.array([[[10, 128, 255, 255], [0, 5, 200, 255]]], np.uint8)
    real = np.array([[[10, 120, 0, 255], [200, 7, 200, 255]]], np.uint8)
    found = signed_difference(generated, real, 4.0)
    assert found[0].tolist() == [[128, 160, 255, 255], [0, 120, 128, 255]]


def test_blinking_waits_to_be_asked_where_motion_is_reduced(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    store = SettingsStore(tmp_path / "settings")
    store.save(Settings(motion="reduced"))
    app = make_app(store=store, window_size=SIZE)
    panel = opened_lens(qtbot, app, save(tmp_path / "real.png", painting(sign=-1)))
    panel.controls.choose("whole")
    panel.controls.choose("blink")
    assert not panel.blink_timer.isActive() and not panel.controls.alternate_box.isChecked()
    assert painted(panel.overlay)[200, 100, 3] == 255
    QTest.mouseClick(panel.controls.turn_button, Qt.MouseButton.LeftButton)
    assert painted(panel.overlay)[200, 100, 3] == 0
    panel.controls.alternate_box.setChecked(True)
    assert panel.blink_timer.isActive()
    qtbot.waitUntil(lambda: panel.overlay.shows_truth, timeout=WAIT_MS)
    panel.controls.choose("real")
    assert not panel.blink_timer.isActive()


def test_full_motion_blinks_by_itself(make_app: MakeApp, qtbot: QtBot, tmp_path: Path) -> None:
    store = SettingsStore(tmp_path / "settings")
    store.save(Settings(motion="full"))
    panel = show_lens(qtbot, make_app(store=store, window_size=SIZE))
    panel.controls.choose("blink")
    assert panel.blink_timer.isActive()
    panel.setVisible(False)
    assert not panel.blink_timer.isActive()


def test_figures_say_which_octaves_are_remembered(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    app = make_app(window_size=SIZE)
    real = save(tmp_path / "real.png", painting(1024, noise=0.2))
    panel = opened_lens(qtbot, app, real, Camera(0.0, 0.0, 2.0))
    panel.controls.choose("whole")
    figures = figures_of(qtbot, panel)
    # Noise of single pixels averages away: coarse levels agree, the file's own pixels do not.
    assert [o.level for o in figures.octaves] == [0, 1, 2, 3, 4]
    assert [o.verdict for o in figures.octaves] == ["remembered"] * 3 + ["soft"] * 2
    region, pyramid = figures.request.region, ImagePyramid.open(real, patch_size=64)
    for view, each in zip(figures.request.views, figures.octaves, strict=True):
        assert max(view.size) <= 256
        a, b, x, y = both(pyramid, view)
        pixel = 2.0**-view.level / 64
        beside_x = np.maximum(region.left - x, x - region.right)
        beside_y = np.maximum(region.top - y, y - region.bottom)
        mse = float(np.mean((a - b)[np.maximum(beside_x, beside_y) < pixel / 2] ** 2))
        assert each.psnr_db == pytest.approx(10 * math.log10(4 / mse), abs=0.01)
    pyramid.close()
    view = panel.figures_view
    assert view.where.text() == "In view:"
    assert view.sentence.text().startswith("Octaves 0 to 2 remembered, 3 to 4 soft.")
    assert "ends at level 4.0" in view.sentence.text()
    assert view.table.rowCount() == 5
    assert view.table.item(4, 3).text() == "soft"
    assert not view.spectrum.isHidden()


def figures_of(qtbot: QtBot, panel: LensPanel) -> Figures:
    """The figures of what is covered now."""

    def there() -> bool:
        region = panel.figures and panel.figures.request.region
        box = panel._covered()
        expected = region_in(FIELD, box, panel.overlay.area == "lens")
        return region is not None and region == expected

    qtbot.waitUntil(there, timeout=WAIT_MS)
    assert panel.figures is not None
    return panel.figures


def both(pyramid: ImagePyramid, view: ExactView) -> tuple[NDArray[np.float64], ...]:
    """Generated and real pixels of a view, [H, W, 3] in [0, 2], and the places of their centres."""
    width, height = view.size
    windows = [Window(view.origin_xy, view.level, height, width)]
    spaces: tuple[ScaleSpace, ...] = FakeSpace(), pyramid
    images = [to_uint8(space.render(windows))[0].numpy() / 127.5 for space in spaces]
    pixel = 2.0**-view.level / 64
    x = view.origin_xy[0] + (np.arange(width) + 0.5) * pixel
    y = view.origin_xy[1] + (np.arange(height) + 0.5) * pixel
    return (*images, *np.meshgrid(x, y))


def test_figures_are_of_what_is_under_the_lens(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    """Right of the middle the real picture is noisy: the lens says so there, and only there."""
    img = painting(1024)
    img[:, 640:] = painting(1024, noise=0.3)[:, 640:]
    real = save(tmp_path / "real.png", img)
    app = make_app(window_size=SIZE)
    panel = opened_lens(qtbot, app, real, Camera(0.0, 0.0, 2.0))
    panel.controls.size_slider.setValue(60)
    width = panel.overlay.width()
    hover(app.viewport, width - 80, 150)
    hover(app.viewport, 80, 150)  # the last place counts
    left = figures_of(qtbot, panel)
    assert all(o.verdict == "remembered" for o in left.octaves)
    assert panel.figures_view.where.text() == "Under the lens:"
    hover(app.viewport, width - 80, 150)
    right = figures_of(qtbot, panel)
    assert right.octaves[-1].verdict == "soft"
    region, pyramid = right.request.region, ImagePyramid.open(real, patch_size=64)
    assert region.circle is not None
    for view, each in zip(right.request.views, right.octaves, strict=True):
        a, b, x, y = both(pyramid, view)
        cx, cy, radius = region.circle
        inside = np.hypot(x - cx, y - cy) < radius + 0.5 * 2.0**-view.level / 64
        mse = float(np.mean((a - b)[inside] ** 2))
        assert each.psnr_db == pytest.approx(10 * math.log10(4 / mse), abs=0.01)
    pyramid.close()
    panel.controls.choose("split")
    panel.overlay.set_split(0.9)
    assert figures_of(qtbot, panel).octaves[-1].verdict == "soft"
    assert panel.figures_view.where.text() == "Right of the line:"


def test_beside_the_picture_there_are_no_figures(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    app = make_app(window_size=SIZE)
    real = save(tmp_path / "real.png", painting())
    panel = opened_lens(qtbot, app, real, Camera(0.6, 0.0, 1.0))
    panel.controls.size_slider.setValue(40)
    figures_of(qtbot, panel)
    hover(app.viewport, panel.overlay.width() - 45, 150)
    qtbot.waitUntil(lambda: not panel.figures_view.sentence.text(), timeout=WAIT_MS)
    assert panel.figures_view.table.isHidden() and panel.figures_view.spectrum.isHidden()


@pytest.mark.parametrize(
    ("psnr_db", "high_band_db", "verdict"),
    [
        (28.0, -20.0, "remembered"),
        (math.inf, 0.0, "remembered"),
        (27.9, -3.9, "invented"),
        (15.0, 2.0, "invented"),
        (27.9, -4.1, "soft"),
        (10.0, -math.inf, "soft"),
    ],
)
def test_the_rule_of_the_verdicts(psnr_db: float, high_band_db: float, verdict: str) -> None:
    assert OctaveFigures(3.0, psnr_db, high_band_db).verdict == verdict


def test_neighbouring_levels_of_one_verdict_are_one_run() -> None:
    octaves = tuple(OctaveFigures(float(i), db, 0.0) for i, db in enumerate((40, 30, 20, 10, 30)))
    assert verdict_runs(octaves) == [("remembered", 0, 1), ("invented", 2, 3), ("remembered", 4, 4)]


def test_while_the_view_moves_the_frame_stays_in_its_place(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    app = make_app(window_size=SIZE)
    panel = opened_lens(qtbot, app, save(tmp_path / "real.png", painting(sign=-1)))
    panel.controls.choose("whole")
    panel.controls.choose("blink")
    panel.controls.alternate_box.setChecked(False)
    panel.overlay.set_turn(True)
    panel.thread_.stop()
    state = app.viewport.view_state
    here = state.displayed
    shift = 40 / state.view.density
    state.jump_to(Camera(here.cx + shift, here.cy, here.log2_zoom))
    pixels = painted(panel.overlay)
    assert np.abs(pixels[200, 100, :3] - real_rgb(app, 100, 200, -1)).max() < 4
    assert pixels[200, panel.overlay.width() - 20, 3] == 0


def test_the_picture_is_remembered_for_the_scene(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    store = SettingsStore(tmp_path / "settings")
    first = make_app(store=store, window_size=SIZE)
    opened_lens(qtbot, first, save(tmp_path / "real.png", painting()))
    assert "fake" in json.loads((tmp_path / "settings" / "truth.json").read_text())["paths"]
    first.close()
    again = make_app(store=store, window_size=SIZE)
    panel = show_lens(qtbot, again)
    until_shown(qtbot, again, panel)
    assert panel.file_label.text() == "real.png"
    thread = panel.thread_.side
    again.close()
    assert thread.stop(0.0)


def write_scene(path: Path, source: dict[str, object]) -> None:
    """A checkpoint with nothing but a head."""
    head = CheckpointHeader(64, FIELD, (0.0, 8.0), {}, source=source)
    text = json.dumps({"__metadata__": {METADATA_KEY: head.to_json()}}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)


@pytest.mark.parametrize(("scale", "warns"), [(1.0, False), (0.5, True)])
def test_the_crop_of_the_checkpoint_is_applied(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path, scale: float, warns: bool
) -> None:
    full = np.zeros((700, 1000, 3), np.uint8)
    full[100:612, 200:840] = painting(sign=-1)
    source = {"name": "real.png", "size": [1000, 700], "crop": [200, 100, 840, 612]}
    scene = tmp_path / "night.safetensors"
    write_scene(scene, source)
    image = Image.fromarray(full)
    image.resize((round(1000 * scale), round(700 * scale))).save(tmp_path / "other.png")
    app = make_app(path=str(scene), window_size=SIZE)
    panel = opened_lens(qtbot, app, tmp_path / "other.png")
    hover(app.viewport, 90, 120)
    pixels = painted(panel.overlay)
    assert np.abs(pixels[120, 90, :3] - real_rgb(app, 90, 120, -1)).max() < 6
    assert panel.warning.isVisible() == warns
    assert ("500 x 350" in panel.warning.text()) == warns


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_the_whole_picture_has_the_pyramid_that_training_built(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path, scale: float
) -> None:
    scene = tmp_path / "night.safetensors"
    write_scene(scene, {"name": "real.png", "size": [640, 512], "crop": [0, 0, 640, 512]})
    real = save(tmp_path / "real.png", painting(round(512 * scale)))
    ImagePyramid.open(real).close()
    panel = opened_lens(qtbot, make_app(path=str(scene), window_size=SIZE), real)
    assert panel.warning.isVisible() == (scale != 1)
    assert len(list(default_cache_dir().iterdir())) == 1


def test_a_file_that_is_no_picture_is_told(make_app: MakeApp, qtbot: QtBot, tmp_path: Path) -> None:
    app = make_app(window_size=SIZE)
    panel = show_lens(qtbot, app)
    (tmp_path / "words.png").write_text("no picture")
    panel.open_truth(str(tmp_path / "words.png"))
    qtbot.waitUntil(lambda: app.window.failure_dialog is not None, timeout=WAIT_MS)
    assert panel.opened is None and panel.overlay.frame is None
    app.window.failure_dialog.close()  # type: ignore[union-attr]
    panel.open_truth(str(save(tmp_path / "real.png", painting())))
    until_shown(qtbot, app, panel)


def test_paths_survive_and_broken_files_do_not_hurt(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "truth.json"
    here = str(save(tmp_path / "a.png", painting(16)))
    paths = TruthPaths(file)
    paths.keep("one", here)
    paths.keep("two", str(tmp_path / "gone.png"))
    again = TruthPaths(file)
    assert again.get("one") == here and again.get("two") is None and again.get("three") is None
    for broken in ("{", "[]", '{"paths": 3}', "[" * 100_000):
        file.write_text(broken)
        assert TruthPaths(file).get("one") is None


def test_every_widget_of_the_panel_has_a_name(make_app: MakeApp, qtbot: QtBot) -> None:
    panel = show_lens(qtbot, make_app(window_size=SIZE))
    named: Callable[[QWidget], bool] = lambda w: bool(w.accessibleName())  # noqa: E731
    for widget in (
        panel.choose_button,
        panel.controls.size_slider,
        panel.controls.gain_slider,
        panel.controls.turn_button,
    ):
        assert named(widget)
    assert all(named(button) for button in panel.controls.buttons.values())
    assert named(panel.overlay) and named(panel.overlay.handle) and named(panel.figures_view.table)


def test_opening_says_how_far_it_is_and_ends_with_the_window(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_for_ever(*_args: object, progress: Callable[[float], None], **_more: object) -> None:
        while True:
            progress(0.5)
            time.sleep(0.01)

    app = make_app(window_size=SIZE)
    panel = show_lens(qtbot, app)
    monkeypatch.setattr(ImagePyramid, "open", open_for_ever)
    panel.open_truth(str(save(tmp_path / "real.png", painting())))
    qtbot.waitUntil(lambda: "50%" in panel.file_label.text(), timeout=WAIT_MS)
    app.close()
    assert panel.thread_.side.stop(0.0)


def go_to(qtbot: QtBot, app: App, scene: Path | str) -> None:
    """Open another scene, and wait until it is."""
    app.inference.open(OpenRequest(str(scene)))
    viewport = app.viewport
    qtbot.waitUntil(
        lambda: viewport.scene is not None and viewport.scene.path == str(scene), timeout=WAIT_MS
    )


def by_name(path: str, _device: str, _precision: str) -> FakeSpace:
    """A scene whose identity is its file's name."""
    return FakeSpace(identity=Path(path).stem)


def test_two_crops_of_one_picture_are_each_shown_over_their_scene(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halves = np.concatenate([painting(sign=1), painting(sign=-1)], axis=1)
    real = save(tmp_path / "real.png", halves)
    scenes = tmp_path / "left.safetensors", tmp_path / "right.safetensors"
    for scene, x in zip(scenes, (0, 640), strict=True):
        source = {"name": "real.png", "size": [1280, 512], "crop": [x, 0, x + 640, 512]}
        write_scene(scene, source)
    app = make_app(path=str(scenes[0]), window_size=SIZE)
    monkeypatch.setattr(app.inference, "_opener", by_name)
    panel = opened_lens(qtbot, app, real)
    over: list[object] = []
    app.viewport.scene_opened.connect(lambda _info: over.append(panel.overlay.frame))
    go_to(qtbot, app, scenes[1])
    panel.open_truth(str(real))
    until_shown(qtbot, app, panel)
    view = app.viewport.view_state.displayed
    for scene, sign in (*zip(scenes, (1, -1), strict=True), (scenes[0], 1)):
        go_to(qtbot, app, scene)
        app.viewport.view_state.jump_to(view)
        app.viewport.wake()
        qtbot.waitUntil(lambda: panel.opened is not None, timeout=WAIT_MS)
        until_shown(qtbot, app, panel)
        hover(app.viewport, 190, 120)
        shown = painted(panel.overlay)[120, 190, :3]
        assert np.abs(shown - real_rgb(app, 190, 120, sign)).max() < 6, scene.name
    assert over == [None] * 4


def test_a_picture_is_not_remembered_for_another_project_of_the_same_names(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths as one types them: each is in the folder where the app was started."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    store = SettingsStore(tmp_path / "settings")
    monkeypatch.chdir(tmp_path / "one")
    first = make_app(FakeSpace(identity="one"), "night.fake", store, SIZE)
    opened_lens(qtbot, first, save(tmp_path / "one" / "real.png", painting()))
    first.close()
    monkeypatch.chdir(tmp_path / "two")
    other = make_app(FakeSpace(identity="two"), "night.fake", store, SIZE)
    panel = show_lens(qtbot, other)
    assert panel.opened is None and panel._opening is None
    other.close()
    monkeypatch.chdir(tmp_path / "one")
    newer = make_app(FakeSpace(identity="newer"), "night.fake", store, SIZE)
    panel = show_lens(qtbot, newer)
    until_shown(qtbot, newer, panel)
    assert panel.file_label.text() == "real.png"


def test_newer_weights_let_the_picture_be_opened_and_keep_it(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, step = tmp_path / "run", 0
    app = make_app(window_size=SIZE)

    def live(path: str) -> LiveSpace | None:
        return LiveSpace(FakeSpace(identity=f"run@{step}"), step) if path == str(run) else None

    def learn() -> None:
        nonlocal step
        step += 100
        app.inference.open(OpenRequest(str(run)))
        viewport = app.viewport
        qtbot.waitUntil(
            lambda: viewport.scene is not None and viewport.scene.step == step, timeout=WAIT_MS
        )

    monkeypatch.setattr(app.inference, "live", live)
    learn()
    panel = show_lens(qtbot, app)
    starts: list[object] = []
    go_on = threading.Event()
    really_open = ImagePyramid.open

    def open_slowly(path: str, progress: Callable[[float], None], **more: Any) -> ImagePyramid:
        starts.append(path)
        while not go_on.wait(0.01):
            progress(0.5)
        return really_open(path, **more)

    monkeypatch.setattr(ImagePyramid, "open", open_slowly)
    panel.open_truth(str(save(tmp_path / "real.png", painting(sign=-1))))
    qtbot.waitUntil(lambda: "50%" in panel.file_label.text(), timeout=WAIT_MS)
    for _ in range(3):
        learn()
    qtbot.wait(50)
    go_on.set()
    qtbot.waitUntil(lambda: panel.opened is not None, timeout=WAIT_MS)
    until_shown(qtbot, app, panel)
    frame = panel.overlay.frame
    learn()
    until_shown(qtbot, app, panel)
    kept = panel.overlay.frame  # the panel may have made the picture smaller meanwhile
    assert frame is not None and kept is not None
    assert len(starts) == 1 and kept.scene == frame.scene
    # The picture of newer weights, too, is compared: figures come, and a view elsewhere is drawn.
    assert figures_of(qtbot, panel).octaves
    app.viewport.view_state.jump_to(Camera(-0.1, 0.0, 2.0))
    app.viewport.wake()
    until_shown(qtbot, app, panel)
    assert len(starts) == 1


def test_what_was_opened_while_the_panel_was_hidden_is_there_when_it_is_shown(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(path="first.fake", window_size=SIZE)
    monkeypatch.setattr(app.inference, "_opener", by_name)
    go_to(qtbot, app, "one.fake")
    panel = show_lens(qtbot, app)
    go_on = threading.Event()
    really_open = ImagePyramid.open

    def open_slowly(path: str, **more: Any) -> ImagePyramid:
        go_on.wait()
        return really_open(path, **more)

    monkeypatch.setattr(ImagePyramid, "open", open_slowly)
    panel.open_truth(str(save(tmp_path / "real.png", painting())))
    panel.hide()
    go_to(qtbot, app, "two.fake")
    with qtbot.waitSignal(panel.thread_.came, timeout=WAIT_MS, check_params_cb=is_opened):
        go_on.set()
    panel.show()
    assert panel.overlay.frame is None and panel.opened is None
    panel.hide()
    go_to(qtbot, app, "one.fake")
    panel.show()
    until_shown(qtbot, app, panel)
    assert panel.file_label.text() == "real.png"


def is_opened(result: object) -> bool:
    return isinstance(result, TruthOpened)


def test_the_colour_under_the_cursor_is_that_of_the_real_picture_where_that_lies(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    app = make_app(window_size=SIZE)
    panel = opened_lens(qtbot, app, save(tmp_path / "real.png", painting(sign=-1)))
    panel.controls.size_slider.setValue(60)
    viewport, line = app.viewport, app.window.status_line

    def told(x: int, y: int) -> str:
        hover(viewport, x, y)
        line.refresh()
        return line.cursor.text()

    def color(x: int, y: int, sign: float) -> str:
        pixels = painted(panel.overlay) if sign < 0 else None
        shown = color_at(viewport, x, y) if pixels is None else pixels[y, x, :3]
        assert shown is not None and np.abs(np.array(shown) - real_rgb(app, x, y, sign)).max() < 4
        return "{:3d} {:3d} {:3d}".format(*shown)

    for x, y in ((90, 120), (150, 200)):  # the lens is at the cursor
        assert told(x, y).endswith(f"{color(x, y, -1)} real")
    panel.controls.choose("split")
    line_x = round(panel.overlay.split * panel.overlay.width())
    assert told(line_x + 30, 120).endswith(f"{color(line_x + 30, 120, -1)} real")
    assert told(line_x - 30, 120).endswith(color(line_x - 30, 120, 1))
    panel.controls.choose("blink")
    panel.controls.alternate_box.setChecked(False)
    for shows_truth in (True, False):
        panel.overlay.set_turn(shows_truth)
        assert told(line_x + 30, 120).endswith(" real") == shows_truth
    panel.controls.choose("real")
    panel.hide()
    assert told(line_x + 30, 120).endswith(color(line_x + 30, 120, 1))
