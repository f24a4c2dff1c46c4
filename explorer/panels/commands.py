"""What the palette offers: actions that can be done now, bookmarks, recent files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QCoreApplication

from explorer.actions import ActionSet, key_text, translated
from explorer.panels.palette import Command
from explorer.places import Places

_OF_THE_PALETTE = ("palette", "escape")


def window_commands(
    actions: ActionSet, places: Places, recent: list[str], open_: Callable[[str], object]
) -> list[Command]:
    """The commands of a window; `open_` is called with one of the paths in `recent`."""
    commands = []
    for action in actions:
        made = actions[action.id]
        if action.id in _OF_THE_PALETTE or not made.isEnabled():
            continue
        key = key_text(action.shortcuts[0]) if action.shortcuts else ""
        text = made.text().replace("&", "")
        commands.append(Command(text, made.trigger, key, translated(action.help)))
    for index in range(len(places.bookmarks)):
        bookmark = places.bookmarks[index]
        # By its view: its number may be another's, or nobody's, when the line is chosen.
        text = _tr("Go to {0}").format(bookmark.name)
        commands.append(Command(text, partial(places.go, bookmark.view)))
    for path in recent:
        text = _tr("Open {0}").format(Path(path).name)
        commands.append(Command(text, partial(open_, path), help=path))
    return commands


def _tr(text: str) -> str:
    return QCoreApplication.translate("Commands", text)
