"""TensorBoard reads what a run wrote, also of a run that went on."""

from __future__ import annotations

import json
import math
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from explorer.cli import run as run_cli
from model.events import FOLDER, Events
from model.run_files import LOG
from model.runs import RunTick


def tick(step: int, loss: float, note: str = "") -> RunTick:
    return RunTick(step, step / 10, step / 60, step / 100, 12.5, {"adversarial": loss}, note)


def scalars(folder: Path, name: str) -> dict[int, float]:
    """By step, as TensorBoard shows them."""
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(folder))
        events.Reload()
    return {point.step: point.value for point in events.Scalars(name)}


def test_a_run_that_goes_on_overwrites_what_a_kill_undid(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    first = Events(tmp_path)
    for step in (20, 40, 60):
        first.add(tick(step, step / 100, "Gone back." if step == 40 else ""))
    first.close()
    assert scalars(tmp_path / FOLDER, "loss/adversarial") == pytest.approx(
        {20: 0.2, 40: 0.4, 60: 0.6}
    )
    again = Events(tmp_path, step=45)  # the state was of step 45
    again.add(tick(65, 0.9))
    again.close()
    assert scalars(tmp_path / FOLDER, "loss/adversarial") == pytest.approx(
        {20: 0.2, 40: 0.4, 65: 0.9}
    )
    assert scalars(tmp_path / FOLDER, "run/images_per_second")[65] == 12.5


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (128, 160, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def command(picture: Path, *more: str) -> list[str]:
    run, cache = picture.parent / "run", picture.parent / "cache"
    return ["train", str(picture), "--out", str(run), "--cache", str(cache), *more]


def test_the_command_writes_the_numbers_of_its_log(picture: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    assert run_cli(command(picture, "--kimg", "0.032", "--tensorboard")) == 0
    assert run_cli(command(picture, "--kimg", "0.064", "--tensorboard", "--resume")) == 0
    folder = picture.parent / "run"
    lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    wanted = {line["step"]: line["losses"]["reconstruction"] for line in lines}
    assert len(wanted) == 2
    written = scalars(folder / FOLDER, "loss/reconstruction")
    assert written == pytest.approx(wanted) and all(math.isfinite(v) for v in written.values())


def test_without_the_package_the_log_is_enough_and_one_line_says_so(
    picture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert run_cli(command(picture, "--kimg", "0.032", "--tensorboard")) == 0
    told = capsys.readouterr().err
    assert told.count("pip install 'scalespace-explorer[tensorboard]'") == 1
    folder = picture.parent / "run"
    assert (folder / LOG).exists() and not (folder / FOLDER).exists()
    assert run_cli(command(picture, "--kimg", "0.064", "--resume")) == 0
    assert "tensorboard" not in capsys.readouterr().err
