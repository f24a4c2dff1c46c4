"""The real window while a run trains in it: one part of `benchmarks.training_beside`.

Runs in a process of its own, on a display; `benchmarks.training_beside` starts it.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from PySide6.QtCore import QEventLoop, QPoint, QPointF, Qt, QTimer
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QApplication

from benchmarks.flight import Legs, Pilot, in_ms, memory_summary, scripted_flight
from benchmarks.machine import memory_parts, resident_bytes
from benchmarks.sums import percentile, slope
from benchmarks.tables import write_json
from benchmarks.training_beside import TELL_S
from explorer.display import why_no_display
from explorer.meter import FrameMeter
from explorer.shipped import PAINTING, shipped
from explorer.training_desk import YIELD_S
from explorer.training_messages import PAUSED, Phase, TrainingTick
from explorer.training_thread import TrainingThread
from model.training_setup import Recipe

_TIMEOUT_S = 600.0
_REST_S = 2.0
"""Training goes on for so long before an input comes."""
_NOTCHES = 4
_POLL_MS = 5


class Trained:
    """The app on the painting that ships, and a run in it."""

    def __init__(self, device: str) -> None:
        self.pilot = Pilot(str(shipped(PAINTING)), device)
        self.desk = self.pilot.app.training
        self.viewport = self.pilot.viewport
        self.ticks: list[tuple[float, TrainingTick]] = []
        self.phase = ""
        self._accept = self.desk._accept
        self.desk._accept = self._listen  # type: ignore[method-assign]
        self.pilot.start()

    def _listen(self, thread: Any, result: Any) -> None:
        if isinstance(result, TrainingTick):
            self.ticks.append((time.perf_counter(), result))
        elif isinstance(result, Phase):
            self.phase = result.name
        self._accept(thread, result)

    def begin(self, data: str, run: Path) -> None:
        """Train on `data`; return when its weights are in the viewport."""
        self.desk._show_panel()
        self.desk.begin(Recipe(data, str(run), minutes=24 * 60.0, cache=str(run.parent / "cache")))
        self.until_shown(run)

    def until_shown(self, run: Path) -> None:
        """Wait until the viewport shows an exact frame of the run."""
        until(lambda: bool(self.viewport.scene and self.viewport.scene.path == str(run)))
        until(lambda: self.viewport.is_exact)

    def end(self) -> list[str]:
        """Close the app; names of the threads that are left."""
        self.pilot.app.close()
        until(lambda: threading.active_count() == 1, 10.0, False)
        return sorted(t.name for t in threading.enumerate() if t is not threading.main_thread())


def pause(milliseconds: int) -> None:
    """Run the event loop for so long. (`QTest.qWait` would keep all other threads waiting.)"""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def until(condition: Callable[[], bool], seconds: float = _TIMEOUT_S, must: bool = True) -> None:
    """Run the event loop until `condition` holds.

    Raises:
        TimeoutError: It does not for so long, though it must.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            if must:
                raise TimeoutError(f"nothing came for {seconds:.0f} s.")
            return
        pause(_POLL_MS)


def drop(device: str, data: str, folder: Path) -> dict[str, Any]:
    """Drop patches on the window and press the buttons as soon as they can be pressed.

    Returns:
        Seconds from the drop until Train could be pressed, the first step, and the first frame
        that shows the run, exact.
    """
    app = Trained(device)
    app.pilot.settle()
    panel = app.desk.panel
    run = folder / "run"
    began = time.perf_counter()
    app.pilot.app.window.arrivals.take(data)
    until(panel.doctor.train.isEnabled)
    offered = time.perf_counter()
    panel.doctor.train.click()
    panel.form.folder.setText(str(run))
    panel.form.start.click()
    until(lambda: bool(app.ticks))
    stepped = app.ticks[0][0]
    app.until_shown(run)
    shown = time.perf_counter()
    left = app.end()
    return {
        "offered_s": offered - began,
        "first_step_s": stepped - began,
        "first_step: below 10": stepped - began < 10,
        "first_change_s": shown - began,
        "first_change: below 30": shown - began < 30,
        "threads_left": left,
    }


def flying(device: str, data: str, folder: Path, seconds: float, inputs: int) -> dict[str, Any]:
    """Fly through a run that trains; then turn the wheel at rest, some times over."""
    app = Trained(device)
    run = folder / "run"
    app.begin(data, run)
    thread = app.desk.thread_of_run
    if thread is None:
        raise RuntimeError("the run has ended before it was flown through.")
    flight = scripted_flight(app.pilot, seconds)
    resumed_s: list[float] = []
    first_tile_s = first_tiles(app, inputs, random.Random(0), resumed_s)
    thread.pause()
    until(lambda: app.phase == PAUSED, 60.0)
    floor_s = first_tiles(app, inputs, random.Random(0))
    left = app.end()
    p95 = flight["interval_p95_ms"]
    return {
        **flight,
        "interval_p95: below 30": p95 is not None and p95 < 30,
        "first_tile_p50_ms": in_ms(percentile(first_tile_s, 50)),
        "first_tile_max_ms": in_ms(percentile(first_tile_s, 100)),
        "first_tile: below 150": bool(first_tile_s) and max(first_tile_s) < 0.15,
        "paused_first_tile_p50_ms": in_ms(percentile(floor_s, 50)),
        "paused_first_tile_max_ms": in_ms(percentile(floor_s, 100)),
        "resumed_max_s": max(resumed_s),
        "resumed: below 0.5": max(resumed_s) < 0.5,
        "inputs": inputs,
        "threads_left": left,
        "all_first_tile_ms": [round(1e3 * s) for s in first_tile_s],
        "all_paused_first_tile_ms": [round(1e3 * s) for s in floor_s],
        "all_resumed_s": [round(s, 3) for s in resumed_s],
    }


def first_tiles(
    app: Trained, inputs: int, chance: random.Random, resumed_s: list[float] | None = None
) -> list[float]:
    """Seconds from a turn of the wheel, at rest in random places, to the first fresh tile.

    Of the turns that need any: else every tile of the view is there already.

    With `resumed_s`, that gets the seconds from the last input until training went on.
    """
    found = []
    meter = app.viewport.meter
    for _ in range(inputs):
        place = (chance.uniform(-0.3, 0.3), chance.uniform(-0.3, 0.3))
        app.viewport.view_state.jump_to(app.pilot.camera(place, chance.uniform(0.1, 0.6)))
        app.viewport.wake()
        rest(app)
        meter.reset()
        turned = time.perf_counter()
        turn(app)
        if lacks_tiles(app, turned):
            until(partial(_is_answered, meter, turned), 20.0)
            found.append((tiles_since(meter, turned) or [time.perf_counter()])[0] - turned)
        rest(app, 0.0)
        since, thread = app.viewport.view_state.rest_since, app.desk.thread_of_run
        if resumed_s is not None and since is not None and thread is not None:
            until(partial(_resumed_since, thread, since), 20.0)
            resumed = thread.resumed_at if thread.resumed_at > since else thread.worked_at
            resumed_s.append(resumed - since)
    return found


def tiles_since(meter: FrameMeter, since: float) -> list[float]:
    """When fresh tiles were painted that were asked for `since` then, not before at rest."""
    asked = zip(meter.fresh_times, meter.latencies_s, strict=True)
    return [painted for painted, latency in asked if painted - latency >= since]


def _is_answered(meter: FrameMeter, since: float) -> bool:
    return bool(tiles_since(meter, since) or meter.exact_delays_s)


def lacks_tiles(app: Trained, since: float) -> bool:
    """Whether the view that is wanted `since` then is not covered by tiles that are there."""
    viewport = app.viewport
    until(lambda: viewport._sent_at > since, 20.0)
    return viewport.stream.cover(viewport.view_state.target_view) is None


def _resumed_since(thread: TrainingThread, since: float) -> bool:
    # Or it saved a file meanwhile, and had not to wait.
    return max(thread.resumed_at, thread.worked_at - YIELD_S) > since


def rest(app: Trained, seconds: float = _REST_S) -> None:
    """Wait until the view has stood still for so long."""

    def still() -> bool:
        since = app.viewport.view_state.rest_since
        moving = app.viewport.is_moving or since is None
        return not moving and time.perf_counter() - (since or 0.0) >= seconds

    until(still, 60.0)


def turn(app: Trained) -> None:
    """A few notches of the wheel in the middle of the picture."""
    viewport = app.viewport
    middle = QPointF(viewport.rect().center())
    there = QPointF(viewport.mapToGlobal(middle.toPoint()))
    event = QWheelEvent(
        middle,
        there,
        QPoint(),
        QPoint(0, 120 * _NOTCHES),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(viewport, event)


def speed(device: str, data: str, folder: Path) -> NoReturn:
    """Say again and again how many windows were seen, while nobody touches the viewer; till killed.

    Begins once the run is grown, and its first samples are saved, which training alone is not
    measured with either. The thread that trains says it, as the one alone does: the window sleeps.
    """
    on_step, told, grown = TrainingThread._on_step, [0.0], threading.Event()

    def counted(thread: TrainingThread, run: Any, status: Any, note: str) -> None:
        now = time.perf_counter()
        if grown.is_set() and now - told[0] > TELL_S:
            told[0] = now
            print(status.cur_nimg, flush=True)
        on_step(thread, run, status, note)

    TrainingThread._on_step = counted  # type: ignore[method-assign, assignment]
    app = Trained(device)
    app.begin(data, folder / "run")
    until(lambda: any((folder / "run" / "samples").glob("*.jpg")))
    pause(round(1000 * app.desk.config.young_s))
    grown.set()
    sys.exit(QApplication.exec())


def memory(device: str, data: str, folder: Path, minutes: float, out: Path) -> dict[str, Any]:
    """Train for `minutes` with the viewer open, and a short flight a minute; writes as it goes."""
    app = Trained(device)
    app.begin(data, folder / "run")
    chance, here = random.Random(0), app.pilot.camera((0.0, 0.0), 0.0)
    samples: list[tuple[float, int]] = []
    pools: list[dict[str, float]] = []
    began = time.monotonic()
    result: dict[str, Any] = {}
    while time.monotonic() - began < 60 * minutes:
        minute_ends = time.monotonic() + min(60.0, 60 * minutes)
        place = (chance.uniform(-0.4, 0.4), chance.uniform(-0.4, 0.4))
        there = app.pilot.camera(place, chance.random())
        app.pilot.fly(here, there, 4.0, Legs())
        here = there
        while time.monotonic() < minute_ends:
            pause(1000)
            samples.append((time.monotonic() - began, resident_bytes()))
        pools.append(
            {
                "minute": (time.monotonic() - began) / 60,
                "rss_mb": samples[-1][1] / 1e6,
                **{f"{name}_mb": size / 1e6 for name, size in memory_parts().items()},
                "tile_cache_mb": app.viewport.stream.cache.bytes / 1e6,
                "texture_pool_mb": app.viewport.pool_bytes / 1e6,
                "threads": threading.active_count(),
                "step": app.ticks[-1][1].step if app.ticks else 0,
            }
        )
        app.ticks = app.ticks[-1:]
        result = {**memory_summary(samples), "by_minute": pools}
        write_json(out, {"result": result})
        print(pools[-1], flush=True)
    settled = [p for p in pools if p["minute"] >= 0.2 * pools[-1]["minute"]] or pools
    times = [p["minute"] for p in settled]
    for name in [n for n in pools[0] if n not in ("minute", "step")]:
        result[f"{name}_per_hour"] = 60 * slope(times, [p[name] for p in settled])
    result["threads_left"] = app.end()
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure one part and write it to `--out`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.beside_window", description=__doc__)
    parser.add_argument("part", choices=("drop", "flying", "speed", "memory"))
    parser.add_argument("--data", required=True, help="patches, or an image")
    parser.add_argument("--folder", type=Path, required=True, help="for the run")
    parser.add_argument("--out", type=Path, required=True, metavar="F", help="JSON to write")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--inputs", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=60.0)
    options = parser.parse_args(arguments)
    reason = why_no_display()
    if reason is not None:
        print(f"a window is needed and {reason}; use xvfb-run.", file=sys.stderr)
        return 1
    device, data, folder = options.device, options.data, options.folder
    if options.part == "drop":
        result = drop(device, data, folder)
    elif options.part == "flying":
        result = flying(device, data, folder, options.seconds, options.inputs)
    elif options.part == "speed":
        speed(device, data, folder)
    else:
        result = memory(device, data, folder, options.minutes, options.out)
    write_json(options.out, {"result": result})
    return 0


if __name__ == "__main__":
    sys.exit(main())
