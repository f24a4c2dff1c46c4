"""Fourier features of every octave, each handed from stage to stage as the level changes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from kernels.fourier_features import fourier_factors
from model.config import GeneratorConfig
from model.scale import density

TOP_OCTAVES = 3
"""Octaves of waves at the coarsest stage of a generator that has a base layer."""

_TURNS = 0.3
"""RMS by which a latent shifts a wave: those of two latents differ by 0.4 of a turn."""


def fade(octaves: float) -> float:
    """Smooth rise from 0 at 0 octaves to 1 at a quarter octave above a band's limit."""
    t = min(max(4 * octaves, 0.0), 1.0)
    return t * t * (3 - 2 * t)


@dataclass(frozen=True)
class OctaveBands:
    """Octaves of frequency from the lowest up to the finest layer's cutoff."""

    lowest: float
    """Cycles per field unit; octave k spans lowest * 2**k to twice that."""
    count: int
    """Of bands."""
    cutoff: float
    """Highest frequency of a stage over its Nyquist frequency."""
    per_octave: int = 1
    """Bands an octave: 1, or band k spans lowest * 2**(k / per_octave) upwards."""

    @classmethod
    def of(cls, config: GeneratorConfig) -> OctaveBands:
        """Those of a generator."""
        nyquist = density(config.level_range[1], config.patch_size) / 2
        octaves = math.floor(math.log2(nyquist * config.cutoff / config.lowest_frequency))
        octaves = min(octaves, config.wave_octaves or octaves)
        return cls(config.lowest_frequency, max(1, octaves), config.cutoff)

    def top(self, band: int) -> float:
        """Highest frequency of a band, cycles per field unit."""
        return float(self.lowest * 2.0 ** ((band + 1) / self.per_octave))

    def speaking(
        self, pixels_per_unit: float, heard: float, highest: float | None = None
    ) -> dict[int, float]:
        """Bands that enter at a stage of this density, with their weights in (0, 1].

        A band speaks where its highest frequency lies below the stage's cutoff, and within the
        `heard` highest octaves of those: weights telescope over stages where that is one. `highest`
        is a cutoff of this stage alone, over its Nyquist frequency.
        """
        cutoff = pixels_per_unit / 2 * self.cutoff
        ahead = 0.0 if highest is None else math.log2(highest / self.cutoff)
        weights = {}
        for band in range(self.count):
            rho = math.log2(cutoff / self.top(band))
            weight = fade(rho + ahead) - fade(rho - heard)
            if weight > 0:
                weights[band] = weight
        return weights


def draw_waves(config: GeneratorConfig, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Frequencies float64 [octaves, waves, 2] (cycles per field unit) and phases (turns).

    Directions are spread evenly and radii evenly in log frequency, each jittered: a lattice of
    equal angles would show as a pattern.
    """
    rng = torch.Generator().manual_seed(seed)
    octaves, waves = OctaveBands.of(config).count, config.waves_per_octave
    jitter = torch.rand(3, octaves, waves, generator=rng, dtype=torch.float64)
    index = torch.arange(waves, dtype=torch.float64)
    order = torch.stack([torch.randperm(waves, generator=rng) for _ in range(octaves)]).double()
    angle = math.pi * (index + jitter[0]) / waves
    exponent = torch.arange(octaves, dtype=torch.float64)[:, None] + (order + jitter[1]) / waves
    radius = config.lowest_frequency * 2.0**exponent
    freqs = radius[..., None] * torch.stack([angle.cos(), angle.sin()], dim=2)
    return freqs, jitter[2]


def _draw_turns(config: GeneratorConfig, seed: int, shape: tuple[int, int]) -> torch.Tensor | None:
    """How far each component of a scene shifts each wave, turns: float64 [*shape, S]; None: no S.

    Waves of two latents then have nothing in common, and those between them pass over smoothly.
    """
    if not config.scene_features:
        return None
    rng = torch.Generator().manual_seed(seed + 1)
    turns = torch.randn(*shape, config.scene_features, generator=rng, dtype=torch.float64)
    return turns * (_TURNS / math.sqrt(config.scene_features))


class FourierInput(nn.Module):
    """Waves of all octaves, with a mixing matrix for every stage that hears them."""

    freqs: torch.Tensor
    phases: torch.Tensor

    def __init__(self, config: GeneratorConfig, seed: int) -> None:
        super().__init__()
        self.config, self.bands = config, OctaveBands.of(config)
        freqs, phases = draw_waves(config, seed)
        self.register_buffer("freqs", freqs)
        self.register_buffer("phases", phases)
        octaves, waves = phases.shape
        self.turns: torch.Tensor | None
        """Many scenes: how far the latent shifts each wave, [octaves, waves, scene_features]."""
        self.register_buffer("turns", _draw_turns(config, seed, (octaves, waves)))
        self.mix = nn.ParameterList(
            nn.Parameter(torch.randn(octaves, width, waves) * (0.5 / math.sqrt(waves)))
            for width in config.widths[: config.wave_stages]
        )

    def speaking(self, stage: int, pixels_per_unit: float) -> dict[int, float]:
        """Octaves that enter at a stage of this density, with their weights in (0, 1].

        Each enters at the coarsest stage that can hold it; see `OctaveBands.speaking`. Beside a
        base layer the coarsest stage hears its top octaves only: slower waves are flat there, and
        the picture tells one place from another.
        """
        if stage >= len(self.mix):
            return {}
        heard = 1 if stage else TOP_OCTAVES if self.config.base else math.inf
        return self.bands.speaking(pixels_per_unit, heard)

    def factors(
        self,
        stage: int,
        xs: torch.Tensor,
        ys: torch.Tensor,
        weights: dict[int, float],
        dtype: torch.dtype,
        scene: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The octaves in `weights`, mixed into channels, as two factors of a matrix product.

        Args:
            stage: Index into the mixing matrices, coarsest stage 0.
            xs: Column coordinates, float64 [N, W], field units.
            ys: Row coordinates, float64 [N, H], field units.
            weights: From `speaking`, not empty.
            dtype: Of the factors.
            scene: Many scenes: which, [1 or N, scene_features].

        Returns:
            rows [N, H, K] and columns [N, K, W * width].
        """
        octaves = list(weights)
        phases = self.phases[octaves].flatten()
        if scene is not None and self.turns is not None:
            phases = phases + scene.double() @ self.turns[octaves].flatten(0, 1).t()
        amplitude = self.mix[stage].new_tensor([weights[o] for o in octaves])
        mix = self.mix[stage][octaves] * amplitude[:, None, None]  # [O, C, waves]
        return fourier_factors(
            xs.to(self.freqs.device),
            ys.to(self.freqs.device),
            self.freqs[octaves].flatten(0, 1),
            phases,
            mix.transpose(0, 1).flatten(1),
            dtype=dtype,
        )
