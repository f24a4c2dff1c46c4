"""A plane of latents to drag in: seeds at whole numbers, blends of their neighbours between."""

from __future__ import annotations

import math
from collections.abc import Callable

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QResizeEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from model.latent import on_plane, plane_seed

CELL_PX = (112, 96)
"""From one seed to the next, logical pixels."""
_PICTURE_PX = (72, 54)
_CLICK_PX = 4.0
_STEP = 0.1
_ARROWS: dict[int, tuple[int, int]] = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Down: (0, 1),
}


class LatentPlane(QWidget):
    """The plane under a cross that stays in the middle; dragged like the picture itself."""

    moved = Signal(float, float)
    """A hand has moved the cross to this column and row."""
    view_changed = Signal()
    """Other seeds are seen."""

    def __init__(
        self,
        picture: Callable[[int], QPixmap | None],
        is_starred: Callable[[int], bool],
        parent: QWidget | None = None,
    ) -> None:
        """`picture` and `is_starred` are asked about a seed when it is painted."""
        super().__init__(parent)
        self._picture, self._is_starred = picture, is_starred
        self._at = (0.0, 0.0)
        self._pressed: tuple[QPointF, tuple[float, float]] | None = None
        self._is_drag = False
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.OpenHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(180, 150)
        self.setAccessibleName(self.tr("Plane of latents"))
        self.setAccessibleDescription(
            self.tr("Arrows move by a tenth, with Shift to the next seed")
        )
        self.setToolTip(self.tr("Drag to blend, click a picture to go to its seed"))

    def sizeHint(self) -> QSize:
        """Room for three seeds by three."""
        return QSize(3 * CELL_PX[0], 3 * CELL_PX[1])

    @property
    def is_held(self) -> bool:
        """A button holds the plane."""
        return self._pressed is not None

    @property
    def position(self) -> tuple[float, float]:
        """Column and row under the cross."""
        return self._at

    def set_position(self, x: float, y: float) -> None:
        """Put column `x` and row `y` under the cross; tells nobody but the pictures."""
        at = on_plane(x, y)
        if at != self._at:
            self._at = at
            self.update()
            self.view_changed.emit()

    def to_screen(self, x: float, y: float) -> QPointF:
        """Where a point of the plane is, logical pixels."""
        return QPointF(
            self.width() / 2 + (x - self._at[0]) * CELL_PX[0],
            self.height() / 2 + (y - self._at[1]) * CELL_PX[1],
        )

    def to_plane(self, at: QPointF) -> tuple[float, float]:
        """Which point of the plane lies at a place; it may lie beyond its edge."""
        return (
            self._at[0] + (at.x() - self.width() / 2) / CELL_PX[0],
            self._at[1] + (at.y() - self.height() / 2) / CELL_PX[1],
        )

    def visible(self) -> list[tuple[int, int, int]]:
        """Column, row and seed of all that is seen, the nearest to the cross first."""
        left, top = self.to_plane(QPointF(-_PICTURE_PX[0] / 2, -_PICTURE_PX[1] / 2))
        right, bottom = self.to_plane(
            QPointF(self.width() + _PICTURE_PX[0] / 2, self.height() + _PICTURE_PX[1] / 2)
        )
        found = [
            (math.dist((column, row), self._at), column, row, seed)
            for row in range(math.ceil(top), math.floor(bottom) + 1)
            for column in range(math.ceil(left), math.floor(right) + 1)
            if (seed := plane_seed(column, row)) is not None
        ]
        return [(column, row, seed) for _, column, row, seed in sorted(found)]

    # Painting.

    def paintEvent(self, event: QPaintEvent) -> None:
        """The grid, the pictures of the seeds, the cross."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        palette = self.palette()
        accent, quiet = palette.highlight().color(), palette.placeholderText().color()
        painter.fillRect(self.rect(), palette.base())
        self._paint_grid(painter, quiet)
        for column, row, seed in reversed(self.visible()):
            self._paint_seed(painter, self.to_screen(column, row), seed, quiet)
        self._paint_cross(painter, accent)
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(accent)
            painter.drawRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5))

    def _paint_grid(self, painter: QPainter, color: QColor) -> None:
        faint = QColor(color)
        faint.setAlpha(60)
        painter.setPen(QPen(faint, 1))
        for column, row, _ in self.visible():
            at = self.to_screen(column, row)
            for across, down in ((1, 0), (0, 1)):
                if plane_seed(column + across, row + down) is not None:
                    painter.drawLine(at, at + QPointF(across * CELL_PX[0], down * CELL_PX[1]))

    def _paint_seed(self, painter: QPainter, at: QPointF, seed: int, quiet: QColor) -> None:
        rect = self.picture_rect(at)
        pixmap = self._picture(seed)
        painter.fillRect(rect, self.palette().alternateBase())
        if pixmap is not None:
            painter.drawPixmap(rect, pixmap, QRectF(pixmap.rect()))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(quiet, 1))
        painter.drawRect(rect)
        label = f"★ {seed}" if self._is_starred(seed) else str(seed)
        width, height = self.fontMetrics().horizontalAdvance(label) + 8, self.fontMetrics().height()
        box = QRectF(at.x() - width / 2, rect.bottom() + 1, width, height)
        painter.fillRect(box, self.palette().base())
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, label)

    def _paint_cross(self, painter: QPainter, accent: QColor) -> None:
        middle = QPointF(self.width() / 2, self.height() / 2)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for color, width in ((self.palette().base().color(), 4.0), (accent, 2.0)):
            painter.setPen(QPen(color, width))
            painter.drawEllipse(middle, 7, 7)
            for dx, dy in _ARROWS.values():
                painter.drawLine(
                    middle + QPointF(7 * dx, 7 * dy), middle + QPointF(13 * dx, 13 * dy)
                )

    @staticmethod
    def picture_rect(at: QPointF) -> QRectF:
        """Where the picture of a seed is whose point lies at `at`."""
        width, height = _PICTURE_PX
        return QRectF(at.x() - width / 2, at.y() - height / 2, width, height)

    # Hands.

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Take hold of the plane."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._pressed, self._is_drag = (event.position(), self._at), False
            self.setCursor(Qt.CursorShape.ClosedHandCursor)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """The plane follows the hand.

        From where both were when the button went down, so that no move counts twice, however many
        there are.
        """
        if self._pressed is None or not event.buttons() & Qt.MouseButton.LeftButton:
            return
        pressed, (x, y) = self._pressed
        gone = event.position() - pressed
        self._is_drag |= math.hypot(gone.x(), gone.y()) >= _CLICK_PX
        if self._is_drag:
            self._move(x - gone.x() / CELL_PX[0], y - gone.y() / CELL_PX[1])

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Let go; a click goes to its point, on a picture to the very seed."""
        if event.button() != Qt.MouseButton.LeftButton or self._pressed is None:
            return
        self._pressed = None
        self.setCursor(Qt.CursorShape.OpenHandCursor)
        if not self._is_drag:
            x, y = self.to_plane(event.position())
            for column, row, _ in self.visible():
                if self.picture_rect(self.to_screen(column, row)).contains(event.position()):
                    x, y = column, row
                    break
            self._move(x, y)

    def event(self, event: QEvent) -> bool:
        """Take the arrows before a shortcut of the window does."""
        if (
            isinstance(event, QKeyEvent)
            and event.type() == QEvent.Type.ShortcutOverride
            and event.key() in _ARROWS
        ):
            event.accept()
            return True
        return super().event(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """More or fewer seeds are seen."""
        super().resizeEvent(event)
        self.view_changed.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Move by a tenth, or with Shift to the next seed."""
        step = _ARROWS.get(event.key())
        if step is None or event.modifiers() & Qt.KeyboardModifier.AltModifier:
            super().keyPressEvent(event)
        elif event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self._move(*(_next_whole(v, d) for v, d in zip(self._at, step, strict=True)))
        else:
            self._move(*(round(v + d * _STEP, 3) for v, d in zip(self._at, step, strict=True)))

    def _move(self, x: float, y: float) -> None:
        before = self._at
        self.set_position(x, y)
        if self._at != before:
            self.moved.emit(*self._at)


def _next_whole(value: float, direction: int) -> float:
    """The next whole number that way; `value` itself where `direction` is 0."""
    if direction == 0:
        return value
    return math.floor(value) + 1.0 if direction > 0 else math.ceil(value) - 1.0
