"""Which pixels every stage of the generator computes for a window, and where they lie.

Stage 0 is the window's own density; stage k has 2**k times coarser pixels. All lattices are
anchored in the field: stage pixel `m` covers pixels [m * 2**k, (m + 1) * 2**k) of the window's
lattice, shifted by the window's sub-pixel phase. So a stage pixel has the same place, and the same
value, whichever tile asked for it; a tile only computes a wider or narrower range of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from model.scale import PHASE_STEPS


@dataclass(frozen=True)
class Span:
    """Stage pixels [begin, end) along one axis."""

    begin: int
    end: int

    def grow(self, margin: int) -> Span:
        """`margin` pixels more on both sides."""
        return Span(self.begin - margin, self.end + margin)

    def coarser(self, taps: int) -> Span:
        """Pixels of the next coarser stage that upsampling to this span reads."""
        reach = taps // 2
        return Span(self.begin // 2 - reach, (self.end - 1) // 2 + reach + 1)

    @property
    def size(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True)
class StageSpans:
    """Spans of one stage along one axis."""

    entry: Span
    """What enters the stage's convolutions."""
    exit: Span
    """What leaves them."""
    image: Span
    """What its part of the image needs."""


def stage_spans(output: Span, stages: int, margin: int, taps: int) -> list[StageSpans]:
    """Spans of every stage, finest first.

    Args:
        output: Pixels of the window along one axis.
        stages: Number of stages.
        margin: Pixels that a stage's convolutions consume on each side.
        taps: Taps a phase of the upsampling filter.
    """
    spans = []
    leave = image = output
    for _ in range(stages):
        entry = leave.grow(margin)
        spans.append(StageSpans(entry, leave, image))
        leave, image = entry.coarser(taps), image.coarser(taps)
    return spans


def lattices_of(origins: Sequence[float], pixels_per_unit: float) -> tuple[np.ndarray, np.ndarray]:
    """`Lattice.at` of many low edges (field units) at once: first pixels int64, phases float64."""
    steps = np.rint(np.asarray(origins) * pixels_per_unit * PHASE_STEPS).astype(np.int64)
    return steps // PHASE_STEPS, (steps % PHASE_STEPS) / PHASE_STEPS


def coordinates(
    begins: np.ndarray, phases: np.ndarray, size: int, stage: int, pixels_per_unit: float
) -> torch.Tensor:
    """Centres of stage pixels, float64 [N, size], field units.

    Args:
        begins: First pixel of each lattice's span, at this stage. [N].
        phases: Of the windows' lattices, pixels of stage 0. [N].
        size: Pixels of each span.
        stage: Stage 0 is the finest here.
        pixels_per_unit: Density of stage 0.
    """
    index = begins[:, None] + np.arange(size, dtype=np.float64)
    return torch.from_numpy((phases[:, None] + (index + 0.5) * 2**stage) / pixels_per_unit)
