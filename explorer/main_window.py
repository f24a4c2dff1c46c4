"""The main window: the viewport, menus with shortcuts, the status line, dialogs and drops."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from PySide6.QtCore import QStandardPaths, Qt, QTimer, Signal
from PySide6.QtGui import (
    QAction,
    QCloseEvent,
    QDragEnterEvent,
    QDropEvent,
    QGuiApplication,
    QIcon,
    QKeySequence,
    QResizeEvent,
)
from PySide6.QtWidgets import QFileDialog, QLabel, QMainWindow, QMenu, QMessageBox

from explorer.camera_path import flight
from explorer.config import AppConfig
from explorer.messages import Failure, Progress, Result, SceneInfo, StillRequest, StillSaved
from explorer.panels.keys_sheet import KeysSheet
from explorer.panels.status_line import StatusLine
from explorer.stills import STILL_FORMATS
from explorer.view_state import Camera, fit_camera
from explorer.viewport import Viewport

_NOTICE_MS = 4000
_OPEN_FILTER = (
    "Scale spaces and images (*.safetensors *.png *.jpg *.jpeg *.tif *.tiff *.webp);;All files (*)"
)
_STILL_FILTER = "PNG (*.png);;TIFF (*.tif);;WebP (*.webp);;JPEG (*.jpg)"


class MainWindow(QMainWindow):
    """Everything around the picture."""

    open_requested = Signal(str)
    """A path to open."""
    closed = Signal()
    """The window is about to close."""

    def __init__(self, viewport: Viewport, config: AppConfig | None = None) -> None:
        super().__init__()
        self.config = config or AppConfig()
        self.viewport = viewport
        self.setCentralWidget(viewport)
        self.setWindowTitle("ScaleSpace Explorer")
        self.resize(*self.config.window_size)
        self.setAcceptDrops(True)
        self.status_line = StatusLine(viewport, self)
        self.setStatusBar(self.status_line)
        self.notice = QLabel(viewport)
        self.notice.setObjectName("notice")
        self.notice.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.notice.hide()
        self._notice_timer = QTimer(self)
        self._notice_timer.setSingleShot(True)
        self._notice_timer.timeout.connect(self.notice.hide)
        self.keys_sheet = KeysSheet(viewport)
        self.failure_dialog: QMessageBox | None = None
        self._build_menus()
        viewport.scene_opened.connect(self._on_opened)
        viewport.message_received.connect(self._on_message)
        viewport.gl_failed.connect(self._on_gl_failed)

    # Menus.

    def _build_menus(self) -> None:
        file = self.menuBar().addMenu("&File")
        self._add(file, "&Open…", QKeySequence.StandardKey.Open, self.ask_open)
        self.still_action = self._add(
            file, "Save &still…", QKeySequence.StandardKey.Save, self.ask_still
        )
        self.still_action.setEnabled(False)
        self._add(file, "&Copy view", QKeySequence("Ctrl+Shift+C"), self.copy_view)
        file.addSeparator()
        self._add(file, "&Quit", QKeySequence("Ctrl+Q"), self.close)
        view = self.menuBar().addMenu("&View")
        self._add(view, "&Whole picture", QKeySequence("Home"), self.viewport.go_home, "F", "0")
        self._add(view, "Zoom &in", QKeySequence("Ctrl++"), lambda: self._zoom(1.0), "Ctrl+=")
        self._add(view, "Zoom &out", QKeySequence("Ctrl+-"), lambda: self._zoom(-1.0))
        view.addSeparator()
        self._add(view, "&Fall into the picture", QKeySequence("Space"), self.toggle_fall)
        view.addSeparator()
        self.status_action = self._add(
            view, "&Status line", QKeySequence("Ctrl+B"), self._toggle_status
        )
        self.status_action.setCheckable(True)
        self.status_action.setChecked(True)
        self._add(view, "F&ull screen", QKeySequence("F11"), self.toggle_full_screen)
        help_menu = self.menuBar().addMenu("&Help")
        self._add(help_menu, "&Keys", QKeySequence("F1"), self.keys_sheet.toggle, "?")
        self._add(help_menu, "&About", None, self.show_about)
        escape = QAction(self)
        escape.setShortcut(QKeySequence("Esc"))
        escape.triggered.connect(self._on_escape)
        self.addAction(escape)

    def _add(
        self,
        menu: QMenu,
        text: str,
        shortcut: QKeySequence | QKeySequence.StandardKey | None,
        slot: object,
        *more: str,
    ) -> QAction:
        """A menu entry that also works while the menu bar is hidden."""
        action = QAction(text, self)
        if shortcut is not None:
            action.setShortcuts([QKeySequence(shortcut), *(QKeySequence(m) for m in more)])
        action.triggered.connect(lambda _checked=False: slot())  # type: ignore[operator]
        menu.addAction(action)
        self.addAction(action)
        return action

    def _zoom(self, octaves: float) -> None:
        """Zoom, eased, about the middle of the viewport."""
        state = self.viewport.view_state
        notches = octaves / state.config.notch_octaves
        state.wheel(notches, state.size[0] / 2, state.size[1] / 2, time.perf_counter())
        self.viewport.wake()

    # Actions.

    def ask_open(self) -> None:
        """Let the person choose what to open."""
        name, _ = QFileDialog.getOpenFileName(
            self, "Open a scale space or an image", "", _OPEN_FILTER
        )
        if name:
            self.open_requested.emit(name)

    def ask_still(self) -> None:
        """Let the person choose where the still goes."""
        folder = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.PicturesLocation)
        scene = self.viewport.scene
        if scene is None:
            return
        proposal = str(Path(folder) / f"{scene.name}-{time.strftime('%Y%m%d-%H%M%S')}.png")
        name, _ = QFileDialog.getSaveFileName(self, "Save a still", proposal, _STILL_FILTER)
        if name:
            self.save_still(name)

    def save_still(self, file: str) -> None:
        """Render the visible part of the picture and save it; a PNG carries the view as text."""
        scene, exact = self.viewport.scene, self.viewport.current_exact()
        if scene is None or exact is None:
            self.show_notice("There is nothing of the picture in view.")
            return
        if Path(file).suffix.lower() not in STILL_FORMATS:
            file += ".png"
        self.viewport.inference.save_still(
            StillRequest(scene.identity, exact, file, self.viewport.stream.seed, self._view())
        )

    def copy_view(self) -> None:
        """Put the view on the clipboard, as the command line takes it."""
        view = self.viewport.view_state.target_view
        camera, level = view.camera, view.level(self.viewport.view_state.patch_size)
        QGuiApplication.clipboard().setText(
            f"--center {camera.cx:.9f} {camera.cy:.9f} --level {level:.6f}"
        )
        self.show_notice("View copied, as `scalespace-explorer render` takes it.")

    def _view(self) -> dict[str, Any]:
        """The target view as plain values."""
        view = self.viewport.view_state.target_view
        return {
            "center": [view.camera.cx, view.camera.cy],
            "level": view.level(self.viewport.view_state.patch_size),
            "size": list(view.size),
        }

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
        """Without borders, menu and status line, or with them."""
        self.menuBar().setVisible(not on)
        self.status_line.setVisible(not on and self.status_action.isChecked())
        self.setWindowState(Qt.WindowState.WindowFullScreen if on else Qt.WindowState.WindowNoState)

    def _toggle_status(self) -> None:
        self.status_line.setVisible(self.status_action.isChecked())

    def _on_escape(self) -> None:
        if self.keys_sheet.isVisible():
            self.keys_sheet.hide()
        elif self.viewport.view_state.is_flying:
            self.viewport.stop_path()
        elif self.isFullScreen():
            self.set_full_screen(False)

    def show_about(self) -> None:
        """Say what this is."""
        QMessageBox.about(
            self,
            "ScaleSpace Explorer",
            "<h3>ScaleSpace Explorer</h3><p>Fall into a picture, at any continuous scale.</p>"
            "<p>The picture is not a file of pixels but a trained generator, after "
            "Wolski et al., <i>Learning Images Across Scales Using Adversarial Training</i>, "
            "ACM TOG 43(4), 2024.</p>",
        )

    # What is told to the person.

    def show_opening(self, path: str) -> None:
        """A path is being opened."""
        self.show_notice(f"Opening {Path(path).name} …", stay=True)

    def show_notice(self, text: str, stay: bool = False) -> None:
        """A short line over the picture; goes by itself unless `stay`."""
        self.notice.setText(text)
        self.notice.adjustSize()
        self._place_notice()
        self.notice.show()
        self.notice.raise_()
        if stay:
            self._notice_timer.stop()
        else:
            self._notice_timer.start(_NOTICE_MS)

    def show_failure(self, failure: Failure) -> None:
        """A dialog that does not block; a second failure replaces the text of the first."""
        self.notice.hide()
        if self.failure_dialog is None:
            dialog = QMessageBox(self)
            dialog.setIcon(QMessageBox.Icon.Warning)
            dialog.setWindowModality(Qt.WindowModality.WindowModal)
            dialog.addButton(QMessageBox.StandardButton.Ok).setIcon(QIcon())
            copy = dialog.addButton("Copy details", QMessageBox.ButtonRole.ActionRole)
            copy.clicked.connect(self._copy_failure)
            dialog.finished.connect(self._forget_dialog)
            self.failure_dialog = dialog
        self._failure = failure
        self.failure_dialog.setWindowTitle(failure.title)
        self.failure_dialog.setText(f"<b>{failure.title}</b>")
        self.failure_dialog.setInformativeText(failure.text)
        self.failure_dialog.show()

    def _copy_failure(self) -> None:
        failure = self._failure
        QGuiApplication.clipboard().setText(
            f"{failure.title}\n{failure.text}\n\n{failure.details}".strip()
        )

    def _forget_dialog(self) -> None:
        if self.failure_dialog is not None:
            self.failure_dialog.deleteLater()
            self.failure_dialog = None

    def _on_opened(self, info: SceneInfo) -> None:
        self.setWindowTitle(f"{info.name} — ScaleSpace Explorer")
        self.still_action.setEnabled(True)
        self.notice.hide()

    def _on_message(self, message: Result) -> None:
        if isinstance(message, Failure):
            self.show_failure(message)
        elif isinstance(message, Progress):
            percent = "" if message.fraction is None else f" {message.fraction:.0%}"
            self.show_notice(message.text + percent, stay=True)
        elif isinstance(message, StillSaved):
            self.show_notice(f"Saved {message.file}")

    def _on_gl_failed(self, reason: str) -> None:
        self.show_failure(
            Failure(
                "The picture cannot be drawn",
                f"OpenGL 3.3 is needed, and the driver refused: {reason}. Update the graphics "
                "driver, or start with LIBGL_ALWAYS_SOFTWARE=1.",
            )
        )

    # Qt's events.

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """One local file or folder may be dropped."""
        if _dropped_path(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open what was dropped."""
        path = _dropped_path(event)
        if path:
            event.acceptProposedAction()
            self.open_requested.emit(path)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the notice in its place."""
        super().resizeEvent(event)
        self._place_notice()

    def _place_notice(self) -> None:
        x = (self.viewport.width() - self.notice.width()) // 2
        self.notice.move(max(0, x), self.viewport.height() - self.notice.height() - 24)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Tell the app, which ends the thread and frees the GPU while the window still lives."""
        self.closed.emit()
        event.accept()


def _dropped_path(event: QDropEvent) -> str:
    """The local path that is being dropped, or an empty text."""
    for url in event.mimeData().urls():
        if url.isLocalFile():
            return url.toLocalFile()
    return ""
