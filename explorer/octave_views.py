"""One place at every whole level: the windows of figures and of the scale x-ray. Plain Python."""

from __future__ import annotations

import math
from dataclasses import dataclass

from explorer.messages import ExactView, Picture, SceneInfo
from model.latent import Seed
from model.scale import density, whole_levels

FIGURE_PX = (64, 256)
"""Fewest and most pixels a side of what is compared at a level."""
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Region:
    """Part of the field: a rectangle, or what a circle shares with it. Field units."""

    left: float
    top: float
    right: float
    bottom: float
    circle: tuple[float, float, float] | None = None
    """Centre and radius; the rectangle is then the part of its square that lies in the field."""

    @property
    def center_xy(self) -> tuple[float, float]:
        """The rectangle's middle."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    @property
    def size(self) -> tuple[float, float]:
        """The rectangle's width and height."""
        return self.right - self.left, self.bottom - self.top


def region_in(
    field_size: tuple[float, float], box: tuple[float, float, float, float], is_round: bool = False
) -> Region | None:
    """The part of the field under `box` (left, top, right, bottom: field units); None if none is.

    `is_round` takes the circle that fits into `box`, which must be square.
    """
    half_w, half_h = field_size[0] / 2, field_size[1] / 2
    left, top = max(box[0], -half_w), max(box[1], -half_h)
    right, bottom = min(box[2], half_w), min(box[3], half_h)
    circle = None
    if is_round:
        circle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, (box[2] - box[0]) / 2
        beside_x = max(abs(circle[0]) - half_w, 0.0)
        beside_y = max(abs(circle[1]) - half_h, 0.0)
        if math.hypot(beside_x, beside_y) >= circle[2]:
            return None
    return Region(left, top, right, bottom, circle) if left < right and top < bottom else None


def view_at(
    center_xy: tuple[float, float], level: float, size: tuple[int, int], scene: SceneInfo
) -> ExactView:
    """The window of `size` pixels at `level` about `center_xy`, moved and cut to lie in the field.

    Args:
        center_xy: Field units.
        level: Octaves.
        size: Width and height, pixels; fewer where the field is smaller than that.
        scene: Whose field it is.
    """
    d = density(level, scene.patch_size)
    pixels, origin = [], []
    for center, wanted, length in zip(center_xy, size, scene.field_size, strict=True):
        side = max(1, min(wanted, math.floor(length * d + _ROUNDING)))
        low, high = -length / 2, length / 2 - side / d
        pixels.append(side)
        origin.append(min(max(center - side / 2 / d, low), max(low, high)))
    return ExactView((origin[0], origin[1]), level, (pixels[0], pixels[1]))


def center_of(view: ExactView, patch_size: int) -> tuple[float, float]:
    """The middle of a window, field units."""
    half = 0.5 / density(view.level, patch_size)
    return view.origin_xy[0] + view.size[0] * half, view.origin_xy[1] + view.size[1] * half


def figure_pictures(
    region: Region, scene: SceneInfo, seed: Seed, top_level: float
) -> tuple[Picture, ...]:
    """What is compared of `region`: the middle of it at every whole level up to `top_level`.

    Args:
        region: What the real picture lies over.
        scene: Of which.
        seed: Names the latent.
        top_level: That of the view, or of the real picture where that is coarser, octaves.
    """
    fewest, most = FIGURE_PX
    pictures = []
    for level in whole_levels(scene.level_range, top_level):
        d = density(level, scene.patch_size)
        width, height = (min(max(round(side * d), fewest), most) for side in region.size)
        pictures.append(Picture(view_at(region.center_xy, level, (width, height), scene), seed))
    return tuple(pictures)
