"""The contract of everything that one can fly through: `ScaleSpace`, and the window it renders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from kernels.tile_to_rgba8 import tile_to_rgba8
from model.latent import Seed
from model.scale import density


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels at one level: what a scale space is asked to render."""

    origin_xy: tuple[float, float]
    """Top left corner of the top left pixel, field units (x right, y down, 0 = centre)."""
    level: float
    """Octaves; pixels per field unit = patch_size * 2**level."""
    height: int
    """Pixels."""
    width: int
    """Pixels."""
    seed: Seed = 0
    """Names the latent (see `model.latent`). A scale space of one scene ignores it."""

    def crop(self, x: int, y: int, width: int, height: int, patch_size: int) -> Window:
        """The window of `width` x `height` pixels that starts at pixel (`x`, `y`) of this one."""
        d = density(self.level, patch_size)
        origin = (self.origin_xy[0] + x / d, self.origin_xy[1] + y / d)
        return Window(origin, self.level, height, width, self.seed)


def window_around(
    center_xy: tuple[float, float],
    level: float,
    size: tuple[int, int],
    patch_size: int,
    seed: Seed = 0,
) -> Window:
    """The window of `size` (width, height in pixels) centred at `center_xy` (field units)."""
    d = density(level, patch_size)
    origin = (center_xy[0] - size[0] / 2 / d, center_xy[1] - size[1] / 2 / d)
    return Window(origin, level, size[1], size[0], seed)


class ScaleSpace(Protocol):
    """The image of any window, at any continuous level and offset.

    Pure: the pixel at a place, level and seed does not depend on the window that asked for it.
    """

    @property
    def identity(self) -> str:
        """Names the content (weights, file, step): equal identities render equal pixels."""
        ...

    @property
    def patch_size(self) -> int:
        """Pixels of a patch; fixes what level 0 means."""
        ...

    @property
    def field_size(self) -> tuple[float, float]:
        """Width and height in field units; the shorter is 1."""
        ...

    @property
    def level_range(self) -> tuple[float, float]:
        """Lowest and highest level that the space was made for, octaves."""
        ...

    def render(self, windows: Sequence[Window]) -> torch.Tensor:
        """Render windows that share level, height, width and seed in one batch.

        Args:
            windows: Non-empty; equal `level`, `height`, `width`, `seed`.

        Returns:
            float32 [N, 3, H, W] in [-1, 1], display-referred sRGB. Outside the field the
            nearest edge goes on.

        Raises:
            ValueError: The windows differ, or one is empty.
        """
        ...


def check_batch(windows: Sequence[Window]) -> None:
    """Raise ValueError unless `windows` can be rendered as one batch."""
    if not windows:
        raise ValueError("render needs at least one window, got none.")
    shapes = {(w.level, w.height, w.width, w.seed) for w in windows}
    if len(shapes) > 1:
        raise ValueError(
            "windows of one batch must share level, height, width and seed, "
            f"got {len(shapes)} different kinds; render them in separate calls."
        )
    if windows[0].height < 1 or windows[0].width < 1:
        raise ValueError(
            f"a window must hold at least one pixel, got {windows[0].width} x {windows[0].height}."
        )


def to_rgba8(img: torch.Tensor) -> torch.Tensor:
    """Opaque display bytes of network images, where they are: uint8 [N, H, W, 4], R, G, B and 255.

    The colours are those of `to_uint8`.
    """
    return tile_to_rgba8(img)


def to_uint8(img: torch.Tensor) -> torch.Tensor:
    """Display bytes of network images: float [N, 3, H, W] in [-1, 1] to uint8 [N, H, W, 3]."""
    return (
        (img.float() * 127.5 + 128).clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    )
