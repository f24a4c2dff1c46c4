"""What the repository promises: the README's commands, whole pins, signals that do not leak."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PySide6.QtCore import QObject, Signal

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def normal(name: str) -> str:
    """A distribution's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    entries = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", entry) for entry in entries), "exact pins only"
    return {normal(name): version for name, version in (e.split("==") for e in entries)}


def readme_commands() -> list[str]:
    """The first words of every `scalespace-explorer COMMAND` line in the README's code blocks."""
    blocks = "\n".join(re.findall(r"```.*?\n(.*?)```", README, flags=re.DOTALL))
    return sorted(set(re.findall(r"^scalespace-explorer +([a-z]+)\b", blocks, flags=re.MULTILINE)))


def test_readme_shows_the_commands() -> None:
    assert {"render", "record", "train", "bench"} <= set(readme_commands())


@pytest.mark.parametrize("command", readme_commands())
def test_commands_of_the_readme_exist(command: str) -> None:
    line = [sys.executable, "-m", "explorer", command, "--help"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert command in done.stdout


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"\bmake ([a-z]+)", "\n".join(re.findall(r"`[^`]*`", README)))):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_files_that_the_readme_links_exist() -> None:
    # The picture of the app is made by hand, after the code that it shows.
    links = re.findall(r"\]\((?!http|#)([^)]+)\)", README)
    missing = [link for link in links if not (ROOT / link).exists()]
    assert set(missing) <= {"docs/screenshot.png"}, missing


def test_every_dependency_is_pinned() -> None:
    wanted = [*project()["dependencies"]]
    for lines in project()["optional-dependencies"].values():
        wanted += lines
    names = {normal(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in wanted}
    assert names <= set(pins())


def test_the_console_script_is_the_module() -> None:
    assert project()["scripts"] == {"scalespace-explorer": "explorer.__main__:main"}


def test_no_path_of_a_build_machine_in_the_repository() -> None:
    # Spelt in parts, or this file would find itself.
    pattern = re.compile("|".join(["/wo" + "rk/", "/tm" + "p/pl" + "an"]))
    kinds = {".py", ".md", ".toml", ".txt", ".sh", ".json", ".yaml", ".vert", ".frag"}
    skip = {".venv", "runs", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".git"}
    for path in ROOT.rglob("*"):
        relative = path.relative_to(ROOT)
        if path.suffix in kinds and not skip & set(relative.parts):
            text = path.read_text(encoding="utf-8")
            assert not pattern.search(text), relative


class Emitter(QObject):
    """A signal with a Python value, as the viewport's are."""

    ticked = Signal(object)


def test_a_thousand_signals_lose_no_reference() -> None:
    # PySide6 6.12.0 on Python 3.11 drops one reference to True an emit, then aborts the process.
    emitter, got = Emitter(), []
    emitter.ticked.connect(got.append)
    before = sys.getrefcount(True)
    for index in range(1000):
        emitter.ticked.emit(index)
    assert len(got) == 1000
    assert sys.getrefcount(True) > before - 100
