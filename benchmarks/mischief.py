"""Everything that a hand can do to the window, one thing at a time, drawn by chance.

Actions of the registry, gestures in the picture, keys, buttons and sliders of whatever is open,
files that are dropped, good ones and broken ones, panels that float, windows that shrink. The
native file dialogs answer at once; nothing here waits.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QEvent, QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import (
    QContextMenuEvent,
    QDragEnterEvent,
    QDropEvent,
    QMouseEvent,
    QNativeGestureEvent,
    QPointingDevice,
    QWheelEvent,
)
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDockWidget,
    QFileDialog,
    QLineEdit,
    QMenu,
    QMessageBox,
    QTabBar,
    QWidget,
)

from benchmarks.props import Props
from explorer.app import App

EXCLUDED = ("quit",)
"""Actions that are not done: they end the program."""
_LEFT, _NO_BUTTON = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
_PLAIN, _SHIFT = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier
_KEYS = (
    Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_W, Qt.Key.Key_A,
    Qt.Key.Key_S, Qt.Key.Key_D, Qt.Key.Key_E, Qt.Key.Key_Q, Qt.Key.Key_Plus, Qt.Key.Key_Minus,
    Qt.Key.Key_PageUp, Qt.Key.Key_PageDown,
)  # fmt: skip
_AREAS = (
    Qt.DockWidgetArea.LeftDockWidgetArea,
    Qt.DockWidgetArea.RightDockWidgetArea,
    Qt.DockWidgetArea.TopDockWidgetArea,
    Qt.DockWidgetArea.BottomDockWidgetArea,
)
_MOST_BOOKMARKS = 12
_MOST_KEYS = 12
_CHILD_STEPS = 40

Deed = tuple[str, Callable[[], object]]
"""What it is called, and what does it."""


class Mischief:
    """Draws what to do next, and keeps what piles up within bounds."""

    def __init__(self, app: App, props: Props, chance: random.Random) -> None:
        self.app, self.props, self.chance = app, props, chance
        self.window, self.viewport = app.window, app.viewport
        self.held: set[Qt.Key] = set()
        self.screen = QTest.createTouchDevice()
        self._child_for = 0
        self._dialogs = {
            name: getattr(QFileDialog, name)
            for name in ("getOpenFileName", "getSaveFileName", "getExistingDirectory")
        }
        QFileDialog.getOpenFileName = self._opened  # type: ignore[method-assign]
        QFileDialog.getSaveFileName = self._saved  # type: ignore[method-assign]
        QFileDialog.getExistingDirectory = self._folder  # type: ignore[method-assign]
        for name in EXCLUDED:  # so that the palette does not offer them either
            self.window.actions_by_id[name].setEnabled(False)

    def close(self) -> None:
        """The file dialogs are as they were."""
        for name, dialog in self._dialogs.items():
            setattr(QFileDialog, name, dialog)

    # What file dialogs answer.

    def _opened(self, *_args: object, **_named: object) -> tuple[str, str]:
        good = [*self.props.scenes, str(self.props.picture), str(self.props.path)]
        answers = ["", self.chance.choice(good), str(self.chance.choice(self.props.broken))]
        return self.chance.choice(answers), ""

    def _saved(self, *_args: object, **_named: object) -> tuple[str, str]:
        suffix = self.chance.choice((".png", ".tif", ".jpg", ".webp", ".json", "", ".dzi", ".mp4"))
        name = self.props.folder / f"saved-{self.chance.randrange(6)}{suffix}"
        nowhere = self.props.folder / "no such folder" / f"file{suffix}"
        return self.chance.choice(["", str(name), str(name), str(nowhere)]), ""

    def _folder(self, *_args: object, **_named: object) -> str:
        folders = (self.props.folder / "nothing", self.props.patches, self.props.folder / "gone")
        return self.chance.choice(["", *map(str, folders)])

    # What to do.

    @property
    def action_names(self) -> list[str]:
        """Every action that is done."""
        names = [action.id for action in self.window.actions_by_id]
        return [name for name in names if name not in EXCLUDED]

    def deed(self) -> Deed:
        """The next one."""
        modal = QApplication.activeModalWidget() or QApplication.activePopupWidget()
        if modal is not None:
            return f"answer {type(modal).__name__}", lambda: self.answer(modal)
        kind = self.chance.choices(
            (self.gesture, self.an_action, self.a_widget, self.an_arrival, self.a_change),
            (46, 24, 18, 4, 8),
        )[0]
        return kind()

    def action(self, name: str) -> Deed:
        """One action of the registry."""
        return f"action {name}", self.window.actions_by_id[name].trigger

    def an_action(self) -> Deed:
        """Any action."""
        return self.action(self.chance.choice(self.action_names))

    def gesture(self) -> Deed:
        """Any gesture in the picture."""
        doing = self.chance.choice(self.gestures())
        return f"gesture {doing.__name__}", doing

    def gestures(self) -> list[Callable[[], object]]:
        """All gestures."""
        return [
            self.wheel, self.wheel, self.trackpad, self.pinch, self.smart_zoom, self.touch,
            self.two_fingers, self.drag, self.fling, self.box, self.double_click, self.hover,
            self.leave, self.hold_key, self.release_key, self.tap_key, self.side_button,
            self.type_text, self.context_menu,
        ]  # fmt: skip

    def an_arrival(self) -> Deed:
        """Something is dropped, pasted or handed over."""
        props = self.props
        what: Path | str
        if self.chance.random() < 0.35:
            what = Path(self.chance.choice(props.scenes))
        else:
            good = (props.picture, props.path, props.patches, props.zip)
            every: list[Path | str] = [*good, *props.broken, *props.texts]
            what = self.chance.choice(every)
        name = what.name if isinstance(what, Path) else what[:24]
        if isinstance(what, str) and self.chance.random() < 0.5:
            return f"paste {name}", lambda: self.paste(what)
        if self.chance.random() < 0.2:
            return f"hand over {name}", lambda: self.window.arrivals.take(str(what))
        return f"drop {name}", lambda: self.drop(what)

    def a_change(self) -> Deed:
        """The window, or one of its panels, changes its place or size."""
        doing = self.chance.choice(
            (self.resize, self.resize, self.minimise, self.float_panel, self.float_panel,
             self.move_panel, self.tabify, self.focus, self.move_window)
        )  # fmt: skip
        return f"window {doing.__name__}", doing

    def a_widget(self) -> Deed:
        """A button, slider, list... of whatever is open."""
        usable = [w for w in self._widgets() if w.isVisible() and w.isEnabled()]
        if not usable:
            return self.gesture()
        widget = self.chance.choice(usable)
        owner: QWidget | None = widget
        while owner is not None and not (isinstance(owner, QDockWidget) or owner.isWindow()):
            owner = owner.parentWidget()
        name = widget.accessibleName() or type(widget).__name__
        return f"use {name} of {type(owner).__name__}", lambda: self.use(widget)

    def _widgets(self) -> list[QWidget]:
        kinds = (
            QAbstractButton, QAbstractSpinBox, QComboBox, QAbstractSlider, QLineEdit,
            QAbstractItemView, QTabBar,
        )  # fmt: skip
        found = [w for w in self.window.findChildren(QWidget) if isinstance(w, kinds)]
        kept_out = self._kept_out()
        return [w for w in found if w not in kept_out]

    def _kept_out(self) -> list[QWidget]:
        """Training is begun by the keeper, or not at all."""
        if "training" not in self.window.panels:
            return []
        panel: Any = self.window.panels["training"]
        return [panel.form.start]

    # Gestures.

    def _at(self, widget: QWidget | None = None) -> QPoint:
        size = (widget or self.viewport).size()
        return QPoint(
            self.chance.randrange(max(1, size.width())),
            self.chance.randrange(max(1, size.height())),
        )

    def wheel(self) -> None:
        """Some notches, sometimes with a modifier."""
        modifier = self.chance.choice((_PLAIN, _PLAIN, _SHIFT, Qt.KeyboardModifier.AltModifier))
        delta = QPoint(0, round(120 * self.chance.choice((-3, -1, -0.5, 0.5, 1, 2, 4))))
        self._wheel(QPoint(), delta, modifier, Qt.ScrollPhase.NoScrollPhase)

    def trackpad(self) -> None:
        """Pixel deltas with phases."""
        modifier = self.chance.choice((_PLAIN, _SHIFT))
        for phase in ("ScrollBegin", "ScrollUpdate", "ScrollUpdate", "ScrollMomentum", "ScrollEnd"):
            pixels = QPoint(self.chance.randint(-30, 30), self.chance.randint(-60, 60))
            self._wheel(pixels, pixels * 2, modifier, Qt.ScrollPhase[phase])

    def _wheel(
        self, pixels: QPoint, units: QPoint, modifier: Qt.KeyboardModifier, phase: Qt.ScrollPhase
    ) -> None:
        at = QPointF(self._at())
        there = self.viewport.mapToGlobal(at)
        event = QWheelEvent(at, there, pixels, units, _NO_BUTTON, modifier, phase, False)
        QApplication.sendEvent(self.viewport, event)

    def pinch(self) -> None:
        """Two fingers on a trackpad."""
        for _ in range(3):
            self._native(Qt.NativeGestureType.ZoomNativeGesture, self.chance.uniform(-0.4, 0.6))

    def smart_zoom(self) -> None:
        """Two fingers tap twice."""
        self._native(Qt.NativeGestureType.SmartZoomNativeGesture, self.chance.choice((0.0, 1.0)))

    def _native(self, kind: Qt.NativeGestureType, value: float) -> None:
        at = QPointF(self._at())
        device = QPointingDevice.primaryPointingDevice()
        there = self.viewport.mapToGlobal(at)
        event = QNativeGestureEvent(kind, device, 2, at, at, there, value, QPointF())
        QApplication.sendEvent(self.viewport, event)

    def touch(self) -> None:
        """One finger drags, or taps."""
        view, at = self.viewport, self._at()
        QTest.touchEvent(view, self.screen).press(0, at, view).commit()
        for _ in range(self.chance.randrange(4)):
            at = self._at()
            QTest.touchEvent(view, self.screen).move(0, at, view).commit()
        QTest.touchEvent(view, self.screen).release(0, at, view).commit()

    def two_fingers(self) -> None:
        """Two fingers pan and pinch on a screen."""
        view, a, b = self.viewport, self._at(), self._at()
        press = QTest.touchEvent(view, self.screen)
        press.press(0, a, view).press(1, b, view).commit()
        for _ in range(3):
            a, b = self._at(), self._at()
            move = QTest.touchEvent(view, self.screen)
            move.move(0, a, view).move(1, b, view).commit()
        lift = QTest.touchEvent(view, self.screen)
        lift.release(0, a, view).release(1, b, view).commit()

    def _mouse(self, modifier: Qt.KeyboardModifier, moves: int) -> None:
        QTest.mousePress(self.viewport, _LEFT, modifier, self._at())
        for _ in range(moves):
            QTest.mouseMove(self.viewport, self._at())
        QTest.mouseRelease(self.viewport, _LEFT, modifier, self._at())

    def drag(self) -> None:
        """Take hold, move, rest, let go."""
        self._mouse(_PLAIN, 4)

    def fling(self) -> None:
        """Let go in motion."""
        self._mouse(_PLAIN, 1)

    def box(self) -> None:
        """Shift and drag."""
        self._mouse(_SHIFT, 3)

    def double_click(self) -> None:
        """Closer, or back."""
        modifier = self.chance.choice((_PLAIN, _SHIFT))
        QTest.mouseDClick(self.viewport, _LEFT, modifier, self._at())

    def hover(self) -> None:
        """Over the picture, no button held."""
        at = QPointF(self._at())
        there = self.viewport.mapToGlobal(at)
        move = QMouseEvent(QEvent.Type.MouseMove, at, there, _NO_BUTTON, _NO_BUTTON, _PLAIN)
        QApplication.sendEvent(self.viewport, move)

    def leave(self) -> None:
        """Away from the picture."""
        QApplication.sendEvent(self.viewport, QEvent(QEvent.Type.Leave))

    def hold_key(self) -> None:
        """Press a key of the picture, and keep it."""
        key = self.chance.choice(_KEYS)
        self.held.add(key)
        QTest.keyPress(self.viewport, key)

    def release_key(self) -> None:
        """Let all keys go."""
        for key in sorted(self.held):
            QTest.keyRelease(self.viewport, key)
        self.held.clear()

    def tap_key(self) -> None:
        """A key of the picture, or one that moves about in the window."""
        others = (Qt.Key.Key_Tab, Qt.Key.Key_Escape, Qt.Key.Key_BracketLeft, Qt.Key.Key_Return)
        target = QApplication.focusWidget() or self.viewport
        QTest.keyClick(target, self.chance.choice((*_KEYS, *others)))

    def side_button(self) -> None:
        """The mouse's back and forward."""
        button = self.chance.choice((Qt.MouseButton.BackButton, Qt.MouseButton.ForwardButton))
        QTest.mouseClick(self.viewport, button, _PLAIN, self._at())

    def type_text(self) -> None:
        """Letters, into whatever has the focus."""
        target = QApplication.focusWidget() or self.viewport
        QTest.keyClicks(target, "".join(self.chance.choices("aeprz 0159", k=4)))

    def context_menu(self) -> None:
        """The right button, anywhere in the window."""
        widgets = [w for w in self.window.findChildren(QWidget) if w.isVisible()]
        widget = self.chance.choice([self.viewport, *widgets])
        at = self._at(widget)
        reason = QContextMenuEvent.Reason.Mouse
        QApplication.sendEvent(widget, QContextMenuEvent(reason, at, widget.mapToGlobal(at)))

    # Arrivals.

    def drop(self, what: Path | str) -> None:
        """A file or a text, onto the window."""
        data = QMimeData()
        if isinstance(what, Path):
            data.setUrls([QUrl.fromLocalFile(str(what))])
        else:
            data.setText(what)
        at, copy = QPoint(20, 60), Qt.DropAction.CopyAction
        enter = QDragEnterEvent(at, copy, data, _LEFT, _PLAIN)
        QApplication.sendEvent(self.window, enter)
        if enter.isAccepted():
            QApplication.sendEvent(self.window, QDropEvent(QPointF(at), copy, data, _LEFT, _PLAIN))

    def paste(self, text: str) -> None:
        """A text, from another program's clipboard."""
        QApplication.clipboard().setText(text)
        self.window.actions_by_id["paste_view"].trigger()

    # The window.

    def _docks(self) -> list[QDockWidget]:
        return self.window.findChildren(QDockWidget)

    def resize(self) -> None:
        """Another size."""
        if not self.window.isFullScreen():
            self.window.resize(self.chance.randint(200, 900), self.chance.randint(180, 700))

    def move_window(self) -> None:
        """Another place."""
        if not self.window.isFullScreen():
            self.window.move(self.chance.randrange(200), self.chance.randrange(200))

    def minimise(self) -> None:
        """Away, or back."""
        if self.window.isMinimized():
            self.window.showNormal()
        else:
            self.window.showMinimized()

    def float_panel(self) -> None:
        """A panel becomes a window, or part of the window again."""
        dock = self.chance.choice(self._docks())
        dock.setFloating(not dock.isFloating())

    def move_panel(self) -> None:
        """A panel goes to another side."""
        dock = self.chance.choice(self._docks())
        self.window.addDockWidget(self.chance.choice(_AREAS), dock)

    def tabify(self) -> None:
        """Two panels share a place."""
        docks = self._docks()
        if len(docks) > 1:
            self.window.tabifyDockWidget(*self.chance.sample(docks, 2))

    def focus(self) -> None:
        """Another widget has the keyboard."""
        widgets = [w for w in self._widgets() if w.isVisible() and w.isEnabled()]
        self.chance.choice([self.viewport, *widgets]).setFocus()

    # Widgets.

    def use(self, widget: QWidget) -> None:
        """What one does with a widget of this kind."""
        arrows = (Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_PageUp, Qt.Key.Key_PageDown)
        if isinstance(widget, QAbstractButton):
            widget.click()
        elif isinstance(widget, QAbstractSlider):
            widget.setValue(self.chance.randint(widget.minimum(), widget.maximum()))
        elif isinstance(widget, QComboBox | QTabBar):
            widget.setCurrentIndex(self.chance.randrange(max(1, widget.count())))
        elif isinstance(widget, QLineEdit):
            QTest.keyClicks(widget, self.chance.choice(("7", "ab", "0.5", "/", " ")))
            QTest.keyClick(widget, self.chance.choice((Qt.Key.Key_Return, Qt.Key.Key_Backspace)))
        elif isinstance(widget, QAbstractItemView):
            self._use_list(widget)
        else:
            QTest.keyClick(widget, self.chance.choice(arrows))

    def _use_list(self, view: QAbstractItemView) -> None:
        model = view.model()
        if model is None or not model.rowCount():
            return
        index = model.index(self.chance.randrange(model.rowCount()), 0)
        view.setCurrentIndex(index)
        at = view.visualRect(index).center()
        if not view.viewport().rect().contains(at):
            return
        click = self.chance.choice((QTest.mouseClick, QTest.mouseDClick))
        click(view.viewport(), _LEFT, _PLAIN, at)

    def answer(self, modal: QWidget) -> None:
        """Press something in a dialog that blocks, or send it away."""
        if isinstance(modal, QMenu):
            offered = [a for a in modal.actions() if a.isEnabled() and not a.isSeparator()]
            offered = [a for a in offered if a.objectName() not in EXCLUDED and not a.menu()]
            chosen = self.chance.choice([None, *offered])
            modal.close()
            if chosen is not None:
                chosen.trigger()
            return
        buttons = [b for b in modal.findChildren(QAbstractButton) if b.isVisible()]
        if isinstance(modal, QMessageBox) and buttons and self.chance.random() < 0.8:
            self.chance.choice(buttons).click()
        else:
            modal.close()

    # Keeping within bounds.

    def keep_within_bounds(self) -> None:
        """After every step: what a person would tidy up some day."""
        window = self.window
        bookmarks = window.bookmarks_panel
        if len(window.places.bookmarks) > _MOST_BOOKMARKS:
            bookmarks.list.setCurrentRow(0)
            bookmarks.delete()
        films: Any = None
        if "director" in window.panels:
            panel: Any = window.panels["director"]
            films = panel.film.process
            if len(panel.director.keys) > _MOST_KEYS:
                panel.director.clear()
        export = window.export_dialog
        busy = bool((export is not None and export.is_busy) or (films and films.is_running))
        self._child_for = self._child_for + 1 if busy else 0
        if self._child_for > _CHILD_STEPS:
            if export is not None:
                export.stop()
            if films:
                films.cancel()
