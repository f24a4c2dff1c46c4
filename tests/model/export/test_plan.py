"""What an export will be: its pixels, and what is refused before anything is rendered."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from model.export import plan_export
from model.scale import Lattice, density
from tests.model.export.exports import Waves


def test_the_field_is_the_view_of_its_centre() -> None:
    plan = plan_export(Waves(), Path("a.tif"), 3.3)
    d = density(3.3, 32)
    assert plan.size == (round(1.3 * d), round(d))
    assert plan.center_xy == pytest.approx((0, 0), abs=1e-12)
    assert plan.outputs() == [Path("a.tif")]


def test_a_box_keeps_its_centre_to_a_fraction_of_a_pixel() -> None:
    plan = plan_export(Waves(), Path("a.dzi"), 5.25, box=(-0.5, 0.1, -0.2, 0.4), seed=7)
    d = density(5.25, 32)
    assert plan.size == (round(0.3 * d), round(0.3 * d))
    assert plan.center_xy == pytest.approx((-0.35, 0.25), abs=1 / 256 / d)
    assert plan.window.seed == 7
    assert [p.name for p in plan.outputs()] == ["a_files", "a.dzi"]


def test_all_tiles_lie_on_one_lattice() -> None:
    for k in range(30):
        plan = plan_export(Waves(), Path("a.tif"), 4 + k / 7, box=(-0.6 + k / 99, -0.4, 0.6, 0.4))
        d = density(plan.window.level, 32)
        first = Lattice.at(plan.window.origin_xy[0], d)
        for column in range(plan.columns):
            at = Lattice.at(plan.tile_window(column, 0).origin_xy[0], d)
            assert at == Lattice(first.first + 256 * column, first.phase)


@pytest.mark.parametrize(
    ("out", "level", "options", "message"),
    [
        ("a.gif", 1.0, {}, "must end in"),
        ("a.tif", math.inf, {}, "level of an export"),
        ("a.tif", 1.0, {"box": (0.1, 0.0, 0.1, 0.2)}, "X0 < X1"),
        ("a.tif", 1.0, {"box": (-0.8, 0.0, 0.1, 0.2)}, "inside the field, -0.65 to 0.65"),
        ("a.tif", 1.0, {"box": (math.nan, 0.0, 0.1, 0.2)}, "inside the field"),
        ("a.tif", 1.0, {"tile_px": 100}, "multiple of 16"),
        ("a.png", 1.0, {"quality": 80}, "always lossless"),
        ("a.jpg", 1.0, {"quality": "lossless"}, "never lossless"),
        ("a.jpg", 1.0, {"quality": 101}, "1 to 100"),
        ("a.tif", 30.0, {}, "at most 10000000 pixels"),
    ],
)
def test_what_cannot_be_is_refused(
    out: str, level: float, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        plan_export(Waves(), Path(out), level, **options)  # type: ignore[arg-type]


def test_a_jpeg_that_is_too_large_says_by_how_much() -> None:
    with pytest.raises(ValueError, match=r"write .dzi or .tif, or lower the level by 0.74") as e:
        plan_export(Waves(), Path("a.jpg"), 11.36)
    size = plan_export(Waves(), Path("a.jpg"), 11.36 - 0.74).size
    assert max(size) <= 65_500
    assert "109344 x 84111" in str(e.value)


@pytest.mark.parametrize(
    ("out", "quality", "got"),
    [("a.tif", None, None), ("a.dzi", None, 90), ("a.jpg", 70, 70), ("a.dzi", "lossless", None)],
)
def test_the_quality_that_a_kind_of_file_has(out: str, quality: int | str, got: int | None) -> None:
    assert plan_export(Waves(), Path(out), 1.0, quality=quality).quality == got
