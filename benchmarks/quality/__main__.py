"""`python -m benchmarks.quality --image PATH`: measure the checkpoints, write the page."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import usable_cores
from benchmarks.quality.latents import load_latents
from benchmarks.quality.page import diagrams, load_results, page
from benchmarks.quality.settings import PARTS, Settings, Truth
from benchmarks.tables import write_json
from explorer.progress import minutes
from model.header import CheckpointHeader, read_header

ROOT = Path(__file__).resolve().parent.parent.parent
CHECKPOINTS = ROOT / "checkpoints"


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality",
        description="Measure checkpoints against the image that they were made from, beside JPEG, "
        "AVIF and a thumbnail of as many bytes, and write the page docs/quality.md. Broken off, it "
        "goes on where it was.",
    )
    parser.add_argument("--image", required=True, metavar="PATH", help="what they were made from")
    parser.add_argument(
        "--crop",
        nargs=4,
        type=int,
        metavar=("X0", "Y0", "X1", "Y1"),
        help="part of the image, pixels (default: the checkpoint's own, else all of it)",
    )
    parser.add_argument(
        "--checkpoints",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="default: all in checkpoints/",
    )
    parser.add_argument(
        "--twin", type=Path, metavar="FILE", help="the same network, trained without adversary"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs", "quality"),
        metavar="FOLDER",
        help="finished parts, baselines, strips with real pixels (default: runs/quality)",
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help="write page, strips and results into docs/ and benchmarks/results/, not into FOLDER",
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument(
        "--windows", type=int, default=Settings.windows, metavar="N", help="a level (default: 2000)"
    )
    parser.add_argument(
        "--avif-speed",
        type=int,
        choices=range(11),
        default=Settings.avif_speed,
        metavar="N",
        help="of its encoder: 0 is the best, 10 the fastest (default: 8)",
    )
    parser.add_argument(
        "--budget",
        type=int,
        metavar="BYTES",
        help="of each baseline, no less than the checkpoint's (default: those, rounded up)",
    )
    parser.add_argument("--seed", type=int, default=Settings.seed, help="of all places")
    parser.add_argument("--cache", metavar="FOLDER", help="where the image's pyramid is kept")
    parser.add_argument(
        "--workers", type=int, default=usable_cores(), metavar="N", help="processes at once"
    )
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Do it: 0, or 1 with one line on stderr."""
    options = arguments().parse_args(words)
    try:
        _run(options)
    except (ValueError, OSError) as error:
        print(f"quality: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("quality: stopped; the same command goes on from here.", file=sys.stderr)
        return 130
    return 0


def _run(options: argparse.Namespace) -> None:
    files = options.checkpoints or sorted(CHECKPOINTS.glob("*.safetensors"))
    if not files:
        raise ValueError(f"{CHECKPOINTS} holds no checkpoint; name some with --checkpoints.")
    headers = [read_header(file) for file in files]
    if options.twin is not None:
        read_header(options.twin)
    if options.windows < 16 or options.workers < 1:
        raise ValueError(
            "--windows must be 16 or more and --workers 1 or more, got "
            f"{options.windows} and {options.workers}."
        )
    docs, results = _folders(options)
    begin = time.monotonic()
    for file, header in zip(files, headers, strict=True):
        target = results / f"quality-{file.stem}.json"
        result = _study(options, file, header, docs / "quality", target)
        write_json(target, result)
        for part, seconds in result["work_seconds"].items():
            print(f"{result['name']}, {part}: {minutes(seconds)} of processor time")
    if "page" in options.only:
        write_page(docs, results)
        print(f"wrote {docs / 'quality.md'}")
    print(f"done in {minutes(time.monotonic() - begin)}")


def _folders(options: argparse.Namespace) -> tuple[Path, Path]:
    """Where the page and where the results go."""
    if options.publish:
        return ROOT / "docs", ROOT / "benchmarks" / "results"
    return options.out / "docs", options.out / "results"


def _study(
    options: argparse.Namespace, file: Path, header: CheckpointHeader, pages: Path, target: Path
) -> dict[str, Any]:
    from benchmarks.quality.run import Study

    crop = options.crop or (header.source or {}).get("crop")
    box = None if crop is None else (crop[0], crop[1], crop[2], crop[3])
    truth = Truth(options.image, box, options.cache, header.patch_size)
    if any(
        abs(a - b) > 1e-2 for a, b in zip(truth.open().field_size, header.field_size, strict=True)
    ):
        raise ValueError(
            f"the field of {options.image} must be {header.field_size} as that of {file.name}; "
            "give the image it was made from, and its --crop."
        )
    scale = options.windows / Settings.windows
    settings = Settings(
        windows=options.windows,
        held_out=max(4, min(Settings.held_out, round(Settings.held_out * scale * 4))),
        search_windows=max(16, min(Settings.search_windows, options.windows)),
        avif_speed=options.avif_speed,
        seed=options.seed,
    )
    study = Study(
        file,
        header,
        truth,
        options.twin,
        settings,
        options.out,
        pages,
        target,
        options.workers,
        options.only,
        options.budget,
    )
    return study.result(command_of(options))


def command_of(options: argparse.Namespace) -> str:
    """The command as the page shows it: without the folders of one machine."""
    words = ["python -m benchmarks.quality --image", Path(options.image).name]
    if options.crop:
        words += ["--crop", *map(str, options.crop)]
    if options.checkpoints:
        words += ["--checkpoints", *(f"checkpoints/{file.name}" for file in options.checkpoints)]
    if options.twin is not None:
        words += ["--twin", options.twin.name]
    if options.windows != Settings.windows:
        words += ["--windows", str(options.windows)]
    if options.avif_speed != Settings.avif_speed:
        words += ["--avif-speed", str(options.avif_speed)]
    if options.budget is not None:
        words += ["--budget", str(options.budget)]
    if options.seed != Settings.seed:
        words += ["--seed", str(options.seed)]
    return " ".join([*words, "--publish"])


def write_page(docs: Path, results: Path) -> None:
    """Make `quality.md` and its diagrams from the results there are."""
    found = load_results(results)
    if not found:
        raise ValueError(f"{results} holds no quality-*.json; measure first.")
    (docs / "quality").mkdir(parents=True, exist_ok=True)
    texts = {docs / "quality" / f"{result['name']}.svg": diagrams(result) for result in found}
    texts[docs / "quality.md"] = page(found, load_latents(results))
    for path, text in texts.items():
        part = path.with_name(f".{path.name}.part")
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)


if __name__ == "__main__":
    sys.exit(main())
