"""The exponential strip: every pixel shows the field point that its map names."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from explorer.api import Scene
from explorer.camera import Camera, View
from explorer.camera_path import CameraPath, Keyframe, flight
from explorer.filming import Shots, strip
from explorer.recorder import OtherFilmError
from explorer.view_links import view_from_json
from explorer.zoom_strip import StripPlan, part_path, plan_strip, record_strip, strip_bands
from tests.explorer.fakes import FakeSpace, field_color

WIDE, DEEP = Camera(0.1, -0.2, 1.0), Camera(0.21, 0.13, 4.5)


def formula(camera: Camera, side: int) -> np.ndarray:
    """The square view of a smooth formula, exact at every pixel."""
    view = View(camera, (side, side))
    x, y = view.to_field(np.arange(side) + 0.5, np.arange(side) + 0.5)  # type: ignore[arg-type]
    rgb = field_color(np.asarray(x)[None, :], np.asarray(y)[:, None])
    return np.clip(np.rint(rgb * 127.5 + 127.5), 0, 255).astype(np.uint8)


def test_every_pixel_is_where_the_map_says(tmp_path: Path) -> None:
    plan = plan_strip(flight(WIDE, DEEP, 3.0), 200)
    assert plan.center == DEEP and plan.octaves == 3.5
    assert plan.height == round(3.5 * 200 * math.log(2) / (2 * math.pi))
    done: list[int] = []
    record_strip(tmp_path / "s.png", plan, formula, done.append, texts={"a": "b"})
    with Image.open(tmp_path / "s.png") as image:
        assert image.info["a"] == "b"
        pixels = np.asarray(image)
    assert pixels.shape == (plan.height, 200, 3) and done[-1] == plan.height
    y, x = np.mgrid[: plan.height, :200]
    radius = 0.5 * 2.0**-1.0 * np.exp(-2 * np.pi * (y + 0.5) / 200)
    angle = 2 * np.pi * (x + 0.5) / 200 - np.pi / 2
    rgb = field_color(DEEP.cx + radius * np.cos(angle), DEEP.cy + radius * np.sin(angle))
    expected = np.clip(rgb * 127.5 + 127.5, 0, 255)
    assert np.abs(pixels - expected).max() < 1.5
    # The last row is the circle that fits into the last frame.
    assert radius[-1, 0] == pytest.approx(0.5 * 2.0**-4.5, rel=0.05)
    assert [p.name for p in tmp_path.iterdir()] == ["s.png"]


def test_memory_does_not_depend_on_the_depth() -> None:
    sides: list[int] = []

    def render(camera: Camera, side: int) -> np.ndarray:
        sides.append(side)
        return np.zeros((side, side, 3), np.uint8)

    for octaves in (2.0, 40.0):
        rows = [len(band) for band in strip_bands(StripPlan(DEEP, octaves, 400), render)]
        assert sum(rows) == StripPlan.rows(octaves, 400) and max(rows) <= 0.03 * 400
    assert max(sides) < 300


def test_what_is_no_zoom_has_no_strip_and_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must zoom"):
        plan_strip(CameraPath((Keyframe(0.0, WIDE),)), 200)
    with pytest.raises(ValueError, match="at least 16"):
        plan_strip(flight(WIDE, DEEP, 1.0), 8)

    def fail(camera: Camera, side: int) -> np.ndarray:
        if camera.log2_zoom > 3:
            raise RuntimeError
        return formula(camera, side)

    with pytest.raises(RuntimeError):
        record_strip(tmp_path / "s.png", plan_strip(flight(WIDE, DEEP, 1.0), 200), fail)
    assert not list(tmp_path.iterdir())


class Breaking:
    """Renders the formula, and breaks after so many squares."""

    def __init__(self, squares: int) -> None:
        self.left = squares

    def __call__(self, camera: Camera, side: int) -> np.ndarray:
        self.left -= 1
        if self.left < 0:
            raise InterruptedError("broken")
        return formula(camera, side)


def test_a_strip_that_was_cut_anywhere_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    plan, texts = plan_strip(flight(WIDE, DEEP, 1.0), 64), {"a": "b"}
    whole, out = tmp_path / "whole.png", tmp_path / "s.png"
    record_strip(whole, plan, formula, texts=texts)
    num_bands = len(list(strip_bands(plan, formula)))
    rng = np.random.default_rng(0)
    for kept in (0, 1, num_bands // 2, num_bands - 1):
        with pytest.raises(InterruptedError):
            record_strip(out, plan, Breaking(kept), texts=texts, resume=True)
        part = part_path(out)
        data = bytearray(part.read_bytes())
        lost = 0
        if kept:  # the last band was cut, or its bytes are others
            lost = 1
            if kept % 2:
                del data[-int(rng.integers(1, 200)) :]
            else:
                data[-int(rng.integers(1, 200))] ^= 0x40
            part.write_bytes(data)
        rest = Breaking(num_bands - kept + lost)
        done: list[int] = []
        record_strip(out, plan, rest, done.append, texts=texts, resume=True)
        assert rest.left == 0 and done[-1] == plan.height
        assert out.read_bytes() == whole.read_bytes() and not part.exists()


def test_what_is_kept_of_another_strip_is_left_alone(tmp_path: Path) -> None:
    plan, out = plan_strip(flight(WIDE, DEEP, 1.0), 64), tmp_path / "s.png"
    with pytest.raises(InterruptedError):
        record_strip(out, plan, Breaking(3), resume=True)
    kept = part_path(out).read_bytes()
    for other, texts in ((plan_strip(flight(WIDE, DEEP, 1.0), 66), {}), (plan, {"seed": "1"})):
        with pytest.raises(OtherFilmError, match="another strip"):
            record_strip(out, other, formula, texts=texts, resume=True)
    assert part_path(out).read_bytes() == kept
    record_strip(out, plan, formula)  # from the beginning, as asked
    assert [p.name for p in tmp_path.iterdir()] == ["s.png"]


def test_the_strip_of_a_scale_space_carries_the_view_of_its_end(tmp_path: Path) -> None:
    out = tmp_path / "s.png"
    strip(Shots(Scene(FakeSpace(), "fake"), (128, 128)), flight(WIDE, DEEP, 1.0), out)
    with Image.open(out) as image:
        view = view_from_json(json.loads(image.info["scalespace"]))
        assert image.size == (128, StripPlan.rows(3.5, 128))
        bottom = np.asarray(image)[-1].astype(float)
    assert view.center_xy == (DEEP.cx, DEEP.cy) and view.identity == "fake"
    middle = field_color(np.array(DEEP.cx), np.array(DEEP.cy)) * 127.5 + 127.5
    assert np.abs(bottom.mean(0) - middle).max() < 8
