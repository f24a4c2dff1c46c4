"""The generator: exact tiles, anchored in the field, a level and a latent that matter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from model.checkpoints import header_of
from model.generator import Generator
from model.generator_space import GeneratorSpace
from model.lattice import coordinates, lattices_of
from model.noise_input import CELLS_PER_CYCLE, TABLE, NoiseInput, noise_table
from model.presets import Preset
from model.scale import density
from model.space import ScaleSpace, Window
from model.training_setup import unplaced
from tests.model.small import CONFIG, small_generator


def space_of(generator: Generator, dtype: torch.dtype = torch.float32) -> GeneratorSpace:
    return GeneratorSpace(generator, header_of(generator.config, {}, ""), "test", dtype)


class ZeroPadded:
    """The same space through a zero-padded 3 x 3 average: the control that must show seams."""

    def __init__(self, space: GeneratorSpace) -> None:
        self.space = space

    def render(self, windows: Sequence[Window]) -> torch.Tensor:
        return F.conv2d(self.space.render(windows), torch.ones(3, 1, 3, 3) / 9, padding=1, groups=3)


def worst_seam(space: ScaleSpace | ZeroPadded, windows: int, seed: int) -> float:
    """Largest difference between windows in one go and the same from shuffled tiles."""
    rng = np.random.default_rng(seed)
    worst = 0.0
    for _ in range(windows):
        level = float(rng.uniform(-0.5, 5.5))
        height, width = (int(v) for v in rng.integers(30, 90, 2))
        origin = tuple(rng.uniform(-0.8, 0.5, 2))
        window = Window(origin, level, height, width)
        whole = space.render([window])[0]
        tile = int(rng.choice([16, 23, 40]))
        places = [
            (x, y)
            for y in range(0, height - tile + 1, tile)
            for x in range(0, width - tile + 1, tile)
        ]
        rng.shuffle(places)
        for begin in range(0, len(places), 3):
            batch = places[begin : begin + 3]
            tiles = space.render([window.crop(x, y, tile, tile, 32) for x, y in batch])
            for (x, y), img in zip(batch, tiles, strict=True):
                difference = (img - whole[:, y : y + tile, x : x + tile]).abs().max()
                worst = max(worst, float(difference))
    return worst


@pytest.mark.parametrize("oversampling", [1, 2])
def test_tiles_equal_the_window_and_a_zero_padded_control_does_not(oversampling: int) -> None:
    space = space_of(small_generator(nonlinearity_oversampling=oversampling))
    assert worst_seam(space, 12, seed=1) < 2.5e-5
    assert worst_seam(ZeroPadded(space), 4, seed=1) > 1e-2


def test_tiles_equal_the_window_in_half_precision() -> None:
    space = space_of(small_generator(), torch.bfloat16)
    assert worst_seam(space, 12, seed=2) < 2 / 255


def test_the_picture_is_not_flat_at_any_level() -> None:
    space = space_of(small_generator())
    for level in (0.0, 1.3, 2.5, 4.0, 5.0):
        assert space.render([Window((-0.2, -0.2), level, 32, 32)]).std() > 0.02


def test_a_shift_by_whole_pixels_moves_the_picture() -> None:
    space = space_of(small_generator())
    d = density(2.0, 32)
    here = space.render([Window((0.1, -0.2), 2.0, 40, 40)])
    there = space.render([Window((0.1 + 5 / d, -0.2 + 3 / d), 2.0, 30, 30)])
    torch.testing.assert_close(there, here[:, :, 3:33, 5:35], atol=1e-5, rtol=0)


def test_a_change_of_the_base_layer_stays_near_its_place() -> None:
    generator = small_generator()
    space = space_of(generator)
    level, origin = 3.0, (-0.55, -0.45)
    window = Window(origin, level, 220, 230)
    before = space.render([window])
    base = generator.base
    assert base is not None
    left, top, side = 50, 44, 2
    # All three stages read the picture itself, none its halvings.
    base.mip0[top : top + side, left : left + side] += 100
    change = (space.render([window]) - before).abs().sum((0, 1))
    rows, columns = change.nonzero(as_tuple=True)
    ratio = density(level, 32) / base.density
    x, y = (
        (((first + side / 2) / base.density - size / 2) - begin) * density(level, 32)
        for first, size, begin in zip((left, top), base.field_size, origin, strict=True)
    )
    # Three lobes about a pixel of the picture or of the coarsest stage, and the convolutions.
    reach = ratio * (side / 2 + 1) + 3 * max(ratio, 4) + 2 * (2 * (1 + 2 + 4))
    assert change.max() > 0.01
    assert (rows - y).abs().max() < reach < y < 220 - reach
    assert (columns - x).abs().max() < reach < x < 230 - reach


def test_noise_is_of_one_octave_and_has_no_direction() -> None:
    noise = noise_table(2)
    spectrum = torch.fft.fft2(noise.double(), dim=(0, 1)).abs().square().mean(2)
    at = torch.fft.fftfreq(TABLE, dtype=torch.float64)
    cycles = torch.hypot(at[:, None], at[None]) * CELLS_PER_CYCLE  # 1 at the highest frequency
    inside = (cycles > 0.45) & (cycles < 1.1)
    assert spectrum[inside].sum() > 0.999 * spectrum.sum()
    torch.testing.assert_close(noise.std((0, 1)), torch.ones(2), atol=1e-3, rtol=0)
    along_x = (at.abs()[None] > at.abs()[:, None]) & inside
    assert abs(float(spectrum[along_x].sum() / spectrum[inside].sum()) - 0.5) < 0.03


def test_the_table_is_the_one_that_checkpoints_count_on() -> None:
    known = torch.tensor([0.723518, 0.716994, -0.364697, 1.274035])
    torch.testing.assert_close(noise_table(4)[17, 300], known, atol=1e-5, rtol=0)


def test_noise_stays_at_its_place_at_every_level_and_repeats_far_off_only() -> None:
    """The same points, read on lattices of three densities, hear the same."""
    noise = NoiseInput(CONFIG)
    octave = noise.bands.count - 1
    point = torch.tensor([[0.137]], dtype=torch.float64)
    here = noise.read(*noise.nodes(octave, point, point))
    for step in (0.01, 0.003):
        lattice = point + step * torch.arange(-2, 3, dtype=torch.float64)
        there = noise.read(*noise.nodes(octave, lattice, lattice))
        torch.testing.assert_close(there[:, 2:3, 2:3], here)
    period = TABLE / CELLS_PER_CYCLE / (noise.bands.lowest * 2.0 ** (octave + 1))
    torch.testing.assert_close(
        noise.read(*noise.nodes(octave, point + period, point - period)), here
    )
    assert (noise.read(*noise.nodes(octave, point + period / 3, point)) - here).abs().max() > 0.1


def test_noise_reaches_the_picture() -> None:
    generator = small_generator()
    space, window = space_of(generator), Window((-0.3, -0.2), 3.0, 32, 32)
    before = space.render([window])
    with torch.no_grad():
        for mix in generator.noise.mix:  # type: ignore[union-attr]
            mix.zero_()
    assert (space.render([window]) - before).abs().max() > 0.01


def test_no_wave_and_no_noise_is_finer_than_the_window() -> None:
    generator = small_generator(wave_stages=None)
    assert generator.fourier is not None and generator.noise is not None
    for level in np.linspace(0, 5, 41):
        d = density(float(level), 32)
        for k, stage_density in enumerate((d, d / 2, d / 4)):
            for octave in generator.fourier.speaking(2 - k, stage_density):
                fastest = generator.fourier.freqs[octave].norm(dim=1).max()
                assert fastest <= stage_density / 2
            for octave in generator.noise.speaking(2 - k, stage_density):
                assert generator.noise.bands.lowest * 2 ** (octave + 1) <= stage_density / 2


def test_octaves_of_the_base_layer_add_up_to_it() -> None:
    """Handed over whole, nothing said twice: with silent stages the image is the picture."""
    generator = small_generator()
    for stage in generator.stages:
        torch.nn.init.zeros_(stage.to_rgb.weight)  # type: ignore[union-attr, arg-type]
    window = Window((-0.3, -0.4), 2.3, 60, 70)
    d = density(2.3, 32)
    xs, ys = (
        coordinates(*lattices_of([origin], d), size, 0, d)
        for origin, size in zip(window.origin_xy, (70, 60))
    )
    assert generator.base is not None
    with torch.no_grad():
        torch.testing.assert_close(generator([window]), generator.base.read(xs, ys, d))


@pytest.mark.parametrize("bands", [1, 2])
def test_without_places_noise_is_heard_up_to_what_a_pixel_can_show(bands: int) -> None:
    """So that a finer window has detail to agree with. Every band speaks once, or shared by two."""
    config = replace(unplaced(Preset(CONFIG)).generator, noise_bands=bands)
    noise = Generator(config).noise
    assert noise is not None
    for level in np.linspace(0, 5, 41):
        d = density(float(level), 32)
        said = [noise.speaking(2 - k, d / 2**k) for k in range(3)]
        for k, weights in enumerate(said):
            assert all(noise.bands.top(band) <= d / 2**k / 2 + 1e-6 for band in weights)
        heard = max(noise.bands.top(band) for band in said[0])
        assert heard >= d / 2 * 2 ** -(1 / bands + 0.25)
        for band in range(noise.bands.count):
            total = sum(weights.get(band, 0.0) for weights in said)
            if noise.bands.top(band) * 2**0.25 <= d / 2:
                assert math.isclose(total, 1.0)


def test_the_level_is_a_style_of_the_layers() -> None:
    """The public implementation computes it and never uses it."""
    generator = small_generator()
    window = Window((0.0, 0.0), 2.0, 32, 32)
    before = generator([window])
    with torch.no_grad():
        generator.mapping.dense1.weight *= 1.5
    assert (generator([window]) - before).abs().max() > 1e-3


def test_a_latent_changes_the_picture_and_a_seed_names_it() -> None:
    space = space_of(small_generator(z_dim=4))
    first, second = (space.render([Window((0.0, 0.0), 2.0, 32, 32, seed=seed)]) for seed in (1, 2))
    assert (first - second).abs().max() > 1e-3
    assert torch.equal(first, space.render([Window((0.0, 0.0), 2.0, 32, 32, seed=1)]))


def test_scenes_hear_their_own_noise_and_latents_between_pass_over() -> None:
    noise = small_generator(base=None, z_dim=8, scene_features=8).noise
    assert noise is not None
    scenes = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
    scenes = torch.cat([scenes, (scenes[:1] + 0.05 * scenes[1:2])])
    at = torch.arange(64, dtype=torch.float64)[None] * 0.11
    many = at.expand(len(scenes), -1)
    heard = (
        noise.read(*noise.nodes(2, many, many), tables=noise.tables_of(scenes)).flatten(1).double()
    )
    power = noise.read(*noise.nodes(2, at, at)).double().square().mean().expand(13)
    torch.testing.assert_close(heard.square().mean(1), power, atol=0.1, rtol=0)
    likeness = torch.corrcoef(heard)
    unlike = likeness[:12, :12][~torch.eye(12, dtype=torch.bool)]
    assert unlike.square().mean().sqrt() < 0.45 and unlike.max() < 0.9
    assert likeness[0, 12] > 0.98
    alone = (
        noise.read(*noise.nodes(2, at, at), tables=noise.tables_of(scenes[:1])).flatten(1).double()
    )
    torch.testing.assert_close(alone[0], heard[0], atol=1e-5, rtol=0)


def test_a_scene_is_another_place_for_its_waves() -> None:
    fourier = small_generator(base=None, z_dim=8, scene_features=8, noise_features=0).fourier
    assert fourier is not None
    at = torch.arange(32, dtype=torch.float64)[None] * 0.07
    weights = fourier.speaking(0, 40.0)

    def waves(scene: torch.Tensor) -> torch.Tensor:
        rows, columns = fourier.factors(0, at, at, weights, torch.float32, scene)
        return (rows @ columns).flatten().double()

    g = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    heard = torch.stack([waves(one[None]) for one in (*g, g[0] + 0.02 * g[1])])
    likeness = torch.corrcoef(heard)
    assert likeness[0, 1].abs() < 0.5 and likeness[0, 2].abs() < 0.5 and likeness[0, 3] > 0.98


@pytest.mark.parametrize("scene_features", [0, 4])
def test_many_latents_in_one_batch_equal_single_ones(scene_features: int) -> None:
    """Styles scale the input where they differ, and the weights where there is one."""
    generator = small_generator(z_dim=4, scene_features=scene_features)
    windows = [Window((0.0, 0.0), 2.0, 16, 16)] * 3
    z = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    together = generator(windows, z)
    for i in range(3):
        alone = generator(windows[:1], z[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5, rtol=1e-4)


def test_windows_that_cannot_share_a_batch_are_refused_and_the_space_splits_them() -> None:
    generator = small_generator()
    d = density(2.0, 32)
    windows = [Window((0.0, 0.0), 2.0, 16, 16), Window((1 / d, 0.0), 2.0, 16, 16)]
    with pytest.raises(ValueError, match="modulo 4"):
        generator(windows)
    both = space_of(generator).render(windows)
    torch.testing.assert_close(both[0, :, :, 1:], both[1, :, :, :-1], atol=1e-5, rtol=0)


def test_one_pixel_and_far_outside_the_field() -> None:
    space = space_of(small_generator())
    assert space.render([Window((0.0, 0.0), 3.0, 1, 1)]).shape == (1, 3, 1, 1)
    assert space.render([Window((9.0, -7.0), 3.0, 5, 8)]).isfinite().all()


def test_a_seed_gives_the_same_generator() -> None:
    first, second, other = (small_generator(seed) for seed in (3, 3, 4))
    window = [Window((0.0, 0.0), 2.0, 16, 16)]
    assert torch.equal(first(window), second(window))
    assert not torch.equal(first(window), other(window))
