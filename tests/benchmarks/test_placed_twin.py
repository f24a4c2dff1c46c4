"""The free place and scale of a placed set, taken out before it is compared."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks.placed_twin import fitted_similarity, similarity_of
from model.placement.frame import boxed


def test_scale_and_shift_come_back_from_noisy_places() -> None:
    rng = np.random.default_rng(0)
    run = rng.uniform(-0.6, 0.6, (400, 2))
    image = run * 1.03 + (0.02, -0.01) + rng.normal(0, 1e-4, run.shape)
    found = fitted_similarity(run, image)
    assert found.scale == pytest.approx(1.03, abs=1e-4)
    assert found.shift_xy == pytest.approx((0.02, -0.01), abs=1e-4)
    assert found.octaves == pytest.approx(-np.log2(1.03), abs=2e-4)


def test_places_of_any_frame_lead_to_the_image(tmp_path: Path) -> None:
    """Placed in a frame of their own, patches lie where the run's field says, then in the image."""
    rng = np.random.default_rng(1)
    level = rng.uniform(1, 3, 300)
    truth = rng.uniform(-0.3, 0.3, (300, 2))
    placed, placed_level = truth * 2.0 + 5.0, level - 1.0
    for name, xy, octave in (("truth", truth, level), ("places", placed, placed_level)):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("file", "log2_zoom", "x", "y"))
            writer.writerows((f"{i}.png", o, *p) for i, (o, p) in enumerate(zip(octave, xy)))
    found = similarity_of(tmp_path / "places.csv", tmp_path / "truth.csv")
    gauge = boxed(placed, placed_level)
    assert gauge.centers(placed) * found.scale + found.shift_xy == pytest.approx(truth, abs=1e-6)
    assert gauge.levels(placed_level) + found.octaves == pytest.approx(level, abs=1e-6)
