"""A drag under way, or the fling that follows it: a velocity that dies down evenly. Plain Python.

Source of the numbers: MapLibre's drag handlers; see `CameraConfig`.
"""

from __future__ import annotations

import math
from collections import deque

from explorer.config import CameraConfig

_KEPT_SAMPLES = 64


class Drag:
    """What a pointer does with the picture. Screen points are device pixels, times seconds."""

    def __init__(self) -> None:
        self.active = False
        """A button holds the picture."""
        self.velocity = (0.0, 0.0)
        """Of the fling, device pixels per second."""
        self._samples: deque[tuple[float, float, float]] = deque(maxlen=_KEPT_SAMPLES)
        """Time, x, y of the last pointer moves."""

    @property
    def is_flinging(self) -> bool:
        """The picture moves by itself."""
        return self.velocity != (0.0, 0.0)

    @property
    def point(self) -> tuple[float, float]:
        """Where the pointer was last; of an active drag."""
        return self._samples[-1][1:]

    def start(self, x: float, y: float, now: float) -> None:
        """Take hold at (x, y); ends a fling."""
        self.stop()
        self.active = True
        self.move(x, y, now)

    def move(self, x: float, y: float, now: float) -> None:
        """The pointer is at (x, y)."""
        self._samples.append((now, x, y))

    def release(self, now: float, config: CameraConfig) -> None:
        """Let go; a fast release flings, unless motion is reduced."""
        samples = [s for s in self._samples if now - s[0] <= config.fling_window_s]
        self.stop()
        if len(samples) < 2 or config.reduced_motion:
            return
        duration = max(now - samples[0][0], 1e-3)
        vx = (samples[-1][1] - samples[0][1]) / duration
        vy = (samples[-1][2] - samples[0][2]) / duration
        speed = math.hypot(vx, vy)
        if speed >= config.fling_min_px_s:
            keep = min(1.0, config.fling_max_px_s / speed)
            self.velocity = (vx * keep, vy * keep)

    def stop(self) -> None:
        """Neither drag nor fling."""
        self.active = False
        self.velocity = (0.0, 0.0)
        self._samples.clear()

    def advance(self, dt: float, config: CameraConfig) -> tuple[float, float]:
        """Let a fling glide on for `dt` seconds; device pixels that it moves the picture by."""
        vx, vy = self.velocity
        speed = math.hypot(vx, vy)
        slower = max(0.0, speed - config.fling_deceleration_px_s2 * dt)
        travel = (speed**2 - slower**2) / (2 * config.fling_deceleration_px_s2) / speed
        self.velocity = (vx * slower / speed, vy * slower / speed)
        return vx * travel, vy * travel

    def glide(self, config: CameraConfig) -> tuple[float, float]:
        """How far a fling will still move the picture, device pixels."""
        # Until it stands it glides speed / (2 deceleration) seconds' worth of its present velocity.
        glide_s = math.hypot(*self.velocity) / (2 * config.fling_deceleration_px_s2)
        return self.velocity[0] * glide_s, self.velocity[1] * glide_s
