"""The status line: where one is, how deep, what is under the cursor, and how fast it all goes."""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, QTimer, Signal
from PySide6.QtGui import QFontDatabase, QResizeEvent
from PySide6.QtWidgets import QLabel, QSizePolicy, QStatusBar, QWidget

from explorer.gestures import device_point
from explorer.meter import percentile
from explorer.panels.value_label import ValueLabel
from explorer.readout import Color, color_at
from explorer.view_state import fit_camera
from explorer.viewport import Viewport
from model.latent import in_short

_UPDATE_MS, _REST_MS = 125, 1000
"""From look to look, and where nothing moves: each takes the interpreter from whoever trains."""
_WINDOW_S = 1.0
_REST_S = 1.0
"""At rest the speeds are written this seldom, s: without a GPU every change of a label composes the
whole window anew."""
_EDGE_PX = 6
_LONG_S = 9.9995
"""From here on seconds are told, not milliseconds: there is room for four digits."""


class StatusLine(QStatusBar):
    """Magnification, level, position; displayed and fresh frames per second, latency, device."""

    ticked = Signal()
    """A few times a second, and when the exact frame is shown: look again at what has changed."""

    def __init__(self, viewport: Viewport, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewport = viewport
        self.real_color_at: Callable[[float, float], Color | None] = lambda _x, _y: None
        """The colour of the real picture, where that lies over the other; device pixels."""
        self.setSizeGripEnabled(False)
        self._font = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
        tr, value = self.tr, self._value
        self.magnification = value(tr("Magnification against the whole picture"), "×8192.0")
        self.level = value(tr("Level: octaves of density"), "level -0.00")
        self.position = value(tr("Centre of the view, in field units"), "-0.00000 -0.00000")
        self.exactness = value(tr("What the picture is made of at this moment"), "rendering")
        self.cursor = value(
            tr("Under the cursor: place in field units; red, green, blue"),
            "-0.00000 -0.00000  000 000 000 " + tr("real"),
        )
        self.displayed = value(tr("Displayed frames per second"), "000 fps", True)
        self.fresh = value(tr("Newly rendered batches shown per second"), "000 fresh/s", True)
        self.latency = value(tr("From a wish to its pixels, 95 of 100 within"), "0000 ms", True)
        self.device = value(tr("Where the generator runs"), "cpu", True)
        self.seed = value(tr("Seed that names the latent"), "seed 00000", True)
        self.step = value(tr("Step of training that the picture shows"), "step 000,000", True)
        self._by_worth = (
            self.magnification, self.exactness, self.level, self.displayed, self.position,
            self.cursor, self.fresh, self.latency, self.device, self.seed, self.step,
        )  # fmt: skip
        self._shown: dict[QLabel, str] = {}
        self._measured_at = -_REST_S
        self._why_no_kernels = ""
        # A narrow window cuts the line off, instead of refusing to be narrow.
        self.setMinimumWidth(1)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.refresh)
        self._timer.start(_UPDATE_MS)
        self._changed = False
        viewport.exact_shown.connect(lambda _seconds: self.refresh())
        viewport.frame_painted.connect(self._hasten)
        viewport.installEventFilter(self)

    def _value(self, tip: str, widest: str, permanent: bool = False) -> ValueLabel:
        label = ValueLabel(tip)
        label.setObjectName("value")
        label.setFont(self._font)
        label.setToolTip(tip)
        label.setMinimumWidth(label.fontMetrics().horizontalAdvance(widest) + 18)
        (self.addPermanentWidget if permanent else self.addWidget)(label)
        return label

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """The cursor over the picture moves nothing, and yet is told of."""
        if event.type() in (QEvent.Type.MouseMove, QEvent.Type.Leave):
            self._hasten()
        return super().eventFilter(watched, event)

    def _hasten(self) -> None:
        if self._timer.interval() != _UPDATE_MS:
            self._timer.start(_UPDATE_MS)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Leave out what there is no room for."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Leave out what matters least where there is no room, and what has nothing to say."""
        room = self.width() - 2 * _EDGE_PX
        for label in self._by_worth:
            if label in (self.seed, self.step) and not self._shown.get(label):
                label.hide()
                continue
            room -= label.minimumWidth() + _EDGE_PX
            label.setVisible(room >= 0)

    def refresh(self) -> None:
        """Write the present figures."""
        viewport, self._changed = self.viewport, False
        state = viewport.view_state
        camera = state.displayed
        fit = fit_camera(state.field_size, state.size)
        times = 2.0 ** (camera.log2_zoom - fit.log2_zoom)
        self._set(self.magnification, f"×{times:.2f}" if times < 10 else f"×{times:.1f}")
        self._set(
            self.level, self.tr("level {0}").format(f"{state.view.level(state.patch_size):.2f}")
        )
        self._set(self.position, f"{camera.cx:+.5f} {camera.cy:+.5f}")
        self._set(self.cursor, self._under_cursor())
        now = time.perf_counter()
        at_rest = not viewport.is_moving
        if viewport.scene is None:
            said = self.tr("preview") if viewport.first_frame_at else self.tr("empty")
        elif viewport.is_exact:
            said = self.tr("exact")
        else:
            said = self.tr("rendering") if at_rest else self.tr("moving")
        self._set(self.exactness, said)
        if not at_rest or now - self._measured_at >= _REST_S:
            self._measured_at = now
            self._measure(now, at_rest)
        self._set(self.device, viewport.scene.device if viewport.scene else "-")
        why = viewport.scene.no_kernels if viewport.scene else ""
        if why != self._why_no_kernels:
            self._why_no_kernels = why
            name = self.tr("Where the generator runs")
            self.device.setToolTip(f"{name}; {why}" if why else name)
        has_latents = viewport.scene is not None and viewport.scene.has_latents
        seed = viewport.stream.seed
        self._set(self.seed, self.tr("seed {0}").format(in_short(seed)) if has_latents else "")
        step = viewport.scene.step if viewport.scene else None
        self._set(self.step, "" if step is None else self.tr("step {0}").format(f"{step:,}"))
        if at_rest and not self._changed:
            self._timer.setInterval(_REST_MS)
        self.ticked.emit()

    def _measure(self, now: float, at_rest: bool) -> None:
        """Write what the meter says."""
        meter = self.viewport.meter
        fps = meter.displayed_fps(_WINDOW_S, now)
        self._set(self.displayed, self.tr("at rest") if at_rest and fps < 5 else f"{fps:3.0f} fps")
        self._set(self.fresh, f"{meter.fresh_fps(_WINDOW_S, now):3.0f} fresh/s")
        recent = list(meter.latencies_s)[-100:] if meter.latencies_s else []
        late_s = percentile(recent, 95) if recent else 0.0
        late = f"{late_s * 1e3:4.0f} ms" if late_s < _LONG_S else f"{late_s:4.0f} s"
        self._set(self.latency, late if recent else "- ms")

    def _under_cursor(self) -> str:
        """Field coordinates and colour of the pixel under the cursor; empty beside the picture."""
        viewport = self.viewport
        if viewport.pointer is None:
            return ""
        x, y = device_point(viewport.pointer, viewport.devicePixelRatioF())
        color = color_at(viewport, x, y)
        if color is None:
            return ""
        real = self.real_color_at(x, y)
        fx, fy = viewport.view_state.view.to_field(x, y)
        r, g, b = color if real is None else real
        which = "" if real is None else f" {self.tr('real')}"
        return f"{fx:+.5f} {fy:+.5f}  {r:3d} {g:3d} {b:3d}{which}"

    def _set(self, label: QLabel, text: str) -> None:
        """Write `text` only where it differs: a label that is set is painted again."""
        before = self._shown.get(label)
        if before != text:
            self._changed = True
            self._shown[label] = text
            label.setText(text)
            if not (before and text):
                self._fit()
