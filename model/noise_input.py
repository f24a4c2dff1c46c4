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

import numpy as np
import torch
from torch import nn

from kernels.feature_grid import feature_grid
from model.config import GeneratorConfig
from model.fourier_input import OctaveBands

TABLE = 512
"""Cells along a side of the table."""
CELLS_PER_CYCLE = 4
"""At the highest frequency: twice what is needed, so that linear interpolation does."""
_SEED = 0
"""Every checkpoint counts on the same table: it comes from the one generator of NumPy that never
changes its numbers (NEP 19)."""


def noise_table(features: int) -> torch.Tensor:
    """Periodic noise of one octave and of unit power: float32 [TABLE, TABLE, features]."""
    white = np.random.RandomState(_SEED).standard_normal((TABLE, TABLE, features))
    cycles = np.hypot(np.fft.fftfreq(TABLE)[:, None], np.fft.rfftfreq(TABLE)[None])
    octave = np.log2(np.maximum(cycles, 1 / TABLE) * CELLS_PER_CYCLE)  # 0 at the highest frequency
    # An eighth of an octave of slope on both sides: a sharp edge would ring.
    band = np.clip(4.5 - np.abs(octave + 0.5) * 8, 0, 1)
    shaped = np.fft.irfft2(
        np.fft.rfft2(white, axes=(0, 1)) * band[..., None], (TABLE, TABLE), axes=(0, 1)
    )
    return torch.from_numpy((shaped / shaped.std((0, 1))).astype(np.float32))


class NoiseInput(nn.Module):
    """The table, with a mixing matrix into the channels of every stage."""

    table: torch.Tensor

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config, self.bands = config, OctaveBands.of(config)
        # Not stored with the weights: it is the same for every generator, and soon made.
        self.register_buffer("table", noise_table(config.noise_features), persistent=False)
        shifts = np.random.RandomState(_SEED + 1).randint(0, TABLE, (self.bands.count, 2))
        self.shifts = [(int(x), int(y)) for x, y in shifts]
        shape = (self.bands.count, config.noise_features)
        self.mix = nn.ParameterList(
            nn.Parameter(torch.randn(*shape, width) * (0.25 / config.noise_features**0.5))
            for width in config.widths
        )

    def speaking(self, stage: int, pixels_per_unit: float) -> dict[int, float]:
        """Octaves that enter at a stage (coarsest 0) of this density, with their weights in (0, 1].

        Each enters at the coarsest stage that can hold it. Beside a memory of places the coarsest
        stage hears its top octave only: what is slower is remembered.
        """
        heard = 1 if stage or self.config.knows_places else self.bands.count + 1
        return self.bands.speaking(pixels_per_unit, heard)

    def read(
        self, octave: int, xs: torch.Tensor, ys: torch.Tensor, weight: float = 1.0
    ) -> torch.Tensor:
        """Noise of one octave on a lattice.

        Args:
            octave: Which octave.
            xs: Column coordinates, float64 [N, W], field units, rising.
            ys: Row coordinates, float64 [N, H], field units, rising.
            weight: Factor on it: how far the octave speaks.

        Returns:
            float32 [N, H, W, features].
        """
        density = CELLS_PER_CYCLE * self.bands.lowest * 2.0 ** (octave + 1)
        x, y = self.shifts[octave]
        node_x, node_y = xs * density + x, ys * density + y
        return feature_grid(self.table, node_x, node_y, periodic=True, weight=weight)
