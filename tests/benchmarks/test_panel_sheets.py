"""The sheets of panels: every picture is whole, and none lies over another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.panel_sheets import _place, write_sheet

SIZES = [(900, 700), (400, 690), (400, 300), (1200, 120), (90, 40), (380, 310), (2600, 50)]


@pytest.mark.parametrize("scale", [1, 2])
def test_no_picture_lies_over_another_or_outside(scale: int) -> None:
    pictures = [
        (str(i), Image.new("RGB", (w * scale, h * scale))) for i, (w, h) in enumerate(SIZES)
    ]
    placed, (width, height) = _place(pictures, scale)
    covered = np.zeros((height, width), np.int64)
    for each in placed:
        w, h = each.image.size
        assert each.x >= 0 and each.x + w <= width and each.y + h <= height
        covered[each.y : each.y + h, each.x : each.x + w] += 1
    assert covered.max() == 1 and len(placed) == len(SIZES)
    assert covered.sum() == sum(w * h for w, h in SIZES) * scale**2


def test_a_sheet_shows_every_picture(tmp_path: Path) -> None:
    colors = {"a": (250, 10, 10), "b": (10, 250, 10), "c": (10, 10, 250)}
    for name, color in colors.items():
        Image.new("RGB", (60, 50), color).save(tmp_path / f"{name}.png")
    sheet = tmp_path / "sheet.webp"
    write_sheet(sheet, sorted(tmp_path.glob("*.png")), "light", 1)
    with Image.open(sheet) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    for color in colors.values():
        near = np.abs(pixels - np.array(color)).max(-1) < 40
        assert near.sum() > 0.8 * 60 * 50
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png", "c.png", "sheet.webp"]
