"""The command palette: a few letters find everything that one can do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QObject, QSize, Qt, QTimer
from PySide6.QtGui import QKeyEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

_WIDTH_PX = 560
_ROWS = 9
_ROW_PX = 34
_MOVES = {
    Qt.Key.Key_Up: -1,
    Qt.Key.Key_Down: 1,
    Qt.Key.Key_PageUp: -_ROWS,
    Qt.Key.Key_PageDown: _ROWS,
}


@dataclass(frozen=True)
class Command:
    """A line of the palette."""

    text: str
    run: Callable[[], object]
    shortcut: str = ""
    help: str = ""


class _Elided(QLabel):
    """A line that ends with an ellipsis where there is too little room for it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.setMinimumWidth(1)

    def paintEvent(self, event: QPaintEvent) -> None:
        """As much of the text as fits."""
        box = self.contentsRect()
        text = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, box.width())
        painter = QPainter(self)
        painter.setPen(self.palette().color(self.foregroundRole()))
        painter.drawText(box, Qt.AlignmentFlag.AlignVCenter, text)


def fuzzy_score(query: str, text: str) -> float | None:
    """How well `text` fits `query`; None where its letters do not occur in this order.

    Letters at the beginning of words, and letters that follow each other, count more; a shorter
    text wins.
    """
    wanted = [c for c in query.casefold() if not c.isspace()]
    lowered = text.casefold()
    best: float | None = None
    first = lowered.find(wanted[0]) if wanted else -1
    if not wanted:
        return 0.0
    while first >= 0:
        score = _score_from(wanted, lowered, first)
        if score is not None and (best is None or score > best):
            best = score
        first = lowered.find(wanted[0], first + 1)
    return None if best is None else best - 0.01 * len(text)


def _score_from(wanted: list[str], text: str, first: int) -> float | None:
    score, last = 0.0, first - 1
    for index, letter in enumerate(wanted):
        at = text.find(letter, last + 1)
        if at < 0:
            return None
        starts_word = at == 0 or not text[at - 1].isalnum()
        follows = index > 0 and at == last + 1
        score += 1.0 + 2.0 * starts_word + 1.5 * follows
        last = at
    return score


def ranked(query: str, commands: Iterable[Command]) -> list[Command]:
    """The commands that fit, the best first; what only their help says counts less."""
    found: list[tuple[float, Command]] = []
    for command in commands:
        score = fuzzy_score(query, command.text)
        if score is None and len(query) > 2 and query.casefold() in command.help.casefold():
            score = -1.0
        if score is not None:
            found.append((score, command))
    return [command for _, command in sorted(found, key=lambda pair: -pair[0])]


class Palette(QFrame):
    """A line to type in and the commands that fit; over the top of its parent."""

    def __init__(self, parent: QWidget, commands: Callable[[], list[Command]]) -> None:
        """`commands` is asked each time that the palette opens."""
        super().__init__(parent)
        self._commands = commands
        self._known: list[Command] = []
        self._shown: list[Command] = []
        self.setObjectName("sheet")
        self.setAccessibleName(self.tr("Commands"))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 12, 12, 12)
        self.line = QLineEdit()
        self.line.setPlaceholderText(self.tr("What to do: a few letters are enough"))
        self.line.setAccessibleName(self.tr("Search commands"))
        self.line.textChanged.connect(self._search)
        self.line.installEventFilter(self)
        self.list = QListWidget()
        self.list.setAccessibleName(self.tr("Commands that fit"))
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.itemClicked.connect(lambda _item: self._run())
        layout.addWidget(self.line)
        layout.addWidget(self.list)
        parent.installEventFilter(self)
        self.hide()

    def open(self) -> None:
        """Show everything, and wait for letters."""
        self._known = self._commands()
        self.line.clear()
        self._search("")
        self._place()
        self.show()
        self.raise_()
        self.line.setFocus()

    def close_palette(self) -> None:
        """Put it away; the keyboard goes back to the picture."""
        self.hide()
        parent = self.parentWidget()
        if parent is not None:
            parent.setFocus()

    def shown(self) -> list[str]:
        """Texts of the lines, in order."""
        return [command.text for command in self._shown]

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Keys of the line: up and down choose, Enter runs; a lost keyboard closes."""
        if watched is self.line and isinstance(event, QKeyEvent):
            return event.type() == QEvent.Type.KeyPress and self._key(event)
        if watched is self.line and event.type() == QEvent.Type.FocusOut:
            self.hide()
        elif watched is self.parent() and event.type() == QEvent.Type.Resize and self.isVisible():
            self._place()
        return super().eventFilter(watched, event)

    def _key(self, event: QKeyEvent) -> bool:
        key = Qt.Key(event.key())
        if key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._run()
        elif key == Qt.Key.Key_Escape:
            self.close_palette()
        elif key in _MOVES:
            step = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1, Qt.Key.Key_PageUp: -_ROWS}.get(
                key, _ROWS
            )
            row = min(max(self.list.currentRow() + step, 0), self.list.count() - 1)
            self.list.setCurrentRow(row)
        else:
            return False
        return True

    def _search(self, query: str) -> None:
        self._shown = ranked(query, self._known)
        self.list.clear()
        for command in self._shown:
            item = QListWidgetItem()
            item.setData(Qt.ItemDataRole.AccessibleTextRole, f"{command.text} {command.shortcut}")
            item.setToolTip(command.help)
            self.list.addItem(item)
            self.list.setItemWidget(item, self._row(command))
            item.setSizeHint(QSize(1, _ROW_PX))
        self.list.setCurrentRow(0)

    def _row(self, command: Command) -> QWidget:
        row = QWidget()
        layout = QHBoxLayout(row)
        layout.setContentsMargins(8, 3, 8, 3)
        layout.addWidget(QLabel(command.text))
        if command.help:
            about = _Elided(command.help)
            about.setObjectName("what")
            layout.addWidget(about, 1)
        else:
            layout.addStretch(1)
        if command.shortcut:
            key = QLabel(command.shortcut)
            key.setObjectName("key")
            layout.addWidget(key)
        return row

    def _run(self) -> None:
        row = self.list.currentRow()
        if not 0 <= row < len(self._shown):
            return
        command = self._shown[row]
        self.close_palette()
        # Not inside the event filter: a command may open a dialog with a loop of its own, and an
        # exception from C that leaves a filter ends the process (PySide 6.11 on Python 3.11).
        QTimer.singleShot(0, command.run)

    def _place(self) -> None:
        parent = self.parentWidget()
        if parent is None:
            return
        width = min(_WIDTH_PX, parent.width() - 16)
        layout = self.layout()
        assert layout is not None
        around = layout.contentsMargins()
        above = around.top() + self.line.sizeHint().height() + layout.spacing()
        beside = above + around.bottom() + 2 * self.list.frameWidth() + 2
        rows = max(1, min(_ROWS, (parent.height() - 16 - beside) // _ROW_PX))
        height = beside + rows * _ROW_PX
        self.setGeometry((parent.width() - width) // 2, 8, width, height)
