"""A run goes on: to the same numbers, from states of before, after a kill; or is refused."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from model import runs
from model.header import read_header
from model.pyramid import ImagePyramid
from model.run_files import CHECKPOINT, LOCK, STATE
from model.run_lock import training_alone
from model.runs import Run, load_config, remove_run, with_budget
from model.training_data import PictureData
from tests.model.small import TRAIN, small_preset


def test_resume_gives_the_same_numbers_as_an_unbroken_run(
    pyramid: ImagePyramid, tmp_path: Path
) -> None:
    preset = small_preset(pyramid, replace(TRAIN, kimg=0.16))
    preset = replace(preset, loss=replace(preset.loss, marginals_weight=2.0))

    def losses(run: Run, steps: int) -> list[dict[str, float]]:
        return [run.trainer.step().losses for _ in range(steps)]

    unbroken = losses(Run(tmp_path / "a", preset, PictureData(pyramid), {}), 20)
    assert {"contrast", "marginals", "adversarial"} <= set(unbroken[-1])
    first = Run(tmp_path / "b", preset, PictureData(pyramid), {})
    begun = losses(first, 13)
    first.save()
    again_preset, data = load_config(tmp_path / "b")
    assert again_preset == preset
    resumed = Run(tmp_path / "b", again_preset, PictureData(pyramid), data, resume=True)
    assert begun + losses(resumed, 7) == unbroken


def test_what_goes_on_does_not_hold_its_file(pyramid: ImagePyramid, tmp_path: Path) -> None:
    """A file that is mapped cannot be replaced on every system, and the state is, each minute."""
    Run(tmp_path / "run", small_preset(pyramid), PictureData(pyramid), {}).save()
    preset, data = load_config(tmp_path / "run")
    run = Run(tmp_path / "run", preset, PictureData(pyramid), data, resume=True)
    run.trainer.step()
    run.save()
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert str(tmp_path / "run") not in maps.read_text()


def test_a_state_with_other_bands_goes_on_and_finds_its_contrast_again(
    pyramid: ImagePyramid, tmp_path: Path
) -> None:
    """Of a version that knew three bands of R, G and B."""
    run = Run(tmp_path / "run", small_preset(pyramid), PictureData(pyramid), {})
    run.trainer.step()
    run.save()
    path = tmp_path / "run" / STATE
    with safe_open(path, "pt") as file:
        meta = file.metadata()
    tensors = load_file(path)
    tensors["moments/sums"] = torch.ones(17, 2, 2, 2, 3)
    del tensors["moments/owed"]
    save_file(tensors, path, meta)
    later = Run(tmp_path / "run", run.preset, run.source, {}, resume=True)
    assert later.trainer.step_count == 1 and not later.trainer.moments.sums.any()
    later.train(lambda tick: None)
    assert later.trainer.moments.sums.any() and later.trainer.finished


def rewrite_config(folder: Path, **changes: dict[str, object]) -> None:
    """Add fields to parts of a run's config, as another version would have written them."""
    fields = json.loads((folder / runs.CONFIG).read_text())
    for part, more in changes.items():
        fields[part] |= more
    (folder / runs.CONFIG).write_text(json.dumps(fields))


def test_a_run_whose_config_has_fields_of_before_goes_on(
    pyramid: ImagePyramid, tmp_path: Path
) -> None:
    preset, folder = small_preset(pyramid), tmp_path / "run"
    Run(folder, preset, PictureData(pyramid), {}).save()
    rewrite_config(folder, generator={"memory": None}, train={"memory_lr": 1e-3})
    again, data = load_config(folder)
    assert again == preset
    assert Run(folder, again, PictureData(pyramid), data, resume=True).trainer.step().losses


def test_a_budget_that_was_raised_stays_raised(pyramid: ImagePyramid, tmp_path: Path) -> None:
    """Stopped once more and taken up without naming one, a run is not over."""
    folder = tmp_path / "run"
    preset = small_preset(pyramid, replace(TRAIN, kimg=0.016))
    Run(folder, preset, PictureData(pyramid), {}).train(lambda tick: None)
    preset, data = load_config(folder)
    longer = Run(folder, with_budget(preset, None, 0.08), PictureData(pyramid), data, resume=True)
    longer.train(lambda tick: None, lambda: longer.trainer.step_count >= 4)
    again = Run(folder, load_config(folder)[0], PictureData(pyramid), data, resume=True)
    assert again.trainer.step_count >= 4 and not again.trainer.finished


def test_a_run_that_does_not_fit_is_refused_in_one_line(
    pyramid: ImagePyramid, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    Run(folder, small_preset(pyramid), PictureData(pyramid), {}).save()
    grids = {"memory": {"resolutions": [9.0, 18.0], "features": 4}}
    for change, reason in ((grids, "feature grids, .* base layer"), ({"widhts": 8}, "'widths'")):
        rewrite_config(folder, generator=change)
        with pytest.raises(ValueError, match=f"{reason}.*; start a new run, or go on") as caught:
            load_config(folder)
        assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
        rewrite_config(folder, generator={"memory": None})


def test_a_run_is_never_overwritten_and_nothing_is_resumed_from_nothing(
    pyramid: ImagePyramid, tmp_path: Path
) -> None:
    preset = small_preset(pyramid)
    with pytest.raises(ValueError, match="no saved state"):
        Run(tmp_path / "run", preset, PictureData(pyramid), {}, resume=True)
    Run(tmp_path / "run", preset, PictureData(pyramid), {}).save()
    with pytest.raises(ValueError, match="already holds a run"):
        Run(tmp_path / "run", preset, PictureData(pyramid), {})
    (tmp_path / "run" / STATE).write_bytes(b"not a state")
    with pytest.raises(ValueError, match="cannot be resumed"):
        Run(tmp_path / "run", preset, PictureData(pyramid), {}, resume=True)


def test_a_run_trains_in_one_program_at_a_time(pyramid: ImagePyramid, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    Run(folder, small_preset(pyramid), PictureData(pyramid), {}).save()
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    command = [sys.executable, "-m", "explorer", "train", str(tmp_path / "picture.png")]
    command += ["--out", str(folder), "--cache", str(tmp_path / "cache"), "--resume"]
    with training_alone(folder):
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode and "another window or program" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    after = {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.name != LOCK}
    assert after == before
    remove_run(folder)
    assert not folder.exists()


def test_a_lock_ends_with_its_program_and_leaves_nothing_without_a_run(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    hold = "import sys, pathlib, model.run_lock as r\n"
    hold += "with r.training_alone(pathlib.Path(sys.argv[1])): print(1, flush=True); input()"
    child = subprocess.Popen(
        [sys.executable, "-c", hold, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout is not None and child.stdout.readline().strip() == b"1"
        with pytest.raises(ValueError, match="another window"), training_alone(folder):
            pass
        assert (folder / LOCK).exists()  # the other's
        child.kill()
    with training_alone(folder):
        pass
    assert not any(folder.iterdir())
    folder.rmdir()
    with pytest.raises(KeyError), training_alone(folder):
        raise KeyError
    assert not folder.exists()


def test_a_drive_without_locks_can_be_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_file: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("model.run_lock._lock", unknown)
    trained = False
    with training_alone(tmp_path / "run"):
        trained = (tmp_path / "run").is_dir()
    assert trained and not (tmp_path / "run").exists()


def test_a_kill_leaves_a_run_that_resumes(pyramid: ImagePyramid, tmp_path: Path) -> None:
    """kill -9 of the real command, after its first save."""
    command = [sys.executable, "-m", "explorer", "train", str(tmp_path / "picture.png")]
    command += ["--out", str(tmp_path / "run"), "--cache", str(tmp_path / "cache")]
    command += ["--levels", "0", "2", "--autosave", "0.1", "--kimg", "1000"]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "run" / CHECKPOINT).exists():
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    read_header(tmp_path / "run" / CHECKPOINT)
    resume = [*command[:-2], "--kimg", "0.001", "--resume"]
    done = subprocess.run(resume, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == os.fspath(tmp_path / "run" / CHECKPOINT)
