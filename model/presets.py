"""Named recipes: sizes of the networks for the machine at hand. Same code."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from model.config import (
    BaseConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    LossConfig,
    TrainConfig,
)
from model.scale import density


@dataclass(frozen=True)
class Preset:
    """Everything that a run needs but its data."""

    generator: GeneratorConfig
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def for_field(
        self, field_size: tuple[float, float], level_range: tuple[float, float]
    ) -> Preset:
        """The preset for a scene: its field, its levels, and a base layer no finer than the scene.

        Beside a base layer there are no waves: it tells one place from another, and detail
        that is invented from noise shows no lattice.
        """
        base, waves = self.generator.base, self.generator.waves_per_octave
        if base is not None:
            finest = density(level_range[1], self.generator.patch_size)
            base, waves = replace(base, density=min(base.density, finest)), 0
        generator = replace(
            self.generator,
            field_size=field_size,
            level_range=level_range,
            base=base,
            waves_per_octave=waves,
        )
        return replace(self, generator=generator)


PRESETS: dict[str, Preset] = {
    # Real time on two CPU cores.
    "laptop": Preset(GeneratorConfig(base=BaseConfig())),
    # One GPU.
    "studio": Preset(
        GeneratorConfig(
            widths=(256, 192, 128, 64),
            w_dim=256,
            nonlinearity_oversampling=2,
            filter_taps=6,
            base=BaseConfig(),
        ),
        DiscriminatorConfig(widths=(96, 192, 256, 256)),
        train=TrainConfig(minutes=60, group_size=16, groups=8),
    ),
    # As published: 256-px patches, Fourier features alone, the filtered nonlinearity.
    "paper": Preset(
        GeneratorConfig(
            patch_size=256,
            widths=(512, 512, 384, 256, 128),
            waves_per_octave=128,
            wave_stages=None,
            noise_features=0,
            z_dim=512,
            w_dim=512,
            nonlinearity_oversampling=2,
            filter_taps=6,
        ),
        DiscriminatorConfig(widths=(96, 192, 256, 384, 512, 512)),
        train=TrainConfig(minutes=60 * 24, group_size=4, groups=8),
    ),
}
