"""How the C library treats freed memory: kept for the next tile, instead of given back."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEPT_BYTES = 1 << 30
_LARGEST_KEPT_BLOCK = 32 << 20  # glibc takes no larger value
_ARENAS = 1
"""One heap for all threads: each heap keeps what it was given, and its gaps."""


@cache
def keep_freed_memory() -> None:
    """Let glibc reuse the blocks of feature maps; does nothing where there is no glibc.

    Every tile allocates and frees the same few dozen maps of some megabytes. By default glibc
    returns such blocks to the system, and the next map pays for each of its pages anew: on a
    virtual machine that is more than the arithmetic.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT_BLOCK)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_ARENA_MAX, _ARENAS)
