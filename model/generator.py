"""The generator: a pure function of global position, level and latent.

Coarse to fine. Every stage has a lattice anchored in the field (`model.lattice`); it takes the
stage below, upsampled by a Kaiser low-pass, adds the features that its own band can newly hold
(octaves of the base layer, of noise and of Fourier features), and runs valid modulated
convolutions. Each stage also adds to the image. Nothing is padded and nothing is normalised over
pixels or batch, so a window in one go and the same window from tiles agree to rounding.

Source: Karras et al. 2021 (StyleGAN3) for the alias-free layers; Wolski et al. 2024 for Fourier
features over layers and scales. Differs: features are added, not concatenated; valid convolutions
with exact spans instead of a margin; the level is a style of every layer; a base layer; noise that
is fixed in the field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

import numpy as np
import torch
from torch import nn

from kernels.upfirdn2d import upfirdn2d
from model.base_layer import BaseLayer
from model.config import GeneratorConfig
from model.filters import kaiser_lowpass
from model.fourier_input import FourierInput
from model.lattice import Span, StageSpans, coordinates, lattices_of, stage_spans
from model.layers import Mapping, ModulatedConv, SynthesisConv
from model.noise_input import NoiseInput
from model.scale import density
from model.space import Window, check_batch

FEATURE_GAIN = 4.0
"""Brings octaves of the base layer, of about 0.1, near unit power."""


Synthesize: TypeAlias = "Callable[[Sequence[Place], Sequence[Heard], torch.Tensor], torch.Tensor]"
"""See `Generator.synthesize`."""


class Stage(nn.Module):
    """One density: features in, two streams out (features and image)."""

    def __init__(self, config: GeneratorConfig, index: int, fir: torch.Tensor) -> None:
        super().__init__()
        self.width = width = config.widths[index]
        below = config.widths[index - 1] if index else width
        self.narrow = (
            ModulatedConv(below, width, 1, config.style_dim, demodulate=True) if index else None
        )
        self.base = nn.Parameter(torch.randn(3, width) * 0.25) if config.base else None
        self.convs = nn.ModuleList(
            SynthesisConv(width, width, config.style_dim, config.nonlinearity_oversampling, fir)
            for _ in range(config.convs_per_stage)
        )
        self.to_rgb = ModulatedConv(width, 3, 1, config.style_dim, demodulate=False)
        nn.init.normal_(self.to_rgb.weight, std=0.05 / width**0.5)
        self.rgb_bias = nn.Parameter(torch.zeros(3))


class Generator(nn.Module):
    """Renders batches of windows that share a level. See the module docstring."""

    fir: torch.Tensor

    def __init__(self, config: GeneratorConfig, seed: int = 0) -> None:
        """New weights from `seed`."""
        super().__init__()
        self.config = config
        self.breathe: Callable[[], object] = _go_on
        """Called between parts of what is heard, which no layer makes; see `model.breathing`."""
        fir = kaiser_lowpass(config.filter_taps)
        self.register_buffer("fir", fir, persistent=False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.mapping = Mapping(
                config.z_dim, config.w_dim, config.level_range, config.scene_features
            )
            self.fourier = FourierInput(config, seed) if config.waves_per_octave else None
            self.noise = NoiseInput(config) if config.noise_features else None
            self.base = BaseLayer(config.field_size) if config.base else None
            self.stages = nn.ModuleList(Stage(config, i, fir) for i in range(len(config.widths)))
        self.to(memory_format=torch.channels_last)

    @property
    def device(self) -> torch.device:
        return self.fir.device

    @property
    def alignment(self) -> int:
        """Pixels of the coarsest stage's lattice: windows of one batch agree modulo this."""
        return 1 << (len(self.config.widths) - 1)

    def alignments(self, windows: Sequence[Window]) -> list[tuple[int, int]]:
        """Positions of `windows` on the coarsest lattice; equal ones can share a batch."""
        (x, _), (y, _) = self._lattices(windows)
        return list(zip((x % self.alignment).tolist(), (y % self.alignment).tolist(), strict=True))

    def _lattices(
        self, windows: Sequence[Window]
    ) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """First pixels and phases of `windows` of one level, along x and along y."""
        d = density(windows[0].level, self.config.patch_size)
        return (
            lattices_of([w.origin_xy[0] for w in windows], d),
            lattices_of([w.origin_xy[1] for w in windows], d),
        )

    def forward(
        self,
        windows: Sequence[Window],
        z: torch.Tensor | None = None,
        dtype: torch.dtype = torch.float32,
        w: torch.Tensor | None = None,
        synthesize: Synthesize | None = None,
    ) -> torch.Tensor:
        """Render windows of one level and size.

        Args:
            windows: N windows that share level, size and their position modulo `alignment`.
            z: Latents, float32 [N, z_dim]; None where the scene is single.
            dtype: Of the convolutions; the image is summed in float32.
            w: Style, float32 [1 or N, style_dim], in place of what the mapping makes of `z`.
            synthesize: In place of the method of that name.

        Returns:
            float32 [N, 3, H, W], not clamped.

        Raises:
            ValueError: The windows cannot share a batch.
        """
        check_batch(windows)
        if len(set(self.alignments(windows))) > 1:
            raise ValueError(
                f"windows of one batch must agree modulo {self.alignment} pixels; "
                "group them by Generator.alignments."
            )
        places = self._places(windows)
        w = self.mapping(windows[0].level, z) if w is None else w
        heard = self._hear(places, self._scene(w), dtype)
        return (synthesize or self.synthesize)(places, heard, w)

    def synthesize(
        self, places: Sequence[Place], heard: Sequence[Heard], w: torch.Tensor
    ) -> torch.Tensor:
        """What the layers make of what is heard: the same operations for every place and level.

        Args:
            places: Where every stage lies, coarsest first; only how they lie to each other counts.
            heard: At every stage.
            w: Style, float32 [1 or N, style_dim].

        Returns:
            float32 [N, 3, H, W].
        """
        h: torch.Tensor | None = None
        image: torch.Tensor | None = None
        below: Place | None = None
        for stage, here, entering in zip(self.stages, places, heard, strict=True):
            x = self._enter(cast(Stage, stage), here, below, entering, h, w)
            for conv in cast(Stage, stage).convs:
                x = conv(x, w)
            image = self._add_image(cast(Stage, stage), here, below, entering, x, image, w)
            h, below = x, here
        return cast(torch.Tensor, image)

    def _scene(self, w: torch.Tensor) -> _Scene | None:
        """What a style says of the noise and the waves, where there are many scenes."""
        if not self.config.scene_features:
            return None
        which = w.detach()[:, self.config.w_dim :]
        return _Scene(which, self.noise.tables_of(which) if self.noise else None)

    def _places(self, windows: Sequence[Window]) -> list[Place]:
        """Where every stage lies, coarsest first."""
        config, n = self.config, len(self.config.widths)
        margin = config.convs_per_stage * SynthesisConv.margin(
            config.nonlinearity_oversampling, config.filter_taps
        )

        def spans(first: int, size: int) -> list[StageSpans]:
            return stage_spans(Span(first, first + size), n, margin, config.filter_taps)

        d = density(windows[0].level, config.patch_size)
        (first_x, phase_x), (first_y, phase_y) = self._lattices(windows)
        spans_x = spans(int(first_x[0]), windows[0].width)
        spans_y = spans(int(first_y[0]), windows[0].height)

        def centres(
            entry: Span, firsts: np.ndarray, phases: np.ndarray, stage: int
        ) -> torch.Tensor:
            # The windows agree modulo the coarsest pixels: each one's spans are the first one's,
            # moved by whole pixels of every stage.
            begins = entry.begin + ((firsts - firsts[0]) >> stage)
            return coordinates(begins, phases, entry.size, stage, d)

        return [
            Place(
                stage=n - 1 - k,
                x=spans_x[k],
                y=spans_y[k],
                xs=centres(spans_x[k].entry, first_x, phase_x, k),
                ys=centres(spans_y[k].entry, first_y, phase_y, k),
                density=d / 2**k,
            )
            for k in reversed(range(n))
        ]

    def _hear(
        self, places: Sequence[Place], scene: _Scene | None, dtype: torch.dtype
    ) -> list[Heard]:
        """What every stage newly hears: octaves of the base layer, of noise and of waves."""
        octaves = self._octaves(places)
        plans = [self.noise.speaking(p.stage, p.density) if self.noise else {} for p in places]
        waves = [self.fourier.speaking(p.stage, p.density) if self.fourier else {} for p in places]
        lattices: list[torch.Tensor] = []
        for here, bands, some in zip(places, plans, waves, strict=True):
            for band in bands:
                lattices += cast(NoiseInput, self.noise).nodes(band, here.xs, here.ys)
            lattices += [here.xs, here.ys] if some else []
        moved = iter(_moved(lattices, self.device))
        heard = []
        tables = None if scene is None else scene.tables
        for number, here in enumerate(places):
            maps = [] if octaves is None else [octaves[number][0].permute(0, 2, 3, 1)]
            mixes = [] if octaves is None else [self._base_mix(number)]
            for band, weight in plans[number].items():
                noise = cast(NoiseInput, self.noise)
                maps.append(noise.read(next(moved), next(moved), weight, tables))
                mixes.append(noise.mix[here.stage][band])
                self.breathe()
            heard.append(
                Heard(
                    features=torch.cat([m.to(dtype) for m in maps], 3) if maps else None,
                    mix=torch.cat(mixes).to(dtype) if mixes else None,
                    waves=self._waves(here, waves[number], moved, scene, dtype),
                    picture=None if octaves is None else octaves[number][1],
                    dtype=dtype,
                )
            )
        return heard

    def _octaves(
        self, places: Sequence[Place]
    ) -> list[tuple[torch.Tensor, torch.Tensor | None]] | None:
        """What the base layer newly says at every stage, and, at the finest, all of it."""
        if self.base is None:
            return None
        octaves: list[tuple[torch.Tensor, torch.Tensor | None]] = []
        known: torch.Tensor | None = None
        below: Place | None = None
        for here in places:
            picture = octave = self.base.read(here.xs, here.ys, here.density)
            if known is not None and below is not None:
                coarser = _crop(known, below.x.entry, below.x.exit, below.y.entry, below.y.exit)
                octave = picture - self._upsample(
                    coarser, below.x.exit, here.x.entry, below.y.exit, here.y.entry
                )
            octaves.append((octave, picture if here.stage == len(places) - 1 else None))
            self.breathe()
            known, below = picture, here
        return octaves

    def _base_mix(self, number: int) -> torch.Tensor:
        """The base layer's octave into the channels of a stage, [3, width]."""
        mix = cast(torch.Tensor, cast(Stage, self.stages[number]).base)
        return mix if number == 0 else mix * FEATURE_GAIN

    def _waves(
        self,
        here: Place,
        weights: dict[int, float],
        moved: Iterator[torch.Tensor],
        scene: _Scene | None,
        dtype: torch.dtype,
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The waves that speak at a stage, as two factors; `moved` gives their coordinates."""
        if self.fourier is None or not weights:
            return None
        which = None if scene is None else scene.which
        xs, ys = next(moved), next(moved)
        return self.fourier.factors(here.stage, xs, ys, weights, dtype, which)

    def _enter(
        self,
        stage: Stage,
        here: Place,
        below: Place | None,
        heard: Heard,
        h: torch.Tensor | None,
        w: torch.Tensor,
    ) -> torch.Tensor:
        """What enters a stage: what its band newly holds, and the stage below on this lattice."""
        n, height, width = len(here.xs), here.y.entry.size, here.x.entry.size
        if h is not None and below is not None and stage.narrow is not None:
            h = self._upsample(
                stage.narrow(h, w), below.x.exit, here.x.entry, below.y.exit, here.y.entry
            )
            x = h.permute(0, 2, 3, 1).reshape(n, height, width * stage.width)
        else:
            shape = (n, height, width * stage.width)
            x = torch.zeros(shape, dtype=heard.dtype, device=self.device)
        heard.add_to(x)
        return x.view(n, height, width, stage.width).permute(0, 3, 1, 2)

    def _add_image(
        self,
        stage: Stage,
        here: Place,
        below: Place | None,
        heard: Heard,
        x: torch.Tensor,
        image: torch.Tensor | None,
        w: torch.Tensor,
    ) -> torch.Tensor:
        """The image so far, on this stage's lattice, with what the stage adds; float32."""
        # Cut after the layer: what is cut before it gets a gradient in another memory order than
        # what goes on to the next stage, and to add the two costs more than these few pixels.
        rgb = _crop(stage.to_rgb(x, w), here.x.exit, here.x.image, here.y.exit, here.y.image)
        rgb = rgb.float() + stage.rgb_bias.view(1, 3, 1, 1)
        if image is not None and below is not None:
            rgb = rgb + self._upsample(
                image, below.x.image, here.x.image, below.y.image, here.y.image
            )
        if heard.picture is not None:
            # Its octaves add up to itself: what the stages make is what it lacks.
            rgb = rgb + _crop(heard.picture, here.x.entry, here.x.image, here.y.entry, here.y.image)
        return rgb

    def _upsample(
        self, x: torch.Tensor, from_x: Span, to_x: Span, from_y: Span, to_y: Span
    ) -> torch.Tensor:
        """Twice the density: pixels `from` of one lattice to pixels `to` of the next finer one."""
        taps = self.config.filter_taps

        def edges(source: Span, target: Span) -> tuple[int, int]:
            first = 2 * source.begin + taps - target.begin
            return first, target.size - 2 * source.size - first + 2 * taps - 1

        return upfirdn2d(
            x, self.fir, up=2, padding=(*edges(from_x, to_x), *edges(from_y, to_y)), gain=4.0
        )


@dataclass(frozen=True)
class Place:
    """Where one stage of a batch lies."""

    stage: int
    """Coarsest 0."""
    x: StageSpans
    """Columns of the first window; those of the others are as many."""
    y: StageSpans
    xs: torch.Tensor
    """Columns of the stage's entry, float64 [N, W] on the CPU, field units."""
    ys: torch.Tensor
    """Rows, float64 [N, H]."""
    density: float
    """Stage pixels per field unit."""


@dataclass(frozen=True)
class _Scene:
    """Of many scenes, those of a batch."""

    which: torch.Tensor
    """[1 or N, scene_features]."""
    tables: torch.Tensor | None
    """Their noise; see `NoiseInput.tables_of`."""


@dataclass(frozen=True)
class Heard:
    """What enters one stage of a batch besides the stage below."""

    features: torch.Tensor | None
    """The base layer's octave, and octaves of noise, each times its weight: [N, H, W, F]."""
    mix: torch.Tensor | None
    """Into the stage's channels, [F, width]."""
    waves: tuple[torch.Tensor, torch.Tensor] | None
    """Mixed into channels, as two factors: [N, H, K] and [N, K, W * width]."""
    picture: torch.Tensor | None
    """At the finest stage the base layer itself, float32 [N, 3, H, W]."""
    dtype: torch.dtype
    """Of the convolutions."""
    total: torch.Tensor | None = None
    """In place of features, mix and waves what they come to, [N, H, W * width]."""

    def add_to(self, x: torch.Tensor) -> None:
        """Add all that is heard to features [N, H, W * width], which must be fresh: sums go in
        place, because passes over memory are what costs a CPU here."""
        if self.total is not None:
            x.add_(self.total)
        if self.waves is not None:
            x.baddbmm_(*self.waves)
        if self.features is not None and self.mix is not None:
            n, _, _, count = self.features.shape
            x.view(n, -1, self.mix.shape[1]).baddbmm_(
                self.features.view(n, -1, count), self.mix.expand(n, -1, -1)
            )

    def totalled(self, width: int) -> Heard:
        """The same as one sum into `width` channels: of one shape, whatever is heard at a level."""
        tensors = [t for t in (self.features, *(self.waves or ())) if t is not None]
        if not tensors:
            return self
        n, rows = tensors[0].shape[:2]
        columns = self.features.shape[2] if self.features is not None else 0
        columns = columns or tensors[-1].shape[2] // width
        total = tensors[0].new_zeros(n, rows, columns * width)
        self.add_to(total)
        return replace(self, features=None, mix=None, waves=None, total=total)


def _go_on() -> None:
    """Nobody needs the cores more."""


def _moved(tensors: Sequence[torch.Tensor], device: torch.device) -> Sequence[torch.Tensor]:
    """Tensors of one dtype on a device, sent in one piece: many small copies cost more than it."""
    if device.type == "cpu" or not tensors:
        return tensors
    sent = torch.cat([t.flatten() for t in tensors]).to(device, non_blocking=True)
    parts = sent.split([t.numel() for t in tensors])
    return [part.view(t.shape) for part, t in zip(parts, tensors, strict=True)]


def _crop(x: torch.Tensor, from_x: Span, to_x: Span, from_y: Span, to_y: Span) -> torch.Tensor:
    """Pixels `to` of a map [N, C, H, W] that holds pixels `from`."""
    left, top = to_x.begin - from_x.begin, to_y.begin - from_y.begin
    return x[:, :, top : top + to_y.size, left : left + to_x.size]
