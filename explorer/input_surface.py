"""The surface that hands work on: mouse, wheel, trackpad, fingers and keys, to the view state."""

from __future__ import annotations

import time
from typing import Any

from PySide6.QtCore import QEvent, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import (
    QInputDevice,
    QKeyEvent,
    QMouseEvent,
    QNativeGestureEvent,
    QTouchEvent,
    QWheelEvent,
)
from PySide6.QtOpenGLWidgets import QOpenGLWidget
from PySide6.QtWidgets import QRubberBand, QWidget

from explorer import gestures
from explorer.camera import Camera, box_camera
from explorer.config import CameraConfig
from explorer.view_state import ViewState

_SMALLEST_BOX_PX = 6
_TOUCH = (
    QEvent.Type.TouchBegin,
    QEvent.Type.TouchUpdate,
    QEvent.Type.TouchEnd,
    QEvent.Type.TouchCancel,
)


class InputSurface(QOpenGLWidget):
    """Turns events into movements of the camera; the viewport adds the picture."""

    back_asked = Signal()
    """The mouse's back button."""
    forward_asked = Signal()
    """The mouse's forward button."""
    box_changed = Signal(bool)
    """A box is awaited or drawn from now on, or no longer."""

    def __init__(self, config: CameraConfig, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.view_state = ViewState(config=config)
        self.pointer: QPointF | None = None
        """Where the cursor is, logical pixels; None while it is elsewhere."""
        self._touch = gestures.TouchTracker()
        self._box_from: QPointF | None = None
        self._box_armed = False
        self._band = QRubberBand(QRubberBand.Shape.Rectangle, self)
        self._band.setAccessibleName(self.tr("Box zoom"))
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setAttribute(Qt.WidgetAttribute.WA_AcceptTouchEvents)
        self.setCursor(Qt.CursorShape.OpenHandCursor)

    def wake(self) -> None:
        """Paint a frame soon."""
        raise NotImplementedError

    def fly_to(self, camera: Camera) -> None:
        """Fly to `camera`."""
        raise NotImplementedError

    # Box zoom.

    @property
    def is_boxing(self) -> bool:
        """The next drag draws a box, or one is being drawn."""
        return self._box_armed or self._box_from is not None

    def arm_box(self) -> None:
        """Let the next drag draw a box that will fill the window."""
        self._box_armed = True
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.box_changed.emit(True)

    def cancel_box(self) -> None:
        """Forget the box."""
        was_boxing = self.is_boxing
        self._box_from, self._box_armed = None, False
        self._band.hide()
        self.setCursor(Qt.CursorShape.OpenHandCursor)
        if was_boxing:
            self.box_changed.emit(False)

    def _end_box(self, to: QPointF) -> None:
        start = self._box_from or to
        self.cancel_box()
        left, right = sorted((start.x(), to.x()))
        top, bottom = sorted((start.y(), to.y()))
        if min(right - left, bottom - top) >= _SMALLEST_BOX_PX:
            corners = self._point(QPointF(left, top)) + self._point(QPointF(right, bottom))
            self.fly_to(box_camera(self.view_state.view, corners))

    # Events.

    def _point(self, position: QPointF) -> tuple[float, float]:
        """A widget position in device pixels."""
        return gestures.device_point(position, self.devicePixelRatioF())

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Zoom about the cursor."""
        gestures.wheel(self.view_state, event, self.devicePixelRatioF(), time.perf_counter())
        self.wake()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Take hold of the picture, or begin a box; the side buttons undo and redo views."""
        button = event.button()
        if button == Qt.MouseButton.BackButton:
            self.back_asked.emit()
        elif button == Qt.MouseButton.ForwardButton:
            self.forward_asked.emit()
        elif button == Qt.MouseButton.LeftButton:
            shift = event.modifiers() & Qt.KeyboardModifier.ShiftModifier
            if self._box_armed or shift:
                if not self._box_armed:
                    self.arm_box()
                self._box_from = event.position()
                return
            self.view_state.drag_start(*self._point(event.position()), time.perf_counter())
            self.setCursor(Qt.CursorShape.ClosedHandCursor)
            self.wake()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Move the held picture, or draw the box."""
        self.pointer = event.position()
        if self._box_from is not None:
            box = QRectF(self._box_from, event.position()).normalized()
            self._band.setGeometry(box.toAlignedRect())
            self._band.show()
        elif self.view_state.is_dragging:
            self.view_state.drag_move(*self._point(event.position()), time.perf_counter())
            self.wake()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Let go."""
        if event.button() != Qt.MouseButton.LeftButton:
            return
        if self._box_from is not None:
            self._end_box(event.position())
        else:
            self.view_state.drag_end(time.perf_counter())
            self.setCursor(Qt.CursorShape.OpenHandCursor)
            self.wake()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """One octave closer about the cursor, or back."""
        if event.button() in (Qt.MouseButton.BackButton, Qt.MouseButton.ForwardButton):
            self.mousePressEvent(event)  # quick clicks count singly
            return
        gestures.double_click(self.view_state, event, self.devicePixelRatioF(), time.perf_counter())
        self.wake()

    def leaveEvent(self, event: QEvent) -> None:
        """The cursor is elsewhere."""
        self.pointer = None
        super().leaveEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows and W A S D pan, + and - zoom; tapped or held."""
        action = gestures.key_action(event)
        if action is None:
            super().keyPressEvent(event)
        elif not event.isAutoRepeat():
            self.view_state.key_press(action, time.perf_counter())
            self.wake()

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        """End a held key."""
        action = gestures.key_action(event, released=True)
        if action is None:
            super().keyReleaseEvent(event)
        elif not event.isAutoRepeat():
            self.view_state.key_release(action, time.perf_counter())
            self.wake()

    def focusOutEvent(self, event: Any) -> None:
        """A key released elsewhere must not go on."""
        self.view_state.release_all()
        super().focusOutEvent(event)

    def event(self, event: QEvent) -> bool:
        """Trackpad gestures and fingers, beside everything that Qt dispatches itself."""
        ratio, now = self.devicePixelRatioF(), time.perf_counter()
        if isinstance(event, QNativeGestureEvent):
            if gestures.native(self.view_state, event, ratio, now):
                self.wake()
                return True
        elif event.type() in _TOUCH and isinstance(event, QTouchEvent):
            # A Mac's trackpad sends touches too; what they mean comes as gestures.
            if event.device().type() == QInputDevice.DeviceType.TouchScreen:
                self._touch.handle(self.view_state, event, ratio, now)
                self.wake()
            event.accept()
            return True
        return super().event(event)
