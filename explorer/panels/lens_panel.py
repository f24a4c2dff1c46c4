"""The reality lens: the real picture over the generated one, and which octaves are remembered."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QDockWidget, QFileDialog, QPushButton, QVBoxLayout, QWidget

from explorer.actions import Action
from explorer.messages import ExactFrame, Failure, PictureRequest, PicturesReady, Progress
from explorer.octave_views import Region, figure_pictures, region_in
from explorer.panels.lens_controls import LensControls
from explorer.panels.lens_figures import LensFigures
from explorer.panels.lens_overlay import LensImages, LensOverlay, lens_images
from explorer.panels.panel_thread import PanelThread
from explorer.panels.value_label import ValueLabel
from explorer.side_thread import Handler
from explorer.truth import Truth
from explorer.truth_messages import (
    FigureRequest,
    Figures,
    TruthFrame,
    TruthOpen,
    TruthOpened,
    TruthRequest,
)
from explorer.truth_paths import TruthPaths

if TYPE_CHECKING:
    from explorer.main_window import MainWindow
    from explorer.messages import Pixels, SceneInfo
    from model.latent import Seed

_OWNER = "lens"
_BLINK_MS = 700
_FIGURES_MS = 300
_RADIUS_STEP_PX = 20


class LensPanel(QDockWidget):
    """Chooses the real picture, how it is shown, and says how the two compare."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self.setWindowTitle(self.tr("Reality lens"))
        self.setObjectName("lens_dock")
        self.setAccessibleName(self.tr("Reality lens"))
        self.window_ = window
        self.viewport = window.viewport
        folder = window.store.folder
        self._paths = TruthPaths(None if folder is None else folder / "truth.json")
        truth = Truth()
        handlers: dict[type, Handler] = {
            TruthOpen: truth.open,
            TruthRequest: lambda request: _images(truth.frame(request)),
            FigureRequest: truth.figures,
        }
        self.thread_ = PanelThread("truth", handlers, window)
        truth.thread = self.thread_.side
        self.opened: TruthOpened | None = None
        self.figures: Figures | None = None
        self._opening: TruthOpen | None = None
        self._scene: SceneInfo | None = None
        """Whose picture is open, or being opened: the newest weights of it that were seen."""
        self._asked: tuple[object, ...] | None = None
        self._pictures: PictureRequest | None = None
        self._figures_of: object = None
        self._region: Region | None = None
        self._drawn: dict[int, Pixels] = {}
        self.overlay = LensOverlay(self.viewport)
        window.status_line.real_color_at = self.overlay.color_at
        self._make_widgets()
        self._make_timers()
        self._connect()
        self._add_actions()
        self._show_truth()

    # Widgets.

    def _make_widgets(self) -> None:
        body = QWidget()
        layout = QVBoxLayout(body)
        layout.setContentsMargins(10, 8, 10, 10)
        self.choose_button = QPushButton(self.tr("Choose the real picture…"))
        self.choose_button.setAccessibleName(self.tr("Choose the real picture"))
        self.file_label = self._label(self.tr("Real picture"))
        self.warning = self._label(self.tr("Warning"))
        self.controls = LensControls()
        self.figures_view = LensFigures()
        layout.addWidget(self.choose_button)
        layout.addWidget(self.file_label)
        layout.addWidget(self.warning)
        layout.addWidget(self.controls)
        layout.addWidget(self.figures_view, 1)
        body.setMinimumWidth(300)
        self.setWidget(body)

    def _label(self, name: str) -> ValueLabel:
        label = ValueLabel(name)
        label.setObjectName("quiet")
        label.setWordWrap(True)
        return label

    def _make_timers(self) -> None:
        self.blink_timer = QTimer(self)
        self.blink_timer.setInterval(_BLINK_MS)
        self.blink_timer.timeout.connect(self._turn)
        self._figures_timer = QTimer(self)
        self._figures_timer.setSingleShot(True)
        self._figures_timer.setInterval(_FIGURES_MS)
        self._figures_timer.timeout.connect(self._ask_figures)

    def _connect(self) -> None:
        viewport, controls = self.viewport, self.controls
        self.choose_button.clicked.connect(lambda _checked=False: self.ask_file())
        controls.changed.connect(self._show_as)
        controls.turn_asked.connect(self._turn)
        self.overlay.moved.connect(self._on_moved)
        self.thread_.came.connect(self._on_result)
        viewport.frame_painted.connect(self._look)
        viewport.exact_shown.connect(lambda _seconds: self._look())
        viewport.scene_opened.connect(lambda _info: self._on_scene())
        viewport.pictures_ready.connect(self._on_pictures)
        controls.alternate_box.setChecked(not viewport.view_state.config.reduced_motion)
        self._show_as()

    def _add_actions(self) -> None:
        """Keys for the size of the lens, in the registry as all others."""
        for name, text, key, step in (
            ("lens_smaller", "S&maller lens", "[", -_RADIUS_STEP_PX),
            ("lens_larger", "&Larger lens", "]", _RADIUS_STEP_PX),
        ):
            action = Action(name, text, shortcuts=(key,))
            self.window_.actions_by_id.add(action, partial(self._resize_lens, step))

    # What is shown.

    def _show_as(self) -> None:
        """Show what the controls say."""
        controls, overlay = self.controls, self.overlay
        if controls.content != overlay.content:
            overlay.set_turn(True)
        overlay.show_as(controls.area, controls.content, controls.radius_px)
        self._run_blink()
        self._look()

    def setVisible(self, visible: bool) -> None:
        """Show or hide the panel, and with it what lies over the picture."""
        super().setVisible(visible)
        self.overlay.setVisible(visible)
        self._run_blink()
        if visible:
            self._on_scene()
        else:
            self._figures_timer.stop()
            self._withdraw()

    def _resize_lens(self, step_px: int) -> None:
        if not self.isHidden():
            self.controls.resize_lens(step_px)

    def _run_blink(self) -> None:
        if self.controls.blinks and not self.isHidden():
            self.blink_timer.start()
        else:
            self.blink_timer.stop()

    def _turn(self) -> None:
        self.overlay.set_turn(not self.overlay.shows_truth)

    # Choosing and opening.

    def ask_file(self) -> None:
        """Let the person choose the real picture."""
        known = self.opened or self.viewport.scene
        name, _ = QFileDialog.getOpenFileName(
            self,
            self.tr("The real picture"),
            str(Path(known.path).parent) if known is not None else "",
            self.tr(
                "Pictures and tile pyramids (*.png *.jpg *.jpeg *.tif *.tiff *.webp *.dzi "
                "ImageProperties.xml);;All files (*)"
            ),
        )
        if name:
            file = Path(name)
            # A Zoomify pyramid is the folder that this file lies in.
            self.open_truth(str(file.parent if file.name == "ImageProperties.xml" else file))

    def open_truth(self, path: str) -> None:
        """Open `path` as the real picture of the scene; it is remembered once it is open."""
        self._forget()
        self.file_label.setText(self.tr("Opening {0} …").format(Path(path).name))
        self._open(os.path.abspath(path))

    def _open(self, path: str) -> None:
        self._scene = scene = self.viewport.scene
        if scene is not None:
            self._opening = TruthOpen(
                path, scene.identity, scene.path, scene.patch_size, scene.field_size
            )
            self.thread_.ask(self._opening)

    def _on_scene(self) -> None:
        """A scene is open, or the panel is: find its real picture."""
        scene = self.viewport.scene
        if scene is None or self.isHidden():
            return
        if self._is_known(scene):
            self._scene = scene
            self._look()
            return
        self._forget()
        path = self._paths.get(scene.identity) or self._paths.get(os.path.abspath(scene.path))
        if path is None:
            self._opening = None
            self._show_truth()
        else:
            self._open(path)

    def _is_known(self, scene: SceneInfo) -> bool:
        """Whether what is open, or being opened, is the picture of `scene`.

        Newer weights of a run have the picture of those before: nothing is opened anew for them.
        """
        known = self._scene
        if known is None or (self.opened is None and self._opening is None):
            return False
        alike = (scene.patch_size, scene.field_size) == (known.patch_size, known.field_size)
        return scene.identity == known.identity or (alike and scene.continues(known))

    def _forget(self) -> None:
        """There is no real picture any more."""
        self.opened = self.figures = self._asked = self._figures_of = None
        self._withdraw()
        self.overlay.set_images(None)
        self.figures_view.clear()
        self.warning.hide()

    def _show_truth(self) -> None:
        """Write what is open."""
        text = self.tr(
            "Choose the picture that this scene was made from: the lens shows it at the same "
            "place and level."
        )
        if self.opened is not None:
            text = Path(self.opened.path).name
        self.file_label.setText(text)
        self.file_label.setToolTip("" if self.opened is None else self.opened.path)
        warning = "" if self.opened is None else self.opened.warning
        self.warning.setText(warning)
        self.warning.setVisible(bool(warning))

    # Requests and results.

    def _look(self) -> None:
        """After a painted frame: move what is shown; at rest, ask for what is missing."""
        if self.isHidden() or self.opened is None:
            return
        self.overlay.refresh()
        viewport, scene = self.viewport, self.viewport.scene
        if scene is None or scene is not self._scene or viewport.is_moving:
            self._figures_timer.stop()
            return
        view = viewport.current_exact()
        if view is None:
            return
        held, gain = self._held(), self.controls.gain
        pixels, number = None, None
        if held is not None and self.controls.content == "difference":
            pixels, number = held.pixels, held.number
        asked = (view, number, gain)
        if asked != self._asked:
            self._asked = asked
            self.thread_.ask(TruthRequest(self.opened.scene, view, pixels, gain))
        stale = held is not None and self._figures_of != self._figure_key()
        if stale and not self._figures_timer.isActive():
            self._figures_timer.start()

    def _on_moved(self) -> None:
        """The real picture covers another part: its figures wait until that rests."""
        if self.opened is None or self.isHidden() or self.viewport.is_moving:
            return
        if self._held() is not None:
            self._figures_timer.start()

    def _held(self) -> ExactFrame | None:
        """The exact frame of the view at rest, None before it came."""
        held = self.viewport.held_exact
        here = held is not None and held.view == self.viewport.current_exact()
        return held if here and held is not None and held.seed == self._seed else None

    @property
    def _seed(self) -> Seed:
        return self.viewport.stream.seed

    def _figure_key(self) -> object:
        scene = self.viewport.scene
        identity = "" if scene is None else scene.identity
        return identity, self.viewport.current_exact(), self._seed, self.overlay.covered

    def _ask_figures(self) -> None:
        """Ask for the scene's part of the figures of what is covered, in the view at rest."""
        scene, view = self.viewport.scene, self.viewport.current_exact()
        if self.isHidden() or self.opened is None or scene is None or view is None:
            return
        if self._figures_of == self._figure_key():
            return
        self._figures_of = self._figure_key()
        self._region = region_in(scene.field_size, self._covered(), self.overlay.area == "lens")
        if self._region is None:
            self._withdraw_pictures()
            self.figures_view.clear()
            return
        top = min(view.level, self.opened.top_level)
        pictures = figure_pictures(self._region, scene, self._seed, top)
        self._drawn.clear()
        self._pictures = PictureRequest(_OWNER, scene.identity, pictures)
        self.viewport.inference.ask_pictures(self._pictures)

    def _covered(self) -> tuple[float, float, float, float]:
        """What the real picture lies over: left, top, right, bottom, field units."""
        view, ratio = self.viewport.view_state.view, self.viewport.devicePixelRatioF()
        rect = self.overlay.covered
        left, top = view.to_field(rect.left() * ratio, rect.top() * ratio)
        right, bottom = view.to_field(rect.right() * ratio, rect.bottom() * ratio)
        return left, top, right, bottom

    def _withdraw(self) -> None:
        """Wait for no figures any more, and have none."""
        self._withdraw_pictures()
        self._figures_of = None

    def _withdraw_pictures(self) -> None:
        if self._pictures is not None:
            self.viewport.inference.ask_pictures(PictureRequest(_OWNER, self._pictures.scene))
            self._pictures = None

    def _on_pictures(self, ready: PicturesReady) -> None:
        if ready.request is not self._pictures or self._region is None or self.opened is None:
            return
        self._drawn.update(enumerate(ready.pixels, ready.first))
        wanted = ready.request.pictures
        if len(self._drawn) == len(wanted):
            drawn = tuple(self._drawn[i] for i in range(len(wanted)))
            views = tuple(picture.view for picture in wanted)
            self.thread_.ask(FigureRequest(self.opened.scene, views, drawn, self._region))

    def _on_result(self, result: Any) -> None:
        if isinstance(result, Failure):
            self._opening = None
            self._show_truth()
            title = self.tr("The real picture cannot be shown")
            self.window_.show_failure(Failure(title, result.text, result.details))
        elif isinstance(result, Progress) and self._opening is not None:
            percent = "" if result.fraction is None else f" {result.fraction:.0%}"
            self.file_label.setText(result.text + percent)
        elif isinstance(result, TruthOpened):
            self._on_opened(result)
        elif self.opened is None:
            return
        elif isinstance(result, LensImages) and result.frame.scene == self.opened.scene:
            self.overlay.set_images(result)
        elif isinstance(result, Figures):
            request = result.request
            if request.region is self._region and request.scene == self.opened.scene:
                self._show_figures(result)

    def _on_opened(self, opened: TruthOpened) -> None:
        asked = self._opening
        if asked is None or (opened.scene, opened.path) != (asked.scene, asked.path):
            return  # another has been asked for since
        self.opened, self._opening, self._asked = opened, None, None
        self._show_truth()
        path = os.path.abspath(asked.scene_path)
        if (self._paths.get(opened.scene) or self._paths.get(path)) != opened.path:
            try:
                # By its file too: a run that goes on brings other weights from the same place.
                for key in (opened.scene, path):
                    self._paths.keep(key, opened.path)
            except OSError as error:
                self.window_.show_notice(str(error))
        self._look()

    def _show_figures(self, figures: Figures) -> None:
        """Write what was found; say so where the view is finer than the real picture."""
        self.figures = figures
        view = self.viewport.current_exact()
        top = 0.0 if self.opened is None else self.opened.top_level
        ends = view is not None and view.level > top + 0.01
        self.figures_view.show_figures(figures.octaves, self.overlay.area, top if ends else None)


def _images(frame: TruthFrame | None) -> LensImages | None:
    """In the side thread: what the overlay paints, so that the window converts nothing."""
    return None if frame is None else lens_images(frame)
