"""Which photographs show the same part of a picture: features, matches, verified pairs.

SIFT finds points that look the same from any distance and roll; the ratio test and the cross check
keep matches that are the only good one from both sides; what is left must agree on one change of
size and angle, and then, under MAGSAC, on one homography.

Coordinates: pixels count from the photograph's top left edge (centres at half-integers);
*normalised* ones (`uv`) are centred in the photograph and in units of half its longer side.

Sources: Lowe 2004 (SIFT, ratio test, votes for size and angle); Arandjelovic and Zisserman 2012
(RootSIFT); Barath et al. 2020 (MAGSAC++), as OpenCV has them; Brown and Lowe 2007, section 3.2 (how
many inliers are too many to be chance).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np

Progress = Callable[[float], None]

QUICK_FEATURES = 1200
"""Features a photograph in the first look at every pair."""
ENOUGH = 60
"""Matches that need no second look: pixels will say the rest (`photo_align`)."""
MOST_FEATURES = 4000
"""Features a photograph in the second look."""
LARGE_PX = 3.0
"""Diameter of features that a photograph twice as coarse may share, pixels."""
RATIO = 0.85
"""Distance of the nearest descriptor over that of the second, at most. Lowe's 0.8 loses matches
across three octaves; the votes on size and angle make up for what else comes through."""
RANSAC_PX = 2.5
"""Inlier distance in pixels of the coarser photograph."""
MIN_INLIERS = 9
"""Matches that must agree on size and angle, and then on a homography."""


@dataclass(frozen=True)
class Features:
    """Points of one photograph."""

    uv: np.ndarray
    """Normalised. float64 [K, 2]."""
    size: np.ndarray
    """Diameter, normalised. float64 [K]."""
    angle: np.ndarray
    """Degrees. float64 [K]."""
    strength: np.ndarray
    """Contrast. float64 [K]."""
    descriptors: np.ndarray
    """RootSIFT, unit length. float32 [K, 128]."""

    def subset(self, index: np.ndarray) -> Features:
        """Those at `index`."""
        return Features(
            self.uv[index],
            self.size[index],
            self.angle[index],
            self.strength[index],
            self.descriptors[index],
        )


@dataclass(frozen=True)
class Pair:
    """Points that two photographs share. `fine` sees more closely than `coarse`, or as closely."""

    fine: int
    coarse: int
    uv_fine: np.ndarray
    """Normalised. float64 [M, 2]."""
    uv_coarse: np.ndarray
    """Normalised. float64 [M, 2]."""
    whiten: np.ndarray
    """From a distance in `uv_coarse` to standard deviations. float64 [M, 2, 2]."""
    transform: np.ndarray
    """uv_fine to uv_coarse. float64 [3, 3]."""


def part(progress: Progress, begin: float, share: float) -> Progress:
    """Progress of a piece of the work: `share` of all, from `begin`."""
    return lambda fraction: progress(begin + share * fraction)


def normalising(size_wh: tuple[int, int]) -> np.ndarray:
    """Pixels of a photograph to normalised coordinates. float64 [3, 3]."""
    width, height = size_wh
    half = max(size_wh) / 2
    return np.array(
        [[1 / half, 0, -width / 2 / half], [0, 1 / half, -height / 2 / half], [0, 0, 1]]
    )


def apply_homography(h: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points [..., 2] through `h` [3, 3]."""
    moved = points @ h[:, :2].T + h[:, 2]
    return moved[..., :2] / moved[..., 2:]


def find_features(grey: np.ndarray, most: int) -> Features:
    """SIFT features of a photograph (uint8 [H, W]), the `most` strongest of them."""
    # Weak contrast is kept: a dark photograph of paint has little of it, and matching is strict.
    sift = cv2.SIFT.create(contrastThreshold=0.02, enable_precise_upscale=True)
    points, descriptors = sift.detectAndCompute(grey, None)
    if not points:
        empty = np.zeros(0)
        return Features(np.zeros((0, 2)), empty, empty, empty, np.zeros((0, 128), np.float32))
    height, width = grey.shape
    half = max(width, height) / 2
    xy = np.array([p.pt for p in points]) + 0.5  # cv2 counts from the first pixel's centre
    root = np.sqrt(descriptors / np.maximum(descriptors.sum(1, keepdims=True), 1e-9))
    features = Features(
        (xy - (width / 2, height / 2)) / half,
        np.array([p.size for p in points]) / half,
        np.array([p.angle for p in points]),
        np.array([p.response for p in points]),
        root.astype(np.float32),
    )
    return features.subset(np.argsort(-features.strength, kind="stable")[:most])


def large_and_strong(features: Features, most: int) -> Features:
    """The `most / 2` largest and the strongest of the others.

    Large ones are few, and all that a much coarser photograph can share.
    """
    by_size = np.argsort(-features.size, kind="stable")
    large, rest = by_size[: most // 2], by_size[most // 2 :]
    strong = rest[np.argsort(-features.strength[rest], kind="stable")[: most - len(large)]]
    return features.subset(np.concatenate([large, strong]))


def find_pairs(
    features: Sequence[Features], sizes_wh: Sequence[tuple[int, int]], progress: Progress
) -> list[Pair]:
    """Every two photographs that show a common part, with the points that say so.

    Every pair is looked at with `QUICK_FEATURES`, the weak ones then with `MOST_FEATURES`:
    time grows with the square of the number of photographs (60: half a minute on two cores).

    Args:
        features: Of each photograph.
        sizes_wh: Of each photograph, pixels.
        progress: Fraction done, in [0, 1]; what it raises cancels.
    """
    quick = [large_and_strong(f, QUICK_FEATURES) for f in features]
    more = [large_and_strong(f, MOST_FEATURES) for f in features]
    pairs = []
    every = list(combinations(range(len(features)), 2))
    for done, (a, b) in enumerate(every):
        progress(done / len(every))
        pair = _verified(a, b, quick[a], quick[b], sizes_wh)
        if pair is not None and len(pair.uv_fine) < ENOUGH:
            pair = _verified(a, b, more[a], more[b], sizes_wh) or pair
        if pair is not None:
            pairs.append(pair)
    return pairs


def find_distant_pairs(
    features: Sequence[Features],
    sizes_wh: Sequence[tuple[int, int]],
    loose: Sequence[int],
    placed: Sequence[int],
    progress: Progress,
) -> list[Pair]:
    """Pairs of photographs octaves apart: the large features of one with all of the other.

    Args:
        features, sizes_wh: Of each photograph.
        loose: Photographs that `find_pairs` did not connect to those in `placed`.
        placed: Where they are looked for; and, less likely, which are looked for in them.
        progress: Fraction done, in [0, 1]; what it raises cancels.
    """
    large = [
        f.subset(np.flatnonzero(f.size * max(size) / 2 > LARGE_PX))
        for f, size in zip(features, sizes_wh, strict=True)
    ]
    pairs = []
    for done, a in enumerate(loose):
        found = []
        for first, second in ((large, features), (features, large)):
            for b in placed:
                progress(done / len(loose))
                found.append(_verified(a, b, first[a], second[b], sizes_wh))
            if any(found):
                break
        pairs += [pair for pair in found if pair is not None]
    return pairs


def _verified(
    a: int, b: int, of_a: Features, of_b: Features, sizes_wh: Sequence[tuple[int, int]]
) -> Pair | None:
    """The pair of `a` and `b` if enough matches agree on one plausible homography."""
    index_a, index_b = match_descriptors(of_a.descriptors, of_b.descriptors)
    if len(index_a) < MIN_INLIERS:
        return None
    octaves = np.log2(of_a.size[index_a] / of_b.size[index_b])
    turn = of_a.angle[index_a] - of_b.angle[index_b]
    keep = agreeing(octaves, turn)
    if np.count_nonzero(keep) < MIN_INLIERS:
        return None
    fine, coarse = of_a.subset(index_a[keep]), of_b.subset(index_b[keep])
    # Sizes in pixels say which of the two sees more closely: there the same thing is larger.
    larger = np.median(octaves[keep]) + np.log2(max(sizes_wh[a]) / max(sizes_wh[b]))
    if larger < 0:
        a, b, fine, coarse = b, a, coarse, fine
    half = max(sizes_wh[b]) / 2
    found, mask = cv2.findHomography(
        fine.uv * half,
        coarse.uv * half,
        cv2.USAC_MAGSAC,
        RANSAC_PX,
        maxIters=3000,
        confidence=0.999,
    )
    if not np.isfinite(np.asarray(found, float)).all():  # None, where there is none
        return None
    inside = mask.ravel().astype(bool)
    count = int(inside.sum())
    if count < max(MIN_INLIERS, 5.9 + 0.22 * len(inside)):
        return None
    uv_fine, uv_coarse = fine.uv[inside], coarse.uv[inside]
    transform = fit_transform(uv_fine, uv_coarse)
    if transform is None or not _plausible(transform, sizes_wh[a]):
        return None
    # A feature is found about as exactly, in parts of its own size, however large it is.
    whiten = np.eye(2) / (0.05 * coarse.size[inside])[:, None, None]
    return Pair(a, b, uv_fine, uv_coarse, whiten, transform)


def match_descriptors(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices into unit descriptors `a` [K, D] and `b` [L, D] of matches that pass both tests."""
    if len(a) < 2 or len(b) < 2:
        none = np.zeros(0, np.int64)
        return none, none
    similarity = a @ b.T
    rows = np.arange(len(a))
    best = similarity.argmax(1)
    first = similarity[rows, best]
    similarity[rows, best] = -1
    second = similarity.max(1)
    similarity[rows, best] = first
    passed = np.flatnonzero(1 - first < RATIO**2 * (1 - second))
    mutual = similarity[:, best[passed]].max(0) <= first[passed]
    passed = passed[mutual]
    return passed, best[passed]


def agreeing(octaves: np.ndarray, turn_deg: np.ndarray) -> np.ndarray:
    """Which matches agree with most others on a change of size (octaves) and a turn. bool [M].

    A Hough vote in boxes of half an octave and 20 degrees, each with its neighbours.
    """
    num_o, num_t = 24, 18
    box_o = np.clip(np.floor(octaves * 2).astype(int) + num_o // 2, 0, num_o - 1)
    box_t = np.floor(turn_deg / 20).astype(int) % num_t
    votes = np.zeros((num_o, num_t))
    np.add.at(votes, (box_o, box_t), 1)
    votes = votes + np.roll(votes, 1, 1) + np.roll(votes, -1, 1)
    votes[1:-1] = votes[:-2] + votes[1:-1] + votes[2:]
    best_o, best_t = np.unravel_index(votes.argmax(), votes.shape)
    apart = np.abs(box_t - best_t)
    return (np.abs(box_o - best_o) <= 1) & (np.minimum(apart, num_t - apart) <= 1)


def fit_transform(uv_fine: np.ndarray, uv_coarse: np.ndarray) -> np.ndarray | None:
    """Least-squares map between inliers: a homography, or, of fewer than 40, an affine map."""
    if len(uv_fine) >= 40:
        found = cv2.findHomography(uv_fine, uv_coarse, 0)[0]
        return None if found is None else found / found[2, 2]
    design = np.column_stack([uv_fine, np.ones(len(uv_fine))])
    solved, _, rank, _ = np.linalg.lstsq(design, uv_coarse, rcond=None)
    return np.vstack([solved.T, [0, 0, 1]]) if rank == 3 else None


def _plausible(transform: np.ndarray, size_wh: tuple[int, int]) -> bool:
    """Whether a camera can have seen it so: not mirrored, no horizon inside, little distortion."""
    width, height = np.array(size_wh) / max(size_wh)
    corners = np.array([[-width, -height], [width, -height], [width, height], [-width, height]])
    depth = corners @ transform[2, :2] + transform[2, 2]
    if (depth <= 0).any() or depth.max() > 2 * depth.min():
        return False
    stretch = np.linalg.svd(transform[:2, :2], compute_uv=False)
    return bool(np.linalg.det(transform) > 0 and stretch[0] < 1.6 * stretch[1])
