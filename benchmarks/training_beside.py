"""Training beside the viewer: how soon it begins, what it costs the flight, what it holds.

    python -m benchmarks.training_beside [--image IMAGE] [--only drop flying idle memory]
        [--drop 20000] [--seconds 20] [--inputs 8] [--rounds 3] [--minutes 60] [--save]

*drop*: patches without places, cut from the image, are dropped on the real window, and every
button is pressed as soon as it can be: seconds to the first step and to the first exact frame.
*flying*: frames and latency of a flight through a run that trains, and how soon it goes on at rest.
*idle*: windows a second of training with a viewer that nobody touches, against training without
one in a process of its own, taking turns. *memory*: an hour of training with the viewer open and a
short flight a minute; the figures of every minute are printed, and written as they come.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
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
_WARM_S = 5.0


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


def alone(data: str, folder: Path, device: str, seconds: float) -> float:
    """Windows a second of the same training without a window; in this process."""
    from model.training_setup import Recipe, close, prepare

    recipe = Recipe(
        data, str(folder), minutes=24 * 60.0, cache=str(folder.parent / "cache"), device=device
    )
    run = prepare(recipe, lambda text, fraction: None)
    trainer = run.trainer
    began = time.perf_counter()
    run.train(lambda tick: None, lambda: time.perf_counter() - began > _WARM_S)
    began, before = time.perf_counter(), trainer.cur_nimg
    speed = 0.0

    def is_over() -> bool:
        nonlocal speed
        passed = time.perf_counter() - began
        speed = (trainer.cur_nimg - before) / passed
        return passed > seconds

    run.train(lambda tick: None, is_over)  # with all that it saves, as the one beside a window
    close(run.source)
    return speed


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
    """Training with an idle viewer against training alone, taking turns."""
    beside, without = [], []
    for number in range(args.rounds):
        place = folder / f"idle{number}"
        beside.append(_window("speed", image, place, args)["windows_per_s"])
        words: list[object] = ["--alone", place / "alone", "--image", image]
        words += ["--device", args.device, "--seconds", args.seconds]
        out = place / "alone.json"
        without.append(_child("benchmarks.training_beside", words, out)["windows_per_s"])
    loss = 1 - statistics.median(beside) / statistics.median(without)
    return {
        "alone_windows_per_s": statistics.median(without),
        "beside_windows_per_s": statistics.median(beside),
        "lost": loss,
        "lost: below 0.05": loss < 0.05,
        "rounds": args.rounds,
        "all_alone": without,
        "all_beside": beside,
    }


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
    parser.add_argument("--seconds", type=float, default=20.0, help="of flight, and of training")
    parser.add_argument("--inputs", type=int, default=8, help="turns of the wheel at rest")
    parser.add_argument("--rounds", type=int, default=3, help="turns of beside and alone")
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
        speed = alone(str(args.image), args.alone, args.device, args.seconds)
        write_json(args.out, {"result": {"windows_per_s": speed}})
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
        plain = {k: v for k, v in result[part].items() if not isinstance(v, list) or not v}
        print("\n" + facts(part, plain), flush=True)
        for target in targets:
            write_json(target, result)


if __name__ == "__main__":
    sys.exit(main())
