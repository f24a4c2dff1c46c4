"""From one latent to another: a strip of pictures on the way, and a slider along it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from PySide6.QtCore import QPointF, QRectF, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent, QPen, QPixmap
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QSlider, QVBoxLayout, QWidget

from explorer.latents import Stars
from explorer.panels.seed_pictures import THUMBNAIL_PX, SeedPictures
from explorer.panels.value_label import ValueLabel
from model.latent import Seed, blend, parse_seed, parts_of, truncated

STEPS = 100
"""Places of the slider between one end and the other."""
_FRAMES = 5


class LatentBlend(QWidget):
    """Two ends, and what lies between them."""

    moved = Signal(object)
    """A hand asks for this latent, whatever the truncation."""
    ends_changed = Signal()
    """Other latents are seen."""
    notice = Signal(str)

    def __init__(self, pictures: SeedPictures, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.psi = 1.0
        """Truncation of the pictures."""
        self._ends: list[Seed] = [0, 1]
        tr = self.tr
        self.combos = [
            self._combo(0, tr("First latent"), tr("where the way begins: a seed or a star")),
            self._combo(1, tr("Second latent"), tr("where the way ends: a seed or a star")),
        ]
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, STEPS)
        self.slider.setPageStep(STEPS // (_FRAMES - 1))
        self.slider.setAccessibleName(tr("From the first to the second latent"))
        self.slider.valueChanged.connect(self._slid)
        self.share = ValueLabel(tr("How much of each"))
        self.share.setObjectName("quiet")
        self.share.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.strip = _Strip(
            lambda index: pictures.of(truncated(self._at(index / (_FRAMES - 1)), self.psi)),
            lambda: self.slider.value() / STEPS,
        )
        self.strip.setToolTip(tr("Click or drag to blend"))
        self.strip.asked.connect(lambda t: self.slider.setValue(round(t * STEPS)))
        pictures.changed.connect(self.strip.update)
        self._lay_out()
        self._tell()

    def _combo(self, index: int, name: str, tip: str) -> QComboBox:
        combo = QComboBox()
        combo.setEditable(True)
        combo.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        combo.setMinimumWidth(72)
        combo.setAccessibleName(name)
        combo.setToolTip(tip)
        combo.setEditText(str(self._ends[index]))
        combo.activated.connect(lambda _row: self._typed(index))
        line = combo.lineEdit()
        assert line is not None, "an editable box has a line"
        line.editingFinished.connect(lambda: self._typed(index))
        return combo

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        row = QHBoxLayout()
        for text, combo in zip((self.tr("From"), self.tr("to")), self.combos, strict=True):
            caption = QLabel(text)
            caption.setBuddy(combo)
            row.addWidget(caption)
            row.addWidget(combo, 1)
        layout.addLayout(row)
        layout.addWidget(self.strip)
        layout.addWidget(self.slider)
        layout.addWidget(self.share)
        layout.addStretch(1)

    # What it shows.

    @property
    def ends(self) -> tuple[Seed, Seed]:
        """The two latents, without truncation."""
        return self._ends[0], self._ends[1]

    def set_ends(self, first: Seed, second: Seed) -> None:
        """Blend these two from now on; what is shown stays."""
        self._ends = [truncated(first, 1.0), truncated(second, 1.0)]
        for combo, end in zip(self.combos, self._ends, strict=True):
            combo.setEditText(str(end))
        self._tell()
        self.ends_changed.emit()

    def set_stars(self, stars: Stars) -> None:
        """Offer these."""
        for combo in self.combos:
            text = combo.currentText()
            with QSignalBlocker(combo):
                combo.clear()
                combo.addItems([str(seed) for seed in stars])
                combo.setEditText(text)

    def wanted(self) -> Iterable[Seed]:
        """The latents that pictures are wanted of."""
        order = sorted(range(_FRAMES), key=lambda i: (i % (_FRAMES - 1) != 0, i))  # ends first
        return (truncated(self._at(i / (_FRAMES - 1)), self.psi) for i in order)

    def show_seed(self, shown: Seed) -> None:
        """Put the slider where the latent that is shown lies, if it lies on the way."""
        bare = truncated(shown, 1.0)
        known = {seed for end in self.ends for seed, _ in parts_of(end)}
        if not {seed for seed, _ in parts_of(bare)} <= known:
            return
        here = self.slider.value()
        for step in (here, *range(STEPS + 1)):
            if self._at(step / STEPS) == bare:
                with QSignalBlocker(self.slider):
                    self.slider.setValue(step)
                self._tell()
                return

    def _at(self, t: float) -> Seed:
        return blend(*self.ends, round(t, 2))

    def _tell(self) -> None:
        share = self.slider.value() / STEPS
        self.share.setText(
            self.tr("{0} of {1}, {2} of {3}").format(
                f"{1 - share:.0%}", self._ends[0], f"{share:.0%}", self._ends[1]
            )
        )
        self.strip.update()

    # What a person does.

    def _slid(self, step: int) -> None:
        self._tell()
        self.moved.emit(self._at(step / STEPS))

    def _typed(self, index: int) -> None:
        combo = self.combos[index]
        try:
            seed = truncated(parse_seed(combo.currentText()), 1.0)
        except ValueError as error:
            combo.setEditText(str(self._ends[index]))
            self.notice.emit(str(error))
            return
        if seed == self._ends[index]:
            return
        self._ends[index] = seed
        self.ends_changed.emit()
        self._slid(self.slider.value())


class _Strip(QWidget):
    """Pictures side by side, and a line where one is."""

    asked = Signal(float)
    """A hand asks for this fraction of the way."""

    def __init__(
        self, picture: Callable[[int], QPixmap | None], fraction: Callable[[], float]
    ) -> None:
        super().__init__()
        self._picture, self._fraction = picture, fraction
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setMinimumHeight(self.sizeHint().height())
        self.setAccessibleName(self.tr("Pictures on the way"))

    def sizeHint(self) -> QSize:
        """As wide as a narrow panel, as high as its pictures then are."""
        width = 260
        return QSize(width, round(width / _FRAMES * THUMBNAIL_PX[1] / THUMBNAIL_PX[0]) + 12)

    def _x_of(self, fraction: float) -> float:
        cell = self.width() / _FRAMES
        return cell / 2 + fraction * (self.width() - cell)

    def paintEvent(self, event: QPaintEvent) -> None:
        """The pictures, evenly on the way."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        palette = self.palette()
        painter.fillRect(self.rect(), palette.base())
        width = self.width() / _FRAMES - 2
        height = min(width * THUMBNAIL_PX[1] / THUMBNAIL_PX[0], self.height() - 8)
        width = height * THUMBNAIL_PX[0] / THUMBNAIL_PX[1]
        for index in range(_FRAMES):
            x = self._x_of(index / (_FRAMES - 1))
            rect = QRectF(x - width / 2, (self.height() - height) / 2, width, height)
            pixmap = self._picture(index)
            if pixmap is None:
                painter.fillRect(rect, palette.alternateBase())
            else:
                painter.drawPixmap(rect, pixmap, QRectF(pixmap.rect()))
        x = self._x_of(self._fraction())
        painter.setPen(QPen(palette.highlight().color(), 2))
        painter.drawLine(QPointF(x, 0), QPointF(x, self.height()))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Go there."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._ask(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Follow the hand."""
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._ask(event)

    def _ask(self, event: QMouseEvent) -> None:
        cell = self.width() / _FRAMES
        fraction = (event.position().x() - cell / 2) / max(1.0, self.width() - cell)
        self.asked.emit(min(max(fraction, 0.0), 1.0))
