"""The status line: where one is, how deep, and how fast the machine follows. Honest numbers."""

from __future__ import annotations

import time

from PySide6.QtCore import QTimer
from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import QLabel, QSizePolicy, QStatusBar, QWidget

from explorer.meter import percentile
from explorer.view_state import fit_camera
from explorer.viewport import Viewport

_UPDATE_MS = 125
_WINDOW_S = 1.0


class StatusLine(QStatusBar):
    """Magnification, level, position; displayed and fresh frames per second, latency, device."""

    def __init__(self, viewport: Viewport, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewport = viewport
        self.setSizeGripEnabled(False)
        self._font = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
        self.magnification = self._value("Magnification against the whole picture", "×8192.0")
        self.level = self._value("Level: octaves of density", "level -0.00")
        self.position = self._value("Centre of the view, in field units", "-0.00000 -0.00000")
        self.exactness = self._value("What the picture is made of at this moment", "rendering")
        self.displayed = self._value("Displayed frames per second", "000 fps", permanent=True)
        self.fresh = self._value("Newly rendered batches shown per second", "000 fresh/s", True)
        self.latency = self._value("From a wish to its pixels, 95 of 100 within", "0000 ms", True)
        self.device = self._value("Where the generator runs", "cpu", permanent=True)
        self._shown: dict[QLabel, str] = {}
        # A narrow window cuts the line off, instead of refusing to be narrow.
        self.setMinimumWidth(1)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.refresh)
        self._timer.start(_UPDATE_MS)
        viewport.exact_shown.connect(lambda _seconds: self.refresh())

    def _value(self, tip: str, widest: str, permanent: bool = False) -> QLabel:
        label = QLabel()
        label.setObjectName("value")
        label.setFont(self._font)
        label.setToolTip(tip)
        label.setMinimumWidth(label.fontMetrics().horizontalAdvance(widest) + 18)
        (self.addPermanentWidget if permanent else self.addWidget)(label)
        return label

    def refresh(self) -> None:
        """Write the present figures."""
        viewport = self.viewport
        state = viewport.view_state
        camera = state.displayed
        fit = fit_camera(state.field_size, state.size)
        times = 2.0 ** (camera.log2_zoom - fit.log2_zoom)
        self._set(self.magnification, f"×{times:.2f}" if times < 10 else f"×{times:.1f}")
        self._set(self.level, f"level {state.view.level(state.patch_size):.2f}")
        self._set(self.position, f"{camera.cx:+.5f} {camera.cy:+.5f}")
        now = time.perf_counter()
        meter = viewport.meter
        at_rest = not viewport.is_moving
        if viewport.scene is None:
            said = "preview" if viewport.first_frame_at else "empty"
        elif viewport.is_exact:
            said = "exact"
        else:
            said = "rendering" if at_rest else "moving"
        self._set(self.exactness, said)
        fps = meter.displayed_fps(_WINDOW_S, now)
        self._set(self.displayed, "at rest" if at_rest and fps < 5 else f"{fps:3.0f} fps")
        self._set(self.fresh, f"{meter.fresh_fps(_WINDOW_S, now):3.0f} fresh/s")
        recent = list(meter.latencies_s)[-100:] if meter.latencies_s else []
        self._set(self.latency, f"{percentile(recent, 95) * 1e3:4.0f} ms" if recent else "- ms")
        self._set(self.device, viewport.scene.device if viewport.scene else "-")

    def _set(self, label: QLabel, text: str) -> None:
        """Write `text` only where it differs: a label that is set is painted again."""
        if self._shown.get(label) != text:
            self._shown[label] = text
            label.setText(text)
