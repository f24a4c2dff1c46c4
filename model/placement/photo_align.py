"""Photographs against each other by their pixels: blocks that shift until they fit.

Features say where a photograph is to about a fifth of a pixel; thousands of pixels say it better.
Of every overlapping pair the finer photograph is drawn in the coarser one's place, and in each
block of it one Gauss-Newton step finds the shift that fits best, whatever the light there (gain and
offset of a block are free). The blocks are then points like those of features, for the bundle.

Source: Lucas and Kanade 1981; Baker and Matthews 2004 (gain and offset: Baker, Gross, Matthews
2003, part 3), with the gradient of both images averaged (Benhimane and Malis 2004).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from model.placement.photo_features import Pair, apply_homography, normalising

BLOCK = 32
"""Side of a block, pixels of the coarser photograph."""
REACH_PX = 1.5
"""Largest shift that one step is believed."""
AGREEING = 0.5
"""Correlation of two blocks that show the same."""
TEXTURE = 2.0
"""Least standard deviation of a block, of 255."""
FLOOR_PX = 0.03
"""What a block is never better than: resampling, JPEG. Pixels of the coarser photograph."""
PARTNERS = 14
"""Pairs a photograph, as the finer of the two, at most."""
HALF = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
"""From cv2's coordinates, which count from the first pixel's centre, to ours."""


@dataclass(frozen=True)
class Mips:
    """A photograph at ever half the density."""

    size_wh: tuple[int, int]
    images: tuple[np.ndarray, ...]
    """float32 [H >> m, W >> m] or [H >> m, W >> m, C]."""


@dataclass(frozen=True)
class Aligned:
    """What the blocks of one pair say."""

    pair: Pair | None
    """None where fewer than three blocks agree."""
    textured: int
    """Blocks with something to compare."""
    agreeing: int
    """Those whose correlation is at least `AGREEING`."""


def make_mips(image: np.ndarray, least: int = 16) -> Mips:
    """Averages of 2, 4, 8... pixels, while the shorter side keeps `least`."""
    images: list[np.ndarray] = [image.astype(np.float32)]
    while min(images[-1].shape[:2]) >= 2 * least:
        height, width = (side // 2 for side in images[-1].shape[:2])
        even = images[-1][: 2 * height, : 2 * width]
        images.append(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA))
    return Mips((image.shape[1], image.shape[0]), tuple(images))


def corner_points(size_wh: tuple[int, int]) -> np.ndarray:
    """Normalised corners, in order round the photograph. float64 [4, 2]."""
    width, height = np.array(size_wh) / max(size_wh)
    return np.array([[-width, -height], [width, -height], [width, height], [-width, height]])


def center_density(h: np.ndarray) -> float:
    """Frame units a normalised unit at a photograph's centre."""
    column = h[:2, :2] - np.outer(h[:2, 2], h[2, :2]) / h[2, 2]
    return float(np.sqrt(abs(np.linalg.det(column / h[2, 2]))))


def overlapping(
    h: np.ndarray, sizes_wh: Sequence[tuple[int, int]], placed: Sequence[int]
) -> list[tuple[int, int]]:
    """Pairs (fine, coarse) worth aligning: of each photograph those it shares most pixels with."""
    step = {i: center_density(h[i]) * 2 / max(sizes_wh[i]) for i in placed}
    result = []
    for fine in placed:
        grid = np.stack(np.meshgrid(*[np.linspace(-0.95, 0.95, 12)] * 2), -1).reshape(-1, 2)
        points = apply_homography(h[fine], grid * corner_points(sizes_wh[fine])[2])
        shared = []
        for coarse in placed:
            if coarse == fine or (step[coarse], coarse) < (step[fine], fine):
                continue
            inside = apply_homography(np.linalg.inv(h[coarse]), points)
            part = (np.abs(inside) < corner_points(sizes_wh[coarse])[2]).all(-1).mean()
            # In pixels of the coarser: that is what there is to compare.
            pixels = part * np.prod(sizes_wh[fine]) * (step[fine] / step[coarse]) ** 2
            if pixels > 4 * BLOCK**2:
                shared.append((pixels, coarse))
        result += [(fine, coarse) for _, coarse in sorted(shared, reverse=True)[:PARTNERS]]
    return result


def align(fine: int, coarse: int, mips: Sequence[Mips], transform: np.ndarray) -> Aligned:
    """Shifts of the blocks that photographs `fine` and `coarse` share.

    Args:
        fine, coarse: Indices into `mips`.
        mips: Grey, 0 to 255.
        transform: uv_fine to uv_coarse, right to `REACH_PX` or so.
    """
    to_coarse = normalising(mips[coarse].size_wh)
    to_fine = normalising(mips[fine].size_wh)
    back = np.linalg.inv(to_fine) @ np.linalg.inv(transform) @ to_coarse
    blocks_x, blocks_y = _block_range(mips[fine].size_wh, mips[coarse].size_wh, np.linalg.inv(back))
    if len(blocks_x) == 0 or len(blocks_y) == 0:
        return Aligned(None, 0, 0)
    centers = np.stack(np.meshgrid(blocks_x + 0.5, blocks_y + 0.5), -1) * BLOCK
    x0, y0 = int(blocks_x[0]) * BLOCK, int(blocks_y[0]) * BLOCK
    size = (len(blocks_x) * BLOCK, len(blocks_y) * BLOCK)
    target = mips[coarse].images[0][y0 : y0 + size[1], x0 : x0 + size[0]]
    drawn = draw(mips[fine], back @ np.array([[1, 0, x0], [0, 1, y0], [0, 0, 1]]), size)
    shift, cov, ncc, textured = _block_shifts(_smooth(target), _smooth(drawn))
    textured &= _inside(centers, back, mips[fine].size_wh)
    agree = textured & (ncc > AGREEING)
    use = agree & (np.hypot(*np.moveaxis(shift, -1, 0)) < REACH_PX)
    use &= np.trace(cov, axis1=-2, axis2=-1) < 0.5
    counts = int(textured.sum()), int(agree.sum())
    if np.count_nonzero(use) < 3:
        return Aligned(None, *counts)
    at = centers[use]
    uv_fine = apply_homography(to_fine, apply_homography(back, at + shift[use]))
    # The inverse of a covariance, as a product W^T W; per normalised unit.
    information = np.linalg.inv(cov[use] + FLOOR_PX**2 * np.eye(2))
    whiten = np.swapaxes(np.linalg.cholesky(information), -1, -2) / to_coarse[0, 0]
    pair = Pair(fine, coarse, uv_fine, apply_homography(to_coarse, at), whiten, transform)
    return Aligned(pair, *counts)


def _block_range(
    fine_wh: tuple[int, int], coarse_wh: tuple[int, int], forward: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows of whole blocks of the coarse photograph that the fine one may cover."""
    width, height = fine_wh
    corners = apply_homography(
        forward, np.array([[0, 0], [width, 0], [width, height], [0, height]])
    )
    low = np.maximum(np.ceil(corners.min(0) / BLOCK), 0).astype(int)
    high = np.minimum(np.floor(corners.max(0) / BLOCK), np.array(coarse_wh) // BLOCK).astype(int)
    return np.arange(low[0], high[0]), np.arange(low[1], high[1])


def draw(fine: Mips, back: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """A photograph in other pixels, band-limited to them where they are coarser; cubic.

    Args:
        fine: The photograph.
        back: Pixels of the result to pixels of the photograph.
        size_wh: Width and height of the result.

    Returns:
        float32 [H, W], or [H, W, C] as `fine` has it; 0 outside the photograph.
    """
    middle = np.array(size_wh) / 2
    near = apply_homography(back, middle + np.array([[0, 0], [1, 0], [0, 1]]))
    step = np.sqrt(abs(np.linalg.det(near[1:] - near[0])))
    mip = int(np.clip(np.floor(np.log2(max(step, 1))), 0, len(fine.images) - 1))
    image, left = fine.images[mip], step / 2**mip
    if left > 1.05:
        image = cv2.GaussianBlur(image, (0, 0), 0.5 * np.sqrt(left**2 - 1))
    shrink = np.diag([0.5**mip, 0.5**mip, 1])
    index_map = np.linalg.inv(HALF) @ shrink @ back @ HALF
    return cv2.warpPerspective(
        image, index_map, size_wh, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    )


def _inside(centers: np.ndarray, back: np.ndarray, fine_wh: tuple[int, int]) -> np.ndarray:
    """Which blocks lie whole inside the fine photograph. bool [ny, nx]."""
    reach = BLOCK / 2 + 3
    ok = np.ones(centers.shape[:2], bool)
    for corner in ((-reach, -reach), (reach, -reach), (reach, reach), (-reach, reach)):
        at = apply_homography(back, centers + np.array(corner))
        ok &= ((at > 2) & (at < np.array(fine_wh) - 2)).all(-1)
    return ok


def _smooth(image: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), 1.0)


def _block_shifts(
    target: np.ndarray, drawn: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Per block: shift [ny, nx, 2], its covariance [ny, nx, 2, 2], correlation, has texture."""

    def blocks(image: np.ndarray) -> np.ndarray:
        rows, columns = image.shape[0] // BLOCK, image.shape[1] // BLOCK
        split = image.reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2)
        cut = split.reshape(rows, columns, BLOCK**2)
        return cut - cut.mean(-1, keepdims=True)

    def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.einsum("yxn,yxn->yx", a, b)

    there, here = blocks(target), blocks(drawn)
    tiny = 1e-6
    energy_there, energy_here = dot(there, there) + tiny, dot(here, here) + tiny
    product = dot(there, here)
    gain = product / energy_here
    rest = there - gain[..., None] * here
    gradients = []
    for axis in (1, 0):
        slopes = [blocks(np.gradient(image, axis=axis)) for image in (target, drawn)]
        slope = 0.5 * (slopes[0] + gain[..., None] * slopes[1])
        gradients.append(slope - (dot(slope, here) / energy_here)[..., None] * here)
    gx, gy = gradients
    xx, xy, yy = dot(gx, gx) + tiny, dot(gx, gy), dot(gy, gy) + tiny
    det = np.maximum(xx * yy - xy**2, tiny)
    inverse = (
        np.stack([np.stack([yy, -xy], -1), np.stack([-xy, xx], -1)], -2) / det[..., None, None]
    )
    force = np.stack([dot(gx, rest), dot(gy, rest)], -1)
    shift = np.einsum("yxab,yxb->yxa", inverse, force)
    # Smoothing by one pixel ties about six neighbours' noise together.
    left = np.maximum(dot(rest, rest) - (shift * force).sum(-1), tiny)
    cov = inverse * (6 * left / BLOCK**2)[..., None, None]
    textured = energy_there > (TEXTURE * BLOCK) ** 2
    return shift, cov, product / np.sqrt(energy_there * energy_here), textured
