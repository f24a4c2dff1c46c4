"""Curves by level as one SVG: plain text, the same bytes for the same numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 430, 280
"""Of one panel, pixels."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 34, 40
_COLORS = {
    "checkpoint": "#d1495b",
    "real": "#5c6b73",
    "twin": "#8d5fd3",
    "jpeg": "#2e86ab",
    "avif": "#1b998b",
    "bicubic": "#e08e28",
}
_DASHED = ("real",)
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#555}"
    ".t{font-weight:600;font-size:13px}.g{stroke:#999;stroke-opacity:.25}"
)
_TICKS = 6


@dataclass(frozen=True)
class Curve:
    """One line of a panel."""

    subject: str
    """Decides the colour; see `_COLORS`."""
    label: str
    points: tuple[tuple[float, float], ...]
    """(level, value)."""


@dataclass(frozen=True)
class Panel:
    """One diagram."""

    title: str
    curves: tuple[Curve, ...]
    logarithmic: bool = False
    bound: float | None = None
    """A value that is promised: a thin line across."""


def draw(panels: Sequence[Panel], columns: int = 2) -> str:
    """Panels in rows, with one legend above: an SVG document."""
    subjects: dict[str, str] = {}
    for panel in panels:
        for curve in panel.curves:
            if curve.points:
                subjects.setdefault(curve.subject, curve.label)
    rows = -(-len(panels) // columns)
    width, height = columns * WIDTH, 28 + rows * HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">',
        f"<style>{_STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        *_legend(subjects),
    ]
    for i, panel in enumerate(panels):
        x, y = i % columns * WIDTH, 28 + i // columns * HEIGHT
        parts += [f'<g transform="translate({x} {y})">', *_panel(panel), "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend(subjects: dict[str, str]) -> list[str]:
    parts, x = [], 20
    for subject, label in subjects.items():
        parts.append(f'<path d="M{x} 18h22" {_pen(subject)}/>')
        parts.append(f'<text x="{x + 28}" y="22">{escape(label)}</text>')
        x += 52 + round(6.6 * len(label))
    return parts


def _pen(subject: str) -> str:
    dash = ' stroke-dasharray="4 3"' if subject in _DASHED else ""
    return f'fill="none" stroke="{_COLORS.get(subject, "#333")}" stroke-width="2"{dash}'


def _panel(panel: Panel) -> list[str]:
    parts = [f'<text class="t" x="{_LEFT}" y="20">{escape(panel.title)}</text>']
    points = [point for curve in panel.curves for point in curve.points]
    if not points:
        return [*parts, f'<text x="{_LEFT}" y="60">not measured</text>']
    levels = [x for x, _ in points]
    low_x, high_x = min(levels), max(max(levels), min(levels) + 1)
    values = [y for _, y in points] + ([] if panel.bound is None else [panel.bound])
    ticks = _log_ticks(values) if panel.logarithmic else _ticks(min(values), max(values))
    low, high = ticks[0], ticks[-1]

    def at_x(level: float) -> float:
        return _LEFT + (level - low_x) / (high_x - low_x) * (WIDTH - _LEFT - _RIGHT)

    def at_y(value: float) -> float:
        if panel.logarithmic:
            part = math.log(max(value, low) / low) / math.log(high / low)
        else:
            part = (value - low) / (high - low)
        return HEIGHT - _BOTTOM - part * (HEIGHT - _TOP - _BOTTOM)

    for tick in ticks:
        y = f"{at_y(tick):.1f}"
        parts.append(f'<path class="g" d="M{_LEFT} {y}H{WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y}" dy="4" text-anchor="end">{tick:g}</text>')
    for level in range(math.ceil(low_x), math.floor(high_x) + 1):
        x = f"{at_x(level):.1f}"
        parts.append(f'<text x="{x}" y="{HEIGHT - 22}" text-anchor="middle">{level}</text>')
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle:g}" y="{HEIGHT - 6}" text-anchor="middle">level</text>')
    if panel.bound is not None:
        y = f"{at_y(panel.bound):.1f}"
        parts.append(f'<path d="M{_LEFT} {y}H{WIDTH - _RIGHT}" stroke="#333" stroke-width="1"/>')
    for curve in reversed(panel.curves):  # the first one on top
        path = "L".join(f"{at_x(x):.1f} {at_y(y):.1f}" for x, y in curve.points)
        if path:
            parts.append(f'<path d="M{path}" {_pen(curve.subject)}/>')
        color = _COLORS.get(curve.subject, "#333")
        for point in curve.points:
            at = f'cx="{at_x(point[0]):.1f}" cy="{at_y(point[1]):.1f}"'
            parts.append(f'<circle {at} r="2.5" fill="{color}"/>')
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """Round values from below `low` to above `high`."""
    span = max(high - low, 1e-9)
    unit = 10 ** math.floor(math.log10(span / _TICKS))
    step = next(unit * m for m in (1, 2, 5, 10) if span / (unit * m) <= _TICKS)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(i * step, 10) for i in range(first, max(last, first + 1) + 1)]


def _log_ticks(values: Sequence[float]) -> list[float]:
    """1, 2, 5, 10, 20... from below the least to above the largest."""
    least = max(min(values), 1e-9)
    decades = range(math.floor(math.log10(least)) - 1, math.ceil(math.log10(max(values))) + 2)
    marks = [m * 10.0**decade for decade in decades for m in (1, 2, 5)]
    below = max(mark for mark in marks if mark <= least * (1 + 1e-9))
    above = min(mark for mark in marks if mark >= max(values) * (1 - 1e-9) and mark > below)
    return [float(f"{mark:.6g}") for mark in marks if below <= mark <= above]
