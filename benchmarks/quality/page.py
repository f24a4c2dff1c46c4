"""`docs/quality.md` and its diagrams, from the results: nothing on the page is written by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.quality.bounds import BASELINES, REALISM, Result, judge, levels_of, value
from benchmarks.quality.curves import Curve, Panel, draw
from benchmarks.quality.latents import latents_section
from benchmarks.quality.words import BASELINES as BASELINE_WORDS
from benchmarks.quality.words import HEAD, NAMES, NOT_SHIPPED
from explorer.truth_messages import REMEMBERED_DB, TEXTURED_DB, OctaveFigures, verdict_runs

ORDER = ("starry-night", "starry-night-from-patches", "starry-night-adversarial")
"""Checkpoints in the order of the page; others follow by name."""


def load_results(folder: Path) -> list[Result]:
    """All `quality-*.json` of a folder, in the page's order."""
    found: list[Result] = [
        json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("quality-*.json")
    ]
    place = {name: i for i, name in enumerate(ORDER)}
    return sorted(found, key=lambda r: (place.get(r["name"], len(ORDER)), r["name"]))


def page(results: Sequence[Result], latents: Mapping[str, dict[str, Any]] | None = None) -> str:
    """The Markdown of `docs/quality.md`; `latents` is what `load_latents` gives."""
    first = results[0]
    parts = [
        HEAD.format(
            command="\n".join(dict.fromkeys(result["command"] for result in results)),
            patch=first["checkpoint"]["patch_size"],
            top=first["image"]["level_range"][1],
            held_out=f"{first['settings']['held_out']:,}",
            windows=f"{first['settings']['windows']:,}",
            remembered=REMEMBERED_DB,
            textured=-TEXTURED_DB,
        )
    ]
    by_name = {result["name"]: result for result in results}
    comparable = [result for result in results if result["image"] == first["image"]]
    if len(comparable) > 1:
        parts += ["## Side by side", _side_by_side(comparable)]
    for result in results:
        parts += _section(result, by_name)
    parts += [latents_section(name, found) for name, found in (latents or {}).items()]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def diagrams(result: Result) -> str:
    """The SVG of one checkpoint."""
    name = "checkpoint"

    def curve(subject: str, metric: str, figure: str, field: str = "value") -> Curve:
        levels = levels_of(result, subject, metric)
        found = [(level, value(result, subject, level, metric, figure, field)) for level in levels]
        points = tuple((level, number) for level, number in found if number is not None)
        real = field == "reference"
        return Curve("real" if real else subject, NAMES["real" if real else subject], points)

    return draw(
        [
            Panel(
                "PSNR, dB",
                (
                    curve(name, "fidelity", "psnr"),
                    *[curve(b, "fidelity", "psnr") for b in BASELINES],
                ),
            ),
            Panel(
                "distance over the floor",
                (
                    curve(name, "swd", "real", "ratio"),
                    *[curve(b, "swd", "real", "ratio") for b in BASELINES],
                ),
                logarithmic=True,
                bound=2.0,
            ),
            Panel(
                "high band against the real, dB",
                (
                    curve(name, "fidelity", "high_band"),
                    *[curve(b, "fidelity", "high_band") for b in BASELINES],
                ),
                bound=0.0,
            ),
            Panel(
                "consistency at any phase, dB",
                (
                    curve(name, "consistency", "1_free"),
                    curve(name, "consistency", "1_free", "reference"),
                ),
            ),
        ]
    )


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; empty cells are dashes."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(
        [*lines, *("| " + " | ".join(cell or "-" for cell in row) + " |" for row in rows)]
    )


def _side_by_side(results: Sequence[Result]) -> str:
    levels = sorted({level for r in results for level in levels_of(r, metric="swd")})
    head = ["level"]
    for result in results:
        head += [f"{result['name']}: PSNR dB", "distance / floor"]
    rows = []
    for level in levels:
        row = [f"{level:g}"]
        for result in results:
            row.append(_text(value(result, "checkpoint", level, "fidelity", "psnr"), 1))
            row.append(_text(value(result, "checkpoint", level, "swd", "real", "ratio"), 2))
        rows.append(row)
    return markdown_table(head, rows)


def _section(result: Result, by_name: dict[str, Result]) -> list[str]:
    name = result["name"]
    parts = [f"## {name}", NOT_SHIPPED.get(name, ""), _cost(result)]
    parts += [_gauge(result), "### What must hold"]
    verdicts = judge(result, by_name)
    words = {True: "yes", False: "**no**", None: "not yet known"}
    parts.append(
        markdown_table(
            ("bound", "measured", "holds"),
            [(v.promise, v.measured, words[v.holds]) for v in verdicts],
        )
    )
    parts += [
        f"![{name}, four figures by level](quality/{name}.svg)",
        "### By level",
        _levels(result),
    ]
    parts += ["### What is remembered, and what is invented", _remembered(result)]
    parts += ["### Three places, octave by octave", _strips(result)]
    parts += [_baselines(result)]
    return [part for part in parts if part]


def _cost(result: Result) -> str:
    checkpoint = result["checkpoint"]
    size = checkpoint["bytes"] / 2**20
    pixels = checkpoint["pixels"]
    words = [
        f"`checkpoints/{result['name']}.safetensors`, {size:.1f} MiB: "
        f"{8 * checkpoint['bytes'] / pixels:.2f} bits for each pixel of its finest level."
    ]
    training = checkpoint["training"]
    if training.get("minutes"):
        seen = f" and {1000 * training['kimg']:,.0f} windows" if training.get("kimg") else ""
        device = f" on {training['device']}" if training.get("device") else ""
        start = f", from the weights of an earlier `{s}` on" if (s := training.get("start")) else ""
        words.append(f"Training: {training['minutes']:.0f} minutes{seen}{device}{start}.")
    machine = result["machine"]
    words.append(
        f"Measured on {_cores(machine['cores'])} of an {machine['cpu']}"
        + (f" and an {machine['gpu']}" if machine.get("gpu") else "")
        + f" in {result['seconds'] / 60:.0f} minutes of processor time. "
        f"Every number, with its interval: `benchmarks/results/quality-{result['name']}.json`."
    )
    return " ".join(words)


_LEVEL_HEAD = (
    *("level", "PSNR dB", "worst window", "high band dB", "distance", "floor", "distance / floor"),
    *("consistency dB", "real's own", "flicker", "real's own", "ratio"),
)


def _cores(count: int) -> str:
    return f"{count} core{'s' * (count != 1)}"


def _gauge(result: Result) -> str:
    """Where a scene that was not told its places lies; '' where it was."""
    gauge = result.get("gauge")
    if gauge is None:
        return ""
    if not gauge["found"]:
        return (
            "It was told no places, and too few of its windows could be matched with the picture's "
            "to say where it lies; PSNR counts that too."
        )
    x, y = gauge["shift_xy"]
    return (
        "It was told no places: patches fix a scene up to a shift and a scale of the whole. Both "
        f"were found first ({100 * (gauge['scale'] - 1):+.3f} %, ({x:+.4f}, {y:+.4f}) field units; "
        f"{gauge['found']} windows agree), and no figure counts them."
    )


def _levels(result: Result) -> str:
    return markdown_table(_LEVEL_HEAD, [_level_row(result, level) for level in levels_of(result)])


def _level_row(result: Result, level: float) -> list[str]:
    def number(metric: str, name: str, field: str = "value", digits: int = 1) -> str:
        return _text(value(result, "checkpoint", level, metric, name, field), digits)

    ratio, half = (number("swd", "real", field, 2) for field in ("ratio", "ratio_half"))
    return [
        f"{level:g}",
        number("fidelity", "psnr"),
        number("fidelity", "psnr_worst"),
        _signed(value(result, "checkpoint", level, "fidelity", "high_band")),
        number("swd", "real"),
        number("swd", "real", "reference"),
        f"{ratio} ±{half}" if half else ratio,
        number("consistency", "1_free"),
        number("consistency", "1_free", "reference"),
        number("flicker", "rms", digits=2),
        number("flicker", "rms", "reference", 2),
        number("flicker", "rms", "ratio", 2),
    ]


def _remembered(result: Result) -> str:
    octaves = []
    for level in levels_of(result):
        psnr = value(result, "checkpoint", level, "fidelity", "psnr")
        band = value(result, "checkpoint", level, "fidelity", "high_band")
        if psnr is not None and band is not None:
            octaves.append(OctaveFigures(level, psnr, band))
    lines = []
    for verdict, first, last in verdict_runs(tuple(octaves)):
        span = f"Level {first:g}" if first == last else f"Levels {first:g} to {last:g}"
        lines.append(f"- {span}: {verdict}.")
    return "\n".join(lines)


def _strips(result: Result) -> str:
    name = result["name"]
    where = "; ".join(f"({x:+.3f}, {y:+.3f})" for x, y in result["places"])
    text = (
        f"Places drawn by seed {result['settings']['seed']}, from top to bottom, field units: "
        f"{where}. 128 x 128 pixels each, as the app shows them, each twice as deep as the one to "
        "its left.\n\n"
        f"![three places, octave by octave](quality/{name}-strips.jpg)"
    )
    if result.get("film"):
        text += (
            f"\n\nA zoom into the first of them: [quality/{name}.webm](quality/{name}.webm), by\n"
            f"\n```\n{result['film']}\n```"
        )
    return text


def _baselines(result: Result) -> str:
    budget = result["budget"]
    levels = levels_of(result, "jpeg")
    settings = result["settings"]
    parts = [
        BASELINE_WORDS.format(
            size=f"{budget / 2**20:g} MiB",
            first=settings["realism_from"],
            last=f"{max(levels, default=REALISM[-1]):g}",
            windows=settings["search_windows"],
        ).strip()
    ]
    known = [name for name in BASELINES if result["figures"].get(name)]
    subjects = ("checkpoint", *known)
    for title, metric, figure, field, digits in (
        ("PSNR, dB", "fidelity", "psnr", "value", 1),
        ("Distance over the floor", "swd", "real", "ratio", 2),
        ("High band against the real, dB", "fidelity", "high_band", "value", 1),
    ):
        of = sorted({level for name in known for level in levels_of(result, name, metric)})
        rows = [
            [
                f"{level:g}",
                *(_text(value(result, s, level, metric, figure, field), digits) for s in subjects),
            ]
            for level in of
        ]
        if rows:
            parts += [f"{title}:", markdown_table(["level", *(NAMES[s] for s in subjects)], rows)]
    tried = [
        (
            NAMES[found["codec"]],
            f"{found['top']:.2f}",
            str(found["quality"]),
            f"{found['bytes'] / budget:.1%}",
            _text(found.get("psnr"), 1),
            _text(found.get("swd"), 1),
            " and ".join(found.get("chosen", [])),
        )
        for found in result["candidates"]
    ]
    if tried:
        head = ("", "top level", "quality", "of the bytes", "mean PSNR dB", "mean distance / floor")
        parts += ["Tried:", markdown_table((*head, "taken for"), tried)]
    for codec, reason in result["missing"].items():
        parts.append(f"{NAMES[codec]}: not there; {reason}.")
    return "\n\n".join(parts)


def _text(number: float | None, digits: int) -> str:
    return "" if number is None else f"{number:.{digits}f}"


def _signed(number: float | None) -> str:
    return "" if number is None else f"{number:+.1f}"
