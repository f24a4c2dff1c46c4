"""The app under test: a real window on a real OpenGL context, over a formula."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from explorer.app import App, build_app, prepare_surface
from explorer.config import AppConfig, StreamingConfig
from explorer.settings import SettingsStore
from tests.explorer.fakes import FakeSpace

MakeApp = Callable[..., App]


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test caches is its own, and a person's debugging changes no message."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SCALESPACE_DEBUG", raising=False)


@pytest.fixture(scope="session")
def display() -> None:
    """Skip where there is no display: Qt would abort the whole run."""
    shown = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.platform.startswith("linux") and not shown:
        pytest.skip("no display; run the tests with xvfb-run, as `make test` does")


@pytest.fixture(scope="session")
def qapp_cls(display: None) -> type[QApplication]:
    """The application, asked for the surface that the viewport needs."""
    prepare_surface()
    return QApplication


@pytest.fixture
def make_app(qapp: QApplication, qtbot: QtBot) -> Iterator[MakeApp]:
    """Start the app over a fake space, wait for its first frame; closed when the test ends."""
    made: list[App] = []

    def make(
        space: FakeSpace | Exception | None = None,
        path: str = "night.fake",
        store: SettingsStore | None = None,
        window_size: tuple[int, int] = (480, 400),
    ) -> App:
        def open_it(path: str, device: str, precision: str) -> FakeSpace:
            if isinstance(space, Exception):
                raise space
            return space or FakeSpace()

        streaming = StreamingConfig(worker_niceness=0)
        config = AppConfig(streaming=streaming, window_size=window_size)
        app = build_app(path, "cpu", config=config, opener=open_it, store=store)
        made.append(app)
        app.start()
        qtbot.waitExposed(app.window)
        # Shortcuts reach active windows only, and no window manager may be there to activate it.
        app.window.activateWindow()
        qtbot.waitUntil(
            lambda: app.window.isActiveWindow() or app.window.failure_dialog is not None,
            timeout=10_000,
        )
        return app

    yield make
    for app in made:
        app.close()
        assert not app.inference.is_alive
        app.window.deleteLater()
    qapp.processEvents()
