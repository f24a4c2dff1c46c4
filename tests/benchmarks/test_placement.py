"""What the placement benchmark counts and measures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.placement import COVERAGE, Trial, compare, octave_counts, procedural_picture
from model.placement import PlacementResult


def test_every_octave_is_covered_and_the_rest_is_even() -> None:
    counts = octave_counts(100_000, 8, 1.25)
    assert sum(counts) == 100_000
    for octave, count in enumerate(counts):
        mean_area = 3 / (4 * math.log(4)) * 0.25**octave
        assert count * mean_area / 1.25 >= COVERAGE * 0.99
    assert len(set(counts[:4])) == 1
    assert octave_counts(20_000, 5, 1.25) == [4000] * 5
    with pytest.raises(ValueError, match="ask for more"):
        octave_counts(100, 8, 1.25)


def test_errors_are_pixels_of_the_patch_after_the_offset() -> None:
    levels = np.array([0.5, 0.5, 1.5, 1.5, 1.5])
    center = np.array([[0.0, 0.0], [0.1, 0.0], [0.2, 0.1], [-0.2, 0.3], [0.3, 0.3]])
    foreign = np.array([False, False, False, False, True])
    trial = Trial(np.zeros((5, 64, 64, 3), np.uint8), levels, levels, center, foreign)
    found = center + (0.7, -0.4)
    found[3, 0] += 2.0 / (64 * 2**1.5)
    none = np.zeros(5)
    reason = ("", "no place", "", "", "no place")
    result = PlacementResult(found, levels, none, none, reason, (1.0, 1.0))
    first, second = compare(trial, result, 1.0)
    assert (first.octave, first.count, first.placed) == (0, 2, 0.5)
    assert first.error_max_px == pytest.approx(0.0, abs=1e-9)
    assert (second.count, second.placed) == (2, 1.0)
    assert second.error_max_px == pytest.approx(2.0)
    assert second.error_median_px == pytest.approx(1.0)
    assert second.coverage == pytest.approx(2 * 4**-1.5)


def test_the_procedural_picture_has_detail_everywhere() -> None:
    picture = procedural_picture(160, 96, 3)
    assert picture.shape == (96, 160, 3)
    assert np.array_equal(picture, procedural_picture(160, 96, 3))
    blocks = picture.reshape(6, 16, 10, 16, 3).std((1, 3))
    assert blocks.min() > 1
