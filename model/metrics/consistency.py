"""Does a scale space agree with itself: across octaves, in a slow zoom, under a pan, over tiles?"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch

from kernels.resample import resample
from model.metrics.windows import random_windows, render_all
from model.scale import PHASE_STEPS, density
from model.space import ScaleSpace, Window, window_around

OCTAVES = (0.5, 1.0, 2.0)
"""How much coarser the second view of `scale_consistency` is."""
FLICKER_STEP = 1 / 32
"""Octaves from one frame of a zoom to the next."""
TILE_SIZES = (64, 128, 200)
"""Pixels a side of the tiles that `seam_error` puts together."""
_EDGE_PX = 2  # coarse pixels left out along the edge of a shared region
_LANCZOS_PX = 4  # pixels at an edge that a Lanczos filter cannot reach
_MAX_BATCH = 6  # tiles


def consistency_windows(
    space: ScaleSpace,
    level: float,
    octaves: float,
    count: int,
    rng: np.random.Generator,
    free: bool = False,
) -> tuple[list[Window], list[Window], np.ndarray]:
    """Pairs of windows of one patch with one centre, `octaves` apart, the coarse one in the field.

    Args:
        space: Whose field it is.
        level: Of the fine windows, octaves.
        octaves: Above 0; the coarse windows lie at `level - octaves`.
        count: Pairs.
        rng: Places come from it.
        free: Move each fine window by up to half a coarse pixel, so that both lattices meet at any
            phase as two frames of a flight do.

    Returns:
        Fine windows, coarse windows, and by how much the centre of each fine one was moved, coarse
        pixels [count, 2].
    """
    p = space.patch_size
    coarse = random_windows(space, level - octaves, count, rng)
    d = density(level - octaves, p)
    moved = rng.uniform(-0.5, 0.5, (count, 2)) if free else np.zeros((count, 2))
    fine = []
    for window, (ux, uy) in zip(coarse, moved, strict=True):
        x, y = window.origin_xy
        fine.append(window_around((x + (p / 2 + ux) / d, y + (p / 2 + uy) / d), level, (p, p), p))
    return fine, coarse, moved


def shared_pixels(patch_size: int, octaves: float) -> int:
    """Side of the region that `scale_consistency` compares, coarse pixels; below 1 for none."""
    inside = int(patch_size / 2.0**octaves) - 2 * _EDGE_PX
    return inside - (patch_size - inside) % 2


def scale_consistency(
    space: ScaleSpace, fine: list[Window], coarse: list[Window], moved: np.ndarray
) -> torch.Tensor:
    """Mean squared difference of fine windows, low-passed, to the same place of coarse ones.

    The fine window is averaged over the pixels of the coarse one (exact areas: the filter that made
    the data) and compared where the coarse pixels lie inside it, less 2 of them along its edge.

    Args:
        space: Renders both.
        fine, coarse, moved: See `consistency_windows`.

    Returns:
        float64 [N], of values in [-1, 1]; `psnr_of_mse` of their mean is the PSNR. The real data's
        own is limited by 8 bits where the lattices are shared and `octaves` is whole; at a free
        phase by what averaging pixels again loses.

    Source: Wolski et al. 2024, section on scale consistency.
    """
    p = space.patch_size
    octaves = fine[0].level - coarse[0].level
    step, inside = 2.0**octaves, shared_pixels(p, octaves)
    if inside < 1:
        raise ValueError(f"windows of {p} px are too small for {step:g} times coarser ones.")
    first = (p - inside) // 2
    origin = torch.from_numpy(p / 2 + (first - p / 2 - moved) * step)
    pooled = resample(
        render_all(space, fine), origin, origin.new_full((len(fine),), step), (inside, inside)
    )
    other = render_all(space, coarse)[..., first : first + inside, first : first + inside]
    return (pooled - other).double().square().mean((1, 2, 3))


def zoom_flicker(
    space: ScaleSpace,
    levels: tuple[float, float],
    centers_xy: list[tuple[float, float]],
    size: int,
) -> torch.Tensor:
    """How much the picture changes from frame to frame of a slow zoom, the motion taken out.

    Square frames around each centre, 1/32 octave apart. Each frame is brought onto the pixels
    of the frame before it (Lanczos, 3 lobes, as wide as the coarser pixels) and subtracted, less
    an edge of 4 pixels.

    Args:
        space: Renders the frames.
        levels: First and last level of the zoom, octaves.
        centers_xy: Field units.
        size: Pixels a side of the frames.

    Returns:
        Mean squared difference, float64 [steps, centres], of values in [-1, 1].

    Source: definition E7 of the project's notes on metrics; compare with the real pyramid's own,
    which is not 0: finer frames show more, and two lattices never hold the same.
    """
    p = space.patch_size
    steps = max(1, round((levels[1] - levels[0]) / FLICKER_STEP))
    inside = size - 2 * (_LANCZOS_PX + 1)
    first = (size - inside) // 2
    step = 2.0**FLICKER_STEP
    origin = size / 2 + (first - size / 2) * step
    before: torch.Tensor | None = None
    errors = []
    for i in range(steps + 1):
        level = levels[0] + i * FLICKER_STEP
        frames = render_all(space, [window_around(c, level, (size, size), p) for c in centers_xy])
        if before is not None:
            n = len(centers_xy)
            warped = resample(
                frames,
                torch.full((n, 2), origin, dtype=torch.float64),
                torch.full((n,), step, dtype=torch.float64),
                (inside, inside),
                filter="lanczos",
            )
            shown = before[..., first : first + inside, first : first + inside]
            errors.append((warped - shown).double().square().mean((1, 2, 3)))
        before = frames
    return torch.stack(errors)


@dataclass(frozen=True)
class PanError:
    """What moving a window does to what it shows."""

    whole_max_abs: float
    """Largest difference after moves by whole pixels, of values in [-1, 1]."""
    part_mse: torch.Tensor
    """Mean squared difference after moves by parts of a pixel, float64 [N]."""


def pan_error(space: ScaleSpace, windows: list[Window], rng: np.random.Generator) -> PanError:
    """Move windows by up to an eighth of a patch, by whole pixels and by any part of them.

    After a whole move the overlap must be equal. After any other, the first image is moved by the
    same amount (Lanczos, 3 lobes) and compared on the overlap less 4 pixels; the PSNR of that is
    EQ-T of StyleGAN3 (Karras et al. 2021, appendix E) but for the filter.

    Args:
        space: Renders the windows.
        windows: Of one patch and one level.
        rng: Moves come from it.
    """
    p, n = space.patch_size, len(windows)
    reach = max(1, p // 8)
    d = density(windows[0].level, p)
    still = render_all(space, windows)

    def moved(by: np.ndarray) -> torch.Tensor:
        return render_all(
            space,
            [
                Window((w.origin_xy[0] + x / d, w.origin_xy[1] + y / d), w.level, p, p)
                for w, (x, y) in zip(windows, by, strict=True)
            ],
        )

    whole = rng.integers(-reach, reach + 1, (n, 2))
    largest = 0.0
    inner = p - 2 * reach
    for image, other, (x, y) in zip(still, moved(whole), whole.tolist(), strict=True):
        a = image[:, reach + y : reach + y + inner, reach + x : reach + x + inner]
        largest = max(largest, float((a - other[:, reach:-reach, reach:-reach]).abs().max()))
    part = np.round(rng.uniform(-reach, reach, (n, 2)) * PHASE_STEPS) / PHASE_STEPS
    edge = min(reach + _LANCZOS_PX, p // 2 - 1)
    expected = resample(
        still,
        torch.from_numpy(part + edge),
        torch.ones(n, dtype=torch.float64),
        (p - 2 * edge, p - 2 * edge),
        filter="lanczos",
    )
    error = expected - moved(part)[..., edge : p - edge, edge : p - edge]
    return PanError(largest, error.double().square().mean((1, 2, 3)))


def seam_error(space: ScaleSpace, level: float, windows: int, seed: int) -> float:
    """Largest difference of windows rendered in one go to the same put together from tiles.

    Windows are 130 to 330 pixels a side, anywhere in the field. Tiles are of 64, 128 or 200 pixels
    but for the remains at the far edges, rendered in random order and in batches of random size.

    Returns:
        Of values in [-1, 1]; NaN where the space renders one.
    """
    chance = random.Random(f"seams/{seed}/{level:g}")
    rng = np.random.default_rng(chance.getrandbits(32))
    worst = 0.0
    for index in range(windows):
        width, height = chance.randint(130, 330), chance.randint(130, 330)
        corner = random_windows(space, level, 1, rng, max(width, height))[0].origin_xy
        window = Window(corner, level, height, width)
        with torch.inference_mode():
            whole = space.render([window])[0].float().cpu()
            parts = render_from_tiles(space, window, TILE_SIZES[index % len(TILE_SIZES)], chance)
        error = float((parts - whole).abs().max())
        if not error <= worst:  # NaN is an error too
            worst = error
        if worst != worst:
            break
    return worst


def render_from_tiles(
    space: ScaleSpace, window: Window, tile: int, chance: random.Random
) -> torch.Tensor:
    """`window` put together from tiles of `tile` pixels a side: float32 [3, H, W]."""
    out = torch.full((3, window.height, window.width), float("nan"))
    places = [
        (x, y, min(tile, window.width - x), min(tile, window.height - y))
        for y in range(0, window.height, tile)
        for x in range(0, window.width, tile)
    ]
    chance.shuffle(places)
    while places:
        shape = places[-1][2:]
        batch = [place for place in places if place[2:] == shape][: chance.randint(1, _MAX_BATCH)]
        places = [place for place in places if place not in batch]
        tiles = space.render([window.crop(*place, space.patch_size) for place in batch])
        for (x, y, width, height), pixels in zip(batch, tiles.float().cpu(), strict=True):
            out[:, y : y + height, x : x + width] = pixels
    return out
