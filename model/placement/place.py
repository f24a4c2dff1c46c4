"""Placement: the octaves in turn, each sought in the picture that the coarser ones make."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from model.placement.adjust import adjusted
from model.placement.canvas import Patches, Poses, build_canvases
from model.placement.config import PlacementConfig, PlacementResult
from model.placement.links import Links, measure, overlapping
from model.placement.search import Found, seek
from model.placement.workers import Workers

Progress = Callable[[float], None]
"""Called with the fraction that is done; whatever it raises cancels and reaches the caller."""

_REASONS = ("", "waiting", "blank", "no place", "ambiguous", "no level")
_PLACED, _WAITING, _BLANK, _NO_PLACE, _AMBIGUOUS, _NO_LEVEL = range(6)
_BLANK_DEVIATION = 1.5
"""Grey values: what varies less has no texture to match."""
_FRINGE_GROUPS = 4
"""Half octaves, from the coarsest, in which the picture may still grow outwards."""
_MAX_GROWTHS = 64
_ANCHORS, _WITNESSES = 8, 48
"""How many of the coarsest patches may be the anchor, and how many are tried on each."""
_REACH = 1.5
"""Octaves that a canvas may be coarser than the anchor and still show it: see `build_canvases`."""
_LEAST_WINDOW_PX = 4
"""Pixels of the anchor's canvas that a witness must span."""
_MIN_AGREEMENT = 0.35
"""Least mean correlation of a patch's detail with all that it overlaps; true ones have 0.9."""
_DRIFT_PATCHES = 16
"""Placed patches from which on the anchor's own error is told from the labels'."""
_CANVAS_SHARE, _SEEK_SHARE = 0.1, 0.7
"""Parts of a half octave's work that are done after the canvases and after seeking."""
_FINAL_ROUNDS = 2
_SIZE_TOLERANCE = 3.0
"""Standard errors within which the picture's own size is believed."""
_EDGE_PATCHES = 16
"""The outermost patches, whose spacing says how far beyond them the picture may end."""
_EDGE_STRAYS = 4
"""Of these, the very outermost are not asked: a patch in a wrong place may reach beyond."""


@dataclass
class PlacementState:
    """All that is known after some half octaves; placement goes on from it to the same result."""

    stage: int
    """Half octaves that are done, both passes counted."""
    center_xy: np.ndarray
    """float64 [N, 2]."""
    level: np.ndarray
    """float64 [N]."""
    confidence: np.ndarray
    """float64 [N]."""
    margin: np.ndarray
    """float64 [N]."""
    status: np.ndarray
    """Index into the reasons; 0 is placed, 1 waits. int64 [N]."""


class NothingToSeek(ValueError):
    """Every patch of a picture is blank or without level."""


Save = Callable[[PlacementState], None]
"""Called after every half octave."""


def place_patches(
    images: np.ndarray,
    levels: np.ndarray,
    config: PlacementConfig | None = None,
    progress: Progress | None = None,
    *,
    state: PlacementState | None = None,
    save: Save | None = None,
) -> PlacementResult:
    """Find out where in one picture every patch belongs.

    Coarse to fine: of the coarsest patches the one that most others agree with is the anchor. Half
    octave by half octave, patches are sought in a coarse canvas of what is placed, settled in the
    finest one, and adjusted against the patches that they overlap. At last everything is adjusted
    at once. The result's origin is the middle of what is placed; its scale is the labels' own, and,
    within their error, such that the shorter side of the picture is one field unit.

    Args:
        images: sRGB. uint8 [N, P, P, 3].
        levels: Octaves, as labelled; NaN where unknown. float [N].
        config: See there.
        progress: See `Progress`.
        state: Where an earlier call with the same arguments stopped.
        save: See `Save`.

    Raises:
        ValueError: The arguments do not fit together, or nothing can be placed.
        NothingToSeek: Every patch is blank or without level.
    """
    config = PlacementConfig() if config is None else config
    levels = np.asarray(levels, np.float64)
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[1] != images.shape[2]:
        raise ValueError(
            f"images must be uint8 [N, P, P, 3], got {images.dtype} {list(images.shape)}."
        )
    if images.shape[3] != 3 or images.shape[1] < 16 or levels.shape != images.shape[:1]:
        raise ValueError(
            "patches must have 3 channels, at least 16 pixels a side and a level each, "
            f"got images {list(images.shape)} and levels {list(levels.shape)}."
        )
    if state is not None and state.status.shape != levels.shape:
        raise ValueError(
            f"the saved state is of {len(state.status)} patches, these are {len(levels)}; "
            "begin anew."
        )
    return _Run(images, levels, config, progress, save, state).result()


def begin_state(images: np.ndarray, levels: np.ndarray) -> PlacementState:
    """Nothing is placed yet; what is blank or has no level will not be.

    Args:
        images: uint8 [N, P, P, 3].
        levels: Octaves, as labelled; NaN where unknown. [N].
    """
    num = len(levels)
    status = np.full(num, _WAITING, np.int64)
    for first in range(0, num, 4096):
        part = images[first : first + 4096].astype(np.float32)
        blank = part.std((1, 2)).max(1) < _BLANK_DEVIATION
        status[first : first + 4096][blank] = _BLANK
    status[np.isnan(levels)] = _NO_LEVEL
    none = np.full(num, -1.0)
    return PlacementState(0, np.zeros((num, 2)), levels.copy(), none, none.copy(), status)


class _Run:
    """One placement on its way."""

    def __init__(
        self,
        images: np.ndarray,
        levels: np.ndarray,
        config: PlacementConfig,
        progress: Progress | None,
        save: Save | None,
        state: PlacementState | None,
    ) -> None:
        self._config = config
        self._device = torch.device(config.device)
        self._patches = Patches(images, self._device)
        self._labels = torch.from_numpy(levels).to(self._device)
        self._progress, self._save = progress, save
        self._fraction = 0.0
        self._state = state if state is not None else begin_state(images, levels)
        if bool(self._labels.isnan().all()):
            raise ValueError("no patch has a level; label them, or place them as photographs.")

    def result(self) -> PlacementResult:
        """Do what is left to do."""
        with Workers(self._check) as workers:
            if not bool((self._statuses() == _PLACED).any()):
                self._place_anchor(workers)
            self._group_labels()
            for stage in range(self._state.stage, 2 * self._num_groups):
                self._advance(stage, 0.0)
                self._place_group(stage, workers)
                number = stage % self._num_groups
                self._state.stage = stage + 1
                if self._save is not None and bool((self._group == number).any()):
                    self._save(self._state)
            poses = self._poses()
            for number in range(_FINAL_ROUNDS):
                begin = self._done_until(2 * self._num_groups)
                self._fraction = begin + (1 - begin) * number / _FINAL_ROUNDS
                links = self._links(poses, None, workers)
                poses = adjusted(poses, links, self._patches.size, None, workers)
        self._fraction = 1.0
        self._check()
        return self._finish(poses)

    def _check(self) -> None:
        if self._progress is not None:
            self._progress(self._fraction)

    def _done_until(self, stage: int) -> float:
        """Share of the work that precedes a stage, roughly."""
        count = torch.bincount(self._group.clamp_min(0), minlength=self._num_groups).double()
        share = count / count.sum()
        first = float(share[: min(stage, self._num_groups)].sum())
        second = float(share[: max(0, stage - self._num_groups)].sum())
        return 0.65 * first + 0.1 * second

    def _statuses(self) -> torch.Tensor:
        return torch.from_numpy(self._state.status).to(self._device)

    def _poses(self, indices: torch.Tensor | None = None) -> Poses:
        """Of some patches, or of all that are placed."""
        if indices is None:
            indices = (self._statuses() == _PLACED).nonzero()[:, 0]
        center = torch.from_numpy(self._state.center_xy).to(self._device)[indices]
        return Poses(indices, center, torch.from_numpy(self._state.level).to(self._device)[indices])

    def _place_anchor(self, workers: Workers) -> None:
        """Put the patch at the origin, among the coarsest, in which most others find a place."""
        waiting = (self._statuses() == _WAITING).nonzero()[:, 0]
        if len(waiting) == 0:
            raise NothingToSeek("every patch is blank or without level; there is nothing to place.")
        waiting = waiting[torch.argsort(self._labels[waiting], stable=True)]
        best, best_count = waiting[:1], -1
        for anchor in waiting[:_ANCHORS].split(1):
            base = self._base(float(self._labels[anchor]))
            finest = base + math.log2(self._patches.size / _LEAST_WINDOW_PX)
            near = (self._labels[waiting] >= base - 1) & (self._labels[waiting] <= finest)
            others = waiting[near & (waiting != anchor)][:_WITNESSES]
            if len(others) == 0:
                continue
            center = torch.zeros(1, 2, dtype=torch.float64, device=self._device)
            pose = Poses(anchor, center, self._labels[anchor])
            canvases = build_canvases(self._patches, pose, [base], workers)
            found = seek(
                canvases, self._patches, others, self._labels[others], self._config, workers
            )
            count = int(self._accepted(found).sum())
            if count > best_count:
                best, best_count = anchor, count
            if count > 0.9 * min(_WITNESSES, len(waiting) - 1):
                break
        self._state.status[int(best)] = _PLACED
        self._state.confidence[int(best)] = self._state.margin[int(best)] = 1.0

    def _base(self, anchor: float) -> int:
        """Level of the coarsest canvas: it must show the anchor, which is of level `anchor`."""
        labels = self._labels[~self._labels.isnan() & (self._statuses() != _BLANK)]
        return max(math.floor(float(labels.min()) + 0.3), math.ceil(anchor - _REACH))

    def _group_labels(self) -> None:
        """Sort all labels into half octaves; what is far too coarse for the anchor has no place."""
        state = self._state
        # The anchor, or what was known before anything was sought, is surer than what was found.
        first = (state.status == _PLACED) & (state.confidence == 1.0) & (state.margin == 1.0)
        first = first if first.any() else state.status == _PLACED
        self._coarsest = self._base(float(state.level[first].min()))
        group = ((self._labels - self._coarsest) * 2).floor()
        far = ((group < -2) & (self._statuses() == _WAITING)).cpu().numpy()
        state.status[far] = _NO_PLACE
        self._group = torch.where(group < -2, -1, group.clamp_min(0)).nan_to_num(-1).long()
        self._num_groups = int(self._group.max()) + 1

    def _accepted(self, found: Found) -> torch.Tensor:
        config = self._config
        return (
            (found.detail >= config.min_detail)
            & (found.evidence >= config.min_evidence)
            & (found.margin >= config.min_margin)
        )

    def _advance(self, stage: int, share: float) -> None:
        """Note that a stage is done in part."""
        begin, end = self._done_until(stage), self._done_until(stage + 1)
        self._fraction = max(self._fraction, begin + share * (end - begin))

    def _place_group(self, stage: int, workers: Workers) -> None:
        """Seek all patches of a half octave that have no place."""
        again, number = divmod(stage, self._num_groups)
        fringed = number < _FRINGE_GROUPS
        for _ in range(_MAX_GROWTHS if fringed else 1):
            status = self._statuses()
            open_ = (status != _PLACED) & (status != _BLANK) & (status != _NO_LEVEL)
            todo = (open_ & (self._group == number)).nonzero()[:, 0]
            if len(todo) == 0:
                return
            placed = self._poses()
            finest = math.floor(float(placed.level.max()) + 0.3)
            finest = max(self._coarsest, min(self._coarsest + number // 2, finest))
            levels = range(self._coarsest, finest + 1)
            canvases = build_canvases(self._patches, placed, levels, workers)
            self._advance(stage, _CANVAS_SHARE)
            labels = self._labels[todo] + self._drift(placed)
            found = seek(canvases, self._patches, todo, labels, self._config, workers, bool(again))
            del canvases
            self._advance(stage, _SEEK_SHARE)
            accepted = self._accepted(found)
            self._record(todo, found, accepted)
            if not bool(accepted.any()):
                return
            self._settle(placed, todo[accepted], workers)

    def _drift(self, placed: Poses) -> float:
        """Octaves by which levels in this picture exceed labels: the anchor's own error."""
        if len(placed) < _DRIFT_PATCHES:
            return 0.0
        return float((placed.level - self._labels[placed.indices]).median())

    def _record(self, todo: torch.Tensor, found: Found, accepted: torch.Tensor) -> None:
        """Write down what was found."""
        state, rows = self._state, todo.cpu().numpy()
        reason = torch.full_like(todo, _NO_PLACE)
        config = self._config
        sure = (found.detail >= config.min_detail) & (found.evidence >= config.min_evidence)
        reason[sure] = _AMBIGUOUS
        reason[accepted] = _PLACED
        state.status[rows] = reason.cpu().numpy()
        state.center_xy[rows] = found.center_xy.cpu().numpy()
        level = torch.where(accepted, found.level, self._labels[todo])
        state.level[rows] = level.cpu().numpy()
        state.confidence[rows] = found.detail.double().cpu().numpy()
        state.margin[rows] = found.margin.double().cpu().numpy()

    def _settle(self, placed: Poses, new: torch.Tensor, workers: Workers) -> None:
        """Adjust new patches among themselves and to those before; drop what is contradicted."""
        poses = Poses.concatenated([placed, self._poses(new)])
        fixed = torch.arange(len(poses), device=self._device) < len(placed)
        links = self._links(poses, fixed, workers)
        if len(links) == 0:
            return
        agreement = _mean_detail(links, len(poses))[len(placed) :]
        poses = adjusted(poses, links, self._patches.size, fixed, workers)[len(placed) :]
        sure = (agreement >= _MIN_AGREEMENT).cpu().numpy()
        rows, state = new.cpu().numpy(), self._state
        state.center_xy[rows] = poses.center_xy.cpu().numpy()
        state.level[rows] = poses.level.cpu().numpy()
        state.status[rows[~sure]] = _NO_PLACE
        state.confidence[rows[~sure]] = agreement.double().cpu().numpy()[~sure]

    def _links(self, poses: Poses, fixed: torch.Tensor | None, workers: Workers) -> Links:
        """Measured overlaps, less those of two fixed patches."""
        a, b = overlapping(poses, self._patches.size)
        if fixed is not None:
            moving = ~(fixed[a] & fixed[b])
            a, b = a[moving], b[moving]
        return measure(self._patches, poses, a, b, workers)

    def _finish(self, poses: Poses) -> PlacementResult:
        """Fix what pictures cannot tell: the origin and the scale of the whole."""
        state = self._state
        rows = poses.indices.cpu().numpy()
        center, level = poses.center_xy.cpu().numpy(), poses.level.cpu().numpy()
        half = 2.0 ** -level[:, None] / 2
        low, high = (center - half).min(0), (center + half).max(0)
        octaves = _scale(center, half, level - self._labels[poses.indices].cpu().numpy())
        # A drift of +1 octave says that all patches span half of what their labels say.
        zoom = 2.0**octaves
        all_centers, all_levels = np.zeros_like(state.center_xy), self._labels.cpu().numpy().copy()
        all_centers[rows] = (center - (low + high) / 2) * zoom
        all_levels[rows] = level - octaves
        width, height = ((high - low) * zoom).tolist()
        return PlacementResult(
            all_centers,
            all_levels,
            state.confidence.copy(),
            state.margin.copy(),
            tuple(_REASONS[code] for code in state.status.tolist()),
            (width, height),
        )


def _mean_detail(links: Links, num: int) -> torch.Tensor:
    """Mean of each patch's links' `detail`; 1 where it has none. float32 [num]."""
    total = torch.zeros(num, device=links.detail.device)
    count = torch.zeros_like(total)
    for rows in (links.a, links.b):
        total.index_add_(0, rows, links.detail)
        count.index_add_(0, rows, torch.ones_like(links.detail))
    return torch.where(count > 0, total / count.clamp_min(1.0), 1.0)


def _scale(center: np.ndarray, half: np.ndarray, drift: np.ndarray) -> float:
    """Octaves by which all levels are too high: what the labels and the picture's size say.

    The labels' mean error is taken to be zero. A whole picture, moreover, has a shorter side of one
    field unit; its edges lie about one spacing beyond the outermost patches. Where the two agree
    within their errors they are averaged, each weighing as its error tells; else labels decide.

    Args:
        center: Field units. [N, 2].
        half: Half spans, field units. [N, 1].
        drift: Levels less labels, octaves. [N].
    """
    labelled = float(drift.mean())
    count = min(_EDGE_PATCHES, len(drift))
    first = min(_EDGE_STRAYS, count // 4)
    if count < 2:
        return labelled
    label_error = max(float(drift.std()) / math.sqrt(len(drift)), 1e-9)
    axis = int(((center + half).max(0) - (center - half).min(0)).argmin())
    sizes, gaps = 0.0, []
    for edge in ((center - half)[:, axis], -(center + half)[:, axis]):
        outermost = np.sort(edge)[first:count]
        gap = float(outermost[-1] - outermost[0]) / (len(outermost) - 1)
        sizes -= float(outermost[0]) - (first + 1) * gap
        gaps.append((first + 1) * gap)
    size_error = max(math.hypot(*gaps) / sizes / math.log(2), 1e-9)
    sized = -math.log2(sizes)
    if abs(sized - labelled) > _SIZE_TOLERANCE * math.hypot(size_error, label_error):
        return labelled
    weight = label_error**2 / (label_error**2 + size_error**2)
    return weight * sized + (1 - weight) * labelled
