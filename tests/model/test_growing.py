"""A generator that grows shows what it showed, and has something to say beyond."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from model.generator import Generator
from model.growing import grown, with_fewer_waves
from model.metrics.spectrum import high_band_power
from model.scale import density
from model.space import Window
from tests.model.small import CONFIG, small_generator

WITHOUT = replace(
    CONFIG, base=None, level_range=(0.0, 2.0), noise_bands=2, noise_cutoff=1.0, wave_stages=1
)


def generator_density(level: float) -> float:
    """Of the coarsest stage, pixels per field unit."""
    return density(level, WITHOUT.patch_size) / 2 ** (len(WITHOUT.widths) - 1)


def picture(generator: Generator, level: float) -> torch.Tensor:
    with torch.inference_mode():
        return generator([Window((-0.25, -0.125), level, 32, 32)], None)


def test_it_shows_what_it_showed_and_goes_on_with_the_same_paint() -> None:
    coarse = Generator(WITHOUT, 3).eval()
    before = {name: tensor.clone() for name, tensor in coarse.state_dict().items()}
    fine = grown(coarse, 4.0, 5).eval()
    assert fine.config == replace(WITHOUT, level_range=(0.0, 4.0))
    for level in (0.0, 0.7, 1.5, 2.0):
        old, new = picture(coarse, level), picture(fine, level)
        other = picture(Generator(fine.config, 5).eval(), level)
        assert (new - old).square().mean() < 1e-3 * (other - old).square().mean()
    known, beyond = picture(coarse, 2.0), picture(fine, 3.6)
    assert 0.2 < high_band_power(beyond) / high_band_power(known) < 5
    assert all(torch.equal(tensor, before[name]) for name, tensor in coarse.state_dict().items())


def test_fewer_waves_change_nothing_where_the_others_are_not_heard() -> None:
    config = replace(WITHOUT, level_range=(0.0, 6.0))
    generator = Generator(config, 3).eval()
    fewer = with_fewer_waves(generator, 4).eval()
    assert fewer.config == replace(config, wave_octaves=4)
    assert fewer.fourier is not None and len(fewer.fourier.mix[0]) == 4
    assert sum(p.numel() for p in fewer.parameters()) < sum(
        p.numel() for p in generator.parameters()
    )
    assert generator.fourier is not None
    for level in (0.0, 1.0, 2.0, 3.0, 4.5, 6.0):
        heard = max(generator.fourier.speaking(0, generator_density(level)))
        same = torch.equal(picture(generator, level), picture(fewer, level))
        assert same == (heard < 4), level
    # And all the lower ones go on to be heard, however deep one is.
    assert list(fewer.fourier.speaking(0, generator_density(6.0))) == [0, 1, 2, 3]


def test_only_what_can_grow_does() -> None:
    with pytest.raises(ValueError, match=r"a base layer, of levels up to 5, for 7"):
        grown(small_generator(), 7.0, 0)
    with pytest.raises(ValueError, match=r"many scenes"):
        grown(Generator(replace(WITHOUT, z_dim=4), 0), 7.0, 0)
    with pytest.raises(ValueError, match=r"levels up to 2, for 2"):
        grown(Generator(WITHOUT, 0), 2.0, 0)
