"""docs/features.md names tests that exist, and for what one does in the window one through it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path("tests", "explorer")
WITHOUT_WINDOW = {
    "Command line of the same",
    "Full disk, full memory",
    "HiDPI",  # a window in a process of its own for every scale
    "Remote, web",
    "Scripting",
}


def rows() -> list[str]:
    text = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.startswith("| ")][1:]


def named(row: str) -> list[tuple[str, str]]:
    """Path of a test file and name of a test in it, or an empty text where the file is named."""
    found = re.findall(r"`((?:tests/[\w/]+/)?test_\w+\.py)(?:::(test_\w+))?`", row)
    return [
        (file if file.startswith("tests/") else (HERE / file).as_posix(), test)
        for file, test in found
    ]


@cache
def arguments(file: str) -> dict[str, set[str]]:
    """The fixtures of each test of a file."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {f.name: {argument.arg for argument in f.args.args} for f in functions}


def test_every_row_names_tests_that_exist() -> None:
    assert len(rows()) > 40
    for row in rows():
        assert named(row), f"no test in: {row}"
        for file, test in named(row):
            assert (ROOT / file).exists(), file
            assert not test or test in arguments(file), (file, test)


def test_what_one_does_in_the_window_is_tested_through_it() -> None:
    for row in rows():
        feature = row.split("|")[1].strip()
        fixtures = [arguments(file).get(test, set()) for file, test in named(row)]
        through_one = any({"make_app", "qtbot"} & each for each in fixtures)
        assert through_one or feature in WITHOUT_WINDOW, f"no test through a window: {feature}"
