"""How far a camera may go: how deep, how high, and how far beside the picture. Plain arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from explorer.camera import Camera, fit_camera
from explorer.config import CameraConfig


@dataclass(frozen=True)
class CameraLimits:
    """The limits of one scene on one viewport."""

    field_size: tuple[float, float]
    """Width and height of the scene, field units."""
    size: tuple[int, int]
    """Width and height of the viewport, device pixels."""
    max_level: float
    """Deepest level that a view may ask for, octaves."""
    patch_size: int
    """Pixels; fixes what level 0 means."""
    config: CameraConfig
    """How much of the viewport stays on the picture, and how far out one may zoom."""

    @property
    def zoom(self) -> tuple[float, float]:
        """Lowest and highest log2 zoom."""
        fit = fit_camera(self.field_size, self.size).log2_zoom
        deepest = self.max_level + math.log2(self.patch_size / min(self.size))
        return fit - self.config.min_zoom_below_fit, max(deepest, fit)

    def moved_back(self, camera: Camera, allowed: Camera | None = None) -> Camera:
        """`camera` moved so that part of the viewport stays on the picture.

        `allowed` is a camera that may be beyond already (a zoom about a corner took it there); one
        is not pulled back from it, but goes no further.
        """
        d = min(self.size) * 2.0**camera.log2_zoom
        inside = 0.5 - self.config.visible_fraction
        reach_x = self.field_size[0] / 2 + inside * self.size[0] / d
        reach_y = self.field_size[1] / 2 + inside * self.size[1] / d
        if allowed is not None:
            reach_x = max(reach_x, abs(allowed.cx))
            reach_y = max(reach_y, abs(allowed.cy))
        return replace(
            camera,
            cx=clamp(camera.cx, -reach_x, reach_x),
            cy=clamp(camera.cy, -reach_y, reach_y),
        )

    def applied(self, camera: Camera) -> Camera:
        """`camera` within all limits."""
        return self.moved_back(replace(camera, log2_zoom=clamp(camera.log2_zoom, *self.zoom)))

    def is_fit(self, camera: Camera) -> bool:
        """Whether `camera` shows the whole scene, centred, as large as it goes."""
        fit = fit_camera(self.field_size, self.size)
        off = (camera.log2_zoom - fit.log2_zoom, camera.cx - fit.cx, camera.cy - fit.cy)
        return max(abs(v) for v in off) < 1e-6


def give(offset: float, push: float, most: float) -> float:
    """How far `push` moves something that is `offset` off and may be at most `most` off."""
    return clamp(offset + push, min(-most, offset), max(most, offset)) - offset


def clamp(value: float, low: float, high: float) -> float:
    """The number in [`low`, `high`] that is nearest to `value`."""
    return min(max(value, low), high)
