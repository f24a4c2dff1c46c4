"""Figures from time stamps."""

from __future__ import annotations

import pytest

from explorer.meter import FrameMeter, percentile


def test_figures_follow_from_the_stamps() -> None:
    meter = FrameMeter()
    for i in range(101):
        meter.painted(10.0 + i * 0.02)
        if i % 2 == 0:
            meter.fresh(10.0 + i * 0.02, issued_at=10.0 + i * 0.02 - 0.05, tiles=3)
    meter.exact(0.7)
    figures = meter.summary()
    assert figures["displayed_fps"] == pytest.approx(50)
    assert figures["frame_interval_p95_ms"] == pytest.approx(20)
    assert figures["fresh_per_s"] == pytest.approx(51 / 2)
    assert figures["tiles_per_s"] == pytest.approx(3 * 51 / 2)
    assert figures["latency_p95_ms"] == pytest.approx(50)
    assert figures["exact_delay_max_s"] == 0.7
    assert meter.displayed_fps(1.0, 12.0) == pytest.approx(50, abs=1.01)
    assert meter.fresh_fps(1.0, 12.0) == pytest.approx(25, abs=1.01)
    assert meter.displayed_fps(1.0, 20.0) == 0
    meter.reset()
    assert meter.summary() == {} and meter.tiles_shown == 0


def test_percentiles_lie_between_the_ranks() -> None:
    assert percentile([3.0], 95) == 3.0
    assert percentile([4.0, 1.0, 2.0, 3.0], 50) == 2.5
    assert percentile(range(101), 95) == 95
