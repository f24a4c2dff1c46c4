"""Everything one can do, in one list: it feeds menus, shortcuts, the palette, `?` and the docs.

`python -m explorer.actions` prints docs/shortcuts.md. Texts are English here and go through Qt's
translation where they are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from PySide6.QtCore import QCoreApplication, QObject, Qt
from PySide6.QtGui import QAction, QActionGroup, QIcon, QKeySequence
from PySide6.QtWidgets import QMainWindow, QMenu

_CONTEXT = "Actions"
MENUS = ("&File", "&View", "&Go", "&Tools", "&Help")
"""Menus in the bar, in order; an action may name another one, which then follows them."""


class ActionError(ValueError):
    """Two actions want the same shortcut or name; the message names both."""


@dataclass(frozen=True)
class Action:
    """One thing that a person can do."""

    id: str
    """Names it in code; unique."""
    text: str
    """In menus and the palette, with an ampersand before the mnemonic."""
    menu: str = ""
    """Menu in the bar; 'A/B' is the submenu B of A; empty: in no menu."""
    shortcuts: tuple[str, ...] = ()
    """In Qt's portable spelling; Ctrl is the command key on a Mac. The first is shown in menus."""
    help: str = ""
    """What it does, in a few words; empty: the text says it."""
    checkable: bool = False
    checked: bool = False
    needs_scene: bool = False
    """Of no use before a scene is open."""
    group: str = ""
    """A line separates groups in a menu."""
    choice: str = ""
    """Checkable actions with the same choice exclude each other."""
    repeats: bool = False
    """Does it again while its key is held."""
    of_picture: bool = False
    """Its key is for the picture: on a button it does what it does there."""

    @property
    def plain_text(self) -> str:
        """The text without its mnemonic and without dots."""
        return _plain(self.text)


def _a(id: str, text: str, menu: str, *shortcuts: str, **more: str | bool) -> Action:
    return Action(id, text, menu, shortcuts, **more)  # type: ignore[arg-type]


ACTIONS: tuple[Action, ...] = (
    _a("open", "&Open…", "&File", "Ctrl+O",
       help="open a checkpoint or an image; or drop one here"),
    _a("open_folder", "Open &folder…", "&File", "Ctrl+Shift+O",
       help="open a training run or a tile pyramid"),
    _a("continue_run", "Continue a &training run…", "&File",
       help="go on where a training run stopped; or drop its folder here"),
    _a("scene_painting", "The &painting", "&File/Scenes that co&me with the app",
       help="The Starry Night, with which the app begins"),
    _a("scene_from_patches", "The painting, from p&atches", "&File/Scenes that co&me with the app",
       help="learned from patches that found their places by themselves"),
    _a("scene_unplaced", "The painting, &without places", "&File/Scenes that co&me with the app",
       help="learned from patches that were never told where they belong"),
    _a("scene_brushwork", "&Brushwork", "&File/Scenes that co&me with the app",
       help="many scenes of paint, one for every latent (N): none of them was ever painted"),
    _a("save_still", "Save &still…", "&File", "Ctrl+S", needs_scene=True, group="still",
       help="save what is in view as a picture that knows its place"),
    _a("export", "&Export…", "&File", "Ctrl+E", needs_scene=True, group="still",
       help="the whole picture, or what is in view, as a file of any size"),
    _a("copy_picture", "Copy &picture", "&File", "Ctrl+C", needs_scene=True, group="copy",
       help="put the picture on the clipboard, with its view"),
    _a("copy_view", "&Copy view", "&File", "Ctrl+Shift+C", needs_scene=True, group="copy",
       help="copy a link to this view"),
    _a("copy_command", "Copy view for the command &line", "&File", needs_scene=True, group="copy",
       help="copy this view as options of render"),
    _a("paste_view", "Paste &view", "&File", "Ctrl+Shift+V", group="copy",
       help="go to the view on the clipboard: a link, options of render, a bookmark"),
    _a("settings", "S&ettings…", "&File", "Ctrl+,", group="settings"),
    _a("quit", "&Quit", "&File", "Ctrl+Q", group="quit"),
    _a("whole", "&Whole picture", "&View", "Home", "F", "0"),
    _a("zoom_in", "Zoom &in", "&View", "Ctrl++", "Ctrl+=", repeats=True, help="one octave closer"),
    _a("zoom_out", "Zoom &out", "&View", "Ctrl+-", repeats=True, help="one octave back"),
    _a("box_zoom", "&Box zoom", "&View", "Z", help="then draw a box: it will fill the window"),
    _a("fall", "&Fall into the picture", "&View", "Space", group="fall", of_picture=True,
       help="fall to the finest level; from there, back to the whole"),
    _a("minimap", "&Minimap", "&View", "M", checkable=True, group="over"),
    _a("scale_bar", "S&cale bar", "&View", "B", checkable=True, group="over"),
    _a("hud", "&Performance", "&View", "F3", checkable=True, group="over",
       help="how fast everything is, and why it is not faster"),
    _a("theme_system", "As the &system", "&View/&Theme", checkable=True, choice="theme",
       help="light or dark as the system is"),
    _a("theme_dark", "&Dark", "&View/&Theme", checkable=True, choice="theme",
       help="dark window"),
    _a("theme_light", "&Light", "&View/&Theme", checkable=True, choice="theme",
       help="light window"),
    _a("status_line", "&Status line", "&View", "Ctrl+B", checkable=True, checked=True,
       group="window"),
    _a("full_screen", "F&ull screen", "&View", "F11", group="window"),
    _a("back", "&Back", "&Go", "Alt+Left", help="to the view before; also a mouse's back button"),
    _a("forward", "&Forward", "&Go", "Alt+Right", help="undo going back"),
    _a("add_bookmark", "&Add bookmark", "&Go", "Ctrl+D", needs_scene=True, group="bookmarks",
       help="keep this view with a name and a picture"),
    _a("bookmarks", "Book&marks", "&Go", "Ctrl+Shift+D", checkable=True, group="bookmarks",
       help="the list of bookmarks"),
    _a("play_path", "&Play a flight…", "&Go", group="path", needs_scene=True,
       help="fly a camera path from a file"),
    _a("tour", "&Tour of the bookmarks", "&Go", group="path", needs_scene=True,
       help="fly through the bookmarks of this scene, in their order"),
    _a("director", "Zoom &director", "&Tools", "Ctrl+Shift+F", checkable=True, group="director",
       help="place keyframes of a flight, edit and preview it, and film it"),
    _a("add_key", "Add &keyframe", "&Tools", "K", needs_scene=True, group="director",
       help="keep this view as a keyframe of the flight"),
    _a("record_flight", "Re&cord a flight", "&Tools", checkable=True, needs_scene=True,
       group="director", help="what you fly becomes keyframes; again to stop"),
    _a("lens", "&Reality lens", "&Tools", "G", checkable=True, needs_scene=True, group="compare",
       help="the real picture at the same place, and which octaves are remembered"),
    _a("xray", "Scale &x-ray", "&Tools", "X", checkable=True, needs_scene=True, group="compare",
       help="one place at every octave side by side, and where octaves disagree"),
    _a("training", "&Training", "&Tools", "Ctrl+T", checkable=True, group="training",
       help="train a scale space from your own pictures, beside the viewer"),
    _a("train_image", "Train on this &image…", "&Tools", needs_scene=True, group="training",
       help="train a scale space of the large image that is open"),
    _a("latents", "Late&nts", "&Tools", "N", checkable=True, needs_scene=True, group="latents",
       help="other pictures of the same scene: browse seeds, blend them, drag on a plane"),
    _a("palette", "&Commands…", "&Help", "Ctrl+K", help="find any of these by a few letters"),
    _a("keys", "&Keys", "&Help", "F1", "?", help="all keys and gestures"),
    _a("sample_patches", "&Try training on sample patches", "&Help", group="try",
       help="520 small pictures of the painting, as if you had dropped them here"),
    _a("copy_report", "Copy &report", "&Help", group="report",
       help="put machine, scene and figures on the clipboard, for a bug report"),
    _a("about", "&About", "&Help", group="about"),
    _a("escape", "Stop, close, leave", "", "Esc",
       help="stop a flight or a box, close what lies over the picture, leave full screen"),
)  # fmt: skip

GESTURES: tuple[tuple[str, str], ...] = (
    ("Wheel, pinch", "zoom about the cursor"),
    ("Drag, one finger", "move the picture; let go in motion to fling it"),
    ("Shift drag", "box zoom"),
    ("Double click", "one octave closer; with Shift, one back"),
    ("Arrows, W A S D", "move; tap or hold"),
    ("+  −,  E  Q", "closer and back; tap or hold"),
    ("Mouse back, forward", "undo and redo of views"),
    ("[  ]", "a smaller or larger lens, while the reality lens is open"),
)
"""What hands and single keys do in the picture itself."""

PICTURE_KEYS = (
    "Left", "Right", "Up", "Down", "W", "A", "S", "D", "E", "Q", "+", "-", "=", "PgUp", "PgDown",
)  # fmt: skip
"""Keys that move the picture while they are held; no action may take one."""


def _plain(text: str) -> str:
    return text.replace("&", "").rstrip("….").strip()


def translated(text: str) -> str:
    """`text` of the registry in the person's language."""
    return QCoreApplication.translate(_CONTEXT, text)


def key_text(shortcut: str) -> str:
    """A shortcut as this system writes it."""
    return QKeySequence(shortcut).toString(QKeySequence.SequenceFormat.NativeText)


def check_actions(actions: Iterable[Action]) -> None:
    """Refuse two actions with one name or one shortcut, and keys that move the picture.

    Raises:
        ActionError: The message names the shortcut and both of those that want it.
    """
    names: set[str] = set()
    taken = {_normal(key): f"a key of the picture ({key})" for key in PICTURE_KEYS}
    for action in actions:
        if action.id in names:
            raise ActionError(f"there are two actions named {action.id!r}; rename one.")
        names.add(action.id)
        for shortcut in action.shortcuts:
            key = _normal(shortcut)
            if not key:
                raise ActionError(f"{action.id!r} has a shortcut that is no key: {shortcut!r}.")
            if key in taken:
                raise ActionError(
                    f"{shortcut} of {action.id!r} is taken by {taken[key]}; choose another."
                )
            taken[key] = repr(action.id)


def _normal(shortcut: str) -> str:
    return QKeySequence(shortcut).toString(QKeySequence.SequenceFormat.PortableText)


class ActionSet(QObject):
    """The actions of one window: in its menus, and with their shortcuts also without a menu bar."""

    def __init__(self, window: QMainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._known: dict[str, Action] = {}
        self._actions: dict[str, QAction] = {}
        self._menus: dict[str, QMenu] = {}
        self._choices: dict[str, QActionGroup] = {}
        self._last_group: dict[str, str] = {}
        self._has_scene = False

    def __getitem__(self, id: str) -> QAction:
        return self._actions[id]

    def __contains__(self, id: str) -> bool:
        return id in self._actions

    def __iter__(self) -> Iterator[Action]:
        return iter(self._known.values())

    def add(self, action: Action, slot: Callable[[], object]) -> QAction:
        """Put `action` into its menu and let it call `slot`, from then on.

        Raises:
            ActionError: Its name or a shortcut of it is taken.
        """
        check_actions([*self._known.values(), action])
        made = QAction(translated(action.text), self._window)
        made.setObjectName(action.id)
        made.setIconText(action.plain_text)
        made.setIcon(QIcon())
        made.setMenuRole(QAction.MenuRole.NoRole)
        made.setStatusTip(translated(action.help or action.plain_text))
        made.setShortcuts([QKeySequence(text) for text in action.shortcuts])
        made.setAutoRepeat(action.repeats)
        made.setCheckable(action.checkable)
        made.setChecked(action.checked)
        if action.choice:
            group = self._choices.get(action.choice) or QActionGroup(self)
            self._choices[action.choice] = group
            group.addAction(made)
        made.setEnabled(self._has_scene or not action.needs_scene)
        made.triggered.connect(lambda _checked=False: slot())
        self._known[action.id], self._actions[action.id] = action, made
        if action.menu:
            menu = self.menu(action.menu)
            if not menu.isEmpty() and self._last_group.get(action.menu) != action.group:
                menu.addSeparator()
            self._last_group[action.menu] = action.group
            menu.addAction(made)
        if action.of_picture:
            made.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
        picture = self._window.centralWidget()
        (picture if action.of_picture and picture is not None else self._window).addAction(made)
        return made

    def add_all(self, slots: Mapping[str, Callable[[], object]]) -> None:
        """Add `ACTIONS`; `slots` has one for every name."""
        check_actions(ACTIONS)
        for name in MENUS:
            self.menu(name)
        for action in ACTIONS:
            self.add(action, slots[action.id])

    def menu(self, path: str) -> QMenu:
        """The menu that an action's `menu` names; made where there is none yet."""
        if path not in self._menus:
            above, _, name = path.rpartition("/")
            text = translated(name)
            made = self.menu(above).addMenu(text) if above else self._window.menuBar().addMenu(text)
            made.setAccessibleName(_plain(text))
            self._menus[path] = made
        return self._menus[path]

    def set_has_scene(self, on: bool) -> None:
        """Enable what needs a scene, or disable it."""
        self._has_scene = on
        for action in self._known.values():
            if action.needs_scene:
                self._actions[action.id].setEnabled(on)


def shortcuts_page() -> str:
    """docs/shortcuts.md, from the registry."""
    lines = [
        "# Keys and gestures",
        "",
        "Made from the registry of actions by `python -m explorer.actions > docs/shortcuts.md`;",
        "in the app, `?` shows the same and Ctrl+K runs any of them. On a Mac, Ctrl is Command.",
        "",
        "| In the picture | |",
        "|---|---|",
        *(f"| {gesture} | {meaning} |" for gesture, meaning in GESTURES),
    ]
    for menu in dict.fromkeys(action.menu for action in ACTIONS):
        title = " > ".join(_plain(part) for part in menu.split("/")) or "Everywhere"
        lines += ["", f"| {title} | Key | |", "|---|---|---|"]
        for action in ACTIONS:
            if action.menu == menu:
                keys = ", ".join(f"`{key}`" for key in action.shortcuts)
                lines.append(f"| {action.plain_text} | {keys} | {action.help} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(shortcuts_page(), end="")
