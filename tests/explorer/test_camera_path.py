"""Camera paths: geometry, files, and clear errors."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path

import pytest

from explorer.camera import Camera
from explorer.camera_path import (
    CameraPath,
    CameraPathError,
    Keyframe,
    ZoomPan,
    even_speed,
    flight,
    load_path,
    parse_path,
    save_path,
    tour,
)

HOME = Camera(0.0, 0.0, -0.2)


@pytest.mark.parametrize("offset", [0.0, 1e-12, 1e-9, 1e-7, 1e-5, 1e-3, 0.1, 0.6])
@pytest.mark.parametrize("zoom", [-1.0, 0.0, 1e-6, 4.0, 8.5])
def test_zoom_pan_starts_and_ends_where_it_should_without_a_jump(
    offset: float, zoom: float
) -> None:
    for a, b in (
        (HOME, Camera(offset, -offset, zoom)),
        (Camera(offset, -offset, zoom), HOME),
    ):
        way = ZoomPan(a, b)
        near = [way.at(f) for f in (1e-9, 1 - 1e-9)]
        for camera, end in zip(near, (a, b)):
            width = 2.0 ** -min(camera.log2_zoom, end.log2_zoom)
            assert abs(camera.log2_zoom - end.log2_zoom) < 1e-6
            assert math.hypot(camera.cx - end.cx, camera.cy - end.cy) < 1e-6 * width
        assert way.length >= 0


def test_a_tiny_offset_is_a_pure_zoom() -> None:
    """The published form of r raises a domain error here."""
    pure = ZoomPan(HOME, Camera(0.0, 0.0, 7.8))
    nearly = ZoomPan(HOME, Camera(1e-7, 0.0, 7.8))
    for i in range(1, 20):
        difference = pure.at(i / 20).log2_zoom - nearly.at(i / 20).log2_zoom
        assert abs(difference) < 1e-4
    assert pure.length == pytest.approx(8.0 * math.log(2) / math.sqrt(2))


def test_a_long_pan_backs_away_and_keeps_its_perceived_speed() -> None:
    way = ZoomPan(Camera(-0.5, 0.0, 6.0), Camera(0.5, 0.0, 6.0))
    assert way.at(0.5).log2_zoom < 3.0
    assert way.at(0.5).cx == pytest.approx(0.0, abs=1e-9)
    speeds = []
    for i in range(100):
        a, b = way.at(i / 100), way.at((i + 1) / 100)
        width = 2.0 ** -((a.log2_zoom + b.log2_zoom) / 2)
        zoomed = math.log(2) * (b.log2_zoom - a.log2_zoom) / math.sqrt(2)
        panned = math.sqrt(2) * (b.cx - a.cx) / width
        speeds.append(math.hypot(zoomed, panned))
    assert max(speeds) / min(speeds) < 1.02


def test_path_rests_at_its_ends_and_passes_its_keyframes() -> None:
    keys = (
        Keyframe(1.0, HOME),
        Keyframe(3.0, Camera(0.2, 0.1, 4.0)),
        Keyframe(4.0, Camera(-0.3, 0.0, 2.0), "linear"),
    )
    path = CameraPath(keys)
    assert path.duration_s == 4.0
    for key in keys:
        assert path.at(key.time_s) == key.camera
    assert path.at(-5.0) == HOME
    assert path.at(99.0) == keys[-1].camera
    # 'smooth' is at rest at both ends, 'linear' is not.
    assert abs(path.at(1.001).log2_zoom - HOME.log2_zoom) < 1e-4
    assert abs(path.at(3.001).log2_zoom - 4.0) > 1e-4


def test_flight_takes_a_time_that_suits_its_length() -> None:
    near = flight(HOME, Camera(0.0, 0.0, 1.0))
    far = flight(HOME, Camera(0.5, 0.2, 8.0))
    assert 0.25 <= near.duration_s < far.duration_s <= 4.0
    assert flight(HOME, Camera(0.0, 0.0, 1.0), 12.5).duration_s == 12.5
    for seconds in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(CameraPathError, match="longer than 0 s"):
            flight(HOME, HOME, seconds)


def test_save_and_load_return_the_same_path(tmp_path: Path) -> None:
    path = CameraPath(
        (Keyframe(0.0, HOME), Keyframe(1 / 3, Camera(0.1, -1 / 7, math.pi), "linear"))
    )
    file = tmp_path / "flight.json"
    before = os.umask(0o022)
    try:
        save_path(path, file)
        save_path(path, file)  # and in place of itself
    finally:
        os.umask(before)
    if sys.platform != "win32":
        assert file.stat().st_mode & 0o777 == 0o644
    assert load_path(file) == path
    assert [p.name for p in tmp_path.iterdir()] == ["flight.json"]


def test_a_failed_save_leaves_nothing_half_written(tmp_path: Path) -> None:
    taken = tmp_path / "folder"
    taken.mkdir()
    with pytest.raises(OSError):
        save_path(CameraPath((Keyframe(0.0, HOME),)), taken)
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def _table(**changes: object) -> dict[str, object]:
    key: dict[str, object] = {"time": 0.0, "center": [0.0, 0.0], "log2_zoom": 1.0}
    return {"format": 1, "keyframes": [key | changes]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[]", "list 'keyframes'"),
        ('{"keyframes": 3}', "list 'keyframes'"),
        ('{"format": 4, "keyframes": []}', "format 4, this build reads up to 3"),
        ('{"format": "x", "keyframes": []}', "whole number as format"),
        ('{"format": 1, "keyframes": []}', "at least one keyframe"),
        ('{"format": 1, "keyframes": [7]}', "keyframe 0 must be an object"),
        (json.dumps(_table(center=[1])), r"center \[x, y\]"),
        (json.dumps(_table(center="ab")), r"center \[x, y\]"),
        (json.dumps(_table(time="soon")), "numbers as time"),
        (json.dumps(_table(time=10**400)), "numbers as time"),
        ('{"keyframes": ' * 100_000, "not JSON"),
        (json.dumps(_table(log2_zoom=True)), "numbers as time"),
        (json.dumps(_table(log2_zoom=400)), "log2_zoom within"),
        (json.dumps(_table(time=-1)), "before time 0"),
        (json.dumps(_table(ease="bouncy")), "ease smooth or linear"),
        (json.dumps(_table(zoom=3)), "unknown field 'zoom'"),
        (json.dumps(_table(hold="long")), "numbers as time"),
        (json.dumps(_table(hold=-1)), "hold of 0 s or more"),
        (json.dumps(_table() | {"loop": "yes"}), "number of seconds as loop"),
        (json.dumps(_table() | {"loop": -2}), "loop must be 0 s or more"),
        (json.dumps(_table()).replace("1.0", "NaN"), "finite"),
    ],
)
def test_a_bad_path_is_one_clear_line(text: str, said: str) -> None:
    with pytest.raises(CameraPathError, match=said) as caught:
        parse_path(text, "p.json")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("p.json")


def test_times_must_rise() -> None:
    with pytest.raises(CameraPathError, match="keyframe 1 must be later"):
        CameraPath((Keyframe(1.0, HOME), Keyframe(1.0, HOME)))
    with pytest.raises(CameraPathError, match="keyframe 1 must be later"):
        CameraPath((Keyframe(1.0, HOME, hold_s=2.0), Keyframe(3.0, HOME)))


A, B, C = Camera(0.1, 0.05, 2.0), Camera(-0.2, 0.1, 3.0), Camera(0.0, 0.3, 6.0)
LOOPED = CameraPath(
    (Keyframe(0.0, A, "linear", 0.5), Keyframe(2.0, B, "smooth", 1.5), Keyframe(5.0, C, "linear")),
    loop_s=2.5,
)


def test_a_camera_rests_where_it_is_held_and_returns_where_the_path_loops() -> None:
    assert LOOPED.duration_s == 7.5
    for time_s, camera in ((0.0, A), (0.5, A), (2.0, B), (2.7, B), (3.5, B), (5.0, C), (7.5, A)):
        assert LOOPED.at(time_s) == camera
    for before, after in ((0.0, 0.6), (3.0, 3.7), (5.0, 5.1), (7.3, 7.5)):
        assert LOOPED.at(before) != LOOPED.at(after)
    # In time as everywhere else: no jump at any moment, the end included.
    moments = [i / 1000 for i in range(7501)]
    for a, b in zip(map(LOOPED.at, moments), map(LOOPED.at, moments[1:]), strict=False):
        offset = math.hypot(a.cx - b.cx, a.cy - b.cy) * 2.0**a.log2_zoom
        assert offset < 0.02 and abs(a.log2_zoom - b.log2_zoom) < 0.02


def test_rests_and_loops_are_in_the_file_and_older_builds_read_what_has_none() -> None:
    assert parse_path(LOOPED.to_json()) == LOOPED
    assert json.loads(LOOPED.to_json())["format"] == 2
    plain = json.loads(flight(A, B, 2.0).to_json())
    assert plain["format"] == 1
    assert all(set(k) == {"time", "center", "log2_zoom", "ease"} for k in plain["keyframes"])


def test_the_frames_of_a_loop_do_not_show_its_end_twice() -> None:
    times = LOOPED.frame_times(10)
    assert times[0] == 0 and times[-1] == pytest.approx(7.5 * 9 / 10)
    times = flight(A, B, 3.0).frame_times(7)
    assert times == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5, 3])
    assert flight(A, B, 3.0).frame_times(1) == [0.0]


def perceived_speed(path: CameraPath, time_s: float) -> float:
    """Van Wijk's metric, numerically."""
    a, b = path.at(time_s - 1e-4), path.at(time_s + 1e-4)
    width = 2.0 ** -((a.log2_zoom + b.log2_zoom) / 2)
    zoomed = math.log(2) * (b.log2_zoom - a.log2_zoom) / math.sqrt(2)
    panned = math.sqrt(2) * math.hypot(b.cx - a.cx, b.cy - a.cy) / width
    return math.hypot(zoomed, panned) / 2e-4


def test_even_speed_is_even_on_every_way() -> None:
    path = even_speed(LOOPED)
    assert path.duration_s == pytest.approx(LOOPED.duration_s)
    assert [k.hold_s for k in path.keyframes] == [0.5, 1.5, 0.0]
    assert [k.camera for k in path.keyframes] == [A, B, C]
    arrivals = [path.keyframes[1].time_s, path.keyframes[2].time_s, path.duration_s]
    speeds = []
    for key, arrival in zip(path.keyframes, arrivals, strict=True):
        span = arrival - key.leave_s
        speeds += [perceived_speed(path, key.leave_s + span * f) for f in (0.1, 0.3, 0.5, 0.9)]
    assert max(speeds) / min(speeds) < 1.001
    assert even_speed(CameraPath((Keyframe(0.0, A),))) == CameraPath((Keyframe(0.0, A, "linear"),))


def test_a_tour_goes_through_all_and_rests_at_each() -> None:
    path = tour([A, B, C], start=HOME, hold_s=1.5)
    assert [k.camera for k in path.keyframes] == [HOME, A, B, C]
    assert [k.hold_s for k in path.keyframes] == [0.0, 1.5, 1.5, 1.5]
    assert tour([A]).duration_s == 1.5
    with pytest.raises(CameraPathError, match="at least one"):
        tour([])


def test_a_missing_or_binary_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(CameraPathError, match="cannot be read"):
        load_path(tmp_path / "none.json")
    file = tmp_path / "noise.json"
    file.write_bytes(bytes(range(128, 256)))
    with pytest.raises(CameraPathError, match="not a text file"):
        load_path(file)
