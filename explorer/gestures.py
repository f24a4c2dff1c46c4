"""What wheel, trackpad and keys mean: Qt events to calls of the view state."""

from __future__ import annotations

from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent, QNativeGestureEvent, QWheelEvent

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


def device_point(position: QPointF, ratio: float) -> tuple[float, float]:
    """A widget position in device pixels; `ratio` is the widget's device pixel ratio."""
    return position.x() * ratio, position.y() * ratio


def key_action(event: QKeyEvent, released: bool = False) -> str | None:
    """The view state's action for a key, None where it means nothing to the picture."""
    if event.modifiers() & _COMMAND and not released:
        return None
    return _KEYS.get(Qt.Key(event.key()))


def wheel(state: ViewState, event: QWheelEvent, ratio: float, now: float) -> None:
    """Zoom about the cursor; a trackpad is tracked without easing, and pans with Shift."""
    x, y = device_point(event.position(), ratio)
    pixels = event.pixelDelta()
    on_trackpad = not pixels.isNull() and event.phase() != Qt.ScrollPhase.NoScrollPhase
    if on_trackpad and event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
        state.scroll_pan(pixels.x() * ratio, pixels.y() * ratio, now)
    elif on_trackpad:
        state.scroll_zoom(pixels.y(), x, y, now)
    else:
        # Qt turns the wheel sideways while Alt is held.
        units = event.angleDelta().y() or event.angleDelta().x()
        state.wheel(units / _NOTCH_UNITS, x, y, now)
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
