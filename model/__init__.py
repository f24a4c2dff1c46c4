"""Scale spaces: the trained generator, the image pyramid, and how they are trained and measured.

`import model` is cheap: torch is imported when one of the names below is first used. It sets one
environment variable, which the threads of torch on a CPU read then; a user's own value stays.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.opening import load_scale_space, open_scale_space, why_no_kernels

_SPINS = 30_000
"""Looks for the other threads at the end of a layer before one sleeps.

libgomp's default is ten times as many. Alone that gains nothing; beside a busy program each such
wait keeps the core from the very thread that is waited for.
"""
os.environ.setdefault("GOMP_SPINCOUNT", str(_SPINS))

__all__ = ["load_scale_space", "open_scale_space", "why_no_kernels"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        import model.opening

        return getattr(model.opening, name)
    raise AttributeError(f"module 'model' has no attribute {name!r}")
