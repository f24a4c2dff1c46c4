"""One window for all: a second start hands what it was to open to the first, and ends."""

from __future__ import annotations

import getpass
import hashlib
import json
import logging
import os
from collections.abc import Mapping

from PySide6.QtCore import QObject, Signal
from PySide6.QtNetwork import QLocalServer, QLocalSocket

log = logging.getLogger(__name__)
SERVER_VARIABLE = "SCALESPACE_EXPLORER_SERVER"
"""Environment variable: another name for the meeting place, for tests."""
_TIMEOUT_MS = 1500
_MAX_BYTES = 1 << 16
_DONE = b"done\n"


def server_name(environment: Mapping[str, str] = os.environ) -> str:
    """Where the windows of one person on one display meet."""
    named = environment.get(SERVER_VARIABLE)
    if named:
        return named
    display = environment.get("WAYLAND_DISPLAY") or environment.get("DISPLAY") or ""
    try:
        person = getpass.getuser()
    except (OSError, KeyError):
        person = ""
    digest = hashlib.sha256(f"{person} {display}".encode()).hexdigest()[:16]
    return f"scalespace-explorer-{digest}"


def hand_over(path: str | None, name: str | None = None) -> bool:
    """Give `path` (None: nothing, only come to the front) to the app that runs, if one does.

    Returns:
        Whether it took it; this process has nothing left to do then.
    """
    socket = QLocalSocket()
    socket.connectToServer(name or server_name())
    if not socket.waitForConnected(_TIMEOUT_MS):
        return False
    message = {"open": None if path is None else _whole(path)}
    socket.write(json.dumps(message).encode() + b"\n")
    answered = socket.waitForReadyRead(_TIMEOUT_MS)
    done = answered and bytes(socket.readAll().data()) == _DONE
    socket.disconnectFromServer()
    return done


def _whole(path: str) -> str:
    """The path as seen from anywhere; a link stays as it is."""
    return path if path.startswith("scalespace:") else os.path.abspath(path)


def _is_taken(name: str) -> bool:
    """Whether somebody listens there."""
    socket = QLocalSocket()
    socket.connectToServer(name)
    taken = socket.waitForConnected(_TIMEOUT_MS)
    socket.abort()
    return taken


class HandOver(QObject):
    """The first window's side: listens until it is closed. Where another one does, it does not."""

    received = Signal(object)
    """What another start was to open: a path or a link; None: nothing but to come to the front."""

    def __init__(self, parent: QObject | None = None, name: str | None = None) -> None:
        super().__init__(parent)
        self._server = QLocalServer(self)
        self._server.setSocketOptions(QLocalServer.SocketOption.UserAccessOption)
        self._server.newConnection.connect(self._accept)
        self._name = name or server_name()
        self.listen()

    def listen(self) -> None:
        """Be reachable, unless another window is: to listen would take the place from it."""
        if self.is_listening or _is_taken(self._name):
            return
        if not self._server.listen(self._name):
            # Nobody answers at this name: a crash left it behind.
            QLocalServer.removeServer(self._name)
            if not self._server.listen(self._name):
                log.info("No hand-over between windows: %s", self._server.errorString())

    @property
    def is_listening(self) -> bool:
        """Whether another start can reach this window."""
        return self._server.isListening()

    def close(self) -> None:
        """Be reachable no more."""
        self._server.close()

    def _accept(self) -> None:
        while (socket := self._server.nextPendingConnection()) is not None:
            socket.readyRead.connect(lambda s=socket: self._read(s))
            socket.disconnected.connect(socket.deleteLater)
            if socket.bytesAvailable():
                self._read(socket)

    def _read(self, socket: QLocalSocket) -> None:
        if not socket.canReadLine():
            if socket.bytesAvailable() > _MAX_BYTES:
                socket.abort()
            return
        try:
            path = json.loads(bytes(socket.readLine(_MAX_BYTES).data()))["open"]
        except (ValueError, TypeError, KeyError):
            socket.abort()
            return
        if path is not None and not isinstance(path, str):
            socket.abort()
            return
        socket.write(_DONE)
        socket.flush()
        self.received.emit(path)
