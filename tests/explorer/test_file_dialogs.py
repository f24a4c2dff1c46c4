"""The file that is written is one that the person has agreed to."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QFileDialog, QMessageBox, QWidget
from pytestqt.qtbot import QtBot

from explorer.panels.file_dialogs import choose_still, with_ending
from explorer.panels.film_bar import _film_name

FILMS = (".mp4", ".webm", ".png")


@pytest.mark.parametrize(
    ("name", "ending", "becomes"),
    [
        ("flight", ".mp4", "flight.mp4"),
        ("flight.mp4", ".mp4", "flight.mp4"),
        ("flight.webm", ".mp4", "flight.mp4"),
        ("flight v1.5", ".mp4", "flight v1.5.mp4"),
        ("a.b/flight", ".webm", "a.b/flight.webm"),
    ],
)
def test_an_ending_takes_nothing_of_the_name(name: str, ending: str, becomes: str) -> None:
    assert Path(with_ending(name, ending, FILMS)) == Path(becomes)
    assert Path(_film_name(name, ending)) == Path(becomes)


def test_two_folders_of_frames_of_one_scene_are_two() -> None:
    names = {_film_name(f"films/Gogh_4.2k-20240101-10101{n}", "") for n in range(2)}
    assert len(names) == 2 and not any(Path(name).suffix for name in names)


@pytest.mark.parametrize("yes", [True, False])
def test_a_file_that_the_dialog_did_not_ask_about_is_asked_about(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, yes: bool
) -> None:
    parent = QWidget()
    qtbot.addWidget(parent)
    chosen, asked = str(tmp_path / "view"), []

    def question(_parent: QWidget, _title: str, text: str) -> QMessageBox.StandardButton:
        asked.append(text)
        return QMessageBox.StandardButton.Yes if yes else QMessageBox.StandardButton.No

    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (chosen, ""))
    monkeypatch.setattr(QMessageBox, "question", question)
    assert choose_still(parent, "night") == f"{chosen}.png" and not asked
    (tmp_path / "view.png").write_bytes(b"mine")
    assert choose_still(parent, "night") == (f"{chosen}.png" if yes else "")
    assert len(asked) == 1 and "view.png" in asked[0]
    chosen += ".tif"
    assert choose_still(parent, "night") == chosen and len(asked) == 1
