"""The timeline of a flight: a picture at each keyframe, dragged in time; a click goes there."""

from __future__ import annotations

import math
from collections.abc import Callable

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPixmap
from PySide6.QtWidgets import QWidget

from explorer.camera import Camera
from explorer.director import Director
from model.latent import Seed

THUMBNAIL_PX = (84, 56)
"""Width and height of a keyframe's picture, logical pixels."""
_RULER_PX = 20
_LANE_PX = 16
_MARGIN_PX = THUMBNAIL_PX[0] // 2 + 8
_DRAG_PX = 4
_NUDGE_S = 0.1
_TICKS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600, 1800)


class Timeline(QWidget):
    """Shows the keyframes of a `Director`, the rests, and where one is."""

    key_chosen = Signal(int)
    """A keyframe was clicked, or reached by keys."""
    go_asked = Signal(int)
    """Go to this keyframe."""
    key_moved = Signal(int, float)
    """A keyframe is being dragged to this time, s."""
    move_ended = Signal()
    scrubbed = Signal(float)
    """The flight is to be seen at this time, s."""
    split_asked = Signal(float)
    """A keyframe is wanted at this time, s."""
    delete_asked = Signal(int)

    def __init__(
        self,
        director: Director,
        thumbnail: Callable[[Camera, Seed | None], QPixmap],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._director = director
        self._thumbnail = thumbnail
        self.selected = -1
        """Number of the chosen keyframe; -1: none."""
        self.playhead_s = 0.0
        self._pressed: tuple[int, float, float] | None = None  # key, x, time when pressed
        self._dragging = False
        self._drag_scale: float | None = None  # pixels per second, which stay during a drag
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumHeight(self.sizeHint().height())
        self.setMinimumWidth(320)
        self.setAccessibleName(self.tr("Timeline"))
        self.setAccessibleDescription(
            self.tr(
                "Left and right choose a keyframe, Shift with them moves it, Enter goes there, "
                "Delete removes it"
            )
        )
        self.setToolTip(
            self.tr("Drag a picture in time, click it to go there; double click adds a keyframe")
        )

    def sizeHint(self) -> QSize:
        """As high as a picture with its ruler and lane."""
        return QSize(640, _RULER_PX + THUMBNAIL_PX[1] + _LANE_PX + 10)

    # Time and pixels.

    @property
    def _scale(self) -> float:
        """Pixels per second."""
        if self._drag_scale is not None:
            return self._drag_scale
        return max(1.0, self.width() - 2 * _MARGIN_PX) / max(self._director.duration_s, 1.0)

    def x_of(self, time_s: float) -> float:
        """Where a time is, logical pixels."""
        return _MARGIN_PX + time_s * self._scale

    def time_at(self, x: float) -> float:
        """The time at a place; before the beginning it is 0, s."""
        return max(0.0, (x - _MARGIN_PX) / self._scale)

    def key_rect(self, index: int) -> QRectF:
        """The picture of a keyframe."""
        width, height = THUMBNAIL_PX
        x = self.x_of(self._director.keys[index].time_s)
        return QRectF(x - width / 2, _RULER_PX + 2, width, height)

    def key_at(self, at: QPointF) -> int:
        """The keyframe whose picture is there, the chosen one first; -1: none."""
        keys = self._director.keys
        order = [*range(len(keys))]
        if 0 <= self.selected < len(keys):
            order.append(self.selected)
        for index in reversed(order):
            if self.key_rect(index).contains(at):
                return index
        return -1

    # What is shown.

    def refresh(self) -> None:
        """The flight has changed."""
        self.selected = min(self.selected, len(self._director.keys) - 1)
        self.update()

    def choose(self, index: int) -> None:
        """Choose a keyframe."""
        self.selected = index
        self.update()

    def set_playhead(self, time_s: float) -> None:
        """Show where in the flight one is."""
        if time_s != self.playhead_s:
            self.playhead_s = time_s
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Ruler, lane, pictures, playhead."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        palette = self.palette()
        quiet, text = palette.placeholderText().color(), palette.text().color()
        painter.fillRect(self.rect(), palette.base())
        keys = self._director.keys
        if not keys:
            painter.setPen(quiet)
            hint = self.tr("K keeps the view that you see as a keyframe; or record a flight.")
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect().adjusted(12, 0, -12, 0), flags, hint)
            return
        self._paint_ruler(painter, quiet)
        self._paint_lane(painter, quiet, palette.highlight().color())
        order = [i for i in range(len(keys)) if i != self.selected]
        if 0 <= self.selected < len(keys):
            order.append(self.selected)
        for index in order:
            self._paint_key(painter, index, palette.highlight().color(), quiet)
        painter.setPen(QPen(text, 1.5))
        x = self.x_of(min(self.playhead_s, self._director.duration_s))
        painter.drawLine(QPointF(x, 0), QPointF(x, self.height()))
        if self.hasFocus():
            painter.setPen(palette.highlight().color())
            painter.drawRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5))

    def _paint_ruler(self, painter: QPainter, color: QColor) -> None:
        """Times, at round distances of 60 pixels or more."""
        painter.setPen(color)
        step = next((t for t in _TICKS_S if t * self._scale >= 60), _TICKS_S[-1])
        for number in range(math.floor(self.time_at(self.width()) / step) + 1):
            x = self.x_of(number * step)
            painter.drawLine(QPointF(x, _RULER_PX - 4), QPointF(x, _RULER_PX))
            label = self.tr("{0} s").format(f"{number * step:g}")
            box = QRectF(x - 30, 0, 60, _RULER_PX - 4)
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, label)

    def _paint_lane(self, painter: QPainter, quiet: QColor, accent: QColor) -> None:
        """The ways as thin lines, dashed where timed evenly; rests as bars."""
        y = _RULER_PX + THUMBNAIL_PX[1] + 4 + _LANE_PX / 2
        keys, director = self._director.keys, self._director
        ends = [*keys[1:], *((keys[0],) if director.loop_s else ())]
        for a, b in zip(keys, ends, strict=False):
            arrival = director.duration_s if b is keys[0] else b.time_s
            smooth = b.ease == "smooth"
            style = Qt.PenStyle.SolidLine if smooth else Qt.PenStyle.DashLine
            painter.setPen(QPen(quiet, 1.5, style))
            painter.drawLine(
                QPointF(self.x_of(a.leave_s) + 5, y), QPointF(self.x_of(arrival) - 5, y)
            )
        for index, key in enumerate(keys):
            color = accent if index == self.selected else quiet
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(color)
            left, right = self.x_of(key.time_s), self.x_of(key.leave_s)
            painter.drawRoundedRect(QRectF(left - 4, y - 4, right - left + 8, 8), 4, 4)
        if director.loop_s:
            x = self.x_of(director.duration_s)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(quiet, 1.5))
            painter.drawEllipse(QPointF(x, y), 4, 4)

    def _paint_key(self, painter: QPainter, index: int, accent: QColor, quiet: QColor) -> None:
        rect = self.key_rect(index)
        key = self._director.keys[index]
        pixmap = self._thumbnail(key.camera, key.seed)
        if pixmap.isNull():
            painter.fillRect(rect, self.palette().alternateBase())
        else:
            painter.drawPixmap(rect, pixmap, QRectF(pixmap.rect()))
        chosen = index == self.selected
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(accent if chosen else quiet, 2 if chosen else 1))
        painter.drawRect(rect)

    # Hands.

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """On a picture: choose it, and drag or go there on release. Elsewhere: scrub."""
        if event.button() != Qt.MouseButton.LeftButton:
            return
        at = event.position()
        index = self.key_at(at)
        if index >= 0:
            self._pressed = (index, at.x(), self._director.keys[index].time_s)
            self.choose(index)
            self.key_chosen.emit(index)
        elif self._director.keys:
            self._scrub(at.x())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Drag a keyframe, or the playhead."""
        if not event.buttons() & Qt.MouseButton.LeftButton:
            return
        x = event.position().x()
        if self._pressed is None:
            if self._director.keys:
                self._scrub(x)
            return
        index, begin_x, begin_s = self._pressed
        if not self._dragging and abs(x - begin_x) >= _DRAG_PX:
            self._dragging, self._drag_scale = True, self._scale
        if self._dragging:
            self.key_moved.emit(index, begin_s + (x - begin_x) / self._scale)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """A click goes to the keyframe; a drag ends."""
        pressed, dragging = self._pressed, self._dragging
        self._pressed, self._dragging, self._drag_scale = None, False, None
        if dragging:
            self.move_ended.emit()
        elif pressed is not None:
            self.go_asked.emit(pressed[0])
        self.update()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Beside the pictures: a keyframe is wanted there."""
        if self.key_at(event.position()) < 0 and self._director.keys:
            self.split_asked.emit(self.time_at(event.position().x()))

    def _scrub(self, x: float) -> None:
        time_s = min(self.time_at(x), self._director.duration_s)
        self.set_playhead(time_s)
        self.scrubbed.emit(time_s)

    def event(self, event: QEvent) -> bool:
        """Take the keys that are of use here before a shortcut of the window does."""
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent):
            plain = event.modifiers() & ~Qt.KeyboardModifier.ShiftModifier
            keys = (Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Delete, Qt.Key.Key_Return)
            if event.key() in keys and not plain & ~Qt.KeyboardModifier.KeypadModifier:
                event.accept()
                return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Choose, move, go to and remove keyframes."""
        keys, index = self._director.keys, self.selected
        key = event.key()
        shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        if not keys or event.modifiers() & Qt.KeyboardModifier.AltModifier:
            super().keyPressEvent(event)
        elif key in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            step = 1 if key == Qt.Key.Key_Right else -1
            if shift and index >= 0:
                self.key_moved.emit(index, keys[index].time_s + step * _NUDGE_S)
                self.move_ended.emit()
            elif not shift:
                self.choose(min(max(index + step, 0), len(keys) - 1))
                self.key_chosen.emit(self.selected)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and index >= 0:
            self.go_asked.emit(index)
        elif key == Qt.Key.Key_Delete and index >= 0:
            self.delete_asked.emit(index)
        else:
            super().keyPressEvent(event)
