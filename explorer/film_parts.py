"""Names of what a broken recording leaves. Plain Python: the window asks without the codecs."""

from __future__ import annotations

from pathlib import Path


def part_path(out: Path) -> Path:
    """The file that grows while `out` is being recorded."""
    return out.with_name(f"{out.stem}.part{out.suffix.lower()}")


def kept_path(out: Path) -> Path:
    """The part of before, while its whole segments are being copied into the new one."""
    return out.with_name(f"{out.stem}.kept.part{out.suffix.lower()}")


def has_part(out: Path) -> bool:
    """Whether a recording of `out` was broken and left a part."""
    return part_path(out).exists() or kept_path(out).exists()
