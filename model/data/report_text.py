"""The doctor's report as one page of text, 80 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from model.data.report import (
    REFERENCE_KIMG,
    Count,
    DoctorReport,
    Finding,
    ImageFacts,
    PatchFacts,
    PresetCost,
)

WIDTH = 80
_BAR = 30
_LABEL = 12


def report_text(report: DoctorReport, examples: int | None = 3) -> str:
    """The whole page; `examples` names a finding, None for all of them."""
    lines = [*_fact("data", f"{report.path} ({report.form})")]
    if report.patches is not None:
        lines += _patches(report.patches, report.quick)
    if report.image is not None:
        lines += _image(report.image)
    lines.append("")
    for finding in report.findings:
        lines += _finding(finding, examples)
    if not report.findings:
        lines.append("Nothing is wrong with it.")
    if report.excluded:
        lines.append("")
        lines += _wrapped(
            f"The exclude list has {plural(len(report.excluded), 'name')}: write it with "
            "--exclude-out FILE, and give it to training and placement with --exclude FILE."
        )
    if report.costs:
        lines += ["", *_costs(report.costs, report.available_bytes)]
    return "\n".join(lines) + "\n"


def plural(count: int, noun: str) -> str:
    """'1 patch', '2 patches', '1,000 names'."""
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}{'es' if noun.endswith(('ch', 'sh')) else 's'}"


def size_text(num_bytes: float) -> str:
    """1 MiB is '1.0 MiB'."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.0f} {unit}" if unit == "bytes" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:.1f} TiB"


def hours_text(hours: float | None) -> str:
    """'12 min', '3.5 h', '12 days'."""
    if hours is None:
        return "not measured"
    if hours < 1.5:
        return f"{max(1, round(60 * hours))} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.0f} days"


def patch_summary(facts: PatchFacts) -> list[tuple[str, str]]:
    """What the data set holds: label and value, a line each."""
    what = "photograph" if facts.photographs else "patch"
    read = f"{plural(facts.num_read, what)} of {facts.num_listed:,}"
    if facts.num_checked < facts.num_listed:
        read = f"{facts.num_read:,} of {facts.num_checked:,} tried, {facts.num_listed:,} in all"
    labels = f"{facts.num_labelled:,} with a level, {facts.num_placed:,} with a place"
    if facts.num_scenes > 1:
        labels += f", {plural(facts.num_scenes, 'scene')}"
    return [
        ("readable", read),
        ("usable", f"{facts.num_trainable:,} after the exclude list"),
        ("labels", labels),
        ("sizes", _counts(facts.sizes)),
        ("kinds", _counts(facts.modes)),
    ]


def image_summary(image: ImageFacts) -> list[tuple[str, str]]:
    """What the picture is: label and value, a line each."""
    pixels = image.width * image.height / 1e6
    levels = f"0 to {image.finest_level:.2f} at {image.patch_size}-px patches"
    lines = [
        ("picture", f"{image.kind}, {image.mode}"),
        ("size", f"{image.width:,} x {image.height:,} px ({pixels:,.1f} Mpx)"),
        ("levels", levels),
    ]
    if image.detail_level is not None:
        lines.append(("detail", f"ends at about level {image.detail_level:.1f}"))
    disk = f"{size_text(image.pyramid_bytes)} for its pyramid"
    if image.free_bytes is not None:
        disk += f", {size_text(image.free_bytes)} free"
    return [*lines, ("disk", disk)]


def cost_row(cost: PresetCost) -> tuple[str, str, str, str, str, str]:
    """Preset, patch, memory, checkpoint, windows a second, time for the reference."""
    speed = "-" if cost.windows_per_second is None else f"{cost.windows_per_second:.3g}"
    return (
        cost.preset,
        f"{cost.patch_size} px",
        size_text(cost.memory_bytes),
        size_text(cost.checkpoint_bytes),
        speed,
        "-" if cost.hours is None else hours_text(cost.hours),
    )


COST_HEAD = (
    "preset",
    "patch",
    "memory",
    "checkpoint",
    "windows/s",
    f"{REFERENCE_KIMG},000 windows",
)


def _patches(facts: PatchFacts, quick: bool) -> list[str]:
    lines = [line for label, value in patch_summary(facts) for line in _fact(label, value)]
    if quick:
        lines += _fact("quick", "only a sample was decoded; leave --quick out to check all")
    if facts.octaves:
        most = max(octave.count for octave in facts.octaves)
        lines += ["", f"{'octave':>{_LABEL}}  {'patches':>8}  covers"]
    for octave in facts.octaves:
        bar = "#" * max(1 if octave.count else 0, round(_BAR * octave.count / max(1, most)))
        lines.append(
            f"{octave.octave:>{_LABEL}}  {octave.count:>8,}  {octave.coverage:6.2f}x  {bar}"
        )
    return lines


def _image(image: ImageFacts) -> list[str]:
    return [line for label, value in image_summary(image) for line in _fact(label, value)]


def _finding(finding: Finding, examples: int | None) -> list[str]:
    mark = {"error": "ERROR", "warning": "WARN", "note": "note"}[finding.severity]
    head = f"{mark:5} {finding.kind}"
    if finding.items:
        head += f" ({len(finding.items):,})"
    lines = [head, *_wrapped(finding.title, 6), *_wrapped(f"-> {finding.advice}", 6, "   ")]
    shown = finding.items if examples is None else finding.items[:examples]
    for item in shown:
        lines += _wrapped(f"{item.name}: {item.message}", 8, "  ")
    rest = len(finding.items) - len(shown)
    if rest and shown:
        lines.append(f"        and {rest:,} more (--all names them)")
    return lines


def _costs(costs: Iterable[PresetCost], available: int | None) -> list[str]:
    costs = list(costs)
    rows = [COST_HEAD, *(cost_row(cost) for cost in costs)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COST_HEAD))]
    title = f"Training on this machine ({costs[0].device}"
    if available is not None:
        title += f", {size_text(available)} of memory free"
    lines = [f"{title}):"]
    lines += ["  " + "  ".join(c.rjust(w) for c, w in zip(row, widths)) for row in rows]
    for method in dict.fromkeys(cost.method for cost in costs):
        names = ", ".join(cost.preset for cost in costs if cost.method == method)
        lines += _wrapped(f"{names}: {method}.", 2, "  ")
    return lines


def _counts(counts: tuple[Count, ...], most: int = 3) -> str:
    text = ", ".join(f"{c.count:,} x {c.what}" for c in counts[:most]) or "-"
    rest = sum(c.count for c in counts[most:])
    return f"{text}, {rest:,} others" if rest else text


def _fact(label: str, value: str) -> list[str]:
    lines = textwrap.wrap(value, WIDTH - _LABEL - 2, break_on_hyphens=False) or [""]
    heads = [f"{label:>{_LABEL}}  ", *([" " * (_LABEL + 2)] * len(lines))]
    return [head + line for head, line in zip(heads, lines)]


def _wrapped(text: str, indent: int = 0, hang: str = "") -> list[str]:
    lead = " " * indent
    return textwrap.wrap(
        text, WIDTH, initial_indent=lead, subsequent_indent=lead + hang, break_on_hyphens=False
    )
