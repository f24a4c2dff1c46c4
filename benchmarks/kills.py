"""Kill a training run again and again, at any instant, and look at what is left.

    python -m benchmarks.kills [--unplaced] [--kills 20] [--autosave 3] [--json F]

Each start of `scalespace-explorer train` is killed without warning after a random time: while it
starts, steps, saves. After each kill every file of the run must be readable, and the saved state
must never be older than before. At last the run goes on to its end. It is one of a picture, or with
`--unplaced` one of patches without places, which keeps its best state as well.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from benchmarks.machine import describe_machine
from benchmarks.placement import procedural_picture
from benchmarks.tables import table, write_json
from model import open_scale_space
from model.best_so_far import BEST, BEST_DISCRIMINATOR
from model.data.cut import CutConfig, write_patches
from model.pyramid import ImagePyramid
from model.run_files import CHECKPOINT, CONFIG, LOG, STATE
from model.runs import DISCRIMINATOR, load_config

_FILES = (CONFIG, STATE, LOG, CHECKPOINT, DISCRIMINATOR, BEST, BEST_DISCRIMINATOR)
_LONGEST_S = 16.0
_FIRST_SAVE_S = 300.0


@dataclass(frozen=True)
class Kill:
    """What one kill left."""

    after_s: float
    """From the start of the process."""
    step: int
    """Of the saved state."""
    unsaved_s: float
    """From its last save to the kill; where it saved nothing, from its start. What is lost is
    less by what starting, and the save under way, took."""
    leftovers: int
    """Temporary files that the kill left; the next save does away with them."""


def look_at(folder: Path) -> tuple[int, int]:
    """Open every file of a run.

    Returns:
        Step of the saved state, and the number of temporary files.

    Raises:
        ValueError: A file cannot be read, or holds something else than it should.
    """
    load_config(folder)
    with safe_open(folder / STATE, "pt") as file:
        counters = json.loads(file.metadata()["scalespace-state"])["counters"]
        for name in file.keys():  # noqa: SIM118  # not a dict
            file.get_tensor(name)
    if (folder / LOG).exists():
        for line in (folder / LOG).read_text().splitlines():
            json.loads(line)
    for name in (CHECKPOINT, BEST):
        if (folder / name).exists():
            space = open_scale_space(str(folder / name), device="cpu")
            if not space.identity:
                raise ValueError(f"{name} has no identity.")
    for name in (DISCRIMINATOR, BEST_DISCRIMINATOR):
        if (folder / name).exists():
            load_file(folder / name)
    leftovers = 0
    for path in folder.rglob("*"):
        if path.suffix == ".part" or path.name.startswith("."):
            leftovers += 1
        elif path.suffix == ".jpg":
            with Image.open(path) as picture:
                picture.load()
        elif path.is_file() and path.name not in _FILES:
            raise ValueError(f"{path.name} does not belong into a run.")
    return int(counters["step_count"]), leftovers


def make_data(place: Path, unplaced: bool, seed: int) -> tuple[Path, tuple[str, ...]]:
    """Something to train on, in `place`, and the options that it needs."""
    image = place / "picture.png"
    Image.fromarray(procedural_picture(768, 512, seed)).save(image)
    if not unplaced:
        return image, ()
    patches = place / "patches.zip"
    picture = ImagePyramid.open(image, cache_dir=place)
    write_patches(picture, CutConfig(levels=(0.0, 3.0), counts=(400,)), patches, "zip")
    return patches, ("--placement", "none", "--aspect", "1.5")


def start(data: Path, folder: Path, autosave: float, *options: str) -> subprocess.Popen[bytes]:
    """Begin `train`, or go on where a run is saved."""
    command = [
        sys.executable, "-m", "explorer", "train", str(data), "--out", str(folder),
        "--cache", str(data.parent), "--autosave", str(autosave), *options,
    ]  # fmt: skip
    if (folder / STATE).exists():
        command.append("--resume")
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def measure(kills: int, autosave: float, seed: int, unplaced: bool) -> dict[str, Any]:
    """Kill a run `kills` times, then let it end.

    Raises:
        RuntimeError: It cannot go on.
    """
    chance = random.Random(seed)
    found: list[Kill] = []
    with tempfile.TemporaryDirectory() as place:
        data, needed = make_data(Path(place), unplaced, seed)
        folder = Path(place) / "run"
        while len(found) < kills:
            process = start(data, folder, autosave, "--minutes", "60", *needed)
            began = time.time()
            if not (folder / STATE).exists():  # before the first save there is nothing to lose
                while not (folder / STATE).exists():
                    if process.poll() is not None or time.time() - began > _FIRST_SAVE_S:
                        raise RuntimeError(f"no first save: {_told(process)}")
                    time.sleep(0.05)
            wait_s = chance.uniform(0.2, _LONGEST_S)
            try:
                process.wait(wait_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            else:
                raise RuntimeError(f"the run ended by itself: {_told(process)}")
            killed = time.time()
            step, leftovers = look_at(folder)
            if found and step < found[-1].step:
                raise RuntimeError(f"the saved state went back to step {step}.")
            unsaved = killed - max(began, (folder / STATE).stat().st_mtime)
            found.append(Kill(killed - began, step, unsaved, leftovers))
            print(f"kill {len(found)}: step {step}, {unsaved:.1f} s unsaved", flush=True)
        with safe_open(folder / STATE, "pt") as file:
            elapsed = json.loads(file.metadata()["scalespace-state"])["counters"]["elapsed"]
        last = start(data, folder, autosave, "--minutes", str((elapsed + 5) / 60))
        _, said = last.communicate()
        if last.returncode != 0:
            raise RuntimeError(f"the run cannot go on to its end: {said.decode()[-300:]}")
        step, leftovers = look_at(folder)
    return {
        "kills": [asdict(kill) for kill in found],
        "autosave_s": autosave,
        "most_unsaved_s": max(kill.unsaved_s for kill in found),
        "final_step": step,
        "final_leftovers": leftovers,
        "machine": describe_machine(),
    }


def _told(process: subprocess.Popen[bytes]) -> str:
    process.kill()
    return process.communicate()[1].decode(errors="replace")[-300:]


def main(argv: Sequence[str] | None = None) -> int:
    """Kill, look, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__)
    parser.add_argument(
        "--unplaced", action="store_true", help="a run of patches without places, not of a picture"
    )
    parser.add_argument("--kills", type=int, default=20, metavar="N")
    parser.add_argument("--autosave", type=float, default=3.0, metavar="S")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="F", help="write the figures there")
    options = parser.parse_args(argv)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    report = measure(options.kills, options.autosave, options.seed, options.unplaced)
    rows = [
        [f"{k['after_s']:.1f}", str(k["step"]), f"{k['unsaved_s']:.1f}", str(k["leftovers"])]
        for k in report["kills"]
    ]
    print(table("kills", ["after s", "saved step", "unsaved s", "leftovers"], rows))
    print(
        f"most unsaved: {report['most_unsaved_s']:.1f} s "
        f"(autosave every {report['autosave_s']:g} s); "
        f"the run then went on to step {report['final_step']}, "
        f"{report['final_leftovers']} temporary files left"
    )
    if options.json is not None:
        write_json(Path(options.json), report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
