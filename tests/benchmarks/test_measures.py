"""Seams, speed, machine, sums and files of the benchmarks, on cases whose answers are known."""

from __future__ import annotations

import argparse
import itertools
import json
import random
from pathlib import Path

import pytest
import torch

from benchmarks import rendering
from benchmarks.app_bench import add_arguments, run
from benchmarks.machine import describe_machine, machine_name, memory_parts, resident_bytes
from benchmarks.rendering import (
    LevelSpeed,
    Speed,
    measure_speed,
    place_in_field,
    speed_ratios,
)
from benchmarks.seams import LIMITS, ZeroPaddedControl, measure_seams, render_from_tiles
from benchmarks.subjects import Subject, open_subject
from benchmarks.sums import intervals, percentile, slope
from benchmarks.tables import facts, table, write_json
from model.space import Window


def test_an_exact_space_has_no_seams(waves) -> None:
    error = measure_seams(waves, windows=6)
    assert error.max_abs < LIMITS["fp32"]


def test_the_zero_padded_control_fails(waves) -> None:
    error = measure_seams(ZeroPaddedControl(waves), windows=6)
    assert error.max_abs > 0.05


def test_a_small_seam_deep_down_is_found_and_placed(waves) -> None:
    class Off(type(waves)):
        def render(self, windows):
            img = super().render(windows)
            if windows[0].level > 3 and windows[0].width == 128:
                img[..., 5, 7] += 0.01
            return img

    error = measure_seams(Off(), windows=8)
    assert error.max_abs == pytest.approx(0.01, abs=1e-5)
    assert error.worst_level > 3
    assert error.worst_tile == 128


def test_a_hole_in_the_tiles_is_a_seam(waves) -> None:
    class Holes(type(waves)):
        def render(self, windows):
            img = super().render(windows)
            return img if windows[0].width > 128 else img * float("nan")

    assert not measure_seams(Holes(), windows=2).max_abs < LIMITS["auto"]


def test_every_pixel_comes_from_a_tile(waves) -> None:
    window = Window((-0.3, -0.2), 1.3, 170, 230)
    parts = render_from_tiles(waves, window, 64, random.Random(1))
    assert torch.equal(parts, waves.render([window])[0])


def test_speed_counts_tiles_and_takes_medians(waves, monkeypatch) -> None:
    # Each look at the clock is a second after the one before: every job lasts one second.
    clock = itertools.count().__next__
    monkeypatch.setattr(rendering, "BATCH_PIXELS", 4 * 256 * 256)
    speed = measure_speed({"a": waves, "b": waves}, [0.0, 1.0], repeats=3, clock=clock)
    assert set(speed) == {"a", "b"}
    row = speed["a"].levels[0]
    assert row.view_ms == pytest.approx(1000)
    assert row.tile_ms == pytest.approx({"64": 1000 / 64, "128": 1000 / 16, "256": 1000 / 4})
    assert speed["a"].megapixels_per_s == pytest.approx(1024 * 768 / 1e6)
    assert speed["a"].view_max_over_min == pytest.approx(1.0)


def test_ratios_say_how_much_faster_the_other_is() -> None:
    slow = Speed((LevelSpeed(0.0, {}, 100.0), LevelSpeed(1.0, {}, 300.0)))
    fast = Speed((LevelSpeed(0.0, {}, 50.0), LevelSpeed(1.0, {}, 50.0)))
    ratios = speed_ratios(slow, fast)
    assert ratios["megapixels_per_s"] == pytest.approx(4.0)
    assert ratios["view at level 1"] == pytest.approx(6.0)
    assert slow.view_max_over_min == pytest.approx(3.0)


def test_places_stay_in_the_field_and_large_windows_are_centred(waves) -> None:
    x, y = place_in_field(waves, 2.0, (64, 64), (1.0, 0.0))
    assert (x, y) == pytest.approx((0.625 - 0.25, -0.5))
    x, y = place_in_field(waves, 0.0, (1024, 768), (0.9, 0.1))
    assert (x, y) == pytest.approx((-8.0, -6.0))


def test_against_a_device_or_another_source() -> None:
    first = Subject("a.safetensors", "cpu")
    assert first.against("cuda") == Subject("a.safetensors", "cuda")
    assert first.against("b.safetensors") == Subject("b.safetensors", "cpu")
    assert first.against("studio").label == "preset studio (cpu)"


def test_an_untrained_preset_can_be_measured() -> None:
    space = open_subject(Subject("laptop", "cpu", "fp32"))
    assert space.field_size == (1.25, 1.0)
    error = measure_seams(space, windows=2)
    assert error.max_abs < LIMITS["fp32"]


def test_percentiles_intervals_and_slope() -> None:
    assert percentile([], 95) is None
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert percentile(range(101), 95) == pytest.approx(95)
    assert intervals([1.0, 1.5, 3.0]) == [0.5, 1.5]
    assert slope([0, 1, 2, 3], [5, 7, 9, 11]) == pytest.approx(2.0)
    assert slope([1], [5]) == 0.0 and slope([1, 1], [5, 6]) == 0.0


def test_the_machine_is_described_and_its_host_is_not() -> None:
    import platform

    machine = describe_machine()
    assert machine["cores"] >= 1 and machine["python"] and machine["torch"]
    assert platform.node() not in json.dumps(machine).split('"')
    assert resident_bytes() > 50e6
    parts = memory_parts()
    if "used" in parts:
        block = torch.zeros(64 << 20, dtype=torch.uint8)
        assert memory_parts()["used"] - parts["used"] > 0.9 * block.nbytes


def test_machine_names_are_plain_file_names() -> None:
    machine = {"cpu": "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", "cores": 2, "gpu": None}
    assert machine_name(machine) == "intel-xeon-platinum-8481c-2-cores"
    named = machine_name(machine | {"cpu": "AMD EPYC 9554", "gpu": "NVIDIA H200"})
    assert named == "amd-epyc-9554-2-cores-nvidia-h200"


def test_tables_line_up() -> None:
    lines = table("t", ["level", "ms"], [[4, 12.3456], [10, None]]).splitlines()
    assert lines == ["t", "  level     ms", "      4  12.35", "     10      -"]
    assert facts("f", {"a": 0.01234, "bcd": "x"}) == "f\n  a    0.0123\n  bcd  x"


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "r.json"
    write_json(target, {"a": 1})
    with pytest.raises(TypeError):
        write_json(target, {"a": object()})
    assert json.loads(target.read_text()) == {"a": 1}
    assert [p.name for p in target.parent.iterdir()] == ["r.json"]


@pytest.mark.parametrize("wrong", [["--repeats", "0"], ["no-such-file.safetensors"]])
def test_bad_arguments_are_one_line(wrong: list[str], capsys) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert run(parser.parse_args([*wrong, "--only", "speed"])) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("bench: ") and "\n" not in error
