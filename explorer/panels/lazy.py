"""Panels that are made when they are first wanted: what they import does not delay the start."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QDockWidget

if TYPE_CHECKING:
    from explorer.main_window import MainWindow

Factory = Callable[["MainWindow"], QDockWidget]


def _lens(window: MainWindow) -> QDockWidget:
    from explorer.panels.lens_panel import LensPanel

    return LensPanel(window)


def _xray(window: MainWindow) -> QDockWidget:
    from explorer.panels.xray_panel import XrayPanel

    return XrayPanel(window)


def _training(window: MainWindow) -> QDockWidget:
    from explorer.panels.training_panel import TrainingPanel

    return TrainingPanel(window)


def _director(window: MainWindow) -> QDockWidget:
    from explorer.panels.director_panel import DirectorPanel

    return DirectorPanel(window)


def _latents(window: MainWindow) -> QDockWidget:
    from explorer.panels.latents_panel import LatentsPanel

    panel = LatentsPanel(window.viewport, window.store.stars_folder, window)
    panel.seed_asked.connect(window.places.seed_asked)
    panel.seed_dragged.connect(window.places.seed_dragged)
    panel.notice.connect(window.show_notice)
    return panel


FACTORIES: dict[str, tuple[Factory, Qt.DockWidgetArea]] = {
    "training": (_training, Qt.DockWidgetArea.RightDockWidgetArea),
    "director": (_director, Qt.DockWidgetArea.BottomDockWidgetArea),
    "latents": (_latents, Qt.DockWidgetArea.RightDockWidgetArea),
    "lens": (_lens, Qt.DockWidgetArea.RightDockWidgetArea),
    "xray": (_xray, Qt.DockWidgetArea.RightDockWidgetArea),
}
"""By the name of the checkable action that shows the panel: who makes it, and where it goes."""
METHODS: dict[str, tuple[str, str]] = {
    "add_key": ("director", "add_here"),
    "record_flight": ("director", "toggle_recording"),
    "tour": ("director", "fly_tour"),
}
"""By the name of an action that a panel does: the panel's name, and its method."""


class LazyPanels(QObject):
    """The panels of one window, each shown and hidden by the action of its name."""

    made = Signal(str, object)
    """A panel was made: its name and the panel."""

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
            self.made.emit(name, panel)
        return self._made[name]

    def slots(self) -> dict[str, Callable[[], object]]:
        """What the panels' actions do."""
        slots: dict[str, Callable[[], object]] = {}
        for name in FACTORIES:
            slots[name] = lambda name=name: self._toggle(name)  # type: ignore[misc]
        for action, (name, method) in METHODS.items():
            slots[action] = lambda n=name, m=method: getattr(self[n], m)()  # type: ignore[misc]
        return slots

    def _toggle(self, name: str) -> None:
        panel = self[name]
        panel.setVisible(panel.isHidden())
        if not panel.isHidden():
            panel.raise_()
