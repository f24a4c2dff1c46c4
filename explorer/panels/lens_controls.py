"""Where the real picture is shown and what of it: the buttons and sliders of the reality lens."""

from __future__ import annotations

from typing import get_args

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QSlider,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from explorer.panels.lens_overlay import RADII_PX, Area, Content
from explorer.panels.value_label import ValueLabel

AREAS: tuple[Area, ...] = get_args(Area)
CONTENTS: tuple[Content, ...] = get_args(Content)
_GAINS = (1, 2, 4, 8, 16, 32)
_FIRST_GAIN = 2
_FIRST_RADIUS_PX = 140


class LensControls(QWidget):
    """What one can choose; says so with `changed`."""

    changed = Signal()
    """Something else is chosen."""
    turn_asked = Signal()
    """Of the two pictures that take turns, show the other one."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._areas, self._contents = QButtonGroup(self), QButtonGroup(self)
        self.buttons: dict[str, QToolButton] = {}
        """By area and by content."""
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addLayout(self._choices())
        self.size_slider, self._size_label = QSlider(), ValueLabel(self.tr("Size"))
        self.gain_slider, self._gain_label = QSlider(), ValueLabel(self.tr("Gain"))
        size = self.tr("Size"), self.size_slider, self._size_label, *RADII_PX
        gain = self.tr("Gain"), self.gain_slider, self._gain_label, 0, len(_GAINS) - 1
        self._options: dict[str, QWidget] = {
            "lens": self._slider_row(*size),
            "split": self._hint(self.tr("Drag the line over the picture.")),
            "blink": self._blink_row(),
            "difference": self._slider_row(*gain),
        }
        for row in self._options.values():
            layout.addWidget(row)
        self.size_slider.setValue(_FIRST_RADIUS_PX)
        self.gain_slider.setValue(_FIRST_GAIN)
        for slider in (self.size_slider, self.gain_slider):
            slider.valueChanged.connect(lambda _value: self._change())
        for group in (self._areas, self._contents):
            group.idClicked.connect(lambda _id: self._change())
        self.alternate_box.toggled.connect(lambda _on: self.changed.emit())
        self.turn_button.clicked.connect(lambda _checked=False: self.turn_asked.emit())
        self._change()

    def _choices(self) -> QGridLayout:
        """A row of buttons for the place, and one for what is shown there."""
        areas = {
            "lens": (self.tr("Lens"), self.tr("In a circle at the cursor")),
            "split": (self.tr("Split"), self.tr("Right of a line; left of it, the generated one")),
            "whole": (self.tr("Whole view"), self.tr("Everywhere")),
        }
        contents = {
            "real": (self.tr("Real"), self.tr("The real picture")),
            "blink": (self.tr("Blink"), self.tr("Generated and real in turns")),
            "difference": (
                self.tr("Difference"),
                self.tr("Generated minus real; grey where both are equal"),
            ),
        }
        grid = QGridLayout()
        grid.setHorizontalSpacing(4)
        rows = (self.tr("Where"), self._areas, areas), (self.tr("Show"), self._contents, contents)
        for row, (title, group, choices) in enumerate(rows):
            grid.addWidget(QLabel(title), row, 0)
            for column, (name, (text, help_)) in enumerate(choices.items(), 1):
                button = QToolButton()
                button.setText(text)
                button.setAccessibleName(text)
                button.setToolTip(help_)
                button.setCheckable(True)
                button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
                button.setChecked(column == 1)
                group.addButton(button, column - 1)
                self.buttons[name] = button
                grid.addWidget(button, row, column)
        return grid

    def _slider_row(
        self, name: str, slider: QSlider, value: QLabel, low: int, high: int
    ) -> QWidget:
        row = QWidget()
        layout = QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        slider.setOrientation(Qt.Orientation.Horizontal)
        slider.setRange(low, high)
        slider.setAccessibleName(name)
        value.setMinimumWidth(value.fontMetrics().horizontalAdvance("0000 px"))
        layout.addWidget(QLabel(name))
        layout.addWidget(slider, 1)
        layout.addWidget(value)
        return row

    def _hint(self, text: str) -> QWidget:
        label = QLabel(text)
        label.setObjectName("quiet")
        label.setAccessibleName(text)
        label.setWordWrap(True)
        return label

    def _blink_row(self) -> QWidget:
        row = QWidget()
        layout = QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        self.alternate_box = QCheckBox(self.tr("By itself"))
        self.alternate_box.setAccessibleName(self.tr("Blink by itself"))
        self.turn_button = QToolButton()
        self.turn_button.setText(self.tr("The other one"))
        self.turn_button.setAccessibleName(self.tr("Show the other picture"))
        layout.addWidget(self.alternate_box)
        layout.addWidget(self.turn_button)
        layout.addStretch(1)
        return row

    @property
    def area(self) -> Area:
        """Where the real picture is shown."""
        return AREAS[self._areas.checkedId()]

    @property
    def content(self) -> Content:
        """What is shown there."""
        return CONTENTS[self._contents.checkedId()]

    @property
    def radius_px(self) -> int:
        """Of the lens, logical pixels."""
        return self.size_slider.value()

    @property
    def gain(self) -> float:
        """Factor of the signed difference."""
        return float(_GAINS[self.gain_slider.value()])

    @property
    def blinks(self) -> bool:
        """The two pictures take turns by themselves."""
        return self.content == "blink" and self.alternate_box.isChecked()

    def choose(self, name: Area | Content) -> None:
        """Press the button of that name."""
        self.buttons[name].click()

    def resize_lens(self, step_px: int) -> None:
        """Make the lens larger or smaller."""
        self.size_slider.setValue(self.size_slider.value() + step_px)

    def _change(self) -> None:
        self._size_label.setText(self.tr("{0} px").format(self.radius_px))
        self._gain_label.setText(f"× {self.gain:g}")
        for name, row in self._options.items():
            row.setVisible(name in (self.area, self.content))
        self.changed.emit()
