"""The sheet of keys that `?` and F1 lay over the picture."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QWidget

KEYS: tuple[tuple[str, str], ...] = (
    ("Wheel, pinch", "zoom about the cursor"),
    ("Drag", "move the picture; let go in motion to fling it"),
    ("Double click", "one octave closer; with Shift, one back"),
    ("Arrows, W A S D", "move; tap or hold"),
    ("+  −,  E  Q", "closer and back; tap or hold"),
    ("Home,  F,  0", "the whole picture"),
    ("Space", "fall to the finest level; from there, back to the whole"),
    ("Ctrl O", "open a checkpoint or an image; or drop one here"),
    ("Ctrl S", "save a still"),
    ("Ctrl Shift C", "copy the view for the command line"),
    ("Ctrl B", "status line"),
    ("F11", "full screen"),
    ("?,  F1", "this sheet"),
    ("Esc", "stop a flight, close this sheet, leave full screen"),
)


class KeysSheet(QFrame):
    """A list of keys in the middle of its parent."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("sheet")
        grid = QGridLayout(self)
        grid.setContentsMargins(32, 26, 32, 28)
        grid.setHorizontalSpacing(22)
        grid.setVerticalSpacing(9)
        title = QLabel("Keys")
        title.setObjectName("title")
        grid.addWidget(title, 0, 0, 1, 2)
        for row, (key, what) in enumerate(KEYS, 1):
            for column, (text, name) in enumerate(((key, "key"), (what, "what"))):
                label = QLabel(text)
                label.setObjectName(name)
                grid.addWidget(label, row, column, Qt.AlignmentFlag.AlignLeft)
        parent.installEventFilter(self)
        self.hide()

    def toggle(self) -> None:
        """Show or hide."""
        self.setVisible(not self.isVisible())
        if self.isVisible():
            self._centre()
            self.raise_()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Stay in the middle while the parent is resized."""
        if event.type() == QEvent.Type.Resize and self.isVisible():
            self._centre()
        return super().eventFilter(watched, event)

    def mousePressEvent(self, event: QEvent) -> None:
        """A click puts it away."""
        self.hide()

    def _centre(self) -> None:
        self.adjustSize()
        parent = self.parentWidget()
        if parent is not None:
            self.move(
                max(0, (parent.width() - self.width()) // 2),
                max(0, (parent.height() - self.height()) // 2),
            )
