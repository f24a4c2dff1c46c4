"""A second start hands its file to the first and ends."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from PySide6.QtNetwork import QLocalSocket
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from explorer.hand_over import SERVER_VARIABLE, HandOver, hand_over, server_name
from tests.explorer.conftest import MakeApp

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def name() -> str:
    """A meeting place of this test only."""
    return f"sse-test-{uuid.uuid4().hex[:12]}"


def start(name: str, code: str) -> subprocess.Popen[str]:
    """Another process of the same app."""
    environment = os.environ | {SERVER_VARIABLE: name, "QT_QPA_PLATFORM": "offscreen"}
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )


def test_a_path_a_link_and_nothing_arrive(qapp: QApplication, qtbot: QtBot, name: str) -> None:
    first = HandOver(name=name)
    assert first.is_listening
    heard: list[object] = []
    first.received.connect(heard.append)
    code = (
        "from explorer.hand_over import hand_over\n"
        "print([hand_over(p) for p in ('pictures/a b.png', 'scalespace:night?x=0', None)])"
    )
    second = start(name, code)
    qtbot.waitUntil(lambda: second.poll() is not None, timeout=30_000)
    assert second.communicate()[0].strip() == "[True, True, True]"
    assert heard == [str(ROOT / "pictures" / "a b.png"), "scalespace:night?x=0", None]
    first.close()
    assert not hand_over("x.png", name)


def test_nobody_there_is_told_at_once(qapp: QApplication, name: str) -> None:
    assert not hand_over("x.png", name)


def test_a_window_does_not_take_the_place_of_another(
    qapp: QApplication, qtbot: QtBot, name: str
) -> None:
    """A start with --device opens a window of its own, and the first one is still the first."""
    first = HandOver(name=name)
    other = HandOver(name=name)
    assert first.is_listening and not other.is_listening
    heard: list[object] = []
    first.received.connect(heard.append)
    second = start(name, "from explorer.hand_over import hand_over\nprint(hand_over(None))")
    qtbot.waitUntil(lambda: second.poll() is not None, timeout=30_000)
    assert second.communicate()[0].strip() == "True" and heard == [None]
    other.listen()
    assert not other.is_listening
    first.close()
    other.listen()  # as it does when one comes back to it
    assert other.is_listening and not HandOver(name=name).is_listening
    other.close()


def test_the_setting_is_in_effect_at_once(
    make_app: MakeApp, qtbot: QtBot, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SERVER_VARIABLE, name)
    app = make_app()
    qtbot.waitUntil(lambda: app.viewport.is_exact, timeout=30_000)

    def is_reached() -> bool:
        socket = QLocalSocket()
        socket.connectToServer(name)
        reached = socket.waitForConnected(5000)
        socket.abort()
        return reached

    app.window._set(single_window=False)
    app.listen()
    assert not is_reached()
    for on in (True, False, True):
        app.window._set(single_window=on)
        assert is_reached() == on
    app.close()
    assert not is_reached()


def test_nonsense_is_not_believed(qapp: QApplication, qtbot: QtBot, name: str) -> None:
    first = HandOver(name=name)
    heard: list[object] = []
    first.received.connect(heard.append)
    for line in (b"hello\n", b'{"open": 3}\n', b"[]\n", b"x" * 200_000):
        socket = QLocalSocket()
        socket.connectToServer(name)
        assert socket.waitForConnected(5000)
        socket.write(line)
        socket.flush()
        qtbot.waitUntil(
            lambda s=socket: s.state() == QLocalSocket.LocalSocketState.UnconnectedState,
            timeout=10_000,
        )
    assert heard == []
    first.close()


def test_windows_on_different_displays_do_not_meet() -> None:
    one, two = server_name({"DISPLAY": ":1"}), server_name({"DISPLAY": ":2"})
    assert one != two and one == server_name({"DISPLAY": ":1"})
    assert server_name({SERVER_VARIABLE: "mine"}) == "mine"
