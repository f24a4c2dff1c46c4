"""Averaged weights."""

from __future__ import annotations

import torch
from torch import nn

from model.breathing import PIECE, Breathe, in_pieces


@torch.no_grad()
def update_ema(
    average: nn.Module,
    module: nn.Module,
    images: int,
    halflife_kimg: float,
    breathe: Breathe = lambda: None,
) -> None:
    """Move `average` towards `module` by what `images` images are worth.

    Source: Karras et al. 2020 (StyleGAN2): decay = 0.5 ** (images / half-life).

    Args:
        average: Changed in place.
        module: Of the same shape.
        images: Seen since the last call.
        halflife_kimg: Thousands of images in which old weights lose half their share.
        breathe: Called between pieces of large tensors; may wait.
    """
    weight = 1 - 0.5 ** (images / max(halflife_kimg * 1000, 1e-8))
    pairs = list(zip(average.parameters(), module.parameters(), strict=True))
    small = [pair for pair in pairs if pair[0].numel() <= PIECE]
    if small:
        torch._foreach_lerp_([a for a, _ in small], [p for _, p in small], weight)
    for pair in pairs:
        if pair[0].numel() > PIECE:
            for averaged, new in in_pieces(*pair):
                breathe()
                averaged.lerp_(new, weight)
