"""What a measurement ran on: processor, cores, memory, versions. Never the name of the host."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import Any, ClassVar

PACKAGES = ("torch", "numpy", "PySide6-Essentials", "moderngl", "cupy-cuda12x", "cupy-cuda13x")


def describe_machine() -> dict[str, Any]:
    """The machine, as every result file carries it.

    Returns:
        `cpu` (model), `cores` (usable by this process), `memory_gb`, `system`, `python`, the
        versions of the `PACKAGES` that are installed, `torch_threads`, `cpu_capability` (the vector
        instructions that torch uses), and `gpu` (name, or None).
    """
    import torch

    return {
        "cpu": _cpu_model(),
        "cores": usable_cores(),
        "memory_gb": _memory_gb(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **_versions(),
        "torch_threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def machine_name(machine: dict[str, Any]) -> str:
    """A file name for results of `machine`: processor, cores and, where there is one, the GPU."""
    words = [str(machine["cpu"]), f"{machine['cores']} cores"]
    if machine.get("gpu"):
        words.append(str(machine["gpu"]))
    plain = re.sub(r"\((r|tm|c)\)|\bcpu\b|@.*?(?= \d+ cores|$)", " ", " ".join(words).lower())
    return re.sub(r"[^a-z0-9.]+", "-", plain).strip("-")


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def resident_bytes() -> int:
    """Memory of this process that is in RAM now, bytes; 0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return 0
    return int(statm.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


_HEAP_FIGURES = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)


class _Mallinfo2(ctypes.Structure):
    """What glibc (2.33 and later) says of its heaps, bytes; see `man mallinfo2`."""

    _fields_: ClassVar = [(name, ctypes.c_size_t) for name in _HEAP_FIGURES]


def memory_parts() -> dict[str, int]:
    """What this process's memory consists of, bytes; only what the system tells.

    Returns:
        `anonymous`, `file` and `shared`: resident pages by kind (Linux). `used` and `free`: of the
        C library's heaps, handed out and kept for later (glibc); not all that is free is resident.
    """
    parts: dict[str, int] = {}
    status = Path("/proc/self/status")
    if status.exists():
        kinds = {"RssAnon": "anonymous", "RssFile": "file", "RssShmem": "shared"}
        for line in status.read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            if name in kinds:
                parts[kinds[name]] = int(value.split()[0]) * 1024
    ask = getattr(ctypes.CDLL(None), "mallinfo2", None) if os.name == "posix" else None
    if ask is not None:
        ask.restype = _Mallinfo2
        info = ask()
        parts |= {"used": info.uordblks + info.hblkhd, "free": info.fordblks}
    return parts


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        match = re.search(
            r"^model name\s*:\s*(.+)$", info.read_text(encoding="utf-8"), re.MULTILINE
        )
        if match:
            return match[1].strip()
    return platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
