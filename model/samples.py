"""The strip of samples that a run leaves at every save."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from model.breathing import Breathe
from model.generator_space import GeneratorSpace
from model.space import ScaleSpace, Window, to_uint8
from model.training_data import RunData


def save_samples(
    space: GeneratorSpace,
    source: RunData,
    level_range: tuple[float, float],
    seeds: Sequence[int],
    path: Path,
    breathe: Breathe = lambda: None,
) -> None:
    """One strip: generated windows by octave, a row a seed; below the truth, or real patches.

    Four small windows where one of their size would reach beyond the field.

    Args:
        space: The averaged weights.
        source: What is learned.
        level_range: Levels to show, octaves.
        seeds: Latents to show.
        path: A .jpg; written under a temporary name and moved into place.
        breathe: Called between windows; may wait.

    Raises:
        OSError: It cannot be written.
    """
    low, high = level_range
    rng = np.random.default_rng(0)
    rows: list[list[np.ndarray]] = [[] for _ in (*seeds, "real")]
    for level in np.arange(low, high + 0.01):
        windows = _windows(space, float(level), rng)
        shown = []
        for seed in seeds:
            breathe()
            shown.append(_tiled(space.render([replace(w, seed=seed) for w in windows])))
        breathe()
        real = _real(source, windows, rng)
        for row, img in zip(rows, [*shown, real], strict=True):
            row.append(to_uint8(img)[0].cpu().numpy())
    strip = np.concatenate([np.concatenate(r, axis=1) for r in rows], axis=0)
    part = path.with_suffix(".part")
    Image.fromarray(strip).save(part, "JPEG", quality=90)
    part.replace(path)


def _windows(space: ScaleSpace, level: float, rng: np.random.Generator) -> list[Window]:
    """One window of 2 P pixels a side, or four of P where the field is smaller than that."""
    d = space.patch_size * 2.0**level
    size, count = 2 * space.patch_size, 1
    if size / d > min(space.field_size):  # beyond the field nothing is learned
        size, count = space.patch_size, 4
    span = [max(s - size / d, 0.0) for s in space.field_size]
    places = (
        [float(rng.uniform(-s / 2, s / 2)) - size / d / 2 for s in span] for _ in range(count)
    )
    return [Window((x, y), level, size, size) for x, y in places]


def _tiled(images: torch.Tensor) -> torch.Tensor:
    """One image as it is, four [4, C, P, P] as one [1, C, 2 P, 2 P]."""
    if len(images) == 1:
        return images
    a, b, c, d = images.split(1)
    return torch.cat([torch.cat([a, b], 3), torch.cat([c, d], 3)], 2)


def _real(source: RunData, windows: Sequence[Window], rng: np.random.Generator) -> torch.Tensor:
    """What lies in `windows`, or four patches of their level: float32 [1, 3, 2 P, 2 P]."""
    if source.picture is not None:
        return _tiled(source.picture.render(windows))
    reals = source.reals(windows[0].level, 4, rng)
    assert reals is not None, "data without a picture has patches"
    return _tiled(reals.images)
