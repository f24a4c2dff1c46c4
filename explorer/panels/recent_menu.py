"""The menu of what was opened lately."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QMenu

from explorer.settings import SettingsStore


class RecentMenu(QObject):
    """Keeps a menu full of the store's recent files."""

    def __init__(self, menu: QMenu, store: SettingsStore, open_: Callable[[str], object]) -> None:
        """Fill `menu` each time that it is shown; `open_` is called with the path chosen."""
        super().__init__(menu)
        self.menu = menu
        self._store = store
        self._open = open_
        menu.aboutToShow.connect(self.fill)

    def fill(self) -> None:
        """List what was opened; what is gone is grey."""
        self.menu.clear()
        for path in self._store.recent():
            entry = self.menu.addAction(Path(path).name.replace("&", "&&"))
            entry.setToolTip(path)
            entry.setEnabled(Path(path).exists())
            entry.triggered.connect(lambda _checked=False, p=path: self._open(p))
        self.menu.addSeparator()
        clear = self.menu.addAction(self.tr("Clear"))
        clear.setEnabled(bool(self._store.recent()))
        clear.triggered.connect(lambda _checked=False: self._store.clear_recent())
