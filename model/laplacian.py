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
        zeros = torch.zeros_like(fine)
        zeros[..., ::2, ::2] = coarse
        pyramid[-1] = fine - 4 * _blur(zeros)
        pyramid.append(coarse)
    return pyramid


def num_levels(patch_size: int) -> int:
    """Levels of `laplacian_pyramid` of images of `patch_size` pixels a side."""
    levels = 1
    while patch_size >= 2 * COARSEST_PX and patch_size % 2 == 0:
        patch_size, levels = patch_size // 2, levels + 1
    return levels


def _blur(img: torch.Tensor, stride: int = 1) -> torch.Tensor:
    """Separable binomial filter, mirrored edges; `stride` 2 keeps every second pixel."""
    height, width = img.shape[-2:]
    x = F.pad(img, (2, 2, 2, 2), mode="reflect")
    x = sum(t * x[..., i : i + height : stride, :] for i, t in enumerate(_BINOMIAL))
    return sum(t * x[..., i : i + width : stride] for i, t in enumerate(_BINOMIAL))
