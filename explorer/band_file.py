"""The rows of a picture that are done, in a file beside it: whoever is killed goes on from there.

One line of JSON says what they are of; then bands of rows follow, each with its length and its
checksum. A band that was cut, or is damaged, is not there.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from numpy.typing import NDArray

_FORMAT = 1
_HEAD = struct.Struct(">II")
"""Bytes of a band, and their CRC-32."""
_MAX_LINE = 4096


class OtherBandsError(ValueError):
    """The file is of another picture, or something else."""


class BandFile:
    """Bands of uint8 [rows, width, 3], from the top; used as a context manager."""

    def __init__(self, path: Path, fingerprint: str, width: int, resume: bool) -> None:
        """Open or make the file at `path`.

        Args:
            path: Beside the picture.
            fingerprint: Names everything that decides what is in the picture.
            width: Of the picture, pixels.
            resume: Keep the bands that are there; otherwise there are none.

        Raises:
            OtherBandsError: `resume`, and the file has another fingerprint.
            OSError: It cannot be read or written.
        """
        self.path = path
        self.rows = 0
        """That are done."""
        self._width = width
        line = json.dumps({"bands": _FORMAT, "of": fingerprint}).encode() + b"\n"
        self._first = len(line)
        if resume and path.exists() and path.stat().st_size > 0:
            self._file: IO[bytes] = path.open("r+b")
            try:
                if self._file.readline(_MAX_LINE) != line:
                    raise OtherBandsError(path)
                self._skip_whole()
            except BaseException:
                self._file.close()
                raise
        else:
            self._file = path.open("w+b")
            self._file.write(line)

    def __enter__(self) -> BandFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def append(self, band: NDArray[np.uint8]) -> None:
        """The next rows are done: uint8 [rows, width, 3]."""
        data = np.ascontiguousarray(band).tobytes()
        self._file.write(_HEAD.pack(len(data), zlib.crc32(data)) + data)
        self._file.flush()
        self.rows += len(band)

    def bands(self) -> Iterator[NDArray[np.uint8]]:
        """All of them, from the top; the file is then at its end again."""
        self._file.seek(self._first)
        while (data := self._next()) is not None:
            yield np.frombuffer(data, np.uint8).reshape(-1, self._width, 3)

    def _skip_whole(self) -> None:
        """Count the whole bands, and cut off what comes after them."""
        end = self._first
        while (data := self._next()) is not None:
            self.rows += len(data) // (3 * self._width)
            end = self._file.tell()
        self._file.seek(end)
        self._file.truncate()

    def _next(self) -> bytes | None:
        """The band at the file's position; None where there is none that is whole."""
        head = self._file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return None
        length, checksum = _HEAD.unpack(head)
        left = os.fstat(self._file.fileno()).st_size - self._file.tell()
        if length == 0 or length > left or length % (3 * self._width):
            return None
        data = self._file.read(length)
        return data if zlib.crc32(data) == checksum else None
