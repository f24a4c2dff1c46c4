"""What wheel, trackpad, fingers and keys mean: Qt events to calls of the view state."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPointF, Qt
from PySide6.QtGui import (
    QEventPoint,
    QKeyEvent,
    QMouseEvent,
    QNativeGestureEvent,
    QTouchEvent,
    QWheelEvent,
)

from explorer.view_state import ViewState

_KEYS = {
    Qt.Key.Key_Left: "left",
    Qt.Key.Key_Right: "right",
    Qt.Key.Key_Up: "up",
    Qt.Key.Key_Down: "down",
    Qt.Key.Key_A: "left",
    Qt.Key.Key_D: "right",
    Qt.Key.Key_W: "up",
    Qt.Key.Key_S: "down",
    Qt.Key.Key_Plus: "in",
    Qt.Key.Key_Equal: "in",
    Qt.Key.Key_E: "in",
    Qt.Key.Key_PageUp: "in",
    Qt.Key.Key_Minus: "out",
    Qt.Key.Key_Q: "out",
    Qt.Key.Key_PageDown: "out",
}

_COMMAND = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier
_NOTCH_UNITS = 120
_FINE_NOTCHES = 0.25
_TAP_PX = 12.0
_TAP_S = 0.3
_DOUBLE_TAP_PX = 40.0
_DOUBLE_TAP_S = 0.35


def device_point(position: QPointF, ratio: float) -> tuple[float, float]:
    """A widget position in device pixels; `ratio` is the widget's device pixel ratio."""
    return position.x() * ratio, position.y() * ratio


def key_action(event: QKeyEvent, released: bool = False) -> str | None:
    """The view state's action for a key, None where it means nothing to the picture."""
    if event.modifiers() & _COMMAND and not released:
        return None
    return _KEYS.get(Qt.Key(event.key()))


def wheel(state: ViewState, event: QWheelEvent, ratio: float, now: float) -> None:
    """Zoom about the cursor; a trackpad is tracked without easing, and pans with Shift.

    With Shift a notched wheel is four times finer.
    """
    x, y = device_point(event.position(), ratio)
    pixels = event.pixelDelta()
    sign = -1 if state.config.invert_wheel else 1
    shift = event.modifiers() & Qt.KeyboardModifier.ShiftModifier
    on_trackpad = not pixels.isNull() and event.phase() != Qt.ScrollPhase.NoScrollPhase
    if on_trackpad and shift:
        state.scroll_pan(pixels.x() * ratio, pixels.y() * ratio, now)
    elif on_trackpad:
        state.scroll_zoom(sign * pixels.y(), x, y, now)
    else:
        # Qt turns the wheel sideways while Alt is held, and a Mac does with Shift.
        units = event.angleDelta().y() or event.angleDelta().x()
        notches = sign * units / _NOTCH_UNITS
        state.wheel(notches * _FINE_NOTCHES if shift else notches, x, y, now)
    event.accept()


def double_click(state: ViewState, event: QMouseEvent, ratio: float, now: float) -> None:
    """One octave closer about the cursor; with Shift, or the right button, one back."""
    back = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
    closer = event.button() == Qt.MouseButton.LeftButton and not back
    state.double_click(*device_point(event.position(), ratio), now, closer)
    event.accept()


def native(state: ViewState, event: QNativeGestureEvent, ratio: float, now: float) -> bool:
    """Pinch, and the double tap of two fingers; False for a gesture that means nothing here."""
    x, y = device_point(event.position(), ratio)
    kind = event.gestureType()
    if kind == Qt.NativeGestureType.ZoomNativeGesture:
        state.pinch(max(0.1, 1.0 + event.value()), x, y, now)
    elif kind == Qt.NativeGestureType.SmartZoomNativeGesture:
        state.double_click(x, y, now, closer=event.value() >= 0)
    else:
        return False
    event.accept()
    return True


@dataclass(frozen=True)
class _Fingers:
    """Where the fingers are: one holds the picture, two stretch it."""

    ids: tuple[int, ...]
    x: float
    """Middle, device pixels."""
    y: float
    spread: float
    """Distance of two fingers, device pixels; 0 of one."""


class TouchTracker:
    """Fingers on a touch screen: one drags and flings, two pan and pinch, a double tap zooms in."""

    def __init__(self) -> None:
        self._last: _Fingers | None = None
        self._began = (0.0, 0.0, 0.0)
        self._tap = (-math.inf, 0.0, 0.0)
        self._is_tap = False

    def handle(self, state: ViewState, event: QTouchEvent, ratio: float, now: float) -> None:
        """Let the fingers of `event` move the camera; accepts it."""
        event.accept()
        cancelled = event.type() == QEvent.Type.TouchCancel
        down = [] if cancelled else [p for p in event.points() if _is_down(p)]
        fingers = _fingers(down, ratio)
        last, self._last = self._last, fingers
        if fingers is None:
            self._lift(state, last, now, cancelled)
            return
        if last is None:
            self._began, self._is_tap = (now, fingers.x, fingers.y), True
        moved = math.hypot(fingers.x - self._began[1], fingers.y - self._began[2])
        self._is_tap &= len(fingers.ids) == 1 and moved <= _TAP_PX * ratio
        same = last is not None and last.ids == fingers.ids
        if len(fingers.ids) == 1:
            if same:
                state.drag_move(fingers.x, fingers.y, now)
            else:
                state.drag_start(fingers.x, fingers.y, now)
        elif not same or last is None:
            state.release_all()
        else:
            state.scroll_pan(fingers.x - last.x, fingers.y - last.y, now)
            if min(last.spread, fingers.spread) > 1:
                state.pinch(fingers.spread / last.spread, fingers.x, fingers.y, now)

    def _lift(self, state: ViewState, last: _Fingers | None, now: float, cancelled: bool) -> None:
        """The last finger left the screen."""
        if last is None:
            return
        if cancelled or len(last.ids) != 1:
            state.release_all()
            return
        state.drag_end(now)
        if not self._is_tap or now - self._began[0] > _TAP_S:
            return
        at, x, y = self._tap
        self._tap = (now, last.x, last.y)
        if now - at <= _DOUBLE_TAP_S and math.hypot(last.x - x, last.y - y) <= _DOUBLE_TAP_PX:
            state.double_click(last.x, last.y, now)
            self._tap = (-math.inf, 0.0, 0.0)


def _is_down(point: QEventPoint) -> bool:
    return point.state() != QEventPoint.State.Released


def _fingers(points: list[QEventPoint], ratio: float) -> _Fingers | None:
    """The first two of `points`, in the order in which they came."""
    two = sorted(points, key=lambda p: p.id())[:2]
    if not two:
        return None
    places = [device_point(p.position(), ratio) for p in two]
    (ax, ay), (bx, by) = places[0], places[-1]
    ids = tuple(p.id() for p in two)
    return _Fingers(ids, (ax + bx) / 2, (ay + by) / 2, math.hypot(ax - bx, ay - by))
