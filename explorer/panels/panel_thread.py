"""A side thread whose results arrive as Qt signals, and which ends with the window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, Signal

from explorer.side_thread import Handler, SideThread

if TYPE_CHECKING:
    from explorer.main_window import MainWindow


class PanelThread(QObject):
    """Ask from the GUI thread; `came` is emitted there."""

    came = Signal(object)
    """A result, or a `Failure` without a title."""
    _rung = Signal()

    def __init__(self, name: str, handlers: Mapping[type, Handler], window: MainWindow) -> None:
        """`name` is the thread's; `handlers` as `SideThread` takes them."""
        super().__init__(window)
        self.side = SideThread(
            name, self._rung.emit, handlers, window.config.streaming.worker_niceness
        )
        self._rung.connect(self._take, Qt.ConnectionType.QueuedConnection)
        window.closed.connect(self.stop)

    def ask(self, request: object) -> None:
        """Replace the waiting request of the same type. Never blocks."""
        self.side.ask(request)

    def stop(self) -> None:
        """End the thread; waits for the piece of work under way."""
        self.side.stop()

    def _take(self) -> None:
        for result in self.side.take_results():
            self.came.emit(result)
