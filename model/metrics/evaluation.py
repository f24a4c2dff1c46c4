"""`evaluate`: all metrics of one scale space, by level and mixed, as one plain result."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from model.allocator import bound_memory
from model.metrics.figures import Figure, rng_for
from model.metrics.registry import METRICS, Column, EvaluationConfig, Metric, Sets, Subject
from model.metrics.windows import (
    RealWindows,
    SceneWindows,
    of_many_latents,
    render_all,
    windows_like,
)
from model.scale import whole_levels
from model.space import ScaleSpace

Progress = Callable[[float], None]
MIXED, MEAN = "mixed", "mean"
_FEWEST = 16
_FIELD_TOLERANCE = 1e-2
_RENDER_SHARE = 2.0  # of a level's time, in metrics


@dataclass(frozen=True)
class Evaluation:
    """What was measured: plain values."""

    identity: str
    """Of the scale space."""
    real_identity: str
    """Of the data."""
    config: EvaluationConfig
    levels: tuple[float, ...]
    """Octaves."""
    windows: dict[str, int]
    """Windows in each of the three sets, by level and 'mixed'."""
    figures: dict[str, dict[str, dict[str, Figure]]]
    """By level ('0', '0.5', ... 'mixed', 'mean'), metric and figure."""
    seconds: float

    def figure(self, level: float | str, metric: str, name: str) -> Figure | None:
        """One figure, or None where it was not measured."""
        label = level if isinstance(level, str) else f"{level:g}"
        return self.figures.get(label, {}).get(metric, {}).get(name)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; what is infinite or not a number is null."""
        return _plain(
            {
                "identity": self.identity,
                "real": self.real_identity,
                "config": dataclasses.asdict(self.config),
                "levels": list(self.levels),
                "windows": self.windows,
                "units": {name: METRICS[name].unit for name in METRICS},
                "figures": {
                    level: {
                        metric: {name: dataclasses.asdict(f) for name, f in found.items()}
                        for metric, found in metrics.items()
                    }
                    for level, metrics in self.figures.items()
                },
                "seconds": self.seconds,
            }
        )

    def table(self) -> str:
        """Text: one table a metric, one line a level."""
        blocks = []
        for name, metric in METRICS.items():
            rows = [
                (level, found[name]) for level, found in self.figures.items() if found.get(name)
            ]
            if rows:
                blocks.append(_table(metric, rows))
        return "\n\n".join(blocks)


def evaluate(
    space: ScaleSpace,
    real: ScaleSpace | RealWindows,
    config: EvaluationConfig | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure a scale space against real data.

    Of each level three sets of windows are drawn: real ones, as many other real ones (the floor),
    and generated ones at the places of the latter where the data knows places, else anywhere.
    'mixed' pools as many windows of every level, as far as it has so many; 'mean' is the mean over
    levels. Where the data are of many scenes, generated windows are of many latents; what is asked
    of the scale space alone (consistency, flicker, seams) is that of latent 0.

    Args:
        space: What is measured.
        real: The truth as a scale space (an `ImagePyramid`), or windows of any other origin.
        config: None takes the defaults.
        progress: Called with the fraction that is done, in [0, 1]. Whatever it raises cancels and
            reaches the caller.

    Raises:
        ValueError: Patch size, field or levels of the two do not fit, or a metric cannot be had.
    """
    bound_memory()
    begin = time.monotonic()
    config = config or EvaluationConfig()
    data: RealWindows = real if hasattr(real, "draw") else SceneWindows(real)  # type: ignore[assignment]
    _check_fit(space, data)
    levels = config.levels or _shared_levels(space, data)
    chosen = _chosen(config, data.scene is not None)
    steps = _Steps(progress, len(levels), len(chosen))
    subject = Subject(space, data.scene, config)
    figures: dict[str, dict[str, dict[str, Figure]]] = {}
    counts: dict[str, int] = {}
    pools: list[Sets] = []
    of_sets = [m for m in chosen if m.of_sets is not None]
    for level in levels:
        label = f"{level:g}"
        found: dict[str, dict[str, Figure]] = {}
        sets = _draw(subject, data, level, steps) if of_sets else None
        if sets is not None:
            counts[label] = len(sets.real)
            pools.append(_part(sets, -(-config.windows // len(levels))))
        for metric in chosen:
            if metric.of_sets is not None and sets is not None:
                found[metric.name] = metric.of_sets(sets)
            elif metric.of_space is not None:
                found[metric.name] = metric.of_space(subject, level)
            steps.done(1)
        figures[label] = found
    if len(pools) > 1:
        mixed = _pooled(pools)
        counts[MIXED] = len(mixed.real)
        figures[MIXED] = {m.name: m.of_sets(mixed) for m in of_sets if m.of_sets is not None}
        figures[MEAN] = _means([figures[f"{level:g}"] for level in levels], of_sets)
    steps.finish()
    return Evaluation(
        space.identity,
        data.identity,
        config,
        tuple(levels),
        counts,
        figures,
        time.monotonic() - begin,
    )


class _Steps:
    """Fraction of the work, from counts of what is done."""

    def __init__(self, progress: Progress | None, levels: int, metrics: int) -> None:
        self._progress, self._sum = progress, 0.0
        self._total = levels * (metrics + _RENDER_SHARE) + metrics

    def done(self, amount: float, part: float = 1.0) -> None:
        """`part` of `amount` is done; all of it where `part` is 1."""
        if self._progress is not None:
            self._progress(min((self._sum + amount * part) / self._total, 1.0))
        if part >= 1.0:
            self._sum += amount

    def finish(self) -> None:
        if self._progress is not None:
            self._progress(1.0)


def _draw(subject: Subject, data: RealWindows, level: float, steps: _Steps) -> Sets | None:
    """The three sets of a level; None where the data has too few windows of it."""
    config = subject.config
    rng = rng_for(config.seed, "windows", f"{level:g}")
    drawn = data.draw(level, 2 * config.windows, rng)
    n = len(drawn) // 2
    steps.done(_RENDER_SHARE / 2)
    if n < _FEWEST:
        steps.done(_RENDER_SHARE / 2)
        return None
    if drawn.windows is not None:
        places = list(drawn.windows[n : 2 * n])
    else:
        places = windows_like(subject.space, drawn.levels[n : 2 * n], rng)
        if getattr(subject.space, "has_latents", False):
            places = of_many_latents(places)
    generated = render_all(subject.space, places, lambda part: steps.done(_RENDER_SHARE / 2, part))
    has_floor = drawn.windows is None or len({w.origin_xy for w in drawn.windows}) > 1
    return Sets(drawn.img[:n], drawn.img[n : 2 * n], generated, f"{level:g}", config, has_floor)


def _part(sets: Sets, count: int) -> Sets:
    """The first `count` windows of each set, as memory of their own."""
    real, floor, generated = (img[:count].clone() for img in sets.images)
    return Sets(real, floor, generated, MIXED, sets.config)


def _pooled(pools: Sequence[Sets]) -> Sets:
    real, floor, generated = (
        torch.cat(parts) for parts in zip(*(pool.images for pool in pools), strict=True)
    )
    return Sets(real, floor, generated, MIXED, pools[0].config)


def _means(
    levels: Sequence[dict[str, dict[str, Figure]]], metrics: Sequence[Metric]
) -> dict[str, dict[str, Figure]]:
    """Means over levels of the figures of sets; a ratio is that of the means, of the levels that
    have one."""
    found: dict[str, dict[str, Figure]] = {}
    for metric in metrics:
        rows = [level[metric.name] for level in levels if metric.name in level]
        found[metric.name] = {
            name: _mean([row[name] for row in rows])
            for name in (rows[0] if rows else {})
            if all(name in row for row in rows)
        }
    return found


def _mean(figures: Sequence[Figure]) -> Figure:
    value = sum(f.value for f in figures) / len(figures)
    references = [f.reference for f in figures if f.reference is not None]
    if len(references) < len(figures):
        return Figure(value)
    reference = sum(references) / len(references)
    told = [(f.value, f.reference) for f in figures if f.ratio is not None and f.reference]
    ratio = sum(v for v, _ in told) / sum(r for _, r in told) if told else None
    return Figure(value, reference=reference, ratio=ratio)


def _check_fit(space: ScaleSpace, data: RealWindows) -> None:
    if space.patch_size != data.patch_size:
        raise ValueError(
            f"the real windows must have the patch size of the scale space, {space.patch_size} px, "
            f"got {data.patch_size}; open the data with that patch size."
        )
    if data.scene is None:
        return
    mine, its = space.field_size, data.scene.field_size
    if any(abs(a - b) > _FIELD_TOLERANCE for a, b in zip(mine, its, strict=True)):
        raise ValueError(
            f"the field of the data must be that of the scale space, {mine}, got {its}; "
            "give the image it was made from, and its crop."
        )


def _shared_levels(space: ScaleSpace, data: RealWindows) -> tuple[float, ...]:
    low = max(space.level_range[0], data.level_range[0])
    levels = whole_levels((low, min(space.level_range[1], data.level_range[1])))
    if not levels:
        raise ValueError(
            f"the scale space has levels {space.level_range}, the data {data.level_range}, and no "
            "whole level is in both; name some with --levels."
        )
    return levels


def _chosen(config: EvaluationConfig, has_scene: bool) -> list[Metric]:
    """The metrics to compute, in the registry's order."""
    if config.metrics is None:
        return [m for n, m in METRICS.items() if n != "fid" and (has_scene or not m.needs_scene)]
    for name in config.metrics:
        if METRICS[name].needs_scene and not has_scene:
            raise ValueError(
                f"{name} needs to know what is at every place, and the data has no places; "
                "give the image, or leave it out of --metrics."
            )
    return [metric for name, metric in METRICS.items() if name in config.metrics]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def _table(metric: Metric, rows: Sequence[tuple[str, dict[str, Figure]]]) -> str:
    """One metric, one line a level."""
    head, lines = ["level"], [[level] for level, _ in rows]
    for name, column in metric.columns.items():
        cells = [_cells(found.get(name), column) for _, found in rows]
        kept = [i for i in range(4) if any(row[i] for row in cells)]
        heads = (column.head, "+-", column.reference, "ratio")
        head += [heads[i] for i in kept]
        for line, row in zip(lines, cells, strict=True):
            line += [row[i] or "-" for i in kept]
    widths = [max(len(row[i]) for row in [head, *lines]) for i in range(len(head))]
    text = [
        "  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in [head, *lines]
    ]
    unit = f" [{metric.unit}]" if metric.unit else ""
    return "\n".join([f"{metric.title}{unit}", *text])


def _cells(found: Figure | None, column: Column) -> tuple[str, str, str, str]:
    """Value, half its interval, reference, ratio; '' for what is not there."""
    if found is None:
        return "", "", "", ""
    half, ratio = "", ""
    if found.interval is not None:
        half = f"{(found.interval[1] - found.interval[0]) / 2:.{column.digits}f}"
    if found.ratio is not None:
        ratio = f"{found.ratio:.2f}"
        if found.ratio_interval is not None:
            ratio += f" ±{(found.ratio_interval[1] - found.ratio_interval[0]) / 2:.2f}"
    reference = "" if found.reference is None else f"{found.reference:.{column.digits}f}"
    return f"{found.value:.{column.digits}f}", half, reference, ratio
