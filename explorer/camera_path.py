"""Camera paths: keyframes as JSON, the same for the app, the command line and the recorder.

Between two keyframes the camera follows van Wijk and Nuij's path, which keeps the perceived speed
constant: it backs away, travels, and comes closer again. At a keyframe it may rest, and after the
last one it may fly back to the first, so that the flight can be repeated without a jump. Keyframes
may have latents, which turn into each other on the way.
Plain Python.
"""

from __future__ import annotations

import json
import math
import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

from explorer.view_state import Camera
from model.latent import Seed, blend, seed_from_json, seed_to_json

FORMAT = 3
"""2 knows rests and loops, 3 latents; each path is written as the first that knows what it has."""
MIN_GAP_S = 0.1
"""Shortest way between two keyframes that is made here, s; a file may hold shorter ones."""
RHO = math.sqrt(2)
_PURE_ZOOM_OFFSET = 1e-6
_BLEND_LENGTH = 2.0
_EASES = ("smooth", "linear")

Ease = Literal["smooth", "linear"]


class CameraPathError(ValueError):
    """A camera path that cannot be read or flown; the message says why and what to do."""


@dataclass(frozen=True)
class Keyframe:
    """Where the camera is at one time."""

    time_s: float
    """Seconds from the beginning of the path."""
    camera: Camera
    ease: Ease = "smooth"
    """How the way to this keyframe is timed: 'smooth' starts and ends at rest."""
    hold_s: float = 0.0
    """Seconds that the camera rests here before it goes on."""
    seed: Seed | None = None
    """Names the latent; None: that of the keyframe before, or else of the next that has one."""

    @property
    def leave_s(self) -> float:
        """When the camera leaves, seconds from the beginning of the path."""
        return self.time_s + self.hold_s


@dataclass(frozen=True)
class ZoomPan:
    """Van Wijk and Nuij's optimal path from one camera to another.

    With r = -asinh(b) in place of the published ln(sqrt(b^2 + 1) - b), which loses all digits for
    small offsets. Source: van Wijk and Nuij 2003, "Smooth and efficient zooming and panning",
    equation 9.
    """

    start: Camera
    end: Camera

    @cached_property
    def _constants(self) -> tuple[float, float, float, float]:
        """Path length, r0, w0 and the travelled distance u1."""
        w0, w1 = 2.0**-self.start.log2_zoom, 2.0**-self.end.log2_zoom
        u1 = math.hypot(self.end.cx - self.start.cx, self.end.cy - self.start.cy)
        if u1 < _PURE_ZOOM_OFFSET * min(w0, w1):
            return abs(self.end.log2_zoom - self.start.log2_zoom) * math.log(2) / RHO, 0.0, w0, u1
        rho2u = RHO**2 * u1
        b0 = (w1 * w1 - w0 * w0 + rho2u * rho2u) / (2 * w0 * rho2u)
        b1 = (w1 * w1 - w0 * w0 - rho2u * rho2u) / (2 * w1 * rho2u)
        r0, r1 = -math.asinh(b0), -math.asinh(b1)
        return (r1 - r0) / RHO, r0, w0, u1

    @property
    def length(self) -> float:
        """Path length in van Wijk's metric: 1 is a zoom by e**sqrt(2), or a pan of that effort."""
        return self._constants[0]

    def at(self, fraction: float) -> Camera:
        """The camera at `fraction` (0 to 1) of the path's length."""
        if fraction <= 0:
            return self.start
        if fraction >= 1:
            return self.end
        length, r0, w0, u1 = self._constants
        a, b = self.start, self.end
        if u1 < _PURE_ZOOM_OFFSET * min(w0, 2.0**-b.log2_zoom):
            zoom = a.log2_zoom + (b.log2_zoom - a.log2_zoom) * fraction
            return Camera(a.cx + (b.cx - a.cx) * fraction, a.cy + (b.cy - a.cy) * fraction, zoom)
        s = RHO * fraction * length
        # cosh(r0) tanh(s + r0) - sinh(r0) = sinh(s) / cosh(s + r0): no cancellation for large r0.
        u = w0 / RHO**2 * math.sinh(s) / math.cosh(s + r0)
        w = w0 * math.cosh(r0) / math.cosh(s + r0)
        along = min(max(u / u1, 0.0), 1.0)
        return Camera(a.cx + (b.cx - a.cx) * along, a.cy + (b.cy - a.cy) * along, -math.log2(w))


@dataclass(frozen=True)
class CameraPath:
    """Keyframes in order of time, and the camera between them.

    Raises:
        CameraPathError: There is no keyframe, a number is not finite, a rest or the way back is
            shorter than nothing, or times do not rise.
    """

    keyframes: tuple[Keyframe, ...]
    loop_s: float = 0.0
    """Seconds of the way from the last keyframe back to the first, timed as that keyframe's `ease`
    says; 0 ends the path at the last one."""

    def __post_init__(self) -> None:
        if not self.keyframes:
            raise CameraPathError("a camera path must hold at least one keyframe, got none.")
        if not (math.isfinite(self.loop_s) and self.loop_s >= 0):
            raise CameraPathError(f"loop must be 0 s or more, got {self.loop_s} s.")
        for index, key in enumerate(self.keyframes):
            c = key.camera
            numbers = (key.time_s, key.hold_s, c.cx, c.cy, c.log2_zoom)
            if not all(math.isfinite(v) for v in numbers):
                raise CameraPathError(f"keyframe {index} must hold finite numbers, got {key}.")
            if key.hold_s < 0:
                raise CameraPathError(
                    f"keyframe {index} must have a hold of 0 s or more, got {key.hold_s} s."
                )
            if abs(c.log2_zoom) > 60:
                raise CameraPathError(
                    f"keyframe {index} must have log2_zoom within -60 to 60, got {c.log2_zoom}."
                )
        if self.keyframes[0].time_s < 0:
            raise CameraPathError(
                f"keyframe 0 must not be before time 0, got {self.keyframes[0].time_s} s."
            )
        for index, (a, b) in enumerate(zip(self.keyframes, self.keyframes[1:], strict=False)):
            if b.time_s <= a.leave_s:
                raise CameraPathError(
                    f"keyframe {index + 1} must be later than keyframe {index} "
                    f"({a.leave_s} s), got {b.time_s} s."
                )

    @property
    def duration_s(self) -> float:
        """From time 0 to the end: the last rest, or the way back to the first keyframe, s."""
        return self.keyframes[-1].leave_s + self.loop_s

    @cached_property
    def ways(self) -> tuple[ZoomPan, ...]:
        """The way from each keyframe to the next, and the way back where the path loops."""
        cameras = [key.camera for key in self.keyframes]
        if self.loop_s:
            cameras.append(cameras[0])
        return tuple(ZoomPan(a, b) for a, b in zip(cameras, cameras[1:], strict=False))

    @cached_property
    def seeds(self) -> tuple[Seed, ...]:
        """The latent of each keyframe; empty where none names one."""
        last = next((k.seed for k in self.keyframes if k.seed is not None), None)
        seeds: list[Seed] = []
        for key in self.keyframes:
            last = last if key.seed is None else key.seed
            if last is not None:
                seeds.append(last)
        return tuple(seeds)

    @property
    def lengths(self) -> tuple[float, ...]:
        """How far each of `ways` seems: `ZoomPan.length`, or more where the latent changes."""
        seeds = self.seeds or (0,) * len(self.keyframes)
        ends = (*seeds[1:], seeds[0])
        return tuple(
            max(way.length, _BLEND_LENGTH if a != b else 0.0)
            for way, a, b in zip(self.ways, seeds, ends, strict=False)
        )

    @cached_property
    def _times(self) -> tuple[float, ...]:
        return tuple(key.time_s for key in self.keyframes)

    def at(self, time_s: float) -> Camera:
        """The camera at `time_s`; before the path begins and after its end it rests."""
        index, fraction = self._way_at(time_s)
        return self.ways[index].at(fraction) if fraction else self.keyframes[index].camera

    def seed_at(self, time_s: float) -> Seed | None:
        """The latent at `time_s`: on the way a blend, as far as the camera; None: not named."""
        if not self.seeds:
            return None
        index, fraction = self._way_at(time_s)
        return blend(self.seeds[index], self.seeds[(index + 1) % len(self.seeds)], fraction)

    def _way_at(self, time_s: float) -> tuple[int, float]:
        """Number of the keyframe that was left last, and the fraction of the way to the next."""
        keys = self.keyframes
        index = max(0, bisect_right(self._times, time_s) - 1)
        a = keys[index]
        is_last = index == len(keys) - 1
        if time_s <= a.leave_s or (is_last and not self.loop_s):
            return index, 0.0
        b = keys[0] if is_last else keys[index + 1]
        arrival = self.duration_s if is_last else b.time_s
        fraction = min((time_s - a.leave_s) / (arrival - a.leave_s), 1.0)
        if b.ease == "smooth":
            fraction = fraction * fraction * (3 - 2 * fraction)
        return index, fraction

    def frame_times(self, num_frames: int) -> list[float]:
        """When the frames of a film of the whole path are, s.

        The first shows the beginning and the last the end; where the path loops, the end is the
        first frame of the next turn.
        """
        steps = num_frames if self.loop_s else max(1, num_frames - 1)
        return [self.duration_s * number / steps for number in range(num_frames)]

    def to_json(self) -> str:
        """The path as it is written into a file."""
        is_plain = not self.loop_s and not any(k.hold_s for k in self.keyframes)
        keys: list[dict[str, Any]] = [
            {
                "time": k.time_s,
                "center": [k.camera.cx, k.camera.cy],
                "log2_zoom": k.camera.log2_zoom,
                "ease": k.ease,
            }
            | ({} if is_plain else {"hold": k.hold_s})
            | ({} if k.seed is None else {"seed": seed_to_json(k.seed)})
            for k in self.keyframes
        ]
        version = FORMAT if self.seeds else 1 if is_plain else 2
        table: dict[str, Any] = {"format": version, "keyframes": keys}
        if self.loop_s:
            table["loop"] = self.loop_s
        return json.dumps(table, indent=2, allow_nan=False) + "\n"


def even_speed(path: CameraPath) -> CameraPath:
    """`path` with its keyframes retimed so that the perceived speed is the same on every way.

    Rests and the whole duration stay, every `ease` becomes 'linear'. A way that lasts shorter than
    `MIN_GAP_S` at that speed takes so long nevertheless, and the path is longer then.
    Perceived speed is van Wijk's path length per second (see `CameraPath.lengths`).
    """
    lengths = path.lengths
    total = sum(lengths)
    if total <= 0:  # one keyframe, or the same place throughout
        return replace(path, keyframes=tuple(replace(k, ease="linear") for k in path.keyframes))
    first = path.keyframes[0]
    travel_s = path.duration_s - first.time_s - sum(key.hold_s for key in path.keyframes)
    gaps = [max(MIN_GAP_S, travel_s * length / total) for length in lengths]
    keys = [replace(first, ease="linear")]
    for key, gap in zip(path.keyframes[1:], gaps, strict=False):
        keys.append(replace(key, time_s=keys[-1].leave_s + gap, ease="linear"))
    return CameraPath(tuple(keys), gaps[-1] if path.loop_s else 0.0)


def travel_s(
    start: Camera,
    end: Camera,
    *,
    speed: float = 1.3,
    min_s: float = 0.5,
    blends: bool = False,
) -> float:
    """How long the way from `start` to `end` takes at `speed` (path length per second), s.

    `blends`: the latent changes too, which is to be seen.
    """
    length = max(ZoomPan(start, end).length, _BLEND_LENGTH if blends else 0.0)
    return max(min_s, length / speed)


def tour(
    cameras: Sequence[Camera],
    seeds: Sequence[Seed] = (),
    *,
    start: Camera | None = None,
    start_seed: Seed | None = None,
    speed: float = 1.0,
    hold_s: float = 1.5,
) -> CameraPath:
    """One path through all of `cameras`, with a rest of `hold_s` at each.

    It begins at `start`, without a rest, where that is given. `seeds` names the latent of each
    camera; with none, the path has no latents.

    Raises:
        CameraPathError: There is no camera.
    """
    keys = [] if start is None else [Keyframe(0.0, start, seed=start_seed if seeds else None)]
    for camera, seed in zip(cameras, seeds or (None,) * len(cameras), strict=True):
        time_s = 0.0
        if keys:
            last, blends = keys[-1], keys[-1].seed != seed
            way_s = travel_s(last.camera, camera, speed=speed, blends=blends)
            time_s = last.leave_s + way_s
        keys.append(Keyframe(time_s, camera, "smooth", hold_s, seed))
    return CameraPath(tuple(keys))


def flight(
    start: Camera,
    end: Camera,
    seconds: float | None = None,
    *,
    speed: float = 1.3,
    max_s: float = 4.0,
    ease: Ease = "smooth",
) -> CameraPath:
    """The path from `start` to `end`.

    Args:
        start: Camera at time 0.
        end: Camera at the end.
        seconds: Duration, s; None takes path length / `speed`, at most `max_s`.
        speed: Units of van Wijk's path length per second.
        max_s: Longest duration where `seconds` is None, s.
        ease: See `Keyframe.ease`.
    """
    if seconds is None:
        seconds = min(max(ZoomPan(start, end).length / speed, 0.25), max_s)
    if not seconds > 0 or not math.isfinite(seconds):
        raise CameraPathError(f"a flight must last longer than 0 s, got {seconds} s.")
    return CameraPath((Keyframe(0.0, start), Keyframe(float(seconds), end, ease)))


def parse_path(text: str, name: str = "the camera path") -> CameraPath:
    """The path that `text` (JSON) describes; `name` names it in errors.

    Raises:
        CameraPathError: `text` is not such a path; one line says what is wrong.
    """
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CameraPathError(
            f"{name} is not JSON ({error}); see docs/api.md for a path."
        ) from error
    if not isinstance(table, dict) or not isinstance(table.get("keyframes"), list):
        raise CameraPathError(
            f"{name} must be an object with a list 'keyframes'; see docs/api.md for a path."
        )
    version = table.get("format", FORMAT)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise CameraPathError(f"{name} must have a whole number as format, got {version!r}.")
    if version > FORMAT:
        raise CameraPathError(
            f"{name} has format {version}, this build reads up to {FORMAT}; update the app."
        )
    loop = table.get("loop", 0.0)
    if not _is_number(loop):
        raise CameraPathError(f"{name} must have a number of seconds as loop, got {loop!r}.")
    keys = tuple(_keyframe(k, i, name) for i, k in enumerate(table["keyframes"]))
    try:
        return CameraPath(keys, float(loop))
    except CameraPathError as error:
        raise CameraPathError(f"{name}: {error}") from error


def _is_number(value: Any) -> bool:
    """Whether `value` is one, and no larger than any can be."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) < 1 << 1023


def _keyframe(entry: Any, index: int, name: str) -> Keyframe:
    """The keyframe that one JSON object describes."""
    where = f"{name}: keyframe {index}"
    if not isinstance(entry, dict):
        raise CameraPathError(f"{where} must be an object, got {entry!r}.")
    known = {"time", "center", "log2_zoom", "ease", "hold", "seed"}
    for key in entry:
        if key not in known:
            raise CameraPathError(
                f"{where} has an unknown field {key!r}; it may hold {', '.join(sorted(known))}."
            )
    center = entry.get("center")
    if not isinstance(center, list) or len(center) != 2:
        raise CameraPathError(f"{where} must have a center [x, y] in field units, got {center!r}.")
    numbers = [entry.get("time"), *center, entry.get("log2_zoom"), entry.get("hold", 0.0)]
    for value in numbers:
        if not _is_number(value):
            raise CameraPathError(
                f"{where} must have numbers as time, center, log2_zoom and hold, got {value!r}."
            )
    ease = entry.get("ease", "smooth")
    if ease not in _EASES:
        raise CameraPathError(f"{where} must have ease {' or '.join(_EASES)}, got {ease!r}.")
    try:
        seed = None if entry.get("seed") is None else seed_from_json(entry["seed"])
    except ValueError as error:
        raise CameraPathError(f"{where}: {error}") from error
    time_s, cx, cy, log2_zoom, hold_s = (float(v) for v in numbers)
    return Keyframe(time_s, Camera(cx, cy, log2_zoom), cast(Ease, ease), hold_s, seed)


def load_path(file: str | os.PathLike[str]) -> CameraPath:
    """Read a camera path.

    Raises:
        CameraPathError: The file cannot be read, or holds no path.
    """
    try:
        text = Path(file).read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise CameraPathError(f"{file} cannot be read: {reason}. Check the path.") from error
    except UnicodeDecodeError as error:
        raise CameraPathError(f"{file} is not a text file; give a camera path (JSON).") from error
    return parse_path(text, str(file))


def save_path(path: CameraPath, file: str | os.PathLike[str]) -> None:
    """Write `path` as JSON, whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    target = Path(file)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        temporary.write_text(path.to_json(), encoding="utf-8")
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
