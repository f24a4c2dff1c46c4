"""The doctor's look at one large picture: read once from top to bottom, never held whole."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np

from model.data.doctor_findings import Findings
from model.data.doctor_spectrum import detail_end, luma
from model.data.large import LargeImage, open_picture
from model.data.report import ERROR, NOTE, WARNING, ImageFacts, Item
from model.pyramid_build import Progress, default_cache_dir, is_built
from model.scale import level_of_density

_WINDOW_PX = 128
_ROWS, _COLUMNS = 12, 8
"""Windows that the spectrum is taken from."""
_PYRAMID_BYTES_PER_PX = 4
_MARGIN = 1.05
_STRIP_BYTES = 4 << 20
"""Decoded at once; larger strips cost libvips several times their size."""
_HUGE_PX = 1 << 28
_SOFT_OCTAVES = 0.5
"""A picture that is empty by more than this was magnified, or is not sharp."""


def image_facts(
    picture: LargeImage,
    patch_size: int,
    found: Findings,
    progress: Progress | None = None,
    read: bool = True,
) -> ImageFacts:
    """Read the picture once; what it is, and findings about it.

    Args:
        picture: As `open_data` gives it.
        patch_size: Pixels; fixes what level 0 means.
        found: Takes the findings.
        progress: Called with the share that is read; whatever it raises cancels.
        read: Whether to read the pixels; without, nothing is known of its detail.
    """
    name = picture.path.name
    width, height = picture.size_wh
    finest = max(0.0, level_of_density(min(width, height), patch_size))
    below: float | None = None
    plain = False
    try:
        windows = _windows(picture.path, progress) if read else None
    except (ValueError, OSError) as error:
        text = str(error).removeprefix(f"{picture.path} ")
        found.add(
            "damaged",
            ERROR,
            "The picture cannot be read to its end.",
            "Copy or save it again.",
            [Item(name, text)],
        )
    else:
        if windows is not None:
            below = detail_end(luma(windows))
            plain = below is None
    needed = math.ceil(width * height * _PYRAMID_BYTES_PER_PX)
    free = _free_bytes(default_cache_dir())
    _add_findings(found, name, (width, height), patch_size, finest, below, plain)
    if free is not None and needed * _MARGIN > free and not _is_kept(picture.path):
        text = f"needs {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free; free some."
        found.add(
            "disk",
            WARNING,
            "No room for the picture's pyramid.",
            "Free some disk space, or name a folder on a larger disk: with XDG_CACHE_HOME, or with "
            "--cache for training.",
            [Item(name, text)],
        )
    return ImageFacts(
        kind=picture.kind,
        mode=picture.mode,
        width=width,
        height=height,
        patch_size=patch_size,
        finest_level=round(finest, 4),
        detail_level=None if below is None else round(max(0.0, finest - below), 4),
        pyramid_bytes=needed,
        free_bytes=free,
    )


def _is_kept(path: Path) -> bool:
    """Whether the cache has the pyramid already, so that it needs no more room."""
    try:
        return is_built(path)
    except (ValueError, OSError):
        return False


def _add_findings(
    found: Findings,
    name: str,
    size_wh: tuple[int, int],
    patch_size: int,
    finest: float,
    below: float | None,
    plain: bool,
) -> None:
    if min(size_wh) <= patch_size:  # of one patch alone there is one level, and no zoom
        text = f"has {size_wh[0]} x {size_wh[1]} px, a patch has {patch_size}; take a larger one."
        found.add(
            "too-small",
            ERROR,
            "The picture is not larger than one patch.",
            "Take a larger picture.",
            [Item(name, text)],
        )
    if plain:
        found.add(
            "plain",
            NOTE,
            "Too plain to tell where its detail ends.",
            "Nothing, if it is meant to be plain.",
            [Item(name, "its windows hold too little contrast for a spectrum.")],
        )
    if below is not None and below > _SOFT_OCTAVES:
        level = max(0.0, finest - below)
        text = f"its finest {below:g} octaves hold no detail; train to level {level:.1f}."
        found.add(
            "magnified",
            WARNING,
            "Its spectrum ends below its pixels: the picture was magnified, or is not sharp. "
            "Likely, within half an octave; noise would hide it.",
            f"Train with --levels 0 {level:.1f}: finer levels would learn the blur.",
            [Item(name, text)],
        )
    if size_wh[0] * size_wh[1] > _HUGE_PX:
        found.add(
            "huge",
            NOTE,
            "A very large picture: it is never held in memory, but its pyramid takes disk space "
            "and its first opening some minutes.",
            "Nothing; or train on a part of it with --crop.",
            [Item(name, f"has {size_wh[0] * size_wh[1] / 1e6:,.0f} Mpx.")],
        )


def _windows(path: Path, progress: Progress | None) -> np.ndarray:
    """Windows of the picture's own pixels, evenly spread, uint8 [N, P, P, 3]."""
    picture = open_picture(path)
    width, height = picture.size_wh
    size = min(_WINDOW_PX, width, height)
    tops = sorted({round(t) for t in np.linspace(0, height - size, _ROWS)})
    lefts = sorted({round(x) for x in np.linspace(0, width - size, _COLUMNS)})
    windows: list[np.ndarray] = []
    kept = np.empty((0, width, 3), np.uint8)
    y = 0  # of the first kept row
    waiting = list(tops)
    rows_at_once = max(1, min(size, _STRIP_BYTES // (3 * width)))
    strips = picture.strips((0, 0, width, height), 1, rows_at_once)
    try:
        for rows in strips:
            kept = np.concatenate([kept, rows])
            while waiting and waiting[0] + size <= y + len(kept):
                top = waiting.pop(0) - y
                windows += [kept[top : top + size, x : x + size].copy() for x in lefts]
            drop = max(0, len(kept) - size)
            kept, y = kept[drop:], y + drop
            if progress is not None:
                progress(min(1.0, (y + len(kept)) / height))
    finally:
        strips.close()
    return np.stack(windows) if windows else np.empty((0, size, size, 3), np.uint8)


def _free_bytes(folder: Path) -> int | None:
    """Free space on the disk of `folder`, which need not exist yet."""
    for place in (folder, *folder.parents):
        if place.is_dir():
            try:
                return shutil.disk_usage(place).free
            except OSError:
                return None
    return None
