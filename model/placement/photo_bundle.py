"""All photographs at once: homographies that make every shared point fall on itself.

Levenberg-Marquardt on the normal equations, with Cauchy weights. Each photograph has a homography
`h` (normalised coordinates to a common frame) and moves by `h @ (1 + delta)`: eight numbers in the
photograph's own units, however small a part of the picture it shows. A residual is a distance in
the coarser photograph of a pair, in standard deviations.

Sources: Brown and Lowe 2007 (bundle adjustment of panoramas); Triggs et al. 2000.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from model.placement.photo_features import Pair, apply_homography

TILT_SIGMA = 0.1
"""Expected perspective of a photograph (change of size from its centre to its edge): a weak prior
that holds photographs with few matches back from absurd shapes."""


def spanning_tree(count: int, pairs: Sequence[Pair]) -> tuple[np.ndarray, list[int]]:
    """First homographies, by way of the strongest pairs.

    Returns:
        `h` float64 [count, 3, 3], identity where nothing is known, and the photographs of the
        largest connected set; the first of them, the one with most matches, is the frame.
    """
    group = connected_sets(count, pairs)[0]
    strength = np.zeros(count)
    for pair in pairs:
        strength[[pair.fine, pair.coarse]] += len(pair.uv_fine)
    root = max(group, key=lambda i: strength[i])
    h = np.tile(np.eye(3), (count, 1, 1))
    known = [root]
    while len(known) < len(group):
        crossing = [p for p in pairs if (p.fine in known) != (p.coarse in known)]
        best = max(
            (p for p in crossing if p.fine in group and p.coarse in group),
            key=lambda p: len(p.uv_fine),
        )
        if best.coarse in known:
            h[best.fine] = h[best.coarse] @ best.transform
            known.append(best.fine)
        else:
            h[best.coarse] = h[best.fine] @ np.linalg.inv(best.transform)
            known.append(best.coarse)
    return h / h[:, 2:, 2:], known


def connected_sets(count: int, pairs: Sequence[Pair]) -> list[list[int]]:
    """Photographs that pairs connect, largest set first; each set ascending."""
    label = list(range(count))
    for pair in pairs:
        a, b = label[pair.fine], label[pair.coarse]
        if a != b:
            label = [min(a, b) if x in (a, b) else x for x in label]
    sets: dict[int, list[int]] = {}
    for i, x in enumerate(label):
        sets.setdefault(x, []).append(i)
    return sorted(sets.values(), key=lambda s: (-len(s), s[0]))


def adjust(
    h: np.ndarray,
    pairs: Sequence[Pair],
    fixed: int,
    iterations: int = 30,
    tick: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Homographies that bring the pairs' points together; `fixed` stays as it is.

    Args:
        h: float64 [N, 3, 3], changed photograph by photograph where `pairs` touch it.
        pairs: What must agree.
        fixed: The photograph that is the frame.
        iterations: At most.
        tick: Called in every iteration; what it raises cancels.
    """
    h = h.copy()
    damping, cost = 1e-4, _cost(h, pairs)
    for _ in range(iterations):
        tick()
        normal, right = _normal_equations(h, pairs, cost[1])
        keep = np.ones(len(right), bool)
        keep[8 * fixed : 8 * fixed + 8] = False
        keep &= normal.diagonal() > 0
        gain = 0.0
        for _ in range(6):
            damped = normal + np.diag(damping * normal.diagonal())
            delta = np.zeros(len(right))
            delta[keep] = np.linalg.solve(damped[np.ix_(keep, keep)], right[keep])
            moved = _moved(h, delta)
            new = _cost(moved, pairs, cost[1])
            if new[0] < cost[0]:
                gain = 1 - new[0] / cost[0]
                h, damping = moved, max(damping / 10, 1e-9)
                break
            damping *= 10
        if gain < 1e-6:
            break
        # The noise is known better now; costs are compared under one estimate at a time only.
        cost = _cost(h, pairs)
    return h


def residuals(h: np.ndarray, pair: Pair) -> np.ndarray:
    """Distances of a pair's points in the coarser photograph, standard deviations. [M, 2]."""
    relative = np.linalg.solve(h[pair.coarse], h[pair.fine])
    gap = apply_homography(relative, pair.uv_fine) - pair.uv_coarse
    return np.einsum("mab,mb->ma", pair.whiten, gap)


def _cost(h: np.ndarray, pairs: Sequence[Pair], noise: float | None = None) -> tuple[float, float]:
    """Cauchy cost, and the noise (median of all residuals' lengths) that it is measured in."""
    lengths = np.concatenate([np.hypot(*residuals(h, p).T) for p in pairs])
    if not np.isfinite(lengths).all():
        return np.inf, noise or 1.0
    if noise is None:
        noise = max(float(np.median(lengths)) / 1.1774, 1e-9)
    perspective = (h[:, 2, :2] / h[:, 2, 2:] / TILT_SIGMA) ** 2
    return float(4 * np.log1p((lengths / noise / 2) ** 2).sum() + perspective.sum()), noise


def _normal_equations(
    h: np.ndarray, pairs: Sequence[Pair], noise: float
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted J^T J [8N, 8N] and -J^T r [8N]."""
    size = 8 * len(h)
    normal, right = np.zeros((size, size)), np.zeros(size)
    for pair in pairs:
        j_fine, j_coarse, r = _jacobians(h, pair)
        weights = 1 / (1 + (r**2).sum(1) / (2 * noise) ** 2) / noise**2
        joined = np.concatenate([j_fine, j_coarse], axis=2)
        weighted = (joined * weights[:, None, None]).reshape(-1, 16)
        block = weighted.T @ joined.reshape(-1, 16)
        force = -weighted.T @ r.reshape(-1)
        at = np.r_[8 * pair.fine : 8 * pair.fine + 8, 8 * pair.coarse : 8 * pair.coarse + 8]
        normal[np.ix_(at, at)] += block
        right[at] += force
    for i in range(len(h)):
        at = np.arange(8 * i + 6, 8 * i + 8)
        if normal[at[0], at[0]] > 0:
            normal[at, at] += 1 / TILT_SIGMA**2
            right[at] -= h[i, 2, :2] / h[i, 2, 2] / TILT_SIGMA**2
    return normal, right


def _jacobians(h: np.ndarray, pair: Pair) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Derivatives of `residuals` by the eight numbers of each photograph [M, 2, 8], and them."""
    relative = np.linalg.solve(h[pair.coarse], h[pair.fine])
    u = np.column_stack([pair.uv_fine, np.ones(len(pair.uv_fine))])
    w = u @ relative.T
    q = w / w[:, 2:]
    r = np.einsum("mab,mb->ma", pair.whiten, q[:, :2] - pair.uv_coarse)
    # d(x / z, y / z) by (x, y, z), at q and per unit of w's third component.
    projection = np.zeros((len(q), 2, 3))
    projection[:, 0, 0] = projection[:, 1, 1] = 1
    projection[:, :, 2] = -q[:, :2]
    projection = pair.whiten @ projection
    by_fine = (projection @ relative) / w[:, 2, None, None]
    j_fine = (by_fine[..., None] * u[:, None, None, :]).reshape(len(q), 2, 9)[..., :8]
    j_coarse = -(projection[..., None] * q[:, None, None, :]).reshape(len(q), 2, 9)[..., :8]
    return j_fine, j_coarse, r


def _moved(h: np.ndarray, delta: np.ndarray) -> np.ndarray:
    """Every `h` times (1 + delta), third diagonal element 1."""
    step = np.zeros((len(h), 9))
    step[:, :8] = delta.reshape(-1, 8)
    moved = h @ (np.eye(3) + step.reshape(-1, 3, 3))
    return moved / moved[:, 2:, 2:]
