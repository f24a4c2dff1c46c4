"""How fast everything is, and one sentence on why it is not faster. Honest numbers."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QCoreApplication, Qt, QTimer
from PySide6.QtGui import QFontDatabase, QShowEvent
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel

from explorer.meter import percentile
from explorer.panels.value_label import ValueLabel
from explorer.viewport import Viewport

_UPDATE_MS = 250
_WINDOW_S = 1.0
_RECENT = 100
_SMOOTH_FPS = 45.0
_PROMPT_S = 0.35
_MIB = 1 << 20


@dataclass(frozen=True)
class Figures:
    """What the app measures of itself."""

    displayed_fps: float
    fresh_fps: float
    latency_p95_s: float | None
    """From a wish to its pixels on the screen, s; None before there was one."""
    queue: int
    """Tiles that are wanted and missing."""
    cache_bytes: int
    pool_bytes: int
    memory_bytes: int | None
    """Resident memory of the process; None where the system does not tell."""
    pixels_per_s: float
    """Measured speed of rendering while moving."""
    view_px: int
    device: str
    is_software: bool
    is_moving: bool
    is_exact: bool


def figures_of(viewport: Viewport) -> Figures:
    """The figures of this moment."""
    now = time.perf_counter()
    meter = viewport.meter
    recent = list(meter.latencies_s)[-_RECENT:]
    width, height = viewport.view_state.size
    return Figures(
        displayed_fps=meter.displayed_fps(_WINDOW_S, now),
        fresh_fps=meter.fresh_fps(_WINDOW_S, now),
        latency_p95_s=percentile(recent, 95) if recent else None,
        queue=viewport.queue_length,
        cache_bytes=viewport.stream.cache.bytes,
        pool_bytes=viewport.pool_bytes,
        memory_bytes=resident_bytes(),
        pixels_per_s=viewport.stream.pixels_per_s,
        view_px=width * height,
        device=viewport.scene.device if viewport.scene else "",
        is_software=viewport.is_software,
        is_moving=viewport.is_moving,
        is_exact=viewport.is_exact,
    )


def why_slow(f: Figures) -> str:
    """One sentence: what limits the speed at this moment, and what would help."""
    if not f.device:
        return _tr("No scene is open yet.")
    if f.is_exact and not f.is_moving:
        return _tr("Nothing is slow: the view is at rest and exact.")
    if f.is_moving and 0 < f.displayed_fps < _SMOOTH_FPS:
        if f.is_software:
            return _tr(
                "Frames are late because the processor draws them: a smaller window, or a "
                "graphics driver, would help."
            )
        return _tr("Frames are late: too many pixels for the graphics card; shrink the window.")
    if f.queue and f.latency_p95_s is not None and f.latency_p95_s > _PROMPT_S:
        return _tr(
            "Detail comes late because the generator makes {0} million pixels a second on {1}: "
            "all of this view takes {2} s."
        ).format(
            f"{f.pixels_per_s / 1e6:.2f}", f.device, f"{f.view_px / max(f.pixels_per_s, 1.0):.1f}"
        )
    if f.queue:
        return _tr("Detail is on its way, and comes promptly.")
    return _tr("Everything keeps up.")


def _tr(text: str) -> str:
    return QCoreApplication.translate("Hud", text)


def resident_bytes() -> int | None:
    """Memory of this process that is in RAM now (on a Mac: its highest); None if not known."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        import resource

        return int(statm.read_text().split()[1]) * resource.getpagesize()
    if sys.platform == "darwin":
        import resource

        return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return None


class Hud(QFrame):
    """The figures over a corner of the picture; costs nothing while it is hidden."""

    def __init__(self, viewport: Viewport) -> None:
        super().__init__(viewport)
        self.viewport = viewport
        self.setObjectName("sheet")
        self.setAccessibleName(self.tr("Performance"))
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(16, 12, 16, 14)
        self._grid.setHorizontalSpacing(16)
        self._grid.setVerticalSpacing(3)
        self._values: dict[str, QLabel] = {}
        for key, name in (
            ("displayed", self.tr("displayed")),
            ("fresh", self.tr("fresh content")),
            ("latency", self.tr("latency, p95")),
            ("queue", self.tr("queue")),
            ("speed", self.tr("rendering")),
            ("cache", self.tr("tile cache")),
            ("pool", self.tr("textures")),
            ("memory", self.tr("process memory")),
        ):
            self._add_row(key, name)
        self.sentence = ValueLabel(self.tr("Why it is not faster"))
        self.sentence.setObjectName("what")
        self.sentence.setWordWrap(True)
        self.sentence.setFixedWidth(300)
        self._grid.addWidget(self.sentence, len(self._values), 0, 1, 2)
        self._timer = QTimer(self)
        self._timer.setInterval(_UPDATE_MS)
        self._timer.timeout.connect(self.refresh)
        self.hide()

    def _add_row(self, key: str, name: str) -> None:
        row = len(self._values)
        label, value = QLabel(name), ValueLabel(name)
        label.setObjectName("what")
        value.setText("-")
        value.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self._grid.addWidget(label, row, 0)
        self._grid.addWidget(value, row, 1, Qt.AlignmentFlag.AlignRight)
        self._values[key] = value

    def showEvent(self, event: QShowEvent) -> None:
        """Begin to measure."""
        super().showEvent(event)
        self.refresh()
        self.move(12, 12)
        self._timer.start()

    def hideEvent(self, event: object) -> None:
        """Stop."""
        self._timer.stop()

    def texts(self) -> dict[str, str]:
        """What is shown, by key, and the `sentence`."""
        shown = {key: label.text() for key, label in self._values.items()}
        return shown | {"sentence": self.sentence.text()}

    def refresh(self) -> None:
        """Write the figures of this moment."""
        f = figures_of(self.viewport)
        late = "-" if f.latency_p95_s is None else f"{f.latency_p95_s * 1e3:.0f} ms"
        memory = "-" if f.memory_bytes is None else self._mib(f.memory_bytes)
        texts = {
            "displayed": f"{f.displayed_fps:.0f} fps",
            "fresh": self.tr("{0} /s").format(f"{f.fresh_fps:.0f}"),
            "latency": late,
            "queue": str(f.queue),
            "speed": self.tr("{0} Mpx/s").format(f"{f.pixels_per_s / 1e6:.2f}"),
            "cache": self._mib(f.cache_bytes),
            "pool": self._mib(f.pool_bytes),
            "memory": memory,
        }
        for key, text in texts.items():
            if self._values[key].text() != text:
                self._values[key].setText(text)
        sentence = why_slow(f)
        if self.sentence.text() != sentence:
            self.sentence.setText(sentence)
        self.adjustSize()

    @staticmethod
    def _mib(size: int) -> str:
        return f"{size / _MIB:.0f} MiB"
