"""A monkey at the window, in short: `python -m benchmarks.monkey` is the whole of it."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QTimer, qWarning
from pytestqt.qtbot import QtBot

from benchmarks.mischief import EXCLUDED, Mischief
from benchmarks.monkey import MEMORY_SHARE, Monkey, verdict
from benchmarks.props import Props
from benchmarks.watching import Watch
from explorer.actions import ACTIONS
from explorer.app import App
from explorer.training_thread import BesideConfig
from tests.explorer.conftest import MakeApp
from tests.explorer.fakes import FakeSpace
from tests.explorer.training_sets import recipe_for, small_presets

WAIT_MS = 60_000
STEPS = 100


@pytest.fixture
def watch(qapp: object) -> Iterator[Watch]:
    watch = Watch()
    yield watch
    watch.stop()


@pytest.fixture
def app(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, qtbot: QtBot
) -> Iterator[App]:
    """A window whose home is a folder of the test's."""
    for variable in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    small_presets(monkeypatch)
    app = make_app(FakeSpace(has_latents=True))
    app.training.config = BesideConfig(publish_s=0.3, niceness=0, threads=1)
    qtbot.waitUntil(lambda: app.viewport.is_exact, timeout=WAIT_MS)
    yield app


@pytest.mark.parametrize("trains", [False, True], ids=["off", "training"])
def test_nothing_breaks_and_nothing_is_left(
    app: App, watch: Watch, tmp_path: Path, trains: bool
) -> None:
    chance = random.Random(3)
    props = Props(tmp_path / "props", ["night.fake", "day.fake"])
    monkey = Monkey(Mischief(app, props, chance), watch, chance)
    monkey.pauses_ms = (0, 0, 5, 20)
    if trains:
        app.training.begin(recipe_for(props.patches, tmp_path / "run"))
    try:
        monkey.do_all([monkey.mischief.action(name) for name in monkey.mischief.action_names])
        monkey.play(STEPS)
    finally:
        monkey.mischief.close()
    done = monkey.tally.done
    assert monkey.tally.steps >= STEPS + len(ACTIONS) - len(EXCLUDED)
    assert all(done[f"action {action.id}"] for action in ACTIONS if action.id not in EXCLUDED)
    app.close()
    assert not watch.exceptions and not watch.complaints


def test_the_watch_sees_exceptions_warnings_and_gaps(watch: Watch, qtbot: QtBot) -> None:
    watch.doing(7, "mischief")

    def fail() -> None:
        raise RuntimeError("of mischief")

    watch._uncaught(*_raised(fail))
    qWarning("a warning")
    QTimer.singleShot(0, lambda: _spin(0.15))
    qtbot.waitUntil(lambda: watch.longest_s > 0.1, timeout=WAIT_MS)
    assert "step 7, mischief" in watch.exceptions[0] and "of mischief" in watch.exceptions[0]
    assert watch.complaints == ["step 7, mischief: a warning"]
    assert watch.gaps[0].during == "mischief" and watch.gaps[0].cpu_s > 0.01


def test_the_verdict_names_what_does_not_hold() -> None:
    report = {
        "exceptions": [], "qt_warnings": [], "longest_gap_s": 0.4, "rss_growth": 0.01,
        "threads_left": [], "qthreads_left": 0, "processes_left": [], "actions": {"open": 3},
    }  # fmt: skip
    assert all(verdict(report).values())
    for key, value in (
        ("exceptions", ["one"]),
        ("qt_warnings", ["one"]),
        ("longest_gap_s", 1.2),
        ("rss_growth", 2 * MEMORY_SHARE),
        ("threads_left", ["doctor"]),
        ("actions", {"open": 0}),
    ):
        assert sum(not holds for holds in verdict(report | {key: value}).values()) == 1


def _raised(act: object) -> tuple[type[BaseException], BaseException, None]:
    try:
        act()  # type: ignore[operator]
    except RuntimeError as error:
        return type(error), error, None
    raise AssertionError("it was to raise")


def _spin(seconds: float) -> None:
    """Hold the event loop up."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass
