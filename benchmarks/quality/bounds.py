"""What each checkpoint promises, as conditions on its figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from model.scale import whole_levels

Result = dict[str, Any]
"""One file `benchmarks/results/quality-<name>.json`."""

REALISM = (5.0, 6.0, 7.0, 8.0)
"""Levels whose detail is invented."""
EQUAL_BYTES = (7.0, 8.0)
"""Levels at which it must look more real than everything else of as many bytes, as far as it has
them: a smaller picture may end before."""
BASELINES = ("jpeg", "avif", "bicubic", "twin")
_PSNR = {0.0: 36.0, 1.0: 36.0, 2.0: 36.0, 3.0: 36.0, 4.0: 36.0, 5.0: 31.0, 6.0: 26.0}
_LAYOUT = {0.0: 0.8, 1.0: 0.6, 2.0: 0.4, 3.0: 0.4}


@dataclass(frozen=True)
class Verdict:
    """One promise and what was measured."""

    promise: str
    measured: str
    holds: bool | None
    """None where it was not measured."""


def value(
    result: Result, subject: str, level: float, metric: str, name: str, field: str = "value"
) -> float | None:
    """One number of a result, or None."""
    figure = result["figures"].get(subject, {}).get(f"{level:g}", {}).get(metric, {}).get(name, {})
    found = figure.get(field)
    return None if found is None else float(found)


def levels_of(result: Result, subject: str = "checkpoint", metric: str = "fidelity") -> list[float]:
    """Levels of a subject that have a metric, octaves."""
    found = result["figures"].get(subject, {})
    return sorted(float(level) for level, metrics in found.items() if metric in metrics)


def judge(result: Result, others: dict[str, Result]) -> list[Verdict]:
    """What `result` promises, by its name; `others` are the results there are, by name."""
    if result["name"].endswith("adversarial"):
        return [_mean_distance(result), _layout(result), _consistency_db(result, 30.0)]
    if result["name"].endswith("from-patches"):
        first = _near(result, others.get(result["name"].removesuffix("-from-patches")))
    else:
        first = _fidelity(result)
    return [
        first,
        _distances(result),
        _below_baselines(result),
        _high_band(result),
        _consistency(result),
        _flicker(result),
    ]


def _verdict(
    promise: str,
    rows: Iterable[tuple[float, float | None, bool | None]],
    text: Callable[[float, float], str],
    worst: Callable[[list[tuple[float, float]]], tuple[float, float]],
) -> Verdict:
    """Of (level, number, holds): the worst, and the levels at which it does not hold."""
    known = [(level, number, holds) for level, number, holds in rows if number is not None]
    if not known:
        return Verdict(promise, "not measured", None)
    bad = [f"{level:g}" for level, _, holds in known if not holds]
    measured = text(*worst([(level, number) for level, number, _ in known]))
    if bad:
        measured += f"; not at {'level' if len(bad) == 1 else 'levels'} {', '.join(bad)}"
    return Verdict(promise, measured, not bad)


def _fidelity(result: Result) -> Verdict:
    rows = []
    for level, bound in _PSNR.items():
        number = value(result, "checkpoint", level, "fidelity", "psnr")
        margin = None if number is None else number - bound
        rows.append((level, margin, margin is not None and margin >= 0))
    return _verdict(
        "PSNR at levels 0 to 4 at least 36 dB, at 5 at least 31, at 6 at least 26",
        rows,
        lambda level, margin: f"least margin {margin:+.1f} dB, at {level:g}",
        lambda found: min(found, key=lambda row: row[1]),
    )


def _near(result: Result, model: Result | None) -> Verdict:
    rows = []
    for level in levels_of(result):
        mine = value(result, "checkpoint", level, "fidelity", "psnr")
        its = None if model is None else value(model, "checkpoint", level, "fidelity", "psnr")
        behind = None if mine is None or its is None else its - mine
        rows.append((level, behind, behind is not None and behind <= 2))
    return _verdict(
        "PSNR within 2 dB of the registered checkpoint at every level",
        rows,
        lambda level, behind: f"furthest behind {behind:.1f} dB, at {level:g}",
        lambda found: max(found, key=lambda row: row[1]),
    )


def _distances(result: Result) -> Verdict:
    rows = []
    for level in REALISM:
        ratio = value(result, "checkpoint", level, "swd", "real", "ratio")
        rows.append((level, ratio, ratio is not None and ratio <= 2))
    return _verdict(
        "sliced Wasserstein over its floor at levels 5 to 8 at most 2",
        rows,
        lambda level, ratio: f"worst {ratio:.2f}, at {level:g}",
        lambda found: max(found, key=lambda row: row[1]),
    )


def _mean_distance(result: Result) -> Verdict:
    ratios = [
        ratio
        for level in levels_of(result, metric="swd")
        if (ratio := value(result, "checkpoint", level, "swd", "real", "ratio")) is not None
    ]
    promise = "sliced Wasserstein over its floor, mean over octaves, at most 2"
    if not ratios:
        return Verdict(promise, "not measured", None)
    mean = sum(ratios) / len(ratios)
    return Verdict(promise, f"{mean:.2f}", mean <= 2)


def _below_baselines(result: Result) -> Verdict:
    promise = "that distance below every baseline of as many bytes at levels 7 and 8"
    closest: tuple[float, str, float] | None = None
    holds, known, missing = True, False, []
    levels = [v for v in whole_levels(result["checkpoint"]["level_range"]) if v in EQUAL_BYTES]
    for baseline in BASELINES:
        for level in levels:
            mine = value(result, "checkpoint", level, "swd", "real")
            its = value(result, baseline, level, "swd", "real")
            if mine is None or its is None:
                missing.append(baseline)
                continue
            known, holds = True, holds and mine < its
            if closest is None or its / mine < closest[0]:
                closest = its / mine, baseline, level
    if not known or closest is None:
        return Verdict(promise, "not measured", None)
    quotient, name, level = closest
    measured = f"closest: {name} at {level:g}, {quotient:.2f} times ours"
    if missing:
        measured += f" (not there: {', '.join(dict.fromkeys(missing))})"
    return Verdict(promise, measured, holds if not holds or not missing else None)


def _high_band(result: Result) -> Verdict:
    rows = []
    for level in levels_of(result):
        number = value(result, "checkpoint", level, "fidelity", "high_band")
        rows.append((level, number, number is not None and abs(number) <= 2))
    return _verdict(
        "high-band power within 2 dB of the real at every level and half level",
        rows,
        lambda level, number: f"furthest {number:+.1f} dB, at {level:g}",
        lambda found: max(found, key=lambda row: abs(row[1])),
    )


def _consistency(result: Result) -> Verdict:
    rows = []
    for level in levels_of(result, metric="consistency"):
        mine = value(result, "checkpoint", level, "consistency", "1_free")
        own = value(result, "checkpoint", level, "consistency", "1_free", "reference")
        behind = None if mine is None or own is None else own - mine
        rows.append((level, behind, behind is not None and behind <= 4))
    return _verdict(
        "consistency of an octave with the one below it within 4 dB of the real pyramid's own",
        rows,
        lambda level, behind: f"furthest behind {behind:.1f} dB, at {level:g}",
        lambda found: max(found, key=lambda row: row[1]),
    )


def _consistency_db(result: Result, bound: float) -> Verdict:
    rows = []
    for level in levels_of(result, metric="consistency"):
        number = value(result, "checkpoint", level, "consistency", "1")
        rows.append((level, number, number is not None and number >= bound))
    return _verdict(
        f"consistency of an octave with the one below it, on one grid, at least {bound:g} dB",
        rows,
        lambda level, number: f"least {number:.1f} dB, at {level:g}",
        lambda found: min(found, key=lambda row: row[1]),
    )


def _flicker(result: Result) -> Verdict:
    rows = []
    for level in levels_of(result, metric="flicker"):
        ratio = value(result, "checkpoint", level, "flicker", "rms", "ratio")
        rows.append((level, ratio, ratio is not None and ratio <= 1.5))
    return _verdict(
        "zoom flicker at most 1.5 times the real pyramid's",
        rows,
        lambda level, ratio: f"most {ratio:.2f}, at {level:g}",
        lambda found: max(found, key=lambda row: row[1]),
    )


def _layout(result: Result) -> Verdict:
    rows = []
    for level, bound in _LAYOUT.items():
        number = value(result, "checkpoint", level, "layout", "correlation")
        rows.append((level, number, number is not None and number >= bound))
    return _verdict(
        "layout correlation at least 0.8 at level 0, 0.6 at 1, 0.4 at 2 and 3",
        rows,
        lambda level, number: f"least {number:.2f}, at {level:g}",
        lambda found: min(found, key=lambda row: row[1]),
    )
