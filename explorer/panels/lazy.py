"""Panels that are made when they are first wanted: what they import does not delay the start."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt
from PySide6.QtWidgets import QDockWidget

if TYPE_CHECKING:
    from explorer.main_window import MainWindow

Factory = Callable[["MainWindow"], QDockWidget]

FACTORIES: dict[str, tuple[Factory, Qt.DockWidgetArea]] = {}
"""By the name of the checkable action that shows the panel: who makes it, and where it goes."""


class LazyPanels(QObject):
    """The panels of one window, each shown and hidden by the action of its name."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._made: dict[str, QDockWidget] = {}

    def __contains__(self, name: str) -> bool:
        """Whether the panel was made already."""
        return name in self._made

    def __getitem__(self, name: str) -> QDockWidget:
        """The panel; made now if it was not wanted before."""
        if name not in self._made:
            factory, area = FACTORIES[name]
            panel = factory(self._window)
            self._window.add_panel(panel, area)
            self._window.restoreDockWidget(panel)
            panel.hide()
            action = self._window.actions_by_id[name]
            panel.visibilityChanged.connect(lambda _on: action.setChecked(not panel.isHidden()))
            self._made[name] = panel
        return self._made[name]

    def slots(self) -> dict[str, Callable[[], object]]:
        """What the panels' actions do."""
        return {name: lambda name=name: self._toggle(name) for name in FACTORIES}  # type: ignore[misc]

    def _toggle(self, name: str) -> None:
        panel = self[name]
        panel.setVisible(panel.isHidden())
        if not panel.isHidden():
            panel.raise_()
