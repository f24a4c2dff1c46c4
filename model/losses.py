"""Loss terms of training. Each returns its value; none logs, none steps."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from model.config import LossConfig


def charbonnier(
    error: torch.Tensor, epsilon: float = 0.02, known: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean of sqrt(error**2 + epsilon**2) - epsilon: quadratic below `epsilon`, linear above.

    Where `known` (broadcast over `error`) is 0 an error counts as none.
    """
    distance = (error.square() + epsilon**2).sqrt() - epsilon
    return (distance if known is None else distance * known).mean()


def reconstruction(
    gen_img: torch.Tensor,
    real_img: torch.Tensor,
    level: float,
    config: LossConfig,
    known: torch.Tensor | None = None,
) -> torch.Tensor:
    """Distance to the registered truth: pixels where they can be remembered, else low-passed.

    Args:
        gen_img: [N, 3, P, P] in [-1, 1].
        real_img: The same windows of the image.
        level: Octaves.
        config: `full_until`, `full_none_from` and `remembered_level` say what is compared.
        known: Where single pixels are known at this level, [N, 1, P, P] of 0 and 1; None: all.
    """
    full = ramp(level, config.full_none_from, config.full_until)
    error = gen_img - real_img
    loss = full * charbonnier(error, known=known) if full > 0 else error.new_zeros(())
    halvings = math.ceil(level - config.remembered_level)
    if full < 1 and halvings > 0:
        block = 2 ** min(halvings, int(math.log2(error.shape[-1])))
        loss = loss + charbonnier(F.avg_pool2d(error, block))
    return loss


def ramp(value: float, low: float, high: float) -> float:
    """0 at `low`, 1 at `high`, linear between; falls where `high` < `low`."""
    return min(max((value - low) / (high - low), 0.0), 1.0)


def discriminator_loss(
    real_logits: torch.Tensor, gen_logits: torch.Tensor, kind: str
) -> torch.Tensor:
    """What the discriminator lowers, from logits [N, 1] of pairs of one level.

    'relativistic': softplus(gen - real), Jolicoeur-Martineau 2018 as in R3GAN (Huang et al. 2024).
    'logistic': softplus(-real) + softplus(gen), Goodfellow et al. 2014.
    """
    if kind == "relativistic":
        return F.softplus(gen_logits - real_logits).mean()
    return F.softplus(-real_logits).mean() + F.softplus(gen_logits).mean()


def generator_loss(real_logits: torch.Tensor, gen_logits: torch.Tensor, kind: str) -> torch.Tensor:
    """What the generator lowers: softplus(real - gen), or softplus(-gen) (non-saturating)."""
    if kind == "relativistic":
        return F.softplus(real_logits - gen_logits).mean()
    return F.softplus(-gen_logits).mean()


def diversity(gen_img: torch.Tensor, real_img: torch.Tensor) -> float:
    """How much generated images [N, 3, P, P] differ, over how much as many real ones do.

    Standard deviation over the batch of what is left at a quarter of the patch: 1 is as it should
    be, 0 is one picture for all latents. A figure to watch, noisy of a small batch.
    """
    block = max(1, gen_img.shape[-1] // 4)
    deviations = [
        float(F.avg_pool2d(img.float(), block).std(0, correction=0).mean())
        for img in (gen_img, real_img)
    ]
    return deviations[0] / max(deviations[1], 1e-6)


def gradient_penalty(
    discriminator: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    img: torch.Tensor,
    levels: torch.Tensor,
) -> torch.Tensor:
    """Mean squared norm of the logits' gradient in the image, exact (double backward).

    R1 where `img` is real, R2 where it is generated. Source: Mescheder et al. 2018, equation 9.
    """
    img = img.detach().requires_grad_(True)
    logits = discriminator(img, levels)
    (grad_img,) = torch.autograd.grad(logits.sum(), img, create_graph=True)
    return grad_img.square().sum((1, 2, 3)).mean()
