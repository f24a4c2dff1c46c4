"""What the app says to the person: a line over the picture, and a dialog for what went wrong."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication, Qt, QTimer
from PySide6.QtGui import QGuiApplication, QIcon
from PySide6.QtWidgets import QMessageBox, QWidget

from explorer.messages import Failure
from explorer.panels.overlays import Overlay
from explorer.panels.value_label import ValueLabel

_NOTICE_MS = 4000
_BELOW_PX = 24
_SIDE_PX = 24
_ICON_PX = 64


class Notice(ValueLabel):
    """A short line at the foot of the picture."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(QCoreApplication.translate("Notice", "Notice"), parent)
        self.setObjectName("notice")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.hide)
        self.hide()

    @property
    def is_staying(self) -> bool:
        """It was told to stay until something else is said."""
        return self.isVisible() and not self._timer.isActive()

    def tell(self, text: str, stay: bool = False) -> None:
        """Show `text`; it goes by itself unless `stay`."""
        self.setText(text)
        self.place()
        self.show()
        self.raise_()
        if stay:
            self._timer.stop()
        else:
            self._timer.start(_NOTICE_MS)

    def place(self) -> None:
        """Go to the middle of the foot; a long line is broken."""
        parent = self.parentWidget()
        if parent is None:
            return
        room = max(parent.width() - 2 * _SIDE_PX, 80)
        self.setWordWrap(False)
        self.setMinimumWidth(0)
        self.adjustSize()
        if self.width() > room:
            self.setWordWrap(True)
            self.setMinimumWidth(room)
            self.adjustSize()
        x = (parent.width() - self.width()) // 2
        self.move(max(0, x), parent.height() - self.height() - _BELOW_PX)
        for other in parent.findChildren(Overlay):
            if other.isVisible() and other.geometry().intersects(self.geometry()):
                self.move(self.x(), min(self.y(), other.y() - self.height() - 8))


class FailureBox:
    """One dialog for all failures: it does not block, and a second one replaces the first."""

    def __init__(self, parent: QWidget) -> None:
        self._parent = parent
        self.dialog: QMessageBox | None = None
        self._failure: Failure | None = None

    def tell(self, failure: Failure) -> None:
        """Show `failure`."""
        self._failure = failure
        if self.dialog is None:
            dialog = QMessageBox(self._parent)
            dialog.setIcon(QMessageBox.Icon.Warning)
            dialog.setWindowModality(Qt.WindowModality.WindowModal)
            ok = dialog.addButton(QMessageBox.StandardButton.Ok)
            ok.setIcon(QIcon())
            dialog.setEscapeButton(ok)  # else neither Esc nor the window's frame would close it
            copy = dialog.addButton(_tr("Copy details"), QMessageBox.ButtonRole.ActionRole)
            # Qt closes the box at any button: the details are copied, the failure stays shown.
            copy.clicked.disconnect()
            copy.clicked.connect(self.copy)
            dialog.finished.connect(self._forget)
            self.dialog = dialog
        self.dialog.setWindowTitle(failure.title)
        self.dialog.setText(f"<b>{failure.title}</b>")
        self.dialog.setInformativeText(failure.text)
        self.dialog.show()

    def copy(self) -> None:
        """Put everything that is known of the failure on the clipboard."""
        failure = self._failure
        if failure is not None:
            text = f"{failure.title}\n{failure.text}\n\n{failure.details}".strip()
            QGuiApplication.clipboard().setText(text)

    def _forget(self) -> None:
        if self.dialog is not None:
            self.dialog.deleteLater()
            self.dialog = None


def show_text(parent: QWidget, title: str, text: str) -> QMessageBox:
    """A text (rich) with the app's icon, until it is put away; does not block."""
    box = QMessageBox(parent)
    box.setWindowTitle(title)
    box.setText(text)
    box.setIconPixmap(QGuiApplication.windowIcon().pixmap(_ICON_PX, _ICON_PX))
    box.setWindowModality(Qt.WindowModality.WindowModal)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.addButton(QMessageBox.StandardButton.Ok).setIcon(QIcon())
    box.show()
    return box


def _tr(text: str) -> str:
    return QCoreApplication.translate("FailureBox", text)
