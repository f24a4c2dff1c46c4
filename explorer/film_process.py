"""A film that is made beside the window, by `record` in a process of its own. GUI thread.

The window stays as quick as it was, and a film that is called off leaves a part that plays and can
be gone on with.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, Signal

from explorer.camera_path import CameraPath, save_path
from explorer.command_process import said_in, why_ended
from explorer.filming import film_frames
from model.latent import Seed

STRIP = ".strip.png"
"""Stands for the exponential strip among the endings of films; '' is a folder of frames."""
_NICENESS = 10
_END_MS = 5000


@dataclass(frozen=True)
class FilmOrder:
    """What film is wanted."""

    scene: str
    """Path of the scene."""
    path: CameraPath
    out: Path
    size: tuple[int, int]
    """Width and height, pixels; a strip takes the width."""
    fps: float
    seed: Seed = 0
    is_strip: bool = False
    resume: bool = True
    """Go on where an earlier one was broken."""
    device: str = "auto"

    @property
    def num_frames(self) -> int:
        """Frames of the film; ValueError where there are none, or too many."""
        return film_frames(self.path.duration_s, self.fps)

    def arguments(self, path_file: str) -> list[str]:
        """The command line of `record`, with the camera path in `path_file`."""
        width, height = self.size
        out = str(self.out)
        words = ["record", os.path.abspath(self.scene), "--path", path_file, "--count"]
        words += ["--size", str(width), str(height), "--fps", f"{self.fps:g}"]
        words += ["--seed", str(self.seed), "--device", self.device, "--out", out]
        words += ["--strip"] if self.is_strip else []
        return [*words, "--resume"] if self.resume else words


class FilmProcess(QObject):
    """Makes one film at a time."""

    progressed = Signal(float)
    """The fraction that is done."""
    ended = Signal(bool, str)
    """Whether the film is whole; else why not, in one line, empty where it was called off."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.order: FilmOrder | None = None
        """What is being made, or was made last."""
        self.fraction = 0.0
        self._process: QProcess | None = None
        self._path_file = ""
        self._said = ""
        self._rest = ""
        self._cancelled = False

    @property
    def is_running(self) -> bool:
        """Whether a film is being made."""
        return self._process is not None

    def start(self, order: FilmOrder) -> None:
        """Begin.

        Raises:
            RuntimeError: A film is being made already.
            OSError: The camera path cannot be handed over.
        """
        if self._process is not None:
            raise RuntimeError("one film is made at a time; wait for it, or cancel it.")
        handle, self._path_file = tempfile.mkstemp(prefix="flight-", suffix=".json")
        os.close(handle)
        save_path(order.path, self._path_file)
        self.order, self.fraction = order, 0.0
        self._said = self._rest = ""
        self._cancelled = False
        process = QProcess(self)
        environment = QProcessEnvironment.systemEnvironment()
        root = str(Path(__file__).resolve().parent.parent)
        paths = [root, environment.value("PYTHONPATH")]
        # And -P: the folder that the app was started in may hold a `model.py` of its own.
        environment.insert("PYTHONPATH", os.pathsep.join(p for p in paths if p))
        environment.insert("PYTHONIOENCODING", "utf-8")  # names of files are said
        process.setProcessEnvironment(environment)
        process.readyReadStandardError.connect(self._read)
        process.readyReadStandardOutput.connect(process.readAllStandardOutput)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._failed)
        process.started.connect(self._started)
        self._process = process
        process.start(sys.executable, ["-P", "-m", "explorer", *order.arguments(self._path_file)])

    def cancel(self) -> None:
        """Call the film off; what is done of it stays."""
        if self._process is not None:
            self._cancelled = True
            self._process.kill()

    def end(self) -> None:
        """The window closes: call the film off, and wait until it has ended."""
        process = self._process
        if process is not None:
            self.cancel()
            process.waitForFinished(_END_MS)

    def _started(self) -> None:
        """The picture goes before the film."""
        setpriority = getattr(os, "setpriority", None)
        if setpriority is not None and self._process is not None:
            with contextlib.suppress(OSError):
                setpriority(os.PRIO_PROCESS, self._process.processId(), _NICENESS)

    def _read(self) -> None:
        """Take what `record` says: `done FRACTION`, or what went wrong."""
        if self._process is None:
            return
        text = bytes(self._process.readAllStandardError().data()).decode("utf-8", "replace")
        *lines, self._rest = (self._rest + text).split("\n")
        fraction = self.fraction
        for line in lines:
            word, _, number = line.partition(" ")
            if word == "done":
                with contextlib.suppress(ValueError):
                    fraction = float(number)
            elif line.strip():
                self._said = said_in(line)
        if fraction != self.fraction:
            self.fraction = fraction
            self.progressed.emit(fraction)

    def _failed(self, error: QProcess.ProcessError) -> None:
        """The process did not come to life; other errors end it, which `_finished` hears."""
        if error == QProcess.ProcessError.FailedToStart and self._process is not None:
            self._conclude(False, self._process.errorString())

    def _finished(self, code: int, status: QProcess.ExitStatus) -> None:
        self._read()
        self._said = said_in(self._rest) or self._said
        whole = code == 0 and status == QProcess.ExitStatus.NormalExit
        why = "" if whole or self._cancelled else why_ended(self._said, code, status)
        self._conclude(whole, why)

    def _conclude(self, whole: bool, why: str) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.deleteLater()
        Path(self._path_file).unlink(missing_ok=True)
        self.ended.emit(whole, why)
