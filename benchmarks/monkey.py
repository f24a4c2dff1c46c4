"""A monkey at the window: thousands of random actions and gestures; does anything break or grow?

    python -m benchmarks.monkey [--steps 10000] [--seed 0] [--training] [--json F] [--save]

The real window on the painting that ships, a small scene with latents and a picture. First every
action is done once and everything that opens is opened, so that panels are built and caches fill;
then `--steps` random things follow. Judged are exceptions, Qt's warnings, the longest time in which
the window did nothing else (less what its thread waited for a core while others computed), memory
at the same place before and after, and what is left at the end.
With `--training` a run trains in the same process all the time.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from PySide6.QtCore import QEventLoop, QThread, QTimer
from PySide6.QtWidgets import QApplication, QDockWidget

from benchmarks.display import NoDisplayError, display_environment
from benchmarks.machine import describe_machine, machine_name, resident_bytes
from benchmarks.tables import facts, table, write_json
from explorer.display import why_no_display
from model.allocator import give_back_memory

if TYPE_CHECKING:
    from benchmarks.mischief import Deed, Mischief
    from benchmarks.props import Props
    from benchmarks.watching import Watch
    from explorer.app import App

RESULTS = Path(__file__).resolve().parent / "results"
WINDOW_SIZE = (640, 480)
LONGEST_GAP_S = 1.0
MEMORY_SHARE = 0.05
WARM_UP = 3000
"""Steps until all that is made once is made: what is held at rest rises over the first 2,000 and
then stays (measured: 297, 312, 317, 317, 318, 315 MiB of the heap in use after every 1,000)."""
_SAMPLE_STEPS = 100
_PAUSES_MS = (0, 0, 5, 5, 10, 20, 30, 120)
_REST_S = 120.0
_ANSWER_MS = 50
_GAPS_SHOWN = 12
_MIB = 1 << 20


@dataclass
class Tally:
    """What the monkey did."""

    steps: int = 0
    done: Counter[str] = field(default_factory=Counter)
    """By what was done, how often."""
    samples: list[tuple[int, int]] = field(default_factory=list)
    """(step, resident bytes), now and then."""


class Monkey:
    """Does one thing after the other, from the event loop, as a person's events would come."""

    def __init__(self, mischief: Mischief, watch: Watch, chance: random.Random) -> None:
        self.mischief, self.watch, self.chance = mischief, watch, chance
        self.tally = Tally()
        self.before_step: Callable[[], object] = lambda: None
        self.log: IO[str] | None = None
        """Every step is written there before it is done, for what would end the process."""
        self.pauses_ms = _PAUSES_MS
        """From one step to the next, drawn by chance."""
        self._left = 0
        self._planned: list[Deed] = []
        self._loop: QEventLoop | None = None

    def play(self, steps: int) -> None:
        """Do `steps` random things."""
        self._run(steps, [])

    def do_all(self, deeds: list[Deed]) -> None:
        """Do these, in this order; whatever blocks in between is answered."""
        self._run(len(deeds), deeds)

    def _run(self, steps: int, deeds: list[Deed]) -> None:
        self._left, self._planned = steps, list(deeds)
        self._loop = QEventLoop()
        QTimer.singleShot(0, self._step)
        self._loop.exec()
        self._loop = None
        self.watch.doing(self.tally.steps, "between")

    def _step(self) -> None:
        """One step. The next one is asked for first: what is done may block, in its own loop."""
        blocked = QApplication.activeModalWidget() or QApplication.activePopupWidget()
        if self._left <= 0 and blocked is None:
            if self._loop is not None:
                self._loop.quit()
                # A step around this one may open something that blocks, which must be answered.
                QTimer.singleShot(_ANSWER_MS, partial(self._answer, self._loop))
            return
        QTimer.singleShot(self.chance.choice(self.pauses_ms), self._step)
        if self._planned and blocked is None:
            name, act = self._planned.pop(0)
        else:
            name, act = self.mischief.deed()
        if not self._planned or blocked is None:
            self._left -= 1
        self.tally.steps += 1
        self.tally.done[name] += 1
        self.watch.doing(self.tally.steps, name)
        if self.log is not None:
            print(self.tally.steps, name, file=self.log, flush=True)
        if self.tally.steps % _SAMPLE_STEPS == 0:
            self.tally.samples.append((self.tally.steps, resident_bytes()))
        self.before_step()
        act()
        self.mischief.keep_within_bounds()

    def _answer(self, loop: QEventLoop) -> None:
        """Answer what blocks a loop that is to end."""
        if self._loop is not loop:
            return
        if QApplication.activeModalWidget() or QApplication.activePopupWidget():
            _name, act = self.mischief.deed()
            act()
        QTimer.singleShot(_ANSWER_MS, partial(self._answer, loop))


class Stage:
    """The app, what there is to play with, and a place to come to rest at."""

    def __init__(self, folder: Path, seed: int, training: bool) -> None:
        from benchmarks.mischief import Mischief
        from benchmarks.props import Props
        from benchmarks.watching import Watch
        from explorer.app import build_app
        from explorer.config import AppConfig
        from explorer.settings import SettingsStore
        from explorer.shipped import PAINTING, shipped

        self.folder = folder
        self.scene = str(shipped(PAINTING))
        self.props: Props = Props(folder / "props", [self.scene, str(_latent_scene(folder))])
        if training:
            tiny_preset()
        config = AppConfig(window_size=WINDOW_SIZE)
        store = SettingsStore(folder / "settings")
        self.app: App = build_app(self.scene, "cpu", config=config, store=store)
        self.watch = Watch()
        self.app.viewport.gl_failed.connect(lambda reason: self.watch.note(f"GL: {reason}"))
        chance = random.Random(seed)
        self.monkey = Monkey(Mischief(self.app, self.props, chance), self.watch, chance)
        if training:
            self.monkey.before_step = self.keep_training
        self._runs = 0

    def keep_training(self) -> None:
        """A run that the monkey ended is followed by another."""
        from model.training_setup import Recipe

        if self.app.training.is_training:
            return
        self._runs += 1
        run = self.folder / f"run-{self._runs}"
        recipe = Recipe(str(self.props.patches), str(run), kimg=1e6, placement="none")
        self.app.training.begin(replace(recipe, preset=TINY, autosave_seconds=20.0))

    def start(self) -> None:
        """Show the window; return when the picture is exact.

        Raises:
            TimeoutError: It does not become so.
        """
        self.app.start()
        self._until_exact()

    def warm_up(self, steps: int) -> None:
        """Everything once, then `steps` random things."""
        mischief, monkey = self.monkey.mischief, self.monkey
        deeds: list[Deed] = []
        names = mischief.action_names
        for name in [*names, *(n for n in names if n.startswith("theme"))]:
            deeds += [mischief.action(name), mischief.gesture()]
        for scene in (*self.props.scenes, str(self.props.picture)):
            deeds.append((f"drop {Path(scene).name}", partial(mischief.drop, Path(scene))))
        monkey.do_all(deeds)
        monkey.play(steps)

    def come_to_rest(self) -> int:
        """Close what is open, show the whole painting, wait until it is exact: resident bytes."""
        app, window, mischief = self.app, self.app.window, self.monkey.mischief
        mischief.release_key()
        self.monkey.play(0)
        window.failure_box.dialog and window.failure_box.dialog.close()
        for dialog in (window.settings_dialog, window.export_dialog):
            if dialog is not None:
                dialog.close()
        if window.export_dialog is not None:
            window.export_dialog.stop()
        window.palette_sheet.hide()
        window.keys_sheet.hide()
        for dock in window.findChildren(QDockWidget):
            dock.setFloating(False)
            dock.hide()
        window.set_full_screen(False)
        window.showNormal()
        window.resize(*WINDOW_SIZE)
        app.viewport.cancel_box()
        app.viewport.stop_path()
        app.training._cancel_doctor()
        names = {"doctor", "look"}
        self._wait(lambda: not names & {t.name for t in threading.enumerate()})
        opened: list[object] = []
        app.viewport.scene_opened.connect(opened.append)
        app.open(self.scene)
        self._wait(lambda: any(info.path == self.scene for info in opened))  # type: ignore[attr-defined]
        app.viewport.scene_opened.disconnect(opened.append)
        window.places.fly_home()
        self._until_exact()
        self._wait(lambda: False, 0.5, must=False)
        gc.collect()
        # As the app does after an exact frame, but not after every one: what is held is looked at,
        # and not what is free between two blocks.
        give_back_memory()
        return resident_bytes()

    def _until_exact(self) -> None:
        viewport = self.app.viewport
        self._wait(lambda: viewport.is_exact and not viewport.is_moving)

    def _wait(self, condition: Any, seconds: float = _REST_S, must: bool = True) -> None:
        """Run the event loop until `condition()`, or for so long.

        Raises:
            TimeoutError: It did not come true, and `must`.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                if must:
                    raise TimeoutError(f"the window did not come to rest in {seconds:g} s.")
                return
            QApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 20)
            time.sleep(0.002)

    def close(self) -> dict[str, Any]:
        """Close the window; what is left of threads and processes."""
        app = self.app
        self.monkey.mischief.close()
        began = time.perf_counter()
        app.close()
        closing_s = time.perf_counter() - began
        # A thread of low priority ends late where other programs keep the cores.
        deadline = time.monotonic() + _REST_S
        while _threads() != [self.watch.looker.name] and time.monotonic() < deadline:
            time.sleep(0.02)
        ended_s = time.perf_counter() - began
        app.window.deleteLater()
        QApplication.processEvents()
        QApplication.sendPostedEvents()
        gc.collect()
        self.watch.stop()
        threads = _threads()
        if threads:
            faulthandler.dump_traceback(sys.stderr)  # where they are
        qthreads = [o for o in gc.get_objects() if issubclass(type(o), QThread) and o.isRunning()]
        qthreads = [t for t in qthreads if t is not QApplication.instance().thread()]  # type: ignore[union-attr]
        return {
            "closing_s": closing_s,
            "threads_ended_s": ended_s,
            "threads_left": threads,
            "qthreads_left": len(qthreads),
            "processes_left": _children(),
        }


TINY = "tiny"
"""Name of the preset of `tiny_preset`."""


def tiny_preset() -> None:
    """Let there be a preset so small that its steps take some hundredths of a second."""
    from model.config import BaseConfig, DiscriminatorConfig, GeneratorConfig, TrainConfig
    from model.presets import PRESETS, Preset

    generator = GeneratorConfig(
        patch_size=32,
        widths=(12, 8),
        waves_per_octave=4,
        w_dim=16,
        base=BaseConfig(density=64.0, max_bytes=20_000),
    )
    train = TrainConfig(group_size=4, groups=2)
    PRESETS[TINY] = Preset(generator, DiscriminatorConfig(widths=(8, 8)), train=train)


def _latent_scene(folder: Path) -> Path:
    """A checkpoint with latents, of what a run begins with."""
    from model.checkpoints import header_of, save_checkpoint
    from model.config import GeneratorConfig
    from model.generator import Generator

    config = GeneratorConfig(
        patch_size=32, level_range=(0.0, 5.0), widths=(24, 16, 8), waves_per_octave=6, z_dim=16,
    )  # fmt: skip
    path = folder / "latents.safetensors"
    save_checkpoint(path, Generator(config), header_of(config, {}, licence="CC0-1.0"))
    return path


def _threads() -> list[str]:
    """Names of the threads beside the main one."""
    return [t.name for t in threading.enumerate() if t is not threading.main_thread()]


def _children() -> list[str]:
    """Processes that this one has started and that still live; Linux only."""
    found = []
    for file in Path("/proc/self/task").glob("*/children"):
        for number in file.read_text(encoding="ascii").split():
            try:
                words = Path("/proc", number, "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            found.append(b" ".join(words).decode(errors="replace").strip() or number)
    return found


def measure(
    steps: int, seed: int, training: bool, warm_up: int, log: IO[str] | None = None
) -> dict[str, Any]:
    """Play, and say what came of it.

    Args:
        steps: Random steps that count.
        seed: Of everything that is drawn by chance.
        training: A run trains all the time.
        warm_up: Random steps before memory is looked at for the first time.
        log: Every step is written there before it is done.

    Returns:
        Figures; see `verdict` for what must hold.

    Raises:
        TimeoutError: The window does not come to rest.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        # What a monkey saves goes there too.
        for variable in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
            os.environ[variable] = str(folder / "home")
        (folder / "home").mkdir()
        stage = Stage(folder, seed, training)
        monkey, watch = stage.monkey, stage.watch
        monkey.log = log
        stage.start()
        stage.warm_up(warm_up)
        start = stage.come_to_rest()
        warm_steps, monkey.tally = monkey.tally.steps, Tally()
        watch.forget_gaps()
        began = time.perf_counter()
        while monkey.tally.steps < steps:
            monkey.play(min(_SAMPLE_STEPS * 5, steps - monkey.tally.steps))
            tally = monkey.tally
            print(
                f"step {tally.steps}: {resident_bytes() / _MIB:.0f} MiB, longest gap "
                f"{watch.longest_hang_s:.2f} s, {len(watch.exceptions)} exceptions",
                flush=True,
            )
        seconds = time.perf_counter() - began
        gaps = watch.gaps[:_GAPS_SHOWN]
        hang, longest = watch.longest_hang_s, watch.longest_s
        end = stage.come_to_rest()
        left = stage.close()
        tally = monkey.tally
        mischief = monkey.mischief
    actions = {name: tally.done[f"action {name}"] for name in mischief.action_names}
    samples = [size for _, size in tally.samples]
    tenth = max(1, len(samples) // 10)
    return {
        "steps": tally.steps,
        "seed": seed,
        "training": training,
        "warm_up_steps": warm_steps,
        "seconds": seconds,
        "exceptions": watch.exceptions,
        "qt_warnings": watch.complaints,
        "longest_gap_s": hang,
        "longest_gap_by_the_clock_s": longest,
        "gaps": [asdict(gap) for gap in gaps],
        "rss_start_mib": start / _MIB,
        "rss_end_mib": end / _MIB,
        "rss_growth": end / start - 1 if start else None,
        "rss_first_tenth_mib": _median(samples[:tenth]) / _MIB,
        "rss_last_tenth_mib": _median(samples[-tenth:]) / _MIB,
        "rss_low_first_tenth_mib": min(samples[:tenth], default=0) / _MIB,
        "rss_low_last_tenth_mib": min(samples[-tenth:], default=0) / _MIB,
        "rss_max_mib": max(samples, default=0) / _MIB,
        "rss_samples_mib": [round(size / _MIB, 1) for size in samples],
        "actions": actions,
        "actions_excluded": sorted(
            {a.id for a in mischief.window.actions_by_id} - set(mischief.action_names)
        ),
        "others": dict(sorted((k, v) for k, v in _kinds(tally.done).items())),
        **left,
        "machine": describe_machine(),
    }


def _median(values: Sequence[int]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0


def _kinds(done: Counter[str]) -> Counter[str]:
    """How often each kind of thing was done; gestures and changes of the window by name."""
    kinds: Counter[str] = Counter()
    for name, count in done.items():
        first, _, rest = name.partition(" ")
        if first != "action":
            kinds[name if first in ("gesture", "window", "answer") else first] += count
        del rest
    return kinds


def verdict(report: dict[str, Any]) -> dict[str, bool]:
    """What must hold, and whether it does."""
    growth = report["rss_growth"]
    left = report["threads_left"], report["qthreads_left"], report["processes_left"]
    return {
        "no exception": not report["exceptions"],
        "no Qt warning": not report["qt_warnings"],
        f"no gap over {LONGEST_GAP_S:g} s": report["longest_gap_s"] <= LONGEST_GAP_S,
        f"memory at most {MEMORY_SHARE:.0%} more": growth is None or growth <= MEMORY_SHARE,
        "nothing left at the end": not any(left),
        "every action done": all(report["actions"].values()),
    }


def _print(report: dict[str, Any]) -> None:
    plain = {k: v for k, v in report.items() if not isinstance(v, list | dict)}
    print("\n" + facts("monkey", plain))
    names = ("during", "step", "seconds", "cpu_s", "no_core_s")
    print("\n" + table("longest gaps", names, [[g[n] for n in names] for g in report["gaps"]]))
    for name in ("exceptions", "qt_warnings", "threads_left", "processes_left"):
        if report[name]:
            print(f"\n{name} ({len(report[name])}):")
            for text in report[name][:10]:
                print("  " + text.strip().replace("\n", "\n  "))
    stuck = [g for g in report["gaps"] if g["seconds"] > LONGEST_GAP_S / 2 and g["stack"]]
    for gap in stuck:
        print(f"\n{gap['seconds']:.2f} s in step {gap['step']}, {gap['during']}:\n{gap['stack']}")
    print("\n" + facts("must hold", {k: "yes" if v else "NO" for k, v in verdict(report).items()}))


def main(argv: Sequence[str] | None = None) -> int:
    """Play, print, write: 0 where everything held, else 1."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monkey", description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--training", action="store_true", help="a run trains all the time")
    parser.add_argument("--warm-up", type=int, default=WARM_UP, metavar="N", help="steps before")
    parser.add_argument("--log", type=Path, metavar="F", help="write every step there at once")
    parser.add_argument("--json", type=Path, metavar="F", help="write the figures here")
    parser.add_argument("--save", action="store_true", help="write them to benchmarks/results/ too")
    options = parser.parse_args(argv)
    if min(options.steps, options.warm_up) < 1:
        parser.error("--steps and --warm-up must be at least 1.")
    if why_no_display() is not None:
        return _on_a_display(sys.argv[1:] if argv is None else argv)
    with open(options.log or os.devnull, "w", encoding="utf-8") as log:
        report = measure(options.steps, options.seed, options.training, options.warm_up, log)
    _print(report)
    targets = [options.json] if options.json else []
    if options.save:
        kind = "training" if options.training else "off"
        targets.append(RESULTS / f"monkey-{kind}-{machine_name(report['machine'])}.json")
    for target in targets:
        write_json(target, json.loads(json.dumps(report)))
        print(f"\nwrote {target}")
    return 0 if all(verdict(report).values()) else 1


def _on_a_display(argv: Sequence[str]) -> int:
    """The same in a process that has one."""
    try:
        with display_environment() as environment:
            command = [sys.executable, "-m", "benchmarks.monkey", *argv]
            return abs(subprocess.run(command, env=environment, check=False).returncode)
    except NoDisplayError as error:
        print(f"monkey: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
