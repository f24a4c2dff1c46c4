"""The window's manners: menus, palette, themes, settings, recent files, names for every reader."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtCore import Qt, QTranslator
from PySide6.QtGui import QAccessible, QColor, QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QApplication,
    QCheckBox,
    QComboBox,
    QDockWidget,
    QLabel,
    QLineEdit,
    QMenu,
    QWidget,
)
from pytestqt.qtbot import QtBot

from explorer.actions import ACTIONS, GESTURES, Action, ActionError
from explorer.app import App, run_app
from explorer.hand_over import SERVER_VARIABLE
from explorer.messages import Failure
from explorer.panels.lazy import FACTORIES
from explorer.report import report
from explorer.settings import Settings, SettingsStore
from explorer.theme import DARK, LIGHT, Scheme
from explorer.view_state import Camera
from model import why_no_kernels
from tests.explorer.conftest import MakeApp
from tests.explorer.fakes import FakeSpace

WAIT_MS = 30_000
ROOT = Path(__file__).resolve().parent.parent.parent
CTRL = Qt.KeyboardModifier.ControlModifier


def until_exact(qtbot: QtBot, app: App) -> None:
    qtbot.waitUntil(lambda: app.viewport.is_exact, timeout=WAIT_MS)


def test_every_action_is_in_its_menu_with_its_keys(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    actions = app.window.actions_by_id
    for action in ACTIONS:
        made = actions[action.id]
        assert made.isEnabled() or action.needs_scene or action.id in ("back", "forward")
        assert [key.toString() for key in made.shortcuts()] == [
            key.replace("PgUp", "PgUp") for key in action.shortcuts
        ]
        if action.menu:
            assert made in actions.menu(action.menu).actions()
    titles = [entry.text() for entry in app.window.menuBar().actions()]
    assert titles == ["&File", "&View", "&Go", "&Tools", "&Help"]
    with pytest.raises(ActionError, match=r"Ctrl\+K.*'other'.*'palette'"):
        actions.add(Action("other", "Other", shortcuts=("Ctrl+K",)), lambda: None)
    until_exact(qtbot, app)
    assert all(actions[a.id].isEnabled() for a in ACTIONS if a.needs_scene)


def test_the_palette_finds_and_runs(make_app: MakeApp, qtbot: QtBot, tmp_path: Path) -> None:
    app = make_app()
    until_exact(qtbot, app)
    palette = app.window.palette_sheet
    app.window.places.add_bookmark("the moon")
    QTest.keyClick(app.window, Qt.Key.Key_K, CTRL)
    assert palette.isVisible()
    shown = palette.shown()
    assert "Whole picture" in shown and "Go to the moon" in shown and "Commands…" not in shown
    palette.line.setText("minim")
    QTest.keyClick(palette.line, Qt.Key.Key_Return)
    assert not palette.isVisible()
    qtbot.waitUntil(app.window.minimap.isVisible)
    QTest.keyClick(app.window, Qt.Key.Key_K, CTRL)
    palette.line.setText("zoom")
    first = palette.list.currentRow()
    QTest.keyClick(palette.line, Qt.Key.Key_Down)
    assert palette.list.currentRow() == first + 1
    palette.line.setText("scale bar")
    at = palette.list.visualItemRect(palette.list.item(0)).center()
    QTest.mouseClick(palette.list.viewport(), Qt.MouseButton.LeftButton, pos=at)
    assert not palette.isVisible()
    qtbot.waitUntil(app.window.scale_bar.isVisible)
    QTest.keyClick(app.window, Qt.Key.Key_K, CTRL)
    QTest.keyClick(palette.line, Qt.Key.Key_Escape)
    assert not palette.isVisible()


def test_a_bookmark_that_went_while_the_palette_was_open(make_app: MakeApp, qtbot: QtBot) -> None:
    """The line still goes where it said."""
    app = make_app()
    until_exact(qtbot, app)
    places, view_state = app.window.places, app.viewport.view_state
    view_state.jump_to(Camera(0.1, 0.1, 2.0))
    places.add_bookmark("the moon")
    there = places.here()
    view_state.jump_to(Camera(0.0, 0.0, 0.0))
    QTest.keyClick(app.window, Qt.Key.Key_K, CTRL)
    app.window.palette_sheet.line.setText("the moon")
    places.bookmarks.remove(0)
    QTest.keyClick(app.window.palette_sheet.line, Qt.Key.Key_Return)

    def is_there() -> bool:
        here = places.here()
        return here.level == pytest.approx(there.level) and here.center_xy == pytest.approx(
            there.center_xy
        )

    qtbot.waitUntil(is_there, timeout=10_000)


def test_letters_in_the_palette_are_letters(make_app: MakeApp, qtbot: QtBot) -> None:
    """Z is box zoom in the picture, and a letter in a line."""
    app = make_app()
    until_exact(qtbot, app)
    QTest.keyClick(app.window, Qt.Key.Key_K, CTRL)
    QTest.keyClicks(app.window.palette_sheet.line, "zoom ?f0")
    assert app.window.palette_sheet.line.text() == "zoom ?f0"
    assert not app.viewport.is_boxing and not app.window.keys_sheet.isVisible()


def test_the_sheet_of_keys_has_every_key_and_gesture(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app(window_size=(1000, 700))
    until_exact(qtbot, app)
    QTest.keyClick(app.window, Qt.Key.Key_Question)
    sheet = app.window.keys_sheet
    assert sheet.isVisible() and app.viewport.rect().contains(sheet.geometry())
    said = [label.text() for label in sheet.findChildren(QLabel)]
    for gesture, meaning in GESTURES:
        assert gesture in said and meaning in said
    for action in ACTIONS:
        assert not action.shortcuts or (action.help or action.plain_text) in said
    for label in sheet.findChildren(QLabel, "what"):
        assert label.height() >= label.heightForWidth(label.width()) - 1, label.text()


def test_themes_change_at_once_and_are_kept(
    make_app: MakeApp, qtbot: QtBot, qapp: QApplication, tmp_path: Path
) -> None:
    app = make_app(store=SettingsStore(tmp_path))
    until_exact(qtbot, app)
    app.viewport.view_state.jump_to(type(app.viewport.view_state.target)(0, 0, -0.9))
    for name, scheme in (("light", LIGHT), ("dark", DARK)):
        app.window.actions_by_id[f"theme_{name}"].trigger()
        assert qapp.palette().window().color().name() == scheme.surface
        assert app.viewport.grabFramebuffer().pixelColor(2, 2).name() == scheme.wall
        assert SettingsStore(tmp_path).load().theme == name
    assert app.window.actions_by_id["theme_dark"].isChecked()


def luminance(color: QColor) -> float:
    """Relative luminance, 0 to 1. Source: WCAG 2.2, "relative luminance"."""
    parts = (color.redF(), color.greenF(), color.blueF())
    r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: QColor, other: QColor) -> float:
    """1 to 21. Source: WCAG 2.2, "contrast ratio"."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [DARK, LIGHT], ids=["dark", "light"])
@pytest.mark.parametrize("text", ["text", "quiet", "accent"])
def test_every_text_can_be_read_on_all_that_it_may_lie_on(scheme: Scheme, text: str) -> None:
    """At the ratio that WCAG 2.2 (1.4.3, AA) asks for."""
    color = QColor(getattr(scheme, text))
    for name in ("wall", "surface", "raised", "line"):  # `line` lies below what is selected
        assert contrast(color, QColor(getattr(scheme, name))) >= 4.5, name
    r, g, b, alpha = map(int, re.findall(r"\d+", scheme.over))
    for picture in (0, 255):
        over = [round((v * alpha + picture * (255 - alpha)) / 255) for v in (r, g, b)]
        assert contrast(color, QColor(*over)) >= 4.5, f"over a picture of {picture}"


def test_the_settings_dialog_has_every_field_and_works_at_once(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    app = make_app(store=SettingsStore(tmp_path))
    until_exact(qtbot, app)
    QTest.keyClick(app.window, Qt.Key.Key_Comma, CTRL)
    dialog = app.window.settings_dialog
    assert dialog is not None and dialog.isVisible()
    assert list(dialog.editors) == [*Settings.__dataclass_fields__]
    box = dialog.editors["minimap"]
    assert isinstance(box, QCheckBox)
    box.click()
    assert app.window.minimap.isVisible() and app.window.actions_by_id["minimap"].isChecked()
    notch, motion = dialog.editors["notch_octaves"], dialog.editors["motion"]
    assert isinstance(notch, QComboBox) and isinstance(motion, QComboBox)
    notch.setCurrentIndex(2)
    motion.setCurrentIndex(2)
    config = app.viewport.view_state.config
    assert config.notch_octaves == 0.5 and config.reduced_motion
    QTest.keyClick(app.window, Qt.Key.Key_M)
    assert not box.isChecked()
    assert SettingsStore(tmp_path).load() == app.window.settings
    dialog.set_settings(Settings())
    assert app.window.settings == Settings()
    dialog.close()


def test_reduced_motion_jumps(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    until_exact(qtbot, app)
    app.window._set(motion="reduced")
    QTest.keyClick(app.window, Qt.Key.Key_Space)
    assert not app.viewport.view_state.is_flying
    assert app.viewport.view_state.displayed.log2_zoom == app.viewport.view_state.zoom_limits[1]


def test_the_window_comes_back_as_it_was(make_app: MakeApp, qtbot: QtBot, tmp_path: Path) -> None:
    first = make_app(store=SettingsStore(tmp_path), window_size=(900, 600))
    until_exact(qtbot, first)
    first.window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, first.window.bookmarks_panel)
    first.window.bookmarks_panel.show()
    size = first.window.size()
    first.window.close()
    again = make_app(store=SettingsStore(tmp_path))
    again.window.restore()
    assert again.window.size() == size
    panel = again.window.bookmarks_panel
    assert not panel.isHidden() and again.window.actions_by_id["bookmarks"].isChecked()
    assert again.window.dockWidgetArea(panel) == Qt.DockWidgetArea.LeftDockWidgetArea


def test_recent_files_open_again_and_what_is_gone_is_grey(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    store = SettingsStore(tmp_path)
    (tmp_path / "night.fake").write_text("")
    store.add_recent(str(tmp_path / "gone.png"))
    app = make_app(path=str(tmp_path / "night.fake"), store=store)
    until_exact(qtbot, app)
    asked: list[str] = []
    app.window.open_requested.connect(asked.append)
    app.window.recent_menu.fill()
    entries = app.window.recent_menu.menu.actions()
    assert [(e.text(), e.isEnabled()) for e in entries[:2]] == [
        ("night.fake", True),
        ("gone.png", False),
    ]
    entries[0].trigger()
    assert asked == [str(tmp_path / "night.fake")]
    entries[-1].trigger()
    assert store.recent() == []


def test_the_figures_are_those_of_the_app(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    until_exact(qtbot, app)
    hud = app.window.hud
    assert not hud.isVisible() and not hud._timer.isActive()
    QTest.keyClick(app.window, Qt.Key.Key_F3)
    assert hud.isVisible()
    texts = hud.texts()
    assert texts["sentence"].startswith("Nothing is slow")
    assert texts["displayed"].endswith("fps") and texts["latency"].endswith("ms")
    side = 64 + 2
    pool = app.viewport.pool_bytes
    assert pool % (side * side * 4) == 0 and texts["pool"] == f"{pool / 2**20:.0f} MiB"
    assert int(texts["memory"].split()[0]) > 50
    QTest.keyClick(app.window, Qt.Key.Key_F3)
    assert not hud.isVisible() and not hud._timer.isActive()
    app.window.actions_by_id["copy_report"].trigger()
    said = QGuiApplication.clipboard().text()
    assert said.startswith("system:") and "opengl: " in said and "verdict: " in said
    assert app.viewport.scene is not None
    why = app.viewport.scene.no_kernels
    assert why == why_no_kernels() and f"GPU kernels: {why or 'in use'}\n" in said
    assert app.window.status_line.device.toolTip().endswith(why)
    assert str(Path.home()) not in report(app.viewport)


def test_details_of_a_failure_can_be_copied(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    until_exact(qtbot, app)
    app.window.show_failure(Failure("It broke", "It must hold.", "line 1\nline 2"))
    dialog = app.window.failure_dialog
    assert dialog is not None
    button = next(b for b in dialog.buttons() if b.text() == "Copy details")
    button.click()
    assert QGuiApplication.clipboard().text() == "It broke\nIt must hold.\n\nline 1\nline 2"
    assert app.window.failure_dialog is dialog
    QTest.keyClick(dialog, Qt.Key.Key_Escape)
    assert app.window.failure_dialog is None


def test_the_status_line_leaves_out_what_has_no_room(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    line = app.window.status_line
    for width in (1200, 700, 480, 300):
        app.window.resize(width, 400)
        qtbot.waitUntil(lambda w=width: line.width() == w, timeout=WAIT_MS)
        QApplication.processEvents()
        shown = [w for w in line._by_worth if w.isVisible()]
        assert shown and shown[0] is line.magnification
        boxes = sorted((w.x(), w.x() + w.width()) for w in shown)
        assert all(a[1] <= b[0] for a, b in zip(boxes, boxes[1:], strict=False)), (width, boxes)
        assert boxes[-1][1] <= width
        # Here there is neither a seed nor a step of training to tell.
        assert width < 1200 or {*line._by_worth} - {*shown} == {line.seed, line.step}


def test_the_status_line_looks_seldom_at_a_picture_at_rest(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    until_exact(qtbot, app)
    viewport, line = app.viewport, app.window.status_line

    def until_seldom() -> None:
        qtbot.waitUntil(lambda: line._timer.interval() == 1000, timeout=WAIT_MS)

    until_seldom()
    QTest.mouseMove(viewport, viewport.rect().center())
    qtbot.waitUntil(lambda: line._timer.interval() < 200, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: bool(line.cursor.text()), timeout=WAIT_MS)
    until_seldom()
    QTest.keyClick(viewport, Qt.Key.Key_Right)
    qtbot.waitUntil(lambda: line._timer.interval() < 200, timeout=WAIT_MS)
    before = line.position.text()
    qtbot.waitUntil(lambda: line.position.text() != before, timeout=WAIT_MS)
    until_seldom()


def readable(widget: QWidget) -> bool:
    """Whether a screen reader has something to say about it."""
    if isinstance(widget, QAbstractButton) and widget.text():
        return True
    if isinstance(widget, QLabel) and widget.text():
        return True
    return bool(widget.accessibleName() or widget.windowTitle())


def test_every_widget_that_one_meets_has_a_name(make_app: MakeApp, qtbot: QtBot) -> None:
    app = make_app()
    until_exact(qtbot, app)
    window = app.window
    window.show_settings()
    window.palette_sheet.open()
    window.keys_sheet.toggle()
    kinds = (QAbstractButton, QAbstractItemView, QComboBox, QDockWidget, QLabel, QLineEdit, QMenu)
    nameless = [
        f"{type(w).__name__} {w.objectName()} in {type(w.parent()).__name__}"
        for w in window.findChildren(QWidget)
        if (isinstance(w, kinds) or type(w).__module__.startswith("explorer."))
        and not readable(w)
        and not w.objectName().startswith("qt_")
        and not isinstance(w.parent().parent() if w.parent() else None, QComboBox)
        and not (isinstance(w, QMenu) and not w.title())
    ]
    assert not nameless, "\n".join(nameless)
    for label in window.status_line.findChildren(QLabel, "value"):
        assert label.accessibleName()
    assert window.settings_dialog is not None
    window.settings_dialog.close()


def test_a_screen_reader_hears_what_labels_show(make_app: MakeApp, qtbot: QtBot) -> None:
    """Beside the name that says what it is."""
    app = make_app(FakeSpace(has_latents=True))
    until_exact(qtbot, app)
    window = app.window
    window.actions_by_id["hud"].trigger()
    window.show_notice("a notice")
    for name in FACTORIES:
        window.panels[name].show()
    window.panels["lens"].file_label.setText("a picture")  # type: ignore[attr-defined]
    qtbot.waitUntil(lambda: window.hud.sentence.text() != "", timeout=WAIT_MS)

    def is_settled() -> bool:  # the panels have made the picture smaller
        return "exact" in [label.text() for label in window.findChildren(QLabel)]

    qtbot.waitUntil(is_settled, timeout=WAIT_MS)
    told, silent = [], []
    for label in window.findChildren(QLabel):
        heard = QAccessible.queryAccessibleInterface(label)
        texts = [heard.text(kind) for kind in (QAccessible.Text.Name, QAccessible.Text.Description)]
        if label.text() and not label.text().startswith("<"):
            told.append(label.text())
            if label.text() not in texts:
                silent.append(label.text())
    assert not silent
    for text in ("a notice", "a picture", "exact", "seed 0", window.hud.sentence.text()):
        assert text in told


class Shouting(QTranslator):
    """A language in which everything is capitals."""

    def isEmpty(self) -> bool:
        return False

    def translate(self, context: str, text: str, *_more: object) -> str:  # type: ignore[override]
        return text.upper()


def test_everything_can_be_translated(make_app: MakeApp, qtbot: QtBot, qapp: QApplication) -> None:
    language = Shouting()
    qapp.installTranslator(language)
    try:
        app = make_app()
        until_exact(qtbot, app)
        window = app.window
        window.show_settings()
        window.keys_sheet.toggle()
        window.actions_by_id["hud"].trigger()
        window.places.copy_link()
        window.status_line.refresh()
        texts = [a.text() for a in window.findChildren(type(window.actions_by_id["open"]))]
        dialog = window.settings_dialog
        assert dialog is not None
        texts += [w.text() for w in window.findChildren(QLabel) if w.isVisible()]
        texts += [w.text() for w in window.findChildren(QAbstractButton) if w.isVisible()]
        texts += [w.text() for w in dialog.findChildren(QLabel)]
        texts += [w.toolTip() for w in window.status_line.findChildren(QLabel)]
        fixed = ("cpu", "fps", "fresh/s", " ms", "MiB", "Ctrl", "Home", "Space", "Alt", "Esc")
        fixed = (*fixed, "torch")  # why the GPU is not used comes from the kernels
        left = [t for t in texts if t != t.upper() and not any(f in t for f in fixed)]
        assert not left, left
        dialog.close()
    finally:
        qapp.removeTranslator(language)


def test_a_second_start_opens_in_the_first_window(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SERVER_VARIABLE, f"sse-test-{tmp_path.name}-{id(tmp_path)}")
    monkeypatch.setenv("SCALESPACE_EXPLORER_FOLDER", str(tmp_path))
    app = make_app()
    until_exact(qtbot, app)
    app.listen()
    app.inference._opener = lambda path, *_: FakeSpace(identity=Path(path).stem)
    code = (
        "import sys\nfrom explorer.app import run_app\n"
        f"sys.exit(run_app({str(tmp_path / 'day.fake')!r}))"
    )
    second = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    qtbot.waitUntil(lambda: second.poll() is not None, timeout=WAIT_MS)
    assert second.returncode == 0
    qtbot.waitUntil(
        lambda: app.viewport.scene is not None and app.viewport.scene.name == "day",
        timeout=WAIT_MS,
    )


def test_a_start_that_handed_over_ends_with_zero_and_new_window_does_not_ask(
    qapp: QApplication, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCALESPACE_EXPLORER_FOLDER", str(tmp_path))
    asked: list[str | None] = []

    def taken(path: str | None) -> bool:
        asked.append(path)
        return True

    monkeypatch.setattr("explorer.app.hand_over", taken)
    assert run_app("day.png") == 0
    assert asked == ["day.png"]

    def refuse(*_args: object, **_more: object) -> App:
        raise RuntimeError("a window of its own")

    monkeypatch.setattr("explorer.app.build_app", refuse)
    for more in ({"new_window": True}, {"device": "cpu"}):
        with pytest.raises(RuntimeError, match="a window of its own"):
            run_app("day.png", **more)  # type: ignore[arg-type]
    SettingsStore(tmp_path).save(Settings(single_window=False))
    with pytest.raises(RuntimeError, match="a window of its own"):
        run_app("day.png")
    assert asked == ["day.png"]
