"""A generator small enough for every test, with a base layer that says something."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from model.base_layer import BaseLayer
from model.config import BaseConfig, DiscriminatorConfig, GeneratorConfig, LossConfig, TrainConfig
from model.generator import Generator
from model.presets import Preset
from model.pyramid import ImagePyramid
from model.scale import density
from model.space import Window

BASE = BaseConfig(density=100.0, max_bytes=1 << 16)
CONFIG = GeneratorConfig(
    patch_size=32,
    field_size=(1.3, 1.0),
    level_range=(0.0, 5.0),
    widths=(24, 16, 8),
    waves_per_octave=6,
    w_dim=16,
    base=BASE,
)


class Octaves:
    """A picture with detail at every octave, by its formula."""

    identity, patch_size, level_range = "octaves", CONFIG.patch_size, CONFIG.level_range

    def __init__(self, field_size: tuple[float, float] = CONFIG.field_size) -> None:
        self.field_size = field_size

    def render(self, windows: Sequence[Window]) -> torch.Tensor:
        return torch.stack([self._picture(window) for window in windows])

    def _picture(self, window: Window) -> torch.Tensor:
        d = density(window.level, self.patch_size)
        x = window.origin_xy[0] + (torch.arange(window.width) + 0.5) / d
        y = window.origin_xy[1] + (torch.arange(window.height)[:, None] + 0.5) / d
        turns = [1.4 * 2**k * (x * math.cos(k) + y * math.sin(k)) for k in range(6)]
        channels = [
            sum(torch.sin(2 * math.pi * t + c * k) for k, t in enumerate(turns)) for c in (1, 2, 3)
        ]
        return torch.stack(channels) / 8  # type: ignore[arg-type]


def small_base(field_size: tuple[float, float] = CONFIG.field_size) -> BaseLayer:
    """A base layer of `Octaves`."""
    return BaseLayer.of(Octaves(field_size), BASE.density, BASE.max_bytes)


def small_generator(seed: int = 0, **changes: object) -> Generator:
    """An untrained generator whose features, levels and base layer all reach the image."""
    generator = Generator(replace(CONFIG, **changes), seed)  # type: ignore[arg-type]
    if generator.base is not None:
        generator.base = small_base(generator.config.field_size)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if "to_rgb" in name and "weight" in name and "affine" not in name:
                parameter.normal_(0, 0.05, generator=rng)
    return generator


TRAIN = TrainConfig(kimg=0.08, adversarial_start=0.5, group_size=4, groups=2, autosave_seconds=0.2)
LOSS = LossConfig(
    adversarial_from=2.0,
    adversarial_full=3.0,
    full_until=2.0,
    full_none_from=4.0,
    remembered_level=2.0,
)


def small_preset(pyramid: ImagePyramid, train: TrainConfig = TRAIN) -> Preset:
    """Of small networks, for levels 0 to 4 of `pyramid`."""
    preset = Preset(CONFIG, DiscriminatorConfig(widths=(8, 12, 16)), LOSS, train)
    return preset.for_field(pyramid.field_size, (0.0, 4.0))
