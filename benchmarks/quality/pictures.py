"""Strips of places at every octave, and a film of one zoom; places are drawn by a seed."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from model.scale import density

if TYPE_CHECKING:
    from model.space import ScaleSpace

PLACES = 3
CELL_PX = 128
"""Side of one picture of a strip, its own pixels: nothing is enlarged."""
FILM_SIZE = (512, 384)
FILM_SECONDS = 14.0
FILM_FPS = 24.0
_FILM_CRF = 27  # of x264; VP9 gets 8 more
_GAP_PX = 4
_LABEL_PX = 20
_NAME_PX = 92
_GREY = (120, 120, 120)

Point = tuple[float, float]


def draw_places(field_size: tuple[float, float], seed: int) -> list[Point]:
    """The places of the strips: uniform in the field, by the seed alone.

    Returns:
        Field units; the film ends at the first.
    """
    from model.metrics.figures import rng_for

    at = rng_for(seed, "places of the page").uniform(-0.5, 0.5, (PLACES, 2))
    return [(float(x * field_size[0]), float(y * field_size[1])) for x, y in at]


def cell(space: ScaleSpace, place: Point, level: float, seed: int = 0) -> np.ndarray:
    """What lies around a place at a level, moved and cut so that it is all inside the field.

    `seed` names the latent, where there are any.

    Returns:
        uint8 [128, 128, 3]; grey where the whole field is smaller than that.
    """
    from model.rendering import render_view

    d = density(level, space.patch_size)
    size, center = [], []
    for at, extent in zip(place, space.field_size, strict=True):
        pixels = min(CELL_PX, max(1, round(extent * d)))
        room = max(0.0, extent / 2 - pixels / 2 / d)
        size.append(pixels)
        center.append(min(max(at, -room), room))
    picture = render_view(space, (center[0], center[1]), level, (size[0], size[1]), seed)
    out = np.full((CELL_PX, CELL_PX, 3), _GREY, np.uint8)
    x, y = ((CELL_PX - n) // 2 for n in size)
    out[y : y + size[1], x : x + size[0]] = picture
    return out


def sheet(
    cells: Sequence[Sequence[np.ndarray]], names: Sequence[str], head: Sequence[str]
) -> Image.Image:
    """A table of pictures: `names` before the rows, `head` above the columns."""
    left = _NAME_PX if any(names) else 0
    step = CELL_PX + _GAP_PX
    size = (left + step * len(head) - _GAP_PX, _LABEL_PX + step * len(cells) - _GAP_PX)
    image = Image.new("RGB", size, (255, 255, 255))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    for column, text in enumerate(head):
        at = (left + step * column + CELL_PX / 2, _LABEL_PX / 2)
        draw.text(at, text, (60, 60, 60), font, anchor="mm")
    for row, (name, pictures) in enumerate(zip(names, cells, strict=True)):
        y = _LABEL_PX + step * row
        draw.text((4, y + CELL_PX / 2), name, (60, 60, 60), font, anchor="lm")
        for column, picture in enumerate(pictures):
            image.paste(Image.fromarray(picture), (left + step * column, y))
    return image


def save(image: Image.Image, out: Path) -> None:
    """Write a PNG or JPEG: whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.part")
    try:
        if out.suffix == ".jpg":
            image.save(part, "JPEG", quality=90, subsampling=0, optimize=True)
        else:
            image.save(part, "PNG", optimize=True)
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)


def level_names(levels: Sequence[float]) -> list[str]:
    """Heads of the columns of a strip."""
    return [f"level {level:g}" for level in levels]


def make_strips(
    space: ScaleSpace, places: Sequence[Point], levels: Sequence[float], out: Path
) -> None:
    """One row a place, one column a level: what the checkpoint makes, and nothing else."""
    rows = [[cell(space, place, level) for level in levels] for place in places]
    save(sheet(rows, [""] * len(rows), level_names(levels)), out)


def make_latent_strips(
    space: ScaleSpace, seeds: Sequence[int], levels: Sequence[float], out: Path
) -> None:
    """One row a latent, one column a level: the middle of the scene that it is."""
    rows = [[cell(space, (0.0, 0.0), level, seed) for level in levels] for seed in seeds]
    save(sheet(rows, [""] * len(rows), level_names(levels)), out)


def make_strips_with_real(
    spaces: Sequence[tuple[str, ScaleSpace]],
    places: Sequence[Point],
    levels: Sequence[float],
    folder: Path,
) -> list[Path]:
    """One picture a place: the real one and all others below each other."""
    found = []
    for number, place in enumerate(places):
        rows = [[cell(space, place, level) for level in levels] for _, space in spaces]
        found.append(folder / f"place-{number + 1}.png")
        save(sheet(rows, [name for name, _ in spaces], level_names(levels)), found[-1])
    return found


def film_ends(space: ScaleSpace, place: Point) -> tuple[tuple[Point, float], tuple[Point, float]]:
    """First and last view of the film, (centre, level of its own pixels): the whole, the place."""
    width, height = FILM_SIZE
    fit = min(width / space.field_size[0], height / space.field_size[1])
    first = math.log2(fit / space.patch_size)
    return ((0.0, 0.0), first), (place, space.level_range[1])


def film_command(name: str, space: ScaleSpace, place: Point) -> str:
    """How to make the film, at any size, with the app's own command."""
    (start, first), (end, last) = film_ends(space, place)
    return (
        f"scalespace-explorer record checkpoints/{name}.safetensors "
        f"--from {start[0]:g} {start[1]:g} {first:.2f} --to {end[0]:.4f} {end[1]:.4f} {last:.2f} "
        f"--seconds {FILM_SECONDS:g} --fps {FILM_FPS:g} --size {FILM_SIZE[0]} {FILM_SIZE[1]} "
        f"--out {name}.webm"
    )


def make_film(
    checkpoint: Path, place: Point, out: Path, progress: Callable[[float], None] | None = None
) -> None:
    """A zoom at constant speed from the whole field to the finest level at a place: WebM."""
    from explorer import api
    from explorer.filming import Shots
    from explorer.recorder import FilmSpec, record_film

    out.parent.mkdir(parents=True, exist_ok=True)
    num_frames = round(FILM_SECONDS * FILM_FPS)
    with api.open(checkpoint) as scene:
        (start, first), (end, last) = film_ends(scene.space, place)
        cameras = [scene.camera(*view, FILM_SIZE) for view in ((start, first), (end, last))]
        path = api.flight(cameras[0], cameras[1], FILM_SECONDS, ease="linear")
        times, shots = path.frame_times(num_frames), Shots(scene, FILM_SIZE)
        record_film(
            out,
            FilmSpec(FILM_SIZE, FILM_FPS, num_frames, {}, crf=_FILM_CRF),
            lambda number: shots.render(path.at(times[number])),
            lambda done: progress(done / num_frames) if progress is not None else None,
        )
