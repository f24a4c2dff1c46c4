"""The main window: it puts viewport, menus, panels and overlays together, and says what happens."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QGuiApplication, QResizeEvent
from PySide6.QtWidgets import QApplication, QDockWidget, QMainWindow, QMessageBox

from explorer.actions import ActionSet
from explorer.arrivals import Arrivals
from explorer.camera_path import flight
from explorer.config import AppConfig
from explorer.messages import Failure, Progress, Result, SceneInfo, StillRequest, StillSaved
from explorer.panels.bookmarks_panel import BookmarksPanel
from explorer.panels.commands import window_commands
from explorer.panels.file_dialogs import choose_file, choose_flight, choose_folder, choose_still
from explorer.panels.hud import Hud
from explorer.panels.keys_sheet import KeysSheet
from explorer.panels.lazy import LazyPanels
from explorer.panels.notices import FailureBox, Notice, show_text
from explorer.panels.overlays import Minimap, ScaleBar
from explorer.panels.palette import Command, Palette
from explorer.panels.recent_menu import RecentMenu
from explorer.panels.settings_dialog import SettingsDialog
from explorer.panels.status_line import StatusLine
from explorer.places import Places
from explorer.preview import millimetres_per_unit
from explorer.report import report
from explorer.settings import Settings, SettingsStore, system_reduces_motion
from explorer.shipped import SCENES
from explorer.stills import STILL_FORMATS
from explorer.theme import apply_theme
from explorer.view_state import Camera, fit_camera
from explorer.viewport import Viewport

if TYPE_CHECKING:
    from explorer.panels.export_dialog import ExportDialog

_DOCKS_VERSION = 1


class MainWindow(QMainWindow):
    """Everything around the picture."""

    open_requested = Signal(str)
    """A path to open."""
    data_dropped = Signal(str)
    """A folder or an archive of training pictures has come."""
    training_asked = Signal()
    continue_asked = Signal()
    """Train on the image that is open."""
    settings_changed = Signal(object)
    """Other `Settings` are in effect."""
    closed = Signal()
    """The window is about to close."""

    def __init__(
        self,
        viewport: Viewport,
        config: AppConfig | None = None,
        store: SettingsStore | None = None,
    ) -> None:
        super().__init__()
        self.config = config or AppConfig()
        self.store = store or SettingsStore()
        self.settings = self.store.load()
        self.viewport = viewport
        self.setCentralWidget(viewport)
        self.setWindowTitle("ScaleSpace Explorer")
        self.resize(*self.config.window_size)
        self.setAcceptDrops(True)
        self.setDockOptions(self.dockOptions() & ~QMainWindow.DockOption.AnimatedDocks)
        self.places = Places(viewport, self.store.bookmarks_folder)
        self.arrivals = Arrivals(self.places, self.store.recent)
        self.actions_by_id = ActionSet(self)
        self._make_widgets()
        self.panels = LazyPanels(self)
        self.actions_by_id.add_all({**self._slots(), **self.panels.slots()})
        file = self.actions_by_id.menu("&File")
        recent = self.actions_by_id.menu("&File/Open &recent")
        file.insertMenu(file.actions()[2], recent)
        self.recent_menu = RecentMenu(recent, self.store, self.open_requested.emit)
        self._connect()
        self.apply_settings(self.settings)

    def _make_widgets(self) -> None:
        """Everything in the window beside the viewport."""
        viewport = self.viewport
        self.status_line = StatusLine(viewport, self)
        self.status_line.setAccessibleName(self.tr("Status line"))
        self.setStatusBar(self.status_line)
        self.minimap = Minimap(viewport)
        self.scale_bar = ScaleBar(viewport)
        self.hud = Hud(viewport)
        self.keys_sheet = KeysSheet(viewport, self.actions_by_id)
        self.palette_sheet = Palette(viewport, self._commands)
        self.notice = Notice(viewport)
        self.failure_box = FailureBox(self)
        self.bookmarks_panel = BookmarksPanel(self)
        self.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self.bookmarks_panel)
        self.bookmarks_panel.hide()
        self._once_open = ("", "")
        self._told_unkept = False
        self.settings_dialog: SettingsDialog | None = None
        self.export_dialog: ExportDialog | None = None

    def _slots(self) -> dict[str, Callable[[], object]]:
        """What each action of the registry does."""
        places = self.places
        return {
            "open": lambda: self._take(choose_file(self)),
            "open_folder": lambda: self._take(choose_folder(self)),
            "save_still": self.ask_still,
            "export": self.show_export,
            "copy_picture": places.copy_picture,
            "copy_view": places.copy_link,
            "copy_command": places.copy_options,
            "paste_view": places.paste,
            "settings": self.show_settings,
            "quit": self.close,
            "whole": places.fly_home,
            "zoom_in": lambda: self._zoom(1.0),
            "zoom_out": lambda: self._zoom(-1.0),
            "box_zoom": self.viewport.arm_box,
            "fall": self.toggle_fall,
            "minimap": lambda: self._set(minimap=self.actions_by_id["minimap"].isChecked()),
            "scale_bar": lambda: self._set(scale_bar=self.actions_by_id["scale_bar"].isChecked()),
            "hud": lambda: self.hud.setVisible(self.actions_by_id["hud"].isChecked()),
            "theme_system": lambda: self._set(theme="system"),
            "theme_dark": lambda: self._set(theme="dark"),
            "theme_light": lambda: self._set(theme="light"),
            "status_line": self._toggle_status,
            "full_screen": self.toggle_full_screen,
            "back": places.back,
            "forward": places.forward,
            "add_bookmark": places.add_bookmark,
            "bookmarks": self._toggle_bookmarks,
            "play_path": lambda: self._take(choose_flight(self)),
            "train_image": self.training_asked.emit,
            "continue_run": self.continue_asked.emit,
            "palette": self.palette_sheet.open,
            "keys": self.keys_sheet.toggle,
            "copy_report": self.copy_report,
            "about": self.show_about,
            "sample_patches": self.arrivals.take_samples,
            **{id: partial(self.arrivals.take_shipped, file) for id, file in SCENES.items()},
            "escape": self._on_escape,
        }

    def _connect(self) -> None:
        viewport, places, panel = self.viewport, self.places, self.bookmarks_panel
        viewport.scene_opened.connect(self._on_opened)
        viewport.message_received.connect(self._on_message)
        viewport.gl_failed.connect(self._on_gl_failed)
        self.status_line.ticked.connect(self._tick)
        places.notice.connect(self.show_notice)
        places.bookmarks_changed.connect(lambda: panel.show_bookmarks(places.bookmarks))
        places.history_changed.connect(self._show_history)
        panel.go_asked.connect(places.go_bookmark)
        panel.add_asked.connect(places.add_bookmark)
        panel.failed.connect(self.show_notice)
        panel.visibilityChanged.connect(
            lambda _shown: self.actions_by_id["bookmarks"].setChecked(not panel.isHidden())
        )
        self.arrivals.open_asked.connect(self.open_requested)
        self.arrivals.notice.connect(self.show_notice)
        self.arrivals.data_dropped.connect(self.data_dropped)
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._system_theme_changed)
        self._show_history()

    # Settings.

    def _set(self, **changes: Any) -> None:
        """Change some settings."""
        self.apply_settings(replace(self.settings, **changes))

    def apply_settings(self, settings: Settings) -> None:
        """Let `settings` take effect, and keep them."""
        changed = settings != self.settings
        if changed and not self.store.save(settings) and not self._told_unkept:
            self._told_unkept = True
            self.show_notice(
                self.tr("Settings are not kept: {0} cannot be written.").format(self.store.folder)
            )
        self.settings = settings
        self._apply_theme()
        camera = settings.camera(self.config.camera, system_reduces_motion())
        self.viewport.view_state.config = camera
        has_scene = self.viewport.scene is not None
        self.minimap.setVisible(settings.minimap and has_scene)
        self.scale_bar.setVisible(settings.scale_bar and has_scene)
        for name in ("minimap", "scale_bar"):
            self.actions_by_id[name].setChecked(getattr(settings, name))
        self.actions_by_id[f"theme_{settings.theme}"].setChecked(True)
        if self.settings_dialog is not None:
            self.settings_dialog.set_settings(settings)
        if changed:
            self.settings_changed.emit(settings)

    def _apply_theme(self) -> None:
        app = QApplication.instance()
        if isinstance(app, QApplication):
            self.viewport.set_wall(apply_theme(app, self.settings.theme).wall_rgb)

    def _system_theme_changed(self) -> None:
        if self.settings.theme == "system":
            self._apply_theme()

    def show_settings(self) -> None:
        """The settings, in effect as they are changed."""
        if self.settings_dialog is None:
            self.settings_dialog = SettingsDialog(self.settings, self)
            self.settings_dialog.changed.connect(self.apply_settings)
        self.settings_dialog.show()
        self.settings_dialog.raise_()

    def restore(self) -> None:
        """Size, place and docks as they were when the window was last closed."""
        state = self.store.window_state()
        if state is not None:
            self.restoreGeometry(state[0])
            self.restoreState(state[1], _DOCKS_VERSION)

    def add_panel(self, panel: QDockWidget, area: Qt.DockWidgetArea) -> None:
        """Put another panel into the window; it needs an object name, to be restored."""
        if not panel.objectName():
            raise ValueError(f"a panel must have an object name, {panel.windowTitle()!r} has none.")
        self.addDockWidget(area, panel)
        panel.hide()

    # Actions.

    def _commands(self) -> list[Command]:
        """What the palette offers."""
        recent, open_ = self.store.recent(), self.open_requested.emit
        return window_commands(self.actions_by_id, self.places, recent, open_)

    def _zoom(self, octaves: float) -> None:
        """Zoom, eased, about the middle of the viewport."""
        state = self.viewport.view_state
        notches = octaves / state.config.notch_octaves
        state.wheel(notches, state.size[0] / 2, state.size[1] / 2, time.perf_counter())
        self.viewport.wake()

    def _take(self, path: str) -> None:
        """Open or play what was chosen; an empty text is nothing."""
        if path:
            self.arrivals.take(path)

    def ask_still(self) -> None:
        """Let the person choose where the still goes."""
        scene = self.viewport.scene
        file = "" if scene is None else choose_still(self, scene.name)
        if file:
            self.save_still(file)

    def save_still(self, file: str) -> None:
        """Render the visible part of the picture and save it; it carries its view."""
        scene, exact = self.viewport.scene, self.viewport.current_exact()
        if scene is None or exact is None:
            self.show_notice(self.tr("There is nothing of the picture in view."))
            return
        if Path(file).suffix.lower() not in STILL_FORMATS:
            file += ".png"  # `ask_still` has named it already
        here = self.places.here().to_json()
        view = {key: here[key] for key in ("center", "level", "size")}
        self.viewport.inference.save_still(
            StillRequest(
                scene.identity, exact, file, self.viewport.stream.seed, view, run=scene.run
            )
        )

    def show_export(self) -> None:
        """What to export, how fine and where to; it runs beside the window."""
        if self.export_dialog is None:
            from explorer.panels.export_dialog import ExportDialog

            self.export_dialog = ExportDialog(self.viewport, self)
            self.export_dialog.notice.connect(self.show_notice)
            self.closed.connect(self.export_dialog.end)
        self.export_dialog.show()
        self.export_dialog.raise_()

    def toggle_fall(self) -> None:
        """Fall from here to the finest level and back, or stop falling."""
        state = self.viewport.view_state
        if state.is_flying:
            self.viewport.stop_path()
            return
        here, deepest = state.displayed, state.zoom_limits[1]
        if here.log2_zoom > deepest - 0.5:
            there = fit_camera(state.field_size, state.size)
        else:
            there = Camera(here.cx, here.cy, deepest)
        seconds = max(2.0, 1.6 * abs(there.log2_zoom - here.log2_zoom))
        self.viewport.play_path(flight(here, there, seconds))

    def toggle_full_screen(self) -> None:
        """Only the picture, or everything again."""
        self.set_full_screen(not self.isFullScreen())

    def set_full_screen(self, on: bool) -> None:
        """Without borders, menu and status line, or with them; then as large as it was."""
        full = Qt.WindowState.WindowFullScreen
        self.setWindowState(self.windowState() | full if on else self.windowState() & ~full)

    def changeEvent(self, event: QEvent) -> None:
        """Full screen is entered and left by the system too."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.WindowStateChange:
            on = self.isFullScreen()
            self.menuBar().setVisible(not on)
            shown = self.actions_by_id["status_line"].isChecked()
            self.status_line.setVisible(not on and shown)

    def _toggle_status(self) -> None:
        self.status_line.setVisible(self.actions_by_id["status_line"].isChecked())

    def _toggle_bookmarks(self) -> None:
        self.bookmarks_panel.setVisible(self.actions_by_id["bookmarks"].isChecked())

    def _show_history(self) -> None:
        history = self.places.history
        self.actions_by_id["back"].setEnabled(history.can_go_back or self.viewport.is_moving)
        self.actions_by_id["forward"].setEnabled(history.can_go_forward)

    def _on_escape(self) -> None:
        if self.palette_sheet.isVisible():
            self.palette_sheet.close_palette()
        elif self.keys_sheet.isVisible():
            self.keys_sheet.hide()
        elif self.viewport.is_boxing:
            self.viewport.cancel_box()
        elif self.viewport.view_state.is_flying:
            self.viewport.stop_path()
        elif self.isFullScreen():
            self.set_full_screen(False)

    def copy_report(self) -> None:
        """Put machine, scene and figures on the clipboard."""
        QGuiApplication.clipboard().setText(report(self.viewport))
        self.show_notice(self.tr("Report copied."))

    def show_about(self) -> None:
        """Say what this is."""
        show_text(
            self,
            "ScaleSpace Explorer",
            self.tr(
                "<h3>ScaleSpace Explorer</h3><p>Fall into a picture, at any continuous scale.</p>"
                "<p>The picture is not a file of pixels but a trained generator, after "
                "Wolski et al., <i>Learning Images Across Scales Using Adversarial Training</i>, "
                "ACM TOG 43(4), 2024.</p>"
            ),
        )

    # What is told to the person.

    def show_opening(self, path: str) -> None:
        """A path is being opened."""
        self.show_notice(self.tr("Opening {0} …").format(Path(path).name), stay=True)

    def show_notice(self, text: str, stay: bool = False) -> None:
        """A short line over the picture; goes by itself unless `stay`."""
        self.notice.tell(text, stay)

    def tell_once_open(self, path: str, text: str) -> None:
        """Show `text` when the scene of `path` is open: until then one reads that it is coming."""
        self._once_open = (path, text)

    def show_failure(self, failure: Failure) -> None:
        """A dialog that does not block; a second failure replaces the text of the first."""
        self.notice.hide()
        self.places.forget_pending()
        self.failure_box.tell(failure)

    @property
    def failure_dialog(self) -> QMessageBox | None:
        """The dialog with the last failure; None when it was put away."""
        return self.failure_box.dialog

    def _tick(self) -> None:
        """A few times a second: what lies over the picture looks again."""
        if self.minimap.isVisible():
            self.minimap.refresh()
        if self.scale_bar.isVisible():
            self.scale_bar.refresh()

    def _on_opened(self, info: SceneInfo) -> None:
        shown = info.name
        if info.step is not None:
            shown = self.tr("{0}, step {1}").format(info.name, f"{info.step:,}")
        self.setWindowTitle(f"{shown} — ScaleSpace Explorer")
        self.actions_by_id.set_has_scene(True)
        self.store.add_recent(info.path)
        self.minimap.set_scene(info)
        self.scale_bar.mm_per_unit = millimetres_per_unit(info.path)
        self.minimap.setVisible(self.settings.minimap)
        self.scale_bar.setVisible(self.settings.scale_bar)
        if self.notice.is_staying:
            self.notice.hide()
        path, text = self._once_open
        if text and path == info.path:
            self._once_open = ("", "")
            self.show_notice(text)

    def _on_message(self, message: Result) -> None:
        if isinstance(message, Failure):
            self.show_failure(message)
        elif isinstance(message, Progress):
            percent = "" if message.fraction is None else f" {message.fraction:.0%}"
            self.show_notice(message.text + percent, stay=True)
        elif isinstance(message, StillSaved):
            self.show_notice(self.tr("Saved {0}").format(message.file))

    def _on_gl_failed(self, reason: str) -> None:
        text = self.tr("OpenGL 3.3 is needed, and the driver refused: {0}.").format(reason)
        if sys.platform.startswith("linux"):
            text += " " + self.tr(
                "Update the graphics driver, or set LIBGL_ALWAYS_SOFTWARE=1 and start again."
            )
        else:
            text += " " + self.tr("Update the graphics driver.")
        self.show_failure(Failure(self.tr("The picture cannot be drawn"), text))

    # Qt's events.

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """A local file, a folder or a link may be dropped."""
        if _dropped(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Take what was dropped."""
        what = _dropped(event)
        if not what:
            return
        event.acceptProposedAction()
        self._once_open = ("", "")
        comes = self.arrivals.take(what)
        count = sum(url.isLocalFile() for url in event.mimeData().urls())
        if comes and count > 1:
            text = self.tr(
                "Of {0} that were dropped, {1} is taken; to train on many pictures, drop their "
                "folder."
            ).format(count, Path(what).name)
            self.show_notice(text)
            self.tell_once_open(what, text)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the notice in its place."""
        super().resizeEvent(event)
        self.notice.place()

    def closeEvent(self, event: QCloseEvent) -> None:
        """Tell the app, which ends the thread and frees the GPU while the window still lives."""
        if not self.isFullScreen():
            self.store.save_window_state(self.saveGeometry(), self.saveState(_DOCKS_VERSION))
        self.arrivals.wait()
        self.closed.emit()
        event.accept()


def _dropped(event: QDropEvent) -> str:
    """The local path or the link that is being dropped, or an empty text."""
    data = event.mimeData()
    for url in data.urls():
        if url.isLocalFile():
            return url.toLocalFile()
    text = data.text()
    return text if text.strip().startswith("scalespace:") else ""
