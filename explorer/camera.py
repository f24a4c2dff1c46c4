"""A camera, and a camera on a viewport: frozen values, and the map between field and screen.

Screen points are device pixels from the viewport's top left corner. Plain Python.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from model.scale import level_of_density


@dataclass(frozen=True)
class Camera:
    """Where one looks, and how closely."""

    cx: float
    """Centre, field units."""
    cy: float
    """Centre, field units."""
    log2_zoom: float
    """The viewport's shorter side spans 2**-log2_zoom field units, octaves."""


@dataclass(frozen=True)
class View:
    """A camera on a viewport of a given size: the map between field and screen."""

    camera: Camera
    size: tuple[int, int]
    """Width and height, device pixels."""

    @property
    def density(self) -> float:
        """Device pixels per field unit."""
        return min(self.size) * 2.0**self.camera.log2_zoom

    def level(self, patch_size: int) -> float:
        """The level that the viewport's own pixels ask for, octaves."""
        return level_of_density(self.density, patch_size)

    def to_field(self, x: float, y: float) -> tuple[float, float]:
        """The field point under the screen point (`x`, `y`)."""
        d = self.density
        return (
            self.camera.cx + (x - self.size[0] / 2) / d,
            self.camera.cy + (y - self.size[1] / 2) / d,
        )

    def to_screen(self, x: float, y: float) -> tuple[float, float]:
        """The screen point of the field point (`x`, `y`)."""
        d = self.density
        return (
            (x - self.camera.cx) * d + self.size[0] / 2,
            (y - self.camera.cy) * d + self.size[1] / 2,
        )

    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of what is visible, field units."""
        half_w, half_h = self.size[0] / 2 / self.density, self.size[1] / 2 / self.density
        c = self.camera
        return c.cx - half_w, c.cy - half_h, c.cx + half_w, c.cy + half_h


class Flight(Protocol):
    """Anything that gives a camera for a time: a flight to a place, or a recorded path."""

    @property
    def duration_s(self) -> float:
        """How long it takes, s."""
        ...

    def at(self, time_s: float) -> Camera:
        """The camera `time_s` after take-off."""
        ...


def camera_level(camera: Camera, size: tuple[int, int], patch_size: int) -> float:
    """Level (octaves) that a viewport or film of `size` (width, height in pixels) asks for."""
    return View(camera, size).level(patch_size)


def camera_at_level(
    center_xy: tuple[float, float], level: float, size: tuple[int, int], patch_size: int
) -> Camera:
    """The camera at `center_xy` whose view of `size` pixels asks for `level`."""
    log2_zoom = level + math.log2(patch_size / min(size))
    return Camera(float(center_xy[0]), float(center_xy[1]), log2_zoom)


def fit_camera(field_size: tuple[float, float], size: tuple[int, int]) -> Camera:
    """The whole field, centred, as large as a viewport of `size` pixels can show it."""
    pixels_per_unit = min(size[0] / field_size[0], size[1] / field_size[1])
    return Camera(0.0, 0.0, math.log2(pixels_per_unit / min(size)))


def box_camera(view: View, box: tuple[float, float, float, float]) -> Camera:
    """The camera that shows all of `box` (left, top, right, bottom: screen points of `view`).

    Raises:
        ValueError: The box has no area.
    """
    left, top, right, bottom = box
    if not (right > left and bottom > top):
        raise ValueError(f"a box must have right > left and bottom > top, got {box}.")
    cx, cy = view.to_field((left + right) / 2, (top + bottom) / 2)
    closer = min(view.size[0] / (right - left), view.size[1] / (bottom - top))
    return Camera(cx, cy, view.camera.log2_zoom + math.log2(closer))
