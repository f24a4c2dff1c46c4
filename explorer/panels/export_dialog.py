"""The export dialog: it runs `scalespace-explorer export` as a process of its own, and watches it.

The picture is rendered as the command line renders it, because it is the command line that does it;
the window stays free, and an export that is stopped goes on later from its work folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from pathlib import Path

from PySide6.QtCore import (
    QProcess,
    QProcessEnvironment,
    QStandardPaths,
    Qt,
    QThreadPool,
    QTimer,
    Signal,
)
from PySide6.QtGui import QHideEvent, QIcon, QShowEvent
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLayout,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from explorer.api import KeptExport, kept_export, work_folder
from explorer.command_process import is_error, said_in, why_ended
from explorer.messages import SceneInfo
from explorer.panels.file_dialogs import with_ending
from explorer.panels.value_label import ValueLabel
from explorer.viewport import Viewport
from model.scale import density

_STEPS_PER_OCTAVE = 8
_UPDATE_MS = 250
_NICENESS = 10
_ROOT = Path(__file__).resolve().parents[2]
_PROGRESS = re.compile(r"(reading|rendering|writing) .*?  +(\d+) %(?:  (\S+) left)?")
_TEXT_WIDTH = 520

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, field units."""


class ExportDialog(QDialog):
    """What, how fine, into which file; then what it costs, and how far it is."""

    notice = Signal(str)
    """One line for the person: the file is there, or why it is not."""

    def __init__(self, viewport: Viewport, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewport = viewport
        self.setWindowTitle(self.tr("Export"))
        self._formats = {
            ".dzi": self.tr("DeepZoom, with a page to look at it"),
            ".tif": self.tr("BigTIFF, with its coarser levels"),
            ".png": self.tr("PNG"),
            ".jpg": self.tr("JPEG"),
        }
        self._scene: SceneInfo | None = None
        self._errors = self._said = ""
        self._kept: KeptExport | None = None
        self._estimating = self._stopped = False
        self._out = Path()
        self.process = QProcess(self)
        self.process.readyReadStandardError.connect(self._read)
        self.process.started.connect(self._give_way)
        self.process.finished.connect(self._finished)
        self.process.errorOccurred.connect(self._not_started)
        self._make_widgets()
        self._lay_out()
        self._timer = QTimer(self)
        self._timer.setInterval(_UPDATE_MS)
        self._timer.timeout.connect(self.refresh)
        viewport.scene_changed.connect(self._show_scene)

    # What is in it.

    def _make_widgets(self) -> None:
        tr = self.tr
        self.what = QComboBox()
        self.what.addItem(tr("The whole picture"), "whole")
        self.what.addItem(tr("What is in view"), "view")
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.level = QDoubleSpinBox()
        self.level.setDecimals(3)
        self.level.setSingleStep(1 / _STEPS_PER_OCTAVE)
        self.level.setKeyboardTracking(False)
        self.pixels = ValueLabel(tr("Size in pixels"))
        self.format = QComboBox()
        for suffix, text in self._formats.items():
            self.format.addItem(text, suffix)
        self.file = QLineEdit()
        self.file.setMinimumWidth(340)
        self.browse = QPushButton(tr("Browse…"))
        self.disk = ValueLabel(tr("Free disk"))
        self.disk.setObjectName("quiet")
        self.cost = _text_label(tr("What it costs"))
        self.bar = QProgressBar()
        self.state = _text_label(tr("What happens"))
        self.estimate_button = QPushButton(tr("Estimate"))
        self.discard_button = QPushButton(tr("Discard"))
        self.stop_button = QPushButton(tr("Stop"))
        self.start_button = QPushButton(tr("Start"))
        self.close_button = QPushButton(tr("Close"))
        for widget, name in (
            (self.what, tr("What is exported")),
            (self.slider, tr("Level")),
            (self.level, tr("Level, octaves")),
            (self.format, tr("Format")),
            (self.file, tr("File")),
            (self.bar, tr("Progress")),
        ):
            widget.setAccessibleName(name)
        self.estimate_button.setToolTip(tr("time, size and disk, from a trial of some seconds"))
        self.discard_button.setToolTip(tr("delete what a stopped export has rendered"))
        self.stop_button.setToolTip(tr("what is rendered is kept, and a later start goes on"))
        self.what.currentIndexChanged.connect(lambda _index: self.refresh())
        self.slider.valueChanged.connect(self._slid)
        self.level.valueChanged.connect(self._typed)
        self.format.currentIndexChanged.connect(lambda _index: self._new_suffix())
        self.file.textChanged.connect(lambda _text: self.refresh())
        self.browse.clicked.connect(self.ask_file)
        self.estimate_button.clicked.connect(self.estimate)
        self.discard_button.clicked.connect(self.discard)
        self.stop_button.clicked.connect(self.stop)
        self.start_button.clicked.connect(self.start)
        self.close_button.clicked.connect(self.close)

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setSizeConstraint(QLayout.SizeConstraint.SetFixedSize)  # always fits what it shows
        layout.setContentsMargins(24, 20, 24, 18)
        layout.setSpacing(14)
        form = QFormLayout()
        form.setHorizontalSpacing(20)
        form.setVerticalSpacing(10)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow(self.tr("Export"), self.what)
        form.addRow(self.tr("Level"), _row(self.slider, self.level))
        form.addRow("", self.pixels)
        form.addRow(self.tr("Format"), self.format)
        form.addRow(self.tr("File"), _row(self.file, self.browse))
        form.addRow("", self.disk)
        layout.addLayout(form)
        for widget in (self.cost, self.bar, self.state):
            layout.addWidget(widget)
        layout.addStretch(1)
        buttons = QHBoxLayout()
        buttons.addWidget(self.estimate_button)
        buttons.addWidget(self.discard_button)
        buttons.addStretch(1)
        for button in (self.stop_button, self.start_button, self.close_button):
            buttons.addWidget(button)
        layout.addLayout(buttons)
        for button in self.findChildren(QPushButton):
            button.setIcon(QIcon())
            button.setAutoDefault(False)  # Enter in a field starts nothing

    # What is asked for.

    @property
    def is_busy(self) -> bool:
        """An export, or an estimate, is under way."""
        return self.process.state() != QProcess.ProcessState.NotRunning

    def chosen_level(self) -> float:
        """Of the file's own pixels, octaves; at its ends the scene's own, with all digits."""
        low, high = (0.0, 0.0) if self._scene is None else self._scene.level_range
        return min(max(self.level.value(), low), high)

    def box(self) -> Box | None:
        """What is in view, cut to the field; None where nothing of it is."""
        left, top, right, bottom = self.viewport.view_state.target_view.bounds()
        half_w, half_h = (side / 2 for side in self.viewport.view_state.field_size)
        left, right = max(left, -half_w), min(right, half_w)
        top, bottom = max(top, -half_h), min(bottom, half_h)
        return (left, top, right, bottom) if left < right and top < bottom else None

    def pixel_size(self) -> tuple[int, int] | None:
        """Width and height of the export in pixels; None where there is nothing to export."""
        if self._scene is None:
            return None
        if self._kept is not None:
            return self._kept.size
        width, height = self._scene.field_size
        if self.what.currentData() == "view":
            box = self.box()
            if box is None:
                return None
            width, height = box[2] - box[0], box[3] - box[1]
        d = density(self.chosen_level(), self._scene.patch_size)
        return max(1, round(width * d)), max(1, round(height * d))

    def arguments(self) -> list[str]:
        """The command line of what the dialog shows, without the program.

        An export that was stopped is asked for as it was then, wherever the view is now.
        """
        scene = self._scene
        if scene is None:
            raise RuntimeError("there is no scene to export; open one first.")
        level, box, seed = self.chosen_level(), None, self.viewport.stream.seed
        more: list[str] = []
        kept = self._kept
        if kept is not None:
            level, box, seed = kept.level, kept.box, kept.seed
            more = ["--tile", str(kept.tile_px)]
            if Path(self.file.text()).suffix.lower() != ".png":
                quality = "lossless" if kept.quality is None else str(kept.quality)
                more += ["--quality", quality]
        elif self.what.currentData() == "view":
            box = self.box()
        words = ["export", os.path.abspath(scene.path), "--level", repr(level)]
        if box is not None:
            words += ["--box", *map(repr, box)]
        words += ["--seed", str(seed), "--device", scene.device, *more]
        return [*words, "--out", self.file.text()]

    def ask_file(self) -> None:
        """Let the person choose where the file goes."""
        kinds = ";;".join(f"{text} (*{suffix})" for suffix, text in self._formats.items())
        chosen = f"{self.format.currentText()} (*{self.format.currentData()})"
        name, _ = QFileDialog.getSaveFileName(
            self, self.tr("Export to"), self.file.text(), kinds, chosen
        )
        if name:
            index = self.format.findData(Path(name).suffix.lower())
            self.file.setText(name)
            if index >= 0:
                self.format.setCurrentIndex(index)
            else:
                self._new_suffix()

    # What it shows.

    def showEvent(self, event: QShowEvent) -> None:
        """Show the scene that is open now."""
        super().showEvent(event)
        if self._scene is None and self.viewport.scene is not None:
            self._show_scene(self.viewport.scene)
        self._timer.start()
        self.refresh()

    def hideEvent(self, event: QHideEvent) -> None:
        """Look no more; an export goes on."""
        super().hideEvent(event)
        self._timer.stop()

    def _show_scene(self, scene: SceneInfo) -> None:
        """Another scene: its levels, and a file named after it."""
        self._scene = scene
        low, high = scene.level_range
        self.slider.setRange(round(low * _STEPS_PER_OCTAVE), round(high * _STEPS_PER_OCTAVE))
        self.level.setRange(low, high)
        self.level.setValue(high)
        if not self.is_busy:
            folder = QStandardPaths.writableLocation(
                QStandardPaths.StandardLocation.PicturesLocation
            )
            name = f"{scene.name}{self.format.currentData()}"
            self.file.setText(str(Path(folder if Path(folder).is_dir() else Path.home(), name)))
            self.cost.clear()
            self.state.clear()
        self.refresh()

    def _slid(self, value: int) -> None:
        if round(self.level.value() * _STEPS_PER_OCTAVE) != value:
            self.level.setValue(value / _STEPS_PER_OCTAVE)

    def _typed(self, level: float) -> None:
        self.slider.setValue(round(level * _STEPS_PER_OCTAVE))
        self.cost.clear()
        self.refresh()

    def _new_suffix(self) -> None:
        """The file's ending is that of the format."""
        if self.file.text():
            ending = self.format.currentData()
            self.file.setText(with_ending(self.file.text(), ending, tuple(self._formats)))

    def refresh(self) -> None:
        """Show size, disk, and what can be done."""
        busy = self.is_busy
        if not busy:  # else it is the process that has the file
            self._kept = kept_export(self.file.text())
        size = self.pixel_size()
        if size is None:
            self.pixels.setText(self.tr("nothing of the picture is in view"))
        else:
            width, height = size
            text = self.tr("{0} × {1} pixels, {2} megapixels").format(
                f"{width:,}", f"{height:,}", f"{width * height / 1e6:,.1f}"
            )
            if self._kept is not None:
                level = f"{self._kept.level:.6g}"
                text = self.tr("stopped at level {0}: {1}").format(level, text)
            self.pixels.setText(text)
        file = Path(self.file.text())
        kept = bool(file.name) and work_folder(file).is_dir()
        free = _free_bytes(file.parent)
        there = file.is_absolute() and free is not None
        if free is None or not there:
            self.disk.setText(self.tr("this folder does not exist"))
        elif file.exists() and not kept:
            self.disk.setText(self.tr("this file exists already; give another name"))
        else:
            self.disk.setText(self.tr("{0} GB free there").format(f"{free / 1e9:,.1f}"))
        ready = size is not None and there and (kept or not file.exists())
        for widget in (self.what, self.slider, self.level):
            widget.setEnabled(not busy and self._kept is None)
        for widget in (self.format, self.file, self.browse):
            widget.setEnabled(not busy)
        self.estimate_button.setEnabled(ready and not busy)
        self.start_button.setEnabled(ready and not busy)
        self.start_button.setVisible(not busy)
        self.start_button.setText(self.tr("Resume") if kept else self.tr("Start"))
        self.stop_button.setVisible(busy)
        self.discard_button.setVisible(kept and not busy)
        self.bar.setVisible(busy)
        self.cost.setVisible(bool(self.cost.text()))
        self.state.setVisible(bool(self.state.text()))

    # The process.

    def estimate(self) -> None:
        """Find out what it would cost; a trial of some seconds."""
        self._run([*self.arguments(), "--estimate"], estimating=True)
        self.state.setText(self.tr("Estimating …"))

    def start(self) -> None:
        """Export, or go on with what was stopped."""
        self._run([*self.arguments(), "--yes", "--percent"], estimating=False)
        self.state.setText(self.tr("Starting …"))

    def _run(self, words: list[str], estimating: bool) -> None:
        if self.is_busy:
            return
        self._out = Path(self.file.text())
        if work_folder(self._out).is_dir():
            words.append("--resume")
        self._estimating, self._stopped = estimating, False
        self._errors = self._said = ""
        self.cost.clear()
        self.bar.setRange(0, 0)  # busy, until it says how far it is
        environment = QProcessEnvironment.systemEnvironment()
        paths = [str(_ROOT), environment.value("PYTHONPATH", "")]
        environment.insert("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        environment.insert("PYTHONIOENCODING", "utf-8")
        self.process.setProcessEnvironment(environment)
        self.process.start(sys.executable, ["-P", "-m", "explorer", *words])
        self.refresh()

    def stop(self) -> None:
        """End the process; what it has rendered is kept."""
        if self.is_busy:
            self._stopped = True
            self.process.kill()

    def end(self) -> None:
        """The window closes: end the process, and wait for that."""
        self._timer.stop()
        self.stop()
        self.process.waitForFinished(2000)

    def discard(self) -> None:
        """Delete what a stopped export to this file has rendered."""
        folder = work_folder(self.file.text())
        if not self.is_busy and (folder / "manifest.json").is_file():
            QThreadPool.globalInstance().start(lambda: shutil.rmtree(folder, ignore_errors=True))
            self.state.setText(self.tr("What was rendered is deleted."))

    def _give_way(self) -> None:
        """The window comes first, where the system can be told."""
        if hasattr(os, "setpriority"):
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self.process.processId(), _NICENESS)

    def _read(self) -> None:
        """Take what the process has said; the last line may not be whole."""
        self._errors += bytes(self.process.readAllStandardError().data()).decode("utf-8", "replace")
        *lines, self._errors = self._errors.split("\n")
        for line in filter(None, map(str.strip, lines)):
            self._take(line)

    def _take(self, line: str) -> None:
        found = _PROGRESS.match(line)
        if found is None:
            self._said = said_in(line)
            if not is_error(line) and (not self._estimating or line.startswith("note:")):
                self.cost.setText(line)
        else:
            self.bar.setRange(0, 100)
            self.bar.setValue(int(found[2]))
            steps = {
                "reading": self.tr("Reading"),
                "rendering": self.tr("Rendering"),
                "writing": self.tr("Writing"),
            }
            left = self.tr(", {0} left").format(found[3]) if found[3] else ""
            self.state.setText(steps[found[1]] + left)
        self.refresh()

    def _finished(self, code: int, status: QProcess.ExitStatus) -> None:
        self._read()
        if self._errors.strip():
            self._take(self._errors.strip())
        if self._stopped:
            kept = work_folder(self._out).is_dir()
            self.state.setText(
                self.tr("Stopped. What was rendered is kept: Resume goes on.")
                if kept
                else self.tr("Stopped.")
            )
        elif code != 0:
            text = why_ended(self._said, code, status)
            self.cost.clear()
            self.state.setText(self.tr("That did not work: {0}").format(text))
        elif self._estimating:
            self.state.clear()
            said = bytes(self.process.readAllStandardOutput().data()).decode("utf-8", "replace")
            self.cost.setText(said.strip())
        else:
            self.state.setText(self.tr("Exported {0}").format(self._out))
        if not self._estimating and not self._stopped:
            self.notice.emit(self.state.text())
        self.refresh()

    def _not_started(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self.state.setText(
                self.tr("The export did not start: {0}").format(self.process.errorString())
            )
            self.refresh()


def _row(first: QWidget, second: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(12)
    row.addWidget(first, 1)
    row.addWidget(second)
    return row


def _text_label(name: str) -> ValueLabel:
    """Text of several lines, which can be copied."""
    label = ValueLabel(name)
    label.setWordWrap(True)
    label.setFixedWidth(_TEXT_WIDTH)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def _free_bytes(folder: Path) -> int | None:
    """Free on the disk of `folder`; None where there is no such folder."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
