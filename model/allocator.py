"""What the C library and oneDNN keep for the next tile: enough to be fast, and no more."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEPT_BYTES = 1 << 30
_LARGEST_KEPT_BLOCK = 32 << 20  # glibc takes no larger value
_ARENAS = 1
"""Threads that come later share the heaps there are: each heap has its own gaps."""
_KEPT_PREPARATIONS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": 256, "LRU_CACHE_CAPACITY": 64}
"""Of the process, and of each of its threads. oneDNN prepares about forty for each tile shape."""


@cache
def bound_memory() -> None:
    """Reuse the blocks of feature maps, and forget how convolutions of old shapes were prepared.

    Every tile allocates and frees the same few dozen maps of some megabytes. By default glibc
    returns such blocks to the system, and the next map pays for each of its pages anew: on a
    virtual machine that is more than the arithmetic.

    For every new shape oneDNN prepares each product anew and keeps what it prepared, by default
    1024 times in every thread: views of ever new sizes would grow the process for an hour. Takes
    effect when called before the first convolution; a user's own settings stay.
    """
    for name, count in _KEPT_PREPARATIONS.items():
        os.environ.setdefault(name, str(count))
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT_BLOCK)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_ARENA_MAX, _ARENAS)


@cache
def _trim() -> Callable[[int], int] | None:
    """glibc's `malloc_trim`, where there is one."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_back_memory() -> None:
    """Return to the system what is free between blocks in use; takes some milliseconds.

    Views of ever new sizes leave gaps that the next ones do not fit into: without this a heap
    creeps upwards for many minutes. The next maps pay for their pages anew, so call it at rest.
    """
    trim = _trim()
    if trim is not None:
        trim(0)
