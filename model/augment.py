"""Differentiable augmentation: real and generated images change alike before they are judged.

For data sets so small that the discriminator would learn them by heart. Because generated images
pass through the same changes, and gradients through the changes, none of them leaks into what is
generated. Source: Zhao et al. 2020 (DiffAugment), with its ranges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from model.config import parse_policy

SHIFT = 0.125
"""Largest translation, share of the side."""
HOLE = 0.5
"""Side of the hole, share of the side."""


@dataclass(frozen=True)
class Augmentation:
    """What happens to each image of a batch. With nothing set it gives the images themselves."""

    color: torch.Tensor | None = None
    """Brightness to add, and factors of saturation and contrast: float32 [N, 3]."""
    shift: torch.Tensor | None = None
    """Translation right and down, pixels; what comes in is grey (0). int64 [N, 2]."""
    hole: torch.Tensor | None = None
    """Column and row where the grey hole begins, pixels; part may lie outside. int64 [N, 2]."""

    def part(self, chosen: slice) -> Augmentation:
        """The same for some images of the batch."""
        cut = [None if t is None else t[chosen] for t in (self.color, self.shift, self.hole)]
        return Augmentation(*cut)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """`images`, float32 [N, 3, P, P] in [-1, 1], changed; gradients pass."""
        if self.color is not None:
            images = _recolor(images, self.color.to(images.device))
        if self.shift is not None:
            images = _translate(images, self.shift.to(images.device))
        if self.hole is not None:
            images = _cut_out(images, self.hole.to(images.device))
        return images


def draw_augmentation(
    policy: str, count: int, patch_size: int, rng: np.random.Generator
) -> Augmentation:
    """Changes for `count` images. Draws nothing for an empty policy.

    Raises:
        ValueError: The policy names an unknown kind.
    """
    color = shift = hole = None
    for kind in parse_policy(policy):
        if kind == "color":
            low, high = (-0.5, 0.0, 0.5), (0.5, 2.0, 1.5)
            color = torch.from_numpy(rng.uniform(low, high, (count, 3)).astype(np.float32))
        elif kind == "translation":
            reach = _reach(patch_size)
            shift = torch.from_numpy(rng.integers(-reach, reach + 1, (count, 2)))
        else:
            centre = rng.integers(0, patch_size + 1, (count, 2))
            hole = torch.from_numpy(centre - _hole_side(patch_size) // 2)
    return Augmentation(color, shift, hole)


def _reach(patch_size: int) -> int:
    return round(patch_size * SHIFT)


def _hole_side(patch_size: int) -> int:
    return round(patch_size * HOLE)


def _recolor(images: torch.Tensor, color: torch.Tensor) -> torch.Tensor:
    brightness, saturation, contrast = color[:, :, None, None, None].unbind(1)
    images = images + brightness
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * saturation
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * contrast


def _translate(images: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    side = images.shape[-1]
    reach = _reach(side)
    padded = F.pad(images, (reach, reach, reach, reach))
    pixels = torch.arange(side, device=images.device) + reach
    columns, rows = (pixels - shift[:, axis, None] for axis in (0, 1))
    one_by_one = torch.arange(len(images), device=images.device)[:, None, None]
    moved = padded[one_by_one, :, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def _cut_out(images: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
    side = images.shape[-1]
    offset = torch.arange(side, device=images.device) - hole[:, :, None]
    inside = (offset >= 0) & (offset < _hole_side(side))
    kept = ~(inside[:, 1, :, None] & inside[:, 0, None, :])
    return images * kept[:, None].to(images.dtype)
