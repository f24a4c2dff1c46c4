"""The two cameras: anchoring, limits, easing, hands. Exhaustive where a mistake would be felt."""

from __future__ import annotations

import math
import random

import pytest

from explorer.camera import Camera, View, camera_at_level, camera_level, fit_camera
from explorer.camera_path import flight
from explorer.config import CameraConfig
from explorer.view_state import ViewState

SIZE = (1024, 768)
FIELD = (1.27, 1.0)


def make_state(**options: object) -> ViewState:
    return ViewState(FIELD, 8.5, 64, SIZE, CameraConfig(**options))  # type: ignore[arg-type]


def settle(state: ViewState, now: float = 10.0, frames: int = 400) -> float:
    for _ in range(frames):
        now += 1 / 60
        state.advance(1 / 60, now)
    assert state.is_settled
    return now


def assert_same(a: Camera, b: Camera, tolerance: float = 1e-9) -> None:
    assert abs(a.cx - b.cx) < tolerance
    assert abs(a.cy - b.cy) < tolerance
    assert abs(a.log2_zoom - b.log2_zoom) < tolerance


def test_screen_and_field_are_inverse() -> None:
    view = View(Camera(0.21, -0.13, 5.3), SIZE)
    assert view.to_screen(*view.to_field(17.25, 700.5)) == pytest.approx((17.25, 700.5), abs=1e-8)
    assert view.to_field(512, 384) == (0.21, -0.13)
    left, top, right, bottom = view.bounds()
    assert view.to_screen(left, top) == pytest.approx((0, 0), abs=1e-8)
    assert view.to_screen(right, bottom) == pytest.approx(SIZE, abs=1e-8)


def test_level_and_zoom_convert_into_each_other() -> None:
    camera = camera_at_level((0.1, 0.2), 6.25, SIZE, 64)
    assert camera_level(camera, SIZE, 64) == pytest.approx(6.25, abs=1e-12)
    # The same camera on a film of twice the size asks for one octave more.
    assert camera_level(camera, (2048, 1536), 64) == pytest.approx(7.25, abs=1e-12)


@pytest.mark.parametrize("size", [(1024, 768), (500, 900), (300, 300), (1920, 300)])
@pytest.mark.parametrize("field_size", [(1.27, 1.0), (1.0, 3.0), (1.0, 1.0)])
def test_fit_shows_the_whole_field_and_no_more(
    size: tuple[int, int], field_size: tuple[float, float]
) -> None:
    left, top, right, bottom = View(fit_camera(field_size, size), size).bounds()
    assert right - left >= field_size[0] - 1e-12
    assert bottom - top >= field_size[1] - 1e-12
    assert min((right - left) / field_size[0], (bottom - top) / field_size[1]) == pytest.approx(1)


@pytest.mark.parametrize("start", [None, 0.0, 3.0, 5.5])
@pytest.mark.parametrize("frames_between", [0, 1, 3])
def test_twenty_notches_in_and_twenty_out_are_the_same_view(
    start: float | None, frames_between: int
) -> None:
    """From the whole picture, from the middle, and from where the limit cuts notches off."""
    rng = random.Random(3)
    for _ in range(10):
        state = make_state()
        if start is not None:
            state.jump_to(Camera(rng.uniform(-0.4, 0.4), rng.uniform(-0.3, 0.3), start))
        x, y = rng.uniform(100, 900), rng.uniform(100, 600)
        before, now = state.target, 0.0
        for notch in [1] * 20 + [-1] * 20:
            state.wheel(notch, x, y, now)
            for _ in range(frames_between):
                now += 1 / 60
                state.advance(1 / 60, now)
        assert_same(state.target, before)
        settle(state, now)
        assert_same(state.displayed, before)


def test_twenty_notches_out_and_twenty_in_at_the_far_limit_are_the_same_view() -> None:
    state = make_state()
    state.jump_to(Camera(0.1, 0.05, 0.2))
    before = state.target
    for notch in [-1] * 20 + [1] * 20:
        state.wheel(notch, 600.0, 300.0, 0.0)
    assert_same(state.target, before)


def test_notches_beyond_a_limit_are_forgotten_after_a_pause() -> None:
    state = make_state()
    for _ in range(60):
        state.wheel(1, 500, 400, 0.0)
    now = settle(state)
    deepest = state.zoom_limits[1]
    assert state.target.log2_zoom == deepest
    state.wheel(-2, 500, 400, now)
    # Two notches back answer at once; at most one of them pays for the rest of the ladder.
    assert deepest - 0.5 <= state.target.log2_zoom <= deepest - 0.25


def test_the_point_under_the_cursor_stays_at_every_frame() -> None:
    rng = random.Random(5)
    for _ in range(40):
        state = make_state()
        level = rng.uniform(0.0, 6.0)
        state.jump_to(Camera(rng.uniform(-0.5, 0.5), rng.uniform(-0.4, 0.4), level))
        now = 0.0
        x, y = rng.uniform(0, SIZE[0]), rng.uniform(0, SIZE[1])
        held = state.view.to_field(x, y)
        if abs(held[0]) > FIELD[0] / 2 or abs(held[1]) > FIELD[1] / 2:
            continue
        for _ in range(60):
            if rng.random() < 0.4:
                state.wheel(rng.choice([-3, -1, -0.3, 0.2, 1, 2]), x, y, now)
            dt = rng.choice([1 / 144, 1 / 60, 1 / 20, 0.5])
            now += dt
            state.advance(dt, now)
            sx, sy = state.view.to_screen(*held)
            assert math.hypot(sx - x, sy - y) < 1e-5


def test_a_moved_pointer_takes_a_new_anchor_without_a_jump() -> None:
    state = make_state()
    state.wheel(6, 200, 200, 0.0)
    state.advance(1 / 60, 1 / 60)
    before = state.displayed
    held = state.view.to_field(800, 600)
    state.wheel(1, 800, 600, 0.02)
    assert_same(state.displayed, before, 1e-12)
    settle(state, 0.02)
    assert state.view.to_screen(*held) == pytest.approx((800, 600), abs=1e-6)


def test_beside_the_picture_the_nearest_point_of_it_is_anchored() -> None:
    state = make_state()
    state.jump_to(Camera(0.5, 0.0, 0.0))
    edge = state.view.to_screen(FIELD[0] / 2, 0.0)
    assert edge[0] < 1000
    state.wheel(12, 1010, SIZE[1] / 2, 0.0)
    settle(state)
    assert state.view.to_screen(FIELD[0] / 2, 0.0)[0] == pytest.approx(edge[0], abs=1e-6)


@pytest.mark.parametrize("zoom", ["wheel", "double_click", "pinch"])
def test_a_click_beside_the_picture_does_not_make_one_zoom_into_the_wall(zoom: str) -> None:
    state = make_state()
    state.jump_to(Camera(0.5, 0.0, 0.0))
    edge, x, y = state.view.to_screen(FIELD[0] / 2, 0.0)[0], 1010.0, SIZE[1] / 2
    assert edge < x
    state.drag_start(x, y, 0.0)
    state.drag_end(0.1)
    if zoom == "wheel":
        for _ in range(12):
            state.wheel(1, x, y, 0.2)
    elif zoom == "pinch":
        state.pinch(2.0, x, y, 0.2)
    else:
        state.double_click(x, y, 0.2)
    settle(state)
    assert state.displayed.log2_zoom >= 1.0
    assert state.view.to_screen(FIELD[0] / 2, 0.0)[0] == pytest.approx(edge, abs=1e-6)


@pytest.mark.parametrize("before", ["wheel", "key"])
@pytest.mark.parametrize("x", [1010.0, 400.0])
def test_a_drag_moves_by_what_the_pointer_moves_whatever_has_zoomed(before: str, x: float) -> None:
    state, y = make_state(), 200.0
    state.jump_to(Camera(0.5, 0.0, 0.0))
    if before == "wheel":
        state.wheel(2, x, y, 0.0)
        settle(state)
    state.drag_start(x, y, 20.0)
    if before == "key":
        state.drag_move(x - 5, y, 20.1)
        state.key_press("in", 20.2)
        state.key_release("in", 20.2)
        settle(state, 20.2)
        x -= 5
    held = state.view.to_field(x, y)
    state.drag_move(x + 1, y - 2, 40.0)
    assert state.view.to_screen(*held) == pytest.approx((x + 1, y - 2), abs=1e-6)


def test_easing_is_monotone_and_does_not_depend_on_the_frame_rate() -> None:
    ends = []
    for frames in (12, 24, 60):
        state = make_state()
        state.wheel(4, 512, 384, 0.0)
        last = state.displayed.log2_zoom
        for i in range(frames):
            state.advance(0.2 / frames, i * 0.2 / frames)
            assert state.displayed.log2_zoom > last
            last = state.displayed.log2_zoom
        ends.append(last)
    assert ends == pytest.approx([ends[0]] * 3, abs=1e-9)


def test_a_stalled_frame_moves_no_further_than_the_clamped_step() -> None:
    a, b = make_state(), make_state()
    for state, dt in ((a, 0.05), (b, 3.0)):
        state.wheel(4, 512, 384, 0.0)
        state.advance(dt, dt)
    assert a.displayed == b.displayed


def test_trackpad_and_pinch_are_tracked_without_easing() -> None:
    state = make_state()
    before = state.displayed.log2_zoom
    held = state.view.to_field(300, 300)
    state.scroll_zoom(50, 300, 300, 0.0)
    assert state.displayed.log2_zoom == pytest.approx(before + 50 * 0.006)
    state.pinch(2.0, 300, 300, 0.0)
    assert state.displayed.log2_zoom == pytest.approx(before + 1.3)
    assert state.displayed == state.target
    assert state.view.to_screen(*held) == pytest.approx((300, 300), abs=1e-8)
    state.pinch(-1.0, 300, 300, 0.0)
    assert state.displayed.log2_zoom == pytest.approx(before + 1.3)


def test_drag_is_one_to_one_even_while_a_zoom_is_eased() -> None:
    state = make_state()
    state.jump_to(Camera(0.0, 0.0, 2.0))
    state.wheel(4, 100, 100, 0.0)
    state.advance(1 / 60, 0.02)
    held = state.view.to_field(400, 300)
    state.drag_start(400, 300, 0.02)
    for i in range(1, 20):
        x, y = 400 + 7 * i, 300 - 3 * i
        state.drag_move(x, y, 0.02 + i / 60)
        state.advance(1 / 60, 0.02 + i / 60)
        assert state.view.to_screen(*held) == pytest.approx((x, y), abs=1e-6)


def test_a_fast_release_flings_and_its_end_is_known_beforehand() -> None:
    state = make_state()
    state.jump_to(Camera(0.0, 0.0, 4.0))
    state.drag_start(500, 400, 0.0)
    for i in range(1, 7):
        state.drag_move(500 + 15 * i, 400, i / 60)
    state.drag_end(6 / 60)
    released, landing = state.displayed, state.target
    assert landing.cx < released.cx
    assert not state.is_settled
    settle(state)
    assert state.displayed.cx == pytest.approx(landing.cx, abs=1e-9)
    assert state.displayed.log2_zoom == released.log2_zoom


@pytest.mark.parametrize("pause", [0.0, 0.5])
def test_a_slow_release_or_a_pause_before_it_does_not_fling(pause: float) -> None:
    state = make_state()
    state.drag_start(500, 400, 0.0)
    step = 1 if pause == 0.0 else 30
    for i in range(1, 7):
        state.drag_move(500 + step * i, 400, i / 60)
    state.drag_end(6 / 60 + pause)
    assert state.is_settled


def test_a_press_stops_a_fling() -> None:
    state = make_state()
    state.jump_to(Camera(0.0, 0.0, 4.0))
    state.drag_start(500, 400, 0.0)
    state.drag_move(560, 400, 0.02)
    state.drag_end(0.03)
    assert not state.is_settled
    state.drag_start(500, 400, 0.05)
    before = state.displayed
    state.advance(1 / 60, 0.07)
    assert_same(state.displayed, before, 1e-15)


def test_part_of_the_picture_stays_in_view_however_far_one_drags() -> None:
    state = make_state()
    for zoom in (0.0, 3.0):
        state.jump_to(Camera(0.0, 0.0, zoom))
        state.drag_start(500, 400, 0.0)
        for i in range(200):
            state.drag_move(500 + 100 * i, 400 - 100 * i, i / 60)
        left, top, right, bottom = state.view.bounds()
        assert left < FIELD[0] / 2 and right > -FIELD[0] / 2
        assert top < FIELD[1] / 2 and bottom > -FIELD[1] / 2
        state.drag_end(10.0)


def test_a_tapped_key_moves_one_step_and_a_held_one_goes_on() -> None:
    state = make_state()
    state.jump_to(Camera(0.0, 0.0, 4.0))
    state.key_press("right", 0.0)
    state.key_release("right", 0.05)
    settle(state, 0.05)
    tapped = state.displayed.cx
    assert tapped == pytest.approx(0.1 / 16)
    state.key_press("right", 20.0)
    now = 20.0
    for _ in range(60):
        now += 1 / 60
        state.advance(1 / 60, now)
    state.key_release("right", now)
    settle(state, now)
    assert state.displayed.cx > tapped + 4 * 0.1 / 16
    state.key_press("in", 40.0)
    state.key_release("in", 40.0)
    assert state.target.log2_zoom == pytest.approx(4.25)
    with pytest.raises(ValueError, match="action must be one of"):
        state.key_press("sideways", 0.0)


def test_a_held_zoom_key_at_the_limit_leaves_nothing_to_unwind() -> None:
    state = make_state()
    state.jump_to(Camera(0.0, 0.0, state.zoom_limits[1]))
    state.key_press("in", 0.0)
    now = 0.0
    for _ in range(240):
        now += 1 / 60
        state.advance(1 / 60, now)
    state.key_release("in", now)
    for _ in range(2):
        state.key_press("out", now)
        state.key_release("out", now)
    assert state.target.log2_zoom <= state.zoom_limits[1] - 0.25


def test_a_flight_is_looked_ahead_ends_exactly_and_yields_to_a_hand() -> None:
    state = make_state()
    home, there = state.displayed, Camera(0.2, -0.1, 4.5)
    state.fly(flight(home, there, 2.0), 0.0)
    state.advance(1 / 60, 0.02)
    assert state.is_flying and state.rest_since is None
    lead_s = state.config.flight_lead_s
    assert_same(state.target, flight(home, there, 2.0).at(1 / 60 + lead_s), 1e-12)
    assert state.target.log2_zoom > state.displayed.log2_zoom
    now = settle(state)
    assert_same(state.displayed, there, 1e-12)
    assert state.rest_since is not None and state.rest_since > 10.0
    state.fly(flight(there, home, 2.0), now)
    state.advance(0.05, now + 0.05)
    halfway = state.displayed
    state.drag_start(500, 300, now + 0.1)
    assert not state.is_flying
    assert_same(state.displayed, halfway, 1e-12)


def test_resize_keeps_the_place_and_a_fitted_picture_fitted() -> None:
    state = make_state()
    state.resize((1600, 700))
    assert_same(state.displayed, fit_camera(FIELD, (1600, 700)), 1e-12)
    state.jump_to(Camera(0.2, 0.1, 4.0))
    state.resize((640, 480))
    assert_same(state.displayed, Camera(0.2, 0.1, 4.0), 1e-12)
    state.resize((0, 0))
    assert state.size == (640, 480)


def test_reduced_motion_jumps() -> None:
    state = make_state(reduced_motion=True)
    state.wheel(4, 512, 384, 0.0)
    state.advance(1 / 60, 0.02)
    assert state.is_settled
    state.fly(flight(state.displayed, Camera(0.1, 0.1, 3.0), 2.0), 1.0)
    assert_same(state.displayed, Camera(0.1, 0.1, 3.0), 1e-12)


def test_every_input_counts_as_one_for_the_exact_frame() -> None:
    state = make_state()
    state.wheel(1, 1, 1, 5.0)
    assert state.rest_since == 5.0
    state.key_press("left", 6.0)
    assert state.rest_since is None
    state.release_all()
    assert state.rest_since == 6.0
