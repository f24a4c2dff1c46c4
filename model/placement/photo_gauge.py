"""What photographs leave open: how the picture as a whole is stretched, turned and placed.

Matches fix all photographs up to one homography of the whole. Three things choose it.
Every photograph is a view by a camera with square pixels, its axis in the middle, and one focal
length for all: that fixes the shape, up to a similarity (Triggs 1998, autocalibration from planar
scenes; Zhang 2000, equations 3 and 4). People hold cameras upright: the mean roll is zero, of those
photographs that were taken from one side. And the field is the smallest upright rectangle round all
photographs: centred, shorter side 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.placement.photo_align import center_density, corner_points
from model.placement.photo_features import apply_homography

USUAL_FOCAL = 2.0
"""Focal length over half the longer side: between a phone (1.4) and a normal lens (2.8)."""
FOCAL_SIGMA = 0.7
"""Uncertainty of its logarithm."""
TILT_SIGMA = 0.2
"""Expected tilt of a photograph, radians: what decides where few photographs say little."""
ONE_SIDE = np.pi / 4
"""Radians within which rolls are those of cameras held alike; a scan may lie on any side."""
SHAPE_SIGMA = 2e-3
"""Noise of a photograph's own shape: how far from equal and square its axes may seem."""


def choose_field(
    h: np.ndarray, sizes_wh: Sequence[tuple[int, int]], placed: Sequence[int]
) -> tuple[np.ndarray, tuple[float, float], float]:
    """The map that takes the bundle's frame to field units.

    Args:
        h: Normalised coordinates to the frame, float64 [N, 3, 3].
        sizes_wh: Of each photograph.
        placed: Photographs that count.

    Returns:
        Frame to field float64 [3, 3]; width and height of the field, the shorter 1; focal length of
        the cameras over the longer side of their photographs, as far as it could be told.
    """
    centers = np.array([apply_homography(h[i], np.zeros(2)) for i in placed])
    spread = max(float(np.ptp(centers, 0).max()), *(center_density(h[i]) for i in placed))
    middle = centers.mean(0)
    start = np.array(
        [[1 / spread, 0, -middle[0] / spread], [0, 1 / spread, -middle[1] / spread], [0, 0, 1]]
    )
    shape, focal = _metric_shape([start @ h[i] for i in placed])
    upright = shape @ start
    angle = _usual_roll(np.array([roll(upright @ h[i]) for i in placed]))
    c, s = np.cos(-angle), np.sin(-angle)
    upright = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ upright
    corners = np.concatenate(
        [apply_homography(upright @ h[i], corner_points(sizes_wh[i])) for i in placed]
    )
    low, high = corners.min(0), corners.max(0)
    side = (high - low).min()
    fit = np.array(
        [
            [1 / side, 0, -(low + high)[0] / 2 / side],
            [0, 1 / side, -(low + high)[1] / 2 / side],
            [0, 0, 1],
        ]
    )
    width, height = (high - low) / side
    return fit @ upright, (float(width), float(height)), focal / 2


def roll(h: np.ndarray) -> float:
    """Angle in the field of a photograph's x axis at its centre, radians, clockwise (y down)."""
    center = h[:2, 2] / h[2, 2]
    along = (h[:2, 0] - center * h[2, 0]) / h[2, 2]
    return float(np.arctan2(along[1], along[0]))


def _usual_roll(rolls: np.ndarray) -> float:
    """Mean of the largest group within `ONE_SIDE` of one of them, the first of equal ones."""
    near = np.cos(rolls[:, None] - rolls) > np.cos(ONE_SIDE)
    group = rolls[near[near.sum(1).argmax()]]
    return float(np.arctan2(np.sin(group).mean(), np.cos(group).mean()))


def _metric_shape(views: list[np.ndarray]) -> tuple[np.ndarray, float]:
    """The homography that makes every view a camera's, and the focal length; Gauss-Newton."""
    params = np.zeros(5)  # projective x and y, stretch, shear, log of focal over USUAL_FOCAL
    weights = np.ones(2 * len(views))
    for _ in range(25):
        rest = _shape_residuals(params, views)
        weights = 1 / (1 + (rest[: len(weights)] / 3) ** 2)
        everything = np.sqrt(np.r_[weights, np.ones(len(rest) - len(weights))])
        jacobian = np.column_stack(
            [
                (_shape_residuals(params + step, views) - _shape_residuals(params - step, views))
                / 2e-5
                for step in 1e-5 * np.eye(5)
            ]
        )
        change = np.linalg.lstsq(jacobian * everything[:, None], -rest * everything, rcond=None)[0]
        params = params + np.clip(change, -0.2, 0.2)
        if np.abs(change).max() < 1e-9:
            break
    return _shape(params), float(USUAL_FOCAL * np.exp(params[4]))


def _shape(params: np.ndarray) -> np.ndarray:
    x, y, stretch, shear, _ = params
    affine = np.array([[1 + stretch, shear, 0], [shear, 1 - stretch, 0], [0, 0, 1]])
    return affine @ np.array([[1, 0, 0], [0, 1, 0], [x, y, 1]])


def _shape_residuals(params: np.ndarray, views: list[np.ndarray]) -> np.ndarray:
    """Standard deviations: two of shape a view, then two of tilt a view, then the focal length."""
    shape, focal = _shape(params), USUAL_FOCAL * np.exp(params[4])
    # The picture's axes as the camera has them: equally long and square, where it is a camera.
    axes = np.linalg.inv(shape @ np.array(views))[:, :, :2] * np.array([1, 1, focal])[:, None]
    lengths = (axes**2).sum(1)
    total = lengths.sum(1)
    unequal = (lengths[:, 0] - lengths[:, 1]) / total
    oblique = 2 * (axes[:, :, 0] * axes[:, :, 1]).sum(1) / total
    tilt = axes[:, 2] / np.sqrt(total / 2)[:, None]
    return np.concatenate(
        [
            unequal / SHAPE_SIGMA,
            oblique / SHAPE_SIGMA,
            tilt.ravel() / TILT_SIGMA,
            [params[4] / FOCAL_SIGMA],
        ]
    )
