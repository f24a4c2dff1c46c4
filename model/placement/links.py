"""Pairs of patches that overlap, and by how much their places contradict what both show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from kernels.resample import resample
from model.placement.canvas import Patches, Poses
from model.placement.refine import correlations, normal_equations, without_means
from model.placement.workers import Workers, batches

_SIDE = 32
"""Pixels a side that are compared, at most."""
_PER_BIN = (4, 3, 2, 1, 1)
"""Links of a patch to others of its own half octave, of the next coarser half octave, ..."""
_PER_CELL = 4
_MIN_OVERLAP_PX = 12
"""Pixels of the coarser patch, along each axis, that both must show."""
_ITERATIONS = 2
_MAX_MOVE_PX = 3.0
_MIN_NOISE = 1.0
"""Grey values; what two patches differ by at least."""
_FLOOR_PX = 0.02
"""Pixels; no link is more certain than this."""
_BATCH = 256


@dataclass(frozen=True)
class Links:
    """What overlapping pairs say. Rows are links; `a` is the coarser patch, pixels are its own."""

    a: torch.Tensor
    """Row of the coarser patch in the poses. int64 [M]."""
    b: torch.Tensor
    """Row of the finer patch. int64 [M]."""
    at_a: torch.Tensor
    """Where it was measured, pixels from the middle of `a`. float64 [M, 2]."""
    at_b: torch.Tensor
    """The same place from the middle of `b`, in pixels of `a`. float64 [M, 2]."""
    ratio: torch.Tensor
    """Pixels of `a` that a pixel of `b` spans. float64 [M]."""
    move: torch.Tensor
    """How `b` should move against `a`: pixels of `a`, and log scale. float64 [M, 3]."""
    information: torch.Tensor
    """Inverse covariance of `move`. float64 [M, 3, 3]."""
    detail: torch.Tensor
    """Correlation of neighbouring pixels' differences where both overlap. float32 [M]."""

    def __len__(self) -> int:
        return self.a.shape[0]

    def __getitem__(self, rows: torch.Tensor) -> Links:
        return Links(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def overlapping(poses: Poses, patch_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs to compare: some of its own level and some coarser ones for every patch.

    Returns:
        Rows of the coarser and of the finer patches, int64 [M] each, every pair once.
    """
    bins = (poses.level * 2).floor().long()
    found = []
    for number in bins.unique().tolist():
        query = (bins == number).nonzero()[:, 0]
        for down, count in enumerate(_PER_BIN):
            target = (bins == number - down).nonzero()[:, 0]
            if len(target):
                cell = 2.0 ** -((number - down) / 2)
                found.append(_near(poses, query, target, cell, count, patch_size))
    pairs = torch.cat(found) if found else torch.empty(0, 2, dtype=torch.int64)
    level = poses.level[pairs]
    swap = (level[:, 0] > level[:, 1]) | (
        (level[:, 0] == level[:, 1]) & (pairs[:, 0] > pairs[:, 1])
    )
    pairs = torch.where(swap[:, None], pairs.flip(1), pairs)
    pairs = pairs.unique(dim=0)
    return pairs[:, 0], pairs[:, 1]


def measure(
    patches: Patches, poses: Poses, a: torch.Tensor, b: torch.Tensor, workers: Workers
) -> Links:
    """Compare each pair where it overlaps.

    Args:
        patches: All patches.
        poses: Where they lie now.
        a, b: Rows of the coarser and the finer of each pair. int64 [M].
        workers: Who does it.
    """
    work = partial(_measure, patches, poses, a, b)
    parts = list(workers.map(work, batches(len(a), _BATCH))) or [work(slice(0, 0))]
    return Links(
        *(torch.cat([getattr(p, name) for p in parts]) for name in Links.__dataclass_fields__)
    )


def _near(
    poses: Poses,
    query: torch.Tensor,
    target: torch.Tensor,
    cell: float,
    count: int,
    patch_size: int,
) -> torch.Tensor:
    """For each of `query`, up to `count` of `target` that overlap it enough: int64 [M, 2]."""
    center = poses.center_xy
    low = torch.minimum(center[target].amin(0), center[query].amin(0)) - 2 * cell
    place_t, place_q = (((center[rows] - low) / cell).floor().long() for rows in (target, query))
    columns = int(max(place_t[:, 0].max(), place_q[:, 0].max())) + 3
    key = place_t[:, 1] * columns + place_t[:, 0]
    key, order = key.sort(stable=True)
    target = target[order]
    steps = torch.tensor([-1, 0, 1], device=key.device)
    around = (steps[:, None] * columns + steps).flatten()
    wanted = (place_q[:, 1] * columns + place_q[:, 0])[:, None] + around  # [Q, 9]
    first = torch.searchsorted(key, wanted)
    number = torch.searchsorted(key, wanted, right=True) - first
    pick = torch.arange(_PER_CELL, device=key.device)
    # Members of a full cell are taken in turn, from another beginning for every patch.
    turn = query[:, None, None] * 7919 + pick * number[:, :, None].div(_PER_CELL).ceil().long()
    at = first[:, :, None] + turn % number[:, :, None].clamp_min(1)
    other = target[at.clamp(max=len(target) - 1)].flatten(1)
    valid = (pick < number[:, :, None]).flatten(1)
    mine = query[:, None].expand_as(other)
    span = 2.0**-poses.level
    reach = (span[mine] + span[other]) / 2
    apart = (center[mine] - center[other]).abs()
    common = (reach[:, :, None] - apart).amin(2) / torch.maximum(span[mine], span[other])
    valid &= (common * patch_size >= _MIN_OVERLAP_PX) & (mine != other)
    # Long links hold the picture together, short ones are exact: take a mixture, not the nearest.
    rank = torch.where(valid, (query[:, None] * 31 + other * 17) % 101, 1000)
    rank, chosen = rank.topk(min(count, rank.shape[1]), dim=1, largest=False)
    pairs = torch.stack([mine.gather(1, chosen), other.gather(1, chosen)], -1)
    return pairs[rank < 1000]


def _measure(
    patches: Patches, poses: Poses, a: torch.Tensor, b: torch.Tensor, rows: slice
) -> Links:
    """`measure` for some rows."""
    a, b = a[rows], b[rows]
    side = patches.size
    size = min(_SIDE, side)
    density = side * 2.0 ** poses.level[a]
    ratio = 2.0 ** (poses.level[a] - poses.level[b])
    center_b = (poses.center_xy[b] - poses.center_xy[a]) * density[:, None] + side / 2
    half = side / 2 * ratio[:, None]
    middle = ((center_b - half).clamp_min(0.0) + (center_b + half).clamp_max(side)) / 2
    first = (middle - size / 2).round().clamp(0, side - size).long()
    place = torch.arange(size, device=patches.device)
    image_a = patches.load(poses.indices[a]).mean(1)
    row, column = (first[:, i, None] + place for i in (1, 0))
    image_a = image_a[
        torch.arange(len(a), device=a.device)[:, None, None], row[:, :, None], column[:, None]
    ][:, None]
    image_b = patches.load(poses.indices[b]).mean(1, keepdim=True)
    step = 1 / ratio
    origin_b = side / 2 + (first - center_b) * step[:, None]
    at = origin_b[:, :, None] + (place + 0.5) * step[:, None, None]
    inside = (torch.minimum(at, side - at) > step[:, None, None] / 2 + 0.5).float()
    weight = (inside[:, 1, :, None] * inside[:, 0, None, :])[:, None]
    template = without_means(image_a, weight)
    descent, inverse = normal_equations(template, weight)
    power = template.square().sum((1, 2, 3)).clamp_min(1e-6)
    middle_b = origin_b + size / 2 * step[:, None]
    move = torch.zeros_like(middle_b)
    stretch = torch.zeros_like(step)
    for turn in range(_ITERATIONS + 1):
        spacing = step * stretch.exp()
        corner = middle_b + move * step[:, None] - size / 2 * spacing[:, None]
        seen = without_means(resample(image_b, corner, spacing, (size, size)), weight)
        if turn == _ITERATIONS:
            break
        gain = ((seen * template).sum((1, 2, 3)) / power).double().clamp_min(0.2)
        right = torch.einsum("npk,np->nk", descent, seen.flatten(1)).double()
        delta = (inverse @ right[:, :, None])[:, :, 0] / gain[:, None]
        delta = delta.clamp(-1.0, 1.0)
        move = (move - stretch.exp()[:, None] * delta[:, :2]).clamp(-_MAX_MOVE_PX, _MAX_MOVE_PX)
        stretch = (stretch - delta[:, 2]).clamp(-0.2, 0.2)
    _, detail = correlations(seen, template, weight)
    count = weight.sum((1, 2, 3)).clamp_min(1.0)
    gain = ((seen * template).sum((1, 2, 3)) / power)[:, None, None, None]
    noise = ((seen - gain * template).square().sum((1, 2, 3)) / count).clamp_min(_MIN_NOISE**2)
    floor = torch.tensor(
        [_FLOOR_PX, _FLOOR_PX, _FLOOR_PX / (size / 2)], dtype=torch.float64, device=a.device
    )
    covariance = inverse * noise.double()[:, None, None] + floor.square().diag()
    from_middle = first + size / 2 - side / 2
    return Links(
        a,
        b,
        from_middle.double(),
        from_middle + side / 2 - center_b,
        ratio,
        -torch.cat([move, stretch[:, None]], 1),
        torch.linalg.inv(covariance),
        detail,
    )
