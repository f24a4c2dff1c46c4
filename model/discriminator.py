"""The discriminator: told the level of what it judges."""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from kernels.bias_lrelu import bias_lrelu
from model.config import DiscriminatorConfig
from model.laplacian import amplify_detail
from model.layers import LEVEL_FEATURES, level_features


class DownBlock(nn.Module):
    """Residual block that halves the density; the level shifts its channels."""

    def __init__(self, inputs: int, outputs: int, w_dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inputs, 3, padding=1)
        self.conv2 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.shift = nn.Linear(w_dim, inputs)
        for conv in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(conv.weight, a=0.2)
            nn.init.zeros_(cast(torch.Tensor, conv.bias))

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """`x` [N, inputs, H, W], `w` [N, w_dim] -> [N, outputs, H / 2, W / 2]."""
        h = F.leaky_relu(self.conv1(x) + self.shift(w)[:, :, None, None], 0.2)
        h = F.avg_pool2d(_activated(self.conv2, h), 2)
        return cast(torch.Tensor, (h + self.skip(F.avg_pool2d(x, 2))) * math.sqrt(0.5))


class Discriminator(nn.Module):
    """Logits of patches at known levels.

    Source: residual StyleGAN2 skeleton with the projection of Miyato and Koyama 2018. Differs from
    Wolski et al. 2024, whose discriminator knows no scale and whose minibatch statistics mix
    scales: here they are of one level, and only where there are many scenes.
    """

    def __init__(
        self,
        config: DiscriminatorConfig,
        patch_size: int,
        level_range: tuple[float, float],
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.config, self.level_range = config, level_range
        widths, w_dim = config.widths, 64
        side = patch_size // config.stem // 2 ** (len(widths) - 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.level1 = nn.Linear(LEVEL_FEATURES, w_dim)
            self.level2 = nn.Linear(w_dim, w_dim)
            self.stem = nn.Conv2d(3 * config.stem**2, widths[0], 3, padding=1)
            self.blocks = nn.ModuleList(
                DownBlock(a, b, w_dim) for a, b in zip(widths, widths[1:], strict=False)
            )
            self.last = nn.Conv2d(widths[-1] + bool(config.compared), widths[-1], 3, padding=1)
            self.dense = nn.Linear(widths[-1] * side * side, w_dim)
            self.logit = nn.Linear(w_dim, 1)
        self.to(memory_format=torch.channels_last)

    def view(self, img: torch.Tensor) -> torch.Tensor:
        """What it judges of patches [N, 3, patch, patch] in [-1, 1], of the same shape.

        Gradient penalties are taken in this view: how hard it may lean on detail is said there.
        """
        return amplify_detail(img, self.config.detail_gain)

    def forward(
        self, img: torch.Tensor, levels: torch.Tensor, dtype: torch.dtype = torch.float32
    ) -> torch.Tensor:
        """Logits float32 [N, 1] of a `view` [N, 3, patch, patch] at `levels` [N], octaves.

        `dtype` is of the convolutions; what makes the logits stays in float32.
        """
        w = F.leaky_relu(self.level1(level_features(levels, self.level_range)), 0.2)
        w = self.level2(w)
        with torch.autocast(img.device.type, dtype, enabled=dtype != torch.float32):
            x = _activated(self.stem, F.pixel_unshuffle(img, self.config.stem))
            for block in self.blocks:
                x = block(x, w)
            if self.config.compared:
                x = torch.cat([x, spread(x.float(), self.config.compared).to(x.dtype)], dim=1)
            x = _activated(self.last, x)
        h = F.leaky_relu(self.dense(x.float().flatten(1)), 0.2)
        projected = (h * w).sum(1, keepdim=True) / math.sqrt(w.shape[1])
        return cast(torch.Tensor, self.logit(h) + projected)


def _activated(conv: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A convolution, its bias and the nonlinearity; on a GPU the last two in one pass."""
    assert isinstance(conv, nn.Conv2d)
    if not x.is_cuda:
        return F.leaky_relu(conv(x), 0.2)
    return bias_lrelu(F.conv2d(x, conv.weight, padding=conv.padding), conv.bias)


def spread(x: torch.Tensor, count: int) -> torch.Tensor:
    """How much each `count` consecutive images of [N, C, H, W] differ, as a map [N, 1, H, W].

    Source: Karras et al. 2018 (ProGAN), minibatch standard deviation. Fewer are compared where the
    batch is smaller or cannot be shared evenly.
    """
    n = math.gcd(len(x), count)
    groups = x.reshape(-1, n, *x.shape[1:])
    deviation = (groups.var(1, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
    return deviation.repeat_interleave(n)[:, None, None, None].expand(-1, 1, *x.shape[2:])
