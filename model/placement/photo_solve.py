"""From matched photographs to one frame: who is in it, where, and what does not fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.placement.photo_align import Aligned, Mips, align, overlapping
from model.placement.photo_bundle import adjust, connected_sets, residuals, spanning_tree
from model.placement.photo_features import Pair, Progress, part

CONTRADICTION_PX = 4.0
"""Median distance of a pair's points after the bundle at which the pair is a chance match."""
ROUNDS = 2
"""Pixels are compared, and all photographs adjusted, so many times."""
CONFIRMED = 0.3
"""Part of a photograph's textured blocks that must agree with the others."""
FEW_BLOCKS = 6
"""Fewer blocks than these say nothing against a photograph."""


@dataclass(frozen=True)
class Solved:
    """The bundle's result; indices are those of the photographs that went in."""

    h: np.ndarray
    """Normalised coordinates to a common frame. float64 [N, 3, 3]."""
    placed: tuple[int, ...]
    pairs: tuple[Pair, ...]
    """All matches, of features and of blocks, among the placed."""
    agreement: dict[int, float]
    """Part of the textured blocks of a photograph that agree; none where there are none."""
    contradicted: frozenset[int]
    """Photographs that matched, and whose pixels or whose other matches then said no."""


def solve(
    pairs: Sequence[Pair],
    mips: Sequence[Mips],
    progress: Progress,
) -> Solved:
    """Place all photographs that pairs connect; the largest connected set counts.

    Args:
        pairs: Of features; at least one.
        mips: Of each photograph, grey.
        progress: Fraction done, in [0, 1]; what it raises cancels.
    """
    sizes = [m.size_wh for m in mips]
    h, placed, kept = _consistent(pairs, sizes, lambda: progress(0.0))
    matched = set(connected_sets(len(mips), pairs)[0])
    blocks: list[Pair] = []
    agreement: dict[int, float] = {}
    for turn in range(ROUNDS):
        found = _align_all(h, placed, mips, part(progress, turn / ROUNDS, 1 / ROUNDS))
        denied, agreement = _votes(found)
        alive = [p for p in kept if not denied & {p.fine, p.coarse}]
        blocks = [
            f.pair
            for _, _, f in found
            if f.pair is not None and not denied & {f.pair.fine, f.pair.coarse}
        ]
        placed = connected_sets(len(mips), [*alive, *blocks])[0]
        inside = set(placed)
        kept = [p for p in alive if p.fine in inside]
        blocks = [p for p in blocks if p.fine in inside]
        if len(placed) < 2:
            break
        h = adjust(h, [*_in_one_unit(h, kept), *_in_one_unit(h, blocks)], placed[0])
    return Solved(h, tuple(placed), (*kept, *blocks), agreement, frozenset(matched - set(placed)))


def median_px(h: np.ndarray, pair: Pair, size_wh: tuple[int, int]) -> float:
    """Median distance of a pair's points, in pixels of the coarser photograph (of `size_wh`)."""
    plain = replace(pair, whiten=np.broadcast_to(np.eye(2), (len(pair.uv_fine), 2, 2)))
    return float(np.median(np.hypot(*residuals(h, plain).T))) * max(size_wh) / 2


def rms_px(h: np.ndarray, pair: Pair, size_wh: tuple[int, int]) -> float:
    """Root mean square distance, without the farthest tenth; pixels of the coarser photograph."""
    plain = replace(pair, whiten=np.broadcast_to(np.eye(2), (len(pair.uv_fine), 2, 2)))
    lengths = np.sort(np.hypot(*residuals(h, plain).T))
    near = lengths[: max(1, round(0.9 * len(lengths)))]
    return float(np.sqrt((near**2).mean())) * max(size_wh) / 2


def _consistent(
    pairs: Sequence[Pair], sizes_wh: Sequence[tuple[int, int]], tick: Callable[[], None]
) -> tuple[np.ndarray, list[int], list[Pair]]:
    """The bundle of features, without the pairs that contradict it."""
    kept = list(pairs)
    while True:
        h, placed = spanning_tree(len(sizes_wh), kept)
        inside = set(placed)
        kept = [p for p in kept if p.fine in inside]
        h = adjust(h, kept, placed[0], tick=tick)
        gaps = [median_px(h, p, sizes_wh[p.coarse]) for p in kept]
        worst = max(gaps)
        if worst <= CONTRADICTION_PX or len(kept) == 1:
            return h, placed, kept
        # One wrong pair pulls others off with it: only those that stand out go in one turn.
        kept = [
            p for p, gap in zip(kept, gaps, strict=True) if gap < max(CONTRADICTION_PX, worst / 2)
        ]


def _align_all(
    h: np.ndarray, placed: Sequence[int], mips: Sequence[Mips], progress: Progress
) -> list[tuple[int, int, Aligned]]:
    todo = overlapping(h, [m.size_wh for m in mips], placed)
    found = []
    for done, (fine, coarse) in enumerate(todo):
        progress(done / len(todo))
        aligned = align(fine, coarse, mips, np.linalg.solve(h[coarse], h[fine]))
        found.append((fine, coarse, aligned))
    return found


def _votes(found: Sequence[tuple[int, int, Aligned]]) -> tuple[set[int], dict[int, float]]:
    """Photographs whose pixels say no, and the part of each one's blocks that say yes."""
    textured: Counter[int] = Counter()
    agreeing: Counter[int] = Counter()
    for fine, coarse, aligned in found:
        for i in (fine, coarse):
            textured[i] += aligned.textured
            agreeing[i] += aligned.agreeing
    share = {i: agreeing[i] / count for i, count in textured.items() if count}
    denied = {i for i, s in share.items() if s < CONFIRMED and textured[i] >= FEW_BLOCKS}
    return denied, share


def _in_one_unit(h: np.ndarray, pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs with their noise, as it is now, made 1: features and blocks differ in theirs."""
    if not pairs:
        return []
    lengths = np.concatenate([np.hypot(*residuals(h, p).T) for p in pairs])
    noise = max(float(np.median(lengths)) / 1.1774, 1e-6)
    return [replace(p, whiten=p.whiten / noise) for p in pairs]
