"""The doctor's page shows what a report says, and asks for what the buttons promise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from explorer.panels.doctor_page import DoctorPage, OctaveChart, short, verdict
from model.data.report import Count, DoctorReport, Finding, Item, Octave, PatchFacts


@pytest.fixture
def report() -> DoctorReport:
    octaves = (Octave(0, 5, 4.0), Octave(1, 0, 0.0), Octave(2, 20_000, 9.0))
    facts = PatchFacts(9, 9, 8, 8, 7, 7, 0, 1, 64, False, octaves, (Count("64 x 64", 8),), ())
    items = tuple(Item(f"{n}.png", "is empty; remove it.") for n in range(5))
    finding = Finding("unreadable", "error", "Files that give no picture.", "Copy.", items, True)
    return DoctorReport("/x/stars", "csv", facts, None, (finding,), (), ("0.png",))


@pytest.fixture
def page(qtbot: QtBot) -> DoctorPage:
    page = DoctorPage()
    qtbot.addWidget(page)
    page.resize(700, 600)
    page.show()
    return page


def texts(page: DoctorPage) -> str:
    return "\n".join(label.text() for label in page.findChildren(QLabel) if label.isVisible())


def test_it_grows_and_then_offers_training(
    page: DoctorPage, report: DoctorReport, qtbot: QtBot
) -> None:
    page.start("stars")
    assert page.cancel.isVisible() and not page.train.isEnabled() and not page.export.isVisible()
    page.set_progress(0.5)
    assert page.progress.value() == 500
    page.show_report(replace(report, complete=False))
    # Training need not wait for the last file.
    assert page.cancel.isVisible() and page.train.isEnabled() and not page.export.isVisible()
    assert "need not wait" in page.verdict.text()
    with qtbot.waitSignal(page.cancel_requested):
        page.cancel.click()
    page.show_report(report)
    assert not page.cancel.isVisible() and page.train.isEnabled() and page.export.isVisible()
    said = texts(page)
    assert "Files that give no picture.  (5)" in said and "and 2 more" in said
    assert page.findChild(OctaveChart) is not None
    with qtbot.waitSignal(page.train_requested) as asked:
        page.train.click()
    assert asked.args == [report]


def test_the_exclude_list_is_written(
    page: DoctorPage, report: DoctorReport, qtbot: QtBot, tmp_path: Path
) -> None:
    page.show_report(report)
    with qtbot.waitSignal(page.exclude_list_written):
        page.export_excludes(str(tmp_path / "list.txt"))
    assert (tmp_path / "list.txt").read_text().splitlines()[-1] == "0.png"
    with qtbot.waitSignal(page.failed) as failed:
        page.export_excludes(str(tmp_path / "no" / "list.txt"))
    assert "another folder" in failed.args[0]


def test_nothing_usable_offers_no_training(page: DoctorPage, report: DoctorReport) -> None:
    assert report.patches is not None
    none = replace(report, patches=replace(report.patches, num_trainable=0))
    page.show_report(none)
    assert not page.train.isEnabled() and "Nothing here" in verdict(none)


def test_every_text_has_the_room_that_it_needs(page: DoctorPage, report: DoctorReport) -> None:
    page.show_report(report)
    page.grab()
    for label in page.findChildren(QLabel):
        if label.isVisible() and label.text():
            needed = label.heightForWidth(label.width()) if label.wordWrap() else 0
            assert label.height() >= needed, label.text()
            if not label.wordWrap():
                assert label.width() >= label.sizeHint().width(), label.text()


def test_counts_above_bars_are_short() -> None:
    assert [short(n) for n in (0, 9999, 12_345, 2_500_000)] == ["0", "9999", "12k", "2.5M"]
