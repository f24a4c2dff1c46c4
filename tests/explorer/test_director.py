"""The flight that is being edited: every change keeps it whole, and can be undone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from explorer.camera import Camera
from explorer.camera_path import MIN_GAP_S, CameraPath, Keyframe, flight, tour, travel_s
from explorer.director import Director, FlightLog

A, B, C = Camera(0.1, 0.05, 2.0), Camera(-0.2, 0.1, 3.0), Camera(0.0, 0.3, 6.0)


def director_with(*cameras: Camera) -> Director:
    director = Director()
    for camera in cameras:
        director.add(camera)
    return director


def times(director: Director) -> list[float]:
    return [key.time_s for key in director.keys]


def test_keyframes_follow_each_other_as_long_as_their_ways_take() -> None:
    director = director_with(A, B)
    assert times(director) == [0.0, pytest.approx(travel_s(A, B))]
    before = times(director)[1]
    assert director.add(C, after=0) == 1
    assert [k.camera for k in director.keys] == [A, C, B]
    assert times(director)[2] == pytest.approx(travel_s(A, C) + travel_s(C, B)) != before
    assert director.path == CameraPath(director.keys)


def test_a_keyframe_moves_between_its_neighbours_and_a_drag_is_one_step() -> None:
    director = director_with(A, B, C)
    last = times(director)[2]
    before = director.path
    for time_s in (0.7, 0.6, 1e9):
        director.move(1, time_s, dragging=True)
    director.end_drag()
    assert times(director)[1] == pytest.approx(last - MIN_GAP_S)
    director.move(0, 3.0)
    assert times(director)[0] == 0.0
    director.move(2, 99.0)
    assert director.duration_s == 99.0
    director.undo()
    director.undo()
    assert director.path == before
    director.redo()
    assert times(director)[1] == pytest.approx(last - MIN_GAP_S)


def test_where_there_is_no_room_a_keyframe_stays() -> None:
    director = Director()
    director.load(CameraPath((Keyframe(0.0, A), Keyframe(0.05, B), Keyframe(0.1, C))))
    director.move(1, 0.07)
    assert times(director) == [0.0, 0.05, 0.1]


def test_a_rest_moves_what_follows() -> None:
    director = director_with(A, B, C)
    before = times(director)
    director.set_hold(1, 2.0)
    assert times(director) == [before[0], before[1], pytest.approx(before[2] + 2.0)]
    assert director.path is not None and director.path.at(before[1] + 1.5) == B
    director.set_hold(1, 0.5)
    assert times(director)[2] == pytest.approx(before[2] + 0.5)


def test_splitting_changes_nothing_but_the_number_of_keyframes() -> None:
    director = Director()
    director.load(flight(A, C, 4.0, ease="linear"))
    path = director.path
    assert path is not None
    there = path.at(1.0)
    assert director.split(1.0) == 1
    assert director.keys[1].camera == there and times(director) == [0.0, 1.0, 4.0]
    assert director.split(1.05) is None and director.split(9.0) is None


def test_deleting_the_first_lets_the_second_be_the_first() -> None:
    director = director_with(A, B, C)
    gap = times(director)[2] - times(director)[1]
    director.delete(0)
    assert times(director) == [0.0, pytest.approx(gap)]
    director.delete(0)
    director.delete(0)
    assert director.path is None and director.duration_s == 0
    director.undo()
    assert [k.camera for k in director.keys] == [C]


def test_loop_duration_and_even_speed() -> None:
    director = director_with(A, B, C)
    director.set_loop(True)
    assert director.loop_s == pytest.approx(travel_s(C, A))
    director.set_hold(1, 1.0)
    director.set_duration(20.0)
    assert director.duration_s == pytest.approx(20.0)
    director.even_speed()
    assert director.path is not None
    gaps = np.diff([k.time_s for k in director.keys]) - [k.hold_s for k in director.keys[:-1]]
    speeds = [
        way.length / gap
        for way, gap in zip(director.path.ways, [*gaps, director.loop_s], strict=True)
    ]
    assert max(speeds) == pytest.approx(min(speeds))
    assert director.duration_s == pytest.approx(20.0)
    director.set_loop(False)
    assert director.loop_s == 0


def test_a_loaded_path_begins_at_its_first_keyframe() -> None:
    director = Director()
    director.load(CameraPath((Keyframe(2.0, A), Keyframe(3.0, B, "linear", 1.0)), 4.0))
    assert times(director) == [0.0, 1.0] and director.duration_s == 6.0
    director.load(tour([A, B]))
    director.undo()
    assert director.loop_s == 4.0


@pytest.mark.parametrize("seed", range(8))
def test_random_editing_keeps_the_flight_whole_and_undoes_to_the_beginning(seed: int) -> None:
    rng = np.random.default_rng(seed)
    told: list[int] = []
    director = Director(lambda: told.append(1))
    states = [director.path]
    for _ in range(150):
        count = len(director.keys)
        index = int(rng.integers(max(count, 1)))
        camera = Camera(*rng.uniform(-0.5, 0.5, 2), float(rng.uniform(-1, 8)))
        kind = int(rng.integers(11)) if count else 0
        value = float(rng.uniform(0, 12))
        calls = [
            lambda c=camera, i=index, n=count: director.add(c, i if n else None),
            lambda c=camera: director.add(c),
            lambda i=index, v=value: director.move(i, v),
            lambda i=index, v=value: director.set_hold(i, v - 6),
            lambda i=index: director.set_ease(i, "linear"),
            lambda i=index, c=camera: director.set_camera(i, c),
            lambda v=value: director.split(v),
            lambda v=value: director.set_loop(v > 6),
            lambda v=value: director.set_duration(v * 3),
            director.even_speed,
            lambda i=index: director.delete(i),
        ]
        calls[kind]()
        if director.path != states[-1]:
            states.append(director.path)
        # A CameraPath checks itself; what is more: it begins at 0.
        assert not director.keys or director.keys[0].time_s == 0
        assert math.isfinite(director.duration_s)
    assert len(told) == len(states) - 1
    for state in reversed(states[:-1]):
        director.undo()
        assert director.path == state
    assert not director.can_undo
    for state in states[1:]:
        director.redo()
        assert director.path == state
    assert not director.can_redo


def near(a: Camera, b: Camera) -> float:
    width = 2.0 ** -max(a.log2_zoom, b.log2_zoom)
    return math.hypot(a.cx - b.cx, a.cy - b.cy) / width + 0.25 * abs(a.log2_zoom - b.log2_zoom)


@pytest.mark.parametrize("seed", range(4))
def test_what_a_hand_flew_becomes_few_keyframes_that_stay_near(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cameras = [Camera(*rng.uniform(-0.4, 0.4, 2), float(rng.uniform(0, 7))) for _ in range(4)]
    flown = tour(cameras, hold_s=2.0)
    log = FlightLog(tolerance=0.02)
    num_samples = int(flown.duration_s * 10)
    for number in range(num_samples):
        log.add(100 + number / 10, flown.at(number / 10))
    path = log.path()
    assert path is not None
    assert path.duration_s == pytest.approx((num_samples - 1) / 10)
    assert len(path.keyframes) < num_samples / 2
    assert sum(key.hold_s for key in path.keyframes) > 5.0
    for number in range(num_samples):
        assert near(path.at(number / 10), flown.at(number / 10)) <= 0.021
    assert FlightLog().path() is None


def test_a_long_rest_is_one_keyframe() -> None:
    log = FlightLog(max_samples=10)
    for number in range(500):
        log.add(number / 10, A)
    path = log.path()
    assert path is not None
    assert path.keyframes == (Keyframe(0.0, A, "linear", pytest.approx(49.9)),)
