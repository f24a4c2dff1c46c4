"""`benchmarks.precision` says whether the app chooses the quicker type."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import precision


@pytest.mark.parametrize(("bf16", "code"), [(0.7, 0), (1.05, 0), (2.0, 1)])
def test_the_slower_choice_is_told_by_the_exit_code(
    bf16: float,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(precision, "choose_dtype", lambda device, name: torch.float32)
    monkeypatch.setattr(precision, "rendering_rates", lambda *_: {"fp32": 1.0, "bf16": bf16})
    monkeypatch.setattr(precision, "training_rates", lambda *_: {"fp32": 10.0, "bf16": 7.0})
    out = tmp_path / "figures.json"
    assert precision.main(["--json", str(out)]) == code
    said = capsys.readouterr().out
    assert "The app chooses fp32 here." in said and f"{bf16:.2f}" in said
    assert json.loads(out.read_text())["chosen"] == "fp32"
