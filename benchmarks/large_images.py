"""Large images in every form: the memory it takes to open them, and whether all show the same.

    python -m benchmarks.large_images --size 30000 24000 [--form JPEG ...] [--folder F] [--json F]

A procedural image is written as JPEG, tiled BigTIFF, PNG, Zoomify (JPEG tiles, as such pyramids
have) and DZI (PNG tiles). A process of its own opens each as an `ImagePyramid` and renders 32
random windows at each level; its peak resident memory counts what the windows have mapped too. The
windows must equal those of the pixels themselves (an uncompressed file) to 1/255 where the form is
lossless. Needs free disk for about four times the pixels of the image; all of it is removed.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyvips

from benchmarks.machine import describe_machine
from benchmarks.rendering import place_in_field
from benchmarks.tables import table, write_json
from model.pyramid import ImagePyramid
from model.space import Window

WINDOWS = 32
"""Windows a level."""
WINDOW_PX = 96
MEMORY_LIMIT_MB = 2000
TOLERANCE = 1 / 255
"""Of full scale, for lossless forms."""


@dataclass(frozen=True)
class Form:
    """One way to keep a large image."""

    name: str
    file: str
    """What is opened."""
    lossless: bool
    save: Callable[[pyvips.Image, Path], None]


def _save_tiles(layout: str, suffix: str, **options: int) -> Callable[[pyvips.Image, Path], None]:
    def save(image: pyvips.Image, path: Path) -> None:
        image.dzsave(str(path.with_suffix("")), layout=layout, suffix=suffix, **options)

    return save


def _save(**options: object) -> Callable[[pyvips.Image, Path], None]:
    return lambda image, path: image.write_to_file(str(path), **options)


BASE = Form("base", "base.v", True, _save())
"""The pixels themselves, uncompressed."""
FORMS = (
    Form("JPEG", "image.jpg", False, _save(Q=90)),
    Form("BigTIFF", "image.tif", True, _save(bigtiff=True, tile=True, compression="deflate")),
    Form("PNG", "image.png", True, _save(compression=1)),
    Form("Zoomify", "zoomify", False, _save_tiles("zoomify", ".jpg[Q=90]")),
    Form("DZI", "image.dzi", True, _save_tiles("dz", ".png[compression=1]", overlap=1)),
)


@dataclass(frozen=True)
class Result:
    """One form."""

    form: str
    lossless: bool
    peak_mb: float
    """Peak resident memory of the process that opened it and rendered the windows."""
    open_s: float
    """Seconds to build its pyramid."""
    difference: float
    """Largest difference of a window's value from the base, of full scale."""

    @property
    def holds(self) -> bool:
        """Whether memory and, for lossless forms, pixels are as they must be."""
        exact = not self.lossless or self.difference <= TOLERANCE
        return exact and self.peak_mb < MEMORY_LIMIT_MB


def procedural_image(width: int, height: int) -> pyvips.Image:
    """Clouds of two sizes and fine grain, made as it is read: it is never whole in memory."""
    rng = np.random.default_rng(0)
    image = None
    for cell, contrast in ((400, 50), (45, 30)):
        size = (height // cell + 3, width // cell + 3, 3)
        coarse = rng.uniform(-contrast, contrast, size).astype(np.float32)
        clouds = pyvips.Image.new_from_array(coarse).resize(cell, kernel="cubic")
        clouds = clouds.crop(cell, cell, width, height)
        image = clouds if image is None else image + clouds
    grain = pyvips.Image.new_from_array(rng.normal(128, 6, (997, 1009, 3)).astype(np.float32))
    grain = grain.replicate(width // 1009 + 1, height // 997 + 1).crop(0, 0, width, height)
    return (image + grain).cast("uchar").copy(interpretation="srgb")


def random_windows(space: ImagePyramid, levels: Sequence[float]) -> list[Window]:
    """`WINDOWS` windows a level, uniform inside the field; equal for equal fields."""
    chance = random.Random("large images")
    size = (WINDOW_PX, WINDOW_PX)
    return [
        Window(place_in_field(space, level, size, (chance.random(), chance.random())), level, *size)
        for level in levels
        for _ in range(WINDOWS)
    ]


def open_and_render(path: Path, cache: Path, out: Path) -> None:
    """What the process of one form does: writes its windows, seconds and peak memory to `out`."""
    begin = time.perf_counter()
    space = ImagePyramid.open(path, cache_dir=cache)
    seconds = time.perf_counter() - begin
    top = space.level_range[1]
    levels = [top * part / 4 for part in range(5)]
    windows = random_windows(space, levels)
    images = np.concatenate([space.render([window]).numpy() for window in windows])
    np.savez(out, images=images, seconds=seconds, peak_mb=_peak_bytes() / 1e6)


def _peak_bytes() -> int:
    """Largest resident size of this process so far, bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: on Linux a new process inherits the peak of the one that started it.
        (line,) = (x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def measure(
    size_wh: tuple[int, int],
    folder: Path,
    forms: Sequence[Form] = FORMS,
    say: Callable[[str], None] = lambda text: None,
) -> list[Result]:
    """Write, open and compare each form; `folder` is empty afterwards.

    Args:
        size_wh: Width and height of the image, pixels.
        folder: For the files, on a disk with room for them.
        forms: Which.
        say: Told what is done now.
    """
    with tempfile.TemporaryDirectory(prefix="large-images-", dir=folder) as work:
        base = Path(work) / BASE.file
        say(f"base: writing {size_wh[0]} x {size_wh[1]} px")
        BASE.save(procedural_image(*size_wh), base)
        expected, _, _ = _in_own_process(base, say)
        results = []
        for form in forms:
            with tempfile.TemporaryDirectory(dir=work) as place:
                path = Path(place) / form.file
                say(f"{form.name}: writing")
                form.save(pyvips.Image.new_from_file(str(base), access="sequential"), path)
                images, seconds, peak_mb = _in_own_process(path, say)
            difference = float(np.abs(images - expected).max() / 2)
            results.append(Result(form.name, form.lossless, peak_mb, seconds, difference))
            say(f"{form.name}: {peak_mb:.0f} MB, largest difference {255 * difference:.2f}/255")
    return results


def _in_own_process(path: Path, say: Callable[[str], None]) -> tuple[np.ndarray, float, float]:
    """Windows, seconds and peak MB of the image at `path`; its pyramid is removed."""
    say(f"{path.name}: opening")
    with tempfile.TemporaryDirectory(dir=path.parent) as cache:
        out = Path(cache) / "windows.npz"
        command = [sys.executable, "-m", "benchmarks.large_images", "--child"]
        subprocess.run([*command, str(path), cache, str(out)], check=True)
        with np.load(out) as found:
            return found["images"], float(found["seconds"]), float(found["peak_mb"])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and report; 0 where all holds, 1 where not."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["--child"]:
        open_and_render(Path(words[1]), Path(words[2]), Path(words[3]))
        return 0
    args = _parser().parse_args(words)
    forms = [form for form in FORMS if args.form is None or form.name in args.form]
    begin = time.perf_counter()

    def say(text: str) -> None:
        print(f"{time.perf_counter() - begin:6.0f} s  {text}", file=sys.stderr, flush=True)

    results = measure((args.size[0], args.size[1]), args.folder, forms, say)
    rows = [
        [r.form, r.peak_mb, r.open_s, 255 * r.difference, "yes" if r.lossless else "no"]
        for r in results
    ]
    title = f"{args.size[0]} x {args.size[1]} px: each form as an ImagePyramid"
    print(table(title, ["form", "peak MB", "open s", "difference /255", "lossless"], rows))
    if args.json is not None:
        found = [{**asdict(r), "holds": r.holds} for r in results]
        write_json(args.json, {"machine": describe_machine(), "size": args.size, "forms": found})
    failed = [r.form for r in results if not r.holds]
    if failed:
        print(f"beyond {MEMORY_LIMIT_MB} MB or {TOLERANCE:.4f}: {', '.join(failed)}")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.large_images",
        description="Open a large procedural image in every form.",
    )
    parser.add_argument("--size", nargs=2, type=int, default=[30_000, 24_000], metavar=("W", "H"))
    names = [form.name for form in FORMS]
    parser.add_argument("--form", action="append", choices=names, help="only this one; repeatable")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the files go"
    )
    parser.add_argument("--json", type=Path, metavar="F", help="write the figures here")
    return parser


if __name__ == "__main__":
    sys.exit(main())
