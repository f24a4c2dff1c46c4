"""The list of bookmarks: pictures with names; a double click flies there."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPoint, QSize, Qt, Signal
from PySide6.QtGui import QAction, QIcon, QKeySequence, QPixmap
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDockWidget,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from explorer.actions import key_text
from explorer.bookmarks import Bookmarks
from explorer.view_links import ViewError

THUMBNAIL_PX = (112, 84)
"""Width and height of a thumbnail in the list, logical pixels."""


class BookmarksPanel(QDockWidget):
    """Shows the bookmarks of the scene that is open; rename, delete, drag to another place."""

    go_asked = Signal(int)
    """Fly to the bookmark of this number."""
    add_asked = Signal()
    """Keep the present view."""
    failed = Signal(str)
    """A change could not be written; one line."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Bookmarks"))
        self.setObjectName("bookmarks_dock")
        self.setAccessibleName(self.tr("Bookmarks"))
        self._bookmarks = Bookmarks(None)
        body = QWidget()
        layout = QVBoxLayout(body)
        layout.setContentsMargins(10, 8, 10, 10)
        self.list = QListWidget()
        self.list.setAccessibleName(self.tr("Bookmarks"))
        self.list.setIconSize(QSize(*THUMBNAIL_PX))
        self.list.setSpacing(3)
        self.list.setWordWrap(True)
        self.list.setDragDropMode(QAbstractItemView.DragDropMode.InternalMove)
        self.list.setEditTriggers(QAbstractItemView.EditTrigger.EditKeyPressed)
        self.list.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.list.customContextMenuRequested.connect(self._show_menu)
        self.list.itemDoubleClicked.connect(lambda item: self.go_asked.emit(self.list.row(item)))
        self.list.itemChanged.connect(self._renamed)
        self.list.model().rowsMoved.connect(self._moved)
        self.list.currentRowChanged.connect(lambda _row: self._enable())
        self.empty = QLabel(self.tr("{0} keeps the view that you see.").format(key_text("Ctrl+D")))
        self.empty.setObjectName("quiet")
        self.empty.setWordWrap(True)
        layout.addWidget(self.empty)
        layout.addWidget(self.list, 1)
        layout.addLayout(self._buttons())
        self.setWidget(body)
        self._add_list_keys()
        self.show_bookmarks(self._bookmarks)

    def _buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.add_button = self._button(self.tr("Add"), self.add_asked.emit)
        self.go_button = self._button(self.tr("Go"), self._go)
        self.rename_button = self._button(self.tr("Rename"), self.rename)
        self.delete_button = self._button(self.tr("Delete"), self.delete)
        for button in (self.add_button, self.go_button, self.rename_button, self.delete_button):
            row.addWidget(button)
        row.addStretch(1)
        return row

    def _button(self, text: str, slot: Callable[[], object]) -> QToolButton:
        button = QToolButton()
        button.setText(text)
        button.setAccessibleName(text)
        button.clicked.connect(lambda _checked=False: slot())
        return button

    def _add_list_keys(self) -> None:
        for key, slot in ((QKeySequence("Del"), self.delete), (QKeySequence("Return"), self._go)):
            action = QAction(self.list)
            action.setShortcut(key)
            action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
            action.triggered.connect(lambda _checked=False, s=slot: s())
            self.list.addAction(action)

    def show_bookmarks(self, bookmarks: Bookmarks) -> None:
        """Show these, also after one was added to them."""
        self._bookmarks = bookmarks
        row = self.list.currentRow()
        self.list.blockSignals(True)
        self.list.clear()
        for index in range(len(bookmarks)):
            bookmark = bookmarks[index]
            item = QListWidgetItem(bookmark.name)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
            item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsDropEnabled)
            pixmap = QPixmap()
            if pixmap.loadFromData(bookmark.thumbnail):
                item.setIcon(QIcon(pixmap))
            view = bookmark.view
            x, y = view.center_xy
            item.setToolTip(
                self.tr("{0} {1}, level {2}").format(f"{x:+.5f}", f"{y:+.5f}", f"{view.level:.2f}")
            )
            self.list.addItem(item)
        self.list.blockSignals(False)
        self.list.setCurrentRow(min(row, len(bookmarks) - 1))
        self.empty.setVisible(len(bookmarks) == 0)
        self._enable()

    def _enable(self) -> None:
        chosen = self.list.currentRow() >= 0
        for button in (self.go_button, self.rename_button, self.delete_button):
            button.setEnabled(chosen)

    def rename(self) -> None:
        """Let the person write another name for the chosen one."""
        item = self.list.currentItem()
        is_editing = self.list.state() == QAbstractItemView.State.EditingState
        if item is not None and not is_editing:  # Qt would complain of a second editor
            self.list.editItem(item)

    def delete(self) -> None:
        """Forget the chosen one."""
        row = self.list.currentRow()
        if row >= 0:
            self._change(lambda: self._bookmarks.remove(row))

    def _go(self) -> None:
        if self.list.currentRow() >= 0:
            self.go_asked.emit(self.list.currentRow())

    def _renamed(self, item: QListWidgetItem) -> None:
        row, name = self.list.row(item), item.text()
        if name != self._bookmarks[row].name:
            self._change(lambda: self._bookmarks.rename(row, name))

    def _moved(self, _parent: object, start: int, _end: int, _into: object, before: int) -> None:
        self._change(lambda: self._bookmarks.move(start, before - (before > start)))

    def _change(self, change: Callable[[], None]) -> None:
        """Do it; what could not be written is told, and the list shows what is kept."""
        try:
            change()
        except (OSError, ViewError) as error:
            self.failed.emit(str(error))
        self.show_bookmarks(self._bookmarks)

    def _show_menu(self, at: QPoint) -> None:
        if self.list.itemAt(at) is None:
            return
        menu = QMenu(self)
        menu.setAccessibleName(self.tr("Bookmark"))
        menu.addAction(self.tr("Go"), self._go)
        menu.addAction(self.tr("Rename"), self.rename)
        menu.addAction(self.tr("Delete"), self.delete)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(self.list.mapToGlobal(at))
