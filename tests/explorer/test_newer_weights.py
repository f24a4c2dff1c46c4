"""Newer weights of a run are the same scene: what a person keeps and has begun stays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from explorer.app import App
from explorer.camera import Camera
from explorer.mailbox import Mailbox
from explorer.messages import OpenRequest, SceneInfo
from explorer.readout import color_at
from explorer.settings import SettingsStore
from explorer.training_messages import LiveSpace
from model.space import Window
from tests.explorer.conftest import MakeApp
from tests.explorer.fakes import FakeSpace

WAIT_MS = 30_000


class Learning:
    """A run that is `step` steps old, as the inference thread sees it."""

    def __init__(self, app: App, folder: Path, has_latents: bool = False) -> None:
        self.app, self.folder, self.step, self.has_latents = app, str(folder), 0, has_latents
        app.inference.live = self._live

    def _live(self, path: str) -> LiveSpace | None:
        if path != self.folder:
            return None
        space = FakeSpace(identity=f"run@{self.step}", has_latents=self.has_latents)
        return LiveSpace(space, self.step)

    def learn(self, qtbot: QtBot) -> None:
        """Show newer weights, and wait for their exact frame."""
        self.step += 100
        self.app.inference.open(OpenRequest(self.folder))
        viewport = self.app.viewport
        qtbot.waitUntil(
            lambda: viewport.scene is not None and viewport.scene.step == self.step, timeout=WAIT_MS
        )
        qtbot.waitUntil(lambda: viewport.is_exact, timeout=WAIT_MS)


def alike(one: NDArray[np.uint8] | None, other: NDArray[np.uint8] | None) -> bool:
    """Whether two pictures are of one latent: others differ by tens of levels."""
    assert one is not None and other is not None
    return float(np.abs(one.astype(int) - other).mean()) < 1


def info(identity: str, path: str, step: int | None = None, run: str = "") -> SceneInfo:
    return SceneInfo(
        identity, "x", path, 64, (1.0, 1.0), (0.0, 4.0), "cpu", False, step=step, run=run
    )


def test_what_continues_what() -> None:
    first, second = info("r@1", "r", 1, "/r"), info("r@2", "r", 2, "/r")
    ended, other = info("abc", "r/checkpoint.safetensors", None, "/r"), info("q@2", "q", 2, "/q")
    assert second.continues(first) and second.continues(ended)
    assert not any(s.continues(second) for s in (ended, other, info("abc", "x.png")))
    assert not second.continues(None)
    assert first.kept_as == second.kept_as == ended.kept_as == "/r" != other.kept_as
    assert first.kept_name == ended.kept_name == "r" and info("abc", "a/x.png").kept_as == "abc"


def test_bookmarks_history_a_recording_and_an_order_stay(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "stars"
    run.mkdir(parents=True)
    app = make_app(store=SettingsStore(tmp_path / "settings"))
    learning, places = Learning(app, run), app.window.places
    learning.learn(qtbot)
    app.viewport.view_state.jump_to(Camera(0.1, -0.05, 1.5))
    app.viewport.wake()
    qtbot.waitUntil(lambda: app.viewport.is_exact, timeout=WAIT_MS)
    places.note_here()
    places.add_bookmark("the moon")
    director = app.window.panels["director"]
    director.show()
    director.toggle_recording()
    flown = director._log
    app.window.show_export()
    dialog = app.window.export_dialog
    assert dialog is not None and flown is not None
    dialog.level.setValue(3.5)
    dialog.file.setText(str(tmp_path / "mine.tif"))
    views = len(places.history)
    assert views > 1
    learning.learn(qtbot)
    assert [places.bookmarks[i].name for i in range(len(places.bookmarks))] == ["the moon"]
    assert len(places.history) >= views and places.history.can_go_back
    assert director._log is flown
    assert dialog.level.value() == 3.5 and dialog.file.text() == str(tmp_path / "mine.tif")
    dialog.close()
    # The run is over, and another day its folder or its checkpoint is opened.
    (run / "state.resume").write_bytes(b"")
    app.inference.live = lambda _path: None
    for path in (run, run / "checkpoint.safetensors"):
        app.inference.open(OpenRequest("elsewhere.fake"))
        qtbot.waitUntil(lambda: app.viewport.scene.path == "elsewhere.fake", timeout=WAIT_MS)  # type: ignore[union-attr]
        assert not len(places.bookmarks) and not places.history.can_go_back
        app.inference.open(OpenRequest(str(path)))
        qtbot.waitUntil(lambda p=path: app.viewport.scene.path == str(p), timeout=WAIT_MS)  # type: ignore[misc, union-attr]
        assert [places.bookmarks[i].name for i in range(len(places.bookmarks))] == ["the moon"]


def test_newer_weights_amid_a_flight_back_leave_the_way_forward(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    app = make_app()
    learning = Learning(app, tmp_path / "run")
    places, state = app.window.places, app.viewport.view_state
    learning.learn(qtbot)
    there = Camera(0.1, -0.05, 3.0)
    state.jump_to(there)
    places.note_here()
    views = len(places.history)
    places.back()
    assert state.is_flying
    state._flight_speed = 0.01
    learning.step += 100
    app.inference.open(OpenRequest(learning.folder))
    qtbot.waitUntil(lambda: app.viewport.scene.step == learning.step, timeout=WAIT_MS)  # type: ignore[union-attr]
    assert state.is_flying
    assert len(places.history) == views and places.history.can_go_forward
    state._flight_speed = 100.0
    qtbot.waitUntil(lambda: app.viewport.is_exact, timeout=WAIT_MS)
    places.forward()
    qtbot.waitUntil(lambda: state.is_settled, timeout=WAIT_MS)
    assert state.displayed == there


class Flat(FakeSpace):
    """Everything in one grey, -1 to 1."""

    def __init__(self, grey: float) -> None:
        super().__init__(identity=f"grey {grey}")
        self.grey = grey

    def render(self, windows: Sequence[Window]) -> torch.Tensor:
        return torch.full_like(super().render(windows), self.grey)


def test_the_first_weights_of_a_run_are_no_newer_ones_of_what_was_open(
    make_app: MakeApp, qtbot: QtBot
) -> None:
    app = make_app(Flat(0.8))
    viewport, shown = app.viewport, list[tuple[int, int]]()
    qtbot.waitUntil(lambda: viewport.is_exact, timeout=WAIT_MS)
    there = Camera(0.1, -0.05, 1.5)
    viewport.view_state.jump_to(there)
    viewport.wake()
    qtbot.waitUntil(lambda: viewport.is_exact, timeout=WAIT_MS)

    def look() -> None:
        image = viewport.grabFramebuffer()
        colors = [image.pixelColor(x, y).red() for x in (20, 200, 380) for y in (20, 200)]
        shown.append((min(colors), max(colors)))

    app.inference.live = lambda _path: LiveSpace(Flat(-0.8), 100)
    viewport.scene_opened.connect(lambda _info: look())
    viewport.frame_painted.connect(look)
    look()
    assert shown[-1] == (230, 230)
    with qtbot.waitSignal(viewport.scene_opened, timeout=WAIT_MS):
        app.inference.open(OpenRequest("run"))
    assert viewport.view_state.displayed == there  # the place stays
    begin = len(shown) - 1
    viewport.view_state.jump_to(Camera(0.12, -0.05, 1.5))
    viewport.wake()
    qtbot.waitUntil(lambda: viewport.is_exact, timeout=WAIT_MS)
    assert max(high for _, high in shown[begin:]) < 40


def test_a_still_is_saved_of_whichever_weights_are_there(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    app = make_app()
    learning = Learning(app, tmp_path / "run")
    learning.learn(qtbot)
    before, after = tmp_path / "before.png", tmp_path / "after.png"
    learning.step += 100
    app.window.save_still(str(before))  # first in the queue
    app.inference.open(OpenRequest(learning.folder))
    qtbot.waitUntil(before.exists, timeout=WAIT_MS)
    app.viewport.setUpdatesEnabled(False)  # the window does not hear of the newer weights
    learning.step += 100
    app.inference.open(OpenRequest(learning.folder))
    qtbot.waitUntil(lambda: app.inference._space.identity == "run@300", timeout=WAIT_MS)  # type: ignore[union-attr]
    app.window.save_still(str(after))
    qtbot.waitUntil(after.exists, timeout=WAIT_MS)
    app.viewport.setUpdatesEnabled(True)
    assert app.window.failure_dialog is None


def test_what_cannot_be_opened_does_not_stop_the_run_from_being_shown(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    learning = Learning(app, tmp_path / "run")
    learning.learn(qtbot)

    def broken(path: str, device: str, precision: str) -> FakeSpace:
        raise ValueError(f"{path} is no picture.")

    monkeypatch.setattr(app.inference, "_opener", broken)
    app.inference.open(OpenRequest("broken.png"))
    qtbot.waitUntil(lambda: app.window.failure_dialog is not None, timeout=WAIT_MS)
    assert app.window.failure_dialog is not None
    app.window.failure_dialog.close()
    assert app.inference.asked == learning.folder and app.viewport.scene is not None
    assert app.viewport.scene.step == learning.step


class Negative(FakeSpace):
    """The fake in its negative's colours, and slow."""

    def render(self, windows: Sequence[Window]) -> torch.Tensor:
        return -super().render(windows)


def test_the_colour_under_the_cursor_is_of_the_weights_that_are_seen(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    learning, viewport = Learning(app, tmp_path / "run"), app.viewport
    learning.learn(qtbot)
    x, y = 200, 150
    before = color_at(viewport, x, y)
    newer = LiveSpace(Negative(identity="newer", pixels_per_s=2e5), 1000)
    monkeypatch.setattr(app.inference, "live", lambda _path: newer)
    app.inference.open(OpenRequest(learning.folder))
    qtbot.waitUntil(lambda: viewport.scene.step == 1000, timeout=WAIT_MS)  # type: ignore[union-attr]
    assert not viewport.is_exact and before is not None
    shown = viewport.grabFramebuffer().pixelColor(x, y)
    assert (shown.red(), shown.green(), shown.blue()) == pytest.approx(before, abs=1)
    assert color_at(viewport, x, y) == before
    qtbot.waitUntil(lambda: viewport.is_exact, timeout=WAIT_MS)
    assert color_at(viewport, x, y) == pytest.approx([255 - value for value in before], abs=2)


def test_newer_weights_lie_on_the_latent_that_is_shown(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    """The small picture below the tiles, which the minimap shows too."""
    app = make_app(FakeSpace(has_latents=True))
    learning = Learning(app, tmp_path / "run", has_latents=True)
    learning.learn(qtbot)
    viewport = app.viewport
    root = viewport.root
    app.window.places.seed_asked.emit(5)
    qtbot.waitUntil(lambda: viewport.root is not root and viewport.root_seed == 5, timeout=WAIT_MS)
    shown = viewport.root
    learning.step += 100
    app.inference.open(OpenRequest(learning.folder, seed=5))
    qtbot.waitUntil(lambda: viewport.scene.step == learning.step, timeout=WAIT_MS)  # type: ignore[union-attr]
    assert viewport.stream.seed == viewport.root_seed == 5
    assert alike(viewport.root, shown)
    # Chosen while they were opened: it is asked for afterwards.
    learning.step += 100
    app.inference.open(OpenRequest(learning.folder, seed=3))
    qtbot.waitUntil(lambda: viewport.scene.step == learning.step, timeout=WAIT_MS)  # type: ignore[union-attr]
    qtbot.waitUntil(lambda: viewport.root_seed == 5, timeout=WAIT_MS)
    assert alike(viewport.root, shown)


def test_only_the_newest_weights_wait_to_be_fetched() -> None:
    mailbox: Mailbox[object] = Mailbox(lambda: None)
    for result in ("a", 1, "b", 2):
        mailbox.put(result)
    mailbox.put(3, instead_of=(int,))
    assert mailbox.take() == ["a", "b", 3]


@pytest.mark.usefixtures("qapp")
def test_nothing_is_drawn_for_a_minimised_window(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from explorer.training_messages import WeightsReady
    from explorer.training_thread import TrainingThread
    from model.training_setup import Recipe

    app = make_app()
    desk, recipe = app.training, Recipe(str(tmp_path), str(tmp_path / "run"))
    thread = TrainingThread(recipe, lambda: None)
    shown: list[int] = []
    monkeypatch.setattr(desk, "_show_run", lambda: shown.append(1))
    desk._accept(thread, WeightsReady(recipe.folder, 1))
    assert len(shown) == 1
    app.inference.asked = recipe.folder
    app.window.setWindowState(Qt.WindowState.WindowMinimized)
    for step in range(2, 5):
        desk._accept(thread, WeightsReady(recipe.folder, step))
    assert len(shown) == 1
    app.window.setWindowState(Qt.WindowState.WindowNoState)
    assert len(shown) == 2  # once, for all of them
