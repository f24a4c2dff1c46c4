"""Camera paths: keyframes as JSON, the same for the app, the command line and the recorder.

Between two keyframes the camera follows van Wijk and Nuij's path, which keeps the perceived speed
constant: it backs away, travels, and comes closer again. Plain Python.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

from explorer.view_state import Camera

FORMAT = 1
RHO = math.sqrt(2)
_PURE_ZOOM_OFFSET = 1e-6
_EASES = ("smooth", "linear")


class CameraPathError(ValueError):
    """A camera path that cannot be read or flown; the message says why and what to do."""


@dataclass(frozen=True)
class Keyframe:
    """Where the camera is at one time."""

    time_s: float
    """Seconds from the beginning of the path."""
    camera: Camera
    ease: Literal["smooth", "linear"] = "smooth"
    """How the way to this keyframe is timed: 'smooth' starts and ends at rest."""


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
        CameraPathError: There is no keyframe, a number is not finite, or times do not rise.
    """

    keyframes: tuple[Keyframe, ...]

    def __post_init__(self) -> None:
        if not self.keyframes:
            raise CameraPathError("a camera path must hold at least one keyframe, got none.")
        for index, key in enumerate(self.keyframes):
            c = key.camera
            if not all(math.isfinite(v) for v in (key.time_s, c.cx, c.cy, c.log2_zoom)):
                raise CameraPathError(f"keyframe {index} must hold finite numbers, got {key}.")
            if abs(c.log2_zoom) > 60:
                raise CameraPathError(
                    f"keyframe {index} must have log2_zoom within -60 to 60, got {c.log2_zoom}."
                )
        if self.keyframes[0].time_s < 0:
            raise CameraPathError(
                f"keyframe 0 must not be before time 0, got {self.keyframes[0].time_s} s."
            )
        for index, (a, b) in enumerate(zip(self.keyframes, self.keyframes[1:], strict=False)):
            if b.time_s <= a.time_s:
                raise CameraPathError(
                    f"keyframe {index + 1} must be later than keyframe {index} "
                    f"({a.time_s} s), got {b.time_s} s."
                )

    @property
    def duration_s(self) -> float:
        """Time of the last keyframe, s."""
        return self.keyframes[-1].time_s

    @cached_property
    def _segments(self) -> tuple[ZoomPan, ...]:
        pairs = zip(self.keyframes, self.keyframes[1:], strict=False)
        return tuple(ZoomPan(a.camera, b.camera) for a, b in pairs)

    def at(self, time_s: float) -> Camera:
        """The camera at `time_s`; before the first keyframe and after the last it rests there."""
        keys = self.keyframes
        if time_s <= keys[0].time_s:
            return keys[0].camera
        if time_s >= keys[-1].time_s:
            return keys[-1].camera
        index = bisect_right([k.time_s for k in keys], time_s) - 1
        a, b = keys[index], keys[index + 1]
        fraction = (time_s - a.time_s) / (b.time_s - a.time_s)
        if b.ease == "smooth":
            fraction = fraction * fraction * (3 - 2 * fraction)
        return self._segments[index].at(fraction)

    def to_json(self) -> str:
        """The path as it is written into a file."""
        keys = [
            {
                "time": k.time_s,
                "center": [k.camera.cx, k.camera.cy],
                "log2_zoom": k.camera.log2_zoom,
                "ease": k.ease,
            }
            for k in self.keyframes
        ]
        return json.dumps({"format": FORMAT, "keyframes": keys}, indent=2, allow_nan=False) + "\n"


def flight(
    start: Camera,
    end: Camera,
    seconds: float | None = None,
    *,
    speed: float = 1.3,
    max_s: float = 4.0,
    ease: Literal["smooth", "linear"] = "smooth",
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
    except ValueError as error:
        raise CameraPathError(
            f"{name} is not JSON ({error}); see the README for a path."
        ) from error
    if not isinstance(table, dict) or not isinstance(table.get("keyframes"), list):
        raise CameraPathError(
            f"{name} must be an object with a list 'keyframes'; see the README for a path."
        )
    version = table.get("format", FORMAT)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise CameraPathError(f"{name} must have a whole number as format, got {version!r}.")
    if version > FORMAT:
        raise CameraPathError(
            f"{name} has format {version}, this build reads up to {FORMAT}; update the app."
        )
    keys = tuple(_keyframe(k, i, name) for i, k in enumerate(table["keyframes"]))
    try:
        return CameraPath(keys)
    except CameraPathError as error:
        raise CameraPathError(f"{name}: {error}") from error


def _keyframe(entry: Any, index: int, name: str) -> Keyframe:
    """The keyframe that one JSON object describes."""
    where = f"{name}: keyframe {index}"
    if not isinstance(entry, dict):
        raise CameraPathError(f"{where} must be an object, got {entry!r}.")
    known = {"time", "center", "log2_zoom", "ease"}
    for key in entry:
        if key not in known:
            raise CameraPathError(
                f"{where} has an unknown field {key!r}; it may hold {', '.join(sorted(known))}."
            )
    center = entry.get("center")
    if not isinstance(center, list) or len(center) != 2:
        raise CameraPathError(f"{where} must have a center [x, y] in field units, got {center!r}.")
    numbers = [entry.get("time"), *center, entry.get("log2_zoom")]
    for value in numbers:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise CameraPathError(
                f"{where} must have numbers as time, center and log2_zoom, got {value!r}."
            )
    ease = entry.get("ease", "smooth")
    if ease not in _EASES:
        raise CameraPathError(f"{where} must have ease {' or '.join(_EASES)}, got {ease!r}.")
    time_s, cx, cy, log2_zoom = (float(v) for v in numbers)
    return Keyframe(time_s, Camera(cx, cy, log2_zoom), cast(Literal["smooth", "linear"], ease))


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
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(path.to_json())
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
