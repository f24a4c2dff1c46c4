"""Places in a real window: history, bookmarks, links, and pictures that know where they were."""

from __future__ import annotations

import json
import shutil
import threading
import time
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import QMimeData, QPoint, Qt
from PySide6.QtGui import QGuiApplication, QImage
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from explorer.app import App
from explorer.bookmarks import Bookmark
from explorer.camera import Camera, fit_camera
from explorer.camera_path import CameraPath, Keyframe, flight
from explorer.messages import OpenRequest
from explorer.places import read_place
from explorer.recorder import FilmSpec, record_film
from explorer.settings import SettingsStore
from explorer.shipped import PAINTING, shipped
from explorer.view_links import StillView, ViewError, format_link
from explorer.view_metadata import film_fields, read_view
from tests.explorer.conftest import MakeApp
from tests.explorer.fakes import FakeSpace
from tests.explorer.hands import drop, wheel

WAIT_MS = 30_000
HOME = fit_camera((1.25, 1.0), (480, 320))


def until_exact(qtbot: QtBot, app: App) -> None:
    qtbot.waitUntil(lambda: app.viewport.is_exact, timeout=WAIT_MS)


def go(qtbot: QtBot, app: App, camera: Camera) -> None:
    """Be at `camera`, and let it count."""
    app.viewport.view_state.jump_to(camera)
    app.viewport.wake()
    until_exact(qtbot, app)
    app.window.places.note_here()


def until_at(qtbot: QtBot, app: App, camera: Camera) -> None:
    """Wait until the displayed camera is `camera`, at rest."""

    def there() -> bool:
        state = app.viewport.view_state
        here = state.displayed
        near = abs(here.cx - camera.cx) + abs(here.cy - camera.cy) < 1e-6
        return state.is_settled and near and abs(here.log2_zoom - camera.log2_zoom) < 1e-6

    qtbot.waitUntil(there, timeout=WAIT_MS)


A, B = Camera(0.1, 0.05, 2.0), Camera(-0.2, 0.1, 3.0)


def test_views_are_undone_and_redone_by_keys_and_by_the_mouse(
    make_app: MakeApp, qtbot: QtBot
) -> None:
    app = make_app()
    until_exact(qtbot, app)
    home = app.viewport.view_state.displayed
    go(qtbot, app, A)
    go(qtbot, app, B)
    QTest.keyClick(app.window, Qt.Key.Key_Left, Qt.KeyboardModifier.AltModifier)
    until_at(qtbot, app, A)
    QTest.mouseClick(app.viewport, Qt.MouseButton.BackButton, pos=QPoint(50, 50))
    until_at(qtbot, app, home)
    assert not app.window.places.history.can_go_back
    QTest.mouseClick(app.viewport, Qt.MouseButton.ForwardButton, pos=QPoint(50, 50))
    QTest.keyClick(app.window, Qt.Key.Key_Right, Qt.KeyboardModifier.AltModifier)
    until_at(qtbot, app, B)


def test_a_view_counts_when_it_rests_and_before_a_flight(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    until_exact(qtbot, app)
    history = app.window.places.history
    assert len(history) == 1
    for _ in range(4):
        wheel(app.viewport, 1, 200, 150)
    qtbot.waitUntil(lambda: len(history) == 2, timeout=WAIT_MS)
    go_to = app.viewport.view_state.displayed
    app.viewport.view_state.jump_to(A)
    QTest.keyClick(app.window, Qt.Key.Key_Home)
    assert len(history) == 3
    QTest.keyClick(app.window, Qt.Key.Key_Left, Qt.KeyboardModifier.AltModifier)
    until_at(qtbot, app, A)
    app.window.actions_by_id["back"].trigger()
    until_at(qtbot, app, go_to)


def test_a_pinch_and_a_scroll_are_movements_that_can_be_undone(
    make_app: MakeApp, qtbot: QtBot
) -> None:
    """They move the picture at once, without easing: frame by frame it seems to be at rest."""
    app = make_app()
    until_exact(qtbot, app)
    state, home = app.viewport.view_state, app.viewport.view_state.displayed
    for _ in range(5):
        state.pinch(1.3, 200, 150, time.perf_counter())
        state.scroll_pan(8.0, 3.0, time.perf_counter())
        app.viewport.wake()
        assert app.viewport.is_moving and state.is_settled
        qtbot.wait(20)
    back = app.window.actions_by_id["back"]
    qtbot.waitUntil(lambda: len(app.window.places.history) == 2, timeout=WAIT_MS)
    assert back.isEnabled() and not app.viewport.is_moving
    until_exact(qtbot, app)
    QTest.keyClick(app.window, Qt.Key.Key_Left, Qt.KeyboardModifier.AltModifier)
    until_at(qtbot, app, home)


def test_bookmarks_are_kept_shown_renamed_moved_deleted_and_flown_to(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    app = make_app(store=SettingsStore(tmp_path))
    until_exact(qtbot, app)
    for camera in (A, B):
        go(qtbot, app, camera)
        QTest.keyClick(app.window, Qt.Key.Key_D, Qt.KeyboardModifier.ControlModifier)
    panel = app.window.bookmarks_panel
    QTest.keyClick(
        app.window,
        Qt.Key.Key_D,
        Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier,
    )
    assert panel.isVisible() and panel.list.count() == 2
    assert not panel.list.item(0).icon().isNull()
    panel.list.item(0).setText("moon")
    assert app.window.places.bookmarks[0].name == "moon"
    panel.list.setCurrentRow(1)
    item = panel.list.item(0)
    qtbot.waitUntil(lambda: panel.list.visualItemRect(item).height() > 20, timeout=WAIT_MS)
    at = panel.list.visualItemRect(item).center()
    QTest.mouseClick(panel.list.viewport(), Qt.MouseButton.LeftButton, pos=at)
    QTest.mouseDClick(panel.list.viewport(), Qt.MouseButton.LeftButton, pos=at)
    qtbot.waitUntil(lambda: app.viewport.view_state.is_settled, timeout=WAIT_MS)
    here = app.viewport.view_state.displayed
    assert (here.cx, here.cy) == pytest.approx((A.cx, A.cy), abs=1e-6)
    model = panel.list.model()
    assert model.moveRow(panel.list.rootIndex(), 0, panel.list.rootIndex(), 2)
    assert [app.window.places.bookmarks[i].name for i in range(2)] == ["Place 2", "moon"]
    panel.list.setCurrentRow(0)
    QTest.keyClick(panel.list, Qt.Key.Key_Delete)
    assert panel.list.count() == 1
    thumbnail = QImage.fromData(app.window.places.bookmarks[0].thumbnail)
    assert (thumbnail.width(), thumbnail.height()) == (224, 168)
    app.close()
    again = make_app(store=SettingsStore(tmp_path))
    until_exact(qtbot, again)
    assert again.window.bookmarks_panel.list.item(0).text() == "moon"


def test_bookmarks_that_were_damaged_meanwhile_are_told_and_left(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    app = make_app(store=SettingsStore(tmp_path))
    until_exact(qtbot, app)
    places, panel, notice = app.window.places, app.window.bookmarks_panel, app.window.notice
    places.add_bookmark("moon")
    file = places.bookmarks.file
    assert file is not None and file.exists()
    file.write_text("{")
    changes = (
        places.add_bookmark,
        lambda: panel.list.item(0).setText("sun"),
        lambda: (panel.list.setCurrentRow(0), panel.delete()),
    )
    for change in changes:
        notice.setText("")
        change()
        assert file.name in notice.text() and file.read_text() == "{"
        assert [panel.list.item(i).text() for i in range(panel.list.count())] == ["moon"]


def test_a_copied_view_is_pasted_in_every_form(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    until_exact(qtbot, app)
    window, clipboard = app.window, QGuiApplication.clipboard()
    go(qtbot, app, A)
    texts = []
    for name in ("copy_view", "copy_command"):
        window.actions_by_id[name].trigger()
        texts.append(clipboard.text())
    assert texts[0].startswith("scalespace:night.fake?") and texts[1].startswith("--center 0.1")
    window.places.add_bookmark("here")
    texts.append(json.dumps(window.places.bookmarks[0].to_json()))
    for text in texts:
        go(qtbot, app, B)
        clipboard.setText(f"  {text}\n")
        QTest.keyClick(
            window,
            Qt.Key.Key_V,
            Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier,
        )
        assert app.viewport.view_state.is_flying
        qtbot.waitUntil(lambda: app.viewport.view_state.is_settled, timeout=WAIT_MS)
        here = app.viewport.view_state.displayed
        assert (here.cx, here.cy, here.log2_zoom) == pytest.approx((A.cx, A.cy, 2.0), abs=1e-5)
    clipboard.setText("nothing of the kind")
    window.actions_by_id["paste_view"].trigger()
    assert "no view in this text" in window.notice.text()


def test_a_copied_picture_is_the_screen_and_carries_its_view(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    app = make_app()
    until_exact(qtbot, app)
    go(qtbot, app, A)
    QTest.keyClick(app.window, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    data = QGuiApplication.clipboard().mimeData()
    assert data.hasImage()
    file = tmp_path / "pasted.png"
    file.write_bytes(bytes(data.data("image/png").data()))
    assert read_view(file) == app.window.places.here()
    shown = app.viewport.grabFramebuffer().convertToFormat(QImage.Format.Format_RGB32)
    assert QImage(str(file)).convertToFormat(QImage.Format.Format_RGB32) == shown
    go(qtbot, app, B)
    only_picture = QMimeData()
    only_picture.setData("image/png", data.data("image/png"))
    QGuiApplication.clipboard().setMimeData(only_picture)
    app.window.places.paste()
    until_at(qtbot, app, A)


def still_of(qtbot: QtBot, app: App, camera: Camera, file: Path) -> None:
    go(qtbot, app, camera)
    app.window.save_still(str(file))
    qtbot.waitUntil(file.exists, timeout=WAIT_MS)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_a_dropped_still_goes_where_it_was_taken_and_shows_the_same(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path, suffix: str
) -> None:
    app = make_app()
    until_exact(qtbot, app)
    still_of(qtbot, app, A, tmp_path / f"still{suffix}")
    before = app.viewport.grabFramebuffer()
    go(qtbot, app, B)
    assert drop(app.window, tmp_path / f"still{suffix}")
    until_at(qtbot, app, A)
    until_exact(qtbot, app)
    after = app.viewport.grabFramebuffer()
    difference = pixels(after) - pixels(before)
    assert np.abs(difference).max() <= 1


def pixels(image: QImage) -> np.ndarray:
    image = image.convertToFormat(QImage.Format.Format_RGBA8888)
    return np.frombuffer(image.constBits(), np.uint8).astype(np.int16)


def test_a_still_of_another_scene_opens_that_first(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    night, day = tmp_path / "night.fake", tmp_path / "day.fake"
    for file in (night, day):
        file.write_text("")
    app = make_app(path=str(night), store=SettingsStore(tmp_path))
    app.inference._opener = lambda path, *_: FakeSpace(identity=Path(path).stem)
    until_exact(qtbot, app)
    still_of(qtbot, app, A, tmp_path / "still.png")
    app.open(str(day))
    qtbot.waitUntil(
        lambda: app.viewport.scene is not None and app.viewport.scene.identity == "day",
        timeout=WAIT_MS,
    )
    assert drop(app.window, tmp_path / "still.png")
    qtbot.waitUntil(
        lambda: app.viewport.scene is not None and app.viewport.scene.name == "night",
        timeout=WAIT_MS,
    )
    until_at(qtbot, app, A)
    # Its scene gone, the still is a picture like any other.
    app.open(str(day))
    qtbot.waitUntil(lambda: app.viewport.scene.name == "day", timeout=WAIT_MS)  # type: ignore[union-attr]
    night.unlink()
    asked: list[str] = []
    app.window.open_requested.disconnect(app.open)
    app.window.open_requested.connect(asked.append)
    assert drop(app.window, tmp_path / "still.png")
    qtbot.waitUntil(lambda: asked == [str(tmp_path / "still.png")], timeout=WAIT_MS)
    assert "not at hand" in app.window.notice.text()


@pytest.mark.parametrize("fails", [False, True])
def test_a_link_that_comes_while_another_scene_is_being_opened_leads_to_its_place(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path, fails: bool
) -> None:
    """And where the other one cannot be opened."""
    store, files = SettingsStore(tmp_path), [tmp_path / f"{name}.fake" for name in "ab"]
    for file in files:
        file.write_text("")
        store.add_recent(str(file))
    app = make_app(store=store)
    until_exact(qtbot, app)
    begun, gates = threading.Event(), {str(file): threading.Event() for file in files}

    def open_it(path: str, *_: str) -> FakeSpace:
        begun.set()
        assert gates[path].wait(60)
        if fails and path == str(files[0]):
            raise ValueError(f"{path} is no scene.")
        return FakeSpace(identity=Path(path).stem)

    app.inference._opener = open_it
    app.open(str(files[0]))
    assert begun.wait(60)
    app.window.places.go_text("scalespace:b.fake?x=0.1&y=0.05&level=3.5")
    assert app.window.places.is_expecting
    gates[str(files[0])].set()
    qtbot.waitUntil(
        lambda: app.window.failure_dialog is not None or app.viewport.scene.name == "a",  # type: ignore[union-attr]
        timeout=WAIT_MS,
    )
    assert (app.window.failure_dialog is not None) == fails
    gates[str(files[1])].set()
    qtbot.waitUntil(lambda: app.viewport.scene.name == "b", timeout=WAIT_MS)  # type: ignore[union-attr]
    here = app.window.places.here()
    assert (here.center_xy, here.level) == (pytest.approx((0.1, 0.05)), pytest.approx(3.5))
    assert not app.window.places.is_expecting


def test_a_view_of_one_run_is_not_taken_for_one_of_another(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    """Their checkpoints have one name; the folders tell them apart."""
    store, files = SettingsStore(tmp_path), []
    for run in ("stars", "waves"):
        (tmp_path / run).mkdir()
        (tmp_path / run / "state.resume").write_bytes(b"")
        files.append(tmp_path / run / "checkpoint.safetensors")
        files[-1].touch()
    app = make_app(store=store)
    until_exact(qtbot, app)
    places, seen = app.window.places, []
    for file in files:
        app.inference._opener = lambda path, *_: FakeSpace(identity=Path(path).parent.name)
        app.inference.open(OpenRequest(str(file)))
        qtbot.waitUntil(lambda f=file: app.viewport.scene.path == str(f), timeout=WAIT_MS)  # type: ignore[misc, union-attr]
        seen.append(places.here())
    assert [view.name for view in seen] == ["stars", "waves"]
    assert [places.is_here(view) for view in seen] == [False, True]
    assert [app.window.arrivals.find_scene(view) for view in seen] == list(map(str, files))
    assert [app.inference._name, app.inference._run_folder] == ["waves", str(tmp_path / "waves")]
    for view in seen:  # as they were called before
        old = replace(view, name="checkpoint")
        assert places.is_here(old) == (view is seen[1])
        assert places.is_here(replace(old, identity=""))
        assert places.is_here(replace(view, identity="of other weights")) == (view is seen[1])
    # A bookmark is of the scene that keeps it, whatever its weights were then.
    old = replace(seen[1], name="checkpoint", identity="of other weights", level=4.0)
    places.bookmarks.add(Bookmark("old", old))
    places.go_bookmark(0)
    qtbot.waitUntil(lambda: app.viewport.view_state.is_settled, timeout=WAIT_MS)
    assert places.here().level == pytest.approx(4.0)


def test_back_and_forward_return_the_latent_too(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app(FakeSpace(has_latents=True))
    until_exact(qtbot, app)
    places, stream = app.window.places, app.viewport.stream
    for seed, camera in ((3, A), (9, B)):
        view = StillView((camera.cx, camera.cy), 2.0 + camera.log2_zoom, seed=seed)
        places.bookmarks.add(Bookmark(str(seed), view))
    for index, seed in enumerate((3, 9)):
        places.go_bookmark(index)
        until_exact(qtbot, app)
        assert stream.seed == seed
    assert len(places.history) >= 2
    for step, seed in ((places.back, 3), (places.back, 0), (places.forward, 3)):
        step()
        assert app.viewport.view_state.is_flying and stream.seed == seed
        until_exact(qtbot, app)
    places.forward()
    places.back()  # amid the flight
    assert stream.seed == 3


def test_a_dropped_film_goes_to_its_first_frame(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    app = make_app()
    until_exact(qtbot, app)
    go(qtbot, app, A)
    view = app.window.places.here()
    path = json.loads(flight(A, B, 1.0).to_json())
    spec = FilmSpec((64, 48), 10.0, 3, metadata=film_fields(view, path, 1.0))
    record_film(tmp_path / "film.mp4", spec, lambda i: np.full((48, 64, 3), 40 * i, np.uint8))
    go(qtbot, app, B)
    assert drop(app.window, tmp_path / "film.mp4")
    until_at(qtbot, app, A)


def test_a_dropped_path_is_flown_and_a_dropped_link_is_gone_to(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    app = make_app()
    until_exact(qtbot, app)
    path = CameraPath((Keyframe(0.0, A), Keyframe(0.3, B)))
    (tmp_path / "path.json").write_text(path.to_json())
    assert drop(app.window, tmp_path / "path.json")
    assert app.viewport.view_state.is_flying
    until_at(qtbot, app, B)
    link = format_link(
        StillView((A.cx, A.cy), app.window.places.here().level - 1, name="night.fake")
    )
    assert drop(app.window, link)
    until_at(qtbot, app, A)
    assert not drop(app.window, "just words")
    (tmp_path / "broken.json").write_text('{"keyframes": 3}')
    assert drop(app.window, tmp_path / "broken.json")
    assert "keyframes" in app.window.notice.text()


def test_a_picture_with_odd_fields_is_opened_all_the_same(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    """A PNG may name a field in Latin-1; libvips wants UTF-8."""
    plain, odd = tmp_path / "plain.png", tmp_path / "odd.png"
    Image.new("RGB", (64, 64)).save(plain)
    data = "\u00dcberschrift".encode("latin-1") + b"\0text"
    chunk = b"tEXt" + data
    field = len(data).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    header = plain.read_bytes()
    odd.write_bytes(header[:33] + field + header[33:])  # after the signature and IHDR
    app = make_app()
    until_exact(qtbot, app)
    assert drop(app.window, odd)
    qtbot.waitUntil(lambda: app.inference.asked == str(odd), timeout=WAIT_MS)


def test_what_is_named_at_the_start_is_taken_like_what_is_dropped(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    """A data set is looked at beside the painting; a missing file is one message."""
    folder = tmp_path / "patches"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(folder / f"{number}.png")
    app = make_app(path=str(folder))
    until_exact(qtbot, app)
    assert app.inference.asked == str(shipped(PAINTING))
    assert app.window.panels["training"].isVisible()


def test_why_a_link_at_the_start_leads_nowhere_is_told(make_app: MakeApp, qtbot: QtBot) -> None:
    """Once the painting, which is opened in its place, does not say that it is being opened."""
    app = make_app(path="scalespace:elsewhere?x=0&y=0&level=3")
    notice = app.window.notice
    until_exact(qtbot, app)
    assert app.viewport.scene is not None and app.viewport.scene.path == str(shipped(PAINTING))
    assert "elsewhere is not at hand" in notice.text() and not notice.is_staying
    app.inference.open(OpenRequest("night.fake"))
    qtbot.waitUntil(lambda: app.viewport.scene.path == "night.fake", timeout=WAIT_MS)  # type: ignore[union-attr]
    assert "elsewhere" not in notice.text()


def test_of_several_dropped_files_one_is_taken_and_the_person_told(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    files = [tmp_path / f"{number}.fake" for number in range(3)]
    app = make_app()
    until_exact(qtbot, app)
    notice = app.window.notice
    said = "Of 3 that were dropped, 0.fake is taken"
    assert drop(app.window, *files)
    assert notice.text().startswith(said)
    qtbot.waitUntil(lambda: app.viewport.scene.path == str(files[0]), timeout=WAIT_MS)  # type: ignore[union-attr]
    assert notice.text().startswith(said) and not notice.is_staying  # not hidden by the opening
    assert drop(app.window, files[1])
    qtbot.waitUntil(lambda: app.viewport.scene.path == str(files[1]), timeout=WAIT_MS)  # type: ignore[union-attr]
    assert "dropped" not in notice.text()


def test_dropped_training_pictures_are_told_and_not_opened(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    app = make_app()
    until_exact(qtbot, app)
    told: list[str] = []
    opened: list[str] = []
    app.window.data_dropped.connect(told.append)
    app.window.open_requested.disconnect(app.open)
    app.window.open_requested.connect(opened.append)
    folder, octaves, run = tmp_path / "data", tmp_path / "octaves", tmp_path / "run"
    for each in (folder, octaves / "0", run):
        each.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    shutil.copy(folder / "a.png", octaves / "0" / "a.png")
    (run / "000100.safetensors").write_bytes(b"")
    (tmp_path / "data.zip").write_bytes(b"")
    (folder / "dataset.json").write_text("{}")
    for what in (folder, octaves, tmp_path / "data.zip", folder / "dataset.json"):
        assert drop(app.window, what)
    assert told == [str(folder), str(octaves), str(tmp_path / "data.zip"), str(folder)]
    assert app.window.panels["training"].isVisible() and not opened
    assert drop(app.window, run)
    assert opened == [str(run)]


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("scalespace-explorer render x --center 0.5 -1e-2 --level 3.5 --out y", 3.5),
        ("--level 4 --size 10 10 --center 0.5 -0.01", 4.0),
        ('{"center": [0.5, -0.01], "level": 2}', 2.0),
        ("look at <scalespace:night?x=0.5&y=-0.01&level=1>", 1.0),
    ],
)
def test_text_that_leads_somewhere(text: str, level: float) -> None:
    place = read_place(text)
    assert isinstance(place, StillView)
    assert place.center_xy == (0.5, -0.01) and place.level == level


@pytest.mark.parametrize("text", ["", "{", "[1]", "--center a b --level c", '{"view": 3}', "{}"])
def test_text_that_leads_nowhere(text: str) -> None:
    with pytest.raises(ViewError):
        read_place(text)
