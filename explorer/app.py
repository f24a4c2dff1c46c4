"""Builds every object of the app and connects them; the only file that knows all the others.

Order of a start: the preview inside the checkpoint is on the screen before torch is imported; the
inference thread begins after the first painted frame.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import TracebackType

from PySide6.QtCore import QObject, Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication, QIcon, QSurfaceFormat
from PySide6.QtWidgets import QApplication

from explorer.camera_path import load_path
from explorer.config import AppConfig
from explorer.hand_over import HandOver, hand_over
from explorer.inference_thread import InferenceThread, Opener
from explorer.latents import Latents
from explorer.main_window import MainWindow
from explorer.messages import Failure, OpenRequest
from explorer.preview import decode_preview
from explorer.settings import Settings, SettingsStore, default_store
from explorer.shipped import ICON, PAINTING, shipped
from explorer.training_desk import TrainingDesk
from explorer.viewport import Viewport
from model.allocator import bound_memory
from model.header import CheckpointError, read_header

log = logging.getLogger(__name__)
_SWITCH_S = 0.0005


class _Bell(QObject):
    """Carries 'there are results' from the inference thread to the GUI thread."""

    rung = Signal()


class App:
    """The window, the inference thread, and what connects them."""

    def __init__(
        self,
        path: str | None,
        device: str,
        precision: str,
        config: AppConfig,
        opener: Opener | None,
        store: SettingsStore | None = None,
    ) -> None:
        bound_memory()  # before there are threads: each would get a heap of its own
        # The window asks for the interpreter at every event; a thread that computes in Python
        # would keep it for 5 ms each time.
        sys.setswitchinterval(_SWITCH_S)
        self.qt = _application()
        self.config = config
        self.device, self.precision = device, precision
        self._bell = _Bell()
        self.inference = InferenceThread(self._bell.rung.emit, config.streaming, opener)
        self.viewport = Viewport(self.inference, config)
        self.window = MainWindow(self.viewport, config, store)
        self.latents = Latents(self.window)
        self.training = TrainingDesk(self.window, self.inference, device, precision)
        self._bell.rung.connect(self.viewport.receive, Qt.ConnectionType.QueuedConnection)
        self.window.open_requested.connect(self.open)
        self.window.closed.connect(self.close)
        self.viewport.frame_painted.connect(self._start_inference)
        self._path = path
        self._started = self._closed = False
        self._hand_over: HandOver | None = None

    def start(self) -> None:
        """Show the window; what it was told to open appears as soon as it can."""
        self.window.show()
        if self._path is None or not self.window.arrivals.take(self._path):
            painting, notice = str(shipped(PAINTING)), self.window.notice
            said = "" if notice.isHidden() else notice.text()
            self.open(painting)
            self.window.tell_once_open(painting, said)
        self.training.offer_unfinished()

    def listen(self) -> None:
        """Take what other starts of the app were to open, while the settings say so."""
        self._listen_as_set(self.window.settings)
        self.window.settings_changed.connect(self._listen_as_set)
        app = QGuiApplication.instance()
        if isinstance(app, QGuiApplication):
            app.applicationStateChanged.connect(self._listen_in_turn)

    def _listen_in_turn(self, state: Qt.ApplicationState) -> None:
        """The window that listened may have closed since."""
        if self._hand_over is not None and state == Qt.ApplicationState.ApplicationActive:
            self._hand_over.listen()

    def _listen_as_set(self, settings: Settings) -> None:
        if settings.single_window and self._hand_over is None:
            self._hand_over = HandOver(self.window)
            self._hand_over.received.connect(self._on_handed_over)
        elif not settings.single_window and self._hand_over is not None:
            self._hand_over.close()
            self._hand_over = None

    def open(self, path: str) -> None:
        """Open a checkpoint, an image or a run folder, beginning with its preview."""
        if path.endswith(".safetensors"):
            try:
                header = read_header(path)
            except CheckpointError as error:
                title = self.window.tr("Cannot open {0}").format(Path(path).name)
                self.window.show_failure(Failure(title, str(error)))
                return
            pixels = decode_preview(header.preview) if header.preview else None
            # A scene that is open stays on the screen until the next one is ready.
            if pixels is not None and self.viewport.scene is None:
                high = header.level_range[1]
                self.viewport.set_preview(pixels, header.field_size, high, header.patch_size)
        self.window.show_opening(path)
        self.inference.open(OpenRequest(path, self.device, self.precision))

    def exec(self) -> int:
        """Run until the window is closed; returns the exit code."""
        code = self.qt.exec()
        self.close()
        return code

    def close(self) -> None:
        """End the thread and free the GPU. May be called again."""
        if self._closed:
            return
        self._closed = True
        if self._hand_over is not None:
            self._hand_over.close()
        self.training.close()
        if self._started and not self.inference.stop(5.0):
            log.warning("The inference thread did not end in time; it ends with the process.")
        self._bell.rung.disconnect(self.viewport.receive)
        self.viewport.release_gl()
        self.window.close()

    def _on_handed_over(self, what: str | None) -> None:
        """Another start was to open `what`; the window comes to the front."""
        window = self.window
        if window.isMinimized():
            window.showNormal()
        window.raise_()
        window.activateWindow()
        if what is not None:
            window.arrivals.take(what)

    def _start_inference(self) -> None:
        if not self._started and not self._closed:
            self._started = True
            self.viewport.frame_painted.disconnect(self._start_inference)
            self.inference.start()


def build_app(
    path: str | None = None,
    device: str = "auto",
    *,
    precision: str = "auto",
    config: AppConfig | None = None,
    opener: Opener | None = None,
    store: SettingsStore | None = None,
) -> App:
    """Make the app, not yet shown.

    Args:
        path: Checkpoint, image or run folder; None takes the painting that ships.
        device: 'auto', 'cpu' or 'cuda'.
        precision: As `model.open_scale_space` takes it.
        config: Settings; None takes the defaults.
        opener: Opens the path in the inference thread; None takes `model.open_scale_space`.
        store: Settings of the person; None: the defaults, and nothing is kept.
    """
    return App(path, device, precision, config or AppConfig(), opener, store)


def run_app(
    path: str | None,
    device: str = "auto",
    *,
    precision: str = "auto",
    path_file: str | None = None,
    full_screen: bool = False,
    new_window: bool = False,
) -> int:
    """Open the window and stay until it is closed; or give `path` to the window that is open.

    Args:
        path: Checkpoint, image, run folder or `scalespace:` link; None takes the painting that
            ships, or only brings an open window to the front.
        device: 'auto', 'cpu' or 'cuda'.
        precision: As `model.open_scale_space` takes it.
        path_file: A camera path (JSON) to fly once the scene is live.
        full_screen: Begin without borders and menus.
        new_window: Open a window of its own, whatever is open.

    Returns:
        The exit code.

    Raises:
        CameraPathError: `path_file` cannot be flown.
    """
    camera_path = load_path(path_file) if path_file else None
    _application()
    store = default_store()
    plain = camera_path is None and not full_screen and device == "auto"
    if plain and not new_window and store.load().single_window and hand_over(path):
        return 0
    app = build_app(path, device, precision=precision, store=store)
    _show_uncaught(app)
    app.window.restore()
    if not new_window:
        app.listen()
    if camera_path is not None:
        app.viewport.scene_opened.connect(lambda _info: app.viewport.play_path(camera_path))
    if full_screen:
        app.window.set_full_screen(True)
    app.start()
    # Python looks at signals only while it runs: let Ctrl-C in the terminal end the app.
    signal.signal(signal.SIGINT, lambda *_: app.window.close())
    pulse = QTimer()
    pulse.timeout.connect(lambda: None)
    pulse.start(250)
    return _left(app.exec())


def _left(code: int) -> int:
    """The exit code; where a thread did not end, the process ends here and now.

    Python would end under the thread, and torch then aborts the process.
    """
    busy = [t.name for t in threading.enumerate() if t.daemon]
    if busy:
        log.warning("Did not end in time: %s.", ", ".join(busy))
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _application() -> QApplication:
    """The QApplication, made with what the viewport needs."""
    present = QApplication.instance()
    if isinstance(present, QApplication):
        return present
    if sys.platform.startswith("linux") and os.environ.get("WAYLAND_DISPLAY"):
        if os.environ.get("DISPLAY") and Path("/proc/driver/nvidia").exists():
            os.environ.setdefault("QT_QPA_PLATFORM", "xcb")
    prepare_surface()
    qt = QApplication(sys.argv[:1])
    qt.setApplicationName("scalespace-explorer")
    qt.setApplicationDisplayName("ScaleSpace Explorer")
    with contextlib.suppress(FileNotFoundError):
        qt.setWindowIcon(QIcon(str(shipped(ICON))))
    return qt


def prepare_surface() -> None:
    """Ask for what the viewport needs; must come before the QApplication."""
    QApplication.setAttribute(Qt.ApplicationAttribute.AA_ShareOpenGLContexts)
    surface = QSurfaceFormat()
    surface.setRenderableType(QSurfaceFormat.RenderableType.OpenGL)
    surface.setProfile(QSurfaceFormat.OpenGLContextProfile.CoreProfile)
    surface.setVersion(3, 3)
    surface.setSwapInterval(1)
    QSurfaceFormat.setDefaultFormat(surface)


def _show_uncaught(app: App) -> None:
    """An exception in a slot only prints otherwise: log it, and show it once."""
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        previous(kind, error, trace)
        if issubclass(kind, Exception):
            details = "".join(traceback.format_exception(kind, error, trace))
            title = app.window.tr("Something went wrong")
            app.window.show_failure(Failure(title, str(error) or kind.__name__, details))

    sys.excepthook = hook
