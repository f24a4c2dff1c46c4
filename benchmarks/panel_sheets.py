"""Sheets with a picture of every panel: one for each theme and each scale of the screen."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from benchmarks.display import display_environment

THEMES = ("dark", "light")
SCALES = (1, 2)
SCREEN = "2720x1800x24"
"""Of a virtual display: large enough for the window at twice its size."""
_WIDTH_PX = 2400
"""Width of a sheet at 1x, at most."""
_GAP_PX, _CAPTION_PX = 22, 24
_GROUND = {"dark": ((58, 56, 64), (232, 229, 222)), "light": ((178, 174, 166), (30, 28, 25))}
"""Of a sheet by its theme: behind the pictures, and of the captions."""
_QUALITY = 60
_HOME = "/home/you"
"""Shown where a panel proposes a folder."""


@dataclass(frozen=True)
class _Placed:
    """A picture on the sheet."""

    name: str
    image: Image.Image
    x: int
    y: int


def make_sheets(out: Path, singles: Path | None = None) -> list[Path]:
    """Grab everything four times and write the sheets.

    Args:
        out: Folder of the sheets, `dark-1x.webp` and so on.
        singles: Folder that keeps each picture by itself, as PNG; None: they are not kept.

    Returns:
        The sheets.

    Raises:
        subprocess.CalledProcessError: The app could not be shown, or something did not come.
    """
    out.mkdir(parents=True, exist_ok=True)
    sheets = []
    with tempfile.TemporaryDirectory() as folder, display_environment(SCREEN) as environment:
        for theme in THEMES:
            for scale in SCALES:
                name = f"{theme}-{scale}x"
                pictures = (singles or Path(folder)) / name
                _grab(theme, scale, pictures, environment | {"XDG_CACHE_HOME": folder})
                sheet = out / f"{name}.webp"
                write_sheet(sheet, sorted(pictures.glob("*.png")), theme, scale)
                print(f"{sheet}: {sheet.stat().st_size / 1e6:.2f} MB", flush=True)
                sheets.append(sheet)
    return sheets


def _grab(theme: str, scale: int, out: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "benchmarks.panel_shots", "--theme", theme, "--out", str(out)]
    changes = {"QT_SCALE_FACTOR": str(scale), "HOME": _HOME}
    subprocess.run(command, env=environment | changes, check=True)


def write_sheet(sheet: Path, files: Sequence[Path], theme: str, scale: int) -> None:
    """Put pictures beside and below each other, each under its name.

    Args:
        sheet: WebP, moved into place when it is whole.
        files: The pictures.
        theme: 'dark' or 'light'.
        scale: Pixels of the pictures per logical pixel.
    """
    ground, ink = _GROUND[theme]
    placed, size = _place([(f.stem, Image.open(f).convert("RGB")) for f in files], scale)
    image = Image.new("RGB", size, ground)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(13 * scale)
    for each in placed:
        image.paste(each.image, (each.x, each.y))
        draw.text((each.x, each.y - _CAPTION_PX * scale + 3 * scale), each.name, ink, font)
    temporary = sheet.with_name(f".{sheet.name}.part")
    image.save(temporary, "WEBP", quality=_QUALITY, method=4)
    os.replace(temporary, sheet)


def _place(
    pictures: Sequence[tuple[str, Image.Image]], scale: int
) -> tuple[list[_Placed], tuple[int, int]]:
    """Rows, the tallest pictures first, each in the first row that has room; the sheet's size."""
    gap, caption, width = _GAP_PX * scale, _CAPTION_PX * scale, _WIDTH_PX * scale
    placed: list[_Placed] = []
    rows: list[tuple[int, int]] = []
    """Of each row its top and where it ends."""
    bottom = 0
    for name, image in sorted(pictures, key=lambda item: -item[1].height):
        fits = [i for i, (_, end) in enumerate(rows) if end + gap + image.width + gap <= width]
        if not fits:
            rows.append((bottom + gap + caption, 0))
            bottom += gap + caption + image.height
        index = fits[0] if fits else len(rows) - 1
        top, end = rows[index]
        placed.append(_Placed(name, image, end + gap, top))
        rows[index] = (top, end + gap + image.width)
    return placed, (max(end for _, end in rows) + gap, bottom + gap)
