"""The scale x-ray: one place at every octave, and where neighbouring octaves disagree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QRectF, Qt, QTimer
from PySide6.QtWidgets import (
    QCheckBox,
    QDockWidget,
    QFrame,
    QLabel,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from explorer.camera import camera_at_level
from explorer.gestures import device_point
from explorer.messages import (
    ExactFrame,
    ExactView,
    Failure,
    Picture,
    PictureRequest,
    PicturesReady,
)
from explorer.octave_views import view_at
from explorer.panels.panel_thread import PanelThread
from explorer.panels.value_label import ValueLabel
from explorer.panels.xray_squares import SQUARE_PX, OctaveMapView, SquareGrid
from explorer.truth import octave_map
from explorer.truth_messages import OctaveMap, OctaveMapRequest
from model.scale import density, whole_levels

if TYPE_CHECKING:
    from explorer.main_window import MainWindow

_SQUARES, _MAP = "xray", "xray-map"
_CURSOR_MS = 150


class XrayPanel(QDockWidget):
    """Small squares, live while the view rests; click one to fly to its level."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self.setWindowTitle(self.tr("Scale x-ray"))
        self.setObjectName("xray_dock")
        self.setAccessibleName(self.tr("Scale x-ray"))
        self.viewport = window.viewport
        self.center_xy: tuple[float, float] = (0.0, 0.0)
        """The place that the squares show, field units."""
        self._squares: PictureRequest | None = None
        self._coarse: PictureRequest | None = None
        self._fine: ExactFrame | None = None
        self._map_of: tuple[int, float] | None = None
        self.thread_ = PanelThread("octave map", {OctaveMapRequest: octave_map}, window)
        self._make_widgets()
        self._timer = QTimer(self)
        self._timer.setInterval(_CURSOR_MS)
        self._timer.timeout.connect(self._look)
        self.follow_box.toggled.connect(lambda _on: self._run())
        self.grid.chosen.connect(self.fly_to_level)
        self.thread_.came.connect(self._on_map)
        viewport = self.viewport
        viewport.frame_painted.connect(self._look)
        viewport.exact_shown.connect(lambda _seconds: self._look())
        viewport.scene_opened.connect(lambda _info: self._forget())
        viewport.pictures_ready.connect(self._on_pictures)

    def _make_widgets(self) -> None:
        body = QWidget()
        body.setObjectName("clear")
        layout = QVBoxLayout(body)
        layout.setContentsMargins(10, 8, 10, 10)
        self.follow_box = QCheckBox(self.tr("Under the cursor"))
        self.follow_box.setAccessibleName(self.follow_box.text())
        self.follow_box.setToolTip(self.tr("The place under the cursor, else the view's middle"))
        layout.addWidget(self.follow_box)
        self.grid = SquareGrid()
        layout.addWidget(self.grid)
        self.map_title = QLabel(self.tr("Where octaves disagree"))
        self.map_title.setAccessibleName(self.map_title.text())
        self.map_view = OctaveMapView()
        self.map_text = ValueLabel(self.tr("How far octaves disagree"))
        self.map_text.setObjectName("quiet")
        self.map_text.setWordWrap(True)
        self.map_text.setToolTip(
            self.tr(
                "The view averaged over 2 x 2 pixels, against the same place rendered one octave "
                "coarser. Black: both are equal."
            )
        )
        layout.addSpacing(6)
        layout.addWidget(self.map_title)
        layout.addWidget(self.map_view)
        layout.addWidget(self.map_text)
        layout.addStretch(1)
        scroll = QScrollArea()
        scroll.setObjectName("clear")
        scroll.setAccessibleName(self.tr("Scale x-ray"))
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(body)
        bar = scroll.verticalScrollBar().sizeHint().width()
        scroll.setMinimumWidth(body.minimumSizeHint().width() + bar)
        self.setWidget(scroll)
        self._show_map(None)

    def setVisible(self, visible: bool) -> None:
        """Show or hide; hidden, it asks for nothing."""
        super().setVisible(visible)
        self._run()
        if not visible:
            self._withdraw()
        self._look()

    def fly_to_level(self, level: float) -> None:
        """Fly to the place of the squares, at `level` (octaves)."""
        state = self.viewport.view_state
        self.viewport.fly_to(camera_at_level(self.center_xy, level, state.size, state.patch_size))

    def _run(self) -> None:
        """Look at the cursor now and then, where that is asked for."""
        if self.follow_box.isChecked() and not self.isHidden():
            self._timer.start()
        else:
            self._timer.stop()
        self._look()

    def _forget(self) -> None:
        """Another scene is open."""
        self._withdraw()
        self._show_map(None)
        self._look()

    def _withdraw(self) -> None:
        for request in (self._squares, self._coarse):
            if request is not None:
                self.viewport.inference.ask_pictures(PictureRequest(request.owner, request.scene))
        self._squares = self._coarse = self._fine = self._map_of = None

    # At rest, ask for what is missing.

    def _look(self) -> None:
        """After a painted frame, and now and then under the cursor."""
        viewport = self.viewport
        scene = viewport.scene
        if self.isHidden() or scene is None:
            return
        self.grid.set_levels(whole_levels(scene.level_range))
        state = viewport.view_state
        self.grid.mark(state.view.level(state.patch_size))
        if viewport.is_moving:
            return
        self.center_xy = self._place()
        side = round(SQUARE_PX * self.devicePixelRatioF())
        pictures = tuple(
            Picture(
                view_at(self.center_xy, square.level, (side, side), scene), viewport.stream.seed
            )
            for square in self.grid.squares
        )
        wanted = PictureRequest(_SQUARES, scene.identity, pictures)
        if wanted != self._squares:
            self._squares = wanted
            viewport.inference.ask_pictures(wanted)
        self._look_at_map()

    def _place(self) -> tuple[float, float]:
        """The point under the cursor, where that is asked for and it is there; else the middle."""
        view, pointer = self.viewport.view_state.view, self.viewport.pointer
        if not self.follow_box.isChecked():
            return view.camera.cx, view.camera.cy
        if pointer is None:
            return self.center_xy
        return view.to_field(*device_point(pointer, self.viewport.devicePixelRatioF()))

    def _look_at_map(self) -> None:
        """With the exact frame at hand, ask for the same place one octave coarser."""
        viewport = self.viewport
        held, scene = viewport.held_exact, viewport.scene
        if held is None or scene is None or held.view != viewport.current_exact():
            return
        if self._map_of == (held.number, held.view.level):
            return
        self._fine, self._map_of = held, (held.number, held.view.level)
        width, height = held.view.size
        level = held.view.level - 1.0
        if level < scene.level_range[0] or min(width, height) < 2:
            self._show_map(None)
            self.map_text.setText(self.tr("This scene has no coarser octave than the view's."))
            return
        coarse = ExactView(held.view.origin_xy, level, (width // 2, height // 2))
        self._coarse = PictureRequest(_MAP, scene.identity, (Picture(coarse, held.seed),))
        viewport.inference.ask_pictures(self._coarse)

    # Results.

    def _on_pictures(self, ready: PicturesReady) -> None:
        if ready.request is self._squares:
            ratio = self.devicePixelRatioF()
            for number, pixels in enumerate(ready.pixels, ready.first):
                frame = self._frame_in(ready.request, number)
                self.grid.squares[number].show_pixels(pixels, ratio, frame)
        elif ready.request is self._coarse and self._fine is not None:
            fine, self._fine = self._fine, None
            self.thread_.ask(OctaveMapRequest(fine.number, fine.pixels, ready.pixels[0]))

    def _frame_in(self, request: PictureRequest, number: int) -> QRectF | None:
        """Where in one picture the next one lies, pixels."""
        if number + 1 >= len(request.pictures):
            return None
        here, inner = (request.pictures[i].view for i in (number, number + 1))
        d = density(here.level, self.viewport.view_state.patch_size)
        scale = 2.0 ** (here.level - inner.level)
        left, top = ((b - a) * d for a, b in zip(here.origin_xy, inner.origin_xy, strict=True))
        return QRectF(left, top, inner.size[0] * scale, inner.size[1] * scale)

    def _on_map(self, result: Any) -> None:
        if isinstance(result, OctaveMap) and self._map_of and result.number == self._map_of[0]:
            self._show_map(result)
        elif isinstance(result, Failure):
            self.map_text.setText(result.text)

    def _show_map(self, found: OctaveMap | None) -> None:
        self.map_view.show_map(found)
        if found is None or self._map_of is None:
            self.map_text.setText(self.tr("Comes when the view is at rest and exact."))
            return
        level = self._map_of[1]
        self.map_text.setText(
            self.tr("Levels {0} and {1} differ by {2} of 255 on average.").format(
                f"{level:.1f}", f"{level - 1:.1f}", f"{found.mean:.2f}"
            )
        )
