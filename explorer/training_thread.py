"""The thread that trains beside the viewer: it gives way to every movement of the view.

The window's wishes (pause, stop, share...) are flags under one condition; training looks at them
between two steps, and gives way between the layers of its networks, between pieces of a table that
an optimiser changes, and of a file that it saves. What it has to say goes into a
mailbox, as the inference thread does it. Averaged weights leave it as frozen copies only.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from explorer.mailbox import Mailbox
from explorer.messages import Failure
from explorer.placing_thread import PlacingThread
from explorer.priority import lower_priority
from explorer.thread_pace import LONGEST_PIECE_S, ThreadPace
from explorer.training_messages import (
    PAUSED,
    PREPARING,
    SAVING,
    TRAINING,
    WAITING,
    LiveSpace,
    Phase,
    SamplesSaved,
    StopFailed,
    TrainingEnded,
    TrainingNote,
    TrainingResult,
    TrainingTick,
    WeightsReady,
)
from model.run_files import LOCK, is_run
from model.run_lock import training_alone
from model.training_setup import Recipe

if TYPE_CHECKING:
    from model.runs import Run
    from model.trainer import TrainingStatus

log = logging.getLogger(__name__)
LEAST_SHARE = 0.1
"""Smallest share of the time that training can be given."""
_LOOK_S = 1.0
_LOOK_AGAIN_S = 0.05
"""From one look whether to wait on to the next, s."""
_BREATH_S = 0.002
"""Breaths that come sooner one after the other are one: layers can be small."""
_PIECE_S = 0.25
"""Of work, from one look at the processor's clocks to the next: they are no cheap ones."""
_PLACES_S = 0.1
"""From one look for new places to the next, while there is nothing else to do, s."""


@dataclass(frozen=True)
class BesideConfig:
    """How training lives beside the viewer."""

    publish_s: float = 10.0
    """Training from one frozen copy of the averaged weights to the next at least, s."""
    longest_publish_s: float = 120.0
    """And at most, however slow the machine: a person waits for something to change."""
    young_s: float = 30.0
    """Training for which a run is young, s: it changes by the second, and is shown every
    `publish_s`."""
    most_viewing: float = 0.01
    """Part of the time that may go into showing a grown one to somebody who only looks."""
    tick_s: float = 3.0
    """From one report of figures to the next at least, s: without a GPU every change of a label
    composes the whole window anew. Of a run that is no longer young half as often."""
    niceness: int = 6
    """Added to the niceness of the thread: the inference thread and the window come first. Not
    much: threads meet at the end of every layer, and one that is interrupted keeps all waiting."""
    threads: int = 0
    """Cores that torch uses for training at most; 0: all. Fewer while others want them."""
    early_share: float = 0.3
    """Part of the time that training has while patches still find their places."""
    early_fraction: float = 0.1
    """Share of the budget that may be used up by then; beyond, training waits for them."""


class TrainingThread:
    """One training run."""

    def __init__(
        self, recipe: Recipe, on_dirty: Callable[[], None], config: BesideConfig | None = None
    ) -> None:
        """Prepare; `start` begins.

        Args:
            recipe: What to train.
            on_dirty: Called from this thread when `take_results` has something. Must not block.
            config: How it lives beside the viewer.
        """
        self.recipe = recipe
        self.config = config or BesideConfig()
        self._mailbox: Mailbox[TrainingResult] = Mailbox(on_dirty)
        self._thread = threading.Thread(target=self._run, name="training", daemon=True)
        self._wake = threading.Condition()
        self._is_paused = False
        self._wants_snapshot = False
        self._stop: str = ""
        self._for_good = False
        self._is_ours = False
        """Whether what lies in the folder is of this run, and not of one that it met there."""
        self._share = 1.0
        self._hold_until = self._drawing_until = 0.0
        self._publish_s = self.config.publish_s
        self._live: LiveSpace | None = None
        # Owned by the thread from here on.
        self._pace = ThreadPace(self.config.threads or os.cpu_count() or 1)
        self._breathed_at: float | None = None
        self._piece_began = self._piece_cpu_s = self._piece_process_s = 0.0
        self._trained_s = self._published_s = 0.0  # without pauses and long holds
        self._resumed_at = 0.0
        self._ticked_at = self._told_at = self._looked_at = 0.0
        self._phase = ""
        self._note = ""
        self._statuses: list[TrainingStatus] = []
        self._sample = ""
        self._placing: PlacingThread | None = None

    # Called by the window.

    def start(self) -> None:
        """Begin; torch is imported in the thread."""
        self._thread.start()

    def pause(self) -> None:
        """Make no step after the one under way."""
        self._set(_is_paused=True)

    def resume(self) -> None:
        """Go on after a pause or a failure."""
        self._set(_is_paused=False)

    def stop(self, keep: bool, for_good: bool = False) -> None:
        """End: save after the step under way, or drop everything and remove the run's files.

        What cannot be saved makes it pause instead, unless it is `for_good`: then it ends with what
        was saved before.
        """
        self._set(_stop="keep" if keep else "discard", _for_good=for_good)

    def snapshot(self) -> None:
        """Save, and show the averaged weights, after the step under way."""
        self._set(_wants_snapshot=True)

    def set_share(self, share: float) -> None:
        """Use this part of the time, `LEAST_SHARE` to 1; the rest is slept."""
        self._set(_share=min(max(share, LEAST_SHARE), 1.0))

    def hold(self, seconds: float) -> None:
        """Somebody needs the machine: begin nothing for so long. Cheap; call it as often as so."""
        if seconds > 0:
            self._drawing_until = 0.0  # what is being drawn is not what this somebody waits for
        self._hold_until = max(self._hold_until, time.perf_counter() + seconds)

    def drawing(self, seconds: float) -> None:
        """The newest weights are being drawn: begin nothing until `drawn_in`, or for so long.

        Both at once would take as long together, and leave an input waiting for what is under way.
        """
        self._drawing_until = time.perf_counter() + seconds

    def drawn_in(self, seconds: float) -> None:
        """The newest weights took so long to draw: on slow machines they come less often."""
        self._set(_drawing_until=0.0)
        wanted = min(seconds / self.config.most_viewing, self.config.longest_publish_s)
        self._publish_s = max(self.config.publish_s, wanted)

    def take_results(self) -> list[TrainingResult]:
        """Everything that has come since the last call."""
        return self._mailbox.take()

    def live(self, path: str) -> LiveSpace | None:
        """The newest frozen weights, where `path` is this run's folder. Any thread."""
        return self._live if path == self.recipe.folder else None

    @property
    def worked_at(self) -> float:
        """When it last began to work on a few milliseconds' worth, `time.perf_counter`; 0: not yet.

        Any thread.
        """
        return self._breathed_at or 0.0

    @property
    def resumed_at(self) -> float:
        """When it last went on after a `hold`, `time.perf_counter`; 0: not yet. Any thread."""
        return self._resumed_at

    @property
    def _held_until(self) -> float:
        return max(self._hold_until, self._drawing_until)

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; whether it has come."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _set(self, **wishes: object) -> None:
        with self._wake:
            for name, value in wishes.items():
                setattr(self, name, value)
            self._wake.notify_all()

    # The thread itself.

    def _run(self) -> None:
        lower_priority(self.config.niceness)
        finished = False
        try:
            finished = self._train()
        except (_Discarded, _LeftAsItIs):
            pass
        except Exception as error:  # noqa: BLE001  # the thread's boundary: it becomes a value
            self._tell_failure("Training ended", error)
        finally:  # a window whose run never ends cannot be closed
            kept = self._is_ours and is_run(Path(self.recipe.folder))
            self._mailbox.put(TrainingEnded(self.recipe.folder, kept, finished))

    def _train(self) -> bool:
        """Prepare, train, end, all by itself; whether the budget is used up."""
        from model.runs import remove_run

        recipe, folder = self.recipe, Path(self.recipe.folder)
        # A lock alone: a run that was killed before it had anything.
        is_taken = folder.exists() and any(file.name != LOCK for file in folder.iterdir())
        if is_taken and not recipe.resume:
            raise ValueError(f"{folder} is not empty; name a new folder for the run.")
        self._is_ours = True
        try:
            with training_alone(folder):
                return self._train_alone()
        except _Discarded:
            remove_run(folder)  # after its files are closed: Windows keeps what is open
            raise

    def _train_alone(self) -> bool:
        from model.torch_threads import set_torch_threads
        from model.training_setup import close, prepare

        set_torch_threads(self._pace.count)
        run = prepare(self.recipe, self._report, self._tell, early=True)
        if run.trainer.device.type != "cpu":
            self._pace = ThreadPace(1)  # it waits for the GPU, not for a core
        try:
            run.trainer.breathe = self._breathe
            self._steps(run)
            self._publish(run)
            self._tell_last(run)
        finally:
            self._end_placing(run)
            close(run.source)
        return run.trainer.finished

    def _steps(self, run: Run) -> None:
        """Train until the budget is used or somebody stops; a failure pauses."""
        from model.trainer import Diverged

        while True:
            try:
                run.train(
                    lambda _tick: None,
                    lambda: self._between(run),
                    lambda status, note: self._on_step(run, status, note),
                )
                return
            except (OSError, MemoryError, RuntimeError, Diverged) as error:
                if self._stop and isinstance(error, OSError):
                    log.info("Saving is tried once more", exc_info=error)
                else:
                    self._tell_failure("Training has paused", error)
            with self._wake:
                self._is_paused = not self._stop
                self._wants_snapshot = False  # it failed, or what it waited for did
            self._wait_while_paused()
            while self._stop:
                if self._save_at_last(run):
                    return
                self._wait_while_paused()

    def _save_at_last(self, run: Run) -> bool:
        """After a failure: save what can be saved; whether the run may end.

        Where it cannot be saved the run pauses again: room can be made for it.
        """
        if self._stop == "discard":
            raise _Discarded
        self._tell_phase(SAVING)
        try:
            run.save()
        except OSError as error:
            with self._wake:
                pauses = not self._for_good
                if pauses and self._stop == "keep":
                    self._stop, self._is_paused = "", True
            if pauses:
                self._mailbox.put(StopFailed())
            self._tell_failure("The last steps were not saved", error)
            return not pauses
        return True

    def _report(self, text: str, fraction: float) -> None:
        """Preparation goes on; a stop ends it."""
        if self._stop == "keep" and self.recipe.resume:
            raise _LeftAsItIs
        if self._stop:
            raise _Discarded
        now = time.perf_counter()
        if now - self._told_at > 0.1 or fraction == 0:
            self._told_at = now
            self._phase = PREPARING
            self._mailbox.put(Phase(PREPARING, text, fraction or None))

    # Places.

    def _let_place(self, worked_s: float) -> None:
        """In the placing thread, between two batches: give way as training does."""
        began = time.perf_counter()
        with self._wake:
            while self._placing is not None and not self._stop:
                rest_until = began + _rest_s(worked_s, self._share)
                left_s = max(rest_until, self._held_until) - time.perf_counter()
                if left_s <= 0 and not self._is_paused:
                    return
                self._wake.wait(max(left_s, 0.1))

    def _follow_placing(self, run: Run) -> None:
        """Find the places that patches do not have yet; go on with those that more have by now."""
        from model.training_setup import close

        if run.placing is not None and run.trainer.step_count:
            # Not before the first step: the person waits for that.
            niceness = self.config.niceness
            self._placing = PlacingThread(run.placing, niceness, self._let_place, self._tell)
            run.placing = None
            self._placing.start()
        if self._placing is None:
            return
        is_over = not self._placing.is_alive
        try:
            stage = self._placing.take()
        except Exception as error:  # noqa: BLE001  # another thread's boundary
            self._tell_failure("Placing has stopped; training goes on with what is placed", error)
            stage = None
        if stage is not None:
            close(run.learn(stage.data, stage.finest, stage.note))
        if is_over:
            self._end_placing(run)

    def _waits_for_places(self, run: Run) -> bool:
        """Enough was learned from the first patches; a budget is for all of them."""
        return self._placing is not None and run.trainer.fraction > self.config.early_fraction

    def _end_placing(self, run: Run) -> None:
        if run.placing is not None:
            run.placing.close()
            run.placing = None
        placing, self._placing = self._placing, None
        if placing is not None:
            placing.end()

    # Between steps.

    def _between(self, run: Run) -> bool:
        """Do what was asked for; whether to stop."""
        age_s = self._trained_s - self._published_s
        if run.trainer.step_count and age_s > self._publish_every_s:
            self._publish(run)
        while True:
            self._follow_placing(run)
            if self._wants_snapshot and not self._stop:
                self._wants_snapshot = False
                self._tell_phase(SAVING)
                run.save()
                self._publish(run)
            self._tell_samples(run)
            self._wait_while_paused()
            if self._stop:
                break
            if self._wants_snapshot:
                continue
            if not self._waits_for_places(run):
                break
            self._tell_phase(WAITING)
            with self._wake:
                self._wake.wait(_PLACES_S)
            self._breathed_at = None  # it did not work meanwhile
        if self._stop == "discard":
            raise _Discarded
        self._tell_phase(SAVING if self._stop else TRAINING)
        return bool(self._stop)

    def _wait_while_paused(self) -> None:
        """Return when training may go on, or when there is something else to do."""
        waited = False
        with self._wake:
            while self._is_paused and not self._stop and not self._wants_snapshot:
                self._tell_phase(PAUSED)
                waited = True
                self._wake.wait()
        if waited:
            self._breathed_at = None

    def _breathe(self) -> float:
        """Every few milliseconds: give way. Returns the seconds that it waited.

        Hundreds of times a second, so that it must cost nothing where nobody needs the cores.
        """
        began = ended = time.perf_counter()
        since = self._breathed_at
        if since is not None and began - since < _BREATH_S:
            return 0.0
        if since is None:  # it begins, or goes on after a pause
            since = began
            self._begin_piece(began)
        worked_s = began - since
        if self._stop or max(self._rest_until(began, worked_s), self._held_until) > began:
            self._end_piece(began)
            self._give_way(began, worked_s)
            ended = time.perf_counter()
            self._begin_piece(ended)
        elif began - self._piece_began > _PIECE_S:
            self._end_piece(began)
            self._begin_piece(began)
        self._trained_s += min(ended - since, LONGEST_PIECE_S)
        self._breathed_at = ended
        return ended - began

    def _rest_until(self, began: float, worked_s: float) -> float:
        """Until when its share of the time lets it sleep that `began` after so much work.

        One that is to pause does not: the step under way comes to its end.
        """
        share = self._share if self._placing is None else self._share * self.config.early_share
        return began if self._is_paused else began + _rest_s(worked_s, share)

    def _give_way(self, began: float, worked_s: float) -> None:
        """Wait as long as somebody needs the cores, and as its share says; both may change."""
        was_held = False
        with self._wake:
            while not self._stop:
                rest_until = self._rest_until(began, worked_s)
                left_s = max(rest_until, self._held_until) - time.perf_counter()
                if left_s <= 0:
                    break
                was_held = was_held or self._hold_until > time.perf_counter()
                self._wake.wait(min(left_s, _LOOK_AGAIN_S))  # a hold can become shorter
        if self._stop == "discard":
            raise _Discarded
        if was_held:
            self._resumed_at = time.perf_counter()

    def _begin_piece(self, now: float) -> None:
        self._piece_began = now
        self._piece_cpu_s, self._piece_process_s = time.thread_time(), time.process_time()

    def _end_piece(self, now: float) -> None:
        """Use fewer cores where other programs want them, and more again later."""
        from model.torch_threads import set_torch_threads

        before = self._pace.count
        cpu_s = time.thread_time() - self._piece_cpu_s
        process_s = time.process_time() - self._piece_process_s
        if self._pace.worked(cpu_s, process_s, now - self._piece_began) != before:
            log.info("training uses %d of %d threads.", self._pace.count, self._pace.most)
            set_torch_threads(self._pace.count)

    @property
    def _is_young(self) -> bool:
        return self._trained_s < self.config.young_s

    @property
    def _publish_every_s(self) -> float:
        return self.config.publish_s if self._is_young else self._publish_s

    @property
    def _tick_every_s(self) -> float:
        return self.config.tick_s if self._is_young else 2 * self.config.tick_s

    def _publish(self, run: Run) -> None:
        """Hand a frozen copy of the averaged weights out."""
        step = run.trainer.step_count
        self._published_s = self._trained_s
        if self._live is None or self._live.step != step:
            self._live = LiveSpace(run.frozen_space(), step)
            self._mailbox.put(WeightsReady(self.recipe.folder, step))

    # What the window is told.

    def _on_step(self, run: Run, status: TrainingStatus, note: str) -> None:
        if note and note != self._note:
            self._mailbox.put(TrainingNote(note))
        self._note = note
        if self._live is None:
            self._publish(run)  # before the first save: the person waits for something to change
        self._statuses.append(status)
        if time.perf_counter() - self._ticked_at >= self._tick_every_s:
            self._tell_figures(run)

    def _tell_figures(self, run: Run) -> None:
        """Of the steps since it last did, at least one."""
        self._ticked_at = time.perf_counter()
        statuses, self._statuses = self._statuses, []
        status = statuses[-1]
        losses: dict[str, list[float]] = {}
        for each in statuses:
            for name, value in each.losses.items():
                losses.setdefault(name, []).append(value)
        used_s = sum(each.seconds for each in statuses)
        left = run.trainer.elapsed * (1 / max(status.fraction, 1e-6) - 1) / self._share
        self._mailbox.put(
            TrainingTick(
                step=status.step,
                kimg=status.cur_nimg / 1000,
                fraction=status.fraction,
                seconds_left=left,
                images_per_second=len(statuses) * run.trainer.images_per_step / max(used_s, 1e-6),
                losses={name: sum(values) / len(values) for name, values in losses.items()},
            )
        )

    def _tell_last(self, run: Run) -> None:
        """The run is over: what of its last steps was not told yet."""
        if self._statuses:
            self._tell_figures(run)
        self._looked_at = 0.0
        try:
            self._tell_samples(run)
        except OSError as error:
            log.info("The last samples are not shown: %s", error)

    def _tell_samples(self, run: Run) -> None:
        """Say which strip of samples is the newest, where that changed."""
        now = time.perf_counter()
        if now - self._looked_at < _LOOK_S:
            return
        self._looked_at = now
        newest = max((run.folder / "samples").glob("step*.jpg"), default=None)
        if newest is not None and str(newest) != self._sample:
            self._sample = str(newest)
            step = int(newest.stem.removeprefix("step"))
            distances = tuple(run.distances.items())
            self._mailbox.put(
                SamplesSaved(self._sample, step, run.trainer.cur_nimg / 1000, distances)
            )

    def _tell(self, line: str) -> None:
        self._mailbox.put(TrainingNote(line))

    def _tell_phase(self, name: str) -> None:
        if self._phase != name:
            self._phase = name
            self._mailbox.put(Phase(name))

    def _tell_failure(self, title: str, error: Exception) -> None:
        log.info("%s", title, exc_info=error)
        text = str(error).strip() or type(error).__name__
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            text = f"the disk is full ({text}); free some space, then resume."
        self._mailbox.put(Failure(title, text, traceback.format_exc()))


def _rest_s(worked_s: float, share: float) -> float:
    """To sleep after so much work, s, where it may have this `share` of the time."""
    return min(worked_s, LONGEST_PIECE_S) * (1 / share - 1)  # longer: the machine slept


class _Discarded(Exception):
    """Nothing of this run is to be kept."""


class _LeftAsItIs(Exception):
    """A run that was taken up again is not to go on after all."""
