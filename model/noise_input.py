"""Noise of every octave, fixed in the field: what invented detail hangs on.

Few plane waves beat against each other, and a generator that builds its finest detail on them draws
a lattice. Noise has no such order. It is one seeded table, band-limited to an octave and repeated
without end; every octave of frequency reads it at its own density and from its own origin, and is
handed from stage to stage as Fourier features are, so that the same place hears the same noise at
every level.

Source: the noise inputs of Karras et al. 2019 (StyleGAN). StyleGAN3 gave them up because they stick
to pixels; these stick to the field.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np
import torch
from torch import nn

from kernels.feature_grid import feature_grid
from model.config import GeneratorConfig
from model.fourier_input import OctaveBands
from model.scale import density

TABLE = 512
"""Cells along a side of the table."""
CELLS_PER_CYCLE = 4
"""At the highest frequency: twice what is needed, so that linear interpolation does."""
_SEED = 0
"""Every checkpoint counts on the same table: it comes from the one generator of NumPy that never
changes its numbers (NEP 19)."""
_KEPT = 4
"""Scenes whose tables are kept, a few MB each: tiles of one follow each other."""


def noise_table(features: int, per_octave: int = 1) -> torch.Tensor:
    """Periodic noise of one band and of unit power: float32 [TABLE, TABLE, features].

    A band is an octave, or the highest of so many equal parts of one.
    """
    white = np.random.RandomState(_SEED).standard_normal((TABLE, TABLE, features))
    cycles = np.hypot(np.fft.fftfreq(TABLE)[:, None], np.fft.rfftfreq(TABLE)[None])
    octave = np.log2(np.maximum(cycles, 1 / TABLE) * CELLS_PER_CYCLE)  # 0 at the highest frequency
    # An eighth of an octave of slope on both sides: a sharp edge would ring.
    half = 0.5 / per_octave
    band = np.clip(8 * half + 0.5 - np.abs(octave + half) * 8, 0, 1)
    shaped = np.fft.irfft2(
        np.fft.rfft2(white, axes=(0, 1)) * band[..., None], (TABLE, TABLE), axes=(0, 1)
    )
    return torch.from_numpy((shaped / shaped.std((0, 1))).astype(np.float32))


def noise_bands(config: GeneratorConfig) -> OctaveBands:
    """Of a generator's noise, up to the highest that its finest stage may hear."""
    nyquist = density(config.level_range[1], config.patch_size) / 2
    highest = nyquist * (config.noise_cutoff or config.cutoff)
    count = config.noise_bands * math.log2(highest / config.lowest_frequency)
    return OctaveBands(
        config.lowest_frequency, max(1, math.floor(count)), config.cutoff, config.noise_bands
    )


class NoiseInput(nn.Module):
    """The table, with a mixing matrix into the channels of every stage."""

    table: torch.Tensor

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config, self.bands = config, noise_bands(config)
        features = config.noise_features // config.noise_bands
        # Not stored with the weights: it is the same for every generator, and soon made.
        tables = features * (config.scene_features + 1)
        self.register_buffer("table", noise_table(tables, config.noise_bands), persistent=False)
        self._kept: OrderedDict[bytes, torch.Tensor] = OrderedDict()
        shifts = np.random.RandomState(_SEED + 1).randint(0, TABLE, (self.bands.count, 2))
        self.shifts = [(int(x), int(y)) for x, y in shifts]
        shape = (self.bands.count, features)
        self.mix = nn.ParameterList(
            nn.Parameter(torch.randn(*shape, width) * (0.25 / config.noise_features**0.5))
            for width in config.widths
        )

    def speaking(self, stage: int, pixels_per_unit: float) -> dict[int, float]:
        """Bands that enter at a stage (coarsest 0) of this density, with their weights in (0, 1].

        Each enters at the coarsest stage that can hold it, and the finest stage may hear more: see
        `GeneratorConfig.noise_cutoff`. Beside a base layer the coarsest stage hears its top octave
        only: what is slower is remembered.
        """
        heard = 1 if stage or self.config.base else self.bands.count + 1
        finest = stage == len(self.mix) - 1
        return self.bands.speaking(
            pixels_per_unit, heard, self.config.noise_cutoff if finest else None
        )

    def nodes(
        self, octave: int, xs: torch.Tensor, ys: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Where a lattice lies in the table, as one band reads it.

        Args:
            octave: Which band.
            xs: Column coordinates, float64 [N, W], field units, rising.
            ys: Row coordinates, float64 [N, H], field units, rising.
        """
        per_unit = CELLS_PER_CYCLE * self.bands.top(octave)
        x, y = self.shifts[octave]
        return xs * per_unit + x, ys * per_unit + y

    def read(
        self,
        node_x: torch.Tensor,
        node_y: torch.Tensor,
        weight: float = 1.0,
        tables: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Noise of one band on a lattice.

        Args:
            node_x: Columns of the table, from `nodes`; on any device.
            node_y: Rows of it.
            weight: Factor on it: how far the band speaks.
            tables: From `tables_of`, where there are many scenes.

        Returns:
            float32 [N, H, W, features].
        """
        if tables is None or len(tables) == 1:
            table = self.table if tables is None else tables[0]
            return feature_grid(table, node_x, node_y, periodic=True, weight=weight)
        parts = zip(tables, node_x[:, None], node_y[:, None], strict=True)
        return torch.cat([feature_grid(t, x, y, periodic=True, weight=weight) for t, x, y in parts])

    def tables_of(self, scene: torch.Tensor) -> torch.Tensor:
        """What scenes hear: mixtures of the tables, unlike for unlike latents.

        Mixtures keep unit power, and those of latents in between pass over smoothly.

        Args:
            scene: Which, [1 or N, scene_features].

        Returns:
            float32 [1 or N, TABLE, TABLE, features].
        """
        if scene.device.type != "cpu" or len(scene) > 1:
            return self._mixed(scene)
        key = scene.float().numpy().tobytes()
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = self._mixed(scene)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return kept

    def _mixed(self, scene: torch.Tensor) -> torch.Tensor:
        share = torch.cat([scene.float(), torch.ones_like(scene[:, :1], dtype=torch.float32)], 1)
        share = share / share.norm(dim=1, keepdim=True)
        tables = self.table.view(TABLE * TABLE, share.shape[1], -1)
        return torch.einsum("ns,ksf->nkf", share, tables).view(len(share), TABLE, TABLE, -1)
