"""Placement as a whole: what belongs is placed where it belongs, what does not is listed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from model.placement import PlacementConfig, PlacementResult, PlacementState, place_patches
from model.placement.place import _scale
from tests.model.placement.conftest import Cut

CONFIG = PlacementConfig(level_error=0.1)


class Stopped(Exception):
    """What a person's Cancel raises."""


def noisy(cut: Cut, noise: float, seed: int = 3) -> np.ndarray:
    """Labels that are off by up to `noise` octaves."""
    return cut.levels + np.random.default_rng(seed).uniform(-noise, noise, len(cut.levels))


def assert_true(cut: Cut, result: PlacementResult, own: np.ndarray, share: float = 0.99) -> None:
    """Nearly all of `own` is placed, and in every octave within the bounds."""
    placed = result.placed & own
    assert placed.sum() >= share * own.sum()
    error = np.full(len(own), np.nan)
    error[placed] = cut.errors(result.center_xy, placed)
    for octave in range(int(cut.levels.max()) + 1):
        here = error[placed & (np.floor(cut.levels) == octave)]
        assert np.median(here) <= 0.5
        assert np.quantile(here, 0.95) <= 1.5


@dataclass(frozen=True)
class Mixed:
    """A collection with everything in it, and what came of it."""

    cut: Cut
    kind: np.ndarray
    """Of each patch: 'own', 'foreign', 'blank' or 'no level'."""
    result: PlacementResult


@pytest.fixture(scope="module")
def mixed(cut: Callable[..., Cut]) -> Mixed:
    own, other = cut(), cut(440, 440, (4, 4, 4), 9)
    images = own.images.copy()
    labels = noisy(own, 0.1)
    kind = np.full(len(labels), "own", dtype="<U8")
    foreign = np.arange(10, 270, 22)[: len(other.levels)]
    # The very coarsest is a foreign one: it must not become the anchor.
    foreign[0] = labels.argmin()
    images[foreign], kind[foreign] = other.images, "foreign"
    images[5:9], kind[5:9] = 200, "blank"
    labels[20:23], kind[20:23] = np.nan, "no level"
    return Mixed(own, kind, place_patches(images, labels, CONFIG))


def test_own_patches_are_placed_where_they_belong(mixed: Mixed) -> None:
    assert_true(mixed.cut, mixed.result, mixed.kind == "own")


def test_no_foreign_patch_is_placed(mixed: Mixed) -> None:
    reasons = {mixed.result.reason[row] for row in np.flatnonzero(mixed.kind == "foreign")}
    assert reasons <= {"no place", "ambiguous"}


def test_blank_and_unlabelled_patches_are_listed_with_the_reason(mixed: Mixed) -> None:
    for kind in ("blank", "no level"):
        rows = np.flatnonzero(mixed.kind == kind)
        assert len(rows) >= 3
        assert {mixed.result.reason[row] for row in rows} == {kind}
        assert mixed.result[int(rows[0])].status == "unplaced"


def test_levels_are_corrected(mixed: Mixed) -> None:
    rows = mixed.result.placed
    assert np.median(np.abs(mixed.result.level - mixed.cut.levels)[rows]) < 0.01


def test_the_whole_picture_has_a_short_side_of_one_and_its_middle_at_the_origin(
    mixed: Mixed,
) -> None:
    result = mixed.result
    assert min(result.field_size) == pytest.approx(1.0, abs=0.01)
    assert max(result.field_size) == pytest.approx(1.2, abs=0.012)
    assert np.abs((result.center_xy - mixed.cut.center_xy)[result.placed].mean(0)).max() < 0.01


def test_labels_may_be_wrong_by_a_quarter_octave(cut: Callable[..., Cut]) -> None:
    own = cut(counts=(40, 60))
    result = place_patches(own.images, noisy(own, 0.25), PlacementConfig(level_error=0.25))
    # The labels' mean alone fixes the scale here: take it out before comparing places.
    placed = result.placed
    assert placed.mean() >= 0.99
    level = result.level[placed] - own.levels[placed]
    assert np.abs(level - np.median(level)).max() < 0.03


def test_a_wide_picture_grows_beyond_the_anchor(cut: Callable[..., Cut]) -> None:
    own = cut(960, 320, (90, 120), 4)
    result = place_patches(own.images, own.levels, CONFIG)
    assert_true(own, result, np.ones(len(own.levels), bool))
    assert max(result.field_size) == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize("label", [-0.6, -1.0, -2.0, -3.0, -8.0])
def test_one_label_that_is_far_too_coarse_keeps_no_other_patch_from_its_place(
    cut: Callable[..., Cut], label: float
) -> None:
    own = cut(counts=(40, 80))
    labels, row = own.levels.copy(), 50
    labels[row] = label
    states: list[PlacementState] = []
    result = place_patches(
        own.images, labels, CONFIG, save=lambda state: states.append(copy.deepcopy(state))
    )
    others = np.arange(len(labels)) != row
    assert result.reason[row] == "no place"
    assert result.placed[others].all()
    assert_true(own, result, others)
    again = place_patches(own.images, labels, CONFIG, state=states[1])
    assert np.array_equal(again.center_xy, result.center_xy)


def test_the_level_of_a_blank_patch_says_nothing(cut: Callable[..., Cut]) -> None:
    own = cut(counts=(30, 50))
    images, labels, blank = own.images.copy(), own.levels.copy(), own.levels.argmin()
    images[blank] = 200
    without = place_patches(images, labels, CONFIG)
    labels[blank] = -1.0
    result = place_patches(images, labels, CONFIG)
    assert result.reason[blank] == "blank"
    assert np.array_equal(result.center_xy, without.center_xy)


def test_gain_and_brightness_do_not_matter(cut: Callable[..., Cut]) -> None:
    own = cut(counts=(40, 60))
    rng = np.random.default_rng(1)
    gain = rng.uniform(0.75, 1.0, (len(own.levels), 1, 1, 1))
    images = (own.images * gain + rng.uniform(0, 40, gain.shape)).round().clip(0, 255)
    result = place_patches(images.astype(np.uint8), own.levels, CONFIG)
    assert_true(own, result, np.ones(len(own.levels), bool))


def test_after_a_stop_it_goes_on_to_the_same_result(cut: Callable[..., Cut]) -> None:
    own = cut(counts=(30, 50))
    labels = noisy(own, 0.1)
    states: list[PlacementState] = []
    whole = place_patches(
        own.images, labels, CONFIG, save=lambda state: states.append(copy.deepcopy(state))
    )
    assert len(states) >= 4
    for state in (states[0], states[2]):
        again = place_patches(own.images, labels, CONFIG, state=copy.deepcopy(state))
        assert np.array_equal(again.center_xy, whole.center_xy)
        assert np.array_equal(again.level, whole.level)
        assert again.reason == whole.reason


def test_the_number_of_threads_does_not_change_the_result(cut: Callable[..., Cut]) -> None:
    own = cut(counts=(30, 50))
    threads = torch.get_num_threads()
    results = []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            results.append(place_patches(own.images, own.levels, CONFIG))
            assert torch.get_num_threads() == number
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(results[0].center_xy, results[1].center_xy)


def test_progress_rises_to_the_end_and_can_cancel(cut: Callable[..., Cut]) -> None:
    own = cut(counts=(30, 50))
    seen: list[float] = []
    place_patches(own.images, own.levels, CONFIG, seen.append)
    assert seen == sorted(seen)
    assert seen[0] < 0.1
    assert seen[-1] > 0.6

    def stop(fraction: float) -> None:
        if fraction > 0.2:
            raise Stopped

    with pytest.raises(Stopped):
        place_patches(own.images, own.levels, CONFIG, stop)


@pytest.mark.parametrize(
    ("images", "levels", "message"),
    [
        (np.zeros((2, 32, 32, 3), np.float32), np.zeros(2), "must be uint8"),
        (np.zeros((2, 32, 31, 3), np.uint8), np.zeros(2), "must be uint8"),
        (np.zeros((2, 8, 8, 3), np.uint8), np.zeros(2), "at least 16 pixels"),
        (np.zeros((2, 32, 32, 3), np.uint8), np.zeros(3), "a level each"),
        (np.zeros((2, 32, 32, 3), np.uint8), np.zeros(2), "blank"),
        (np.zeros((2, 32, 32, 3), np.uint8), np.full(2, np.nan), "no patch has a level"),
    ],
)
def test_what_cannot_be_placed_is_refused(
    images: np.ndarray, levels: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        place_patches(images, levels)


def test_a_state_of_other_patches_is_refused(cut: Callable[..., Cut]) -> None:
    own = cut(counts=(30, 50))
    states: list[PlacementState] = []
    place_patches(own.images, own.levels, CONFIG, save=states.append)
    with pytest.raises(ValueError, match="saved state is of 80 patches"):
        place_patches(own.images[:50], own.levels[:50], CONFIG, state=states[0])


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="level_error"):
        PlacementConfig(level_error=0.9)
    with pytest.raises(ValueError, match="candidates"):
        PlacementConfig(candidates=0)
    with pytest.raises(ValueError, match="min_detail"):
        PlacementConfig(min_detail=1.0)


def test_patches_in_wrong_places_do_not_change_the_size_of_the_whole() -> None:
    """All levels are right here; one stray at the edge must not scale everything else."""
    rng = np.random.default_rng(0)
    levels = rng.uniform(0.0, 6.0, 20_000)
    half = 2.0 ** -levels[:, None] / 2
    center = (rng.random((len(levels), 2)) - 0.5) * (np.array([1.25, 1.0]) - 2 * half)
    drift = rng.uniform(-0.1, 0.1, len(levels)) + 3e-4
    assert abs(_scale(center, half, drift)) < 1.5e-4
    strays = np.array([[0.1, 0.5], [0.3, 0.498], [-0.2, -0.4985]])
    center[:3], half[:3] = strays, 2.0**-7
    assert abs(_scale(center, half, drift)) < 1.5e-4
