"""Training beside the viewer: it pauses, gives way, keeps, discards, and survives failures."""

from __future__ import annotations

import errno
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from explorer.messages import Failure
from explorer.thread_pace import LONGEST_PIECE_S
from explorer.training_messages import (
    PAUSED,
    Phase,
    SamplesSaved,
    StopFailed,
    TrainingEnded,
    TrainingNote,
    TrainingResult,
    TrainingTick,
    WeightsReady,
)
from explorer.training_thread import BesideConfig, TrainingThread
from model.run_files import CHECKPOINT, CONFIG, LOCK, STATE
from model.runs import Run
from model.torch_threads import set_torch_threads
from model.trainer import Trainer
from model.training_setup import Recipe, prepare, recipe_from_json
from tests.explorer.training_sets import recipe_for, small_presets, wait_for, write_patches

QUICK = BesideConfig(publish_s=0.05, tick_s=0.0, niceness=0, threads=1)


class Watched:
    """A training thread, and everything that it has said."""

    def __init__(self, recipe: Recipe) -> None:
        self.said: list[TrainingResult] = []
        self.steps_at_pause = 0
        self.thread = TrainingThread(recipe, lambda: None, QUICK)

    def all(self, kind: type) -> list:
        self.said += self.thread.take_results()
        return [result for result in self.said if isinstance(result, kind)]

    def wait(self, kind: type, count: int = 1) -> list:
        wait_for(lambda: len(self.all(kind)) >= count)
        return self.all(kind)

    def wait_phase(self, name: str, count: int = 1) -> None:
        wait_for(lambda: sum(p.name == name for p in self.all(Phase)) >= count)

    def end(self) -> TrainingEnded:
        (ended,) = self.wait(TrainingEnded)
        assert self.thread.join(10.0)
        return ended


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_patches(tmp_path_factory.mktemp("data") / "stars")


@pytest.fixture
def watch(
    monkeypatch: pytest.MonkeyPatch, data: Path, tmp_path: Path
) -> Iterator[type[Watched] | object]:
    """Start a run on the patches; no thread is left after the test."""
    small_presets(monkeypatch)
    made: list[Watched] = []

    def start(**more: object) -> Watched:
        watched = Watched(recipe_for(data, tmp_path / "run", **more))
        made.append(watched)
        watched.thread.start()
        return watched

    yield start
    for watched in made:
        watched.thread.stop(False)
        assert watched.thread.join(20.0)
    assert not [t for t in threading.enumerate() if t.name == "training"]


def test_it_trains_to_the_end_and_hands_frozen_weights_out(watch, tmp_path: Path) -> None:
    watched = watch(kimg=0.08)
    ended = watched.end()
    assert ended.kept and ended.finished and not watched.all(Failure)
    ticks = watched.all(TrainingTick)
    assert ticks[-1].step == 10 and ticks[-1].fraction == 1.0 and ticks[-1].losses
    assert watched.all(WeightsReady)[-1].step == 10
    live = watched.thread.live(str(tmp_path / "run"))
    assert live is not None and live.step == 10 and live.space.identity == "run@10"
    assert watched.thread.live(str(tmp_path)) is None
    assert (tmp_path / "run" / CHECKPOINT).exists()


def test_the_last_figures_and_samples_of_a_run_are_told(
    watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However short it was."""
    monkeypatch.setattr(TrainingThread, "_tick_every_s", 3600.0)
    watched = watch(kimg=0.08)
    assert watched.end().finished
    ticks, samples = watched.all(TrainingTick), watched.all(SamplesSaved)
    assert ticks[-1].step == 10 and ticks[-1].fraction == 1.0
    assert samples[-1].step == 10 and samples[-1].distances
    assert isinstance(watched.said[-1], TrainingEnded)


def test_frozen_weights_stay_as_they_are(watch, tmp_path: Path) -> None:
    watched = watch()
    watched.wait(WeightsReady)
    live = watched.thread.live(str(tmp_path / "run"))
    assert live is not None
    before = {k: v.clone() for k, v in live.space.generator.state_dict().items()}
    watched.wait(TrainingTick, len(watched.all(TrainingTick)) + 3)
    after = live.space.generator.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_the_first_weights_are_shown_before_anything_is_saved(
    watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[int] = []
    publish, save = TrainingThread._publish, Run.save

    def publishing(thread: TrainingThread, run: Run) -> None:
        publish(thread, run)
        shown.append(run.trainer.step_count)

    def saving(run: Run) -> None:
        assert shown, "saved before it was shown"
        save(run)

    monkeypatch.setattr(TrainingThread, "_publish", publishing)
    monkeypatch.setattr(Run, "save", saving)
    watched = watch(kimg=0.08)
    assert watched.end().kept and shown[0] == 1 and not watched.all(Failure)


def test_a_pause_makes_no_steps_and_a_snapshot_works_in_it(watch, tmp_path: Path) -> None:
    watched = watch()
    watched.wait(TrainingTick)
    watched.thread.pause()
    watched.wait_phase(PAUSED)
    steps = watched.all(TrainingTick)[-1].step
    watched.thread.snapshot()
    watched.wait_phase(PAUSED, 2)
    assert watched.all(WeightsReady)[-1].step == steps
    wait_for(lambda: (tmp_path / "run" / "samples" / f"step{steps:07d}.jpg").exists())
    assert watched.all(TrainingTick)[-1].step == steps
    watched.thread.resume()
    wait_for(lambda: watched.all(TrainingTick)[-1].step > steps)
    wait_for(lambda: bool(watched.all(SamplesSaved)))


def test_it_waits_while_somebody_moves_and_goes_on_by_itself(watch) -> None:
    begin = time.perf_counter()
    watched = watch()
    watched.thread.hold(1.5)
    watched.wait(TrainingTick)
    assert time.perf_counter() - begin >= 1.5
    assert watched.all(TrainingTick)[0].step == 1


def test_a_hold_stops_a_step_in_its_middle_until_it_is_over(
    watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No layer is begun while somebody moves; then the same step goes on."""
    group, inside = Trainer._group, threading.Event()

    def entered(trainer: Trainer, *args: object) -> dict[str, float]:
        inside.set()
        return group(trainer, *args)  # type: ignore[arg-type]

    watched = watch()
    watched.wait(TrainingTick)
    monkeypatch.setattr(Trainer, "_group", entered)
    assert inside.wait(20)
    watched.thread.hold(3600.0)
    thread, seen = watched.thread, -1.0
    with thread._wake:  # until it waits it looks for this lock a few hundred times a step
        pass
    wait_for(lambda: bool(thread._wake._waiters))  # type: ignore[attr-defined]
    seen = thread.worked_at
    ticks = len(watched.all(TrainingTick))
    thread._set(_hold_until=0.0)
    watched.wait(TrainingTick, ticks + 2)
    assert thread.resumed_at > seen


def test_it_waits_until_newer_weights_are_shown_unless_a_hand_wants_something_else(
    watch,
) -> None:
    watched = watch()
    watched.wait(TrainingTick)
    thread = watched.thread

    def waits() -> bool:
        with thread._wake:
            return bool(thread._wake._waiters)  # type: ignore[attr-defined]

    def goes_on() -> None:
        ticks = len(watched.all(TrainingTick))
        watched.wait(TrainingTick, ticks + 2)

    thread.drawing(3600.0)
    wait_for(waits)
    thread.drawn_in(0.1)
    goes_on()
    thread.drawing(3600.0)
    wait_for(waits)
    thread.hold(-1.0)  # nobody moves
    assert thread._held_until > time.perf_counter() + 3000
    thread.hold(0.2)  # a hand has moved, and rests: what is drawn now is another view
    goes_on()


def test_weights_come_less_often_where_showing_them_takes_long(tmp_path: Path) -> None:
    config = BesideConfig(publish_s=10.0, most_viewing=0.05, longest_publish_s=60.0)
    thread = TrainingThread(recipe_for(tmp_path, tmp_path / "run"), lambda: None, config)
    thread.drawn_in(0.1)
    assert thread._publish_s == 10.0
    thread.drawn_in(2.0)
    assert thread._publish_s == pytest.approx(40.0)
    thread.drawn_in(20.0)
    assert thread._publish_s == 60.0


def test_weights_do_not_age_while_training_waits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    thread = TrainingThread(recipe_for(tmp_path, tmp_path / "run"), lambda: None, QUICK)

    def work(seconds: float) -> float:
        now[0] += seconds
        thread._breathe()
        return thread._trained_s

    assert work(5.0) == 0.0  # before its first piece of work
    assert work(0.5) == pytest.approx(0.5)
    assert work(0.5) == pytest.approx(1.0)
    assert work(0.0015) == pytest.approx(1.0)  # too soon to look again
    assert work(0.0015) == pytest.approx(1.003)  # but nothing is lost
    assert work(3600.0) == pytest.approx(1.003 + LONGEST_PIECE_S)  # a flight, or the machine slept


def test_a_young_run_is_shown_more_often(tmp_path: Path) -> None:
    config = BesideConfig(publish_s=1.0, most_viewing=0.1, longest_publish_s=60.0, young_s=5.0)
    thread = TrainingThread(recipe_for(tmp_path, tmp_path / "run"), lambda: None, config)
    thread.drawn_in(1.0)
    for trained_s, every_s in ((0.0, 1.0), (4.9, 1.0), (5.1, 10.0)):
        thread._trained_s = trained_s
        assert thread._publish_every_s == every_s
        assert thread._tick_every_s == (3.0 if trained_s < 5 else 6.0)  # its figures too


def test_the_cores_of_training_are_its_own_whatever_other_threads_ask_for() -> None:
    counts: list[int] = []

    def work() -> None:
        set_torch_threads(2)
        other = threading.Thread(target=set_torch_threads, args=(1,))
        other.start()
        other.join()
        torch.zeros(1 << 20).add_(1)
        counts.append(torch.get_num_threads())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert counts == [2]


def test_waiting_is_not_training_time(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_presets(monkeypatch)
    trainer = prepare(recipe_for(data, tmp_path / "run"), lambda _text, _share: None).trainer
    waited: list[float] = []

    def wait() -> float:
        began = time.perf_counter()
        time.sleep(0.001)
        waited.append(time.perf_counter() - began)
        return waited[-1]

    trainer.breathe = wait
    began = time.perf_counter()
    status = trainer.step()
    assert len(waited) > 2
    assert status.seconds <= time.perf_counter() - began - sum(waited) + 1e-6


def test_a_share_of_the_machine_is_slept_in_proportion(tmp_path: Path) -> None:
    thread = TrainingThread(recipe_for(tmp_path, tmp_path / "run"), lambda: None)
    thread._breathe()
    thread.set_share(0.25)
    time.sleep(0.02)
    assert thread._breathe() >= 3 * 0.02
    assert thread.join(1.0)  # never started


@contextmanager
def resting(thread: TrainingThread) -> Iterator[threading.Thread]:
    """`thread`, which has not been started, gives way in the thread that is yielded."""
    at_rest = threading.Thread(target=thread._breathe, name="resting", daemon=True)
    at_rest.start()
    try:
        yield at_rest
    finally:
        thread.stop(True)
        at_rest.join(20.0)
        assert not at_rest.is_alive()


def test_what_the_machine_slept_is_not_slept_once_more(tmp_path: Path) -> None:
    thread = TrainingThread(recipe_for(tmp_path, tmp_path / "run"), lambda: None)
    thread._breathe()
    thread.set_share(0.5)
    thread._breathed_at = time.perf_counter() - 3600.0
    with resting(thread) as at_rest:
        at_rest.join(60.0)
        assert not at_rest.is_alive()


@pytest.mark.parametrize("wish", [TrainingThread.pause, lambda thread: thread.set_share(1.0)])
def test_a_rest_ends_when_it_is_to_pause_or_may_have_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wish: Callable[[TrainingThread], None]
) -> None:
    monkeypatch.setattr("explorer.training_thread.LONGEST_PIECE_S", 3600.0)
    thread = TrainingThread(recipe_for(tmp_path, tmp_path / "run"), lambda: None)
    thread._breathe()
    thread.set_share(0.5)
    thread._breathed_at = time.perf_counter() - 3600.0
    with resting(thread) as at_rest:
        at_rest.join(0.3)
        assert at_rest.is_alive()
        wish(thread)
        at_rest.join(60.0)
        assert not at_rest.is_alive()


def test_stop_and_keep_leaves_a_run_that_goes_on(watch, tmp_path: Path) -> None:
    watched = watch()
    watched.wait(TrainingTick, 3)
    watched.thread.stop(True)
    ended = watched.end()
    assert ended.kept and not ended.finished
    assert (tmp_path / "run" / STATE).exists()
    steps = watched.all(TrainingTick)[-1].step
    again = watch(resume=True)
    assert again.wait(TrainingTick)[0].step == steps + 1


def test_discard_removes_what_the_run_wrote_and_nothing_else(watch, tmp_path: Path) -> None:
    watched = watch()
    watched.wait(TrainingTick)
    (tmp_path / "run" / "notes.txt").write_text("mine")
    watched.thread.stop(False)
    assert not watched.end().kept
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["notes.txt"]
    refused = watch()  # a folder that holds anything is not taken
    assert "not empty" in refused.wait(Failure)[0].text and not refused.end().kept
    (tmp_path / "run" / "notes.txt").unlink()
    other = watch()
    other.wait(TrainingTick)
    other.thread.stop(False)
    other.end()
    assert not (tmp_path / "run").exists()


def full(*_args: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def saved_step(folder: Path) -> int:
    """Of the state that lies in the folder of a run."""
    with safe_open(folder / STATE, "pt") as file:
        step: int = json.loads(file.metadata()["scalespace-state"])["counters"]["step_count"]
    return step


def test_a_full_disk_pauses_with_a_message_and_it_can_go_on(
    watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = watch()
    watched.wait(TrainingTick)
    with monkeypatch.context() as patched:
        patched.setattr("model.runs.save_state", full)
        watched.thread.snapshot()
        (failure,) = watched.wait(Failure)
        watched.wait_phase(PAUSED)
    assert "disk is full" in failure.text and "resume" in failure.text
    steps = watched.all(TrainingTick)[-1].step
    watched.thread.resume()
    wait_for(lambda: watched.all(TrainingTick)[-1].step > steps)
    watched.thread.stop(True)
    assert watched.end().kept and len(watched.all(Failure)) == 1


@pytest.mark.parametrize("paused", [False, True])
def test_a_stop_that_cannot_save_pauses_until_there_is_room(
    watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paused: bool
) -> None:
    watched = watch()
    watched.wait(TrainingTick)
    with monkeypatch.context() as patched:
        patched.setattr("model.runs.save_state", full)
        if paused:  # by a failure before
            watched.thread.snapshot()
            watched.wait(Failure)
            watched.wait_phase(PAUSED)
        watched.thread.stop(True)
        watched.wait(StopFailed)
        watched.wait_phase(PAUSED, 1 + paused)
        assert "disk is full" in watched.wait(Failure, 1 + paused)[-1].text
        assert len(watched.all(Failure)) == 1 + paused and not watched.all(TrainingEnded)
    steps = watched.all(WeightsReady)[-1].step
    watched.thread.stop(True)
    assert watched.end().kept and saved_step(tmp_path / "run") >= steps


def test_what_cannot_be_saved_can_be_discarded_or_trained_on(
    watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = watch()
    watched.wait(TrainingTick)
    with monkeypatch.context() as patched:
        patched.setattr("model.runs.save_state", full)
        watched.thread.stop(True)
        watched.wait(StopFailed)
        watched.wait_phase(PAUSED)
    steps = watched.all(TrainingTick)[-1].step
    watched.thread.resume()
    wait_for(lambda: watched.all(TrainingTick)[-1].step > steps)
    monkeypatch.setattr("model.runs.save_state", full)
    watched.thread.stop(True)
    watched.wait(StopFailed, 2)
    watched.thread.stop(False)
    assert not watched.end().kept and not (tmp_path / "run").exists()


def test_a_snapshot_that_cannot_be_saved_is_tried_once(
    watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a run whose very first save has failed: it fails before its first step."""
    with monkeypatch.context() as patched:
        patched.setattr("model.runs.save_state", full)
        watched = watch()
        watched.wait(Failure)
        watched.wait_phase(PAUSED)
        for count in (2, 3):
            watched.thread.snapshot()
            watched.wait(Failure, count)
            time.sleep(0.2)  # for more, if there were any
            assert len(watched.all(Failure)) == count
    watched.thread.snapshot()
    watched.wait(WeightsReady)
    watched.thread.stop(True)
    assert watched.end().kept


def test_a_stop_for_good_ends_with_what_was_saved_before(
    watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = watch()
    watched.wait(TrainingTick, 3)
    wait_for((tmp_path / "run" / CHECKPOINT).exists)
    monkeypatch.setattr("model.runs.save_state", full)
    watched.thread.stop(True, for_good=True)
    assert watched.end().kept and not watched.all(StopFailed)
    assert len(watched.all(Failure)) == 1


def test_a_run_whose_drive_goes_away_ends(watch, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = watch()
    watched.wait(TrainingTick)
    is_file = Path.is_file

    def gone(path: Path, *args: object, **more: object) -> bool:
        if path.name == STATE:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected", str(path))
        return is_file(path, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "is_file", gone)
    monkeypatch.setattr("model.runs.save_state", full)
    watched.thread.stop(True, for_good=True)
    assert not watched.end().kept and watched.all(Failure)


def test_out_of_memory_halves_the_batch_says_so_and_goes_on(
    watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer.step

    def scarce(trainer: Trainer) -> object:
        if trainer.train.group_size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return step(trainer)

    monkeypatch.setattr(Trainer, "step", scarce)
    watched = watch()
    watched.wait(TrainingTick)
    (note,) = watched.all(TrainingNote)
    assert note.text == "Memory is full: 2 windows at a time from here on, instead of 4."
    config = json.loads((tmp_path / "run" / CONFIG).read_text())
    assert (config["train"]["group_size"], config["train"]["groups"]) == (2, 4)
    assert not watched.all(Failure)


def test_memory_for_not_even_one_window_pauses_with_a_message(
    watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(trainer: Trainer) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Trainer, "step", never)
    watched = watch()
    (failure,) = watched.wait(Failure)
    assert "smaller preset" in failure.text
    watched.wait_phase(PAUSED)
    watched.thread.stop(True)
    assert watched.end().kept


def preparing_slowly(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """From here on patches are read when the second is set; the first says that they are to be."""
    asked, go = threading.Event(), threading.Event()

    def slow(collection: object, size: int, report: object, *_more: object) -> None:
        asked.set()
        go.wait(20)
        report("reading patches", 0.5)  # type: ignore[operator]

    monkeypatch.setattr("model.training_sets.unplaced_data", slow)
    return asked, go


def test_a_stop_while_it_is_prepared_leaves_nothing(
    watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go = preparing_slowly(monkeypatch)
    watched = watch()
    assert asked.wait(20)
    watched.thread.stop(True)
    go.set()
    assert not watched.end().kept and not (tmp_path / "run").exists()


@pytest.mark.parametrize("keep", [True, False])
def test_a_stop_while_a_run_is_taken_up_again_keeps_it_or_removes_it(
    watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    assert watch(kimg=0.04).end().kept
    asked, go = preparing_slowly(monkeypatch)
    again = watch(resume=True, kimg=0.08)
    assert asked.wait(20)
    again.thread.stop(keep)
    go.set()
    assert again.end().kept is keep and (tmp_path / "run").exists() is keep


def test_what_fails_says_whether_the_run_is_still_there(watch, data: Path) -> None:
    assert watch(kimg=0.04).end().kept
    refused = watch(kimg=0.04)  # another run is there
    assert "not empty" in refused.wait(Failure)[0].text and not refused.end().kept
    data.rename(data.with_name("gone"))
    try:
        moved = watch(resume=True, kimg=0.08)
        assert moved.wait(Failure) and moved.end().kept
    finally:
        data.with_name("gone").rename(data)


def test_a_run_trains_in_one_window_at_a_time(watch, tmp_path: Path) -> None:
    watched = watch()
    watched.wait(TrainingTick)
    wait_for((tmp_path / "run" / CHECKPOINT).exists)
    second = watch(resume=True)
    assert "another window" in second.wait(Failure)[0].text
    assert second.end().kept and not second.all(TrainingTick)  # there is a run; it is not its own
    ticks = len(watched.all(TrainingTick))
    watched.wait(TrainingTick, ticks + 2)
    watched.thread.stop(True)
    assert watched.end().kept and not watched.all(Failure)
    again = watch(resume=True)
    assert again.wait(TrainingTick)


def test_a_run_that_was_killed_at_once_takes_no_folder(watch, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).write_bytes(b"")
    assert watch(kimg=0.04).end().finished


def test_a_recipe_survives_json(tmp_path: Path) -> None:
    recipe = recipe_for(tmp_path / "a", tmp_path / "b", levels=(0.0, 3.5), exclude=("x.png",))
    assert recipe_from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    with pytest.raises(ValueError, match="no recipe"):
        recipe_from_json({"folder": "b"})
    with pytest.raises(ValueError, match="placement"):
        recipe_for(tmp_path, tmp_path, placement="guess")
