"""The work folder of an export: rendered rows that survive a kill, each strip with its checksum.

`rows.tif` is an uncompressed BigTIFF whose directory comes first, so that strips are written where
they belong, and libvips reads it from top to bottom with little memory (raw files it would map as
a whole). `strips.txt` has a line for every strip that was written; `manifest.json` says of what.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from model.export.plan import ExportPlan

_FORMAT = 1
_STRIP_BYTES = 16 << 20  # libtiff, as libvips opens it, reads no strip of 50 MiB
_NAMES = {"manifest.json", "manifest.json.part", "rows.tif", "strips.txt", "result"}


class WorkFolder:
    """What is kept beside the output until it is whole. One process at a time."""

    def __init__(self, plan: ExportPlan) -> None:
        """Name it; `begin` or `resume` makes it."""
        self.plan = plan
        self.folder = plan.out.with_name(f"{plan.out.name}.work")
        self.pixels = self.folder / "rows.tif"
        """The rendered rows."""
        self.result = self.folder / "result"
        """Folder in which libvips writes."""
        self.done = 0
        """Strips that are whole."""
        self._manifest = self.folder / "manifest.json"
        self._journal = self.folder / "strips.txt"
        self._data_offset = 0

    @property
    def exists(self) -> bool:
        """Whether there is one, whole or not."""
        return self.folder.exists()

    @property
    def moving(self) -> bool:
        """Whether a process that was killed had begun to move the result into place."""
        return bool(self._read_manifest().get("moving", False))

    def begin(self) -> None:
        """Make an empty one.

        Raises:
            OSError: It exists, or cannot be written.
        """
        with self._clear_errors():
            self.folder.mkdir()
            try:
                self._start()
            except OSError:
                self.remove()
                raise

    def resume(self) -> None:
        """Take over what a stopped export has rendered; strips whose bytes are damaged are not.

        Raises:
            ValueError: It is of another export.
            OSError: It cannot be read or written.
        """
        found = self._read_manifest()
        if not found:
            foreign = {p.name for p in self.folder.iterdir()} - _NAMES
            if foreign:
                raise ValueError(
                    f"{self.folder} is not the work folder of an export (it has "
                    f"{sorted(foreign)[0]!r}); give another name with --out."
                )
            self._start()
            return
        self._check_manifest(found)
        # Half a file of a process that was killed: it is written anew, in the same room.
        shutil.rmtree(self.result, ignore_errors=True)
        header = _tiff_header(*self.plan.size)
        self._data_offset = len(header)
        good: list[str] = []
        with contextlib.suppress(FileNotFoundError), self.pixels.open("rb") as file:
            if file.read(len(header)) == header:
                for line in self._journal.read_text("ascii").splitlines():
                    rows = file.read(self._strip_bytes(len(good)))
                    if len(good) == self.plan.strips or line != _checksum(rows):
                        break
                    good.append(line)
        if not good:
            self.pixels.write_bytes(header)
        self._journal.write_text("".join(f"{line}\n" for line in good), "ascii")
        self.done = len(good)

    def add_strip(self, rows: np.ndarray) -> None:
        """Write the next strip, uint8 [strip_rows, W, 3], and then that it is there."""
        data = np.ascontiguousarray(rows).data
        with self._clear_errors():
            with self.pixels.open("r+b", buffering=0) as file:
                file.seek(self._data_offset + self.done * self._strip_bytes(0))
                view = memoryview(data).cast("B")
                while len(view):
                    view = view[file.write(view) :]
            with self._journal.open("a", encoding="ascii") as journal:
                journal.write(f"{_checksum(data)}\n")
        self.done += 1

    def begin_moving(self) -> None:
        """Note that the outputs which appear from now on are this export's."""
        self._write_manifest(moving=True)

    def remove(self) -> None:
        """Delete it and everything in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def clean_result(self) -> Path:
        """An empty folder for libvips."""
        shutil.rmtree(self.result, ignore_errors=True)
        self.result.mkdir()
        return self.result

    def _start(self) -> None:
        header = _tiff_header(*self.plan.size)
        self._data_offset = len(header)
        self.pixels.write_bytes(header)
        self._journal.write_text("", "ascii")
        self._write_manifest()
        self.done = 0

    @contextlib.contextmanager
    def _clear_errors(self) -> Iterator[None]:
        """Turn what the file system says into one line that says what to do."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise OSError(
                error.errno,
                f"{self.folder} cannot be written: {reason}; make room there and export again with "
                "--resume, or write to another disk.",
            ) from error

    def _strip_bytes(self, strip: int) -> int:
        return self.plan.strip_rows(strip) * self.plan.window.width * 3

    def _read_manifest(self) -> dict[str, Any]:
        """What the folder says that it is; empty where it does not."""
        try:
            fields = json.loads(self._manifest.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return fields if isinstance(fields, dict) else {}

    def _write_manifest(self, **more: object) -> None:
        temp = self._manifest.with_name("manifest.json.part")
        told = {"format": _FORMAT, **self.plan.manifest(), "box": self.plan.box, **more}
        temp.write_text(json.dumps(told), "utf-8")
        temp.replace(self._manifest)

    def _check_manifest(self, found: dict[str, Any]) -> None:
        """Raise ValueError unless `found` is of this very export."""
        expected = {"format": _FORMAT, **self.plan.manifest()}
        for name, value in expected.items():
            if found.get(name) != value:
                raise ValueError(
                    f"{self.folder} is of another export: its {name} is {found.get(name)!r}, "
                    f"this one's is {value!r}. Ask for the same as then, delete that folder, or "
                    "give another name with --out."
                )


def _checksum(data: bytes | memoryview) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _tiff_header(width: int, height: int) -> bytes:
    """Everything of an uncompressed RGB BigTIFF that comes before its rows.

    Source: TIFF 6.0 (1992), sections 2 and 8; BigTIFF by its designers' note (2004).
    """
    row = 3 * width
    rows_a_strip = max(1, min(16, _STRIP_BYTES // row))
    count = -(-height // rows_a_strip)
    tags = 10
    arrays_at = 16 + 8 + 20 * tags + 8
    data_at = -(-(arrays_at + 2 * 8 * count) // 4096) * 4096
    offsets = np.arange(count, dtype="<u8") * (rows_a_strip * row) + data_at
    lengths = np.full(count, rows_a_strip * row, "<u8")
    lengths[-1] = (height - (count - 1) * rows_a_strip) * row
    one_strip = count == 1  # a value of 8 bytes stands in the directory itself

    def entry(tag: int, kind: int, number: int, value: bytes) -> bytes:
        return struct.pack("<HHQ", tag, kind, number) + value.ljust(8, b"\0")

    def long(value: int) -> bytes:
        return struct.pack("<Q", value)

    def array(values: np.ndarray, position: int) -> bytes:
        return values.tobytes() if one_strip else long(arrays_at + position * 8 * count)

    directory = [
        entry(256, 4, 1, long(width)),
        entry(257, 4, 1, long(height)),
        entry(258, 3, 3, struct.pack("<3H", 8, 8, 8)),  # bits per sample
        entry(259, 3, 1, long(1)),  # no compression
        entry(262, 3, 1, long(2)),  # RGB
        entry(273, 16, count, array(offsets, 0)),
        entry(277, 3, 1, long(3)),  # samples per pixel
        entry(278, 4, 1, long(rows_a_strip)),
        entry(279, 16, count, array(lengths, 1)),
        entry(284, 3, 1, long(1)),  # interleaved
    ]
    assert len(directory) == tags
    head = struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, tags) + b"".join(directory) + long(0)
    return (head + offsets.tobytes() + lengths.tobytes()).ljust(data_at, b"\0")


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write there."""
    return shutil.disk_usage(os.fspath(folder)).free
