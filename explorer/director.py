"""A flight that is being edited: keyframes, undo and redo, and what a hand flew. Plain Python.

The first keyframe is always at time 0, and between two of them lies `MIN_GAP_S` at least.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from explorer.camera import Camera
from explorer.camera_path import (
    MIN_GAP_S,
    CameraPath,
    Ease,
    Keyframe,
    ZoomPan,
    even_speed,
    travel_s,
)
from model.latent import Seed

MAX_HOLD_S = 600.0
MAX_DURATION_S = 7200.0
_UNDO_STEPS = 200
_STILL = 1e-9


class Director:
    """One flight, edited. Every change can be undone; `changed` is called after each."""

    def __init__(self, changed: Callable[[], object] = lambda: None) -> None:
        self._changed = changed
        self._path: CameraPath | None = None
        self._undo: list[CameraPath | None] = []
        self._redo: list[CameraPath | None] = []
        self._drag = False

    # What there is.

    @property
    def path(self) -> CameraPath | None:
        """The flight; None while there is no keyframe."""
        return self._path

    @property
    def keys(self) -> tuple[Keyframe, ...]:
        """The keyframes in order of time."""
        return () if self._path is None else self._path.keyframes

    @property
    def loop_s(self) -> float:
        """Seconds of the way back to the first keyframe; 0 where the flight does not loop."""
        return 0.0 if self._path is None else self._path.loop_s

    @property
    def duration_s(self) -> float:
        """The whole flight, s; 0 while there is no keyframe."""
        return 0.0 if self._path is None else self._path.duration_s

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to undo."""
        return bool(self._undo)

    @property
    def can_redo(self) -> bool:
        """Whether there is an undone change."""
        return bool(self._redo)

    # Editing.

    def add(self, camera: Camera, after: int | None = None, seed: Seed | None = None) -> int:
        """Add a keyframe behind the one at `after`, or at the end; later ones move to make room.

        The ways to it and from it take as long as suits their length. `seed` names its latent;
        None leaves that of the keyframe before.

        Returns:
            Its number.
        """
        keys = list(self.keys)
        if not keys:
            self._set((Keyframe(0.0, camera, seed=seed),), 0.0)
            return 0
        index = len(keys) if after is None else after + 1
        before = keys[index - 1]
        key = Keyframe(0.0, camera, seed=seed)
        key = replace(key, time_s=before.leave_s + _way_s(before, key))
        if index < len(keys):
            arrival = key.time_s + _way_s(key, keys[index])
            keys[index:] = _shifted(keys[index:], arrival - keys[index].time_s)
        keys.insert(index, key)
        self._set(tuple(keys), self._way_back(keys))
        return index

    def split(self, time_s: float) -> int | None:
        """Add a keyframe where the flight is at `time_s`; nothing else changes.

        Returns:
            Its number; None where there is no room: in a rest, near a keyframe, on the way back.
        """
        keys = list(self.keys)
        for index, (a, b) in enumerate(zip(keys, keys[1:], strict=False)):
            if a.leave_s + MIN_GAP_S <= time_s <= b.time_s - MIN_GAP_S and self._path is not None:
                camera, seed = self._path.at(time_s), self._path.seed_at(time_s)
                keys.insert(index + 1, Keyframe(time_s, camera, b.ease, seed=seed))
                self._set(tuple(keys), self.loop_s)
                return index + 1
        return None

    def move(self, index: int, time_s: float, *, dragging: bool = False) -> None:
        """Move a keyframe in time, between its neighbours; the first stays at 0.

        Args:
            index: Which.
            time_s: Where to, as far as there is room.
            dragging: Part of one drag: all parts are undone together, until `end_drag`.
        """
        keys = list(self.keys)
        if index == 0:
            return
        low = keys[index - 1].leave_s + MIN_GAP_S
        high = MAX_DURATION_S
        if index + 1 < len(keys):
            high = keys[index + 1].time_s - MIN_GAP_S - keys[index].hold_s
        if low > high:
            return  # a loaded flight may have no room here
        keys[index] = replace(keys[index], time_s=min(max(time_s, low), high))
        self._set(tuple(keys), self.loop_s, dragging=dragging)

    def end_drag(self) -> None:
        """The drag is over: what comes next is undone by itself."""
        self._drag = False

    def delete(self, index: int) -> None:
        """Remove a keyframe; the others stay where they are, but the first one is at 0."""
        keys = [*self.keys[:index], *self.keys[index + 1 :]]
        if keys:
            keys = _shifted(keys, -keys[0].time_s)
        self._set(tuple(keys), self._way_back(keys))

    def clear(self) -> None:
        """Remove all keyframes."""
        self._set((), 0.0)

    def set_camera(self, index: int, camera: Camera, seed: Seed | None = None) -> None:
        """Let a keyframe show something else; `seed` as of `add`."""
        keys = list(self.keys)
        keys[index] = replace(keys[index], camera=camera, seed=seed)
        self._set(tuple(keys), self.loop_s)

    def set_ease(self, index: int, ease: Ease) -> None:
        """Time the way to a keyframe in another way."""
        keys = list(self.keys)
        keys[index] = replace(keys[index], ease=ease)
        self._set(tuple(keys), self.loop_s)

    def set_hold(self, index: int, hold_s: float) -> None:
        """Let the camera rest at a keyframe; later ones move with it."""
        hold_s = min(max(hold_s, 0.0), MAX_HOLD_S)
        keys = list(self.keys)
        longer = hold_s - keys[index].hold_s
        keys[index] = replace(keys[index], hold_s=hold_s)
        keys[index + 1 :] = _shifted(keys[index + 1 :], longer)
        self._set(tuple(keys), self.loop_s)

    def set_loop(self, on: bool) -> None:
        """Let the flight return to where it began, or not."""
        keys = list(self.keys)
        self._set(tuple(keys), self._way_back(keys, always=True) if on else 0.0)

    def set_duration(self, seconds: float) -> None:
        """Make everything faster or slower, rests too, so that the flight lasts `seconds`."""
        if self._path is None or self.duration_s <= 0:
            return
        shortest = MIN_GAP_S * len(self._path.ways)
        factor = min(max(seconds, shortest), MAX_DURATION_S) / self.duration_s
        keys = tuple(
            replace(k, time_s=k.time_s * factor, hold_s=k.hold_s * factor) for k in self.keys
        )
        self._set(keys, self.loop_s * factor)

    def even_speed(self) -> None:
        """Retime the keyframes so that the perceived speed is the same everywhere."""
        if self._path is not None:
            path = even_speed(self._path)
            self._set(path.keyframes, path.loop_s)

    def load(self, path: CameraPath) -> None:
        """Edit another flight; this one can be had back by undo."""
        keys = _shifted(list(path.keyframes), -path.keyframes[0].time_s)
        self._set(tuple(keys), path.loop_s)

    def undo(self) -> None:
        """Take the last change back."""
        self._step(self._undo, self._redo)

    def redo(self) -> None:
        """Make the change again that was taken back last."""
        self._step(self._redo, self._undo)

    def _step(self, come: list[CameraPath | None], go: list[CameraPath | None]) -> None:
        if come:
            go.append(self._path)
            self._path = come.pop()
            self._drag = False
            self._changed()

    def _way_back(self, keys: list[Keyframe], always: bool = False) -> float:
        """Seconds that the way from the last keyframe to the first takes; 0 without a loop."""
        if len(keys) < 2 or not (always or self.loop_s):
            return 0.0
        return _way_s(keys[-1], keys[0])

    def _set(self, keys: tuple[Keyframe, ...], loop_s: float, *, dragging: bool = False) -> None:
        """Let the flight be this, if it is another one, and remember the one before."""
        path = CameraPath(keys, loop_s) if keys else None
        if path == self._path:
            return
        if not (dragging and self._drag):
            self._undo = [*self._undo[-_UNDO_STEPS + 1 :], self._path]
            self._redo.clear()
        self._drag = dragging
        self._path = path
        self._changed()


def _way_s(a: Keyframe, b: Keyframe) -> float:
    """How long the way from one keyframe to another takes, s."""
    blends = a.seed is not None and b.seed is not None and a.seed != b.seed
    return travel_s(a.camera, b.camera, blends=blends)


def _shifted(keys: list[Keyframe], seconds: float) -> list[Keyframe]:
    return [replace(key, time_s=key.time_s + seconds) for key in keys]


class PreviewFlight:
    """A path that is flown from a time within it, for ever if it loops; says where it is."""

    def __init__(self, path: CameraPath, start_s: float) -> None:
        self._path = path
        self._start_s = start_s
        self.shown_s = start_s
        """Time in the path that was asked for last, s: of the screen, or a moment ahead of it."""

    @property
    def duration_s(self) -> float:
        """How long it takes, s."""
        return math.inf if self._path.loop_s else self._path.duration_s - self._start_s

    def at(self, time_s: float) -> Camera:
        """The camera `time_s` after take-off."""
        self.shown_s = self._in_path(time_s)
        return self._path.at(self.shown_s)

    def seed_at(self, time_s: float) -> Seed | None:
        """The latent `time_s` after take-off; None where the path names none."""
        return self._path.seed_at(self._in_path(time_s))

    def _in_path(self, time_s: float) -> float:
        in_path = time_s + self._start_s
        if self._path.loop_s and math.isfinite(in_path):
            in_path %= self._path.duration_s
        return min(in_path, self._path.duration_s)


class FlightLog:
    """What a hand flies, sample by sample, as few keyframes that stay near it.

    A way between two keyframes ends where one more sample would take the straight way ('linear',
    on van Wijk's path) further than the tolerance from a sample between; a rest is a hold. The
    samples before and after a change of the latent are keyframes.
    """

    def __init__(self, tolerance: float = 0.02, max_samples: int = 100) -> None:
        """`tolerance`: of the viewport's shorter side, and of an octave times 4; `max_samples`:
        longest way between two keyframes, which bounds what one sample costs."""
        self._tolerance = tolerance
        self._max_samples = max_samples
        self._keys: list[Keyframe] = []
        self._open: list[tuple[float, Camera]] = []
        self._resting = False
        self._begin_s = 0.0
        self._seed: Seed | None = None

    def add(self, time_s: float, camera: Camera, seed: Seed | None = None) -> None:
        """The camera was here at `time_s`, and showed this latent; times rise."""
        if not self._open:
            self._begin_s, self._seed = time_s, seed
            self._keys.append(Keyframe(0.0, camera, "linear", seed=seed))
            self._open.append((0.0, camera))
            return
        sample = (time_s - self._begin_s, camera)
        if seed != self._seed:
            self._close()
            self._open.append(sample)
            self._resting, self._seed = False, seed
            self._close()
            return
        if _distance(self._open[-1][1], camera) < _STILL:
            if not self._resting:
                self._close()
            self._resting = True
            self._open = [self._open[0], sample]  # however long
            return
        if self._resting or len(self._open) > self._max_samples or not self._fits(sample):
            self._close()
        self._resting = False
        self._open.append(sample)

    def path(self) -> CameraPath | None:
        """All of it; None where there were no samples."""
        if not self._keys:
            return None
        self._close()
        return CameraPath(tuple(self._keys))

    def _close(self) -> None:
        """The last open sample becomes a keyframe, or the end of a rest."""
        if len(self._open) < 2:
            return
        time_s, camera = self._open[-1]
        last = self._keys[-1]
        if _distance(last.camera, camera) < _STILL and last.seed == self._seed:
            self._keys[-1] = replace(last, hold_s=max(0.0, time_s - last.time_s))
        else:
            time_s = max(time_s, last.leave_s + 1e-3)
            self._keys.append(Keyframe(time_s, camera, "linear", seed=self._seed))
        self._open = [(time_s, camera)]

    def _fits(self, end: tuple[float, Camera]) -> bool:
        """Whether the way to `end` stays near every sample between."""
        begin_s, start = self._open[0]
        way = ZoomPan(start, end[1])
        return all(
            _distance(way.at((t - begin_s) / (end[0] - begin_s)), c) <= self._tolerance
            for t, c in self._open[1:]
        )


def _distance(a: Camera, b: Camera) -> float:
    """How far apart two views are: of the viewport's shorter side, and a quarter per octave."""
    offset = math.hypot(a.cx - b.cx, a.cy - b.cy) * 2.0 ** max(a.log2_zoom, b.log2_zoom)
    return offset + 0.25 * abs(a.log2_zoom - b.log2_zoom)
