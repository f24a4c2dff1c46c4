"""Bookmarks come back as they were, in their order, and a failed write changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from explorer.bookmarks import Bookmark, Bookmarks, bookmark_from_json, bookmarks_file
from explorer.view_links import StillView, ViewError


def mark(name: str, x: float = 0.0) -> Bookmark:
    view = StillView((x, 1 / 3), 5.25, (640, 480), 7, "night", "id")
    return Bookmark(name, view, b"\x89PNG" + name.encode())


def names(bookmarks: Bookmarks) -> list[str]:
    return [bookmarks[i].name for i in range(len(bookmarks))]


def test_everything_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "marks.json"
    kept = Bookmarks(file)
    marks = [mark("Möwe 🐦", 0.1), mark("b", -0.25), mark("c")]
    for each in marks:
        kept.add(each)
    again = Bookmarks(file)
    assert [again[i] for i in range(3)] == marks
    again.move(0, 2)
    again.rename(0, "  new \n name ")
    again.rename(1, "   ")
    again.remove(1)
    assert names(Bookmarks(file)) == names(again) == ["new name", "Möwe 🐦"]
    assert [p.name for p in file.parent.iterdir()] == ["marks.json"]


def test_a_write_that_fails_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    kept = Bookmarks(tmp_path / "file" / "marks.json")
    with pytest.raises(OSError, match="file"):
        kept.add(mark("a"))
    assert len(kept) == 0


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"bookmarks": 3}', '{"bookmarks": [{}]}', '{"format": 99}', "[" * 99],
)
def test_a_damaged_file_is_told_and_left(tmp_path: Path, text: str) -> None:
    file = tmp_path / "marks.json"
    file.write_text(text)
    with pytest.raises(ViewError, match=r"marks\.json"):
        Bookmarks(file)
    assert file.read_text() == text


def test_two_windows_keep_the_bookmarks_of_both(tmp_path: Path) -> None:
    file = tmp_path / "marks.json"
    one, other = Bookmarks(file), Bookmarks(file)
    one.add(mark("a"))
    other.add(mark("b"))
    one.add(mark("c"))
    assert names(one) == names(Bookmarks(file)) == ["a", "b", "c"]
    other.remove(0)  # `a`, of the two that it knows
    assert names(Bookmarks(file)) == names(other) == ["b", "c"]
    one.rename(2, "C")  # `c`, of three
    assert names(Bookmarks(file)) == names(one) == ["b", "C"]
    other.rename(1, "mine")  # there is no `c` any more
    assert names(Bookmarks(file)) == names(other) == ["b", "C"]
    one.move(1, 0)
    other.remove(0)  # `b`, which is the second by now
    assert names(Bookmarks(file)) == ["C"]


def test_one_bookmark_as_json() -> None:
    one = mark("a")
    assert bookmark_from_json(json.loads(json.dumps(one.to_json()))) == one
    assert bookmark_from_json({"view": one.view.to_json(), "thumbnail": "%%"}).thumbnail == b""
    with pytest.raises(ViewError):
        bookmark_from_json({"title": "no view"})


def test_each_scene_has_its_own_file(tmp_path: Path) -> None:
    files = {
        bookmarks_file(tmp_path, identity, name)
        for identity in ("a", "b")
        for name in ("night", "day/../../x", "")
    }
    assert len(files) == 6 and all(file.parent == tmp_path for file in files)
