"""What is known of each patch, read from `dataset.json`, a CSV or the names of folders.

Nothing here raises for what a file says: each fault becomes a `Problem`, the rest is used.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

IMAGE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".webp", ".gif")
    + (".heic", ".heif", ".avif", ".bmp")
)
TEXT_SUFFIXES = frozenset(
    (".txt", ".md", ".json", ".csv", ".tsv", ".xml", ".yaml", ".html", ".log")
)
"""Of files that may lie beside images and are none."""
DATASET_JSON = "dataset.json"
MIN_LEVEL, MAX_LEVEL = -8.0, 32.0
"""Octaves; a label outside is a mistake (a zoom that is no logarithm, a pixel count, an id)."""
MAX_PLACE = 1000.0
"""Field units; a place outside is a mistake (pixels, for example)."""
CSV_COLUMNS = ("file", "log2_zoom", "x", "y", "scene")
"""Columns that labels are read from; further ones are left alone."""
_PHOTO_COLUMN = "h00"
"""Only where photographs lie has it: a level and a centre alone would make patches of them."""

_OCTAVE = re.compile(
    r"(?:(?:octave|level|zoom|log2_zoom|scale)[ _-]*)?(\d{1,2}(?:\.\d{1,6})?)", re.I
)
_CHUNK = re.compile(r"\d{3,}")
_IGNORED = {"__MACOSX", "Thumbs.db", "desktop.ini", "$RECYCLE.BIN"}


@dataclass(frozen=True)
class Problem:
    """One finding about one file; never an exception."""

    name: str
    """Path of the file inside the data set."""
    kind: str
    """A few words that group findings: 'no label', 'bad label', 'duplicate name'..."""
    message: str
    """What it is and what to do, one line."""


@dataclass(frozen=True)
class Label:
    """What one line of a label file says of one patch."""

    level: float | None = None
    """log2_zoom, octaves; None: unknown."""
    center_xy: tuple[float, float] | None = None
    """Centre of the patch, field units; None: unknown."""
    scene: str = ""
    """'' where the file does not say."""


@dataclass
class LabelTable:
    """The labels of one file, by the patch's name as written there."""

    labels: dict[str, Label] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def add(self, name: str, label: Label) -> None:
        """Take one line; a second one for the same file must say the same."""
        clean = clean_name(name)
        if clean is None:
            self.problem(
                name,
                "name leaves the data set",
                "its label is not used; name a file inside the data set, without '..' and without "
                "a leading slash.",
            )
            return
        known = self.labels.setdefault(clean, label)
        if known != label:
            self.problem(
                clean,
                "labelled twice",
                f"says {_words(known)} and {_words(label)}; it counts as unlabelled until one is "
                "removed.",
            )
            self.labels[clean] = Label(scene=known.scene)
        elif known is not label:
            self.problem(clean, "labelled twice", "the same label twice; remove one line.")

    def problem(self, name: str, kind: str, message: str) -> None:
        """Note a fault of `name`."""
        self.problems.append(Problem(printable(name), kind, message))


def clean_name(name: str) -> str | None:
    """`name` with forward slashes and without './'; None where it leaves the data set."""
    parts = [part for part in name.strip().replace("\\", "/").split("/") if part != "."]
    if not parts or ".." in parts or "" in parts or "\0" in name or parts[0].endswith(":"):
        return None
    return "/".join(parts)


def is_hidden(part: str) -> bool:
    """Whether a file or folder of this name is none of the person's: '.DS_Store', '__MACOSX'."""
    return part.startswith(".") or part in _IGNORED


def printable(name: str) -> str:
    """`name` as one line that every terminal and JSON takes, at most 200 characters."""
    text = name.encode("utf-8", "backslashreplace").decode("utf-8")
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text if len(text) <= 200 else f"{text[:120]}...{text[-70:]}"


def name_key(name: str) -> str:
    """Equal for names that some file system takes for one: case and Unicode form left out."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()


def octave_of(folder: str) -> float | None:
    """Level that a folder's name stands for ('0', '2.5', 'octave-3', 'level_2'), None for none."""
    match = _OCTAVE.fullmatch(folder.strip())
    level = float(match[1]) if match else math.inf
    return level if level <= MAX_LEVEL else None


def is_chunk(folder: str) -> bool:
    """Whether a folder's name only numbers a part of many files, as '00017' does."""
    return _CHUNK.fullmatch(folder) is not None


def labels_of_json(data: bytes, source: str) -> LabelTable:
    """Labels of a `dataset.json`: `{"labels": [["file", s], ...]}`, where s may be `[s]` too.

    Args:
        data: The file.
        source: Its name, for messages.
    """
    table = LabelTable()
    form = 'it must hold {"labels": [["file", log2_zoom], ...]}'
    try:
        content = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        table.problem(source, "bad labels", f"is no valid JSON ({error}); {form}.")
        return table
    rows = content.get("labels") if isinstance(content, dict) else None
    if not isinstance(rows, list):
        found = "null" if rows is None else type(rows).__name__
        table.problem(source, "bad labels", f"has no list of labels (found {found}); {form}.")
        return table
    for number, row in enumerate(rows):
        if not (isinstance(row, list) and len(row) == 2 and isinstance(row[0], str)):
            table.problem(source, "bad labels", f"entry {number} is {_short(row)}; {form}.")
            continue
        name, value = row
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        table.add(name, Label(_level(table, name, value)))
    return table


def labels_of_csv(data: bytes, source: str) -> LabelTable:
    """Labels of a CSV with a header: file, log2_zoom and perhaps x, y, scene, in any order.

    Commas or semicolons (then numbers may have decimal commas), with or without a byte order mark.

    Args:
        data: The file.
        source: Its name, for messages.
    """
    table = LabelTable()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        table.problem(source, "bad labels", f"is not UTF-8 ({error.reason}); save it as UTF-8.")
        return table
    head = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = [word.strip().lower() for word in next(reader, [])]
        if not {"file", "log2_zoom"} <= set(header):
            table.problem(
                source,
                "bad labels",
                f"begins with {_short(head.strip())}; its first line must name the columns "
                "file,log2_zoom[,x,y][,scene].",
            )
            return table
        if _PHOTO_COLUMN in header:
            table.problem(
                source,
                "places of photographs",
                "says where photographs lie, not what level patches have; it is not read.",
            )
            return table
        columns = {name: header.index(name) for name in CSV_COLUMNS if name in header}
        for row in reader:
            if not any(word.strip() for word in row):
                continue
            if len(row) != len(header):
                table.problem(
                    source,
                    "bad labels",
                    f"line {reader.line_num} has {len(row)} columns, the header {len(header)}; "
                    "mend that line.",
                )
                continue
            cells = {name: row[index].strip() for name, index in columns.items()}
            if delimiter != ",":
                for name in {"log2_zoom", "x", "y"} & cells.keys():
                    cells[name] = cells[name].replace(",", ".")
            _add_csv_row(table, cells)
    except csv.Error as error:
        table.problem(
            source, "bad labels", f"line {reader.line_num} is no CSV ({error}); mend that line."
        )
    return table


def _add_csv_row(table: LabelTable, cells: Mapping[str, str]) -> None:
    name = cells["file"]
    level = _level(table, name, _number(cells["log2_zoom"])) if cells["log2_zoom"] else None
    x, y = cells.get("x", ""), cells.get("y", "")
    center = None
    if x or y:
        place = _number(x), _number(y)
        if all(isinstance(v, float) and abs(v) <= MAX_PLACE for v in place):
            center = float(place[0]), float(place[1])
        else:
            table.problem(
                name,
                "bad place",
                f"x, y are {_short(x)}, {_short(y)}; give both in field units (0, 0 is the middle, "
                "the shorter side is 1).",
            )
    table.add(name, Label(level, center, cells.get("scene", "")))


def _number(text: str) -> float | str:
    """The number that `text` says, or `text`."""
    try:
        return float(text)
    except ValueError:
        return text


def _level(table: LabelTable, name: str, value: object) -> float | None:
    """`value` where it can be a level; else None, and a problem."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if MIN_LEVEL <= value <= MAX_LEVEL:  # False for nan too
            return float(value)
        wrong = f"its label {_short(value)} lies outside {MIN_LEVEL:g} to {MAX_LEVEL:g} octaves"
    else:
        wrong = f"its label {_short(value)} is no number"
    table.problem(
        name,
        "bad label",
        f"{wrong}; give log2_zoom, 0 for the whole picture, 1 more for each halving.",
    )
    return None


def duplicate_names(names: Iterable[str]) -> list[Problem]:
    """A problem for each name that differs from an earlier one in case or Unicode form only."""
    first: dict[str, str] = {}
    found = []
    for name in names:
        other = first.setdefault(name_key(name), name)
        if other != name:
            found.append(
                Problem(
                    printable(name),
                    "duplicate name",
                    f"differs from {printable(other)} in upper case or accents only; rename one, "
                    "or they become one file on other systems.",
                )
            )
    return found


def _words(label: Label) -> str:
    text = "no level" if label.level is None else f"{label.level:g}"
    if label.center_xy is not None:
        text += f" at {label.center_xy[0]:g}, {label.center_xy[1]:g}"
    return text


def _short(value: object) -> str:
    text = printable(repr(value))
    return text if len(text) <= 60 else f"{text[:57]}..."
