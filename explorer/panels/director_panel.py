"""The zoom director: a flight is placed, recorded by hand, edited, previewed and made a film."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QSignalBlocker, Qt, QTimer
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDockWidget,
    QDoubleSpinBox,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QMenu,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from explorer.actions import key_text
from explorer.camera_path import CameraPath, CameraPathError, load_path, save_path, tour
from explorer.director import MAX_DURATION_S, MAX_HOLD_S, Director, FlightLog, PreviewFlight
from explorer.panels.file_dialogs import confirmed, with_ending
from explorer.panels.film_bar import FilmBar
from explorer.panels.key_pictures import KeyPictures
from explorer.panels.timeline import Timeline
from model.latent import Seed

if TYPE_CHECKING:
    from explorer.main_window import MainWindow

_SAMPLE_MS = 100
_EASES = ("smooth", "linear")


class DirectorPanel(QDockWidget):
    """Edits one flight of the scene that is open."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._window = window
        self.viewport = window.viewport
        self.setWindowTitle(self.tr("Zoom director"))
        self.setObjectName("director_dock")
        self.setAccessibleName(self.windowTitle())
        self.director = Director(self._refresh)
        self.film = FilmBar(window)
        self._log: FlightLog | None = None
        self._preview: PreviewFlight | None = None
        self.pictures = KeyPictures(self.viewport)
        self._sampling = QTimer(self)
        self._sampling.setInterval(_SAMPLE_MS)
        self._sampling.timeout.connect(self._sample)
        self.timeline = Timeline(self.director, self.pictures.of)
        self._make_widgets()
        self._lay_out()
        self._connect()
        self._refresh()

    # Widgets.

    def _make_widgets(self) -> None:
        self.record_button = self._button(self.tr("Record"), self.toggle_recording)
        self.record_button.setToolTip(self.tr("Fly; the way becomes keyframes"))
        self.play_button = self._button(self.tr("Play"), self.toggle_play)
        self.add_button = self._button(self.tr("Add view"), self.add_here)
        self.add_button.setToolTip(self.tr("Keep the view that you see, behind the chosen one"))
        self.even_button = self._button(self.tr("Even speed"), self.director.even_speed)
        self.even_button.setToolTip(
            self.tr("Retime the keyframes so that the flight is equally fast everywhere")
        )
        self._make_menu()
        self.export_button = self._button(self.tr("Export film…"), self.ask_film)
        self.duration = self._seconds(self.tr("Duration"), MAX_DURATION_S)
        self.loop = QCheckBox(self.tr("Loop"))
        self.loop.setAccessibleName(self.tr("Loop"))
        self.loop.setToolTip(self.tr("Fly back to the first keyframe at the end"))
        self.which = QLabel()
        self.which.setObjectName("quiet")
        self.key_time = self._seconds(self.tr("Time of the keyframe"), MAX_DURATION_S)
        self.ease = QComboBox()
        self.ease.addItems([self.tr("Smooth"), self.tr("Linear")])
        self.ease.setAccessibleName(self.tr("Ease"))
        self.ease.setToolTip(self.tr("How the way to this keyframe is timed"))
        self.hold = self._seconds(self.tr("Rest"), MAX_HOLD_S)
        self.hold.setToolTip(self.tr("How long the camera rests at this keyframe"))
        self.set_button = self._button(self.tr("Set to this view"), self.set_view)
        self.delete_button = self._button(self.tr("Delete"), self.delete)

    def _make_menu(self) -> None:
        """What one does with the flight as a whole."""
        director = self.director
        menu = QMenu(self)
        menu.setAccessibleName(self.tr("Flight"))

        def entry(text: str, slot: Callable[[], object], key: str = "") -> QAction:
            action = menu.addAction(text)
            action.triggered.connect(lambda _checked=False: slot())
            if key:
                action.setShortcut(QKeySequence(key))
                action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
                self.addAction(action)
            return action

        self.open_action = entry(self.tr("Open…"), self.ask_open)
        self.save_action = entry(self.tr("Save…"), self.ask_save)
        self.tour_action = entry(self.tr("From the bookmarks"), self.load_tour)
        menu.addSeparator()
        self.undo_action = entry(self.tr("Undo"), director.undo, "Ctrl+Z")
        self.redo_action = entry(self.tr("Redo"), director.redo, "Ctrl+Shift+Z")
        self.clear_action = entry(self.tr("Remove all keyframes"), director.clear)
        self.menu_button = QToolButton()
        self.menu_button.setText(self.tr("Flight"))
        self.menu_button.setAccessibleName(self.tr("Flight"))
        self.menu_button.setMenu(menu)
        self.menu_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)

    def _button(self, text: str, slot: Callable[[], object]) -> QToolButton:
        button = QToolButton()
        button.setText(text)
        button.setAccessibleName(text.rstrip("…"))
        button.clicked.connect(lambda _checked=False: slot())
        return button

    def _seconds(self, name: str, most: float) -> QDoubleSpinBox:
        spin = QDoubleSpinBox()
        spin.setAccessibleName(name)
        spin.setRange(0.0, most)
        spin.setDecimals(2)
        spin.setSingleStep(0.5)
        spin.setSuffix(self.tr(" s"))
        spin.setKeyboardTracking(False)
        spin.setMinimumWidth(96)
        return spin

    def _lay_out(self) -> None:
        body = QWidget()
        layout = QVBoxLayout(body)
        layout.setContentsMargins(10, 4, 10, 6)
        layout.setSpacing(6)
        layout.addWidget(
            _row(
                (self.record_button, self.play_button, self.add_button),
                (QLabel(self.tr("Duration")), self.duration, self.loop, self.even_button),
                (self.menu_button, self.export_button),
            )
        )
        layout.addWidget(self.timeline, 1)
        layout.addWidget(
            _row(
                (self.which, QLabel(self.tr("at")), self.key_time),
                (self.ease, QLabel(self.tr("Rest")), self.hold),
                (self.set_button, self.delete_button),
                (self.film,),
            )
        )
        self.setWidget(body)

    def _connect(self) -> None:
        timeline, director, viewport = self.timeline, self.director, self.viewport
        timeline.key_chosen.connect(lambda _index: self._refresh())
        timeline.go_asked.connect(self.go)
        timeline.key_moved.connect(lambda i, t: director.move(i, t, dragging=True))
        timeline.move_ended.connect(director.end_drag)
        timeline.scrubbed.connect(self.scrub)
        timeline.split_asked.connect(self._split)
        timeline.delete_asked.connect(lambda _index: self.delete())
        self.duration.valueChanged.connect(director.set_duration)
        self.loop.toggled.connect(director.set_loop)
        self.key_time.valueChanged.connect(self._time_set)
        self.ease.activated.connect(self._ease_set)
        self.hold.valueChanged.connect(self._hold_set)
        self.film.changed.connect(self._refresh)
        viewport.frame_painted.connect(self._frame_painted)
        viewport.exact_shown.connect(lambda _s: QTimer.singleShot(0, self._rested))
        viewport.scene_changed.connect(lambda _info: self._scene_changed())
        viewport.scene_opened.connect(lambda _info: self._scene_opened())
        self._window.closed.connect(self._end)

    # What is shown.

    def _refresh(self) -> None:
        """The flight, or what is chosen in it, has changed."""
        director, timeline = self.director, self.timeline
        timeline.refresh()
        keys, index = director.keys, timeline.selected
        has_scene = self.viewport.scene is not None
        chosen = 0 <= index < len(keys)
        flies = director.duration_s > 0
        blockers = [QSignalBlocker(w) for w in (self.duration, self.loop, self.key_time, self.hold)]
        self.duration.setValue(director.duration_s)
        self.loop.setChecked(director.loop_s > 0)
        if chosen:
            self.key_time.setValue(keys[index].time_s)
            self.hold.setValue(keys[index].hold_s)
            self.ease.setCurrentIndex(_EASES.index(keys[index].ease))
        del blockers
        which = self.tr("Keyframe {0} of {1}").format(index + 1, len(keys))
        self.which.setText(which if chosen else self.tr("No keyframe chosen"))
        for widget in (self.ease, self.hold, self.set_button, self.delete_button):
            widget.setEnabled(chosen)
        self.key_time.setEnabled(chosen and index > 0)
        for widget in (self.duration, self.even_button, self.play_button, self.export_button):
            widget.setEnabled(flies)
        self.loop.setEnabled(len(keys) > 1)
        self.save_action.setEnabled(bool(keys))
        self.clear_action.setEnabled(bool(keys))
        self.undo_action.setEnabled(director.can_undo)
        self.redo_action.setEnabled(director.can_redo)
        self.tour_action.setEnabled(has_scene)
        for widget in (self.add_button, self.record_button):
            widget.setEnabled(has_scene)
        playing, recording = self._preview is not None, self._log is not None
        self.play_button.setText(self.tr("Stop") if playing else self.tr("Play"))
        self.record_button.setText(self.tr("Stop recording") if recording else self.tr("Record"))
        if self.film.is_running:
            self.export_button.setEnabled(False)

    def _rested(self) -> None:
        """The exact frame is shown: if it is that of a keyframe, it is its picture from now on."""
        here = self.viewport.view_state.displayed
        if not self.isHidden() and self.viewport.is_exact:
            for key in self.director.keys:
                if key.camera == here and key.seed in (None, self._seed()):
                    self.pictures.keep(here, key.seed)
                    self.timeline.update()
                    return

    def _scene_changed(self) -> None:
        """What was flown before was another scene."""
        if self._log is not None:
            self._log = FlightLog()

    def _scene_opened(self) -> None:
        """Pictures were of other weights; the flight stays, it may fit this scene."""
        self.pictures.forget()
        self._refresh()

    # Editing.

    def add_here(self) -> None:
        """Keep the view that is shown as a keyframe behind the chosen one, else at the end."""
        if self.viewport.scene is None:
            return
        if self.isHidden():
            self.show()
        camera, seed = self.viewport.view_state.displayed, self._seed()
        self.pictures.keep(camera, seed)
        chosen = self.timeline.selected
        index = self.director.add(camera, chosen if chosen >= 0 else None, seed)
        self._choose(index)

    def _seed(self) -> Seed | None:
        """The latent that is shown; None where the scene has no latents."""
        scene = self.viewport.scene
        return self.viewport.stream.seed if scene is not None and scene.has_latents else None

    def _choose(self, index: int) -> None:
        self.timeline.choose(index)
        if 0 <= index < len(self.director.keys):
            self.timeline.set_playhead(self.director.keys[index].time_s)
        self._refresh()

    def _split(self, time_s: float) -> None:
        index = self.director.split(time_s)
        if index is not None:
            self._choose(index)

    def delete(self) -> None:
        """Remove the chosen keyframe."""
        if self.timeline.selected >= 0:
            self.director.delete(self.timeline.selected)
            self._refresh()

    def set_view(self) -> None:
        """Let the chosen keyframe show what is on screen."""
        if self.timeline.selected >= 0:
            camera, seed = self.viewport.view_state.displayed, self._seed()
            self.pictures.keep(camera, seed)
            self.director.set_camera(self.timeline.selected, camera, seed)

    def _time_set(self, time_s: float) -> None:
        if self.timeline.selected >= 0:
            self.director.move(self.timeline.selected, time_s)
            self._refresh()  # what was asked for may not be what there is room for

    def _hold_set(self, seconds: float) -> None:
        if self.timeline.selected >= 0:
            self.director.set_hold(self.timeline.selected, seconds)

    def _ease_set(self, row: int) -> None:
        if self.timeline.selected >= 0:
            self.director.set_ease(self.timeline.selected, "linear" if row else "smooth")

    def load(self, path: CameraPath) -> None:
        """Edit this flight."""
        self.director.load(path)
        self._choose(0)

    # Flying.

    def go(self, index: int) -> None:
        """Fly to a keyframe."""
        key = self.director.keys[index]
        self.timeline.set_playhead(key.time_s)
        if self.director.path is not None:
            self._show_seed(self.director.path.seed_at(key.time_s))
        self._window.places.fly_to(key.camera)

    def scrub(self, time_s: float) -> None:
        """Show the flight at this time."""
        path = self.director.path
        if path is not None:
            self._stop_preview()
            self.viewport.view_state.jump_to(path.at(time_s))
            self._show_seed(path.seed_at(time_s))
            self.viewport.wake()

    def _show_seed(self, seed: Seed | None) -> None:
        if seed is not None:
            self._window.places.seed_dragged.emit(seed)

    def toggle_play(self) -> None:
        """Fly the flight on screen, from the playhead on; or stop."""
        path = self.director.path
        if self._preview is not None:
            self._stop_preview()
        elif path is not None and path.duration_s > 0:
            start_s = self.timeline.playhead_s
            if start_s >= path.duration_s - 1e-3:
                start_s = 0.0
            self.viewport.leaving.emit()
            self._preview = PreviewFlight(path, start_s)
            self.viewport.view_state.fly(self._preview, time.perf_counter())
            self.viewport.wake()
            self._refresh()

    def _stop_preview(self) -> None:
        if self._preview is not None:
            self._preview = None
            self.viewport.stop_path()
            self._refresh()

    def _frame_painted(self) -> None:
        """Follow the preview; a hand or another flight may have ended it."""
        if self._preview is None:
            return
        self.timeline.set_playhead(self._preview.shown_s)
        if not self.viewport.view_state.is_flying:
            self._preview = None
            self._refresh()

    def _tour(self, *, from_here: bool = False) -> CameraPath | None:
        """The flight through the bookmarks of this scene, and their latents; None without any."""
        places, state = self._window.places, self.viewport.view_state
        views = [places.bookmarks[i].view for i in range(len(places.bookmarks))]
        if not views:
            text = self.tr("There are no bookmarks here yet; {0} makes one.")
            self._tell(text.format(key_text("Ctrl+D")))
            return None
        seed = self._seed()
        return tour(
            [view.camera(state.patch_size, state.size) for view in views],
            [] if seed is None else [view.seed for view in views],
            start=state.displayed if from_here else None,
            start_seed=seed,
        )

    def load_tour(self) -> None:
        """Edit a flight through the bookmarks of this scene, in their order."""
        path = self._tour()
        if path is not None:
            self.load(path)

    def fly_tour(self) -> None:
        """Fly through the bookmarks of this scene, in their order, from here."""
        path = self._tour(from_here=True)
        if path is not None:
            self._stop_preview()
            self.viewport.play_path(path)

    # Recording by hand.

    def toggle_recording(self) -> None:
        """Begin to note where the hand flies, or make keyframes of it."""
        if self._log is None:
            if self.viewport.scene is None:
                return
            self.show()
            self._stop_preview()
            self._log = FlightLog()
            self._sample()
            self._sampling.start()
        else:
            self._sampling.stop()
            self._sample()
            path, self._log = self._log.path(), None
            if path is not None:
                self.load(path)
                self._tell(
                    self.tr("Recorded {0} s as {1} keyframes.").format(
                        f"{path.duration_s:.1f}", len(path.keyframes)
                    )
                )
        self._window.actions_by_id["record_flight"].setChecked(self._log is not None)
        self._refresh()

    def _sample(self) -> None:
        if self._log is not None:
            now = time.perf_counter()
            self._log.add(now, self.viewport.view_state.displayed, self._seed())

    # Files.

    def ask_open(self) -> None:
        """Let the person choose a flight to edit."""
        name, _ = QFileDialog.getOpenFileName(
            self, self.tr("Open a flight"), "", self.tr("Camera paths (*.json)")
        )
        if name:
            self.open(name)

    def open(self, file: str) -> None:
        """Edit the flight in `file`."""
        try:
            self.load(load_path(file))
        except CameraPathError as error:
            self._tell(str(error))

    def ask_save(self) -> None:
        """Let the person choose where the flight goes."""
        title, kinds = self.tr("Save the flight"), self.tr("Camera paths (*.json)")
        name, _ = QFileDialog.getSaveFileName(self, title, "flight.json", kinds)
        chosen = name and confirmed(self, title, name, with_ending(name, ".json", (".json",)))
        if chosen:
            self.save(chosen)

    def save(self, file: str) -> None:
        """Write the flight; the app plays it, and `record --path` films it."""
        if self.director.path is None:
            return
        try:
            save_path(self.director.path, file)
        except OSError as error:
            self._tell(self.tr("The flight was not saved: {0}").format(error))
        else:
            self._tell(self.tr("Saved {0}").format(file))

    def ask_film(self) -> None:
        """Ask what film of the flight is wanted."""
        if self.director.path is not None:
            self.film.ask(self.director.path)

    def _end(self) -> None:
        """The window closes."""
        self._sampling.stop()
        self.film.process.end()

    def _tell(self, text: str) -> None:
        self._window.show_notice(text)


def _row(*groups: Sequence[QWidget]) -> QScrollArea:
    """Widgets in a row, groups apart, the last one at the right; scrolls where it is narrow."""
    body = QWidget()
    body.setObjectName("clear")
    row = QHBoxLayout(body)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(6)
    for number, group in enumerate(groups):
        if number == len(groups) - 1:
            row.addStretch(1)
        elif number:
            row.addSpacing(14)
        for widget in group:
            row.addWidget(widget)
    area = QScrollArea()
    area.setObjectName("clear")
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setWidgetResizable(True)
    area.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(body)
    area.setFixedHeight(body.sizeHint().height() + 12)
    return area
