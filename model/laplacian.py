"""The Laplacian pyramid of an image: what a window holds, octave by octave of fineness."""

from __future__ import annotations

import torch
import torch.nn.functional as F

COARSEST_PX = 16
"""The pyramid of a window ends where its side would fall below this."""
_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def laplacian_pyramid(img: torch.Tensor) -> list[torch.Tensor]:
    """Band-pass images, each of half the side, and the low-pass rest.

    Args:
        img: float32 [N, 3, P, P].

    Source: Burt and Adelson 1983, with the binomial filter [1 4 6 4 1] / 16 and mirrored edges.
    """
    pyramid = [img]
    for _ in range(num_levels(img.shape[-1]) - 1):
        fine = pyramid[-1]
        coarse = _blur(fine, 2)
        pyramid[-1] = fine - _expanded(coarse, fine)
        pyramid.append(coarse)
    return pyramid


def amplify_detail(img: torch.Tensor, gain: float) -> torch.Tensor:
    """The image with all that a quarter of its density cannot hold `gain` times as strong.

    Args:
        img: float [N, 3, P, P], P a multiple of 4.
        gain: 1 changes nothing.
    """
    if gain == 1:
        return img
    half = _blur(img, 2)
    low = _expanded(_expanded(_blur(half, 2), half), img)
    return low + gain * (img - low)


def num_levels(patch_size: int) -> int:
    """Levels of `laplacian_pyramid` of images of `patch_size` pixels a side."""
    levels = 1
    while patch_size >= 2 * COARSEST_PX and patch_size % 2 == 0:
        patch_size, levels = patch_size // 2, levels + 1
    return levels


def _expanded(coarse: torch.Tensor, fine: torch.Tensor) -> torch.Tensor:
    """`coarse` at twice its density, of the shape of `fine`."""
    zeros = torch.zeros_like(fine)
    zeros[..., ::2, ::2] = coarse
    return 4 * _blur(zeros)


def _blur(img: torch.Tensor, stride: int = 1) -> torch.Tensor:
    """Separable binomial filter, mirrored edges; `stride` 2 keeps every second pixel."""
    height, width = img.shape[-2:]
    x = F.pad(img, (2, 2, 2, 2), mode="reflect")
    x = sum(t * x[..., i : i + height : stride, :] for i, t in enumerate(_BINOMIAL))
    return sum(t * x[..., i : i + width : stride] for i, t in enumerate(_BINOMIAL))
