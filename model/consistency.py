"""Scale consistency: what a window shows must agree with a coarser window about the same place.

Source: Wolski et al. 2024, section on scale consistency. Differs: an exact area average instead of
zero-padded adaptive pooling; windows are kept inside the field, and their lattices are registered
to 1/256 pixel instead of taken as equal; no LPIPS.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from kernels.resample import resample
from model.losses import charbonnier
from model.scale import Lattice, density
from model.space import Window

_NEAR = 2**0.375
_LANCZOS_PX = 4  # pixels at an edge that a Lanczos filter cannot reach
_HAIR = 1 / 128  # pixels: lattices are rounded to 1/256


def draw_octaves(level: float, lowest: float, rng: np.random.Generator) -> float:
    """How much coarser the second window is: about one octave, never below the lowest level.

    Source: the released code draws n B with B ~ Beta(n**(1/4), n (n**(1/4) - 1) - n**(1/4) + 2) and
    n = max(1, level), whose mode is one octave; here cut to [0.5, 3] octaves.
    """
    room = level - lowest
    n = max(1.0, room)
    octaves = n * rng.beta(n**0.25, n * (n**0.25 - 1) - n**0.25 + 2)
    return float(min(max(octaves, 0.5), 3.0, room))


def draw_near_octaves(rng: np.random.Generator) -> float:
    """How much coarser the second window of a registered picture is, octaves.

    One octave, or, as often, a few frames of a slow zoom: detail that is invented must be the same
    on the next frame, and its average must be what the octave below shows.
    """
    return 1.0 if rng.integers(2) else float(rng.uniform(1 / 32, 1 / 4))


def coarser_windows(
    windows: Sequence[Window],
    octaves: float,
    patch_size: int,
    field_size: tuple[float, float],
    alignment: int,
) -> list[Window]:
    """Windows `octaves` coarser about the same centres, inside the field as far as they fit.

    They agree in their position modulo `alignment` pixels, so that they can share a batch.
    """
    level = windows[0].level - octaves
    fine, coarse = density(windows[0].level, patch_size), density(level, patch_size)
    moved = []
    for w in windows:
        origin = []
        for axis, side in enumerate(field_size):
            centre = w.origin_xy[axis] + w.width / 2 / fine
            low, high = -side / 2, side / 2 - w.width / coarse
            wanted = centre - w.width / 2 / coarse
            wanted = min(max(wanted, low), high) if high > low else (low + high) / 2
            origin.append(round(wanted * coarse / alignment) * alignment / coarse)
        moved.append(Window((origin[0], origin[1]), level, w.height, w.width, w.seed))
    return moved


def scale_consistency(
    fine: torch.Tensor,
    coarse: torch.Tensor,
    fine_windows: Sequence[Window],
    coarse_windows: Sequence[Window],
    patch_size: int,
) -> torch.Tensor:
    """Distance of fine windows, area-averaged onto the coarse lattice, to the coarse windows.

    Args:
        fine: [N, 3, P, P] in [-1, 1].
        coarse: [N, 3, P, P].
        fine_windows: Of one level.
        coarse_windows: Of one coarser level; each holds its fine window, or most of it.
        patch_size: Pixels; fixes what level 0 means.

    Returns:
        Charbonnier distance over the pixels that both hold; 0 where that is none. Windows less than
        3/8 octave apart are brought onto one lattice by a Lanczos filter instead of an average.
    """
    d_fine = density(fine_windows[0].level, patch_size)
    d_coarse = density(coarse_windows[0].level, patch_size)
    side, step = fine.shape[-1], d_fine / d_coarse
    # Nearly equal lattices: an average over a pixel would blur one of two views that agree.
    near = step < _NEAR
    edge = _LANCZOS_PX if near else 0
    count = int((side - 2 * edge) / step) - 1
    if count < 1:
        return fine.new_zeros(())
    origins, crops, known = [], [], []
    for n, (f, c) in enumerate(zip(fine_windows, coarse_windows, strict=True)):
        firsts, origin, inside = [], [], []
        for axis in range(2):
            at_fine = Lattice.at(f.origin_xy[axis], d_fine)
            at_coarse = Lattice.at(c.origin_xy[axis], d_coarse)
            low_fine = (at_fine.first + at_fine.phase) / d_fine
            low_coarse = (at_coarse.first + at_coarse.phase) / d_coarse
            first = int(np.ceil((low_fine - low_coarse) * d_coarse + edge / step - 1e-9))
            first = min(max(first, 0), coarse.shape[-1] - count)
            firsts.append(first)
            origin.append((low_coarse - low_fine) * d_fine + first * step)
            # At the field's edge the coarse window may begin, and be cut, beyond the fine one.
            begins = origin[-1] + step * np.arange(count)
            inside.append((begins >= edge - _HAIR) & (begins + step <= side - edge + _HAIR))
        origins.append(origin)
        known.append(torch.from_numpy(inside[1][:, None] & inside[0]))
        crops.append(coarse[n, :, firsts[1] : firsts[1] + count, firsts[0] : firsts[0] + count])
    pooled = resample(
        fine,
        torch.tensor(origins),
        torch.full((len(origins),), step),
        (count, count),
        filter="lanczos" if near else "area",
    )
    mask = torch.stack(known)[:, None].to(pooled)
    return charbonnier(pooled - torch.stack(crops), known=mask)
