"""The contrast of what is invented: every band is to be as strong as that of real windows.

Octaves that have to agree pay for every detail on which they differ, and end up with too little of
it; a discriminator that is content with the shapes hardly objects. Two moments of each band do.
"""

from __future__ import annotations

import torch
from torch import nn

from model.distributed import Ranks
from model.graphs import Run, Tensors, plainly
from model.laplacian import laplacian_pyramid, num_levels

_KEPT = 0.96
"""Of a running moment, from one group of windows about its level to the next."""
_PER_OCTAVE = 4
"""Levels with moments of their own: what a generator hears changes within an octave."""
_MOST = 0.5
"""Deviation that pulls hardest: of the mean in standard deviations, of those in nepers."""


class BandMoments(nn.Module):
    """Running moments of real and of generated windows, by level, band and channel.

    Source: the marginal statistics of Portilla and Simoncelli 2000, "A parametric texture model
    based on joint statistics of complex wavelet coefficients", section 2.1. Differs: two moments
    only, of a Laplacian pyramid, and of all windows about a level together: no window has to have
    the mean's contrast.
    """

    def __init__(self, level_range: tuple[float, float], patch_size: int) -> None:
        """`level_range`: octaves of the scene; `patch_size`: pixels of a window."""
        super().__init__()
        self.lowest = level_range[0]
        count = round((level_range[1] - level_range[0]) * _PER_OCTAVE) + 1
        shape = (count, 2, 2, num_levels(patch_size), 3)
        self.sums: torch.Tensor
        self.weights: torch.Tensor
        # [level, real or generated, mean or mean square, band, channel]
        self.register_buffer("sums", torch.zeros(shape))
        self.register_buffer("weights", torch.zeros(count))

    def pull(
        self,
        real_img: torch.Tensor,
        gen_img: torch.Tensor,
        level: float,
        ranks: Ranks,
        run: Run = plainly,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take a group of windows into account; where the generated ones should move.

        Args:
            real_img, gen_img: [N, 3, P, P] in [-1, 1], of about `level`.
            level: Octaves.
            ranks: Whose groups count together.
            run: Does the work; see `model.graphs`.

        Returns:
            The gradient at `gen_img`, times its number of elements: of unit RMS where one band is
            a neper too strong; and the RMS deviation of the bands' standard deviations, nepers.
        """
        (found,) = run("moments", _both_moments, [real_img.detach(), gen_img.detach()])
        about = min(max(round((level - self.lowest) * _PER_OCTAVE), 0), len(self.weights) - 1)
        ranks.average_tensor(found)
        self.sums[about] = _KEPT * self.sums[about] + (1 - _KEPT) * found
        self.weights[about] = _KEPT * self.weights[about] + (1 - _KEPT)
        known = self.sums[about] / self.weights[about]
        grad, deviation = run("moments' pull", _pull, [gen_img.detach(), known])
        return grad, deviation


def _both_moments(real_img: torch.Tensor, gen_img: torch.Tensor) -> Tensors:
    both = [_moments(laplacian_pyramid(img.float())) for img in (real_img, gen_img)]
    return (torch.stack(both),)


def _pull(gen_img: torch.Tensor, known: torch.Tensor) -> Tensors:
    """The gradient and the deviation; `known`: [real or generated, mean or square, band, 3]."""
    mean, square = known.unbind(1)
    std = (square - mean.square()).clamp_min(1e-8).sqrt()  # [real or generated, band, channel]
    stronger = (std[1] / std[0]).log()
    brighter = (mean[1] - mean[0]) / std[0]
    with torch.enable_grad():
        leaf = gen_img.float().requires_grad_(True)
        loss = leaf.new_zeros(())
        for number, band in enumerate(laplacian_pyramid(leaf)):
            centred = band - mean[1, number, :, None, None]
            power = centred.square().mean((0, 2, 3)) / (2 * std[1, number])
            loss = loss + (stronger[number].clamp(-_MOST, _MOST) * power).sum()
            loss = loss + (brighter[number].clamp(-_MOST, _MOST) * band.mean((0, 2, 3))).sum()
        (grad,) = torch.autograd.grad(loss, leaf)
    return grad * (grad.numel() / 3), stronger.square().mean().sqrt()


def _moments(bands: list[torch.Tensor]) -> torch.Tensor:
    """Mean and mean square of each band and channel: [2, B, 3]."""
    means = torch.stack([band.mean((0, 2, 3)) for band in bands])
    return torch.stack([means, torch.stack([band.square().mean((0, 2, 3)) for band in bands])])
