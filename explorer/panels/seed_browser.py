"""A page of seeds, each with a small picture of the present place; a click shows one."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QColor, QIcon, QPixmap
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from explorer.latents import MAX_SEED, Stars
from explorer.panels.seed_pictures import THUMBNAIL_PX, SeedPictures
from explorer.panels.value_label import ValueLabel
from model.latent import Seed, in_short, parts_of, truncated

PAGE = 12
"""Seeds that are shown at once."""
_CELL_PX = (92, 88)
_SEED = Qt.ItemDataRole.UserRole
_EMPTY = QColor(128, 128, 128, 40)


class SeedBrowser(QWidget):
    """Pages of seeds, or of what has a star."""

    chosen = Signal(object)
    """Show this latent, whatever the truncation."""
    page_changed = Signal()
    """Other seeds are seen."""

    def __init__(self, pictures: SeedPictures, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pictures = pictures
        self.stars = Stars(None)
        self.psi = 1.0
        """Truncation of the pictures."""
        self.page = 0
        """Number of the page, 0 or more."""
        self._make_widgets()
        self._lay_out()
        pictures.changed.connect(self._show_pictures)

    def _make_widgets(self) -> None:
        tr = self.tr
        self.list = QListWidget()
        self.list.setAccessibleName(tr("Seeds"))
        self.list.setViewMode(QListWidget.ViewMode.IconMode)
        self.list.setMovement(QListWidget.Movement.Static)
        self.list.setResizeMode(QListWidget.ResizeMode.Adjust)
        self.list.setUniformItemSizes(True)
        self.list.setIconSize(QSize(*THUMBNAIL_PX))
        self.list.setGridSize(QSize(*_CELL_PX))
        self.list.itemClicked.connect(self._go)
        self.list.itemActivated.connect(self._go)
        self.seed = QSpinBox()
        self.seed.setRange(0, MAX_SEED)
        self.seed.setKeyboardTracking(False)
        self.seed.setAccessibleName(tr("Seed"))
        self.seed.setToolTip(tr("the seed that is shown; write another to go there"))
        self.seed.valueChanged.connect(self._typed)
        self.only_stars = _button(tr("Only ★"), tr("only what has a star"))
        self.only_stars.setCheckable(True)
        self.only_stars.toggled.connect(lambda _on: self.show_page(0))
        self.before = _button("‹", tr("seeds before these"))
        self.before.clicked.connect(lambda: self.show_page(self.page - 1))
        self.after = _button("›", tr("seeds after these"))
        self.after.clicked.connect(lambda: self.show_page(self.page + 1))
        self.range = ValueLabel(tr("Seeds that are shown"))
        self.range.setObjectName("quiet")
        self.range.setAlignment(Qt.AlignmentFlag.AlignCenter)

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        caption = QLabel(self.tr("Seed"))
        caption.setBuddy(self.seed)
        top, bottom = QHBoxLayout(), QHBoxLayout()
        for widget in (caption, self.seed):
            top.addWidget(widget)
        top.addStretch(1)
        top.addWidget(self.only_stars)
        bottom.addWidget(self.before)
        bottom.addWidget(self.range, 1)
        bottom.addWidget(self.after)
        layout.addLayout(top)
        layout.addWidget(self.list, 1)
        layout.addLayout(bottom)

    # What it shows.

    def seeds(self) -> list[Seed]:
        """The latents of the page, without truncation."""
        first = self.page * PAGE
        if self.only_stars.isChecked():
            return list(self.stars)[first : first + PAGE]
        return list(range(first, min(first + PAGE, MAX_SEED + 1)))

    def wanted(self) -> Iterable[Seed]:
        """The latents that pictures are wanted of."""
        return (truncated(seed, self.psi) for seed in self.seeds())

    def last_page(self) -> int:
        """Number of the last page that holds something."""
        count = len(self.stars) if self.only_stars.isChecked() else MAX_SEED + 1
        return max(0, (count - 1) // PAGE)

    def show_page(self, page: int) -> None:
        """Show the seeds of a page."""
        self.page = min(max(page, 0), self.last_page())
        self.list.clear()
        seeds = self.seeds()
        for seed in seeds:
            item = QListWidgetItem(self._name(seed))
            item.setData(_SEED, seed)
            item.setToolTip(str(seed))
            item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
            self.list.addItem(item)
        self._show_pictures()
        if not self.only_stars.isChecked():
            self.range.setText(self.tr("seeds {0} to {1}").format(seeds[0], seeds[-1]))
        elif seeds:
            self.range.setText(self.tr("{0} with a star").format(len(self.stars)))
        else:
            self.range.setText(self.tr("nothing has a star yet"))
        self.before.setEnabled(self.page > 0)
        self.after.setEnabled(self.page < self.last_page())
        self.page_changed.emit()

    def show_names(self) -> None:
        """Stars have changed."""
        if self.only_stars.isChecked():
            self.show_page(self.page)
            return
        for row in range(self.list.count()):
            item = self.list.item(row)
            item.setText(self._name(item.data(_SEED)))

    def show_seed(self, shown: Seed) -> None:
        """Show which latent is in the viewport."""
        heaviest = max(parts_of(shown), key=lambda part: part[1])[0]
        if self.seed.value() != heaviest and not self.seed.hasFocus():
            with QSignalBlocker(self.seed):
                self.seed.setValue(min(heaviest, MAX_SEED))
        seeds, bare = self.seeds(), truncated(shown, 1.0)
        row = seeds.index(bare) if bare in seeds else -1
        if self.list.currentRow() != row and not self.list.hasFocus():
            self.list.setCurrentRow(row)

    def _name(self, seed: Seed) -> str:
        return f"★ {in_short(seed)}" if seed in self.stars else in_short(seed)

    def _show_pictures(self) -> None:
        for row, seed in enumerate(self.wanted()):
            pixmap = self._pictures.of(seed)
            item = self.list.item(row)
            if pixmap is None:
                if item.icon().isNull():
                    pixmap = QPixmap(*THUMBNAIL_PX)
                    pixmap.fill(_EMPTY)
                else:
                    continue
            icon = QIcon(pixmap)
            icon.addPixmap(pixmap, QIcon.Mode.Selected)  # in its own colours
            item.setIcon(icon)

    # What a person does.

    def _go(self, item: QListWidgetItem) -> None:
        self.chosen.emit(item.data(_SEED))

    def _typed(self, seed: int) -> None:
        """Another seed was written: show it, and its page."""
        self.chosen.emit(seed)
        if seed not in self.seeds():
            with QSignalBlocker(self.only_stars):
                self.only_stars.setChecked(False)
            self.show_page(seed // PAGE)


def _button(text: str, tip: str) -> QToolButton:
    """`tip` is also what a screen reader says."""
    button = QToolButton()
    button.setText(text)
    button.setToolTip(tip)
    button.setAccessibleName(tip)
    return button
