"""More octaves for one scene without a base layer: it goes on as it was, and learns the rest.
And fewer octaves of waves.

Every layer stands on a lattice that is as dense as the window, so that only what is told by octave
has to grow: the inputs, and the style of a level.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from model.config import GeneratorConfig
from model.generator import Generator
from model.layers import Mapping

_FIT_STEPS, _FIT_BATCH, _FIT_RATE = 1500, 128, 3e-3


def can_grow(config: GeneratorConfig) -> bool:
    """Whether `grown` takes such a generator."""
    return config.base is None and not config.z_dim


def grown(coarse: Generator, highest: float, seed: int) -> Generator:
    """A generator of the levels up to `highest`, octaves, that begins as `coarse`.

    What `coarse` shows it shows too, but for the little that a fit leaves. Beyond, a level has the
    style of the finest one that was known, and its inputs are mixed as the finest ones were: paint
    is much like itself an octave further in.

    Args:
        coarse: Of one scene, without a base layer; not changed.
        highest: Above its own level range.
        seed: Of what is new.

    Raises:
        ValueError: It cannot grow, or has the levels already.
    """
    config = coarse.config
    low, high = config.level_range
    if not can_grow(config) or highest <= high:
        kind = "a base layer" if config.base else "many scenes" if config.z_dim else "neither"
        raise ValueError(
            "a generator of one scene without a base layer grows beyond its own levels; got one "
            f"with {kind}, of levels up to {high:g}, for {highest:g}."
        )
    config = replace(config, level_range=(low, highest))
    fine = Generator(config, seed)
    state, old = fine.state_dict(), coarse.state_dict()
    for name, values in old.items():
        new = state[name]
        if new.shape == values.shape:
            new.copy_(values)
            continue
        count = len(values)
        new[:count] = values
        if ".mix." in name:  # frequencies and phases are drawn anew
            for row in range(count, len(new)):
                new[row] = new[row - _bands(config, name)]
    fine.load_state_dict(state)
    _fit(fine.mapping, coarse.mapping, high, seed)
    return fine


def with_fewer_waves(generator: Generator, octaves: int) -> Generator:
    """The same generator, deaf to waves beyond the lowest `octaves`; all else is as it was."""
    fewer = Generator(replace(generator.config, wave_octaves=octaves))
    state = fewer.state_dict()
    for name, values in generator.state_dict().items():
        state[name] = values[:octaves] if name.startswith("fourier.") else values
    fewer.load_state_dict(state)
    return fewer


def _bands(config: GeneratorConfig, name: str) -> int:
    """Rows of an octave in a table of mixing matrices."""
    return config.noise_bands if name.startswith("noise.") else 1


def _fit(mapping: Mapping, known: Mapping, high: float, seed: int) -> None:
    """Teach `mapping` the styles of `known`: the levels lie elsewhere in its range."""
    low, highest = mapping.level_range
    rng = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(mapping.parameters(), lr=_FIT_RATE)
    for step in range(_FIT_STEPS):
        levels = low + (highest - low) * torch.rand(_FIT_BATCH, generator=rng)
        with torch.no_grad():
            wanted = known.of_levels(levels.clamp(max=high), None)
        with torch.enable_grad():
            loss = (mapping.of_levels(levels, None) - wanted).square().mean()
            optimizer.zero_grad()
            loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = _FIT_RATE * (1 - step / _FIT_STEPS)
        optimizer.step()
