"""Stand-ins for tests: a scale space whose every pixel is known, and a preview of it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from model.latent import Seed, parts_of, psi_of
from model.scale import Lattice, density
from model.space import Window, check_batch


def field_color(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """The colour of field points: [..., 3] in [-1, 1], smooth, different at every place."""
    return np.stack(
        [
            0.7 * np.sin(2.1 * x + 0.3) + 0.2 * np.sin(9.0 * y),
            0.7 * np.sin(2.3 * y - 0.2) + 0.2 * np.sin(8.0 * x),
            0.6 * np.sin(1.7 * (x + y)) + 0.2 * np.sin(7.0 * (x - y)),
        ],
        -1,
    )


def seed_color(color: NDArray[np.float64], seed: Seed) -> NDArray[np.float64]:
    """The colours [..., 3] in [-1, 1] with the latent of `seed`; 0 leaves them.

    Blends are blends of colours, and the mean of all latents is grey.
    """
    return psi_of(seed) * sum(
        weight * np.roll(color, number, -1) * (1 - 0.15 * (number % 5))
        for number, weight in parts_of(seed)
    )


class FakeSpace:
    """A scale space that is a formula of field coordinates, and takes its time."""

    def __init__(
        self,
        field_size: tuple[float, float] = (1.25, 1.0),
        level_range: tuple[float, float] = (0.0, 8.0),
        pixels_per_s: float = 0.0,
        identity: str = "fake",
        fail_after: int | None = None,
        has_latents: bool = False,
    ) -> None:
        """`pixels_per_s` > 0 makes rendering take time; after `fail_after` windows it raises.

        With `has_latents`, every seed has colours of its own.
        """
        self.identity = identity
        self.patch_size = 64
        self.field_size = field_size
        self.level_range = level_range
        self.pixels_per_s = pixels_per_s
        self.fail_after = fail_after
        self.has_latents = has_latents
        self.rendered: list[Window] = []

    def render(self, windows: Sequence[Window]) -> torch.Tensor:
        """float32 [N, 3, H, W], every pixel the colour of its centre."""
        check_batch(windows)
        begin = time.perf_counter()
        d = density(windows[0].level, self.patch_size)
        images = []
        for w in windows:
            assert w.level <= self.level_range[1] + 1e-9, "a level beyond the range was asked for"
            self.rendered.append(w)
            if self.fail_after is not None and len(self.rendered) > self.fail_after:
                raise RuntimeError("the fake ran out of paint; give it more.")
            lx, ly = Lattice.at(w.origin_xy[0], d), Lattice.at(w.origin_xy[1], d)
            x = (lx.first + lx.phase + np.arange(w.width) + 0.5) / d
            y = (ly.first + ly.phase + np.arange(w.height) + 0.5) / d
            color = field_color(x[None, :], y[:, None])
            images.append(seed_color(color, w.seed) if self.has_latents else color)
        batch = torch.from_numpy(np.stack(images).astype(np.float32)).permute(0, 3, 1, 2)
        if self.pixels_per_s > 0:
            pixels = len(windows) * windows[0].width * windows[0].height
            time.sleep(max(0.0, pixels / self.pixels_per_s - (time.perf_counter() - begin)))
        return batch


def expected_rgb(
    view: object, field_size: tuple[float, float], rim_px: float = 1.5
) -> NDArray[np.float64]:
    """What a perfect screen shows of the formula: [H, W, 3] in 0 to 255.

    NaN beyond the field, and so many pixels within its edge.
    """
    width, height = view.size  # type: ignore[attr-defined]
    left, top, _, _ = view.bounds()  # type: ignore[attr-defined]
    d = view.density  # type: ignore[attr-defined]
    x = left + (np.arange(width) + 0.5) / d
    y = top + (np.arange(height) + 0.5) / d
    rgb = field_color(x[None, :], y[:, None]) * 127.5 + 127.5
    outside = (np.abs(x)[None, :] > field_size[0] / 2 - rim_px / d) | (
        np.abs(y)[:, None] > field_size[1] / 2 - rim_px / d
    )
    rgb[outside] = np.nan
    return rgb


def preview_rgba(field_size: tuple[float, float], height: int = 96) -> NDArray[np.uint8]:
    """The whole field, small: uint8 [H, W, 4]."""
    width = round(height * field_size[0] / field_size[1])
    x = ((np.arange(width) + 0.5) / width - 0.5) * field_size[0]
    y = ((np.arange(height) + 0.5) / height - 0.5) * field_size[1]
    rgb = np.clip(field_color(x[None, :], y[:, None]) * 127.5 + 128, 0, 255)
    return np.concatenate([rgb, np.full((height, width, 1), 255.0)], -1).astype(np.uint8)
