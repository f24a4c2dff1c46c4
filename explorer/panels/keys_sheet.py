"""The sheet of keys that `?` and F1 lay over the picture; written from the registry of actions."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from explorer.actions import GESTURES, Action, key_text, translated

_MARGIN_PX = 12
_KEY_PX = 150
_WHAT_PX = 270


class KeysSheet(QFrame):
    """All gestures and keys, in two columns, in the middle of its parent; it scrolls if it must."""

    def __init__(self, parent: QWidget, actions: Iterable[Action]) -> None:
        super().__init__(parent)
        self.setObjectName("sheet")
        self.setAccessibleName(self.tr("Keys"))
        self._actions = actions
        outer = QVBoxLayout(self)
        outer.setContentsMargins(2, 2, 2, 2)
        self._scroll = QScrollArea()
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.setWidgetResizable(True)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._scroll.setObjectName("clear")
        outer.addWidget(self._scroll)
        parent.installEventFilter(self)
        self.hide()

    def toggle(self) -> None:
        """Show or hide."""
        if self.isVisible():
            self.hide()
            return
        self._write()
        self._centre()
        self.show()
        self.raise_()

    def rows(self) -> list[tuple[str, str]]:
        """Key or gesture, and what it does: what the sheet shows."""
        rows = [(translated(gesture), translated(meaning)) for gesture, meaning in GESTURES]
        for action in self._actions:
            if action.shortcuts:
                keys = ",  ".join(key_text(key) for key in action.shortcuts)
                rows.append((keys, translated(action.help or action.plain_text)))
        return rows

    def _write(self) -> None:
        page = QWidget()
        page.setObjectName("clear")
        page.setAccessibleName(self.tr("Keys"))
        grid = QGridLayout(page)
        grid.setContentsMargins(30, 22, 30, 26)
        grid.setHorizontalSpacing(18)
        grid.setVerticalSpacing(7)
        title = QLabel(self.tr("Keys"))
        title.setObjectName("title")
        grid.addWidget(title, 0, 0, 1, 4)
        rows = self.rows()
        columns = 2 if self._parent_size()[0] > 900 else 1
        per_column = -(-len(rows) // columns)
        for index, row in enumerate(rows):
            column, line = divmod(index, per_column)
            for part, (text, name) in enumerate(zip(row, ("key", "what"), strict=True)):
                label = QLabel(text)
                label.setObjectName(name)
                label.setWordWrap(True)
                width = _WHAT_PX if name == "what" else _KEY_PX
                label.setFixedWidth(width)
                label.setMinimumHeight(label.heightForWidth(width))
                side = Qt.AlignmentFlag.AlignVCenter
                grid.addWidget(label, line + 1, 3 * column + part, side)
        if columns == 2:
            grid.setColumnMinimumWidth(2, 16)
        self._scroll.setWidget(page)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Stay in the middle while the parent is resized."""
        if event.type() == QEvent.Type.Resize and self.isVisible():
            self._centre()
        return super().eventFilter(watched, event)

    def mousePressEvent(self, event: QEvent) -> None:
        """A click puts it away."""
        self.hide()

    def _parent_size(self) -> tuple[int, int]:
        parent = self.parentWidget()
        return (0, 0) if parent is None else (parent.width(), parent.height())

    def _centre(self) -> None:
        page = self._scroll.widget()
        if page is None:
            return
        width, height = self._parent_size()
        bar = self._scroll.verticalScrollBar().sizeHint().width()
        wanted = page.sizeHint()
        across = min(wanted.width() + bar + 6, width - 2 * _MARGIN_PX)
        tall = max(wanted.height(), page.heightForWidth(across - bar)) + 6
        down = min(tall, height - 2 * _MARGIN_PX)
        self.setGeometry((width - across) // 2, (height - down) // 2, across, down)
