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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from kernels.upfirdn2d import upfirdn2d
from model.base_layer import BaseLayer
from model.config import GeneratorConfig
from model.filters import kaiser_lowpass
from model.fourier_input import FourierInput
from model.lattice import Span, StageSpans, coordinates, stage_spans
from model.layers import Mapping, ModulatedConv, SynthesisConv
from model.noise_input import NoiseInput
from model.scale import Lattice, density
from model.space import Window, check_batch

FEATURE_GAIN = 4.0
"""Brings octaves of the base layer, of about 0.1, near unit power."""


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

    def lattices(self, windows: Sequence[Window]) -> list[tuple[Lattice, Lattice]]:
        """The (x, y) lattices of `windows`."""
        d = density(windows[0].level, self.config.patch_size)
        return [(Lattice.at(w.origin_xy[0], d), Lattice.at(w.origin_xy[1], d)) for w in windows]

    def alignments(self, windows: Sequence[Window]) -> list[tuple[int, int]]:
        """Positions of `windows` on the coarsest lattice; equal ones can share a batch."""
        a = self.alignment
        return [(x.first % a, y.first % a) for x, y in self.lattices(windows)]

    def forward(
        self,
        windows: Sequence[Window],
        z: torch.Tensor | None = None,
        dtype: torch.dtype = torch.float32,
        w: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Render windows of one level and size.

        Args:
            windows: N windows that share level, size and their position modulo `alignment`.
            z: Latents, float32 [N, z_dim]; None where the scene is single.
            dtype: Of the convolutions; the image is summed in float32.
            w: Style, float32 [1 or N, style_dim], in place of what the mapping makes of `z`.

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
        scene = self._scene(w)
        h: torch.Tensor | None = None
        image: torch.Tensor | None = None
        below: _Place | None = None
        heard: _Heard | None = None
        for stage, here in zip(self.stages, places, strict=True):
            heard = self._hear(cast(Stage, stage), here, below, heard, scene, dtype)
            x = self._enter(cast(Stage, stage), here, below, heard, h, w, scene, dtype)
            for conv in cast(Stage, stage).convs:
                x = conv(x, w)
            image = self._add_image(cast(Stage, stage), here, below, heard, x, image, w)
            h, below = x, here
        return cast(torch.Tensor, image)

    def _scene(self, w: torch.Tensor) -> _Scene | None:
        """What a style says of the noise and the waves, where there are many scenes."""
        if not self.config.scene_features:
            return None
        which = w.detach()[:, self.config.w_dim :]
        return _Scene(which, self.noise.tables_of(which) if self.noise else None)

    def _places(self, windows: Sequence[Window]) -> list[_Place]:
        """Where every stage lies, coarsest first."""
        config, n = self.config, len(self.config.widths)
        margin = config.convs_per_stage * SynthesisConv.margin(
            config.nonlinearity_oversampling, config.filter_taps
        )

        def spans(lattice: Lattice, size: int) -> list[StageSpans]:
            window = Span(lattice.first, lattice.first + size)
            return stage_spans(window, n, margin, config.filter_taps)

        lattices = self.lattices(windows)
        spans_x = [spans(x, windows[0].width) for x, _ in lattices]
        spans_y = [spans(y, windows[0].height) for _, y in lattices]
        d = density(windows[0].level, config.patch_size)
        return [
            _Place(
                stage=n - 1 - k,
                x=spans_x[0][k],
                y=spans_y[0][k],
                xs=coordinates([x for x, _ in lattices], [s[k].entry for s in spans_x], k, d),
                ys=coordinates([y for _, y in lattices], [s[k].entry for s in spans_y], k, d),
                density=d / 2**k,
            )
            for k in reversed(range(n))
        ]

    def _hear(
        self,
        stage: Stage,
        here: _Place,
        below: _Place | None,
        heard_below: _Heard | None,
        scene: _Scene | None,
        dtype: torch.dtype,
    ) -> _Heard | None:
        """What the base layer and the noise newly say at a stage."""
        maps: list[torch.Tensor] = []
        mixes: list[torch.Tensor] = []
        picture: torch.Tensor | None = None
        if self.base is not None and stage.base is not None:
            picture = octave = self.base.read(here.xs, here.ys, here.density)
            if below is not None and heard_below is not None and heard_below.picture is not None:
                known = _crop(
                    heard_below.picture, below.x.entry, below.x.exit, below.y.entry, below.y.exit
                )
                octave = picture - self._upsample(
                    known, below.x.exit, here.x.entry, below.y.exit, here.y.entry
                )
            maps.append(octave.permute(0, 2, 3, 1))
            mixes.append(stage.base if below is None else stage.base * FEATURE_GAIN)
        if self.noise is not None:
            tables = None if scene is None else scene.tables
            for number, weight in self.noise.speaking(here.stage, here.density).items():
                maps.append(self.noise.read(number, here.xs, here.ys, weight, tables))
                mixes.append(self.noise.mix[here.stage][number])
        if not maps:
            return None
        features = torch.cat([part.to(dtype) for part in maps], 3)
        return _Heard(features, torch.cat(mixes).to(dtype), picture)

    def _enter(
        self,
        stage: Stage,
        here: _Place,
        below: _Place | None,
        heard: _Heard | None,
        h: torch.Tensor | None,
        w: torch.Tensor,
        scene: _Scene | None,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        """What enters a stage: what its band newly holds, and the stage below on this lattice."""
        n, height, width = len(here.xs), here.ys.shape[1], here.xs.shape[1]
        if h is not None and below is not None and stage.narrow is not None:
            h = self._upsample(
                stage.narrow(h, w), below.x.exit, here.x.entry, below.y.exit, here.y.entry
            )
            x = h.permute(0, 2, 3, 1).reshape(n, height, width * stage.width)
        else:
            x = torch.zeros(n, height, width * stage.width, dtype=dtype, device=self.device)
        # `x` is fresh: sums go in place, because passes over memory are what costs here.
        waves = self.fourier.speaking(here.stage, here.density) if self.fourier else {}
        if self.fourier and waves:
            which = None if scene is None else scene.which
            x.baddbmm_(*self.fourier.factors(here.stage, here.xs, here.ys, waves, dtype, which))
        if heard is not None:
            x.view(n, height * width, stage.width).baddbmm_(
                heard.features.flatten(1, 2), heard.mix.expand(n, -1, -1)
            )
        return x.view(n, height, width, stage.width).permute(0, 3, 1, 2)

    def _add_image(
        self,
        stage: Stage,
        here: _Place,
        below: _Place | None,
        heard: _Heard | None,
        x: torch.Tensor,
        image: torch.Tensor | None,
        w: torch.Tensor,
    ) -> torch.Tensor:
        """The image so far, on this stage's lattice, with what the stage adds; float32."""
        needed = _crop(x, here.x.exit, here.x.image, here.y.exit, here.y.image)
        rgb = stage.to_rgb(needed, w).float() + stage.rgb_bias.view(1, 3, 1, 1)
        if image is not None and below is not None:
            rgb = rgb + self._upsample(
                image, below.x.image, here.x.image, below.y.image, here.y.image
            )
        picture = None if heard is None else heard.picture
        if picture is not None and here.stage == len(self.stages) - 1:
            # Its octaves add up to itself: what the stages make is what it lacks.
            rgb = rgb + _crop(picture, here.x.entry, here.x.image, here.y.entry, here.y.image)
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
class _Place:
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
class _Heard:
    """What the base layer and octaves of noise say at the pixels of a stage's entry."""

    features: torch.Tensor
    """The base layer's octave, and octaves of noise, each times its weight: [N, H, W, F]."""
    mix: torch.Tensor
    """Into the stage's channels, [F, width]."""
    picture: torch.Tensor | None
    """The base layer at this density, float32 [N, 3, H, W]."""


def _crop(x: torch.Tensor, from_x: Span, to_x: Span, from_y: Span, to_y: Span) -> torch.Tensor:
    """Pixels `to` of a map [N, C, H, W] that holds pixels `from`."""
    left, top = to_x.begin - from_x.begin, to_y.begin - from_y.begin
    return x[:, :, top : top + to_y.size, left : left + to_x.size]
