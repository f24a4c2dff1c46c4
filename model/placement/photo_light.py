"""Uneven light: each photograph's exposure, white balance, vignette and slant, undone.

Where two photographs show the same thing, the ratio of their linear values is the ratio of their
gains there. A gain is, per photograph and in logarithms, a constant a colour and four smooth shapes
that all colours share: r^2 and r^4 (lens and vignette), x and y (a lamp to one side). Robust least
squares over all overlaps; what no overlap can tell (a slant of everything) stays small.

Source: Goldman 2010 (vignette and exposure from overlapping photographs); the slant is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from model.placement.photo_align import Mips, make_mips
from model.placement.photo_features import apply_homography, normalising

CELL_PX = 8
"""Side of the means that are compared, pixels of the coarser photograph, at least."""
SHAPES = 4
UNKNOWNS = 3 + SHAPES
PRIOR_SIGMA = np.array([1.0, 1.0, 1.0, 0.5, 0.5, 0.2, 0.2])
"""Expected logarithms: red, green, blue, r^2, r^4, x, y."""
NOISE = 0.05
"""Noise of a logarithm of a ratio; beyond twice as much counts little."""
SAMPLES = 200
"""Cells compared a pair, at most."""
INDEPENDENT = 5
"""Cells that a pair counts for. What is wrong about some (blur, grain) is wrong about all alike: a
hundred cells taken for a hundred proofs add up to a slant of the whole picture."""
RANGE = (4, 250)
"""Values in between are neither clipped nor noise."""


@dataclass(frozen=True)
class Light:
    """The gain of one photograph."""

    log_gain: tuple[float, float, float]
    """Of red, green and blue at its centre; mean over all photographs 0."""
    shape: tuple[float, float, float, float]
    """Of r^2, r^4, x and y; normalised coordinates (half the longer side is 1)."""


def to_linear(image: np.ndarray) -> np.ndarray:
    """uint8 sRGB to linear light in [0, 1], float32 (IEC 61966-2-1)."""
    v = np.arange(256) / 255
    table = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return table[image]


def to_srgb(linear: np.ndarray) -> np.ndarray:
    """Linear light to sRGB values from 0 to 255, float32; what is outside [0, 1] is cut off."""
    v = np.clip(linear, 0, 1)
    return 255 * np.where(v <= 0.0031308, 12.92 * v, 1.055 * v ** (1 / 2.4) - 0.055)


def light_mips(image: np.ndarray) -> Mips:
    """Linear means of a photograph (uint8 [H, W, 3]) and, as a fourth channel, what is clipped.

    The finest of them has cells of `CELL_PX`.
    """
    height, width = (side // CELL_PX for side in image.shape[:2])
    even = image[: CELL_PX * height, : CELL_PX * width]
    clipped = (even < RANGE[0]).any(-1) | (even > RANGE[1]).any(-1)
    both = np.dstack([to_linear(even), clipped.astype(np.float32)])
    means = cv2.resize(both, (width, height), interpolation=cv2.INTER_AREA)
    return Mips((image.shape[1], image.shape[0]), make_mips(means, least=2).images)


def even_light(
    pairs: Sequence[tuple[int, int, np.ndarray]], mips: Sequence[Mips]
) -> dict[int, Light]:
    """The gain of every photograph that overlaps another.

    Args:
        pairs: Indices of the finer and the coarser photograph, and uv_fine to uv_coarse.
        mips: From `light_mips`.
    """
    seen = [(fine, coarse, *_ratios(mips[fine], mips[coarse], h)) for fine, coarse, h in pairs]
    seen = [s for s in seen if len(s[2])]
    indices = sorted({i for s in seen for i in s[:2]})
    if not indices:
        return {}
    place = {i: n for n, i in enumerate(indices)}
    unknown: np.ndarray = np.zeros(UNKNOWNS * len(indices))
    for _ in range(6):
        normal = np.diag(np.tile(1 / PRIOR_SIGMA**2, len(indices)))
        right = np.zeros(len(unknown))
        for fine, coarse, at_fine, at_coarse, logs in seen:
            at = np.concatenate([UNKNOWNS * place[i] + np.arange(UNKNOWNS) for i in (fine, coarse)])
            for colour in range(3):
                rows = np.column_stack([_basis(at_fine, colour), -_basis(at_coarse, colour)])
                rest = logs[:, colour] - rows @ unknown[at]
                weights = 1 / (1 + (rest / NOISE / 2) ** 2) / NOISE**2 * INDEPENDENT / len(rest)
                normal[np.ix_(at, at)] += rows.T @ (rows * weights[:, None])
                right[at] += rows.T @ (weights * logs[:, colour])
        unknown = np.linalg.solve(normal, right)
    solved = unknown.reshape(-1, UNKNOWNS)
    solved[:, :3] -= solved[:, :3].mean(0)
    return {
        i: Light(tuple(row[:3].tolist()), tuple(row[3:].tolist()))
        for i, row in zip(indices, solved, strict=True)
    }


def evened(image: np.ndarray, light: Light | None) -> np.ndarray:
    """A photograph (uint8 [H, W, 3]) without its gain: sRGB values 0 to 255, float32."""
    if light is None:
        return image.astype(np.float32)
    height, width = image.shape[:2]
    to_uv = normalising((width, height))
    x = ((np.arange(width) + 0.5) * to_uv[0, 0] + to_uv[0, 2])[None]
    y = ((np.arange(height) + 0.5) * to_uv[1, 1] + to_uv[1, 2])[:, None]
    r2 = x**2 + y**2
    a, b, c, d = light.shape
    smooth = np.exp(-(a * r2 + b * r2**2 + c * x + d * y)).astype(np.float32)
    gain = np.exp(-np.array(light.log_gain)).astype(np.float32)
    return to_srgb(to_linear(image) * smooth[..., None] * gain).astype(np.float32)


def _basis(uv: np.ndarray, colour: int) -> np.ndarray:
    """What the unknowns of one photograph add up to at `uv` [M, 2]: [M, UNKNOWNS]."""
    r2 = (uv**2).sum(1)
    rows = np.zeros((len(uv), UNKNOWNS))
    rows[:, colour] = 1
    rows[:, 3], rows[:, 4], rows[:, 5], rows[:, 6] = r2, r2**2, uv[:, 0], uv[:, 1]
    return rows


def _ratios(
    fine: Mips, coarse: Mips, transform: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places in both photographs, and the log of fine over coarse there: [M, 2], [M, 2], [M, 3]."""
    cells = coarse.images[0]
    rows, columns = cells.shape[:2]
    index = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).reshape(-1, 2)
    uv_coarse = apply_homography(normalising(coarse.size_wh), (index + 0.5) * CELL_PX)
    uv_fine = apply_homography(np.linalg.inv(transform), uv_coarse)
    pixels = apply_homography(np.linalg.inv(normalising(fine.size_wh)), uv_fine)
    # A cell of the coarse photograph spans this many pixels of the fine one.
    span = CELL_PX * np.sqrt(1 / abs(np.linalg.det(transform[:2, :2])))
    span *= max(fine.size_wh) / max(coarse.size_wh)
    mip = int(np.clip(round(np.log2(max(span / CELL_PX, 1))), 0, len(fine.images) - 1))
    cell = CELL_PX * 2**mip
    reach = max(span, cell) / 2
    keep = ((pixels > reach) & (pixels < np.array(fine.size_wh) - reach)).all(1)
    keep &= cells[index[:, 1], index[:, 0], 3] < 0.02
    chosen = np.flatnonzero(keep)
    chosen = chosen[:: max(1, len(chosen) // SAMPLES)]
    if len(chosen) == 0:
        return np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 3))
    at = (pixels[chosen] / cell - 0.5).astype(np.float32)
    there = cv2.remap(
        fine.images[mip],
        at[:, :1],
        at[:, 1:],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )[:, 0]
    here = cells[index[chosen, 1], index[chosen, 0]]
    good = (there[:, 3] < 0.02) & (np.minimum(there[:, :3], here[:, :3]) > 1e-4).all(1)
    chosen = chosen[good]
    logs = np.log(there[good, :3] / here[good, :3])
    return uv_fine[chosen], uv_coarse[chosen], logs
