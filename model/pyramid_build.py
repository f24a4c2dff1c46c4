"""Build the files of an image pyramid: once, with bounded memory, moved into place when whole.

A pyramid is a folder: `level-00.u8` is the image itself (uint8 [H, W, 3], rows in order, no
header), `level-NN.u8` its exact averages over blocks of 2**NN pixels, and `pyramid.json`. Its name
is a digest of the image's path, size and time: where the image has changed, the pyramid of what it
was goes as soon as that of what it is has been built.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path

import numpy as np

from model.data.large import Picture, PictureState, open_picture, picture_state

_FORMAT = 1
_META_NAME = "pyramid.json"
_STRIP_BYTES = 4 << 20
"""Decoded at once; larger strips are slower and cost libvips several times their size."""
_COARSEST_PX = 16
_CACHES = {"darwin": "Library/Caches", "win32": "AppData/Local"}
"""Inside the home folder, where it is not `.cache`."""
_LEFT_S = 3600.0
"""Whoever builds writes all the time: what was not written to for so long, s, is of no one."""
_NAME = re.compile("[0-9a-f]{24}")
_TEMP_NAME = re.compile(r"([0-9a-f]{24})\.tmp-(\d{1,9})-\w+")
_KEEPS_OPEN = sys.platform == "win32"
"""No one can remove there what another has open, nor tell whether a process lives."""
_MAX_UINT32_LEVEL = 12  # 255 * 4**12 still fits

Progress = Callable[[float], None]
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class PyramidFiles:
    """What `pyramid.json` says."""

    name: str
    """File name of the image; of a Zoomify pyramid, its folder's."""
    source_size: tuple[int, int]
    """Width and height of the whole image, upright, pixels."""
    crop: Box
    """x0, y0, x1, y1 of the part that was taken, pixels of the upright image."""
    shrink: int
    """Whole image pixels per pixel of level 0 of the pyramid, 1 unless a density was asked for."""
    width: int
    """Pixels of the base."""
    height: int
    """Pixels of the base."""
    num_mips: int
    """Files, the base among them."""

    def mip_size(self, mip: int) -> tuple[int, int]:
        """Width and height of `level-<mip>.u8`, pixels."""
        return -(-self.width >> mip), -(-self.height >> mip)


def default_cache_dir() -> Path:
    """Where pyramids are kept unless the caller names a folder (XDG, macOS and Windows customs).

    Who has no home, as some services and containers, has a folder among temporary files.
    """
    if os.environ.get("XDG_CACHE_HOME"):
        base = Path(os.environ["XDG_CACHE_HOME"])
    elif sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        base = Path(os.environ["LOCALAPPDATA"])
    else:
        try:
            base = Path.home() / _CACHES.get(sys.platform, ".cache")
        except RuntimeError:
            base = Path(tempfile.gettempdir())
            if sys.platform != "win32":  # where that folder is the user's own
                base = base / f"cache-{os.getuid()}"
    return base / "scalespace-explorer" / "pyramids"


def mip_path(folder: Path, mip: int) -> Path:
    """File of the averages over blocks of `2**mip` pixels."""
    return folder / f"level-{mip:02d}.u8"


def is_built(
    path: Path,
    crop: Box | None = None,
    max_density: float | None = None,
    cache_dir: Path | None = None,
) -> bool:
    """Whether `find_or_build` would find the pyramid in the cache.

    Raises:
        OSError: The image cannot be read.
        ValueError: It is a damaged tile pyramid.
    """
    _, parent, name = _key(path, crop, max_density, cache_dir)
    return _read_meta(parent / name) is not None


def find_or_build(
    path: Path,
    crop: Box | None,
    max_density: float | None,
    cache_dir: Path | None,
    progress: Progress | None,
) -> tuple[Path, PyramidFiles]:
    """The folder of the pyramid of `path`, built now unless the cache has it.

    Raises:
        OSError: The image cannot be read, or the cache cannot be written (no room, for example).
        ValueError: The file is not an image that libvips can decode, or `crop` misses it.
    """
    state, parent, name = _key(path, crop, max_density, cache_dir)
    folder = parent / name
    files = _read_meta(folder)
    if files is None:
        picture = open_picture(state.path)
        box = _check_crop(crop, picture.size_wh, state.name)
        shrink = _shrink_factor(box, max_density)
        with _disk_errors(parent):
            parent.mkdir(parents=True, exist_ok=True)
            _remove_stale(parent, name)
            # Not by tempfile: others who share the cache may read what becomes the pyramid.
            temp = parent / f"{name}.tmp-{os.getpid()}-{secrets.token_hex(4)}"
            temp.mkdir()
            try:
                files = _build(picture, state, box, shrink, temp, progress)
                _move_into_place(temp, folder)
            finally:
                shutil.rmtree(temp, ignore_errors=True)
        _remove_older(parent, state)
    return folder, files


def _key(
    path: Path, crop: Box | None, max_density: float | None, cache_dir: Path | None
) -> tuple[PictureState, Path, str]:
    """What lies at `path`, and the folder and name of its pyramid."""
    try:
        state = picture_state(path.resolve(strict=True))
    except OSError as error:
        raise OSError(
            error.errno, f"{path} cannot be read: {error.strerror}. Check the path."
        ) from error
    key = repr((str(state.path), state.num_bytes, state.mtime_ns, crop, max_density, _FORMAT))
    name = hashlib.sha256(key.encode()).hexdigest()[:24]
    return state, cache_dir if cache_dir is not None else default_cache_dir(), name


def _check_crop(crop: Box | None, size_wh: tuple[int, int], name: str) -> Box:
    """`crop` where it lies inside the image, the whole image for None."""
    width, height = size_wh
    if crop is None:
        return (0, 0, width, height)
    x0, y0, x1, y1 = crop
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise ValueError(
            f"crop must be x0 y0 x1 y1 with 0 <= x0 < x1 <= {width} and "
            f"0 <= y0 < y1 <= {height} for {name}, got {x0} {y0} {x1} {y1}."
        )
    return (x0, y0, x1, y1)


def _shrink_factor(box: Box, max_density: float | None) -> int:
    """Whole pixels to average into one so that the shorter side has at most `max_density`."""
    short = min(box[2] - box[0], box[3] - box[1])
    if max_density is None or short <= max_density:
        return 1
    if max_density < 1:
        raise ValueError(f"max_density must be >= 1 pixel per field unit, got {max_density}.")
    return math.ceil(short / max_density)


def _build(
    picture: Picture,
    state: PictureState,
    box: Box,
    shrink: int,
    temp: Path,
    progress: Progress | None,
) -> PyramidFiles:
    """Stream `picture` through the levels into `temp`."""
    x0, y0, x1, y1 = box
    width, height = (x1 - x0) // shrink, (y1 - y0) // shrink
    box = (x0, y0, x0 + width * shrink, y0 + height * shrink)
    num_mips = 1
    while max(width, height) >> (num_mips - 1) > _COARSEST_PX:
        num_mips += 1
    files = PyramidFiles(state.name, picture.size_wh, box, shrink, width, height, num_mips)
    needed = sum(3 * math.prod(files.mip_size(mip)) for mip in range(num_mips))
    if shutil.disk_usage(temp).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with contextlib.ExitStack() as stack:
        sinks = [
            stack.enter_context(mip_path(temp, mip).open("wb", buffering=0))
            for mip in range(num_mips)
        ]
        cascade = _Cascade(files, sinks)
        num_rows = max(1, min(256, _STRIP_BYTES // (3 * width)))
        strips = stack.enter_context(contextlib.closing(picture.strips(box, shrink, num_rows)))
        done = 0
        for strip in strips:
            cascade.add(strip)
            done += len(strip)
            if progress is not None:
                progress(done / height)
        cascade.finish()
    source = {"path": str(state.path), "num_bytes": state.num_bytes, "mtime_ns": state.mtime_ns}
    fields = {"format": _FORMAT, **asdict(files), "source": source}
    (temp / _META_NAME).write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
    return files


class _Cascade:
    """Sums over blocks, carried from level to level as integers and rounded once a level.

    The image is continued by its nearest edge to whole blocks of the coarsest level, so that a
    block on the edge is the exact average of what `render` shows there.
    """

    def __init__(self, files: PyramidFiles, sinks: list[FileIO]) -> None:
        self._files = files
        self._sinks = sinks
        self._carry: list[np.ndarray | None] = [None] * len(sinks)
        self._rows_left = [files.mip_size(mip)[1] for mip in range(len(sinks))]
        self._num_rows = 0
        self._last_row: np.ndarray | None = None
        self._block = 1 << (len(sinks) - 1)

    def add(self, strip: np.ndarray) -> None:
        """Take the next rows of the base, uint8 [rows, W, 3]."""
        self._num_rows += len(strip)
        self._last_row = strip[-1:].copy()
        pad = -strip.shape[1] % self._block
        if pad:
            strip = np.concatenate([strip, np.repeat(strip[:, -1:], pad, axis=1)], axis=1)
        self._push(0, strip)

    def finish(self) -> None:
        """Continue the last row to a whole block."""
        assert self._last_row is not None, "a pyramid has at least one row"
        for _ in range(-self._num_rows % self._block):
            self.add(self._last_row)

    def _push(self, mip: int, sums: np.ndarray) -> None:
        """Write rows of level `mip` and hand their sums in pairs to the next."""
        width, _ = self._files.mip_size(mip)
        num_rows = min(len(sums), self._rows_left[mip])
        self._rows_left[mip] -= num_rows
        rows = sums[:num_rows, :width]
        if mip:
            half = sums.dtype.type(1 << (2 * mip - 1))
            rows = ((rows + half) >> sums.dtype.type(2 * mip)).astype(np.uint8)
        _write_all(self._sinks[mip], rows)
        if mip + 1 == len(self._sinks):
            return
        carry = self._carry[mip]
        if carry is not None:
            sums = np.concatenate([carry, sums])
        self._carry[mip] = sums[-1:].copy() if len(sums) % 2 else None
        sums = sums[: len(sums) // 2 * 2]
        if len(sums):
            dtype = _sum_dtype(mip + 1)
            pairs = np.add(sums[0::2], sums[1::2], dtype=dtype)
            self._push(mip + 1, np.add(pairs[:, 0::2], pairs[:, 1::2], dtype=dtype))


def _sum_dtype(mip: int) -> type[np.unsignedinteger]:
    """The narrowest integer that holds a block's sum and its rounding half."""
    if mip <= 3:
        return np.uint16
    return np.uint32 if mip < _MAX_UINT32_LEVEL else np.uint64


def _write_all(sink: FileIO, rows: np.ndarray) -> None:
    """Write all of `rows`; an unbuffered file may take part of a large block."""
    view = memoryview(np.ascontiguousarray(rows).data).cast("B") if rows.size else memoryview(b"")
    while len(view):
        view = view[sink.write(view) :]


def _read_meta(folder: Path) -> PyramidFiles | None:
    """What a whole pyramid in `folder` says of itself; None where there is none."""
    try:
        fields = json.loads((folder / _META_NAME).read_text(encoding="utf-8"))
        if fields.pop("format") != _FORMAT:
            return None
        fields.pop("source", None)
        fields["source_size"] = tuple(fields["source_size"])
        fields["crop"] = tuple(fields["crop"])
        files = PyramidFiles(**fields)
        for mip in range(files.num_mips):
            if mip_path(folder, mip).stat().st_size != 3 * math.prod(files.mip_size(mip)):
                return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return files


def _move_into_place(temp: Path, folder: Path) -> None:
    """Rename `temp` to `folder`; where another process was first, its pyramid is as good."""
    try:
        temp.rename(folder)
    except OSError:
        if _read_meta(folder) is None:
            shutil.rmtree(folder, ignore_errors=True)
            temp.rename(folder)


def _remove_stale(parent: Path, name: str) -> None:
    """Remove what killed processes left: of the same pyramid at once, of others after a while."""
    for left in parent.glob("*.tmp-*"):
        match = _TEMP_NAME.fullmatch(left.name)
        if match is None:
            continue
        is_dead = not _is_running(int(match[2]))
        # Another machine may build there too, whose processes are not known here.
        if (is_dead and match[1] == name) or (_is_left(left) and (is_dead or _KEEPS_OPEN)):
            shutil.rmtree(left, ignore_errors=True)


def _is_left(temp: Path) -> bool:
    """Whether nothing has been written to the files of a pyramid for long."""
    try:
        written_at = max(path.stat().st_mtime for path in (temp, *temp.iterdir()))
    except OSError:
        return False  # it has just become a pyramid, or has gone
    return time.time() - written_at > _LEFT_S


def _remove_older(parent: Path, state: PictureState) -> None:
    """Remove the pyramids of what lay at the path before the picture changed: none finds them.

    Who reads one has its files mapped. Where the system lets no one rename such a folder it stays
    whole, until the picture changes again.
    """
    for meta in parent.glob(f"*/{_META_NAME}"):
        folder = meta.parent
        if not _NAME.fullmatch(folder.name) or not _is_older(meta, state):
            continue
        temp = parent / f"{folder.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}"
        with contextlib.suppress(OSError):
            folder.rename(temp)
        shutil.rmtree(temp, ignore_errors=True)


def _is_older(meta: Path, state: PictureState) -> bool:
    """Whether a pyramid is of the picture at the same path, as it was before `state`."""
    try:
        source = json.loads(meta.read_text(encoding="utf-8"))["source"]
        made_of = int(source["mtime_ns"]), int(source["num_bytes"])
        same_path = source["path"] == str(state.path)
    except (OSError, ValueError, KeyError, TypeError):
        return False  # damaged, or of a build that did not say
    now = state.mtime_ns, state.num_bytes
    return same_path and made_of != now and made_of[0] <= now[0]


def _is_running(pid: int) -> bool:
    """Whether a process of this number lives; unknown counts as living."""
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def _disk_errors(parent: Path) -> Iterator[None]:
    """Turn an OSError of writing the cache into one line that says what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(
            error.errno,
            f"the pyramid cannot be written to {parent}: {reason}. "
            "Make room there, or name a folder on a larger disk: with XDG_CACHE_HOME, or with "
            "--cache for training.",
        ) from error
