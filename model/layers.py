"""Modulated convolutions and the small dense layers around them."""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import nn

from kernels.bias_lrelu import bias_lrelu
from kernels.filtered_lrelu import filtered_lrelu


class ModulatedConv(nn.Module):
    """Valid (unpadded) convolution whose input channels are scaled by a style.

    Source: Karras et al. 2020 (StyleGAN2), equations 1 and 3. Where one style serves the whole
    batch it is folded into the weights, so that the convolution is a plain one.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        w_dim: int,
        *,
        demodulate: bool,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.demodulate, self.gain = demodulate, gain
        self._kept: _Kept | None = None
        self.weight = nn.Parameter(
            torch.randn(outputs, inputs, size, size) / math.sqrt(inputs * size * size)
        )
        self.affine = nn.Linear(w_dim, inputs)
        nn.init.normal_(self.affine.weight, std=0.3 / math.sqrt(w_dim))
        nn.init.ones_(self.affine.bias)

    def forward(
        self, x: torch.Tensor, w: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        """`x` [N, inputs, H, W], `w` [1 or N, w_dim], `bias` [outputs] -> [N, outputs, H', W']."""
        if bias is not None:
            bias = bias.to(x.dtype)
        if w.shape[0] == 1:
            return F.conv2d(x, self._folded(w, x.dtype), bias)
        style = self.affine(w)
        x = x * style.to(x.dtype)[:, :, None, None]
        weight = (self.weight * self.gain).to(x.dtype)
        y = F.conv2d(x, weight.contiguous(memory_format=torch.channels_last))
        if self.demodulate:
            power = style.square() @ self.weight.square().sum((2, 3)).t()
            y = y * (power + 1e-8).rsqrt().to(y.dtype)[:, :, None, None]
        return y if bias is None else y + bias.view(1, -1, 1, 1)

    def _folded(self, w: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Weights times the style of `w` [1, w_dim], demodulated; kept for tiles of the level."""
        keeps = not (self.training or torch.is_grad_enabled() or _is_captured(w))
        kept = self._kept if keeps else None
        version = (_versions(self), dtype)
        if kept is not None and kept.version != version:
            kept = None
        if kept is not None and kept.w is w:
            return kept.weight
        style = self.affine(w)
        # To compare waits for a GPU, and there folding costs less than that.
        if kept is not None and not w.is_cuda and torch.equal(kept.style, style):
            self._kept = kept._replace(w=w)
            return kept.weight
        weight = self.weight * style[0].view(1, -1, 1, 1)
        if self.demodulate:
            weight = weight * (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).rsqrt()
        weight = (weight * self.gain).to(dtype).contiguous(memory_format=torch.channels_last)
        if keeps:
            self._kept = _Kept(version, w, style, weight)
        return weight


def _is_captured(w: torch.Tensor) -> bool:
    """Whether a CUDA graph takes down what is done to `w`: what it replays may rest on no value."""
    return w.is_cuda and torch.cuda.is_current_stream_capturing()


class _Kept(NamedTuple):
    """Weights that were folded last."""

    version: object
    w: torch.Tensor
    style: torch.Tensor
    weight: torch.Tensor


def _versions(module: nn.Module) -> tuple[tuple[int, int], ...]:
    """Changes with the parameters of `module`, but for the steps of a fused optimiser: of a module
    that trains nothing is kept."""
    return tuple((p.data_ptr(), 0 if p.is_inference() else p._version) for p in module.parameters())


class SynthesisConv(nn.Module):
    """Modulated 3 x 3 convolution, then the (filtered) leaky ReLU."""

    fir: torch.Tensor

    def __init__(
        self, inputs: int, outputs: int, w_dim: int, oversampling: int, fir: torch.Tensor
    ) -> None:
        super().__init__()
        # The leaky ReLU's gain stands in the weights: positive factors commute with it.
        self.conv = ModulatedConv(inputs, outputs, 3, w_dim, demodulate=True, gain=2**0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.oversampling = oversampling
        self.register_buffer("fir", fir, persistent=False)

    @staticmethod
    def margin(oversampling: int, taps_per_phase: int) -> int:
        """Pixels consumed on each side."""
        return 1 + (taps_per_phase - 1 if oversampling == 2 else 0)

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """`x` [N, inputs, H, W], `w` [1 or N, w_dim] -> [N, outputs, H - 2 margin, ...]."""
        # A GPU adds the bias with the nonlinearity, a CPU with the convolution: a pass less each.
        inside, after = (None, self.bias) if x.is_cuda else (self.bias, None)
        x = self.conv(x, w, inside)
        if self.oversampling == 1:
            return bias_lrelu(x, after)
        # One zero in front keeps the lattice; every other pixel that would read padding is dropped.
        return filtered_lrelu(
            x, self.fir, self.fir, after, up=2, down=2, padding=(1, 0, 1, 0), gain=1.0
        )


class Mapping(nn.Module):
    """Level and latent to style.

    Source: the idea of conditioning on scale is Wolski et al. 2024; there the mapped scale is
    computed and never used, here it is the style of every layer.
    """

    def __init__(
        self, z_dim: int, w_dim: int, level_range: tuple[float, float], passed: int = 0
    ) -> None:
        """`passed`: components of the latent that are handed on as they are, at every level."""
        super().__init__()
        self.z_dim, self.level_range, self.passed = z_dim, level_range, passed
        self._kept: tuple[object, torch.Tensor] | None = None
        self.dense1 = nn.Linear(LEVEL_FEATURES + z_dim, w_dim)
        self.dense2 = nn.Linear(w_dim, w_dim)
        if z_dim:
            # A latent that hardly moves the image at first is never told from another: all would
            # become one scene.
            nn.init.kaiming_normal_(self.dense1.weight, a=0.2)
            nn.init.kaiming_normal_(self.dense2.weight, a=0.2)
            with torch.no_grad():
                self.dense2.weight *= 3

    def forward(self, level: float, z: torch.Tensor | None) -> torch.Tensor:
        """Style of one level (octaves) and a latent [N, z_dim] (None where 0).

        Returns:
            [1 or N, w_dim + passed].
        """
        if self.z_dim or self.training or torch.is_grad_enabled():
            return self._of_level(level, z)
        kept, version = self._kept, (level, _versions(self))
        if kept is None or kept[0] != version:
            kept = self._kept = (version, self._of_level(level, z))
        return kept[1]  # the same tensor for a level: layers know by it what they have folded

    def _of_level(self, level: float, z: torch.Tensor | None) -> torch.Tensor:
        features = level_features(torch.tensor([level]), self.level_range)
        # Sent without waiting: a level made on a GPU would wait for it.
        return self._style(features.to(self.dense1.weight.device, non_blocking=True), z)

    def of_levels(self, levels: torch.Tensor, z: torch.Tensor | None) -> torch.Tensor:
        """Styles of levels [N], or of one level and latents [N, z_dim]: [N, w_dim + passed]."""
        return self._style(level_features(levels, self.level_range), z)

    def _style(self, features: torch.Tensor, z: torch.Tensor | None) -> torch.Tensor:
        if self.z_dim:
            if z is None or z.shape[1] != self.z_dim:
                raise ValueError(f"z must be [N, {self.z_dim}], got {z if z is None else z.shape}.")
            z = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
            features = torch.cat([features.expand(z.shape[0], -1), z], dim=1)
        hidden = F.leaky_relu(self.dense1(features), 0.2)
        style = cast(torch.Tensor, F.leaky_relu(self.dense2(hidden), 0.2))
        if z is None or not self.passed:
            return style
        return torch.cat([style, z[:, : self.passed].expand(len(style), -1)], dim=1)


LEVEL_FEATURES = 9
"""Length of `level_features`."""


def level_features(level: torch.Tensor, level_range: tuple[float, float]) -> torch.Tensor:
    """Smooth description of levels: float [N] octaves to [N, 9], each in [-1, 1]."""
    t = (level - level_range[0]) / (level_range[1] - level_range[0])
    half_turns = t * math.pi
    angles = torch.stack([half_turns * factor for factor in (0.5, 1.0, 2.0, 4.0)], dim=1)
    return torch.cat([2 * t[:, None] - 1, angles.sin(), angles.cos()], dim=1)
