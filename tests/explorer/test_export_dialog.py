"""The export dialog in a real window: what it asks for, and the process that does it."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from explorer import cli
from explorer.api import work_folder
from explorer.app import App
from explorer.camera import Camera
from explorer.panels.export_dialog import ExportDialog
from explorer.view_metadata import read_view
from model import open_scale_space
from model.scale import level_of_density
from tests.explorer.conftest import MakeApp

WAIT_MS = 120_000


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(5).integers(0, 256, (600, 900, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def opened(make_app: MakeApp, qtbot: QtBot, picture: Path) -> tuple[App, ExportDialog]:
    app = make_app(open_scale_space(picture), str(picture))
    qtbot.waitUntil(lambda: app.viewport.is_exact, timeout=WAIT_MS)
    QTest.keyClick(app.window, Qt.Key.Key_E, Qt.KeyboardModifier.ControlModifier)
    dialog = app.window.export_dialog
    assert dialog is not None and dialog.isVisible()
    return app, dialog


def choose(dialog: ExportDialog, suffix: str) -> None:
    dialog.format.setCurrentIndex(dialog.format.findData(suffix))


def deepen(app: App, dialog: ExportDialog) -> None:
    """Let the dialog take the scene for a deeper one."""
    assert app.viewport.scene is not None
    app.viewport.scene = replace(app.viewport.scene, level_range=(0.0, 12.0))
    app.viewport.scene_changed.emit(app.viewport.scene)


def until_idle(qtbot: QtBot, dialog: ExportDialog) -> None:
    qtbot.waitUntil(lambda: not dialog.is_busy, timeout=WAIT_MS)


def until_rendering(qtbot: QtBot, dialog: ExportDialog, out: Path) -> Path:
    """Wait until some strips of the export to `out` are there; the file that lists them."""
    journal = work_folder(out) / "strips.txt"
    qtbot.waitUntil(
        lambda: journal.exists() and journal.stat().st_size > 40 and dialog.bar.value() > 0,
        timeout=WAIT_MS,
    )
    return journal


def test_the_size_follows_the_level_and_what_is_asked_for(
    make_app: MakeApp, qtbot: QtBot, picture: Path
) -> None:
    app, dialog = opened(make_app, qtbot, picture)
    assert dialog.chosen_level() == open_scale_space(picture).level_range[1]
    assert dialog.pixel_size() == (900, 600)
    dialog.slider.setValue(16)
    assert dialog.level.value() == 2.0
    assert dialog.pixel_size() == (384, 256)
    assert "384 × 256 pixels, 0.1 megapixels" in dialog.pixels.text()
    dialog.level.setValue(1.3)
    assert dialog.slider.value() == 10 and dialog.level.value() == 1.3
    for field in (dialog.level, dialog.file):
        QTest.keyClick(field, Qt.Key.Key_Return)
    assert not dialog.is_busy
    app.viewport.view_state.jump_to(Camera(0.5, 0.0, 0.0))
    dialog.what.setCurrentIndex(1)
    box = dialog.box()
    assert box is not None
    width, height = app.viewport.view_state.size
    half_w, half_h = (0.5 * side / min(width, height) for side in (width, height))
    assert box == pytest.approx((0.5 - half_w, -half_h, 0.75, half_h))
    dialog.level.setValue(2.0)
    assert dialog.pixel_size() == (round((0.25 + half_w) * 256), round(2 * half_h * 256))
    app.viewport.view_state.jump_to(Camera(0.0, 0.0, 1.0))
    assert dialog.box() != box


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_the_file_is_that_of_the_command_line(
    make_app: MakeApp, qtbot: QtBot, picture: Path, folder: Path, suffix: str
) -> None:
    app, dialog = opened(make_app, qtbot, picture)
    app.viewport.view_state.jump_to(Camera(-0.1, 0.05, 0.25))
    dialog.what.setCurrentIndex(1)
    dialog.level.setValue(3.0)
    box = dialog.box()
    assert box is not None
    dialog.file.setText(str(folder / f"ours{suffix}"))
    choose(dialog, suffix)
    with qtbot.waitSignal(dialog.notice, timeout=WAIT_MS) as told:
        QTest.mouseClick(dialog.start_button, Qt.MouseButton.LeftButton)
        assert dialog.is_busy and dialog.stop_button.isVisible() and dialog.bar.isVisible()
        assert not dialog.start_button.isVisible() and not dialog.level.isEnabled()
    assert told.args == [f"Exported {folder / f'ours{suffix}'}"]
    assert "about 0:0" in dialog.cost.text() and "are free" in dialog.cost.text()
    theirs = folder / f"theirs{suffix}"
    options = ["--level", "3", "--box", *map(repr, box), "--out", str(theirs)]
    assert cli.run(["export", str(picture), *options]) == 0
    assert (folder / f"ours{suffix}").read_bytes() == theirs.read_bytes()
    view = read_view(theirs)
    assert view is not None and view.size == dialog.pixel_size()
    assert not dialog.start_button.isEnabled()
    assert "exists already" in dialog.disk.text()


def test_an_estimate_writes_nothing(
    make_app: MakeApp, qtbot: QtBot, picture: Path, folder: Path
) -> None:
    _, dialog = opened(make_app, qtbot, picture)
    dialog.file.setText(str(folder / "a.dzi"))
    dialog.slider.setValue(16)
    QTest.mouseClick(dialog.estimate_button, Qt.MouseButton.LeftButton)
    until_idle(qtbot, dialog)
    assert "384 x 256 pixels: about" in dialog.cost.text()
    assert dialog.cost.isVisible() and not dialog.state.isVisible()
    assert not list(folder.iterdir())


def test_a_stopped_export_goes_on_to_the_same_file(
    make_app: MakeApp, qtbot: QtBot, picture: Path, folder: Path
) -> None:
    app, dialog = opened(make_app, qtbot, picture)
    deepen(app, dialog)
    dialog.level.setValue(level_of_density(5000, 64))
    out = folder / "a.tif"
    dialog.file.setText(str(out))
    choose(dialog, ".tif")
    dialog.start()
    journal = until_rendering(qtbot, dialog, out)
    QTest.mouseClick(dialog.stop_button, Qt.MouseButton.LeftButton)
    until_idle(qtbot, dialog)
    assert "Resume goes on" in dialog.state.text() and not out.exists()
    assert dialog.start_button.text() == "Resume" and dialog.discard_button.isVisible()
    lines = journal.read_text().splitlines()
    QTest.mouseClick(dialog.start_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dialog.bar.value() > 0, timeout=WAIT_MS)
    assert journal.read_text().splitlines()[: len(lines)] == lines
    dialog.stop()
    until_idle(qtbot, dialog)
    QTest.mouseClick(dialog.discard_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not work_folder(out).exists(), timeout=WAIT_MS)
    dialog.refresh()
    assert dialog.start_button.text() == "Start" and not dialog.discard_button.isVisible()


def test_a_stopped_view_goes_on_wherever_the_view_is_now(
    make_app: MakeApp, qtbot: QtBot, picture: Path, folder: Path
) -> None:
    app, dialog = opened(make_app, qtbot, picture)
    deepen(app, dialog)
    app.viewport.view_state.jump_to(Camera(-0.1, 0.05, 0.25))
    dialog.what.setCurrentIndex(1)
    dialog.level.setValue(level_of_density(7000, 64))
    size, asked = dialog.pixel_size(), dialog.arguments()
    out = folder / "a.tif"
    dialog.file.setText(str(out))
    choose(dialog, ".tif")
    dialog.start()
    until_rendering(qtbot, dialog, out)
    dialog.stop()
    until_idle(qtbot, dialog)
    app.viewport.view_state.jump_to(Camera(0.2, 0.0, 1.0))
    dialog.what.setCurrentIndex(0)  # as after another start
    dialog.level.setValue(2.0)
    again = dialog.arguments()
    assert dialog.pixel_size() == size and not dialog.level.isEnabled()
    assert "stopped at level 6.77" in dialog.pixels.text()
    box = asked.index("--box")
    assert again[again.index("--box") :][:5] == asked[box : box + 5]
    assert again[again.index("--level") + 1] == asked[asked.index("--level") + 1]
    dialog.estimate()
    until_idle(qtbot, dialog)
    assert "about" in dialog.cost.text(), dialog.state.text()
    dialog.start()
    qtbot.waitUntil(lambda: dialog.bar.value() > 0 or not dialog.is_busy, timeout=WAIT_MS)
    assert dialog.is_busy, dialog.state.text()
    dialog.stop()
    until_idle(qtbot, dialog)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_process_that_is_killed_is_not_taken_for_what_it_said_last(
    make_app: MakeApp, qtbot: QtBot, picture: Path, folder: Path
) -> None:
    app, dialog = opened(make_app, qtbot, picture)
    deepen(app, dialog)
    dialog.level.setValue(level_of_density(5000, 64))
    dialog.file.setText(str(folder / "a.tif"))
    choose(dialog, ".tif")
    dialog.start()
    qtbot.waitUntil(lambda: dialog.bar.value() > 0, timeout=WAIT_MS)
    os.kill(dialog.process.processId(), signal.SIGKILL)
    until_idle(qtbot, dialog)
    assert "ended from outside" in dialog.state.text() and "are free" not in dialog.state.text()
    assert dialog.start_button.text() == "Resume"


@pytest.mark.parametrize(
    ("said", "code", "shown"),
    [
        ("scalespace-explorer: error: the disk is full.", 1, "the disk is full."),
        ("scalespace-explorer export: error: argument --level: no.", 2, "argument --level: no."),
        ("Traceback:\n  File x\nKeyError: 'box'", 1, "KeyError: 'box'"),
        ("", 3, "it ended with code 3"),
    ],
)
def test_why_an_export_ended_is_what_it_said_last(
    make_app: MakeApp,
    qtbot: QtBot,
    picture: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    code: int,
    shown: str,
) -> None:
    _, dialog = opened(make_app, qtbot, picture)
    dialog.file.setText(str(folder / "a.tif"))
    program = (
        f"import sys; sys.stderr.write('9 x 9: 9 GB are free.\\n' + {said!r}); sys.exit({code})"
    )
    start = dialog.process.start
    monkeypatch.setattr(dialog.process, "start", lambda *_: start(sys.executable, ["-c", program]))
    dialog.start()
    until_idle(qtbot, dialog)
    expected = shown if said else "9 x 9: 9 GB are free."
    assert dialog.state.text() == f"That did not work: {expected}"


def test_an_export_runs_no_module_of_the_folder_one_is_in(
    make_app: MakeApp,
    qtbot: QtBot,
    picture: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (folder / "model.py").write_text("raise RuntimeError('of somebody else')")
    monkeypatch.chdir(folder)
    _, dialog = opened(make_app, qtbot, picture)
    dialog.file.setText(str(folder / "a.tif"))
    dialog.slider.setValue(16)
    dialog.estimate()
    until_idle(qtbot, dialog)
    assert "384 x 256 pixels: about" in dialog.cost.text(), dialog.state.text()


def test_closing_the_window_ends_the_process(
    make_app: MakeApp, qtbot: QtBot, picture: Path, folder: Path
) -> None:
    app, dialog = opened(make_app, qtbot, picture)
    dialog.file.setText(str(folder / "a.tif"))
    dialog.start()
    assert dialog.is_busy
    app.window.close()
    assert not dialog.is_busy


def test_what_cannot_be_is_told(
    make_app: MakeApp,
    qtbot: QtBot,
    picture: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app, dialog = opened(make_app, qtbot, picture)
    dialog.file.setText(str(folder / "none" / "a.tif"))
    assert "does not exist" in dialog.disk.text() and not dialog.start_button.isEnabled()
    wanted = str(folder / "b.jpg")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_args: (wanted, ""))
    dialog.browse.click()
    assert dialog.file.text() == wanted and dialog.format.currentData() == ".jpg"
    assert dialog.start_button.isEnabled()
    deepen(app, dialog)
    dialog.file.setText(wanted)
    dialog.level.setValue(12.0)
    dialog.estimate()
    until_idle(qtbot, dialog)
    assert "a JPEG holds at most 65500 pixels a side" in dialog.state.text()
    app.viewport.view_state.jump_to(Camera(0.5, 0.0, 1.0))
    monkeypatch.setattr(app.viewport.view_state, "field_size", (0.01, 0.01))
    dialog.what.setCurrentIndex(1)
    assert dialog.box() is None and "nothing of the picture" in dialog.pixels.text()
    assert not dialog.start_button.isEnabled()
