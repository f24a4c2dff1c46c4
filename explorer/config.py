"""Settings of the app: frozen dataclasses, one per part, every number with its unit."""

from __future__ import annotations

from dataclasses import dataclass, field

MIB = 1 << 20


def _require(holds: bool, message: str) -> None:
    """Raise ValueError(`message`) unless `holds`."""
    if not holds:
        raise ValueError(message)


@dataclass(frozen=True)
class CameraConfig:
    """How the camera answers to a hand."""

    notch_octaves: float = 0.25
    """Zoom of one wheel notch, octaves. A power of two, so that notches add up without rounding."""
    ease_tau_s: float = 0.085
    """Time constant of the eased zoom and pan, s."""
    max_dt_s: float = 0.05
    """Longest step of the displayed camera, s; a stalled frame must not become a jump."""
    trackpad_octaves_per_px: float = 0.006
    """Zoom per pixel of a two-finger scroll with the zoom modifier, octaves."""
    double_click_octaves: float = 1.0
    """Zoom of a double click, octaves."""
    key_pan_fraction: float = 0.1
    """Pan of one tapped arrow key, fraction of the viewport's shorter side."""
    key_zoom_octaves: float = 0.25
    """Zoom of one tapped + or -, octaves."""
    key_hold_delay_s: float = 0.22
    """A key held longer than this moves the camera continuously, s."""
    key_pan_rate: float = 0.8
    """Pan of a held arrow key, shorter sides of the viewport per second."""
    key_zoom_rate: float = 1.6
    """Zoom of a held + or -, octaves per second."""
    fling_window_s: float = 0.16
    """A fling takes its speed from the last pointer moves of this duration, s."""
    fling_min_px_s: float = 120.0
    """Slower releases do not fling, pixels per second."""
    fling_max_px_s: float = 3000.0
    """Fastest fling, pixels per second."""
    fling_deceleration_px_s2: float = 3500.0
    """Deceleration of a fling, pixels per second squared."""
    excess_memory_s: float = 0.25
    """Notches beyond a limit are unwound within this pause, and forgotten after it, s."""
    min_zoom_below_fit: float = 0.5
    """How far one may back away from the whole picture, octaves."""
    visible_fraction: float = 0.1
    """A pan always leaves this fraction of the viewport on the picture."""
    fly_speed: float = 1.3
    """Speed of a flight to a place, units of van Wijk's path length per second."""
    flight_lead_s: float = 0.1
    """On a flight the target is the view after this time: about when its tiles are shown, s."""
    fly_max_s: float = 4.0
    """Longest flight to a place, s."""
    reduced_motion: bool = False
    """Jump instead of easing and flying."""
    invert_wheel: bool = False
    """The wheel zooms the other way round."""
    give: float = 0.3
    """At a limit the picture gives way by this part of what was asked for, and eases back."""
    give_max_octaves: float = 0.12
    """Furthest zoom beyond a limit, octaves."""
    give_max_fraction: float = 0.06
    """Furthest pan beyond a limit, fraction of the viewport's shorter side."""

    def __post_init__(self) -> None:
        _require(self.ease_tau_s > 0, f"ease_tau_s must be positive, got {self.ease_tau_s}.")
        _require(
            0 < self.notch_octaves <= 1,
            f"notch_octaves must lie in (0, 1], got {self.notch_octaves}.",
        )


@dataclass(frozen=True)
class StreamingConfig:
    """What is rendered, in which order, and how much of it is kept."""

    tile_px: int = 64
    """Side of a tile, pixels, without its apron of one pixel on each side."""
    steps_per_octave: int = 2
    """Tile levels lie at multiples of 1 / steps_per_octave octaves."""
    pinned_octaves: tuple[float, ...] = (1.0, 2.0)
    """Levels above the lowest whose tiles cover the whole field and are never dropped, octaves."""
    moving_budget_s: float = 0.3
    """While moving, the first level asked for is the one whose view renders in this time, s."""
    hysteresis_octaves: float = 0.15
    """The tile level changes only when the view's level passed it by this much, octaves."""
    batch_target_ms: float = 30.0
    """Time of one batch of tiles while moving, ms."""
    chunk_target_ms: float = 240.0
    """Time of one chunk of the exact frame on its core, ms. Larger chunks are drawn faster, they
    overlap less; an input does not wait for them, they are given up between two layers."""
    whole_chunk_target_ms: float = 60.0
    """The same where a chunk cannot be given up, ms: on a GPU, and of a picture that is read."""
    max_batch_tiles: int = 32
    """Largest batch of tiles."""
    max_request_tiles: int = 96
    """Tiles named in one request; the worker is asked again long before it runs out."""
    exact_flight_s: float = 0.012
    """On a GPU that renders an exact frame in no more time, every frame of a flight is one, s."""
    exact_delay_s: float = 0.08
    """The exact frame is begun after this time without input, s."""
    cache_bytes: int = 64 * MIB
    """Bytes of rendered tiles kept in memory."""
    prefetch_tiles: int = 96
    """Tiles rendered ahead around a still view."""
    plan_period_s: float = 0.03
    """While moving, the worker's wish is renewed this often at most, s."""
    initial_pixels_per_s: float = 0.4e6
    """Rendering speed assumed until it was measured, pixels per second."""
    worker_niceness: int = 5
    """Added to the niceness of the inference thread, so that it never delays a frame (0 to 19)."""

    def __post_init__(self) -> None:
        _require(48 <= self.tile_px <= 512, f"tile_px must lie in 48 to 512, got {self.tile_px}.")
        _require(
            self.steps_per_octave >= 1,
            f"steps_per_octave must be at least 1, got {self.steps_per_octave}.",
        )
        least = 4 * self.tile_bytes * self.max_batch_tiles
        _require(
            self.cache_bytes >= least,
            f"cache_bytes must hold four batches ({least} bytes), got {self.cache_bytes}.",
        )

    @property
    def tile_bytes(self) -> int:
        """Bytes of one RGBA tile with its apron."""
        return (self.tile_px + 2) ** 2 * 4


@dataclass(frozen=True)
class ViewportConfig:
    """How the viewport draws."""

    pool_bytes: int = 32 * MIB
    """Bytes of tile textures."""
    fade_s: float = 0.15
    """Cross-fade of a new tile while the view is at rest, s."""
    moving_fade_s: float = 0.12
    """Cross-fade of a new tile while the view moves, s: two layers cost twice the fill."""
    exact_fade_s: float = 0.1
    """Cross-fade of the exact frame, s."""
    uploads_per_frame: int = 24
    """Tiles uploaded per frame at most; the rest waits for the next."""
    refresh_frames: int = 4
    """While moving, kept tiles that came into view are looked for once in so many frames."""
    frame_period_s: float = 1 / 62.5
    """Shortest time between two frames where the display does not wait for a refresh, s."""
    rest_frame_period_s: float = 1 / 30
    """The same while nothing but a fade moves: the exact frame needs the cores then."""
    background_rgb: tuple[float, float, float] = (0.058, 0.056, 0.062)
    """The wall behind the picture, display-referred sRGB in [0, 1]."""
    too_fine_octaves: float = 1.5
    """Tiles finer than the view by more than this are not drawn: they would alias, octaves."""


@dataclass(frozen=True)
class AppConfig:
    """Everything that the app can be told."""

    camera: CameraConfig = field(default_factory=CameraConfig)
    streaming: StreamingConfig = field(default_factory=StreamingConfig)
    viewport: ViewportConfig = field(default_factory=ViewportConfig)
    window_size: tuple[int, int] = (1280, 860)
    """Width and height of the window, logical pixels."""
