"""Training beside the viewer: how soon it begins, what it costs the flight, what it holds.

    python -m benchmarks.training_beside [--image IMAGE] [--only drop flying idle memory]
        [--drop 20000] [--seconds 20] [--inputs 8] [--rounds 6] [--minutes 60] [--save]

*drop*: patches without places, cut from the image, are dropped on the real window, and every
button is pressed as soon as it can be: seconds to the first step and to the first exact frame.
*flying*: frames and latency of a flight through a run that trains, and how soon it goes on at rest.
*idle*: windows a second of training with a viewer that nobody touches, against training without
one in a process of its own; both are there at once, and one is stopped while the other works. The
run is half a minute old by then: until then every change is shown, and costs more. After two turns
both begin anew: from one process to the next the same training is some percent faster or slower.
*memory*: an hour of training with the viewer open and a short flight a minute; the figures of every
minute are printed, and written as they come.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.display import NoDisplayError, display_environment
from benchmarks.machine import describe_machine, machine_name
from benchmarks.placement import procedural_picture
from benchmarks.tables import facts, write_json
from explorer.progress import ProgressLine

PARTS = ("drop", "flying", "idle", "memory")
RESULTS = Path(__file__).resolve().parent / "results"
OCTAVES = 5
"""Of the patches that are dropped."""
_FIELD_PX = (2560, 2048)
"""Of the procedural image: the finest patches show its pixels."""
TURN_S = 30.0
"""Of training beside and alone: long enough for an autosave and for weights that are shown."""
TURNS = 2
"""Of a pair of processes."""
_WARM_S = 5.0
TELL_S = 0.2
"""From one count of windows to the next."""


def cut(image: Path, count: int, folder: Path) -> Path:
    """`count` patches without places, `OCTAVES` octaves of `image`, as a folder."""
    from model.data.cut import CutConfig, write_patches
    from model.pyramid import ImagePyramid

    line = ProgressLine("cutting patches")
    density = float(64 * 2**OCTAVES)
    pyramid = ImagePyramid.open(image, cache_dir=folder / "cache", max_density=2 * density)
    parts = [count // OCTAVES] * OCTAVES
    parts[-1] += count - sum(parts)
    out = folder / "patches"
    config = CutConfig((0.0, float(OCTAVES)), tuple(parts))
    write_patches(pyramid, config, out, progress=lambda f: line.report("cutting patches", f))
    pyramid.close()
    line.close()
    return out


def alone(data: str, folder: Path, device: str) -> None:
    """Train without a window, and say again and again how many windows were seen; until killed."""
    from model.training_setup import Recipe, prepare

    recipe = Recipe(
        data, str(folder), minutes=24 * 60.0, cache=str(folder.parent / "cache"), device=device
    )
    run = prepare(recipe, lambda text, fraction: None)
    began, told = time.perf_counter(), 0.0

    def tell() -> bool:
        nonlocal told
        now = time.perf_counter()
        if now - began > _WARM_S and now - told > TELL_S:
            told = now
            print(run.trainer.cur_nimg, flush=True)
        return False

    run.train(lambda tick: None, tell)  # with all that it saves, as the one beside a window


class Trainee:
    """A training in a process of its own, which works in its turns only.

    Args:
        command: Prints how many windows it has seen, a line each time; once it has warmed up.
        environment: Of the process.

    Raises:
        RuntimeError: It ended before it had warmed up.
    """

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self.rates: list[float] = []
        self._seen = 0
        self._process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._warm = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._warm.wait()
        if not self._seen:
            self.end()
            raise RuntimeError(f"{' '.join(command[1:4])} ended before it trained.")
        self._process.send_signal(signal.SIGSTOP)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._seen = int(line)
            self._warm.set()
        self._warm.set()

    def work(self, seconds: float) -> None:
        """Its turn: `rates` gets windows a second."""
        before, began = self._seen, time.perf_counter()
        self._process.send_signal(signal.SIGCONT)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGSTOP)
        self.rates.append((self._seen - before) / (time.perf_counter() - began))

    def end(self) -> None:
        """Kill it: what it has learned is of no use."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()


def _child(module: str, words: Sequence[object], out: Path, live: bool = False) -> Any:
    """Run one part in a process of its own, and read what it wrote.

    Raises:
        RuntimeError: It wrote nothing; the message is its last line.
    """
    with display_environment() as environment:
        command = [sys.executable, "-m", module, *map(str, words), "--out", str(out)]
        errors = subprocess.PIPE
        output = None if live else subprocess.DEVNULL
        done = subprocess.run(command, env=environment, stdout=output, stderr=errors, check=False)
    if done.returncode or not out.exists():
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        # A process that ends amid its threads says so after what matters.
        reasons = [line for line in lines if "Error: " in line] or lines
        raise RuntimeError(f"{words[0]} was not measured: {reasons[-1]}")
    return json.loads(out.read_text(encoding="utf-8"))["result"]


def _window(part: str, data: Path, folder: Path, args: argparse.Namespace) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    words: list[object] = [part, "--data", data, "--folder", folder, "--device", args.device]
    words += ["--seconds", args.seconds, "--inputs", args.inputs, "--minutes", args.minutes]
    out = args.out if part == "memory" and args.out else folder / "result.json"
    return _child("benchmarks.beside_window", words, out, live=part == "memory")


def idle(image: Path, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Training with an idle viewer against training alone, taking turns.

    Raises:
        RuntimeError: Processes cannot be stopped and gone on with here, or one has ended.
    """
    if not hasattr(signal, "SIGSTOP"):
        raise RuntimeError("idle was not measured: this system cannot stop a process for a while.")
    words = ["--device", args.device]
    beside = ["benchmarks.beside_window", "speed", "--data", str(image), *words]
    without = ["benchmarks.training_beside", "--image", str(image), *words]
    pairs: list[tuple[list[float], list[float]]] = []
    with display_environment() as environment:
        for number in range(-(-args.rounds // TURNS)):
            own = folder / f"idle-{number}"
            own.mkdir(parents=True)
            commands = (
                [*beside, "--folder", str(own), "--out", str(own / "none.json")],
                [*without, "--alone", str(own / "alone")],
            )
            turns = min(TURNS, args.rounds - number * TURNS)
            pairs.append(_take_turns(commands, environment, turns))
    rates = [rate for pair in pairs for rate in pair[0]]
    alone_rates = [rate for pair in pairs for rate in pair[1]]
    loss = _lost(rates, alone_rates)
    return {
        "alone_windows_per_s": sum(alone_rates) / args.rounds,
        "beside_windows_per_s": sum(rates) / args.rounds,
        "lost": loss,
        "lost: below 0.05": loss < 0.05,
        "turns": args.rounds,
        "lost_by_pair": [_lost(*pair) for pair in pairs],
        "all_alone": alone_rates,
        "all_beside": rates,
    }


def _take_turns(
    commands: Sequence[Sequence[str]], environment: dict[str, str], turns: int
) -> tuple[list[float], list[float]]:
    """Windows a second of two trainings, turn by turn: both are there, one works."""
    with contextlib.ExitStack() as stack:
        trainees = []
        for command in commands:
            trainee = Trainee([sys.executable, "-m", *command], environment)
            stack.callback(trainee.end)
            trainees.append(trainee)
        for _ in range(turns):
            for trainee in trainees:
                trainee.work(TURN_S)
    first, second = trainees
    return first.rates, second.rates


def _lost(rates: Sequence[float], alone_rates: Sequence[float]) -> float:
    """Share of what training alone does in as many turns."""
    return 1 - sum(rates) / sum(alone_rates)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training_beside",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--image", type=Path, help="default: a procedural picture")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--drop", type=int, default=20_000, help="patches that are dropped")
    parser.add_argument("--patches", type=Path, help="drop this folder instead of cutting one")
    parser.add_argument("--seconds", type=float, default=20.0, help="of flight")
    parser.add_argument("--inputs", type=int, default=8, help="turns of the wheel at rest")
    parser.add_argument("--rounds", type=int, default=6, help="turns of beside and alone")
    parser.add_argument("--minutes", type=float, default=60.0, help="of watching memory")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--json", type=Path, metavar="F", help="write the figures here")
    parser.add_argument(
        "--save", action="store_true", help="to benchmarks/results/training-beside-<machine>.json"
    )
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    args = _arguments(arguments)
    if args.alone is not None:
        alone(str(args.image), args.alone, args.device)
        return 0
    machine = describe_machine()
    targets = [args.json] if args.json else []
    if args.save:
        targets.append(RESULTS / f"training-beside-{machine_name(machine)}.json")
    result: dict[str, Any] = {"machine": machine}
    for target in targets:
        if target.exists():  # parts that are not measured now stay
            result = json.loads(target.read_text(encoding="utf-8")) | result
    try:
        with tempfile.TemporaryDirectory(prefix="beside-") as temporary:
            _measure(args, Path(temporary), result, targets)
    except (NoDisplayError, RuntimeError, ValueError, OSError) as error:
        print(f"training_beside: {error}", file=sys.stderr)
        return 1
    return 0


def _measure(
    args: argparse.Namespace, folder: Path, result: dict[str, Any], targets: list[Path]
) -> None:
    image: Path = args.image or folder / "picture.png"
    if args.image is None:
        Image.fromarray(procedural_picture(*_FIELD_PX, 0)).save(image, compress_level=1)
    for part in PARTS:
        if part not in args.only:
            continue
        if part == "drop":
            data = args.patches or cut(image, args.drop, folder)
            result[part] = _window(part, data, folder / part, args) | {"patches": args.drop}
        elif part == "idle":
            result[part] = idle(image, folder, args)
        else:
            result[part] = _window(part, image, folder / part, args)
        result[part]["machine"] = result["machine"]  # other parts may be of another call
        plain = {k: v for k, v in result[part].items() if not isinstance(v, list) or not v}
        print("\n" + facts(part, plain), flush=True)
        for target in targets:
            write_json(target, result)


if __name__ == "__main__":
    sys.exit(main())
