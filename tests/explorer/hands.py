"""Hands for tests: events as a person's mouse, wheel, fingers and files would send them."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QEvent, QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QMouseEvent, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

LEFT = Qt.MouseButton.LeftButton
NONE = Qt.KeyboardModifier.NoModifier


def wheel(
    widget: QWidget,
    notches: float,
    x: float,
    y: float,
    modifiers: Qt.KeyboardModifier = NONE,
) -> None:
    """Turn the wheel over (x, y)."""
    at = QPointF(x, y)
    event = QWheelEvent(
        at, widget.mapToGlobal(at), QPoint(), QPoint(0, round(120 * notches)),
        Qt.MouseButton.NoButton, modifiers, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(widget, event)


def drag(
    widget: QWidget,
    start: tuple[int, int],
    end: tuple[int, int],
    modifiers: Qt.KeyboardModifier = NONE,
) -> None:
    """Press, move in steps, let go."""
    (x0, y0), (x1, y1) = start, end
    QTest.mousePress(widget, LEFT, modifiers, QPoint(x0, y0))
    for i in range(1, 5):
        QTest.mouseMove(widget, QPoint(x0 + (x1 - x0) * i // 4, y0 + (y1 - y0) * i // 4))
    QTest.mouseRelease(widget, LEFT, modifiers, QPoint(x1, y1))


def drop(window: QWidget, *what: Path | str) -> bool:
    """Drop files or a text on the window; whether it was taken."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(file)) for file in what if isinstance(file, Path)])
    for text in what:
        if isinstance(text, str):
            data.setText(text)
    at = QPoint(20, 60)
    enter = QDragEnterEvent(at, Qt.DropAction.CopyAction, data, LEFT, NONE)
    QApplication.sendEvent(window, enter)
    if not enter.isAccepted():
        return False
    event = QDropEvent(QPointF(at), Qt.DropAction.CopyAction, data, LEFT, NONE)
    QApplication.sendEvent(window, event)
    return True


def hover(widget: QWidget, x: float, y: float) -> None:
    """Move the mouse to (x, y), no button held."""
    at = QPointF(x, y)
    no = Qt.MouseButton.NoButton
    event = QMouseEvent(QEvent.Type.MouseMove, at, widget.mapToGlobal(at), no, no, NONE)
    QApplication.sendEvent(widget, event)
