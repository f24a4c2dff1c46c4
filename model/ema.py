"""Averaged weights."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def update_ema(average: nn.Module, module: nn.Module, images: int, halflife_kimg: float) -> None:
    """Move `average` towards `module` by what `images` images are worth.

    Source: Karras et al. 2020 (StyleGAN2): decay = 0.5 ** (images / half-life).
    """
    decay = 0.5 ** (images / max(halflife_kimg * 1000, 1e-8))
    torch._foreach_lerp_(list(average.parameters()), list(module.parameters()), 1 - decay)
