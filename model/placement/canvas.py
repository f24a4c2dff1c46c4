"""The picture that placed patches make, at whole levels: what the next finer patches are sought in.

A canvas of level `c` has `patch_size * 2**c` pixels per field unit; its lattice is anchored at the
field's origin: the centre of pixel `i` lies at `(i + 0.5) / density`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from kernels.resample import resample
from model.placement.workers import Workers, batches
from model.scale import density

_FEATHER_PX = 8.0
"""Patch pixels over which a patch's weight rises from its edge."""
_FINEST = 1.5
"""A canvas is made of patches up to so many octaves finer than it."""
_FILL_WEIGHT = 1e-3
"""Weight of the next coarser canvas: it fills what no patch of the level covers."""
_BATCH = 256
_READ_PX = 4
"""Pixels beside a patch that a filter reaches, of the coarser lattice."""
_STRIPE_PX = 1 << 22
"""Pixels that are finished at a time."""


@dataclass(frozen=True)
class Blending:
    """How patches of unlike sharpness share a canvas."""

    coarsest: float
    """Octaves that a patch may be coarser than the canvas."""
    blur_penalty: float
    """A patch that is `d` octaves coarser than the canvas weighs `2**(-blur_penalty * d)`."""
    filter: str
    """See `kernels.resample`."""
    carried_px: int
    """Pixels by which a canvas is carried on before it fills the next finer one: it shows nothing
    where a pixel at the edge of the picture is covered in part."""


TO_SEARCH = Blending(0.3, 6.0, "area", 0)
"""Quick: to find the next finer patches in."""
TO_SHOW = Blending(1.0, 10.0, "mixed", 1)
"""Everywhere as sharp as the finest patch that lies there; takes three times as long."""


@dataclass(frozen=True)
class Canvas:
    """One level of the picture."""

    level: int
    """Octaves."""
    density: float
    """Pixels per field unit."""
    first_xy: tuple[int, int]
    """Lattice index of the top left pixel."""
    image: torch.Tensor
    """sRGB, 0 where nothing was placed. uint8 [H, W, 3]."""
    covered: torch.Tensor
    """Whether anything was placed there. bool [H, W]."""

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.image.shape[1], self.image.shape[0]

    def pixel_of(self, field_xy: torch.Tensor) -> torch.Tensor:
        """Field units to pixels of this canvas (half-integers are centres). float64 [..., 2]."""
        first = torch.tensor(self.first_xy, dtype=torch.float64, device=field_xy.device)
        return field_xy * self.density - first

    def field_of(self, pixel_xy: torch.Tensor) -> torch.Tensor:
        """The inverse of `pixel_of`."""
        first = torch.tensor(self.first_xy, dtype=torch.float64, device=pixel_xy.device)
        return (pixel_xy + first) / self.density

    def windows(self, first_xy: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Cut square windows, which may reach beyond the canvas.

        Args:
            first_xy: Top left pixels of the windows. int64 [N, 2].
            size: Pixels a side.

        Returns:
            Colours, float32 [N, 3, size, size] in [0, 255], and whether they are covered,
            float32 [N, 1, size, size] of 0 and 1.
        """
        width, height = self.size_wh
        place = torch.arange(size, device=first_xy.device)
        x, y = (first_xy[:, i, None] + place for i in (0, 1))
        inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None]
        index = y.clamp(0, height - 1)[:, :, None] * width + x.clamp(0, width - 1)[:, None]
        colours = self.image.flatten(0, 1)[index].permute(0, 3, 1, 2).float()
        return colours, (self.covered.flatten()[index] & inside)[:, None].float()


@dataclass(frozen=True)
class Poses:
    """Where patches lie. Rows belong to the patches of `indices`."""

    indices: torch.Tensor
    """Which patches, int64 [N]."""
    center_xy: torch.Tensor
    """Field units. float64 [N, 2]."""
    level: torch.Tensor
    """Octaves. float64 [N]."""

    def __len__(self) -> int:
        return self.indices.shape[0]

    def __getitem__(self, rows: torch.Tensor | slice) -> Poses:
        return Poses(self.indices[rows], self.center_xy[rows], self.level[rows])

    @staticmethod
    def concatenated(parts: Sequence[Poses]) -> Poses:
        """All rows of all parts."""
        return Poses(
            torch.cat([p.indices for p in parts]),
            torch.cat([p.center_xy for p in parts]),
            torch.cat([p.level for p in parts]),
        )


class Patches:
    """The patches' pixels, on the device where they are worked on in batches."""

    def __init__(self, images: np.ndarray, device: torch.device) -> None:
        """Wrap uint8 [N, P, P, 3]."""
        self._images = torch.from_numpy(images)
        self.device = device
        self.size = images.shape[1]

    def __len__(self) -> int:
        return self._images.shape[0]

    def load(self, indices: torch.Tensor) -> torch.Tensor:
        """float32 [B, 3, P, P] in [0, 255]."""
        images = self._images[indices.to(self._images.device)].to(self.device)
        return images.permute(0, 3, 1, 2).float()


def build_canvases(
    patches: Patches,
    poses: Poses,
    levels: Sequence[int],
    workers: Workers,
    blending: Blending = TO_SEARCH,
) -> dict[int, Canvas]:
    """Lay placed patches over one another, the sharper and the more central the heavier.

    Args:
        patches: All patches.
        poses: The placed ones.
        levels: Whole levels to make, ascending and without gaps, from 0 or above.
        workers: Who does it.
        blending: How patches of unlike sharpness share a canvas.
    """
    span = 2.0 ** -poses.level[:, None]
    low = (poses.center_xy - span / 2).amin(0)
    high = (poses.center_xy + span / 2).amax(0)
    canvases: dict[int, Canvas] = {}
    coarser: Canvas | None = None
    for level in levels:
        if coarser is not None and blending.carried_px:
            coarser = grown(coarser, blending.carried_px)
        coarser = _build(patches, poses, level, low, high, coarser, workers, blending)
        canvases[level] = coarser
    return canvases


def refined(
    canvas: Canvas, patches: Patches, poses: Poses, workers: Workers, blending: Blending
) -> Canvas:
    """Lay over a canvas what its patches show otherwise than it does.

    A patch that is brought onto the canvas' lattice loses of its finest detail, and more where it
    is averaged with others. Read back as a view reads it, and compared, it says what.

    Args:
        canvas: Made of these patches.
        patches: All patches.
        poses: The placed ones.
        workers: Who does it.
        blending: As the canvas was made.

    Source: iterative back-projection, Irani and Peleg 1991.
    """
    width, height = canvas.size_wh
    total = torch.zeros(height * width, 4, device=patches.device)
    keep = poses.level >= canvas.level - blending.coarsest
    chosen = poses[keep]
    chosen = chosen[torch.argsort(chosen.level, stable=True)]

    def work(rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
        some = chosen[rows]
        error = patches.load(some.indices) - _read_back(canvas, some, patches.size, blending.filter)
        return _laid(error, some, canvas.first_xy, canvas.size_wh, canvas.level, blending)

    for index, values in workers.map(work, batches(len(chosen), _BATCH)):
        total.index_add_(0, index, values)
    image = torch.empty_like(canvas.image)
    lines = total.reshape(height, width, 4)
    for rows in batches(height, max(1, _STRIPE_PX // width)):
        # The next coarser canvas, where it fills a gap, has nothing to say against itself.
        change = lines[rows, :, :3] / (lines[rows, :, 3:] + _FILL_WEIGHT)
        image[rows] = (canvas.image[rows] + change).clamp_(0, 255).round_().to(torch.uint8)
    return replace(canvas, image=image)


def _read_back(canvas: Canvas, poses: Poses, side: int, filter: str) -> torch.Tensor:
    """The canvas where patches of like level lie: float32 [B, 3, side, side] in [0, 255]."""
    step = 2.0 ** (canvas.level - poses.level)  # canvas pixels per patch pixel
    low = canvas.pixel_of(poses.center_xy) - side / 2 * step[:, None]
    margin = math.ceil(_READ_PX * max(1.0, float(step.max())))
    first = low.floor().long() - margin
    size = math.ceil(side * float(step.max())) + 2 * margin + 1
    colours, _ = canvas.windows(first, size)
    return resample(colours, low - first, step, (side, side), filter=filter)


def grown(canvas: Canvas, rim: int) -> Canvas:
    """The canvas with its covered part carried on by `rim` pixels, into holes and outwards.

    Patches at the very edge of a picture reach half a pixel beyond what is covered whole.
    """
    width, height = canvas.size_wh
    first_x, first_y = canvas.first_xy
    lines, columns = height + 2 * rim, width + 2 * rim
    image = torch.empty(lines, columns, 3, dtype=torch.uint8, device=canvas.image.device)
    covered = torch.empty(lines, columns, dtype=torch.bool, device=canvas.image.device)
    for rows in batches(lines, max(1, _STRIPE_PX // columns)):
        # With the `rim` lines before and after, which are carried on into these.
        begin, end = rows.start - 2 * rim, rows.stop
        part = slice(max(0, begin), min(height, end))
        pad = (rim, rim, part.start - begin, end - part.stop)
        colour = F.pad(canvas.image[part].permute(2, 0, 1).float(), pad)
        mask = F.pad(canvas.covered[part].float(), pad)[None]
        for _ in range(rim):
            near = F.avg_pool2d(torch.cat([colour * mask, mask]), 3, 1, 1)
            colour = torch.where(mask > 0, colour, near[:3] / near[3:].clamp_min(1e-6))
            mask = (near[3:] > 1e-3).float()
        image[rows] = colour[:, rim:-rim].round().to(torch.uint8).permute(1, 2, 0)
        covered[rows] = mask[0, rim:-rim] > 0
    return Canvas(canvas.level, canvas.density, (first_x - rim, first_y - rim), image, covered)


def halved(canvas: Canvas) -> Canvas:
    """The next coarser level, by averaging what is covered."""
    # An even first pixel keeps the lattice anchored; odd edges get an uncovered line.
    pad = [first % 2 for first in canvas.first_xy]
    height, width = canvas.covered.shape
    right, bottom = (width + pad[0]) % 2, (height + pad[1]) % 2
    mask = canvas.covered.float()[None, None]
    image = canvas.image.permute(2, 0, 1).float()[None] * mask
    stack = torch.cat([image, mask], 1)
    stack = F.pad(stack, (pad[0], right, pad[1], bottom))
    stack = F.avg_pool2d(stack, 2)[0]
    covered = stack[3] >= 0.5
    image = torch.where(covered, stack[:3] / stack[3].clamp_min(1e-6), 0.0)
    return Canvas(
        canvas.level - 1,
        canvas.density / 2,
        ((canvas.first_xy[0] - pad[0]) // 2, (canvas.first_xy[1] - pad[1]) // 2),
        image.round().to(torch.uint8).permute(1, 2, 0).contiguous(),
        covered,
    )


def _build(
    patches: Patches,
    poses: Poses,
    level: int,
    low: torch.Tensor,
    high: torch.Tensor,
    coarser: Canvas | None,
    workers: Workers,
    blending: Blending,
) -> Canvas:
    """One level: weighted mean of its patches over the next coarser level."""
    pixels = density(level, patches.size)
    # Even bounds: the next finer and coarser levels cover the same place.
    x0, y0 = (2 * math.floor(float(v) * pixels / 2) for v in low)
    x1, y1 = (2 * math.ceil(float(v) * pixels / 2) for v in high)
    width, height = x1 - x0, y1 - y0
    total = torch.zeros(height * width, 4, device=patches.device)
    keep = (poses.level >= level - blending.coarsest) & (poses.level <= level + _FINEST)
    if coarser is None:
        keep |= poses.level <= level + _FINEST
    chosen = poses[keep]
    chosen = chosen[torch.argsort(chosen.level, stable=True)]
    work = partial(_layers, patches, chosen, (x0, y0), (width, height), level, blending)
    for index, values in workers.map(work, batches(len(chosen), _BATCH)):
        total.index_add_(0, index, values)
    image = torch.empty(height, width, 3, dtype=torch.uint8, device=patches.device)
    covered = torch.empty(height, width, dtype=torch.bool, device=patches.device)
    lines = total.reshape(height, width, 4)
    for rows in batches(height, max(1, _STRIPE_PX // width)):
        weight = lines[rows, :, 3:]
        colour = lines[rows, :, :3]
        covered[rows] = weight[..., 0] > 0
        if coarser is not None:
            fill, fill_covered = _doubled(coarser, (x0, y0 + rows.start), (width, len(colour)))
            amount = _FILL_WEIGHT * fill_covered[..., None]
            colour.addcmul_(fill, amount)
            weight += amount
            covered[rows] |= fill_covered
        colour /= weight.clamp_min(1e-12)
        image[rows] = colour.clamp_(0, 255).round_().to(torch.uint8)
    return Canvas(level, pixels, (x0, y0), image, covered)


def _layers(
    patches: Patches,
    poses: Poses,
    first_xy: tuple[int, int],
    size_wh: tuple[int, int],
    level: int,
    blending: Blending,
    rows: slice,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What some patches of like level add to a canvas: see `_laid`."""
    poses = poses[rows]
    return _laid(patches.load(poses.indices), poses, first_xy, size_wh, level, blending)


def _laid(
    images: torch.Tensor,
    poses: Poses,
    first_xy: tuple[int, int],
    size_wh: tuple[int, int],
    level: int,
    blending: Blending,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images [B, 3, P, P] of like level, brought onto a canvas.

    Returns:
        Pixels (int64 [K]), and for each colour times weight, and weight (float32 [K, 4]).
    """
    side = images.shape[-1]
    pixels = density(level, side)
    step = 2.0 ** (poses.level - level)
    first = torch.tensor(first_xy, dtype=torch.float64, device=images.device)
    low = (poses.center_xy * pixels - first) - side / 2 / step[:, None]
    corner = low.floor()
    size = int((side / step).max().ceil()) + 1
    origin = (corner - low) * step[:, None]
    window = resample(images, origin, step, (size, size), filter=blending.filter)
    place = torch.arange(size, device=images.device)
    at = origin[:, :, None] + (place + 0.5) * step[:, None, None]  # [B, 2, size], patch pixels
    inside = torch.minimum(at, side - at) - step.clamp_min(1.0)[:, None, None] / 2
    feather = (inside / _FEATHER_PX).clamp(max=1.0) + 1 / (4 * _FEATHER_PX)
    feather = torch.where(inside > -1e-6, feather, 0.0)
    sharp = 2.0 ** (-blending.blur_penalty * (level - poses.level).clamp_min(0.0))
    weight = feather[:, 1, :, None] * feather[:, 0, None, :] * sharp[:, None, None]
    weight = weight.float()
    values = torch.cat([window * weight[:, None], weight[:, None]], 1)
    column = corner[:, 0, None].long() + place
    row = corner[:, 1, None].long() + place
    width, height = size_wh
    inner = ((row >= 0) & (row < height))[:, :, None] & ((column >= 0) & (column < width))[:, None]
    index = row[:, :, None] * width + column[:, None, :]
    inner &= weight > 0
    return index[inner], values.permute(0, 2, 3, 1)[inner]


def _doubled(
    coarser: Canvas, first_xy: tuple[int, int], size_wh: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Part of the coarser canvas on the lattice of the next finer one, by linear interpolation.

    Returns:
        float32 [H, W, 3] and whether it is covered, bool [H, W].
    """
    # Nothing is 0 in the image: divided by the share that is something, an edge does not darken.
    image, covered = coarser.image, coarser.covered
    share = covered
    for dim in (0, 1):
        # dim 0 are rows: y. Rows first, so that little is made a float.
        start, length = first_xy[1 - dim], size_wh[1 - dim]
        place = torch.arange(start, start + length, dtype=torch.float64, device=image.device)
        at = (place + 0.5) / 2 - coarser.first_xy[1 - dim] - 0.5
        last = image.shape[dim] - 1
        low = at.floor().long()
        part = (at - low).float().unsqueeze(1) if dim == 0 else (at - low).float()
        low, high = low.clamp(0, last), (low + 1).clamp(0, last)
        image = torch.lerp(
            image.index_select(dim, low).float(),
            image.index_select(dim, high).float(),
            part.unsqueeze(-1),
        )
        share = torch.lerp(
            share.index_select(dim, low).float(), share.index_select(dim, high).float(), part
        )
        covered = covered.index_select(dim, (at + 0.5).floor().long().clamp(0, last))
    return image.div_(share.clamp_min(1e-3)[..., None]), covered
