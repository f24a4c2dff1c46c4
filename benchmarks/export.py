"""Exports: how much memory one takes, whether its pixels are right, and whether a kill hurts it.

    python -m benchmarks.export [CKPT] [--side 16384] [--format tif|dzi|png] [--json F]

The whole field is exported in a process of its own, whose largest resident size is taken. Tiles at
random places of the file must equal `render_view` of the same pixels, to the byte. Then the export
is done again, killed at random instants, resumed each time, and must be the same file. A DeepZoom's
page is opened in Chromium where there is one, and its picture compared with the scene.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe_machine
from benchmarks.tables import facts, write_json
from explorer.shipped import PAINTING, shipped
from model.scale import density, level_of_density

LIMIT_BYTES = 1_500_000_000
"""Largest resident size of an export that is called bounded."""
TILES = 24
"""Tiles of the file that are compared."""
PAGE_SIZE = (800, 600)
"""Window of the browser, pixels."""
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_BROWSER_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--kiosk",
    "--virtual-time-budget=10000",
)


@dataclass(frozen=True)
class ExportResult:
    """What one run showed."""

    width: int
    height: int
    level: float
    """Octaves."""
    kind: str
    seconds: float
    """Of the whole process that was not killed."""
    peak_bytes: int
    """Its largest resident size."""
    file_bytes: int
    tiles_compared: int
    tiles_different: int
    kills: int
    strips_at_kills: list[int]
    """Strips that were whole when it was killed; -1 while the file was being written."""
    same_after_kills: bool | None
    """None where nothing was killed."""
    page_error: float | None
    """Mean difference of the browser's picture from the scene, of 255; None without a browser."""

    @property
    def passes(self) -> bool:
        """Whether all that must hold does."""
        right = self.tiles_different == 0 and self.same_after_kills is not False
        return right and self.peak_bytes < LIMIT_BYTES and (self.page_error or 0.0) < 12


def child(arguments: Sequence[str]) -> int:
    """One export in this process; prints its largest resident size, bytes."""
    scene, out, level, precision, resume = arguments
    from explorer.api import prepare_export
    from explorer.view_links import scene_name
    from model import open_scale_space
    from model.export import export

    space = open_scale_space(scene, "cpu", precision)
    quality = "lossless" if out.endswith(".dzi") else None
    plan = prepare_export(space, Path(out), float(level), name=scene_name(scene), quality=quality)
    export(space, plan, resume=resume == "resume")
    print(json.dumps(peak_bytes()))
    return 0


def peak_bytes() -> int:
    """Largest resident size of this process so far, bytes; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    lines = status.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def run_child(scene: Path, out: Path, level: float, precision: str, resume: bool) -> list[str]:
    """The command line of `child`."""
    words = [str(scene), str(out), repr(level), precision, "resume" if resume else "begin"]
    return [sys.executable, "-m", "benchmarks.export", "--child", *words]


def export_and_kill(
    scene: Path, out: Path, level: float, precision: str, kills: int, seconds: float, seed: int
) -> list[int]:
    """Export `out`, killed at `kills` random instants and resumed; the strips it had each time."""
    chance, strips = random.Random(seed), []
    journal = out.with_name(f"{out.name}.work") / "strips.txt"
    for attempt in range(kills + 1):
        command = run_child(scene, out, level, precision, attempt > 0)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            if attempt < kills:
                try:
                    process.wait(chance.uniform(0.05, 0.95) * seconds / kills)
                except subprocess.TimeoutExpired:
                    process.kill()
            process.wait()
        if process.returncode == 0 or out.exists():
            break
        writing = (journal.parent / "result").exists()
        whole = journal.read_text("ascii").count("\n") if journal.exists() else 0
        strips.append(-1 if writing else whole)
    return strips


def read_pixels(out: Path, x: int, y: int, side: int) -> np.ndarray:
    """Pixels of a lossless export: uint8 [h, w, 3], less where the picture ends."""
    import pyvips

    if out.suffix != ".dzi":
        image = pyvips.Image.new_from_file(str(out))
        width, height = min(side, image.width - x), min(side, image.height - y)
        return np.asarray(image.crop(x, y, width, height).numpy())
    folders = out.with_name(f"{out.stem}_files").iterdir()
    finest = max(folders, key=lambda p: int(p.name))
    column, row = x // 254, y // 254
    parts = []
    for r in range(row, (y + side - 1) // 254 + 1):
        line = []
        for c in range(column, (x + side - 1) // 254 + 1):
            file = finest / f"{c}_{r}.png"
            if file.exists():
                tile = pyvips.Image.new_from_file(str(file)).numpy()
                line.append(tile[1 if r else 0 :, 1 if c else 0 :][:254, :254])
        if line:
            parts.append(np.concatenate(line, 1))
    whole = np.concatenate(parts)
    return whole[y - row * 254 :, x - column * 254 :][:side, :side]


def compare_tiles(space: Any, out: Path, level: float, count: int, seed: int) -> tuple[int, int]:
    """Tiles of the file at random places, and how many differ from `render_view`."""
    from model.export import TILE_PX, plan_export
    from model.rendering import render_view

    plan = plan_export(space, out, level)
    d, (x0, y0) = density(level, space.patch_size), plan.window.origin_xy
    numbers = random.Random(seed).sample(
        range(plan.columns * plan.strips), min(count, plan.columns * plan.strips)
    )
    different = 0
    for number in numbers:
        x, y = number % plan.columns * TILE_PX, number // plan.columns * TILE_PX
        center = (x0 + (x + TILE_PX / 2) / d, y0 + (y + TILE_PX / 2) / d)
        expected = render_view(space, center, level, (TILE_PX, TILE_PX))
        pixels = read_pixels(out, x, y, TILE_PX)
        different += not np.array_equal(pixels, expected[: pixels.shape[0], : pixels.shape[1]])
    return len(numbers), different


def digest(out: Path) -> str:
    """One checksum over everything that an export left."""
    total = hashlib.blake2b(digest_size=16)
    folder = out.with_name(f"{out.stem}_files")
    files = sorted(p for p in folder.rglob("*") if p.is_file()) if folder.exists() else []
    page = [p for p in [out.with_suffix(".html")] if p.exists() and out.suffix == ".dzi"]
    for file in [*files, *page, out]:
        total.update(str(file.relative_to(out.parent)).encode())
        with file.open("rb") as data:
            total.update(hashlib.file_digest(data, "blake2b").digest())
    return total.hexdigest()


def browser() -> str | None:
    """A Chromium that is installed, or None."""
    return next((found for name in _BROWSERS if (found := shutil.which(name))), None)


def look_at_page(space: Any, page: Path, screenshot: Path) -> float | None:
    """Open the page from disk and compare it with the whole scene; None without a browser."""
    from model.rendering import render_view

    program = browser()
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as profile:
        width, height = PAGE_SIZE
        command = [
            program,
            *_BROWSER_FLAGS,
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
            f"--screenshot={screenshot}",
            page.resolve().as_uri(),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
    from PIL import Image

    with Image.open(screenshot) as image:
        shown = np.asarray(image.convert("RGB")).astype(float)
    fit = min(width / space.field_size[0], height / space.field_size[1])
    level = level_of_density(fit, space.patch_size)
    expected = render_view(space, (0.0, 0.0), level, PAGE_SIZE).astype(float)
    # The middle, where no button and no minimap lie, as means of 10 x 10 pixels.
    middle = [
        v[100:450, 150:650].reshape(35, 10, 50, 10, 3).mean((1, 3)) for v in (shown, expected)
    ]
    return float(np.abs(middle[0] - middle[1]).mean())


def measure_export(options: argparse.Namespace, folder: Path) -> ExportResult:
    """Everything that the module's head says, in `folder`."""
    from model import open_scale_space
    from model.header import read_header

    level = level_of_density(options.side, read_header(options.scene).patch_size)
    out = folder / f"export.{options.format}"
    begin = time.perf_counter()
    done = subprocess.run(
        run_child(options.scene, out, level, options.precision, False),
        stdout=subprocess.PIPE,
        check=True,
    )
    seconds = time.perf_counter() - begin
    print(f"exported in {seconds:.0f} s", file=sys.stderr)
    first = digest(out)
    space = open_scale_space(options.scene, "cpu", options.precision)
    compared, different = compare_tiles(space, out, level, TILES, options.seed)
    page_error = None
    if options.format == "dzi":
        page_error = look_at_page(space, out.with_suffix(".html"), folder / "page.png")
    from model.export import plan_export

    width, height = plan_export(space, out, level).size
    file_bytes = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    strips: list[int] = []
    same: bool | None = None
    if options.kills:
        shutil.rmtree(out.with_name(f"{out.stem}_files"), ignore_errors=True)
        out.unlink()
        out.with_suffix(".html").unlink(missing_ok=True)
        strips = export_and_kill(
            options.scene, out, level, options.precision, options.kills, seconds, options.seed
        )
        same = out.exists() and digest(out) == first
    return ExportResult(
        width=width,
        height=height,
        level=level,
        kind=options.format,
        seconds=seconds,
        peak_bytes=int(json.loads(done.stdout)),
        file_bytes=file_bytes,
        tiles_compared=compared,
        tiles_different=different,
        kills=len(strips),
        strips_at_kills=strips,
        same_after_kills=same,
        page_error=page_error,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was found, write the JSON: 0 where all holds, else 1."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["--child"]:
        return child(words[1:])
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export", description=__doc__)
    parser.add_argument("scene", type=Path, nargs="?", metavar="CKPT", help="default: the painting")
    parser.add_argument("--side", type=int, default=16_384, help="shorter side, pixels")
    parser.add_argument("--format", choices=("tif", "dzi", "png"), default="tif")
    parser.add_argument("--precision", default="auto", help="auto (the app's) or fp32")
    parser.add_argument("--kills", type=int, default=1, help="of the second export (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of tiles and kills")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="keep the files there")
    parser.add_argument("--json", type=Path, metavar="F", help="write the figures here too")
    options = parser.parse_args(words)
    options.scene = options.scene or shipped(PAINTING)
    with ExitStack() as stack:
        folder = options.out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            result = measure_export(options, folder)
        except (ValueError, OSError, subprocess.CalledProcessError) as error:
            print(f"export: {error}", file=sys.stderr)
            return 1
    values = asdict(result) | {"passes": result.passes}
    print(facts(f"{options.scene.name}, whole field, lossless", values))
    if options.json:
        write_json(options.json, values | {"machine": describe_machine()})
        print(f"wrote {options.json}")
    return 0 if result.passes else 1


if __name__ == "__main__":
    sys.exit(main())
