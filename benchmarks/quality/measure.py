"""The figures of one subject at one level, by `model.metrics.evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.quality.settings import Settings, Subject, Truth, key_of, slim

OWN = ("fidelity", "swd", "consistency", "flicker", "layout", "seams")
"""Metrics of a checkpoint at a whole level."""
HALF = ("fidelity",)
"""And at a half level."""
KEPT = {
    "fidelity": ("psnr", "psnr_worst", "ms_ssim", "high_band"),
    "swd": ("real",),
    "consistency": ("1", "1_free"),
    "flicker": ("rms", "worst"),
    "layout": ("correlation",),
    "seams": ("max_abs",),
}
"""Figures that the page needs, by metric."""


@dataclass(frozen=True)
class Job:
    """One piece of measuring, for a worker."""

    subject: Subject
    level: float
    """Octaves."""
    metrics: tuple[str, ...]
    weight: float
    """How long it takes, compared with others."""

    def key(self, content: str, truth: Truth, real_identity: str, settings: Settings) -> str:
        """Names everything that the result depends on."""
        numbers = (settings.windows, settings.held_out, settings.bootstrap, settings.seed)
        return key_of(content, real_identity, truth.crop, self.level, self.metrics, numbers)


_WEIGHTS = {"swd": 6.0, "flicker": 1.0, "consistency": 0.5, "layout": 0.3}


def jobs_of_checkpoint(subject: Subject, levels: Sequence[float], top: float) -> list[Job]:
    """Everything at whole levels, fidelity at the half levels between and above them."""
    found = []
    for level in levels:
        found.append(_job(subject, level, OWN))
        if level + 0.5 <= top + 1e-6:
            found.append(_job(subject, level + 0.5, HALF))
    return found


def jobs_of_baseline(
    faithful: Subject, real: Subject, levels: Sequence[float], realism_from: int
) -> list[Job]:
    """Fidelity of one file at all levels, distance of another at the levels of realism."""
    far = [level for level in levels if level >= realism_from]
    return [
        *(_job(faithful, level, ("fidelity",)) for level in levels),
        *(_job(real, level, ("swd",)) for level in far),
    ]


def _job(subject: Subject, level: float, metrics: tuple[str, ...]) -> Job:
    return Job(subject, level, metrics, 0.2 + sum(_WEIGHTS.get(m, 0.1) for m in metrics))


def measure(job: Job, truth: Truth, settings: Settings) -> dict[str, Any]:
    """Open, measure, close: `{metric: {figure: {value, half, reference, ratio, ratio_half}}}`.

    `half` is half the width of the 95 % interval; what was not measured is left out.
    """
    from model.metrics import EvaluationConfig, evaluate

    space, real = job.subject.open(), truth.open()
    config = EvaluationConfig(
        levels=(job.level,),
        windows=settings.windows,
        held_out=settings.held_out,
        metrics=job.metrics,
        seed=settings.seed,
        bootstrap=settings.bootstrap if job.subject.name == "checkpoint" else 0,
    )
    plain = evaluate(space, real, config).to_json()["figures"][f"{job.level:g}"]
    kept = {
        metric: {name: _short(found[name]) for name in KEPT[metric] if name in found}
        for metric, found in plain.items()
    }
    return dict(slim(kept))


def _short(figure: dict[str, Any]) -> dict[str, Any]:
    """A figure of an evaluation without what is null, intervals as half their width."""
    found = {name: figure[name] for name in ("value", "reference", "ratio")}
    for name, interval in (("half", "interval"), ("ratio_half", "ratio_interval")):
        if figure[interval] is not None:
            low, high = figure[interval]
            found[name] = (high - low) / 2
    return {name: value for name, value in found.items() if value is not None}
