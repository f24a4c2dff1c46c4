"""Named places of one scene, with thumbnails, in one JSON file per scene. Plain Python."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from explorer.view_links import StillView, ViewError, view_from_json

FORMAT = 1
_MAX_FILE_BYTES = 64 << 20
_MAX_NAME = 200


@dataclass(frozen=True)
class Bookmark:
    """A view with a name."""

    name: str
    view: StillView
    thumbnail: bytes = field(default=b"", repr=False)
    """A small PNG; empty where there is none."""

    def to_json(self) -> dict[str, Any]:
        """Plain values; `bookmark_from_json` is the inverse."""
        picture = base64.b64encode(self.thumbnail).decode("ascii")
        return {"title": self.name, "view": self.view.to_json(), "thumbnail": picture}


def bookmark_from_json(fields: object) -> Bookmark:
    """The bookmark that `Bookmark.to_json` described.

    Raises:
        ViewError: It is none; one line says why.
    """
    if not isinstance(fields, Mapping) or "view" not in fields:
        raise ViewError("a bookmark must be an object with a title and a view.")
    view = view_from_json(fields["view"])
    try:
        thumbnail = base64.b64decode(str(fields.get("thumbnail", "")), validate=True)
    except (binascii.Error, ValueError):
        thumbnail = b""  # a picture that cannot be shown does not cost the place
    return Bookmark(str(fields.get("title", ""))[:_MAX_NAME] or "?", view, thumbnail)


class Bookmarks:
    """The bookmarks of one scene; every change is written at once, or raises and changes nothing:
    `OSError` where it cannot be written, `ViewError` where the file has been damaged since.
    """

    def __init__(self, file: Path | None) -> None:
        """Read `file` where it exists; None keeps everything in memory only.

        Raises:
            ViewError: The file is damaged; it is left as it is.
            OSError: The file cannot be read.
        """
        self.file = file
        self._items: list[Bookmark] = []
        self._seen: tuple[int, int] | None = None
        """Time and size of the file when it was last read or written."""
        self._read_again()

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Bookmark:
        return self._items[index]

    def add(self, bookmark: Bookmark) -> None:
        """Put `bookmark` at the end."""
        self._read_again()
        self._replace([*self._items, bookmark])

    def rename(self, index: int, name: str) -> None:
        """Give another name; an empty one changes nothing."""
        name = " ".join(name.split())[:_MAX_NAME]
        if name and name != self._items[index].name:
            items, here = self._found(index)
            if here is not None:
                items[here] = replace(items[here], name=name)
                self._replace(items)

    def remove(self, index: int) -> None:
        """Forget one."""
        items, here = self._found(index)
        if here is not None:
            del items[here]
            self._replace(items)

    def move(self, index: int, to: int) -> None:
        """Let the bookmark at `index` be the one at `to`."""
        items, here = self._found(index)
        if here is not None:
            items.insert(to, items.pop(here))
            self._replace(items)

    def _found(self, index: int) -> tuple[list[Bookmark], int | None]:
        """All that there are by now, and where the one at `index` is; None: another window has
        removed it."""
        wanted = self._items[index]
        self._read_again()
        same = index < len(self._items) and self._items[index] == wanted
        here = index if same else next((i for i, v in enumerate(self._items) if v == wanted), None)
        return list(self._items), here

    def _read_again(self) -> None:
        """Another window on the same scene may have changed the file."""
        if self.file is None or not self.file.exists():
            return
        state = _state(self.file)
        if state != self._seen:
            self._items = _read(self.file)
            self._seen = state

    def _replace(self, items: list[Bookmark]) -> None:
        """Write `items`, whole or not at all, and keep them.

        Raises:
            OSError: They cannot be written; then nothing has changed.
        """
        if self.file is not None:
            table = {"format": FORMAT, "bookmarks": [item.to_json() for item in items]}
            write_json(self.file, table)
            self._seen = _state(self.file)
        self._items = items


def _state(file: Path) -> tuple[int, int]:
    """Time of the last change, ns, and bytes."""
    status = file.stat()
    return status.st_mtime_ns, status.st_size


def bookmarks_file(folder: Path, identity: str, name: str) -> Path:
    """Where the bookmarks of the scene `name` with content `identity` are kept."""
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    readable = re.sub(r"[^\w.-]+", "-", name)[:60] or "scene"
    return folder / f"{readable}-{digest}.json"


def _read(file: Path) -> list[Bookmark]:
    if file.stat().st_size > _MAX_FILE_BYTES:
        raise ViewError(f"{file} is too large for bookmarks; move it away.")
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
        if int(table.get("format", FORMAT)) > FORMAT:
            raise ViewError(f"{file} is of a newer version of the app; update this one.")
        return [bookmark_from_json(fields) for fields in table["bookmarks"]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ViewError(f"{file} holds no bookmarks ({error}); move it away.") from error


def write_json(file: Path, table: Mapping[str, Any]) -> None:
    """Write `table` whole, or not at all, into `file`, whose folder is made.

    Raises:
        OSError: It cannot be written; what was there is left.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(table, stream, indent=1, allow_nan=False)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
