"""Pictures of every panel, dialog and overlay of the app, dark and light, at 1x and 2x.

`python -m benchmarks.screenshots --panels --out FOLDER` starts this in a process for each of the
four, with a real window on the painting that ships. What is shown is real but for three things: the
seeds are tints of the painting, which has none of its own; the real picture is the painting at one
level, as a JPEG; and the curves of the training panel are a formula.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from PySide6.QtCore import QEventLoop, QPoint, QRect, QTimer
from PySide6.QtGui import QPixmap
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QMessageBox, QWidget

from explorer.app import build_app
from explorer.camera import Camera, fit_camera
from explorer.messages import Failure
from explorer.settings import Settings, SettingsStore, Theme
from explorer.shipped import PAINTING, SAMPLE_PATCHES, shipped
from explorer.training_messages import TRAINING, Phase, SamplesSaved, TrainingEnded, TrainingTick

if TYPE_CHECKING:
    import torch

    from explorer.inference_thread import Opener
    from model.space import ScaleSpace, Window

WINDOW_SIZE = (1120, 800)
"""Logical pixels."""
TRUTH_LEVEL = 4.0
"""Of the picture that stands in for the original of the painting, octaves."""
_SEEDS = "seeds"
"""Opened as a path: the painting in other colours for every seed."""
_PATIENCE_S, _MOMENT_S = 240.0, 2.5
_VILLAGE, _SWIRL, _MOON = (0.03, 0.29), (-0.1, -0.1), (0.42, -0.33)
_KEYS = ((0.0, 0.0), 0.0), (_SWIRL, 1.2), (_SWIRL, 2.6), (_SWIRL, 4.4)
_MARGIN_PX = 18
"""Of the picture around an overlay."""


class Tinted:
    """A scale space whose seeds are tints of another."""

    has_latents = True

    def __init__(self, space: ScaleSpace) -> None:
        self._space = space
        self.identity = f"{space.identity}-tinted"
        self.patch_size, self.field_size = space.patch_size, space.field_size
        self.level_range = space.level_range

    def render(self, windows: Sequence[Window]) -> torch.Tensor:
        """float32 [N, 3, H, W] in [-1, 1]."""
        import torch

        from model.latent import parts_of, psi_of

        plain = self._space.render([dataclasses.replace(w, seed=0) for w in windows])
        images = []
        for image, window in zip(plain, windows, strict=True):
            matrix = torch.zeros(3, 3)
            for seed, weight in parts_of(window.seed):
                matrix += weight * psi_of(window.seed) * _turned(seed * 0.9)
            images.append(torch.einsum("ij,jhw->ihw", matrix.to(image), image))
        return torch.stack(images).clamp(-1, 1)


def _turned(angle: float) -> torch.Tensor:
    """[3, 3]: colours turned about grey by `angle`, radians."""
    import torch

    c, s = (1 + 2 * math.cos(angle)) / 3, math.sin(angle) / math.sqrt(3)
    rest = (1 - math.cos(angle)) / 3
    return torch.tensor([[c, rest - s, rest + s], [rest + s, c, rest - s], [rest - s, rest + s, c]])


class Stage:
    """The app on the painting, and what is grabbed from it."""

    def __init__(self, theme: Theme, folder: Path, out: Path) -> None:
        """`folder` keeps settings; pictures go to `out`."""
        store = SettingsStore(folder)
        store.save(Settings(theme=theme, motion="reduced", minimap=True, scale_bar=True))
        self.app = build_app(str(shipped(PAINTING)), store=store, opener=_opener())
        self.window, self.viewport = self.app.window, self.app.viewport
        self.window.resize(*WINDOW_SIZE)
        self.folder, self.out = folder, out
        self.app.start()
        self.until(lambda: self.viewport.is_exact, "the painting")

    def until(self, there: Callable[[], object], what: str) -> None:
        """Let the app run until `there` is true.

        Raises:
            TimeoutError: It is not, after some minutes.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while not there():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} did not come; is the machine busy?")
            self.run(0.1)

    def run(self, seconds: float) -> None:
        """Let the app run."""
        loop = QEventLoop()
        QTimer.singleShot(round(1000 * seconds), loop.quit)
        loop.exec()

    def go(self, place: tuple[float, float], octaves: float, exact: bool = True) -> None:
        """Show a place (fractions of the field), `octaves` closer than all of it.

        Waits for its exact frame, or for what comes in a moment.
        """
        state = self.viewport.view_state
        whole = fit_camera(state.field_size, state.size)
        x, y = place[0] * state.field_size[0], place[1] * state.field_size[1]
        state.jump_to(Camera(x, y, whole.log2_zoom + octaves))
        self.viewport.wake()
        if exact:
            self.until(lambda: self.viewport.is_exact, "the exact frame")
        else:
            self.run(_MOMENT_S)

    def keep(self, name: str, *widgets: QWidget, margin: int = 0) -> None:
        """Grab a dialog, or the part of the window where `widgets` are."""
        self.run(0.3)
        if widgets[0].isWindow():
            pixmap = widgets[0].grab()
        else:
            box = QRect()
            for widget in widgets:
                box = box.united(QRect(widget.mapTo(self.window, QPoint()), widget.size()))
            grown = box.adjusted(-margin, -margin, margin, margin) & self.window.rect()
            pixmap = _cut(self.window.grab(), grown)
        pixmap.save(str(self.out / f"{name}.png"))

    def panel(self, name: str) -> Any:
        """Show the panel of that name, and no other."""
        for dock in self.window.findChildren(QWidget):
            if dock.metaObject().className().endswith("Panel") and not dock.isHidden():
                dock.hide()
        panel: Any = self.window.panels[name]
        panel.show()
        self.run(0.3)
        return panel


def _opener() -> Opener:
    from model import open_scale_space

    def open_(path: str, device: str, precision: str) -> Any:
        if path == _SEEDS:
            return Tinted(open_scale_space(str(shipped(PAINTING)), device, precision))
        return open_scale_space(path, device, precision)

    return open_


def _cut(pixmap: QPixmap, box: QRect) -> QPixmap:
    """A part of a grabbed window, `box` in logical pixels."""
    ratio = pixmap.devicePixelRatio()
    return pixmap.copy(
        round(box.x() * ratio), round(box.y() * ratio),
        round(box.width() * ratio), round(box.height() * ratio),
    )  # fmt: skip


def overlays(stage: Stage) -> None:
    """What lies over the picture, and the status line."""
    window = stage.window
    stage.go(_VILLAGE, 1.3)
    QTest.mouseMove(stage.viewport, QPoint(500, 300))
    stage.run(0.5)
    stage.keep("window", window.menuBar(), stage.viewport, window.status_line)
    stage.keep("status-line", window.status_line)
    stage.keep("minimap", window.minimap, margin=_MARGIN_PX)
    stage.keep("scale-bar", window.scale_bar, margin=_MARGIN_PX)
    window.actions_by_id["hud"].trigger()
    stage.run(1.0)
    stage.keep("hud", window.hud, margin=_MARGIN_PX)
    window.actions_by_id["hud"].trigger()
    window.show_notice("Saved starry-night-20260101-120000.png")
    stage.keep("notice", window.notice, margin=_MARGIN_PX)
    window.notice.hide()
    window.keys_sheet.toggle()
    stage.keep("keys", window.keys_sheet, margin=_MARGIN_PX)
    window.keys_sheet.hide()
    window.palette_sheet.open()
    window.palette_sheet.line.setText("le")
    stage.keep("palette", window.palette_sheet, margin=_MARGIN_PX)
    window.palette_sheet.close_palette()


def dialogs(stage: Stage) -> None:
    """Settings, a failure, what this is, an export, and a menu."""
    window = stage.window
    window.show_settings()
    assert window.settings_dialog is not None
    stage.keep("settings", window.settings_dialog)
    window.settings_dialog.close()
    text = "this.png is not an image that can be read; convert it to PNG, JPEG or TIFF."
    window.show_failure(Failure("Cannot open this.png", text, "details"))
    assert window.failure_dialog is not None
    stage.keep("failure", window.failure_dialog)
    window.failure_dialog.close()

    window.show_about()
    about = next(box for box in window.findChildren(QMessageBox) if box.isVisible())
    stage.keep("about", about)
    about.close()
    window.show_export()
    export = window.export_dialog
    assert export is not None
    export.format.setCurrentIndex(export.format.findData(".tif"))
    export.file.setText(str(Path("/media", "starry-night.tif")))
    export.refresh()
    stage.run(0.3)
    export.estimate()
    stage.until(lambda: not export.is_busy, "the estimate")
    stage.keep("export", export)
    export.close()
    menu = window.actions_by_id.menu("&Tools")
    menu.popup(window.mapToGlobal(QPoint(200, 40)))
    stage.keep("menu", menu)
    menu.close()


def places(stage: Stage) -> None:
    """Bookmarks, the director and its dialog."""
    window = stage.window
    for name, place, octaves in (
        ("Village", _VILLAGE, 1.6),
        ("Moon", _MOON, 2.2),
        ("The great swirl", _SWIRL, 1.2),
    ):
        stage.go(place, octaves, exact=False)
        window.places.add_bookmark(name)
    window.bookmarks_panel.show()
    stage.keep("bookmarks", window.bookmarks_panel)
    window.bookmarks_panel.hide()
    director = stage.panel("director")
    for place, octaves in _KEYS:
        stage.go(place, octaves, exact=False)
        director.add_here()
    stage.run(1.0)
    stage.keep("director", director)
    director.ask_film()
    stage.keep("film", director.film.dialog)
    director.film.dialog.close()
    director.hide()


def comparisons(stage: Stage) -> None:
    """The reality lens in its ways, and the x-ray."""
    truth = stage.folder / "the-starry-night.jpg"
    make_truth(truth)
    lens = stage.panel("lens")
    stage.keep("lens-empty", lens)
    stage.go(_VILLAGE, 1.2)
    lens.open_truth(str(truth))
    at = QPoint(360, 330)
    QTest.mouseMove(stage.viewport, at)
    stage.until(lambda: lens.figures is not None and not _waits(lens), "the figures")
    stage.keep("lens", stage.viewport, lens)
    for content in ("difference", "blink"):
        lens.controls.choose(content)
        stage.run(1.0)
        stage.until(lambda: not _waits(lens), "the difference")
        if content == "difference":
            stage.keep("lens-difference", stage.viewport, lens)
    stage.keep("lens-blink", lens)
    lens.controls.choose("real")
    lens.controls.choose("split")
    stage.run(1.0)
    stage.until(lambda: not _waits(lens), "the figures")
    stage.keep("lens-split", stage.viewport, lens)
    lens.hide()
    xray = stage.panel("xray")
    stage.go(_VILLAGE, 1.6)
    stage.run(2.0)
    stage.until(lambda: "differ" in xray.map_text.text(), "the map of the x-ray")
    stage.keep("xray", xray)
    xray.hide()


def _waits(lens: Any) -> bool:
    """Whether the panel waits for pictures or figures."""
    figures = lens.figures
    return (
        figures is None
        or figures.request.region is not lens._region
        or (lens._figures_of != lens._figure_key())
    )


def latents(stage: Stage) -> None:
    """The latents panel: of one scene, and its pages for many."""
    panel = stage.panel("latents")
    stage.keep("latents-single", panel)
    scene = stage.viewport.scene
    stage.app.open(_SEEDS)
    stage.until(lambda: stage.viewport.scene not in (None, scene), "the seeds")
    stage.go(_VILLAGE, 0.8)
    pictures = panel.pictures
    for number, name in enumerate(("seeds", "between", "plane")):
        panel.tabs.button(number).click()
        stage.run(1.0)
        stage.until(lambda: set(pictures._wanted) <= pictures._here, "the pictures of the seeds")
        stage.keep(f"latents-{name}", panel)
    panel.hide()


def training(stage: Stage) -> None:
    """The pages of the training panel."""
    panel = stage.panel("training")
    stage.keep("training-start", panel)
    stage.app.training.look(str(shipped(SAMPLE_PATCHES).parent))
    page = panel.doctor
    stage.until(lambda: page.report is not None and page.report.complete, "the doctor's report")
    stage.keep("training-doctor", panel)
    page.train.click()
    panel.form.more.setChecked(True)
    stage.keep("training-form", panel)
    recipe = panel.form.recipe()
    panel.show_page(panel.run)
    panel.run.begin(recipe, 0.8)
    panel.run.show_phase(Phase(TRAINING))
    for tick in _ticks(240):
        panel.run.show_tick(tick)
    strip = _sample_strip(stage.folder / "samples.png")
    for step in range(400, 2401, 400):
        distances = tuple((f"{level}", (9 - level) * 900 / (step + 300)) for level in range(5))
        panel.run.show_samples(SamplesSaved(str(strip), step, 0.002 * step, distances))
    stage.run(4.0)
    stage.keep("training-run", panel)
    panel.run.end(TrainingEnded(recipe.folder, kept=True, finished=True))
    stage.keep("training-ended", panel)
    panel.hide()


def _ticks(count: int) -> list[TrainingTick]:
    """A run that goes well."""
    ticks = []
    for i in range(1, count + 1):
        t, wave = i / count, math.sin(1.7 * i) + 0.6 * math.sin(0.61 * i)
        losses = {
            "reconstruction": 0.3 * math.exp(-4 * t) + 0.02 + 0.004 * wave * math.exp(-t),
            "adversarial": 0.7 + 0.05 * wave,
            "discriminator": 0.6 + 0.04 * wave + 0.1 * t,
            "logit_gap": 0.4 * t + 0.06 * wave,
        }
        ticks.append(TrainingTick(10 * i, 0.02 * i, 0.62 * t, 700 * (1.6 - t), 21 + wave, losses))
    return ticks


def _sample_strip(file: Path) -> Path:
    """Patches in two rows, as a run saves its samples."""
    patches = sorted(shipped(SAMPLE_PATCHES).parent.glob("*.jpg"))[::5][:6]
    strip = Image.new("RGB", (64 * len(patches), 128))
    for column, patch in enumerate(patches):
        with Image.open(patch) as image:
            small = image.convert("RGB").resize((64, 64))
        strip.paste(small.resize((24, 24)).resize((64, 64)), (64 * column, 0))
        strip.paste(small, (64 * column, 64))
    strip.save(file)
    return file


def make_truth(file: Path) -> None:
    """A picture to compare the painting with: itself at one level, as a small JPEG.

    It has the margins that the painting's own file had, which were not trained on.
    """
    import numpy as np

    from model import open_scale_space
    from model.header import read_header
    from model.rendering import render_view

    space = open_scale_space(str(shipped(PAINTING)))
    density = space.patch_size * 2.0**TRUTH_LEVEL
    size = round(space.field_size[0] * density), round(space.field_size[1] * density)
    pixels = np.asarray(render_view(space, (0.0, 0.0), TRUTH_LEVEL, size))
    source = read_header(str(shipped(PAINTING))).source or {}
    left, top, right, bottom = source["crop"]
    scale_x, scale_y = size[0] / (right - left), size[1] / (bottom - top)
    full = round(source["size"][0] * scale_x), round(source["size"][1] * scale_y)
    image = Image.new("RGB", full, (120, 110, 96))
    image.paste(Image.fromarray(pixels), (round(left * scale_x), round(top * scale_y)))
    image.save(file, quality=55)


def main(arguments: Sequence[str] | None = None) -> int:
    """Grab everything in this process, on the display that there is."""
    parts: dict[str, Callable[[Stage], None]] = {
        "overlays": overlays,
        "dialogs": dialogs,
        "places": places,
        "comparisons": comparisons,
        "training": training,
        "latents": latents,
    }
    parser = argparse.ArgumentParser(prog="python -m benchmarks.panel_shots", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--theme", choices=("dark", "light"), default="dark")
    parser.add_argument("--only", choices=parts, nargs="*", default=list(parts))
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(options.theme, Path(folder), options.out)
        try:
            for name in options.only:
                parts[name](stage)
        finally:
            stage.app.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
