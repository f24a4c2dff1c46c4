"""The page's section on a checkpoint of many scenes, from what `benchmarks.many_scenes` found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.quality.words import LATENTS

SHIPPED = ("brushwork",)
"""Checkpoints of many scenes: none can be held against one picture."""


def load_latents(folder: Path) -> dict[str, dict[str, Any]]:
    """By checkpoint, the `many-scenes-*.json` of a folder."""
    files = {name: folder / f"many-scenes-{name}.json" for name in SHIPPED}
    return {
        name: json.loads(file.read_text(encoding="utf-8"))
        for name, file in files.items()
        if file.exists()
    }


def latents_section(name: str, found: dict[str, Any]) -> str:
    """Markdown: how it was made, and how much its latents differ and agree with themselves."""
    settings, alike = found["settings"], found["likeness"]
    smallest, largest = settings["sides"]
    shown = sum(found["latents_by_scene"])
    rows = [
        f"| {level} | {pair['own']:.1f} | {pair['another']:.1f} |"
        for level, pair in found["consistency_db"].items()
    ]
    return LATENTS.format(
        name=name,
        scenes=settings["scenes"],
        smallest=f"{smallest:,}",
        largest=f"{largest:,}",
        count=settings["count"],
        octaves=settings["octaves"],
        minutes=f"{found['minutes']:.0f}",
        windows=f"{1000 * found['kimg']:,.0f}",
        cores=found["machine"]["cores"],
        cpu=found["machine"]["cpu"],
        diversity=f"{found['diversity']:.2f}",
        shown=shown,
        latents=shown + found["no_scene"],
        median=f"{alike['median']:.2f}",
        highest=f"{alike['real_scenes_highest']:.2f}",
        rows="\n".join(rows),
    )
