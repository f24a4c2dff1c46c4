"""The latents panel: seeds with pictures of the present place, blends, a plane, truncation."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import (
    QButtonGroup,
    QDockWidget,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QSlider,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from explorer.latents import Stars, stars_file
from explorer.messages import SceneInfo
from explorer.panels.latent_blend import LatentBlend
from explorer.panels.latent_plane import LatentPlane
from explorer.panels.seed_browser import SeedBrowser
from explorer.panels.seed_pictures import SeedPictures
from explorer.panels.value_label import ValueLabel
from explorer.viewport import Viewport
from model.latent import (
    Seed,
    parse_seed,
    parts_of,
    plane_latent,
    plane_point,
    psi_of,
    truncated,
)

_PATIENCE = 5
PSI_STEPS = 20
"""Places of the truncation slider from the mean to the latent as it is."""


class LatentsPanel(QDockWidget):
    """Three pages: seeds, a way between two latents, a plane; below them what is shown."""

    seed_asked = Signal(object)
    """Show this latent (`model.latent.Seed`)."""
    seed_dragged = Signal(object)
    """A hand moves; show this latent as soon as the one before is shown."""
    notice = Signal(str)
    """One line for the person."""

    def __init__(
        self, viewport: Viewport, folder: Path | None, parent: QWidget | None = None
    ) -> None:
        """`folder` keeps the stars; None keeps them in memory."""
        super().__init__(parent)
        self.viewport = viewport
        self.folder = folder
        self.stars = Stars(None)
        self._seed: Seed = 0
        """What is shown, or was asked for last."""
        self._patience = 0
        """So many ticks more is waited until what was asked for is shown."""
        self.setWindowTitle(self.tr("Latents"))
        self.setObjectName("latents_dock")
        self.setAccessibleName(self.tr("Latents"))
        self.pictures = SeedPictures(viewport, self)
        self.browser = SeedBrowser(self.pictures)
        self.between = LatentBlend(self.pictures)
        self.plane = LatentPlane(
            lambda seed: self.pictures.of(truncated(seed, self.psi)),
            lambda seed: seed in self.stars,
        )
        self._make_widgets()
        self._lay_out()
        self._connect()
        if viewport.scene is not None:
            self._show_scene(viewport.scene)

    # What is in it.

    def _make_widgets(self) -> None:
        tr = self.tr
        self.single = QLabel(
            tr("This scene is one picture: it has no latents, and every seed shows the same.")
        )
        self.single.setWordWrap(True)
        self.tabs = QButtonGroup(self)
        for number, (text, tip) in enumerate(
            (
                (tr("Seeds"), tr("browse seeds and stars")),
                (tr("Between"), tr("blend from one latent to another")),
                (tr("Plane"), tr("drag over a plane of seeds")),
            )
        ):
            button = QToolButton()
            button.setText(text)
            button.setToolTip(tip)
            button.setAccessibleName(text)
            button.setCheckable(True)
            self.tabs.addButton(button, number)
        self.tabs.button(0).setChecked(True)
        self.stack = QStackedWidget()
        self.where = ValueLabel(tr("Place on the plane"))
        self.where.setObjectName("quiet")
        self.where.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.text = QLineEdit()
        self.text.setAccessibleName(tr("Latent"))
        self.text.setToolTip(
            tr("what is shown, as links and --seed have it; write another, as 12~37@0.25")
        )
        self.star = QToolButton()
        self.star.setText("☆")
        self.star.setCheckable(True)
        self.star.setToolTip(tr("star this latent, to find it again"))
        self.star.setAccessibleName(self.star.toolTip())
        self.truncation = QSlider(Qt.Orientation.Horizontal)
        self.truncation.setRange(0, PSI_STEPS)
        self.truncation.setValue(PSI_STEPS)
        self.truncation.setPageStep(PSI_STEPS // 4)
        self.truncation.setAccessibleName(tr("Truncation"))
        self.truncation.setToolTip(
            tr("how far from the mean of all latents: 1 as it is, 0 the mean itself")
        )
        self.psi_shown = QLabel()
        self.psi_shown.setMinimumWidth(self.psi_shown.fontMetrics().horizontalAdvance("0.00") + 4)

    def _lay_out(self) -> None:
        on_plane = QWidget()
        inside = QVBoxLayout(on_plane)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addWidget(self.plane, 1)
        inside.addWidget(self.where)
        for page in (self.browser, self.between, on_plane):
            self.stack.addWidget(page)
        tabs, shown, truncation = QHBoxLayout(), QHBoxLayout(), QHBoxLayout()
        for button in self.tabs.buttons():
            tabs.addWidget(button)
        tabs.addStretch(1)
        for row, text, widget, last in (
            (shown, self.tr("Latent"), self.text, self.star),
            (truncation, self.tr("Truncation"), self.truncation, self.psi_shown),
        ):
            caption = QLabel(text)
            caption.setBuddy(widget)
            row.addWidget(caption)
            row.addWidget(widget, 1)
            row.addWidget(last)
        self.many = QWidget()
        many = QVBoxLayout(self.many)
        many.setContentsMargins(0, 0, 0, 0)
        many.addLayout(tabs)
        many.addWidget(self.stack, 1)
        many.addLayout(shown)
        many.addLayout(truncation)
        body = QWidget()
        layout = QVBoxLayout(body)
        layout.setContentsMargins(10, 8, 10, 10)
        layout.addWidget(self.single)
        layout.addWidget(self.many, 1)
        layout.addStretch(0)
        self.setWidget(body)

    def _connect(self) -> None:
        self.tabs.idClicked.connect(self.show_page)
        self.browser.chosen.connect(lambda seed: self._show(truncated(seed, self.psi)))
        self.browser.page_changed.connect(self._want)
        self.between.moved.connect(lambda seed: self._drag(truncated(seed, self.psi)))
        self.between.ends_changed.connect(self._want)
        self.between.notice.connect(self.notice)
        self.plane.moved.connect(lambda x, y: self._drag(plane_latent(x, y, self.psi)))
        self.plane.view_changed.connect(self._plane_moved)
        self.pictures.changed.connect(self.plane.update)
        self.pictures.ticked.connect(self.refresh)
        self.text.returnPressed.connect(self._typed)
        self.star.clicked.connect(self._toggle_star)
        self.truncation.valueChanged.connect(self._truncated)
        self.viewport.scene_changed.connect(self._show_scene)
        self.viewport.scene_opened.connect(lambda _info: self.refresh())

    # What it shows.

    def showEvent(self, event: QShowEvent) -> None:
        """Pictures are wanted from now on."""
        super().showEvent(event)
        self.refresh()
        self._want()
        self.pictures.start()

    def hideEvent(self, event: QHideEvent) -> None:
        """Nobody sees them: they are not rendered."""
        super().hideEvent(event)
        self.pictures.stop()

    @property
    def psi(self) -> float:
        """The truncation that the slider shows."""
        return self.truncation.value() / PSI_STEPS

    def show_page(self, number: int) -> None:
        """Show the seeds (0), the way between two (1) or the plane (2)."""
        self.tabs.button(number).setChecked(True)
        if number == 1 and self.stack.currentIndex() != 1:
            self._choose_ends()
        self.stack.setCurrentIndex(number)
        self.refresh()
        self._want()

    def _choose_ends(self) -> None:
        """Begin at what is shown, unless that lies on the way already."""
        shown = truncated(self.viewport.stream.seed, 1.0)
        first, second = self.between.ends
        seeds = {seed for seed, _ in (*parts_of(first), *parts_of(second))}
        if not {seed for seed, _ in parts_of(shown)} <= seeds:
            others = [seed for seed in self.stars if seed != shown]
            heaviest = max(parts_of(shown), key=lambda part: part[1])[0]
            self.between.set_ends(shown, others[0] if others else heaviest + 1)

    def _want(self) -> None:
        """Ask for the pictures of what is seen."""
        wanted: Iterable[Seed]
        if self.stack.currentIndex() == 0:
            wanted = self.browser.wanted()
        elif self.stack.currentIndex() == 1:
            wanted = self.between.wanted()
        else:
            wanted = (truncated(seed, self.psi) for _, _, seed in self.plane.visible())
        self.pictures.want(tuple(wanted))

    def _plane_moved(self) -> None:
        x, y = self.plane.position
        self.where.setText(self.tr("column {0}, row {1}").format(f"{x:.2f}", f"{y:.2f}"))
        if self.stack.currentIndex() == 2:
            self._want()

    def _show_scene(self, scene: SceneInfo) -> None:
        """Another scene, with other stars."""
        self.single.setVisible(not scene.has_latents)
        self.many.setVisible(scene.has_latents)
        self.pictures.forget()
        try:
            self.stars = Stars(self.folder and stars_file(self.folder, scene))
        except (OSError, ValueError) as error:
            self.stars = Stars(None)
            self.notice.emit(self.tr("Stars are not kept: {0}").format(error))
        self.browser.stars = self.stars
        self.between.set_stars(self.stars)
        self.browser.only_stars.setChecked(False)
        self.browser.show_page(0)
        self.refresh()

    def refresh(self) -> None:
        """Show which latent is in the viewport, unless a hand is changing it."""
        shown = self.viewport.stream.seed
        starred = shown in self.stars
        self.star.setChecked(starred)
        self.star.setText("★" if starred else "☆")
        held = self.plane.is_held or self.between.slider.isSliderDown()
        if held or self.truncation.isSliderDown() or self.viewport.is_swapping:
            return
        if shown != self._seed and self._patience > 0:
            self._patience -= 1
            return
        self._seed, self._patience = shown, 0
        if not self.text.hasFocus():
            self._write(shown)
        psi = psi_of(shown)
        if round(psi * PSI_STEPS) != self.truncation.value():
            with QSignalBlocker(self.truncation):
                self.truncation.setValue(round(psi * PSI_STEPS))
            self._psi_changed()
        self.psi_shown.setText(f"{psi:.2f}")
        self.browser.show_seed(shown)
        self.between.show_seed(shown)
        point = plane_point(shown)
        if point is not None and point != _rounded(self.plane.position):
            self.plane.set_position(*point)

    def _psi_changed(self) -> None:
        """Pictures are wanted with another truncation."""
        self.psi_shown.setText(f"{self.psi:.2f}")
        self.browser.psi = self.between.psi = self.psi
        self._want()

    # What a person does.

    def _show(self, seed: Seed) -> None:
        self._asked(seed)
        self.seed_asked.emit(seed)
        self.refresh()

    def _drag(self, seed: Seed) -> None:
        self._asked(seed)
        self.seed_dragged.emit(seed)

    def _asked(self, seed: Seed) -> None:
        """From now on this is what the truncation acts on, shown or not yet."""
        self._seed, self._patience = seed, _PATIENCE
        self._write(seed)

    def _write(self, seed: Seed) -> None:
        if self.text.text() != str(seed):
            self.text.setText(str(seed))
            self.text.setCursorPosition(0)

    def _truncated(self) -> None:
        self._psi_changed()
        self._drag(truncated(self._seed, self.psi))

    def _typed(self) -> None:
        try:
            seed = parse_seed(self.text.text())
        except ValueError as error:
            self.notice.emit(str(error))
            return
        self._show(seed)

    def _toggle_star(self) -> None:
        seed = self.viewport.stream.seed
        try:
            self.stars.set(seed, seed not in self.stars)
        except (OSError, ValueError) as error:
            self.notice.emit(self.tr("The star was not kept: {0}").format(error))
        self.browser.show_names()
        self.between.set_stars(self.stars)
        self.plane.update()
        self.refresh()


def _rounded(position: tuple[float, float]) -> tuple[float, float]:
    return round(position[0], 3), round(position[1], 3)
