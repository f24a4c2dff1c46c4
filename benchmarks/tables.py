"""Plain text tables, and result files that are whole or not there."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in fixed-width text: words to the left, numbers to the right."""
    cells = [[_text(value) for value in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(head), *cells]) for i in range(len(head))]
    lines = [title, "  " + "  ".join(h.rjust(w) for h, w in zip(head, widths, strict=True))]
    for row in cells:
        lines.append("  " + "  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)))
    return "\n".join(lines)


def facts(title: str, values: dict[str, object]) -> str:
    """One line a fact under a title."""
    width = max(len(name) for name in values)
    lines = [f"  {name.ljust(width)}  {_text(value)}" for name, value in values.items()]
    return "\n".join([title, *lines])


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write `value` to `path`: to a temporary name first, so that no half file is left.

    Raises:
        OSError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _text(value: object) -> str:
    if isinstance(value, float):
        return (
            f"{value:.3g}"
            if abs(value) < 1
            else f"{value:.2f}"
            if abs(value) < 100
            else f"{value:.0f}"
        )
    return "-" if value is None else str(value)
