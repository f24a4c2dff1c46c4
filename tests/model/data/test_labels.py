"""Labels of every form, and every fault in them as a finding that stops nothing."""

from __future__ import annotations

import json

import pytest

from model.data.labels import (
    Label,
    LabelTable,
    clean_name,
    duplicate_names,
    is_chunk,
    labels_of_csv,
    labels_of_json,
    name_key,
    octave_of,
    printable,
)


def from_json(content: object) -> LabelTable:
    return labels_of_json(json.dumps(content).encode(), "dataset.json")


def kinds(table: LabelTable) -> list[tuple[str, str]]:
    for problem in table.problems:
        assert problem.message.endswith(".") and "\n" not in problem.message
    return [(problem.name, problem.kind) for problem in table.problems]


def test_numbers_and_lists_of_one_number_are_labels() -> None:
    table = from_json({"labels": [["a.png", 2], ["b/c.png", [1.5]], ["é.png", -0.1]], "more": 1})
    assert table.labels == {"a.png": Label(2.0), "b/c.png": Label(1.5), "é.png": Label(-0.1)}
    assert table.problems == []
    assert labels_of_json(b'\xef\xbb\xbf{"labels": [["a", 1]]}', "d").labels == {"a": Label(1.0)}


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "1e400", "1e9", "-40", '"2"', "true", "null", "{}",
              "[1, 2]", "[]", "[[1]]"]
)  # fmt: skip
def test_a_label_that_is_no_level_is_named_and_unknown(value: str) -> None:
    data = f'{{"labels": [["a.png", {value}], ["b.png", 1]]}}'.encode()
    table = labels_of_json(data, "dataset.json")
    assert table.labels == {"a.png": Label(None), "b.png": Label(1.0)}
    assert kinds(table) == [("a.png", "bad label")]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"3", b'{"labels": null}', b'{"labels": {"a": 1}}', b"\xff\xfe{",
        b"[" * 100_000, b'{"labels": ' + b"9" * 5000 + b"}", b'{"label": []}',
    ],
)  # fmt: skip
def test_wrong_json_is_one_finding(data: bytes) -> None:
    table = labels_of_json(data, "dataset.json")
    assert table.labels == {}
    assert kinds(table) == [("dataset.json", "bad labels")]
    assert len(table.problems[0].message) < 400


@pytest.mark.parametrize("row", ["a.png", [], ["a.png"], ["a.png", 1, 2], [1, "a.png"], None])
def test_a_wrong_entry_leaves_the_others(row: object) -> None:
    table = from_json({"labels": [row, ["b.png", 3]]})
    assert table.labels == {"b.png": Label(3.0)}
    assert kinds(table) == [("dataset.json", "bad labels")]


@pytest.mark.parametrize(
    "name",
    ["../a.png", "a/../../b.png", "/etc/a.png", "C:/a.png", "C:\\a.png", "", " ", "a//b", "a\0b"],
)
def test_names_that_leave_the_data_set_are_not_used(name: str) -> None:
    assert clean_name(name) is None
    table = from_json({"labels": [[name, 1], ["b.png", 2]]})
    assert table.labels == {"b.png": Label(2.0)}
    assert [kind for _, kind in kinds(table)] == ["name leaves the data set"]


def test_names_are_read_with_either_slash() -> None:
    assert clean_name(".\\0\\a.png") == clean_name("./0/a.png") == "0/a.png"


def test_a_second_label_must_say_the_same() -> None:
    table = from_json({"labels": [["a", 1], ["b", 2], ["a", 1.5], ["b", 2], ["c", 3]]})
    assert table.labels == {"a": Label(None), "b": Label(2.0), "c": Label(3.0)}
    assert kinds(table) == [("a", "labelled twice"), ("b", "labelled twice")]
    assert "1 and 1.5" in table.problems[0].message


@pytest.mark.parametrize(
    "text",
    [
        "file,log2_zoom,x,y,scene\na.png,1.5,0.25,-0.5,moon\n'b,c.png',2,,,\n",
        "\ufefffile,log2_zoom,x,y,scene\r\na.png,1.5,0.25,-0.5,moon\r\n'b,c.png',2,,,\r\n",
        "Y;Scene;LOG2_ZOOM; file ;x;status\n-0,5;moon;1,5;a.png;0,25;ok\n;;2;b,c.png;;ok\n\n",
    ],
)
def test_csv_of_any_order_and_separator(text: str) -> None:
    table = labels_of_csv(text.replace("'", '"').encode(), "labels.csv")
    assert table.problems == []
    assert table.labels == {
        "a.png": Label(1.5, (0.25, -0.5), "moon"),
        "b,c.png": Label(2.0, None, ""),
    }


def test_csv_without_places_and_with_gaps() -> None:
    table = labels_of_csv(b"log2_zoom,file\n1,a.png\n,b.png\nnan,c.png\nx,d.png\n", "l.csv")
    levels = {name: label.level for name, label in table.labels.items()}
    assert levels == {"a.png": 1.0, "b.png": None, "c.png": None, "d.png": None}
    assert kinds(table) == [("c.png", "bad label"), ("d.png", "bad label")]


@pytest.mark.parametrize("place", ["0.1,", ",0.1", "nan,0", "inf,0", "512,2048", "a,b"])
def test_a_wrong_place_is_unknown_and_the_level_stays(place: str) -> None:
    table = labels_of_csv(f"file,log2_zoom,x,y\na.png,2,{place}\n".encode(), "l.csv")
    assert table.labels == {"a.png": Label(2.0, None)}
    assert kinds(table) == [("a.png", "bad place")]


@pytest.mark.parametrize(
    "data",
    [b"", b"a.png,1\nb.png,2\n", b"file\na.png\n", b"name,log2_zoom\na,1\n", b"\xff\xfe\x00f",
     b'file,log2_zoom\n"' + b"a" * 200_000 + b'",1\n'],
)  # fmt: skip
def test_wrong_csv_is_one_finding(data: bytes) -> None:
    table = labels_of_csv(data, "l.csv")
    assert table.labels == {}
    assert kinds(table) == [("l.csv", "bad labels")]


def test_the_places_of_photographs_are_no_labels() -> None:
    table = labels_of_csv(b"file,log2_zoom,x,y,h00,h01\na.jpg,1.5,0,0,1,0\n", "places.csv")
    assert table.labels == {}
    assert kinds(table) == [("places.csv", "places of photographs")]


def test_a_wrong_line_leaves_the_others() -> None:
    table = labels_of_csv(b"file,log2_zoom\na,1\nb,1,2\nc\nd,2\n", "l.csv")
    assert set(table.labels) == {"a", "d"}
    assert "line 3 has 3 columns, the header 2" in table.problems[0].message
    assert len(table.problems) == 2


@pytest.mark.parametrize(
    ("folder", "level"),
    [
        ("0", 0), ("3", 3), ("03", 3), ("2.5", 2.5), ("12", 12), ("octave-3", 3), ("Octave 3", 3),
        ("level_2", 2), ("zoom3", 3), ("log2_zoom_1.25", 1.25),
    ],
)  # fmt: skip
def test_folders_that_name_an_octave(folder: str, level: float) -> None:
    assert octave_of(folder) == level


@pytest.mark.parametrize(
    "folder", ["00000", "00012", "moon", "99", "3a", "-1", "1.", "", "2024", "octave"]
)
def test_folders_that_name_none(folder: str) -> None:
    assert octave_of(folder) is None
    assert is_chunk(folder) == (folder in ("00000", "00012", "2024"))


def test_names_that_are_one_on_other_systems() -> None:
    names = ["A.png", "a.png", "caf\u00e9.png", "cafe\u0301.png", "stra\u00dfe", "STRASSE", "b"]
    found = [(p.name, p.kind) for p in duplicate_names(names)]
    assert found == [(n, "duplicate name") for n in ("a.png", "cafe\u0301.png", "STRASSE")]
    assert name_key("caf\u00e9") == name_key("CAFE\u0301")


def test_printable_names_are_one_short_line() -> None:
    assert printable("a\nb\x1b[0m\u202e\udcff") == "a\\nb\\x1b[0m\\u202e\\udcff"
    assert len(printable("x" * 5000)) <= 200
    assert printable("picture é 画.png") == "picture é 画.png"
