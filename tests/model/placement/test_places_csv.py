"""The table that placement writes, its unfinished state, and the coverage picture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.data.labels import labels_of_csv
from model.placement import Placement, PlacementConfig, PlacementState
from model.placement.coverage import count_map, write_coverage
from model.placement.places_csv import (
    PlacedFile,
    fingerprint,
    read_state,
    state_path,
    unplaced,
    write_places,
    write_state,
)

FILES = (
    PlacedFile("a/é, 1.png", "x", 2.5, Placement("placed", (0.25, -0.125), 2.46, 0.91, 0.6)),
    PlacedFile("b.png", "x", 3.0, Placement("unplaced", (0.0, 0.0), 3.0, 0.1, 0.0, "no place")),
    PlacedFile("c.png", "y", None, unplaced(None, "no level")),
)


def a_state(seed: int) -> PlacementState:
    rng = np.random.default_rng(seed)
    level = rng.random(5)
    level[2] = math.nan
    return PlacementState(
        3, rng.random((5, 2)) / 3, level, rng.random(5), rng.random(5), rng.integers(0, 7, 5)
    )


def test_the_table_reads_back_as_labels(tmp_path: Path) -> None:
    path = tmp_path / "places.csv"
    write_places(path, FILES)
    table = labels_of_csv(path.read_bytes(), "places.csv")
    assert not table.problems
    placed = table.labels["a/é, 1.png"]
    assert placed.level == pytest.approx(2.46)
    assert placed.center_xy == pytest.approx((0.25, -0.125))
    assert placed.scene == "x"
    assert table.labels["b.png"].level == 3.0
    assert table.labels["b.png"].center_xy is None
    assert table.labels["c.png"].level is None
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    path = state_path(tmp_path / "places.csv")
    states = {"x": a_state(0), "": a_state(1)}
    write_state(path, "owner", states)
    back = read_state(path, "owner")
    assert list(back) == ["x", ""]
    for name, state in states.items():
        assert back[name].stage == state.stage
        for field in ("center_xy", "level", "confidence", "margin", "status"):
            first, second = getattr(back[name], field), getattr(state, field)
            assert np.array_equal(first, second, equal_nan=field == "level")
    assert read_state(tmp_path / "none", "owner") == {}


def test_a_state_of_something_else_or_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_state(path, "owner", {"": a_state(0)})
    with pytest.raises(ValueError, match="other patches"):
        read_state(path, "another")
    whole = path.read_text()
    for text in (whole[: len(whole) // 2], "", "{}\n", whole.replace("0.", "x.", 1)):
        path.write_text(text)
        with pytest.raises(ValueError, match="remove it and begin anew"):
            read_state(path, "owner")


def test_a_state_of_another_build_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_state(path, "owner", {"": a_state(0)})
    path.write_text(path.read_text().replace('"version": ', '"version": 1'))
    assert read_state(path, "owner") == {}


def test_a_fingerprint_knows_names_labels_settings_and_contents() -> None:
    levels = np.array([1.0, 2.0])
    first = fingerprint(["a", "b"], levels, PlacementConfig(), 64, "x")
    assert first == fingerprint(["a", "b"], levels.copy(), PlacementConfig(), 64, "x")
    others = {
        fingerprint(["a", "c"], levels, PlacementConfig(), 64, "x"),
        fingerprint(["a", "b"], levels + 0.1, PlacementConfig(), 64, "x"),
        fingerprint(["a", "b"], levels, PlacementConfig(candidates=3), 64, "x"),
        fingerprint(["a", "b"], levels, PlacementConfig(), 32, "x"),
        fingerprint(["a", "b"], levels, PlacementConfig(), 64, "y"),
    }
    assert len(others | {first}) == 6


def test_counts_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    level = rng.uniform(0, 3, 40)
    center = rng.uniform(-0.5, 0.5, (40, 2)) * (1.5, 1.0)
    counts = count_map(center, level, (1.5, 1.0), 30, 20)
    expected = np.zeros((20, 30), int)
    for y in range(20):
        for x in range(30):
            at = np.array([((x + 0.5) / 30 - 0.5) * 1.5, (y + 0.5) / 20 - 0.5])
            inside = (np.abs(center - at) <= 2.0 ** -level[:, None] / 2).all(1)
            expected[y, x] = inside.sum()
    assert np.array_equal(counts, expected)


def test_the_coverage_picture_has_a_panel_an_octave(tmp_path: Path) -> None:
    level = np.array([0.0, 1.0, 1.0, 1.0, 1.0])
    center = np.array([[0, 0], [-0.25, -0.25], [0.25, -0.25], [-0.25, 0.25], [-0.25, 0.25]])
    path = tmp_path / "coverage.png"
    first, second = write_coverage(path, center, level, (1.0, 1.0))
    assert (first.octave, first.count, first.mean, first.bare) == (0, 1, 1.0, 0.0)
    assert (second.octave, second.count, second.mean) == (1, 4, 1.0)
    assert second.bare == pytest.approx(0.25, abs=0.01)
    with Image.open(path) as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 20)}
    assert {(120, 20, 30), (38, 38, 64), (40, 72, 120)} <= colours
    assert sorted(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="no patch is placed"):
        write_coverage(path, center[:0], level[:0], (1.0, 1.0))
