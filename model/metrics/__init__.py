"""Metrics of a scale space against real data, without downloads: `evaluate(space, real)`.

Each metric is defined, with its unit and source, in the module that computes it; `registry` names
them all; `evaluation` draws the windows, runs them and holds the result.
"""

from __future__ import annotations

from model.metrics.evaluation import Evaluation, evaluate
from model.metrics.figures import Figure
from model.metrics.registry import METRICS, EvaluationConfig
from model.metrics.windows import CollectionWindows, RealWindows, SceneWindows

__all__ = [
    "METRICS",
    "CollectionWindows",
    "Evaluation",
    "EvaluationConfig",
    "Figure",
    "RealWindows",
    "SceneWindows",
    "evaluate",
]
