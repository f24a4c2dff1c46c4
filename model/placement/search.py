"""Finding the places of one half octave of patches in the canvases of the coarser ones."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from kernels.resample import resample
from model.placement.canvas import Canvas, Patches, Poses, halved
from model.placement.config import PlacementConfig
from model.placement.correlate import Index, NoWindow, Peaks, masked_peaks
from model.placement.refine import Fit, fit_to_canvas
from model.placement.workers import Workers, batches
from model.precision import training_dtype

_OCTAVES_DOWN = 2
"""Candidates are sought in a canvas so many octaves coarser than the finest one."""
_FFT_BATCH, _INDEX_BATCH, _FIT_BATCH = 128, 256, 256
_MIN_OVERLAP = 0.35
"""Part of a patch that must lie on what is placed."""
_THOROUGH = 4
"""Times as many candidates for what was not found at first."""
_THOROUGH_PX = 1 << 25
"""Pixels of a canvas in which that is still done an octave finer."""
_KEPT = 4
"""Candidates that are still compared at the finest canvas."""
_DISTINCT = 0.2
"""Patch spans that two places must be apart to be two."""
_ITERATIONS = 4
_MIN_TEMPLATE_PX = 8
_LEGIBLE_DETAIL = 0.2
"""Below it the canvas shows too little detail to move a patch by."""
_SLACK = 0.05
"""Octaves that a level may move beyond the labels' error."""


@dataclass(frozen=True)
class Found:
    """The best place of each patch that was sought."""

    center_xy: torch.Tensor
    """Field units. float64 [N, 2]."""
    level: torch.Tensor
    """Octaves. float64 [N]."""
    detail: torch.Tensor
    """Correlation of neighbouring pixels' differences; -1 where there is none. float32 [N]."""
    evidence: torch.Tensor
    """Fisher's z of `detail` over the deviation that chance would give it. float32 [N]."""
    margin: torch.Tensor
    """By how much `detail` is better than at the best other place. float32 [N]."""


def seek(
    canvases: dict[int, Canvas],
    patches: Patches,
    indices: torch.Tensor,
    labels: torch.Tensor,
    config: PlacementConfig,
    workers: Workers,
    thorough: bool = False,
) -> Found:
    """The best place of each patch in the canvases.

    Args:
        canvases: By level; the finest is no finer than the patches.
        patches: All patches.
        indices: Which to seek, all within half an octave. int64 [N], N >= 1.
        labels: Their levels as labelled. float64 [N].
        config: See there.
        workers: Who does it.
        thorough: Whether to look at more places, and more closely: for few patches.
    """
    finest, coarsest = max(canvases), min(canvases)
    legible = math.ceil(float(labels.max()) + math.log2(_MIN_TEMPLATE_PX / patches.size) - 1e-6)
    start = min(finest, max(finest - _OCTAVES_DOWN, coarsest - 1, legible))
    num = config.candidates
    if thorough:
        num *= _THOROUGH
        if start < finest and math.prod(canvases[start + 1].size_wh) <= _THOROUGH_PX:
            start += 1
    canvas = halved(canvases[coarsest]) if start < coarsest else canvases[start]
    peaks = _candidates(canvas, coarsest, patches, indices, labels, num, workers)
    num = peaks.score.shape[1]
    rows = torch.arange(len(indices), device=indices.device).repeat_interleave(num)
    poses = Poses(indices[rows], canvas.field_of(peaks.center_xy).flatten(0, 1), labels[rows])
    valid = peaks.score.flatten() > -1.0
    rows, poses = rows[valid], poses[valid]
    if len(rows) == 0:
        return _nowhere(len(indices), indices.device)
    best = torch.full((len(rows),), -math.inf, device=rows.device)
    detail = torch.full_like(best, -1.0)
    for level in range(max(start, coarsest), finest + 1):
        fit = _fit(canvases[level], patches, poses, labels[rows], config.level_error, workers)
        # What the finest canvas does not show sharply, the next coarser one has to decide.
        evidence = torch.atanh(fit.detail.clamp(-0.999, 0.999)) * fit.samples.sqrt()
        better = evidence > best
        best = torch.where(better, evidence, best)
        detail = torch.where(better, fit.detail, detail)
        legible_fit = better | (fit.detail > _LEGIBLE_DETAIL)
        poses = Poses(
            poses.indices,
            torch.where(legible_fit[:, None], fit.center_xy, poses.center_xy),
            torch.where(legible_fit, fit.level, poses.level),
        )
        if level < finest:
            score = evidence + fit.correlation
            apart = _distinct(rows, poses, score)
            keep = apart[_best(rows[apart], score[apart], _KEPT)]
            rows, poses, best, detail = rows[keep], poses[keep], best[keep], detail[keep]
            if level < finest - 1:  # decided by the two finest canvases alone
                best = torch.full_like(best, -math.inf)
    return _settle(rows, poses, best, detail, len(indices))


def _candidates(
    canvas: Canvas,
    coarsest: int,
    patches: Patches,
    indices: torch.Tensor,
    labels: torch.Tensor,
    num: int,
    workers: Workers,
) -> Peaks:
    """Where each patch may lie, in pixels of a coarse canvas."""
    zoom = 2.0 ** (labels - canvas.level)  # patch pixels a canvas pixel
    spans = patches.size / zoom
    fringed = canvas.level < coarsest
    size = int(spans.max() + 1e-6) // 2 * 2 if fringed else max(4, int(spans.min() + 1e-6))
    try:
        index = None if fringed else Index(canvas, size, training_dtype(patches.device), workers)
    except NoWindow:  # one label that is far too coarse makes all windows too large
        nowhere = torch.zeros(len(indices), 1, 2, dtype=torch.float64, device=patches.device)
        return Peaks(nowhere, torch.full((len(indices), 1), -1.0, device=patches.device))

    def work(rows: slice) -> Peaks:
        origin = (patches.size / 2 - size / 2 * zoom[rows])[:, None].expand(-1, 2)
        images = resample(patches.load(indices[rows]), origin, zoom[rows], (size, size))
        if index is not None:
            return index.peaks(images, num)
        place = torch.arange(size, device=patches.device) + 0.5 - size / 2
        inside = (place.abs() <= spans[rows, None] / 2 - 0.49).float()
        masks = inside[:, :, None] * inside[:, None]
        return masked_peaks(canvas, images.mean(1), masks, num, _MIN_OVERLAP)

    parts = list(workers.map(work, batches(len(indices), _FFT_BATCH if fringed else _INDEX_BATCH)))
    return Peaks(torch.cat([p.center_xy for p in parts]), torch.cat([p.score for p in parts]))


def _fit(
    canvas: Canvas,
    patches: Patches,
    poses: Poses,
    labels: torch.Tensor,
    level_error: float,
    workers: Workers,
) -> Fit:
    """`fit_to_canvas` in batches; where a level strays from its label, the fit does not count."""

    def work(rows: slice) -> Fit:
        return fit_to_canvas(canvas, patches, poses[rows], level_error + _SLACK, _ITERATIONS)

    parts = list(workers.map(work, batches(len(poses), _FIT_BATCH)))
    fit = Fit(*(torch.cat([getattr(p, name) for p in parts]) for name in Fit.__dataclass_fields__))
    stray = (fit.level - labels).abs() > level_error + 2 * _SLACK
    return replace(fit, detail=torch.where(stray, -1.0, fit.detail))


def _distinct(rows: torch.Tensor, poses: Poses, score: torch.Tensor) -> torch.Tensor:
    """Which entries lie elsewhere than all better ones of their row that do, best first."""
    order, rank = _ranked(rows, score)
    shape = int(rows.max()) + 1, int(rank.max()) + 1
    at = torch.full(shape, -1, dtype=torch.int64, device=rows.device)
    at[rows[order], rank] = order
    center, kept = poses.center_xy[at], at >= 0
    reach = _DISTINCT * 2.0 ** -poses.level[at]
    for number in range(1, shape[1]):
        away = (center[:, :number] - center[:, number, None]).abs().amax(2)
        near = (away <= reach[:, number, None]) & kept[:, :number]
        kept[:, number] &= ~near.any(1)
    return at[kept]


def _best(rows: torch.Tensor, score: torch.Tensor, num: int) -> torch.Tensor:
    """Which entries are among the `num` best of their row, the best first within a row."""
    order, rank = _ranked(rows, score)
    return order[rank < num]


def _ranked(rows: torch.Tensor, score: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """All entries, row by row and the best first, and how many of the row are before each."""
    order = torch.argsort(score, descending=True, stable=True)
    order = order[torch.argsort(rows[order], stable=True)]
    sorted_rows = rows[order]
    new = torch.ones_like(sorted_rows, dtype=torch.bool)
    new[1:] = sorted_rows[1:] != sorted_rows[:-1]
    place = torch.arange(len(order), device=order.device)
    first = torch.cummax(torch.where(new, place, 0), 0).values
    return order, place - first


def _nowhere(num: int, device: torch.device) -> Found:
    """No place for any of `num` patches."""
    empty = torch.zeros(num, dtype=torch.float64, device=device)
    none = torch.full((num,), -1.0, device=device)
    return Found(torch.stack([empty, empty], 1), empty, none, none, none)


def _settle(
    rows: torch.Tensor, poses: Poses, evidence: torch.Tensor, detail: torch.Tensor, num: int
) -> Found:
    """The best of each row, and its margin over the best that lies elsewhere."""
    device = rows.device
    order, _ = _ranked(rows, evidence)
    rows, poses, evidence, detail = rows[order], poses[order], evidence[order], detail[order]
    new = torch.ones_like(rows, dtype=torch.bool)
    new[1:] = rows[1:] != rows[:-1]
    best = torch.zeros(num, dtype=torch.int64, device=device)
    best[rows[new]] = new.nonzero()[:, 0]
    found = torch.zeros(num, dtype=torch.bool, device=device)
    found[rows[new]] = True
    mine = best[rows]
    span = 2.0 ** -poses.level[mine]
    apart = (poses.center_xy - poses.center_xy[mine]).abs().amax(1) > _DISTINCT * span
    other = torch.zeros(num, device=device)
    other.scatter_reduce_(0, rows[apart], detail[apart], "amax")
    chosen = torch.where(found, detail[best], -1.0)
    return Found(
        poses.center_xy[best],
        poses.level[best],
        chosen,
        torch.where(found, evidence[best], -1.0),
        chosen - other,
    )
