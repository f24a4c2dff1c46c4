"""One place at every whole level: the windows of figures and of the scale x-ray. Plain Python."""

from __future__ import annotations

import math

from explorer.messages import ExactView, Picture, SceneInfo
from model.scale import density

FIGURE_PX = (64, 256)
"""Fewest and most pixels a side of what is compared at a level."""
_ROUNDING = 1e-6


def whole_levels(scene: SceneInfo, top: float = math.inf) -> tuple[float, ...]:
    """The whole levels of a scene up to `top`, the coarsest first, octaves."""
    low, high = scene.level_range
    last = math.floor(min(high, top) + _ROUNDING)
    return tuple(float(level) for level in range(math.ceil(low - _ROUNDING), last + 1))


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
    view: ExactView, scene: SceneInfo, seed: int, top_level: float
) -> tuple[Picture, ...]:
    """What is compared of `view`: its middle at every whole level up to its own.

    Args:
        view: What is shown.
        scene: Of which.
        seed: Names the latent.
        top_level: Above it there is nothing to compare with, octaves.
    """
    center = center_of(view, scene.patch_size)
    fewest, most = FIGURE_PX
    pictures = []
    for level in whole_levels(scene, min(view.level, top_level)):
        scale = 2.0 ** (level - view.level)
        width, height = (min(max(round(side * scale), fewest), most) for side in view.size)
        pictures.append(Picture(view_at(center, level, (width, height), scene), seed))
    return tuple(pictures)
