"""A run without places keeps the best that it has been, and says when it drifts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model import open_scale_space
from model.best_so_far import BEST, BEST_DISCRIMINATOR, DISTANCE, BestSoFar
from model.checkpoints import header_of, save_checkpoint
from model.config import DiscriminatorConfig, LossConfig, TrainConfig
from model.generator import Generator
from model.header import read_header
from model.presets import Preset
from model.runs import Run, remove_run
from model.sample_distance import SampleDistance
from model.training_data import PatchData
from tests.model.small import CONFIG

LEVELS = ("0", "1")
UNPLACED = replace(CONFIG, base=None, field_size=(1.0, 1.0), level_range=(0.0, 1.0))


def run_in(folder: Path, **train: object) -> Run:
    """Of a few patches without places."""
    rng = np.random.default_rng(0)
    data = PatchData(rng.integers(0, 256, (60, 32, 32, 3), np.uint8), np.linspace(0, 1, 60))
    config = TrainConfig(kimg=0.032, adversarial_start=0.0, group_size=4, groups=1)
    loss = LossConfig(moments_start=0.5)
    small = DiscriminatorConfig(widths=(8, 12, 16))
    return Run(folder, Preset(UNPLACED, small, loss, replace(config, **train)), data, {})  # type: ignore[arg-type]


def test_the_best_is_kept_and_a_drift_is_told_once(tmp_path: Path) -> None:
    generator, saved = Generator(UNPLACED), []

    def save(path: Path, distance: float) -> None:
        saved.append(distance)
        header = header_of(UNPLACED, {"kimg": 7.0, DISTANCE: distance}, "")
        save_checkpoint(path, generator, header)

    def look(best: BestSoFar, distance: float) -> str:
        return best.look({"0": distance - 1, "1": distance + 1}, 7.0, save)

    best = BestSoFar(tmp_path)
    assert [look(best, d) for d in (9.0, 6.0, 8.5)] == ["", "", ""] and saved == [9.0, 6.0]
    # Another process goes on.
    best = BestSoFar(tmp_path)
    assert look(best, 8.9) == "" and saved == [9.0, 6.0]
    told = look(best, 9.5)
    assert "is 9.5 of" in told and "6.0 after 7 thousand windows" in told and BEST in told
    assert look(best, 12.0) == ""  # once is enough
    assert look(best, 5.0) == "" and "drift" in look(best, 8.5)
    assert saved == [9.0, 6.0, 5.0]


def test_a_file_that_is_no_best_is_replaced(tmp_path: Path) -> None:
    (tmp_path / BEST).write_bytes(b"something else")
    best = BestSoFar(tmp_path)
    best.look({"0": 5.0}, 1.0, lambda path, distance: path.write_bytes(b"better"))
    assert (tmp_path / BEST).read_bytes() == b"better"


def test_a_run_keeps_its_best_with_the_discriminator_and_tells_of_a_drift(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_in(tmp_path / "run")
    far = iter((6.0, 4.0, 12.0))

    def samples(*_args: object, **_rest: object) -> dict[str, float]:
        return dict.fromkeys(LEVELS, next(far))

    monkeypatch.setattr(SampleDistance, "measure", samples)
    for seen in (1000, 2000, 3000):
        run.trainer.cur_nimg = seen
        run.save()
    header = read_header(tmp_path / "run" / BEST)
    assert (header.training["kimg"], header.training[DISTANCE]) == (2.0, 4.0)
    assert "is 12.0 of" in run._note and "after 2 thousand" in run._note
    assert (tmp_path / "run" / BEST_DISCRIMINATOR).stat().st_size > 1000
    assert open_scale_space(str(tmp_path / "run" / BEST), device="cpu").identity
    remove_run(tmp_path / "run")
    assert not (tmp_path / "run").exists() or not any(
        p.is_file() for p in (tmp_path / "run").iterdir()
    )


def test_contrast_comes_in_late_where_there_are_no_places(tmp_path: Path) -> None:
    told = []
    run = run_in(tmp_path / "run")
    run.train(lambda tick: None, on_step=lambda status, note: told.append(status))
    with_contrast = [s.step for s in told if "contrast" in s.losses]
    assert 4 < with_contrast[0] <= 6 and with_contrast[-1] == told[-1].step == 8
