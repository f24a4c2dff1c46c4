"""What is made of a flight's raw times, and the display it flies on."""

from __future__ import annotations

import os
import shutil

import pytest
from PySide6.QtCore import QObject, QTimer, Signal

from benchmarks.display import NoDisplayError, display_environment
from benchmarks.flight import Legs, memory_summary, wait
from explorer.display import why_no_display


class Emitter(QObject):
    """A signal with a value."""

    came = Signal(float)


def test_a_flight_is_summed_over_its_legs() -> None:
    legs = Legs(
        frame_intervals_s=[0.010] * 95 + [0.050] * 5,
        latencies_s=[0.1, 0.2, 0.3],
        exact_delays_s=[0.4, 0.8],
        fresh=30,
        tiles=240,
        seconds=1.5,
    )
    summary = legs.summary()
    assert summary["displayed_fps"] == pytest.approx(100 / 1.2)
    assert summary["interval_p95_ms"] == pytest.approx(12.0, abs=0.1)
    assert summary["interval_max_ms"] == pytest.approx(50.0)
    assert summary["fresh_per_s"] == pytest.approx(20.0)
    assert summary["tiles_per_s"] == pytest.approx(160.0)
    assert summary["latency_p50_ms"] == pytest.approx(200.0)
    assert summary["exact_max_s"] == 0.8


def test_an_empty_flight_has_no_figures() -> None:
    assert Legs().summary()["displayed_fps"] is None
    assert Legs().summary()["interval_p95_ms"] is None


def test_memory_that_grows_is_not_flat() -> None:
    samples = [(float(t), int(500e6 + 1e6 * t)) for t in range(301)]
    summary = memory_summary(samples)
    assert summary["slope_mb_per_min"] == pytest.approx(60.0)
    assert summary["range_mb"] == pytest.approx(240.0)
    assert summary["rss_max_mb"] == pytest.approx(800.0)
    assert summary["minutes"] == pytest.approx(5.0)


def test_caches_that_fill_at_first_are_not_held_against_it() -> None:
    samples = [(float(t), int(1e6 * min(400 + 10 * t, 900))) for t in range(301)]
    summary = memory_summary(samples)
    assert summary["slope_mb_per_min"] == pytest.approx(0.0, abs=1e-6)
    assert summary["range_mb"] == 0


def test_waiting_ends_with_the_signal_or_with_the_time(qapp) -> None:
    emitter = Emitter()
    QTimer.singleShot(0, lambda: emitter.came.emit(0.25))
    assert wait(emitter.came, 10.0) == (0.25,)
    assert wait(emitter.came, 0.01) is None


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="Xvfb is not installed")
def test_a_virtual_display_answers_while_it_is_needed(monkeypatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    with display_environment() as environment:
        monkeypatch.setenv("DISPLAY", environment["DISPLAY"])
        assert why_no_display() is None
    assert why_no_display() is not None


def test_the_display_at_hand_is_used(monkeypatch) -> None:
    monkeypatch.setenv("DISPLAY", ":4321")
    with display_environment() as environment:
        assert environment == dict(os.environ)


def test_without_display_and_xvfb_the_message_says_so(monkeypatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(NoDisplayError, match="xvfb"), display_environment():
        pass
