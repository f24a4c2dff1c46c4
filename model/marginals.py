"""The paint of what is invented: small neighbourhoods are to be distributed as real ones are.

A discriminator teaches what is where; along the way it lets paint become beads, ridges or fog, and
a run that it has lost goes on into them. How neighbourhoods are distributed is known from real
windows without it, and holds such a run.
"""

from __future__ import annotations

import math

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
_ORIENTATIONS, _CYCLES = 4, 0.25
"""Of the waves whose energy is taken, and their frequency, cycles per pixel."""
_APART = (2, 4)
"""How far apart two energies are that are compared; there is one for every second pixel."""
_LEAST_ENERGIES = 2 * _APART[-1] + 4
"""A side: a window of fewer would show hardly a pair."""
_DARKEST = 1e-3
"""Energies are told apart from about here on: an eighth of what a screen can show."""
_BINS = 256
_LEAST, _MOST = 0.01, 15.0
"""Values up to the first are told apart evenly, those beyond by their ratio, up to the second."""
_KEPT = 0.97
"""Of the distribution of generated windows, from one group about its level to the next: they
change. Of the real ones all count."""
_LONGEST = 1000
"""Groups of real windows that count as one step of them at least."""
_SAME = 1e-6
_PULLS = 1.0
"""Deviation that pulls hardest, standard deviations."""


class Marginals(nn.Module):
    """Running distributions of real and of generated neighbourhoods, by level, density, direction.

    Of every 7 x 7 x 3 neighbourhood of a Laplacian pyramid the components along fixed directions
    are taken. Each generated one is pulled towards the value that as many real ones lie below as
    generated ones do below it.

    A stroke is longer than that, and what makes it one is in no component: that detail of one
    direction goes on in that direction, and ends with others. So the energy of waves of a few
    directions and colours is taken too, where that is asked for. Of two energies, of one wave some
    pixels apart or of two waves at one place, the sum and the difference tell by their
    distributions how the one depends on the other.

    Source: the histogram matching of Heeger and Bergen 1995, "Pyramid-based texture analysis /
    synthesis", along random directions of neighbourhoods, as in Elnekave and Weiss 2022,
    "Generating natural images with direct patch distributions matching"; of energies, the
    correlations of magnitudes of Portilla and Simoncelli 2000, section 2.2. Differs: distributions
    are of all windows about a level together, so that no window has to look like the average of its
    scene; only a third of the directions are uniform. Those see the strong coarse detail of
    paint and hardly anything else. A third see little more than a pixel and its neighbours, along
    which paint is far from Gaussian, and a third one frequency each, up to the highest. Of energies
    two distributions are held instead of a correlation.

    `model.metrics.swd` measures nearly what the first of these pull at: with this term that
    distance alone flatters. The random-feature KID is beside it.
    """

    def __init__(
        self, level_range: tuple[float, float], patch_size: int, energies: bool = False
    ) -> None:
        """`level_range`: octaves of the scene; `patch_size`: pixels of a window; `energies`:
        whether they are compared too."""
        super().__init__()
        self.lowest = level_range[0]
        count = round((level_range[1] - level_range[0]) * _PER_OCTAVE) + 1
        depths = num_levels(patch_size)
        self.directions: torch.Tensor
        self.waves: torch.Tensor
        self.shares: torch.Tensor
        self.visits: torch.Tensor
        self.register_buffer("directions", _directions(depths), persistent=False)
        self.register_buffer("waves", _waves(), persistent=False)
        sides = [patch_size >> depth for depth in range(depths)]
        self.with_energies = [
            energies and _energies_a_side(side) >= _LEAST_ENERGIES for side in sides
        ]
        """Of each density: whether they are, which wants a window that holds pairs of them."""
        self._rows = [n for has in self.with_energies for n in (DIRECTIONS, _PAIRED)[: 1 + has]]
        # [level, real or generated, direction of each kind of each density, bin]
        self.register_buffer("shares", torch.zeros(count, 2, sum(self._rows), _BINS))
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
            The gradient at `gen_img`, times its number of elements, components and energies of
            every density as strong as they deviate: its RMS is about the deviation; and the RMS
            deviation along the directions, standard deviations of the real ones.
        """
        offsets = rng.integers(0, _STRIDE, (len(self.directions), 2)).tolist()
        with torch.no_grad():
            real = self._components(real_img, offsets)
        with torch.enable_grad():
            leaf = gen_img.detach().float().requires_grad_(True)
            generated = self._components(leaf, offsets)
        self._count(real, [values.detach() for values in generated], level, ranks)
        real_known, generated_known = (
            known.split(self._rows) for known in self.shares[self._about(level)].cumsum(-1)
        )
        moved = sum(1 + has for has in self.with_energies[:octaves])
        parts, squares = [], []
        kinds = list(zip(generated, real_known, generated_known, strict=True))[:moved]
        for values, of_real, of_generated in kinds:
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
        """Of the neighbourhoods of each density, then of its energies: [rows, how many] each."""
        found = []
        bands = laplacian_pyramid(img.float())
        for depth, (band, (x, y)) in enumerate(zip(bands, offsets, strict=True)):
            stride = max(1, _STRIDE >> depth)
            part = band[..., y % stride :, x % stride :]
            along = F.conv2d(part, self.directions[depth], stride=stride)
            found.append(along.transpose(0, 1).flatten(1))
            if self.with_energies[depth]:
                found.append(_paired(_energies(band, self.waves), max(1, stride // 2), x, y))
        return found

    def _count(
        self, real: list[torch.Tensor], generated: list[torch.Tensor], level: float, ranks: Ranks
    ) -> None:
        about = self._about(level)
        both = [torch.cat([_histogram(v) for v in values]) for values in (real, generated)]
        counted = torch.stack(both)
        ranks.average_tensor(counted)
        self.visits[about] += 1
        first = 1 / self.visits[about]
        rates = torch.stack([first.clamp_min(1 / _LONGEST), first.clamp_min(1 - _KEPT)])
        self.shares[about] = torch.lerp(self.shares[about], counted, rates[:, None, None])


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


def _waves() -> torch.Tensor:
    """Of light and of red against blue, each in two phases: float32 [16, 3, 7, 7], unit length."""
    steps = np.arange(NEIGHBOURHOOD) - NEIGHBOURHOOD // 2
    window = np.exp(-(steps[:, None] ** 2 + steps**2) / 6)
    found = []
    for colour in ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0)):
        for angle in np.arange(_ORIENTATIONS) * math.pi / _ORIENTATIONS:
            across = steps * math.cos(angle) + steps[:, None] * math.sin(angle)
            for wave in (np.cos, np.sin):
                plane = window * wave(2 * math.pi * _CYCLES * across)
                plane -= window * plane.sum() / window.sum()  # light itself is no energy
                found.append(np.array(colour)[:, None, None] * plane)
    waves = np.stack(found)
    length = np.sqrt(np.square(waves).sum((1, 2, 3), keepdims=True))
    return torch.from_numpy((waves / length).astype(np.float32))


def _energies(band: torch.Tensor, waves: torch.Tensor) -> torch.Tensor:
    """Amplitude of each wave about every second pixel: [N, 8, h, w], of [N, 3, H, W]."""
    phases = F.conv2d(band, waves).unflatten(1, (-1, 2))
    amplitude = (phases.square().sum(2) + _DARKEST**2).sqrt()
    return F.avg_pool2d(amplitude, 2)


def _energies_a_side(side: int) -> int:
    """How many `_energies` a band of so many pixels a side has."""
    return (side - NEIGHBOURHOOD + 1) // 2


_OFFSETS = [(y * n, x * n) for n in _APART for y, x in ((0, 1), (1, 0), (1, 1), (1, -1))]
_PAIRED = 2 * 2 * _ORIENTATIONS * len(_OFFSETS) + 2 * math.comb(2 * _ORIENTATIONS, 2)


def _paired(energies: torch.Tensor, stride: int, x: int, y: int) -> torch.Tensor:
    """Sum and difference of every two of `energies` that are compared: [_PAIRED, how many].

    Those are each energy and itself some way off, in four directions; and any two at one place, of
    [N, 8, h, w]. Every `stride`th place is taken, from (x, y) modulo that on.
    """
    reach = _APART[-1]
    height, width = (side - 2 * reach for side in energies.shape[-2:])

    def moved(dy: int, dx: int) -> torch.Tensor:
        top, left = reach + dy, reach + dx
        part = energies[..., top : top + height, left : left + width]
        return part[..., y % stride :: stride, x % stride :: stride]

    here = moved(0, 0)
    one, other = torch.triu_indices(here.shape[1], here.shape[1], 1, device=here.device)
    first = torch.cat([here] * len(_OFFSETS) + [here[:, one]], 1)
    second = torch.cat([*(moved(*offset) for offset in _OFFSETS), here[:, other]], 1)
    both = torch.cat([first + second, first - second], 1) * math.sqrt(0.5)
    return both.transpose(0, 1).flatten(1)


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
    place = _place(values)
    bins = place.long()
    first, last = (goals.gather(1, bins) for goals in _goals(real, generated))
    goal = _value(torch.lerp(first, last, place - bins))
    middles = _value(torch.arange(_BINS, device=values.device) + 0.5)
    weights = (real / real[:, -1:]).diff(dim=1, prepend=torch.zeros_like(real[:, :1]))
    mean = (weights * middles).sum(1, keepdim=True)
    variance = (weights * (middles - mean).square()).sum(1, keepdim=True)
    std = variance.clamp_min(1e-8).sqrt()
    deviation = ((values - goal) / std).clamp(-_PULLS, _PULLS)
    return deviation / std.mean(), deviation


def _goals(real: torch.Tensor, generated: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For both ends of each bin the place that as many real values lie below: [N, _BINS] each.

    Both are shares up to the end of each bin, [N, _BINS].
    """
    real, generated = (F.pad(known / known[:, -1:], (1, 0)) for known in (real, generated))
    goals = []
    # Where no real value lies, a bin begins at the far end of that and ends at the near one. Shares
    # that are equal but for rounding must not go now this way and now that.
    for share in (generated[:, :-1] + _SAME, generated[:, 1:] - _SAME):
        share = share.clamp(1e-4, 1 - 1e-4)
        end = torch.searchsorted(real, share).clamp(1, _BINS)
        low, high = real.gather(1, end - 1), real.gather(1, end)
        goals.append(end - 1 + ((share - low) / (high - low).clamp_min(1e-9)).clamp(0, 1))
    return goals[0], goals[1]


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
