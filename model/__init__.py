"""Scale spaces: the trained generator, the image pyramid, and how they are trained and measured.

`import model` is cheap: torch is imported when one of the names below is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.opening import load_scale_space, open_scale_space, why_no_kernels

__all__ = ["load_scale_space", "open_scale_space", "why_no_kernels"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        import model.opening

        return getattr(model.opening, name)
    raise AttributeError(f"module 'model' has no attribute {name!r}")
