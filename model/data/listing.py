"""The files of a folder or a zip, by name, and their bytes: nothing that leads out or blows up."""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from pathlib import Path
from typing import Protocol

from model.data.images import MAX_FILE_BYTES, ImageError, check_bytes, read_bounded
from model.data.labels import Problem, clean_name, is_hidden, printable

_UTF8_NAME = 0x800
"""Bit of a member's flags: without it Python reads a name as code page 437."""
_MAX_RATIO = 200
_RATIO_MIN_BYTES = 1 << 24
"""A smaller member may be as empty as it likes."""


class Storage(Protocol):
    """Where the files of a data set lie. `read` may be called from several threads."""

    names: list[str]
    """Sorted, '/'-separated, unique, without hidden files."""
    problems: list[Problem]

    def read(self, name: str) -> bytes:
        """The bytes of one file, bounded.

        Raises:
            ImageError: It cannot be read; one line without its name.
        """
        ...

    def close(self) -> None:
        """Let go of open files."""
        ...


class FolderStorage:
    """A folder and all below it. Links are followed, each folder is entered once: by its own name
    where it lies in there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.names: list[str] = []
        self.problems: list[Problem] = []
        self._seen: set[tuple[int, int]] = set()
        todo = [""]
        self._links: list[str] = []
        while todo or self._links:
            todo += self._list(todo.pop() if todo else self._links.pop(0))
        self.names.sort()

    def read(self, name: str) -> bytes:
        """The bytes of one file; see `Storage.read`."""
        try:
            return read_bounded(self._path / name)
        except OSError as error:
            raise ImageError(
                f"cannot be read ({error.strerror or error}); check its permissions and its disk."
            ) from error

    def close(self) -> None:
        """Nothing is held open."""

    def _list(self, folder: str) -> list[str]:
        """Take the files of `folder` and return the folders in it; links to some come later."""
        place = self._path / folder
        below = []
        try:
            state = place.stat()
            if (state.st_dev, state.st_ino) in self._seen:
                self._problem(
                    folder,
                    "link loop",
                    "is a link to a folder that is listed already; remove the link.",
                )
                return []
            self._seen.add((state.st_dev, state.st_ino))
            with os.scandir(place) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self._problem(
                folder,
                "unreadable folder",
                f"cannot be listed ({error.strerror or error}); check its permissions.",
            )
            return []
        for entry in found:
            if not is_hidden(entry.name):
                name = f"{folder}/{entry.name}" if folder else entry.name
                below += self._take(entry, name)
        return below

    def _take(self, entry: os.DirEntry[str], name: str) -> list[str]:
        if any("\ud800" <= c <= "\udfff" for c in entry.name):
            self._problem(name, "bad name", "has a name that is no valid Unicode; rename it.")
            return []
        try:
            if entry.is_dir():
                if not entry.is_symlink():
                    return [name]
                self._links.append(name)
            elif entry.is_file():
                self.names.append(name)
            elif entry.is_symlink():
                self._problem(
                    name, "broken link", "is a link that leads nowhere; mend or remove it."
                )
            else:
                self._problem(name, "no file", "is a pipe, socket or device; remove it.")
        except OSError as error:
            self._problem(
                name,
                "broken link",
                f"leads nowhere ({error.strerror or error}); mend or remove it.",
            )
        return []

    def _problem(self, name: str, kind: str, message: str) -> None:
        self.problems.append(Problem(printable(name) or ".", kind, message))


class ZipStorage:
    """A zip, read in place: nothing is unpacked to disk, and no member beyond its bound."""

    def __init__(self, path: Path) -> None:
        """Read the directory of the zip.

        Raises:
            ValueError: It is no zip, or its directory is damaged.
            OSError: It cannot be read.
        """
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
            raise ValueError(
                f"{path} cannot be read as a zip ({error}); make the zip again."
            ) from error
        self.problems: list[Problem] = []
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in self._zip.infolist():
            # Some packers on Windows write folders with a backslash at the end.
            if not (member.is_dir() or member.filename.endswith("\\")):
                self._take(member)
        self.names = sorted(self._members)

    def read(self, name: str) -> bytes:
        """The bytes of one member; see `Storage.read`."""
        member = self._members[name]
        try:
            with self._zip.open(member) as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
            raise ImageError(
                f"cannot be unpacked ({printable(str(error))}); make the zip again."
            ) from error
        except ValueError as error:
            raise ImageError(f"cannot be read ({error}); open the zip again.") from error
        check_bytes(len(data))
        return data

    def close(self) -> None:
        """Close the zip; reading afterwards raises ImageError."""
        self._zip.close()

    def _take(self, member: zipfile.ZipInfo) -> None:
        name = clean_name(_name_of(member))
        if name is None or name.startswith("/"):
            self._problem(
                member,
                "name leaves the data set",
                "has '..' or a leading slash in its name and is not read; pack it under a plain "
                "name.",
            )
        elif any(is_hidden(part) for part in name.split("/")):
            pass
        elif member.flag_bits & 0x1:
            self._problem(member, "encrypted", "is encrypted; pack it without a password.")
        elif member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            self._problem(
                member, "unknown packing", "is packed in an unusual way; pack it with deflate."
            )
        elif stat.S_ISLNK(member.external_attr >> 16):
            self._problem(member, "broken link", "is a link; pack the file itself.")
        elif member.file_size > MAX_FILE_BYTES or (
            member.file_size > max(_RATIO_MIN_BYTES, _MAX_RATIO * member.compress_size)
        ):
            self._problem(
                member,
                "zip bomb",
                f"claims to unpack {member.compress_size} bytes to {member.file_size} and is not "
                "read; remove it.",
            )
        elif name in self._members:
            self._problem(
                member, "duplicate name", "is in the zip twice, only the first is read; remove one."
            )
        else:
            self._members[name] = member

    def _problem(self, member: zipfile.ZipInfo, kind: str, message: str) -> None:
        self.problems.append(Problem(printable(_name_of(member)), kind, message))


def _name_of(member: zipfile.ZipInfo) -> str:
    """The name as it was meant: some packers write UTF-8 and do not say so."""
    if member.flag_bits & _UTF8_NAME:
        return member.filename
    try:
        return member.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return member.filename
