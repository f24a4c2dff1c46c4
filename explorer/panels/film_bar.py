"""A film of a flight from the window: what it is to be, how far it is, how it ended."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QStandardPaths, Qt, Signal
from PySide6.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QMessageBox,
    QProgressBar,
    QToolButton,
    QWidget,
)

from explorer.camera_path import CameraPath
from explorer.film_process import FilmOrder, FilmProcess
from explorer.filming import FILM_SUFFIXES
from explorer.panels.file_dialogs import confirmed, with_ending
from explorer.panels.film_dialog import FilmChoice, FilmDialog

if TYPE_CHECKING:
    from explorer.main_window import MainWindow

_NAME_PX = 150


class FilmBar(QWidget):
    """Shows how far the film is; empty while none is made."""

    changed = Signal()
    """A film was begun, or has ended."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__()
        self._window = window
        self.viewport = window.viewport
        self.process = FilmProcess(self)
        self.dialog: FilmDialog | None = None
        self._path: CameraPath | None = None
        self.progress = QProgressBar()
        self.progress.setAccessibleName(self.tr("Progress of the film"))
        self.progress.setRange(0, 1000)
        self.progress.setFixedWidth(220)
        self.cancel_button = QToolButton()
        self.cancel_button.setText(self.tr("Cancel"))
        self.cancel_button.setAccessibleName(self.tr("Cancel the film"))
        self.cancel_button.clicked.connect(lambda _checked=False: self.process.cancel())
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.progress)
        layout.addWidget(self.cancel_button)
        self.process.progressed.connect(self._progressed)
        self.process.ended.connect(self._ended)
        self._show()

    @property
    def is_running(self) -> bool:
        """Whether a film is being made."""
        return self.process.is_running

    def _show(self) -> None:
        for widget in (self.progress, self.cancel_button):
            widget.setVisible(self.is_running)
        self.changed.emit()

    def ask(self, path: CameraPath) -> None:
        """Ask what film of `path` is wanted, then where it goes, and make it."""
        if self.viewport.scene is None:
            return
        if self.dialog is None:
            self.dialog = FilmDialog(self._window)
            self.dialog.chosen.connect(self._ask_where)
        self._path = path
        zooms = [key.camera.log2_zoom for key in path.keyframes]
        self.dialog.ask(path.duration_s, max(zooms) - min(zooms))

    def _ask_where(self, choice: FilmChoice) -> None:
        scene, path = self.viewport.scene, self._path
        if scene is None or path is None:
            return
        videos = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.MoviesLocation)
        stem = Path(videos) / f"{scene.name}-{time.strftime('%Y%m%d-%H%M%S')}"
        filters = {
            ".mp4": "MP4 (*.mp4)",
            ".webm": "WebM (*.webm)",
            ".png": "PNG (*.png)",
            "": self.tr("Folder of PNG frames (*)"),
        }
        title = self.tr("Export film")
        name, _ = QFileDialog.getSaveFileName(
            self, title, _film_name(str(stem), choice.suffix), filters[choice.suffix]
        )
        chosen = name and confirmed(self, title, name, _film_name(name, choice.suffix))
        if not chosen:
            return
        out = Path(chosen)
        resume = self._goes_on(out, choice)
        if resume is not None:
            self.export(path, out, choice, resume=resume)

    def _goes_on(self, out: Path, choice: FilmChoice) -> bool | None:
        """Whether to go on with what an earlier export left; asked where there is something.

        None: neither; what was left stays.
        """
        from explorer import zoom_strip
        from explorer.film_parts import has_part

        if choice.is_strip:
            is_there = zoom_strip.part_path(out).exists()
        else:
            is_there = bool(out.suffix) and has_part(out)
        if not is_there:
            return True
        buttons = QMessageBox.StandardButton
        answer = QMessageBox.question(
            self,
            self.tr("Export film"),
            self.tr(
                "An export of {0} was broken off. Go on with it? "
                "No begins anew, and what is done of it is lost."
            ).format(out.name),
            buttons.Yes | buttons.No | buttons.Cancel,
            buttons.Yes,
        )
        return None if answer == buttons.Cancel else answer == buttons.Yes

    def export(
        self, path: CameraPath, out: Path, choice: FilmChoice, *, resume: bool = True
    ) -> None:
        """Film `path` in a process of its own."""
        scene = self.viewport.scene
        if scene is None or self.is_running:
            return
        order = FilmOrder(
            scene=scene.path,
            path=path,
            out=out,
            size=choice.size,
            fps=choice.fps,
            seed=self.viewport.stream.seed,
            is_strip=choice.is_strip,
            resume=resume,
            device=scene.device,
        )
        try:
            self.process.start(order)
        except OSError as error:
            self._window.show_notice(self.tr("The film was not begun: {0}").format(error))
        self._progressed(0.0)
        self._show()

    def _progressed(self, fraction: float) -> None:
        self.progress.setValue(round(1000 * fraction))
        if self.process.order is not None:
            name, metrics = self.process.order.out.name, self.progress.fontMetrics()
            name = metrics.elidedText(name, Qt.TextElideMode.ElideMiddle, _NAME_PX)
            self.progress.setFormat(f"{name}  {fraction:.0%}")
            self.progress.setToolTip(str(self.process.order.out))

    def _ended(self, whole: bool, why: str) -> None:
        order = self.process.order
        if order is None:
            return
        if whole:
            text = self.tr("Saved {0}").format(order.out)
        elif why:
            text = self.tr("The film was not made: {0}").format(why)
        elif not self.process.fraction:
            text = self.tr("The film was called off.")
        elif order.is_strip:
            text = self.tr("Called off at {0}; export to the same file to go on.").format(
                f"{self.process.fraction:.0%}"
            )
        else:
            text = self.tr(
                "Called off at {0}; what there is of it plays. Export to the same file to go on."
            ).format(f"{self.process.fraction:.0%}")
        self._window.show_notice(text)
        self._show()


def _film_name(name: str, suffix: str) -> str:
    """Where a film of `name` goes. A folder of frames has no point in its name: that is a file."""
    if suffix:
        return with_ending(name, suffix, (*FILM_SUFFIXES, ".png"))
    path = Path(name)
    return str(path.with_name(path.name.replace(".", "-")))
