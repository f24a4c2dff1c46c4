"""`evaluate` from end to end: a perfect copy is at every floor, a blur is not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch.nn.functional as F

from explorer.commands.evaluate import METRIC_NAMES
from model.metrics import METRICS, EvaluationConfig, SceneWindows, evaluate

QUICK = EvaluationConfig(levels=(1.0, 3.0), windows=32, held_out=6, bootstrap=3)


@pytest.fixture(scope="module")
def of_itself(scene):
    return evaluate(scene, scene, QUICK)


def test_the_pyramid_over_itself_is_at_every_floor(of_itself) -> None:
    for label in ("1", "3", "mixed", "mean"):
        for metric, name in (("swd", "set"), ("swd", "real"), ("spectrum", "distance")):
            found = of_itself.figure(label, metric, name)
            assert found.value == pytest.approx(found.reference, rel=0.1)
        band = of_itself.figure(label, "spectrum", "high_band")
        assert band.value == pytest.approx(band.reference, abs=1e-9)
    assert of_itself.figure(3, "flicker", "rms").ratio == 1.0
    assert of_itself.figure(3, "flicker", "worst").value == 1.0
    assert of_itself.figure(3, "consistency", "1").value == pytest.approx(
        of_itself.figure(3, "consistency", "1").reference
    )
    assert of_itself.figure(3, "fidelity", "ms_ssim").value == pytest.approx(1)
    assert of_itself.figure(3, "layout", "correlation").value == pytest.approx(1)
    assert of_itself.figure(3, "seams", "max_abs").value < 1e-5
    assert of_itself.windows == {"1": 32, "3": 32, "mixed": 32}


def test_everything_has_an_interval_that_holds_its_value(of_itself) -> None:
    for metric, name in (("swd", "real"), ("kid", "kid"), ("spectrum", "high_band")):
        found = of_itself.figure(3, metric, name)
        low, high = found.interval
        assert low < found.value < high


def test_the_result_is_plain_json_and_a_table(of_itself) -> None:
    plain = json.loads(json.dumps(of_itself.to_json(), allow_nan=False))
    assert plain["figures"]["3"]["fidelity"]["psnr"]["value"] is None  # infinite
    assert plain["config"]["windows"] == 32
    text = of_itself.table()
    for name in METRIC_NAMES:
        if name != "fid":
            assert METRICS[name].title in text
    assert "floor" in text and "mixed" in text


def test_the_command_names_every_metric() -> None:
    assert set(METRIC_NAMES) == set(METRICS)


def test_a_blur_is_found_by_every_distance(scene, changed) -> None:
    blur = changed(scene, lambda img, w: F.avg_pool2d(F.pad(img, (2, 2, 2, 2), "replicate"), 5, 1))
    config = EvaluationConfig(
        levels=(3.0,), windows=96, held_out=6, bootstrap=0, metrics=("swd", "kid", "spectrum")
    )
    found = evaluate(blur, scene, config)
    assert found.figure(3, "swd", "real").ratio > 2
    assert found.figure(3, "swd", "set").ratio > 1.4
    assert found.figure(3, "kid", "kid").value > 5 * abs(found.figure(3, "kid", "kid").reference)
    assert found.figure(3, "spectrum", "high_band").value < -10
    assert set(found.figures["3"]) == {"swd", "kid", "spectrum"}
    assert found.figure(3, "swd", "real").interval is None


def test_equal_seeds_give_equal_numbers(scene, changed) -> None:
    darker = changed(scene, lambda img, w: 0.8 * img)
    config = EvaluationConfig(
        levels=(2.0,), windows=16, held_out=4, bootstrap=2, metrics=("swd", "layout")
    )
    first, second = (evaluate(darker, scene, config) for _ in range(2))
    assert first.figures == second.figures


def test_a_level_with_one_place_has_distances_and_no_ratio(scene, changed) -> None:
    """Else the floor is how far a picture is from itself."""

    class Square(type(scene)):
        field_size = (1.0, 1.0)

    square = object.__new__(Square)
    square.__dict__.update(scene.__dict__)
    config = EvaluationConfig(levels=(0.0, 1.0), windows=16, metrics=("swd",), bootstrap=0)
    found = evaluate(square, square, config)
    assert found.figure(0, "swd", "real").ratio is None
    assert found.figure(0, "swd", "real").value > 0
    first = found.figure(1, "swd", "real").ratio
    assert first is not None and found.figures["mean"]["swd"]["real"].ratio == first


def test_resamplings_change_neither_value_nor_floor(scene, changed) -> None:
    """A checkpoint has intervals, what it is compared with has none: one floor for both."""
    darker = changed(scene, lambda img, w: 0.8 * img)
    config = EvaluationConfig(levels=(2.0,), windows=16, metrics=("swd",), bootstrap=0)
    plain, resampled = (
        evaluate(darker, scene, replace(config, bootstrap=count)).figure(2, "swd", "real")
        for count in (0, 3)
    )
    assert (plain.value, plain.reference) == (resampled.value, resampled.reference)


def test_pixels_that_are_no_numbers_are_one_line(scene, changed) -> None:
    broken = changed(scene, lambda img, w: img + float("nan"))
    config = EvaluationConfig(levels=(2.0,), windows=16, metrics=("swd",), bootstrap=0)
    with pytest.raises(ValueError, match="windows must hold numbers"):
        evaluate(broken, scene, config)


class WithoutPlaces(SceneWindows):
    """The same windows, and nobody knows where they lie."""

    def draw(self, level, count, rng):
        draw = super().draw(level, count, rng)
        return type(draw)(draw.img, None, draw.levels)


def test_generated_windows_lie_where_the_floor_lies_and_never_with_the_real_ones(scene) -> None:
    drawn, rendered = [], []

    class Watched(SceneWindows):
        def draw(self, level, count, rng):
            drawn.append(super().draw(level, count, rng))
            return drawn[-1]

    class Space:
        identity, patch_size = "watched", scene.patch_size
        field_size, level_range = scene.field_size, scene.level_range

        def render(self, windows):
            rendered.extend(windows)
            return scene.render(windows)

    config = EvaluationConfig(levels=(3.0,), windows=32, metrics=("swd",), bootstrap=0)
    evaluate(Space(), Watched(scene), config)
    places = [w.origin_xy for w in drawn[0].windows]
    assert [w.origin_xy for w in rendered] == places[32:]
    assert not set(places[:32]) & set(places[32:])


def test_data_without_places_has_distances_and_no_fidelity(scene) -> None:
    data = WithoutPlaces(scene)
    data.scene = None
    config = EvaluationConfig(levels=(3.0,), windows=32, held_out=4, bootstrap=0)
    found = evaluate(scene, data, config)
    assert found.figure(3, "swd", "real").ratio < 1.5
    assert "fidelity" not in found.figures["3"] and "layout" not in found.figures["3"]
    assert found.figure(3, "consistency", "1").reference is None
    named = EvaluationConfig(levels=(3.0,), windows=32, metrics=("layout",))
    with pytest.raises(ValueError, match="no places"):
        evaluate(scene, data, named)


def test_progress_rises_to_one_and_cancels(scene) -> None:
    config = EvaluationConfig(levels=(1.0, 2.0), windows=16, bootstrap=0, metrics=("spectrum",))
    seen: list[float] = []
    evaluate(scene, scene, config, seen.append)
    assert seen == sorted(seen) and seen[-1] == 1.0 and len(seen) > 4

    class Cancelled(Exception):
        pass

    def cancel(fraction: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        evaluate(scene, scene, config, cancel)


def test_what_does_not_fit_is_refused(scene, changed) -> None:
    other = changed(scene)
    other.patch_size = 64
    with pytest.raises(ValueError, match="patch size"):
        evaluate(other, scene, QUICK)
    other = changed(scene)
    other.field_size = (1.0, 1.0)
    with pytest.raises(ValueError, match="field of the data"):
        evaluate(other, scene, QUICK)
    other = changed(scene)
    other.level_range = (10.2, 10.4)
    with pytest.raises(ValueError, match="--levels"):
        evaluate(other, scene)
    with pytest.raises(ValueError, match="metric must be one of"):
        EvaluationConfig(metrics=("beauty",))
    with pytest.raises(ValueError, match="windows must be 16"):
        EvaluationConfig(windows=3)
