"""Frozen configurations of the networks and of training, as they go into every checkpoint."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
AUGMENTATIONS = ("color", "translation", "cutout")
"""Kinds of augmentation, in the order in which they are applied; see `model.augment`."""


@dataclass(frozen=True)
class BaseConfig:
    """The coded picture that a file remembers; see `model.base_layer`."""

    density: float = 64 * 2**6.75
    """Pixels per field unit, at most: a coarser scene has a coarser picture."""
    max_bytes: int = 14_800_000
    """What it takes at most: a file of 16 MiB less the network and the preview."""


@dataclass(frozen=True)
class GeneratorConfig:
    """Everything that fixes the shape of a generator."""

    patch_size: int = 64
    """Pixels; level 0 shows `patch_size` pixels per field unit."""
    field_size: tuple[float, float] = (1.0, 1.0)
    """Width and height, field units; the shorter is 1."""
    level_range: tuple[float, float] = (0.0, 8.0)
    """Octaves."""
    widths: tuple[int, ...] = (96, 80, 64, 32)
    """Channels a stage, coarsest lattice first; each next stage doubles the density."""
    convs_per_stage: int = 2
    """3 x 3 convolutions a stage."""
    nonlinearity_oversampling: int = 1
    """1 or 2: sampling rate of the leaky ReLU over that of its layer (StyleGAN3 uses 2)."""
    filter_taps: int = 4
    """Taps a phase of the Kaiser resampling filters; even. StyleGAN3 uses 6."""
    cutoff: float = 0.75
    """Highest frequency of waves and noise at a layer over its Nyquist frequency; below 1 is
    non-critical."""
    waves_per_octave: int = 48
    """Fourier features an octave; 0: none, beside a base layer (see `Preset.for_field`)."""
    wave_stages: int | None = 1
    """Stages that hear Fourier features, coarsest first; None: all, as the paper has it. Detail
    that is invented from waves comes out as a lattice where they are few."""
    wave_octaves: int | None = None
    """Octaves of Fourier features, from the lowest up; None: all that the finest level can hold.
    Where only the coarsest stage hears waves, one that enters at a level is shown by the octave
    below too, which does not hear it: the two cannot agree there."""
    noise_features: int = 4
    """Features of seeded noise an octave, fixed in the field; 0: none."""
    noise_bands: int = 1
    """Bands into which an octave of noise is split, each heard as soon as a layer can hold it; they
    share the features."""
    noise_cutoff: float | None = None
    """Highest frequency of noise at the finest layer over its Nyquist frequency; None: `cutoff`.
    What a window shows above it, a finer window about the same place cannot agree with."""
    lowest_frequency: float = 0.5
    """Cycles per field unit."""
    z_dim: int = 0
    """Components of the latent; 0 for a single scene."""
    w_dim: int = 64
    """Components of the style that the mapping makes of level and latent."""
    scene_features: int = 0
    """Many scenes: components of the latent that also say which noise a scene hears, and where its
    waves begin. 0: all latents hear the same, and differ by style alone."""
    base: BaseConfig | None = None
    """None: Fourier features alone tell one place from another, as in the paper."""

    def __post_init__(self) -> None:
        if self.nonlinearity_oversampling not in (1, 2):
            raise ValueError(
                f"nonlinearity_oversampling must be 1 or 2, got {self.nonlinearity_oversampling}."
            )
        if self.filter_taps < 2 or self.filter_taps % 2:
            raise ValueError(f"filter_taps must be even and at least 2, got {self.filter_taps}.")
        if not self.widths or min(self.widths) < 1:
            raise ValueError(f"widths must name at least one positive width, got {self.widths}.")
        if abs(min(self.field_size) - 1) > 1e-6:
            raise ValueError(f"the shorter side of field_size must be 1, got {self.field_size}.")
        if self.level_range[1] <= self.level_range[0]:
            raise ValueError(f"level_range must rise, got {self.level_range}.")
        if not 0 <= self.scene_features <= self.z_dim:
            raise ValueError(
                f"scene_features must lie between 0 and z_dim, {self.z_dim}, got "
                f"{self.scene_features}."
            )
        for name in ("wave_stages", "wave_octaves"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise ValueError(f"{name} must be 1 or more, or None, got {number}.")
        if self.noise_bands < 1 or self.noise_features % self.noise_bands:
            raise ValueError(
                "noise_bands must be 1 or more and divide noise_features, got "
                f"{self.noise_bands} and {self.noise_features}."
            )
        if self.noise_cutoff is not None and not self.cutoff <= self.noise_cutoff <= 1:
            raise ValueError(
                f"noise_cutoff must lie between cutoff, {self.cutoff}, and 1, got "
                f"{self.noise_cutoff}."
            )
        if self.base is None and self.waves_per_octave < 1:
            raise ValueError(
                "a generator that remembers nothing tells one place from another by its waves: "
                f"waves_per_octave must be at least 1, got {self.waves_per_octave}."
            )

    @property
    def style_dim(self) -> int:
        """Components of the style that a layer is given."""
        return self.w_dim + self.scene_features


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Shape of the discriminator."""

    stem: int = 2
    """Pixels folded into channels by the stem (space to depth), along each axis."""
    widths: tuple[int, ...] = (48, 96, 128, 128)
    """Channels a stage; each next stage halves the density."""
    compared: int = 0
    """Images of one batch whose spread is told to the discriminator, so that it sees when all are
    alike; 0: it judges each by itself. Told so, it won for good after some 15,000 windows."""
    detail_gain: float = 1.0
    """How many times as strong as it is the discriminator sees detail: what a quarter of a patch's
    density cannot hold. Detail is weak, and a penalised gradient sees what is strong."""


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss terms, and the levels at which each speaks."""

    adversarial: str = "relativistic"
    """'relativistic' or 'logistic'."""
    adversarial_weight: float = 0.5
    """RMS of the adversarial gradient at the generator's output over that of the reconstruction,
    for data with places; contrast, neighbourhoods and consistency are weighed against it."""
    discriminator_weight: float = 1.0
    """How loud the discriminator alone speaks, against contrast, neighbourhoods and consistency.
    Its gradient is another in every pixel and theirs are not: of equal RMS at the generator's
    output it moves the weights several times less."""
    adversarial_from: float = 5.0
    """Level where the adversarial term begins."""
    adversarial_full: float = 6.5
    """Level from which it has its full weight. What lies below is remembered: held against a finer
    level for consistency, it never gives way."""
    full_until: float = 6.5
    """Level up to which reconstruction compares single pixels with full weight."""
    full_none_from: float = 7.75
    """Level from which it compares low-passed images only: above, detail is invented."""
    remembered_level: float = 6.25
    """Density of the low-passed comparison, as a level: what is remembered well."""
    consistency_weight: float = 1.0
    """RMS of the consistency gradient at the generator's output over that of the adversarial one,
    for data without places, where the finer window gives way and not a pixel is right (the coarser
    one: 1.6 times that an octave apart, and more beyond); 0 switches it off."""
    invented_consistency_weight: float = 2.25
    """The same for a registered picture, where the adversarial term speaks: what is remembered
    agrees with itself, and what is invented has to."""
    consistency_start: float = 0.1
    """Share of the run over which it comes in."""
    moments_weight: float = 3.0
    """A third of the RMS of the gradient at the generator's output, over that of the adversarial
    one, where the bands of generated windows are a neper too strong or too weak; 0 switches it off.
    See `model.band_moments`."""
    marginals_weight: float = 0.0
    """That RMS where small neighbourhoods are a standard deviation off, along random directions;
    0 switches it off. See `model.marginals`."""
    marginals_energies: bool = False
    """Whether neighbourhoods are also compared by the energies of waves in them, and by how those
    depend on each other. One round with it was no better (`docs/experiments.md`)."""
    moments_start: float = 0.0
    """Share of the run that is over when these two come in, within a twentieth."""
    r1_gamma: float = 1.0
    """Weight of the gradient penalty on real images."""
    r2_gamma: float = 1.0
    """Weight of the gradient penalty on generated images."""
    penalty_interval: int = 4
    """Discriminator steps from one gradient penalty to the next; the weight makes up for it."""

    def __post_init__(self) -> None:
        if self.adversarial not in ("relativistic", "logistic"):
            raise ValueError(
                f"adversarial must be 'relativistic' or 'logistic', got {self.adversarial!r}."
            )
        if self.full_none_from <= self.full_until or self.adversarial_full <= self.adversarial_from:
            raise ValueError(
                "full_none_from must lie above full_until, and adversarial_full above "
                f"adversarial_from, got {self.full_none_from}, {self.full_until}, "
                f"{self.adversarial_full}, {self.adversarial_from}."
            )


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    minutes: float = 30.0
    """Wall-clock budget; schedules run over it."""
    kimg: float | None = None
    """Thousands of windows after which to stop; None: `minutes` alone decides."""
    adversarial_start: float = 0.15
    """Share of the run after which the discriminator joins; 1: never."""
    coarse_first: float = 8.0
    """Without places: how many times as often as the finest octave the coarsest is drawn at the
    start; levels out over `coarse_until`, and stays level."""
    coarse_until: float = 0.4
    """Share of the run."""
    whole_share: float = 0.5
    """Without places: how often the coarsest quarter octave is drawn besides, where a finer octave
    is drawn once in a level schedule."""
    group_size: int = 8
    """Windows of one level that go through the networks together."""
    groups: int = 4
    """Groups (each at its own level) a step."""
    generator_lr: float = 1e-3
    """Adam rate of the generator while only reconstruction speaks."""
    adversarial_generator_lr: float = 3e-4
    """Adam rate of the generator once the discriminator speaks."""
    discriminator_lr: float = 2e-4
    """Adam rate of the discriminator."""
    fall_from: float = 0.8
    """Share of the run after which all rates fall, to a twentieth at its end."""
    warm_up_steps: int = 50
    """Steps over which the rate of the generator rises."""
    mapping_lr_share: float = 0.01
    """Many scenes: rate of the mapping from latents to styles over the generator's. A quick one
    forgets a scene that the discriminator let go for a moment. Source: Karras et al. 2019."""
    augment: str = ""
    """What is done to real and generated images alike before they are judged: some of 'color',
    'translation' and 'cutout', separated by commas. Helps below some 10,000 patches."""
    ema_halflife_kimg: float = 4.0
    """Thousands of windows in which old weights lose half their share of the average."""
    seed: int = 0
    """Seeds weights, places and levels."""
    autosave_seconds: float = 60.0
    """From one resumable state to the next; checkpoints and samples may come less often."""

    def __post_init__(self) -> None:
        parse_policy(self.augment)


def parse_policy(policy: str) -> tuple[str, ...]:
    """The kinds of augmentation that a comma-separated `policy` names, in `AUGMENTATIONS`' order.

    Raises:
        ValueError: One is not known.
    """
    named = [name.strip() for name in policy.split(",") if name.strip()]
    for name in named:
        if name not in AUGMENTATIONS:
            known = ", ".join(AUGMENTATIONS)
            raise ValueError(f"augment must name some of {known}, got {name!r}.")
    return tuple(kind for kind in AUGMENTATIONS if kind in named)


def to_dict(config: Any) -> dict[str, Any]:
    """A frozen config as plain JSON values."""
    return dataclasses.asdict(config)


_FORMER: dict[type, str] = {GeneratorConfig: "memory", TrainConfig: "memory_lr"}
"""Fields that earlier versions wrote, of generators that kept feature grids."""
_BEFORE: dict[type, dict[str, Any]] = {
    GeneratorConfig: {"noise_features": 0, "wave_stages": None},
    LossConfig: {"moments_weight": 0.0},
    TrainConfig: {"whole_share": 0.0},
}
"""What earlier versions did where they wrote no such field: there was no noise, and waves entered
at every stage; contrast was nobody's concern; views of the whole scene came as seldom as others. A
run of before goes on as it was."""


def from_dict(cls: type[T], values: dict[str, Any]) -> T:
    """The config of type `cls` with the fields in `values` (nested dicts and lists allowed).

    Raises:
        ValueError: A key is unknown, and the message names the nearest known one; or the generator
            is one that kept feature grids.
    """
    known = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    kwargs: dict[str, Any] = {}
    if cls is GeneratorConfig and values.get("memory") is not None:
        raise ValueError("it keeps feature grids, where this version expects a base layer")
    for key, value in (_BEFORE.get(cls, {}) | values).items():
        if key == _FORMER.get(cls):
            continue
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else "."
            raise ValueError(f"{cls.__name__} has no field '{key}'{hint}")
        if key == "base" and isinstance(value, dict):
            value = from_dict(BaseConfig, value)
        kwargs[key] = tuple(value) if isinstance(value, list) else value
    return cls(**kwargs)
