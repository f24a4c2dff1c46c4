"""Starts `benchmarks.flight` in fresh processes on a display, and puts their answers together."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.display import display_environment
from benchmarks.subjects import Subject, path_of

STARTS = 3
"""Fresh processes for start-up times."""


class FlightError(RuntimeError):
    """The window could not be measured; the message is the process's own last line."""


def measure_startup(subject: Subject, starts: int = STARTS) -> dict[str, Any]:
    """Seconds from the start of a fresh process to first pixels and to live, median and slowest.

    The clock starts before the interpreter does. *First pixels*: the first painted frame, which
    shows the checkpoint's preview. *Live*: the first frame with a tile of the generator.
    """
    runs = [_run(subject)["startup"] for _ in range(starts)]
    result: dict[str, Any] = {"starts": starts}
    for key in ("first_pixels_s", "live_s"):
        values = [run[key] for run in runs]
        result[key] = statistics.median(values)
        result[f"{key[:-2]}_max_s"] = max(values)
    return result


def measure_flight(subject: Subject, seconds: float) -> dict[str, Any]:
    """The scripted flight: see `benchmarks.flight.scripted_flight`."""
    flight: dict[str, Any] = _run(subject, seconds=seconds)["flight"]
    return flight


def measure_memory(subject: Subject, minutes: float) -> dict[str, Any]:
    """The random flight: see `benchmarks.flight.random_flight`."""
    memory: dict[str, Any] = _run(subject, minutes=minutes)["memory"]
    return memory


def _run(subject: Subject, seconds: float = 0.0, minutes: float = 0.0) -> dict[str, Any]:
    with display_environment() as environment, tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "flight.json"
        path = str(path_of(subject, Path(folder)))
        command = [sys.executable, "-m", "benchmarks.flight", path, "--out", str(out)]
        command += ["--device", subject.device]
        command += ["--seconds", str(seconds), "--minutes", str(minutes)]
        command += ["--started", repr(time.time())]
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if not out.exists():
            lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
            raise FlightError(f"the window of {subject.label} was not measured: {lines[-1]}")
        result: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return result
