"""The contrast of what is invented: every band is to be as strong as that of real windows.

Octaves that have to agree pay for every detail on which they differ, and end up with too little of
it; a discriminator that is content with the shapes hardly objects. Two moments of each band do.
"""

from __future__ import annotations

import math
from functools import cache, partial

import torch
from torch import nn

from model.distributed import Ranks
from model.graphs import Run, Tensors, plainly

_KEPT = 0.95
"""Of a running moment, from one group of windows about its level to the next."""
_PER_OCTAVE = 4
"""Levels with moments of their own: what a generator hears changes within an octave."""
_RINGS_PER_OCTAVE = 2
_MOST = 0.5
"""Deviation that pulls hardest: of the mean in standard deviations, of those in nepers."""
_GATHERED, _GATHERED_OF, _GATHERED_MOST = 0.015, 0.1, 1.0
"""Share of a deviation that is added to the pull at every group about its level; the deviation that
adds most, for one that is still large is on its way; and the most that is gathered."""
_LEAST_POWER = 1e-6
"""A band that holds no more of all the power counts as one that does."""
_PULL = 3.0
"""RMS of the pull over the RMS deviation of the bands."""
_TAPERED = 3 / 8
"""RMS of a Hann window in two dimensions, whatever its size."""
_TAPERED_TWICE = 35 / 128 / _TAPERED
"""RMS of its square over that: what is left of a band that is weighted once more."""


class BandMoments(nn.Module):
    """Running moments of real and of generated windows, by level, band and colour.

    A band is a ring of spatial frequencies, half an octave wide, of luma or of one of two
    differences of colours; the corners beyond the Nyquist frequency are one of their own. A pull as
    strong as what a band lacks would come to rest where other losses pull as hard the other way, so
    what stays is gathered, and pulls harder and harder: in terms of control, it is proportional and
    integral.

    Source: the marginal statistics of Portilla and Simoncelli 2000, "A parametric texture model
    based on joint statistics of complex wavelet coefficients", section 2.1. Differs: two moments
    only, of rings instead of wavelets, and of all windows about a level together: no window has to
    have the mean's contrast.
    """

    def __init__(self, level_range: tuple[float, float], patch_size: int) -> None:
        """`level_range`: octaves of the scene; `patch_size`: pixels of a window."""
        super().__init__()
        self.lowest = level_range[0]
        count = round((level_range[1] - level_range[0]) * _PER_OCTAVE) + 1
        bands = _num_rings(patch_size)
        self.sums: torch.Tensor
        self.weights: torch.Tensor
        self.owed: torch.Tensor
        # [level, real or generated, mean, its square and power of the bands, colour]
        self.register_buffer("sums", torch.zeros(count, 2, 2 + bands, 3))
        self.register_buffer("weights", torch.zeros(count))
        # [level, mean and bands, colour]
        self.register_buffer("owed", torch.zeros(count, 1 + bands, 3))

    def pull(
        self,
        real_img: torch.Tensor,
        gen_img: torch.Tensor,
        level: float,
        ranks: Ranks,
        run: Run = plainly,
        octaves: int | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take a group of windows into account; where the generated ones should move.

        Args:
            real_img, gen_img: [N, 3, P, P] in [-1, 1], of about `level`.
            level: Octaves.
            ranks: Whose groups count together.
            run: Does the work; see `model.graphs`.
            octaves: How many may be moved, finest first; None: all, and the mean.

        Returns:
            The gradient at `gen_img`, times its number of elements: its RMS is three times the RMS
            deviation of the bands, what was gathered included; and the RMS deviation of those that
            may be moved, nepers of their standard deviation.
        """
        (found,) = run("moments", _both_moments, [real_img.detach(), gen_img.detach()])
        about = min(max(round((level - self.lowest) * _PER_OCTAVE), 0), len(self.weights) - 1)
        ranks.average_tensor(found)
        self.sums[about] = _KEPT * self.sums[about] + (1 - _KEPT) * found
        self.weights[about] = _KEPT * self.weights[about] + (1 - _KEPT)
        known = self.sums[about] / self.weights[about]
        grad, deviation, self.owed[about] = run(
            ("moments' pull", octaves),
            partial(_pull, octaves=octaves),
            [gen_img.detach(), known, self.owed[about]],
        )
        return grad, deviation


def _both_moments(real_img: torch.Tensor, gen_img: torch.Tensor) -> Tensors:
    return (torch.stack([_moments(img) for img in (real_img, gen_img)]),)


def _moments(img: torch.Tensor) -> torch.Tensor:
    """Mean of the windows' means, of their squares, and of the power in each ring: [2 + R, 3]."""
    means, powers = _analysed(img.float())
    return torch.cat([means.mean(0)[None], means.square().mean(0)[None], powers.mean(0)])


def _stds(known: torch.Tensor, side: int) -> torch.Tensor:
    """Standard deviation of each band, from running moments [..., 2 + R, 3]: [..., R, 3].

    How the windows' means differ counts as the lowest frequency.
    """
    between = (known[..., 1, :] - known[..., 0, :].square()).clamp_min(0)
    powers = known[..., 2:, :].clone()
    powers[..., 0, :] += between * (side * _TAPERED) ** 2
    return powers.maximum(_LEAST_POWER * powers.sum(-2, keepdim=True) + 1e-12).sqrt()


def _pull(
    gen_img: torch.Tensor, known: torch.Tensor, owed: torch.Tensor, octaves: int | None
) -> Tensors:
    """The gradient, the deviation, and what is owed from here on.

    Args:
        gen_img: [N, 3, P, P].
        known: Running moments, [real or generated, 2 + R, 3].
        owed: What was gathered until now, [1 + R, 3].
        octaves: See `BandMoments.pull`.
    """
    side = gen_img.shape[-1]
    mean, (real_std, std) = known[:, 0], _stds(known, side)
    spread = real_std.square().sum(0).sqrt() / (side * _TAPERED)
    off = torch.cat([((mean[1] - mean[0]) / spread)[None], (std / real_std).log()])
    # The corners too, which are the last.
    still = 0 if octaves is None else max(0, len(off) - 1 - _RINGS_PER_OCTAVE * octaves)
    off = torch.cat([torch.zeros_like(off[:still]), off[still:]])
    gathered = owed + _GATHERED * off.clamp(-_GATHERED_OF, _GATHERED_OF)
    gathered = gathered.clamp(-_GATHERED_MOST, _GATHERED_MOST)
    strength = (off.clamp(-_MOST, _MOST) + gathered) * (_PULL / len(std) ** 0.5)
    with torch.enable_grad():
        leaf = gen_img.float().requires_grad_(True)
        means, powers = _analysed(leaf)
        between = (means - mean[1]).square() * (side * _TAPERED) ** 2
        powers = torch.cat([powers[:, :1] + between[:, None], powers[:, 1:]], 1)
        # So that one band alone gives a gradient of its strength's RMS.
        loss = (strength[1:] * powers / (2 * std)).sum() * (side / _TAPERED_TWICE)
        loss = loss + (strength[0] * means).sum() * side**2
        (grad,) = torch.autograd.grad(loss, leaf)
    return grad, off[max(1, still) :].square().mean().sqrt(), gathered


def _analysed(img: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Means [N, 3] of luma and colour differences, and power of the rest by ring, [N, R, 3]."""
    side, device = img.shape[-1], img.device
    planes = torch.einsum("kc,nchw->nkhw", _colours(device), img)
    means = planes.mean((2, 3))
    weights, rings = _taper(side, device), _rings(side, device)
    spectrum = torch.fft.rfft2((planes - means[..., None, None]) * weights, norm="ortho")
    power = spectrum.real.square() + spectrum.imag.square()
    return means, (power.flatten(2) @ rings).transpose(1, 2)


@cache
def _colours(device: torch.device) -> torch.Tensor:
    """Luma, red against blue, green against both: orthonormal, [3, 3]."""
    rows = torch.tensor([[1.0, 1, 1], [1, 0, -1], [-1, 2, -1]], device=device)
    return rows / rows.norm(dim=1, keepdim=True)


@cache
def _taper(side: int, device: torch.device) -> torch.Tensor:
    """Hann window [P, P]: nothing leaks from the edges."""
    line = torch.hann_window(side, device=device)
    return torch.outer(line, line)


def _num_rings(side: int) -> int:
    """All below two cycles a window, half octaves up to the Nyquist frequency, and the corners."""
    return math.ceil(_RINGS_PER_OCTAVE * math.log2(side / 4)) + 2


@cache
def _rings(side: int, device: torch.device) -> torch.Tensor:
    """In which ring each frequency of `rfft2` is, as often as it stands for one: [F, R]."""
    across = torch.fft.rfftfreq(side, 1 / side, device=device)
    frequency = torch.hypot(torch.fft.fftfreq(side, 1 / side, device=device)[:, None], across)
    last = _num_rings(side) - 1
    half_octave = 1 + (_RINGS_PER_OCTAVE * (frequency.clamp_min(1) / 2).log2()).floor()
    ring = half_octave.clamp(0, last).long()
    rings = torch.nn.functional.one_hot(ring, last + 1).float()
    twice = torch.full((side // 2 + 1, 1), 2.0, device=device)
    twice[0] = 1.0
    if side % 2 == 0:
        twice[-1] = 1.0
    return (rings * twice).flatten(0, 1)
