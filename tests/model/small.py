"""A generator small enough for every test, with a memory that says something."""

from __future__ import annotations

from dataclasses import replace

import torch

from model.config import GeneratorConfig, MemoryConfig
from model.generator import Generator

CONFIG = GeneratorConfig(
    patch_size=32,
    field_size=(1.3, 1.0),
    level_range=(0.0, 5.0),
    widths=(24, 16, 8),
    waves_per_octave=6,
    w_dim=16,
    memory=MemoryConfig(resolutions=(9.0, 18.0, 36.0, 72.0), features=4),
)


def small_generator(seed: int = 0, **changes: object) -> Generator:
    """An untrained generator whose features, levels and memory all reach the image."""
    generator = Generator(replace(CONFIG, **changes), seed)  # type: ignore[arg-type]
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if "memory.grids" in name:
                parameter.normal_(0, 0.1, generator=rng)
            if "to_rgb" in name and "weight" in name and "affine" not in name:
                parameter.normal_(0, 0.2, generator=rng)
    return generator
