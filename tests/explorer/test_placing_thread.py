"""A run that begins with the coarsest patches: it goes on with all, stops, fails, and resumes."""

from __future__ import annotations

import errno
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from explorer.messages import Failure
from explorer.training_messages import (
    PAUSED,
    SAVING,
    TRAINING,
    WAITING,
    Phase,
    TrainingNote,
    TrainingTick,
)
from model.data.cut import CutConfig, write_patches
from model.placement import frame as frames
from model.placement.frame import FRAME
from model.pyramid import ImagePyramid
from model.run_files import LOG, STATE
from model.training_sets import PLACES
from model.training_stages import STAGES, Placing
from tests.explorer.test_training_thread import Watched
from tests.explorer.training_sets import PATCH_PX, recipe_for, small_presets, wait_for
from tests.model.pictures import save_octaves

Start = Callable[..., Watched]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 patches without places, two octaves of one picture."""
    folder = tmp_path_factory.mktemp("scene")
    save_octaves(folder / "picture.png", (200, 160), range(2, 7), 24.0)
    cache = folder / "cache"
    pyramid = ImagePyramid.open(folder / "picture.png", patch_size=PATCH_PX, cache_dir=cache)
    write_patches(pyramid, CutConfig((0.0, 1.6), (200,)), folder / "patches")
    pyramid.close()
    return folder / "patches"


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, data: Path, tmp_path: Path) -> Iterator[Start]:
    """Start a run on the patches; no thread is left after the test."""
    small_presets(monkeypatch)
    monkeypatch.setattr("model.training_stages.LEAST_PATCHES", 150)
    monkeypatch.setattr(frames, "COARSEST", 48)
    monkeypatch.setattr(frames, "_LEAST", 32)
    made: list[Watched] = []

    def begin(**more: object) -> Watched:
        fields = {"placement": "match", "kimg": 0.4, "cache": str(tmp_path / "cache"), **more}
        made.append(Watched(recipe_for(data, tmp_path / "run", **fields)))
        made[-1].thread.start()
        return made[-1]

    yield begin
    for watched in made:
        watched.thread.stop(False)
        assert watched.thread.join(30.0)
    assert not [t for t in threading.enumerate() if t.name in ("training", "placing")]


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Placing goes on only when this is set; it can be cancelled meanwhile."""
    go, work = threading.Event(), Placing.work

    def slow(self: Placing, report: Callable[[str, float], None], *rest: object) -> None:
        while not go.wait(0.01):
            report("placing patches", 0.1)
        work(self, report, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Placing, "work", slow)
    return go


def notes(run: Path) -> list[str]:
    return [json.loads(line)["note"] for line in (run / LOG).read_text().splitlines()]


def test_it_trains_on_the_coarsest_and_then_on_all(
    start: Start, held: threading.Event, tmp_path: Path
) -> None:
    """Not more than a tenth of the budget goes into what is known early; then every level."""
    watched = start()
    wait_for(lambda: any(tick.step >= 6 for tick in watched.all(TrainingTick)), 240.0)
    wait_for(lambda: bool(watched.all(TrainingNote)), 240.0)
    assert any(note.text == "Placing patches: 10%." for note in watched.all(TrainingNote))
    steps = watched.all(TrainingTick)[-1].step
    assert steps == 6 and not (tmp_path / "run" / PLACES).exists()
    held.set()
    ended = watched.end()
    assert ended.kept and ended.finished and not watched.all(Failure)
    assert watched.all(TrainingTick)[-1].step == 50
    assert any("All 200 patches" in note for note in notes(tmp_path / "run"))
    assert (tmp_path / "run" / PLACES).exists() and not (tmp_path / "run" / STAGES).exists()


def test_one_can_pause_resume_and_save_while_it_waits_for_places(
    start: Start, held: threading.Event
) -> None:
    """And is told each time that it waits again."""
    watched = start()
    watched.wait_phase(WAITING)
    watched.thread.pause()
    watched.wait_phase(PAUSED)
    watched.thread.resume()
    watched.wait_phase(WAITING, 2)
    saved = len([phase for phase in watched.all(Phase) if phase.name == SAVING])
    watched.thread.snapshot()
    watched.wait_phase(SAVING, saved + 1)
    watched.wait_phase(WAITING, 3)
    held.set()
    watched.wait_phase(TRAINING, 2)
    assert watched.end().finished and not watched.all(Failure)


def test_what_it_waits_for_places_is_no_work_that_it_must_rest_from(
    start: Start, held: threading.Event
) -> None:
    watched = start()
    wait_for(lambda: any(tick.step >= 6 for tick in watched.all(TrainingTick)), 240.0)
    wait_for(lambda: watched.thread.worked_at == 0.0)
    held.set()
    assert watched.end().finished and not watched.all(Failure)


def test_it_stops_while_patches_are_placed_and_goes_on_there(
    start: Start, held: threading.Event, tmp_path: Path
) -> None:
    watched = start()
    watched.wait(TrainingTick)
    watched.thread.pause()
    watched.wait_phase(PAUSED)
    watched.thread.stop(True)
    assert watched.end().kept
    run = tmp_path / "run"
    assert (run / STATE).exists() and (run / FRAME).exists() and not (run / PLACES).exists()
    frame = (run / FRAME).read_text()
    held.set()
    again = start(resume=True)
    assert again.end().finished and not again.all(Failure)
    assert again.all(TrainingTick)[0].step > 1
    assert (run / FRAME).read_text() == frame and (run / PLACES).exists()


def test_a_discarded_run_leaves_nothing_of_its_places(
    start: Start, held: threading.Event, tmp_path: Path
) -> None:
    watched = start()
    watched.wait(TrainingTick)
    watched.thread.stop(False)
    assert not watched.end().kept
    assert not (tmp_path / "run").exists()


def test_placing_that_fails_is_told_and_training_goes_on(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Placing, "work", full)
    watched = start()
    assert watched.end().finished
    (failure,) = watched.all(Failure)
    assert "disk is full" in failure.text and "Placing" in failure.title
    assert watched.all(TrainingTick)[-1].step == 50
