"""The settings dialog: one line per field of `Settings`, in effect at once."""

from __future__ import annotations

from dataclasses import Field, fields, replace
from typing import Any

from PySide6.QtCore import QCoreApplication, Signal
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from explorer.settings import Settings


class SettingsDialog(QDialog):
    """Every change is told at once; there is nothing to confirm."""

    changed = Signal(object)
    """The new `Settings`."""

    def __init__(self, settings: Settings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.settings = settings
        self.editors: dict[str, QComboBox | QCheckBox] = {}
        self.setWindowTitle(self.tr("Settings"))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 20, 24, 18)
        layout.setSpacing(18)
        form = QFormLayout()
        form.setHorizontalSpacing(20)
        form.setVerticalSpacing(10)
        for entry in fields(Settings):
            self._add(form, entry)
        layout.addLayout(form)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        defaults = buttons.addButton(self.tr("Defaults"), QDialogButtonBox.ButtonRole.ResetRole)
        close = buttons.button(QDialogButtonBox.StandardButton.Close)
        close.setIcon(QIcon())
        close.setDefault(True)
        defaults.setAutoDefault(False)
        defaults.clicked.connect(lambda: self.set_settings(Settings()))
        buttons.rejected.connect(self.reject)
        layout.addWidget(buttons)

    def _add(self, form: QFormLayout, entry: Field[Any]) -> None:
        label = _tr(entry.metadata["label"])
        choices = entry.metadata["choices"]
        value = getattr(self.settings, entry.name)
        editor: QComboBox | QCheckBox
        if choices:
            editor = QComboBox()
            for choice, text in choices.items():
                editor.addItem(_tr(text), choice)
            editor.setCurrentIndex(list(choices).index(value))
            editor.currentIndexChanged.connect(lambda _i, e=entry.name: self._edited(e))
            form.addRow(label, editor)
        else:
            editor = QCheckBox(label)
            editor.setChecked(value)
            editor.toggled.connect(lambda _on, e=entry.name: self._edited(e))
            form.addRow("", editor)
        editor.setAccessibleName(label)
        editor.setAccessibleDescription(_tr(entry.metadata["help"]))
        about = QLabel(_tr(entry.metadata["help"]))
        about.setObjectName("quiet")
        form.addRow("", about)
        self.editors[entry.name] = editor

    def set_settings(self, settings: Settings) -> None:
        """Show others; tells them when they differ."""
        for entry in fields(Settings):
            editor, value = self.editors[entry.name], getattr(settings, entry.name)
            if isinstance(editor, QCheckBox):
                editor.setChecked(value)
            else:
                editor.setCurrentIndex(editor.findData(value))

    def _edited(self, name: str) -> None:
        editor = self.editors[name]
        value = editor.isChecked() if isinstance(editor, QCheckBox) else editor.currentData()
        settings = replace(self.settings, **{name: value})
        if settings != self.settings:
            self.settings = settings
            self.changed.emit(settings)


def _tr(text: str) -> str:
    return QCoreApplication.translate("Settings", text)
