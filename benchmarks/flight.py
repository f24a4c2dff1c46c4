"""The real window, flown by a script: frames, fresh content, refine time, start-up, memory.

Runs in a process of its own, on a display: `python -m benchmarks.flight SOURCE --out F.json`.
`benchmarks.app_bench` starts it; by hand it does the same.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PySide6.QtCore import QEventLoop, QTimer, SignalInstance

from benchmarks.machine import resident_bytes
from benchmarks.sums import intervals, percentile, slope
from benchmarks.tables import write_json
from explorer.camera_path import flight
from explorer.display import why_no_display
from explorer.view_state import Camera, camera_at_level, fit_camera

VIEW_SIZE = (1024, 768)
"""Width and height of the viewport, pixels."""
LIVE_TIMEOUT_S = 60.0
EXACT_TIMEOUT_S = 20.0
SETTLED_SHARE = 0.2
"""Share of a random flight that is not looked at when its memory is judged: caches fill."""


@dataclass
class Legs:
    """What the meter saw, put together over the legs of a flight."""

    frame_intervals_s: list[float] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    exact_delays_s: list[float] = field(default_factory=list)
    fresh: int = 0
    tiles: int = 0
    seconds: float = 0.0

    def summary(self) -> dict[str, Any]:
        """Figures of the whole flight. While moving, except for `exact_*`."""
        shown = sum(self.frame_intervals_s)
        return {
            "moving_s": self.seconds,
            "displayed_fps": len(self.frame_intervals_s) / shown if shown else None,
            "interval_p95_ms": in_ms(percentile(self.frame_intervals_s, 95)),
            "interval_max_ms": in_ms(max(self.frame_intervals_s, default=None)),
            "fresh_per_s": self.fresh / self.seconds if self.seconds else None,
            "tiles_per_s": self.tiles / self.seconds if self.seconds else None,
            "latency_p50_ms": in_ms(percentile(self.latencies_s, 50)),
            "latency_p95_ms": in_ms(percentile(self.latencies_s, 95)),
            "exact_max_s": max(self.exact_delays_s, default=None),
            "exact_p50_s": percentile(self.exact_delays_s, 50),
            "exact_frames": len(self.exact_delays_s),
        }


class Pilot:
    """Builds the app on a source, waits until it is live, and flies it."""

    def __init__(self, source: str, device: str) -> None:
        from explorer.app import build_app

        self.app = build_app(source, device)
        self.viewport = self.app.viewport
        self.viewport.setMinimumSize(*VIEW_SIZE)
        self.viewport.setMaximumSize(*VIEW_SIZE)
        self.app.window.adjustSize()

    def start(self) -> None:
        """Show the window and wait until the generator's first tiles are on it.

        Raises:
            TimeoutError: Nothing fresh was painted.
        """
        self.app.start()
        deadline = time.monotonic() + LIVE_TIMEOUT_S
        while self.viewport.first_fresh_at is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the app was not live after {LIVE_TIMEOUT_S:.0f} s.")
            wait(self.viewport.frame_painted, 0.1)

    def settle(self) -> float | None:
        """Wait until the exact frame is shown: seconds since the view stood still, or None."""
        if self.viewport.is_exact:
            return None
        shown = wait(self.viewport.exact_shown, EXACT_TIMEOUT_S)
        return float(shown[0]) if shown else None

    def camera(self, place: tuple[float, float], depth: float) -> Camera:
        """The view at `place` (field, in [-0.5, 0.5] of its sides), `depth` from 0 (all) to 1."""
        scene = self.viewport.scene
        if scene is None:
            raise RuntimeError("no scene is open; start the pilot first.")
        field_size, (_, high) = scene.field_size, scene.level_range
        whole = fit_camera(field_size, VIEW_SIZE)
        center = (place[0] * field_size[0], place[1] * field_size[1])
        deepest = camera_at_level(center, high, VIEW_SIZE, scene.patch_size)
        zoom = whole.log2_zoom + depth * (deepest.log2_zoom - whole.log2_zoom)
        return Camera(center[0], center[1], zoom)

    def fly(self, start: Camera, end: Camera, seconds: float, legs: Legs) -> None:
        """Fly one leg at display rate, then stand still until the frame is exact."""
        meter = self.viewport.meter
        meter.reset()
        began = time.perf_counter()
        self.viewport.play_path(flight(start, end, seconds))
        if wait(self.viewport.path_finished, seconds * 10 + 5) is None:
            raise TimeoutError(f"a flight of {seconds:g} s did not end.")
        legs.seconds += time.perf_counter() - began
        legs.frame_intervals_s += intervals(list(meter.frame_times))
        legs.latencies_s += list(meter.latencies_s)
        legs.fresh += len(meter.fresh_times)
        legs.tiles += int(meter.tiles_shown)
        delay = self.settle()
        if delay is not None:
            legs.exact_delays_s.append(delay)


def scripted_flight(pilot: Pilot, seconds: float) -> dict[str, Any]:
    """In, across and out again, `seconds` of motion in four legs; the same for every subject."""
    whole = pilot.camera((0.0, 0.0), 0.0)
    moon, deep = pilot.camera((0.34, -0.3), 0.45), pilot.camera((0.345, -0.3), 0.95)
    across = pilot.camera((-0.1, 0.05), 0.6)
    legs = Legs()
    pilot.settle()
    for start, end, share in (
        (whole, moon, 0.25),
        (moon, deep, 0.25),
        (deep, across, 0.3),
        (across, whole, 0.2),
    ):
        pilot.fly(start, end, seconds * share, legs)
    return legs.summary()


def random_flight(pilot: Pilot, minutes: float, seed: int = 0) -> dict[str, Any]:
    """Fly to random places at random depths for `minutes`, and watch the memory of the process."""
    chance = random.Random(seed)
    samples: list[tuple[float, int]] = []
    began = time.monotonic()
    timer = QTimer()
    timer.timeout.connect(lambda: samples.append((time.monotonic() - began, resident_bytes())))
    timer.start(1000)
    here, legs = pilot.camera((0.0, 0.0), 0.0), Legs()
    while time.monotonic() - began < minutes * 60:
        there = pilot.camera(
            (chance.uniform(-0.5, 0.5), chance.uniform(-0.5, 0.5)), chance.random()
        )
        pilot.fly(here, there, chance.uniform(1.0, 4.0), legs)
        here = there
    timer.stop()
    return {**memory_summary(samples), "flight": legs.summary()}


def memory_summary(samples: Sequence[tuple[float, int]]) -> dict[str, Any]:
    """What (seconds, bytes) samples say: the peak, and how flat it is once caches are full.

    Returns:
        `rss_max_mb`; `rss_end_mb`; `slope_mb_per_min`, by least squares, and `range_mb`, largest
        less smallest, both over the last four fifths; `minutes`; `samples_mb`, about sixty.
    """
    if not samples:
        return {"rss_max_mb": None, "minutes": 0.0}
    settled = [s for s in samples if s[0] >= samples[-1][0] * SETTLED_SHARE]
    megabytes = [size / 1e6 for _, size in settled]
    every = max(1, len(samples) // 60)
    return {
        "minutes": samples[-1][0] / 60,
        "rss_max_mb": max(size for _, size in samples) / 1e6,
        "rss_end_mb": megabytes[-1],
        "slope_mb_per_min": slope([t / 60 for t, _ in settled], megabytes),
        "range_mb": max(megabytes) - min(megabytes),
        "samples_mb": [round(size / 1e6, 1) for _, size in samples[::every]],
    }


def wait(signal: SignalInstance, timeout_s: float) -> tuple[Any, ...] | None:
    """Run the event loop until `signal` comes: its arguments, or None when the time is over."""
    loop, got = QEventLoop(), []

    def arrived(*arguments: Any) -> None:
        got.append(arguments)
        loop.quit()

    signal.connect(arrived)
    timer = QTimer()
    timer.setSingleShot(True)
    timer.timeout.connect(loop.quit)
    timer.start(round(timeout_s * 1000))
    loop.exec()
    timer.stop()
    signal.disconnect(arrived)
    return got[0] if got else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Fly and write what was measured to `--out`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flight", description=__doc__)
    parser.add_argument("source", help="checkpoint, image or run folder")
    parser.add_argument("--out", type=Path, required=True, metavar="F", help="JSON to write")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--started", type=float, help="time.time() at which this was started")
    parser.add_argument("--seconds", type=float, default=0.0, help="motion in the scripted flight")
    parser.add_argument("--minutes", type=float, default=0.0, help="random flight, for memory")
    options = parser.parse_args(arguments)
    started = options.started or time.time()
    reason = why_no_display()
    if reason is not None:
        print(f"flight: a window is needed and {reason}; use xvfb-run.", file=sys.stderr)
        return 1
    pilot = Pilot(options.source, options.device)
    try:
        pilot.start()
        viewport = pilot.viewport
        first_pixels, live = viewport.first_frame_at, viewport.first_fresh_at
        if first_pixels is None or live is None:
            raise RuntimeError("the app was live without a painted frame.")
        result: dict[str, Any] = {
            "view_size": [viewport.width(), viewport.height()],
            "startup": {
                "first_pixels_s": first_pixels - started,
                "live_s": live - started,
            },
        }
        if options.seconds > 0:
            result["flight"] = scripted_flight(pilot, options.seconds)
        if options.minutes > 0:
            result["memory"] = random_flight(pilot, options.minutes)
        write_json(options.out, result)
    finally:
        pilot.app.close()
    return 0


def in_ms(seconds: float | None) -> float | None:
    """Milliseconds; None stays None."""
    return None if seconds is None else seconds * 1e3


if __name__ == "__main__":
    sys.exit(main())
