"""The type of the convolutions: half precision where it is quicker."""

from __future__ import annotations

import functools
import platform
from pathlib import Path

import torch

_NAMES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_CPUINFO = Path("/proc/cpuinfo")


def choose_dtype(device: torch.device, precision: str) -> torch.dtype:
    """To render with: 'fp32', 'bf16', 'fp16', or 'auto' for the fastest exact enough.

    Raises:
        ValueError: The name is unknown.
    """
    if precision in _NAMES:
        return _NAMES[precision]
    if precision != "auto":
        raise ValueError(f"precision must be one of auto, {', '.join(_NAMES)}, got {precision!r}.")
    return torch.float16 if device.type == "cuda" else training_dtype(device)


def training_dtype(device: torch.device) -> torch.dtype:
    """To train with, where it is not said: float32, or bfloat16 where that is quicker.

    It has the range of float32, so that no loss needs to be scaled.
    """
    if device.type == "cuda":
        # Older ones emulate it, and torch calls that supported too.
        quick = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        quick = _cpu_is_quick_with_bf16()
    return torch.bfloat16 if quick else torch.float32


@functools.cache
def _cpu_is_quick_with_bf16() -> bool:
    """Whether products of bfloat16 are quicker here than those of float32.

    That it is supported says little. Emulated, it renders and trains at 0.35 to 0.45 times the
    speed of float32 (`ONEDNN_MAX_CPU_ISA=AVX512_CORE python -m benchmarks.precision`); with Intel's
    vector instructions for it, where a machine hides the matrix unit, at 0.7 times. Known by name
    and not measured at every start, so that a seed gives the same picture.
    """
    if platform.machine().lower() in ("x86_64", "amd64"):
        matrix_unit, vectors = (
            getattr(torch.cpu, name, lambda: False)()
            for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        )
        return matrix_unit or (vectors and not _is_intel())
    return torch.backends.mkldnn.is_available() and bool(
        torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def _is_intel() -> bool:
    try:
        name = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        name = platform.processor()
    return "GenuineIntel" in name
