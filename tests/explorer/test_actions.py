"""The registry of actions: no two want the same key, and the docs say what it says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from explorer.actions import ACTIONS, PICTURE_KEYS, Action, ActionError, check_actions
from explorer.actions import shortcuts_page as page

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_registry_holds_together() -> None:
    check_actions(ACTIONS)
    assert len({action.id for action in ACTIONS}) == len(ACTIONS)


def test_two_actions_with_one_shortcut_are_refused_and_both_are_named() -> None:
    first = Action("save", "Save", shortcuts=("Ctrl+S",))
    with pytest.raises(ActionError, match=r"ctrl\+s.*'send'.*'save'"):
        check_actions([first, Action("send", "Send", shortcuts=("ctrl+s",))])
    with pytest.raises(ActionError, match="two actions named 'save'"):
        check_actions([first, Action("save", "Other")])
    with pytest.raises(ActionError, match="no key"):
        check_actions([Action("x", "X", shortcuts=("",))])


@pytest.mark.parametrize("key", PICTURE_KEYS)
def test_keys_that_move_the_picture_are_not_taken(key: str) -> None:
    with pytest.raises(ActionError, match="key of the picture"):
        check_actions([Action("x", "X", shortcuts=(key,))])


def test_the_page_of_shortcuts_is_that_of_the_registry() -> None:
    """If this fails: python -m explorer.actions > docs/shortcuts.md"""
    assert (ROOT / "docs" / "shortcuts.md").read_text(encoding="utf-8") == page()
    for action in ACTIONS:
        assert action.plain_text in page()


def test_texts_name_keys_as_the_system_writes_them() -> None:
    """On a Mac it is another key: `key_text` says which."""
    wrong = []
    for file in sorted((ROOT / "explorer").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            said = node.args[0]
            if (
                name in ("tr", "_tr")
                and isinstance(said, ast.Constant)
                and "Ctrl+" in str(said.value)
            ):
                wrong.append(f"{file.name}: {said.value}")
    assert not wrong
