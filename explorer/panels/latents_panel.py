"""The latents panel: the present place with many seeds at once; a click shows one of them."""

from __future__ import annotations

import math
from pathlib import Path

from PySide6.QtCore import QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QHideEvent, QIcon, QImage, QPixmap, QShowEvent
from PySide6.QtWidgets import (
    QDockWidget,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from explorer.camera import camera_level
from explorer.latents import MAX_SEED, Stars, stars_file
from explorer.messages import (
    MAX_PICTURE_PX,
    ExactView,
    Picture,
    PictureRequest,
    PicturesReady,
    SceneInfo,
)
from explorer.viewport import Viewport
from model.scale import density

PAGE = 12
"""Seeds that are shown at once."""
THUMBNAIL_PX = (84, 63)
"""Width and height of a thumbnail, logical pixels."""
_CELL_PX = (92, 88)
_UPDATE_MS = 200
_SEED = Qt.ItemDataRole.UserRole
_EMPTY = QColor(128, 128, 128, 40)


class LatentsPanel(QDockWidget):
    """Seeds with thumbnails of the place that one is at; stars; one click shows a seed."""

    seed_asked = Signal(int)
    """Show the latent of this seed."""
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
        self.page = 0
        """Number of the page, 0 or more."""
        self._scene: SceneInfo | None = None
        self._asked: PictureRequest | None = None
        self.setWindowTitle(self.tr("Latents"))
        self.setObjectName("latents_dock")
        self.setAccessibleName(self.tr("Latents"))
        self._make_widgets()
        self._lay_out()
        self._timer = QTimer(self)
        self._timer.setInterval(_UPDATE_MS)
        self._timer.timeout.connect(self.refresh)
        viewport.pictures_ready.connect(self._take)
        viewport.scene_opened.connect(self._show_scene)
        if viewport.scene is not None:
            self._show_scene(viewport.scene)

    # What is in it.

    def _make_widgets(self) -> None:
        tr = self.tr
        self.single = QLabel(
            tr("This scene is one picture: it has no latents, and every seed shows the same.")
        )
        self.single.setWordWrap(True)
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
        self.star = _button("☆", tr("star this seed, to find it again"))
        self.star.setCheckable(True)
        self.star.clicked.connect(self._toggle_star)
        self.only_stars = _button(tr("Only ★"), tr("only seeds with a star"))
        self.only_stars.setCheckable(True)
        self.only_stars.toggled.connect(lambda _on: self.show_page(0))
        self.before = _button("‹", tr("seeds before these"))
        self.before.clicked.connect(lambda: self.show_page(self.page - 1))
        self.after = _button("›", tr("seeds after these"))
        self.after.clicked.connect(lambda: self.show_page(self.page + 1))
        self.range = QLabel()
        self.range.setObjectName("quiet")
        self.range.setAccessibleName(tr("Seeds that are shown"))
        self.range.setAlignment(Qt.AlignmentFlag.AlignCenter)

    def _lay_out(self) -> None:
        body = QWidget()
        layout = QVBoxLayout(body)
        layout.setContentsMargins(10, 8, 10, 10)
        layout.addWidget(self.single)
        self.browser = QWidget()
        inside = QVBoxLayout(self.browser)
        inside.setContentsMargins(0, 0, 0, 0)
        caption = QLabel(self.tr("Seed"))
        caption.setBuddy(self.seed)
        top, bottom = QHBoxLayout(), QHBoxLayout()
        for widget in (caption, self.seed, self.star):
            top.addWidget(widget)
        top.addStretch(1)
        top.addWidget(self.only_stars)
        bottom.addWidget(self.before)
        bottom.addWidget(self.range, 1)
        bottom.addWidget(self.after)
        inside.addLayout(top)
        inside.addWidget(self.list, 1)
        inside.addLayout(bottom)
        layout.addWidget(self.browser, 1)
        layout.addStretch(0)
        self.setWidget(body)

    # What it shows.

    def showEvent(self, event: QShowEvent) -> None:
        """Thumbnails are wanted from now on."""
        super().showEvent(event)
        self._timer.start()
        self.refresh()

    def hideEvent(self, event: QHideEvent) -> None:
        """Nobody sees them: they are not rendered."""
        super().hideEvent(event)
        self._timer.stop()
        if self._asked is not None:
            self._asked = None
            self.viewport.inference.ask_pictures(PictureRequest("latents", ""))

    def _show_scene(self, scene: SceneInfo) -> None:
        """Another scene, with other stars."""
        same = self._scene is not None and self._scene.path == scene.path
        self._scene, self._asked = scene, None
        self.single.setVisible(not scene.has_latents)
        self.browser.setVisible(scene.has_latents)
        if not same or scene.step is None:
            try:
                self.stars = Stars(self.folder and stars_file(self.folder, scene))
            except (OSError, ValueError) as error:
                self.stars = Stars(None)
                self.notice.emit(self.tr("Stars are not kept: {0}").format(error))
            self.only_stars.setChecked(False)
            self.show_page(0)

    def seeds(self) -> list[int]:
        """The seeds of the page."""
        first = self.page * PAGE
        if self.only_stars.isChecked():
            return list(self.stars)[first : first + PAGE]
        return list(range(first, min(first + PAGE, MAX_SEED + 1)))

    def last_page(self) -> int:
        """Number of the last page that holds a seed."""
        count = len(self.stars) if self.only_stars.isChecked() else MAX_SEED + 1
        return max(0, (count - 1) // PAGE)

    def show_page(self, page: int) -> None:
        """Show the seeds of a page."""
        self.page = min(max(page, 0), self.last_page())
        self.list.clear()
        empty = QPixmap(*THUMBNAIL_PX)
        empty.fill(_EMPTY)
        for seed in self.seeds():
            item = QListWidgetItem(QIcon(empty), self._name(seed))
            item.setData(_SEED, seed)
            item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
            self.list.addItem(item)
        seeds = self.seeds()
        self.range.setText(
            self.tr("seeds {0} to {1}").format(seeds[0], seeds[-1])
            if seeds
            else self.tr("no seed has a star yet")
        )
        self.before.setEnabled(self.page > 0)
        self.after.setEnabled(self.page < self.last_page())
        self._asked = None
        self.refresh()

    def refresh(self) -> None:
        """Show which seed is in the viewport, and ask for the thumbnails of another place."""
        shown = self.viewport.stream.seed
        if self.seed.value() != shown and not self.seed.hasFocus():
            self.seed.blockSignals(True)
            self.seed.setValue(min(shown, MAX_SEED))
            self.seed.blockSignals(False)
        starred = shown in self.stars
        self.star.setChecked(starred)
        self.star.setText("★" if starred else "☆")
        seeds = self.seeds()
        row = seeds.index(shown) if shown in seeds else -1
        if self.list.currentRow() != row and not self.list.hasFocus():
            self.list.setCurrentRow(row)
        self._ask()

    def _name(self, seed: int) -> str:
        return f"★ {seed}" if seed in self.stars else str(seed)

    # Thumbnails.

    def _ask(self) -> None:
        """Ask for thumbnails of the place where the view rests, unless these were asked for."""
        scene, viewport = self._scene, self.viewport
        wanted = scene is not None and scene.has_latents and self.isVisible()
        if scene is None or not wanted or viewport.is_moving:
            return
        view = self._thumbnail_view(scene)
        pictures = tuple(Picture(view, seed) for seed in self.seeds())
        request = PictureRequest("latents", scene.identity, pictures)
        if request != self._asked:
            self._asked = request
            viewport.inference.ask_pictures(request)

    def _thumbnail_view(self, scene: SceneInfo) -> ExactView:
        """What the viewport shows, as a thumbnail, at a level that the scene has."""
        ratio = self.devicePixelRatioF()
        small = round(THUMBNAIL_PX[0] * ratio), round(THUMBNAIL_PX[1] * ratio)
        camera = self.viewport.view_state.target_view.camera
        asked = camera_level(camera, small, scene.patch_size)
        low, high = scene.level_range
        level = min(max(asked, low), high)
        grown = 2.0 ** (level - asked)
        width, height = (min(max(1, math.ceil(s * grown)), MAX_PICTURE_PX) for s in small)
        d = density(level, scene.patch_size)
        return ExactView(
            (camera.cx - width / 2 / d, camera.cy - height / 2 / d), level, (width, height)
        )

    def _take(self, ready: PicturesReady) -> None:
        """Some thumbnails have come."""
        if ready.request is not self._asked:
            return
        ratio = self.devicePixelRatioF()
        size = QSize(*THUMBNAIL_PX) * ratio
        for index, pixels in enumerate(ready.pixels, ready.first):
            height, width = pixels.shape[:2]
            image = QImage(pixels.tobytes(), width, height, QImage.Format.Format_RGBA8888)
            pixmap = QPixmap.fromImage(
                image.scaled(
                    size,
                    Qt.AspectRatioMode.KeepAspectRatioByExpanding,
                    Qt.TransformationMode.SmoothTransformation,
                )
            )
            pixmap.setDevicePixelRatio(ratio)
            icon = QIcon(pixmap)
            icon.addPixmap(pixmap, QIcon.Mode.Selected)  # in its own colours
            self.list.item(index).setIcon(icon)

    # What a person does.

    def _go(self, item: QListWidgetItem) -> None:
        self.seed_asked.emit(int(item.data(_SEED)))
        self.refresh()

    def _typed(self, seed: int) -> None:
        """Another seed was written: show it, and its page."""
        self.seed_asked.emit(seed)
        if seed not in self.seeds():
            self.only_stars.setChecked(False)
            self.show_page(seed // PAGE)

    def _toggle_star(self) -> None:
        seed = self.viewport.stream.seed
        try:
            self.stars.set(seed, seed not in self.stars)
        except OSError as error:
            self.notice.emit(self.tr("The star was not kept: {0}").format(error))
        if self.only_stars.isChecked():
            self.show_page(self.page)
            return
        for row in range(self.list.count()):
            item = self.list.item(row)
            item.setText(self._name(int(item.data(_SEED))))
        self.refresh()


def _button(text: str, tip: str) -> QToolButton:
    """`tip` is also what a screen reader says."""
    button = QToolButton()
    button.setText(text)
    button.setToolTip(tip)
    button.setAccessibleName(tip)
    return button
