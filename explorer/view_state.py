"""Target camera and displayed camera: plain numbers, no Qt, no torch, no clock.

Input moves the *target*; `ViewState.advance` moves the *displayed* camera towards it, once per
frame. Both are stored relative to one *anchor*: the field point A that lies at the screen point p.
A camera is then A, p and log2 zoom, and its centre follows from them: centre = A - p / density. So
while a zoom is eased, the anchored point cannot leave its place under the cursor, whatever the
frame rate, and notches in and out return the same view to rounding, because log2 zoom is only ever
added to.

Screen points are device pixels from the viewport's top left corner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from explorer.camera import Camera, Flight, View, camera_at_level, camera_level, fit_camera
from explorer.camera_limits import CameraLimits, clamp, give
from explorer.config import CameraConfig
from explorer.drag import Drag

__all__ = ["Camera", "Flight", "View", "ViewState", "camera_at_level", "camera_level", "fit_camera"]

_SETTLED_OCTAVES = 1e-4
_SETTLED_PX = 0.02


@dataclass
class _Anchor:
    """The field point that stays at one screen point; displayed (`ax`, `ay`) and where it goes."""

    px: float = 0.0
    """Screen point, device pixels from the viewport's centre."""
    py: float = 0.0
    ax: float = 0.0
    """Field point at (px, py) in the displayed camera."""
    ay: float = 0.0
    target_ax: float = 0.0
    """Field point at (px, py) in the target camera; differs while a pan is eased."""
    target_ay: float = 0.0


class ViewState:
    """The two cameras, and everything that a hand can do to them. Not thread-safe; GUI thread."""

    def __init__(
        self,
        field_size: tuple[float, float] = (1.0, 1.0),
        max_level: float = 8.0,
        patch_size: int = 64,
        size: tuple[int, int] = (1024, 768),
        config: CameraConfig | None = None,
    ) -> None:
        """Start with the whole field in view.

        Args:
            field_size: Width and height of the scene, field units.
            max_level: Deepest level that a view may ask for, octaves.
            patch_size: Pixels; fixes what level 0 means.
            size: Width and height of the viewport, device pixels.
            config: How the camera answers.
        """
        self.config = config or CameraConfig()
        self.field_size = field_size
        self.max_level = max_level
        self.patch_size = patch_size
        self.size = size
        self.last_input_at = -math.inf
        self.steered_at = -math.inf
        """When a hand last moved what is displayed, and not only where it is to be, s."""
        self._anchor = self._grip = _Anchor()
        self._drag = Drag()
        self._held: dict[str, float] = {}
        self._excess = 0.0
        self._excess_at = -math.inf
        self._pointer: tuple[float, float, bool] | None = None
        self._flight: Flight | None = None
        self._flight_time = 0.0
        self._flight_speed = 1.0
        self._zoom = self._target_zoom = 0.0
        self.jump_to(fit_camera(field_size, size))

    # What others read.

    @property
    def displayed(self) -> Camera:
        """The camera of this frame."""
        a = self._anchor
        return self._camera(a.ax, a.ay, self._zoom)

    @property
    def target(self) -> Camera:
        """Where the displayed camera will come to rest, or is a moment later on a flight."""
        if self._flight is not None:
            ahead = self._flight_time + self.config.flight_lead_s * self._flight_speed
            return self._limits.applied(self._flight.at(min(ahead, self._flight.duration_s)))
        a = self._anchor
        camera = self._camera(a.target_ax, a.target_ay, self._target_zoom)
        if not self._drag.is_flinging:
            return camera
        dx, dy = self._drag.glide(self.config)
        d = min(self.size) * 2.0**self._target_zoom
        landing = replace(camera, cx=camera.cx - dx / d, cy=camera.cy - dy / d)
        return self._limits.moved_back(landing, camera)

    @property
    def view(self) -> View:
        """The displayed camera on the viewport."""
        return View(self.displayed, self.size)

    @property
    def target_view(self) -> View:
        """The target camera on the viewport."""
        return View(self.target, self.size)

    @property
    def zoom_limits(self) -> tuple[float, float]:
        """Lowest and highest log2 zoom."""
        return self._limits.zoom

    @property
    def is_flying(self) -> bool:
        """A flight or a path moves the camera."""
        return self._flight is not None

    @property
    def flight(self) -> tuple[Flight, float] | None:
        """What moves the camera, and the time in it, s; None where nothing does."""
        return None if self._flight is None else (self._flight, self._flight_time)

    @property
    def is_dragging(self) -> bool:
        """A button holds the picture."""
        return self._drag.active

    @property
    def rest_since(self) -> float | None:
        """Since when nothing moves the target camera, s (-inf: ever since); None while it moves."""
        if self._flight is not None or self._held or self._drag.is_flinging:
            return None
        return self.last_input_at

    @property
    def is_settled(self) -> bool:
        """The displayed camera is the target, and nothing will move it but a new input."""
        a = self._anchor
        return (
            self._flight is None
            and self._zoom == self._target_zoom
            and (a.ax, a.ay) == (a.target_ax, a.target_ay)
            and not self._drag.is_flinging
            and not self._held
        )

    # Zooming.

    def wheel(self, notches: float, x: float, y: float, now: float) -> None:
        """Zoom by `notches` (fractions count, positive is closer) about the screen point (x, y)."""
        self._touch(now)
        self._anchor_at(x, y)
        self._zoom_target_by(notches * self.config.notch_octaves, now)

    def scroll_zoom(self, pixels: float, x: float, y: float, now: float) -> None:
        """Zoom by a trackpad's `pixels` about (x, y), tracking the fingers without easing."""
        self._zoom_directly(pixels * self.config.trackpad_octaves_per_px, x, y, now)

    def pinch(self, factor: float, x: float, y: float, now: float) -> None:
        """Zoom by `factor` (> 0) about (x, y), tracking the fingers without easing."""
        if factor > 0:
            self._zoom_directly(math.log2(factor), x, y, now)

    def double_click(self, x: float, y: float, now: float, closer: bool = True) -> None:
        """Zoom by one step of `double_click_octaves` about (x, y)."""
        self._touch(now)
        self._anchor_at(x, y)
        step = self.config.double_click_octaves
        self._zoom_target_by(step if closer else -step, now)

    # Panning.

    def scroll_pan(self, dx: float, dy: float, now: float) -> None:
        """Move the picture by a trackpad's (dx, dy) device pixels, without easing."""
        self._touch(now)
        self.steered_at = now
        self._move_picture(dx, dy)

    def drag_start(self, x: float, y: float, now: float) -> None:
        """Take hold of the field point under (x, y); stops a fling and a pan."""
        self._touch(now)
        self._grasp(x, y)
        a = self._anchor
        a.target_ax, a.target_ay = a.ax, a.ay
        self._drag.start(x, y, now)

    def drag_move(self, x: float, y: float, now: float) -> None:
        """Move the held point to (x, y), one to one."""
        if not self._drag.active:
            return
        self.last_input_at = now
        if self._anchor is not self._grip:  # a key or the wheel has zoomed in between
            self._grasp(*self._drag.point)
        self._drag.move(x, y, now)
        a = self._anchor
        dx, dy = x - self.size[0] / 2 - a.px, y - self.size[1] / 2 - a.py
        self._move_picture(dx, dy)

    def drag_end(self, now: float) -> None:
        """Let go; a fast release flings."""
        if not self._drag.active:
            return
        self._drag.release(now, self.config)
        self.last_input_at = now

    # Keys.

    def key_press(self, action: str, now: float) -> None:
        """Begin 'left', 'right', 'up', 'down', 'in' or 'out': one step now, more while held."""
        if action not in _KEY_DIRECTIONS:
            raise ValueError(f"action must be one of {', '.join(_KEY_DIRECTIONS)}, got {action!r}.")
        if action in self._held:
            return
        self._touch(now)
        self._held[action] = now
        c = self.config
        self._key_step(action, c.key_pan_fraction, c.key_zoom_octaves, now)

    def key_release(self, action: str, now: float) -> None:
        """End what `key_press` began."""
        if self._held.pop(action, None) is not None:
            self.last_input_at = now

    def release_all(self) -> None:
        """Forget every held key and button: the window lost the keyboard."""
        self._held.clear()
        self._drag.active = False

    def _key_step(self, action: str, pan: float, octaves: float, now: float) -> None:
        x, y, zoom = _KEY_DIRECTIONS[action]
        if zoom:
            self._anchor_at(self.size[0] / 2, self.size[1] / 2)
            self._zoom_target_by(zoom * octaves, now)
            self._forget_excess()
            return
        step = pan * 2.0**-self._target_zoom
        a = self._anchor
        before = self._camera(a.target_ax, a.target_ay, self._target_zoom)
        wanted = replace(before, cx=before.cx + x * step, cy=before.cy + y * step)
        kept = self._limits.moved_back(wanted, before)
        a.target_ax += x * step + kept.cx - wanted.cx
        a.target_ay += y * step + kept.cy - wanted.cy

    # Going places.

    def jump_to(self, camera: Camera) -> None:
        """Show `camera` (within the limits) at once."""
        self._stop()
        camera = self._limits.applied(camera)
        self._anchor = _Anchor(0.0, 0.0, camera.cx, camera.cy, camera.cx, camera.cy)
        self._pointer = None
        self._zoom = self._target_zoom = camera.log2_zoom
        self._excess = 0.0

    def fly(self, flight: Flight, now: float, speed: float = 1.0) -> None:
        """Let `flight` move the camera, until it ends or a hand takes over."""
        self._touch(now)
        if self.config.reduced_motion:
            self.jump_to(flight.at(flight.duration_s))
            return
        self._flight, self._flight_time, self._flight_speed = flight, 0.0, speed

    def stop_flight(self) -> None:
        """End a flight where it is."""
        if self._flight is not None:
            self.jump_to(self.displayed)

    def resize(self, size: tuple[int, int]) -> None:
        """The viewport has `size` (width, height in device pixels) now."""
        if size == self.size or min(size) < 1:
            return
        was_fit = self._limits.is_fit(self.target) and self._flight is None
        centre = self.displayed
        self.size = size
        if self._flight is not None:
            return
        self.jump_to(fit_camera(self.field_size, size) if was_fit else centre)

    def set_scene(self, field_size: tuple[float, float], max_level: float, patch_size: int) -> None:
        """Fly through another scene from now on, beginning with the whole of it."""
        self.field_size, self.max_level, self.patch_size = field_size, max_level, patch_size
        self.jump_to(fit_camera(field_size, self.size))

    # Time.

    def advance(self, dt: float, now: float) -> None:
        """Move the displayed camera by `dt` seconds (clamped to `max_dt_s`)."""
        dt = min(max(dt, 0.0), self.config.max_dt_s)
        if self._flight is not None:
            self._advance_flight(dt, now)
            return
        if now - self._excess_at > self.config.excess_memory_s:
            self._forget_excess()
        self._advance_keys(dt, now)
        self._advance_fling(dt, now)
        a = self._anchor
        keep = 0.0 if self.config.reduced_motion else math.exp(-dt / self.config.ease_tau_s)
        self._zoom = self._target_zoom + (self._zoom - self._target_zoom) * keep
        a.ax = a.target_ax + (a.ax - a.target_ax) * keep
        a.ay = a.target_ay + (a.ay - a.target_ay) * keep
        if abs(self._zoom - self._target_zoom) < _SETTLED_OCTAVES:
            self._zoom = self._target_zoom
        left_px = math.hypot(a.ax - a.target_ax, a.ay - a.target_ay)
        if left_px * min(self.size) * 2.0**self._zoom < _SETTLED_PX:
            a.ax, a.ay = a.target_ax, a.target_ay

    def remaining(self) -> tuple[float, float]:
        """How far displayed and target camera are apart: (octaves, device pixels)."""
        shown, aim = self.displayed, self.target
        d = min(self.size) * 2.0**shown.log2_zoom
        pixels = math.hypot(shown.cx - aim.cx, shown.cy - aim.cy) * d
        return abs(shown.log2_zoom - aim.log2_zoom), pixels

    def _advance_flight(self, dt: float, now: float) -> None:
        flight = self._flight
        assert flight is not None
        self._flight_time += dt * self._flight_speed
        ended = self._flight_time >= flight.duration_s
        camera = flight.at(min(self._flight_time, flight.duration_s))
        if ended:
            self.jump_to(camera)
            self.last_input_at = now
            return
        a = self._anchor
        a.px = a.py = 0.0
        self._pointer = None
        camera = self._limits.applied(camera)
        a.ax, a.ay, self._zoom = camera.cx, camera.cy, camera.log2_zoom
        a.target_ax, a.target_ay, self._target_zoom = a.ax, a.ay, self._zoom

    def _advance_keys(self, dt: float, now: float) -> None:
        for action, since in list(self._held.items()):
            if now - since > self.config.key_hold_delay_s:
                self.last_input_at = now
                c = self.config
                self._key_step(action, c.key_pan_rate * dt, c.key_zoom_rate * dt, now)

    def _advance_fling(self, dt: float, now: float) -> None:
        if self._drag.is_flinging:
            self._move_picture(*self._drag.advance(dt, self.config))
            self.last_input_at = now

    # Small arithmetic.

    @property
    def _limits(self) -> CameraLimits:
        return CameraLimits(
            self.field_size, self.size, self.max_level, self.patch_size, self.config
        )

    def _camera(self, ax: float, ay: float, zoom: float) -> Camera:
        """The camera that shows the field point (ax, ay) at the anchor's screen point."""
        d = min(self.size) * 2.0**zoom
        return Camera(ax - self._anchor.px / d, ay - self._anchor.py / d, zoom)

    def _touch(self, now: float) -> None:
        """A hand acts: whatever moved by itself stops."""
        if self._flight is not None:
            self.jump_to(self.displayed)
        self._drag.velocity = (0.0, 0.0)
        self.last_input_at = now
        if self.config.reduced_motion:  # nothing eases
            self.steered_at = now

    def _stop(self) -> None:
        self._flight = None
        self._drag.stop()

    def _grasp(self, x: float, y: float) -> None:
        """Hold what lies under (x, y), be it the wall."""
        self._anchor_at(x, y, snap_to_field=False)
        self._grip = self._anchor

    def _anchor_at(self, x: float, y: float, snap_to_field: bool = True) -> None:
        """Anchor the field point that the displayed camera shows at the screen point (x, y).

        The same point again keeps the anchor, so that many notches add up exactly. Beside the
        picture the nearest point of the picture is anchored: one zooms into it, not into the wall.
        """
        if self._pointer == (x, y, snap_to_field):
            return
        self._forget_excess()
        view = self.view
        ax, ay = view.to_field(x, y)
        if snap_to_field:
            half_w, half_h = self.field_size[0] / 2, self.field_size[1] / 2
            ax, ay = clamp(ax, -half_w, half_w), clamp(ay, -half_h, half_h)
        sx, sy = view.to_screen(ax, ay)
        old = self._anchor
        pan_x, pan_y = old.target_ax - old.ax, old.target_ay - old.ay
        px, py = sx - self.size[0] / 2, sy - self.size[1] / 2
        self._anchor = _Anchor(px, py, ax, ay, ax + pan_x, ay + pan_y)
        self._pointer = (x, y, snap_to_field)

    def _zoom_target_by(self, octaves: float, now: float) -> None:
        """Add to the target's log2 zoom; what a limit cuts off is remembered as excess."""
        low, high = self.zoom_limits
        before = self._excess
        wanted = self._target_zoom + before + octaves
        self._target_zoom = clamp(wanted, low, high)
        self._excess = wanted - self._target_zoom
        self._excess_at = now
        c = self.config
        if abs(self._excess) > abs(before) and not c.reduced_motion:
            zoom = self._zoom + c.give * (self._excess - before)
            self._zoom = clamp(zoom, low - c.give_max_octaves, high + c.give_max_octaves)

    def _forget_excess(self) -> None:
        """Keep the part of the excess below one notch: the way back stays on the same ladder."""
        self._excess = math.fmod(self._excess, self.config.notch_octaves)

    def _zoom_directly(self, octaves: float, x: float, y: float, now: float) -> None:
        self._touch(now)
        self.steered_at = now
        self._anchor_at(x, y)
        before = self._target_zoom
        self._zoom_target_by(octaves, now)
        self._forget_excess()
        self._zoom += self._target_zoom - before

    def _move_picture(self, dx: float, dy: float) -> None:
        """Move the anchor's screen point by (dx, dy) pixels, as far as the limits allow.

        Beyond, the picture gives way a little, and eases back.
        """
        a = self._anchor
        before = self._camera(a.target_ax, a.target_ay, self._zoom)
        d = min(self.size) * 2.0**self._zoom
        wanted = replace(before, cx=before.cx - dx / d, cy=before.cy - dy / d)
        kept = self._limits.moved_back(wanted, before)
        self._pointer = None
        a.px += (before.cx - kept.cx) * d
        a.py += (before.cy - kept.cy) * d
        c = self.config
        if kept != wanted and not c.reduced_motion:
            most = c.give_max_fraction * min(self.size) / d
            a.ax += give(a.ax - a.target_ax, c.give * (wanted.cx - kept.cx), most)
            a.ay += give(a.ay - a.target_ay, c.give * (wanted.cy - kept.cy), most)


_KEY_DIRECTIONS = {
    "left": (-1, 0, 0), "right": (1, 0, 0), "up": (0, -1, 0), "down": (0, 1, 0),
    "in": (0, 0, 1), "out": (0, 0, -1),
}  # fmt: skip
