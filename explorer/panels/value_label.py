"""A label that shows a value, and says it to who cannot see it."""

from __future__ import annotations

from PySide6.QtWidgets import QLabel, QWidget


class ValueLabel(QLabel):
    """A text that changes, under a name that stays.

    Qt tells a screen reader the text of a label as its name. With another name nobody would hear
    what it shows, were that not its description.
    """

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        """`name` says what the value is of."""
        super().__init__(parent)
        self.setAccessibleName(name)

    def setText(self, text: str) -> None:
        """Show `text`."""
        super().setText(text)
        self.setAccessibleDescription(text)

    def clear(self) -> None:
        """Show and say nothing."""
        self.setText("")
