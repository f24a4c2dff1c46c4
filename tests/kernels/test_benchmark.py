"""`python -m benchmarks.kernels`: its refusal, its arithmetic, and the rivals it times."""

from __future__ import annotations

import types
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import kernels as bench
from benchmarks.kernel_cases import (
    Sizes,
    all_cases,
    composed_filtered_lrelu,
    load_rival,
)
from benchmarks.kernel_training import measure_training
from kernels import _cuda, filtered_lrelu
from model.config import DiscriminatorConfig, LossConfig, TrainConfig
from model.presets import Preset
from tests.kernels.host_build import HostLauncher
from tests.model.small import CONFIG

TINY = Sizes(images=1, channels=4, pixels=16, waves=3, frame=(5, 7), cells=32)


def test_refuses_without_a_gpu_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(_cuda, "_state", _cuda._State())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench.main(["--json", str(tmp_path / "r.json")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "nothing is measured" in captured.err
    assert not list(tmp_path.iterdir())


def test_the_composition_computes_the_same() -> None:
    x = torch.randn(2, 3, 20, 23, dtype=torch.float64)
    fu, fd = torch.rand(12).double(), torch.rand(12).double()
    b = torch.randn(3).double()
    ours = filtered_lrelu(x, fu, fd, b, up=2, down=2, padding=(1, 0, 1, 0), gain=1.0)
    torch.testing.assert_close(composed_filtered_lrelu(x, fu, fd, b), ours)


def test_every_case_runs_and_its_row_adds_up(
    host: HostLauncher, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[str] = []

    def rival(x: torch.Tensor, **options: object) -> torch.Tensor:
        seen.append(",".join(sorted(options)))
        return filtered_lrelu(x, impl="ref", **options)  # type: ignore[arg-type]

    def timer(job: object) -> float:
        assert callable(job)
        job()
        return 0.5

    rates = {"copy_bytes_per_s": 1e3, "float32_operations_per_s": 1e6}
    rates["float16_operations_per_s"] = 4e6
    rows = bench.measure_cases(all_cases(torch.device("cpu"), TINY, rival), timer, rates)
    assert {row["op"] for row in rows} == {
        "bias_lrelu",
        "filtered_lrelu",
        "upfirdn2d",
        "fourier_features",
        "feature_grid",
        "resample",
        "tile_to_rgba8",
    }
    first = rows[0]  # filtered_lrelu in float32, forward
    assert first["ms"] == {"cuda": 500, "ref": 500, "composed": 500, "against": 500}
    assert first["copy_share"] == first["bytes"] / 0.5 / 1e3
    assert set(first["times_faster_than"].values()) == {1.0}
    # In and out once, float32: 4 channels of 16 x 16 and of 6 x 6.
    assert first["bytes"] == 4 * 4 * (16**2 + 6**2)
    assert seen[0] == "b,clamp,down,fd,fu,gain,padding,slope,up"
    bench.print_rows(rows)
    assert "x against" in capsys.readouterr().out


def test_training_is_timed_with_the_kernels_and_without(host: HostLauncher) -> None:
    preset = Preset(
        replace(CONFIG, nonlinearity_oversampling=2, filter_taps=6),
        DiscriminatorConfig(widths=(4, 6, 8)),
        LossConfig(adversarial_from=0.0, adversarial_full=1.0),
        TrainConfig(group_size=1, groups=1),
    )
    ticks = iter(range(100))
    used: list[int] = []

    def clock() -> float:
        used.append(len(host.launched))
        return float(next(ticks))

    rates = measure_training({"tiny": preset}, torch.device("cpu"), 1, 0, clock)
    assert rates == {"tiny": {"cuda": 1.0, "ref": 1.0, "ratio": 1.0}}
    # Two readings a run: launches between the first two, none between the others.
    assert used[0] == 0 < used[1] == used[2] == used[3]


@pytest.mark.parametrize(
    ("spec", "says"),
    [("math", "MODULE:FUNCTION"), ("no_such:f", "no_such"), ("math:pi", "no function")],
)
def test_a_rival_that_cannot_be_had_is_one_line(
    spec: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(["--against", spec]) == 1
    assert says in capsys.readouterr().err


def test_a_rival_is_found_by_name() -> None:
    found = load_rival("kernels:filtered_lrelu")
    assert isinstance(found, types.FunctionType)


def test_results_are_named_by_the_gpu() -> None:
    assert bench.result_name("NVIDIA H200") == "kernels-nvidia-h200"
