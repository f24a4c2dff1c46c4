"""Patches that show the same: equal pixels, and nearly equal ones.

Near duplicates are looked for among patches whose 64-bit cosine hash is close, found by sorting the
hashes after each of four rotations and comparing neighbours: bounded work, whatever they look like.
A pair counts only when thumbnails and then full pixels agree, fine structure included, because
plain gradients have equal hashes and equal thumbnails.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from model.data.doctor_scan import Scan, fitted
from model.data.doctor_spectrum import luma
from model.data.images import ImageError
from model.data.patches import PatchCollection

_ROTATIONS = (0, 16, 32, 48)
_REACH = 12
"""Neighbours in each sorted order that a hash is compared with."""
_MAX_BITS = 6
"""Bits by which hashes of the same picture may differ."""
_THUMB_CORRELATION = 0.985
_PIXEL_CORRELATION = 0.98
_DETAIL_CORRELATION = 0.8
_BATCH = 256
_BATCH_PX = 1 << 24


def exact_groups(scan: Scan, skip: np.ndarray) -> list[list[int]]:
    """Indices of patches with equal pixels, two or more a group; `skip` bool [N] leaves out."""
    indices = np.flatnonzero(scan.read & ~skip)
    order = indices[np.argsort(scan.digests[indices], kind="stable")]
    if not len(order):
        return []
    starts = np.flatnonzero(np.diff(scan.digests[order])) + 1
    return sorted(part.tolist() for part in np.split(order, starts) if len(part) > 1)


def near_pairs(scan: Scan, skip: np.ndarray) -> np.ndarray:
    """Candidates: pairs of unlike digests, close hashes and like thumbnails. int64 [M, 2]."""
    indices = np.flatnonzero(scan.read & ~skip)
    hashes = scan.hashes[indices]
    found: list[np.ndarray] = []
    for rotation in _ROTATIONS:
        shift = np.uint64(rotation)
        turned = (hashes << shift) | (hashes >> np.uint64((64 - rotation) % 64))
        order = np.argsort(turned, kind="stable")
        for step in range(1, min(_REACH, len(order) - 1) + 1):
            a, b = order[:-step], order[step:]
            close = np.bitwise_count(hashes[a] ^ hashes[b]) <= _MAX_BITS
            found.append(np.sort(np.stack([a[close], b[close]], 1), axis=1))
    if not found:
        return np.empty((0, 2), np.int64)
    pairs = indices[np.unique(np.concatenate(found), axis=0)]
    unlike = scan.digests[pairs[:, 0]] != scan.digests[pairs[:, 1]]
    pairs = pairs[unlike]
    keep = np.empty(len(pairs), bool)
    for begin in range(0, len(pairs), 65_536):
        part = pairs[begin : begin + 65_536]
        thumbs = [scan.thumbs[part[:, k]].reshape(len(part), -1) for k in (0, 1)]
        keep[begin : begin + len(part)] = _correlation(*thumbs) >= _THUMB_CORRELATION
    return np.asarray(pairs[keep])


def alike_pairs(
    collection: PatchCollection,
    scan: Scan,
    skip: np.ndarray,
    progress: Callable[[float], None] = lambda _fraction: None,
) -> np.ndarray:
    """Pairs of patches that show the same picture but for coding, noise or brightness.

    Decodes the candidates once more, at most some forty a patch. `progress` is called with the
    finished share; whatever it raises cancels. int64 [M, 2].
    """
    pairs = near_pairs(scan, skip)
    same = np.zeros(len(pairs), bool)
    batch = max(1, min(_BATCH, _BATCH_PX // scan.patch_size**2))
    for begin in range(0, len(pairs), batch):
        progress(begin / len(pairs))
        part = pairs[begin : begin + batch]
        needed, where = np.unique(part, return_inverse=True)
        grey = _decoded(collection, scan, needed)
        where = where.reshape(part.shape)
        one, two = grey[where[:, 0]], grey[where[:, 1]]
        alike = _correlation(one, two) >= _PIXEL_CORRELATION
        same[begin : begin + len(part)] = alike & (_detail(one, two) >= _DETAIL_CORRELATION)
    return np.asarray(pairs[same])


def _decoded(collection: PatchCollection, scan: Scan, indices: np.ndarray) -> np.ndarray:
    """Brightness of patches at the set's size, float32 [n, P, P]."""
    size = scan.patch_size
    out = np.zeros((len(indices), size, size), np.float32)
    for slot, index in enumerate(indices.tolist()):
        try:
            image = collection.image(index)
        except (ImageError, MemoryError):
            continue  # changed since it was scanned: it matches nothing
        out[slot] = luma(image if image.shape[:2] == (size, size) else fitted(image, size))
    return out


def _correlation(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Of rows, mean and gain removed; [n, ...] to float32 [n]."""
    a = one.reshape(len(one), -1).astype(np.float32)
    b = two.reshape(len(two), -1).astype(np.float32)
    a -= a.mean(1, keepdims=True)
    b -= b.mean(1, keepdims=True)
    power = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return np.asarray((a * b).sum(1) / np.maximum(power, 1e-3))


def _detail(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Correlation of differences between neighbouring pixels, the lesser of both directions."""
    along = [_correlation(np.diff(one, axis=k), np.diff(two, axis=k)) for k in (1, 2)]
    return np.minimum(*along)


def joined(pairs: np.ndarray) -> list[list[int]]:
    """Groups that the pairs make, each sorted."""
    parent: dict[int, int] = {}

    def root(index: int) -> int:
        while parent.setdefault(index, index) != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for a, b in pairs.tolist():
        one, two = sorted((root(a), root(b)))
        parent[two] = one
    groups: dict[int, list[int]] = {}
    for index in sorted(parent):
        groups.setdefault(root(index), []).append(index)
    return sorted(groups.values())
