"""The paint of what is invented: small neighbourhoods are to be distributed as real ones are.

A discriminator teaches what is where; along the way it lets paint become beads, ridges or fog, and
a run that it has lost goes on into them. How neighbourhoods are distributed is known from real
windows without it, and holds such a run.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from model.distributed import Ranks
from model.laplacian import laplacian_pyramid, num_levels

NEIGHBOURHOOD = 7
"""Pixels a side."""
DIRECTIONS = 72
"""Along which distributions are compared, at each density."""
_SEED = 7
_STRIDE = 4
"""From one neighbourhood to the next at the finest density, pixels; each coarser has half of it."""
_PER_OCTAVE = 2
"""Levels with distributions of their own."""
_BINS = 256
_LEAST, _MOST = 0.01, 15.0
"""Values up to the first are told apart evenly, those beyond by their ratio, up to the second."""
_KEPT = 0.97
"""Of the distribution of generated windows, from one group about its level to the next: they
change. Of the real ones all count."""
_LONGEST = 1000
"""Groups of real windows that count as one step of them at least."""
_PULLS = 1.0
"""Deviation that pulls hardest, standard deviations."""


class Marginals(nn.Module):
    """Running distributions of real and of generated neighbourhoods, by level, density, direction.

    Of every 7 x 7 x 3 neighbourhood of a Laplacian pyramid the components along fixed directions
    are taken. Each generated one is pulled towards the value that as many real ones lie below as
    generated ones do below it.

    Source: the histogram matching of Heeger and Bergen 1995, "Pyramid-based texture analysis /
    synthesis", along random directions of neighbourhoods, as in Elnekave and Weiss 2022,
    "Generating natural images with direct patch distributions matching". Differs: distributions
    are of all windows about a level together, so that no window has to look like the average of its
    scene; and only a third of the directions are uniform. Those see the strong coarse detail of
    paint and hardly anything else. A third see little more than a pixel and its neighbours, along
    which paint is far from Gaussian, and a third one frequency each, up to the highest.

    `model.metrics.swd` measures nearly what this pulls at: with this term that distance alone
    flatters. The random-feature KID is beside it.
    """

    def __init__(self, level_range: tuple[float, float], patch_size: int) -> None:
        """`level_range`: octaves of the scene; `patch_size`: pixels of a window."""
        super().__init__()
        self.lowest = level_range[0]
        count = round((level_range[1] - level_range[0]) * _PER_OCTAVE) + 1
        depths = num_levels(patch_size)
        self.directions: torch.Tensor
        self.shares: torch.Tensor
        self.visits: torch.Tensor
        self.register_buffer("directions", _directions(depths), persistent=False)
        # [level, real or generated, density, direction, bin]
        self.register_buffer("shares", torch.zeros(count, 2, depths, DIRECTIONS, _BINS))
        self.register_buffer("visits", torch.zeros(count))

    def pull(
        self,
        real_img: torch.Tensor,
        gen_img: torch.Tensor,
        level: float,
        rng: np.random.Generator,
        ranks: Ranks,
        octaves: int | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take a group of windows into account; where the generated ones should move.

        Args:
            real_img, gen_img: [N, 3, P, P] in [-1, 1], of about `level`.
            level: Octaves.
            rng: Says which neighbourhoods are taken.
            ranks: Whose groups count together.
            octaves: How many densities may be moved, finest first; None: all.

        Returns:
            The gradient at `gen_img`, times its number of elements, every density as strong as it
            deviates: its RMS is about the deviation; and the RMS deviation along the directions,
            standard deviations of the real ones.
        """
        offsets = rng.integers(0, _STRIDE, (len(self.directions), 2)).tolist()
        with torch.no_grad():
            real = self._components(real_img, offsets)
        with torch.enable_grad():
            leaf = gen_img.detach().float().requires_grad_(True)
            generated = self._components(leaf, offsets)
        self._count(real, [values.detach() for values in generated], level, ranks)
        known = self.shares[self._about(level)].cumsum(-1)
        parts, squares = [], []
        by_density = list(zip(generated, known[0], known[1], strict=True))[:octaves]
        for values, of_real, of_generated in by_density:
            pull, deviation = _deviation(values.detach(), of_real, of_generated)
            parts += torch.autograd.grad(values, leaf, pull, retain_graph=True)
            squares.append(deviation.square().mean())
        both = torch.stack([torch.stack(squares), torch.stack([p.square().mean() for p in parts])])
        ranks.average_tensor(both)
        deviations, rms = both.sqrt()
        # By itself the finest density, of the least standard deviation, would outdo the others.
        shares = deviations / (rms.clamp_min(1e-12) * len(parts) ** 0.5)
        grad = sum(share * part for share, part in zip(shares, parts, strict=True))
        return grad, both[0].mean().sqrt()

    def _about(self, level: float) -> int:
        return min(max(round((level - self.lowest) * _PER_OCTAVE), 0), len(self.visits) - 1)

    def _components(self, img: torch.Tensor, offsets: list[list[int]]) -> list[torch.Tensor]:
        """Of the neighbourhoods of each density: [DIRECTIONS, how many] each."""
        found = []
        bands = laplacian_pyramid(img.float())
        for depth, (band, (x, y)) in enumerate(zip(bands, offsets, strict=True)):
            stride = max(1, _STRIDE >> depth)
            part = band[..., y % stride :, x % stride :]
            along = F.conv2d(part, self.directions[depth], stride=stride)
            found.append(along.transpose(0, 1).flatten(1))
        return found

    def _count(
        self, real: list[torch.Tensor], generated: list[torch.Tensor], level: float, ranks: Ranks
    ) -> None:
        about = self._about(level)
        both = [torch.stack([_histogram(v) for v in values]) for values in (real, generated)]
        counted = torch.stack(both)
        ranks.average_tensor(counted)
        self.visits[about] += 1
        first = 1 / self.visits[about]
        rates = torch.stack([first.clamp_min(1 / _LONGEST), first.clamp_min(1 - _KEPT)])
        self.shares[about] = torch.lerp(self.shares[about], counted, rates[:, None, None, None])


def _directions(depths: int) -> torch.Tensor:
    """Of unit length, float32 [depths, DIRECTIONS, 3, 7, 7]: all over, near the middle, waves."""
    rng = np.random.default_rng(_SEED)
    size = (depths, DIRECTIONS // 3, 3, NEIGHBOURHOOD, NEIGHBOURHOOD)
    steps = np.arange(NEIGHBOURHOOD) - NEIGHBOURHOOD // 2
    squares = steps[:, None] ** 2 + steps**2
    near = rng.standard_normal(size) * np.exp(-squares / 2)
    colour = rng.standard_normal((*size[:3], 1, 1))
    fx, fy = rng.uniform(-0.5, 0.5, (2, *size[:2], 1, 1, 1))  # cycles per pixel
    phase = rng.random((*size[:2], 1, 1, 1))
    wave = np.cos(2 * np.pi * (fx * steps + fy * steps[:, None] + phase)) * np.exp(-squares / 6)
    directions = np.concatenate([rng.standard_normal(size), near, colour * wave], axis=1)
    length = np.sqrt(np.square(directions).sum((2, 3, 4), keepdims=True))
    return torch.from_numpy((directions / length).astype(np.float32))


def _deviation(
    values: torch.Tensor, real: torch.Tensor, generated: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where components should move down to, and by how much; both like `values`.

    Args:
        values: [DIRECTIONS, how many].
        real, generated: Shares up to the end of each bin, [DIRECTIONS, _BINS].

    Returns:
        What pulls, equally hard along all of the directions, in inverse units of the values; and
        the deviation, in standard deviations.
    """
    real, generated = F.pad(real / real[:, -1:], (1, 0)), F.pad(generated, (1, 0))
    place = _place(values)
    below = place.long()
    share = (
        torch.lerp(generated.gather(1, below), generated.gather(1, below + 1), place - below)
        / generated[:, -1:]
    )
    share = share.clamp(1e-4, 1 - 1e-4)
    end = torch.searchsorted(real, share).clamp(1, _BINS)
    low, high = real.gather(1, end - 1), real.gather(1, end)
    within = ((share - low) / (high - low).clamp_min(1e-9)).clamp(0, 1)
    goal = _value(end - 1 + within)
    middles = _value(torch.arange(_BINS, device=values.device) + 0.5)
    weights = real.diff(dim=1)
    mean = (weights * middles).sum(1, keepdim=True)
    variance = (weights * (middles - mean).square()).sum(1, keepdim=True)
    std = variance.clamp_min(1e-8).sqrt()
    deviation = ((values - goal) / std).clamp(-_PULLS, _PULLS)
    return deviation / std.mean(), deviation


def _histogram(values: torch.Tensor) -> torch.Tensor:
    """Share of [DIRECTIONS, how many] in each bin: [DIRECTIONS, _BINS]."""
    bins = _place(values).long()
    counts = values.new_zeros(len(values), _BINS)
    return counts.scatter_add_(1, bins, torch.ones_like(values)) / values.shape[1]


_END = float(np.arcsinh(_MOST / _LEAST))


def _place(values: torch.Tensor) -> torch.Tensor:
    """Bin and place within it, from 0 to less than `_BINS`."""
    place = (torch.asinh(values / _LEAST) / _END + 1) * (_BINS / 2)
    return place.clamp(0, _BINS - 1e-3)


def _value(place: torch.Tensor) -> torch.Tensor:
    """The value at a place of `_place`."""
    return torch.sinh((place * (2 / _BINS) - 1) * _END) * _LEAST
