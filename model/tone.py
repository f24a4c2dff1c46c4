"""The tone of a scene whose patches have no place: evened when its training is over.

Two runs ended with up to 5 % less contrast than their patches have, in all octaves alike, perhaps
because octaves of less contrast agree better. Views of the whole scene say what brightness and
contrast it has, and no picture is needed to know where.
"""

from __future__ import annotations

import numpy as np
import torch

from model.breathing import Breathe
from model.generator import Generator
from model.generator_space import GeneratorSpace
from model.metrics.windows import render_all, windows_like
from model.training_data import RunData

_VIEWS = 512
_ABOUT = 0.125
"""Of their level, octaves above the coarsest: each shows nearly all, and there are some dozens."""
_BATCH = 8
"""Views that are rendered between two breaths."""
_MOST = 1.25
"""Contrast is raised or lowered by so much at most: what is further off is not trained yet."""


def even_tone(
    space: GeneratorSpace, source: RunData, breathe: Breathe = lambda: None
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Give every channel the mean and the deviation that real views of the whole scene have.

    The factors go into the generator's weights, so that rendering costs what it did.

    Args:
        space: Of one scene; its generator is changed.
        source: Patches of the same scene.
        breathe: Called between parts of the work; may wait.

    Returns:
        The factor of each channel and what is added after it, in [-1, 1] units, float32 [3] each;
        None: the data have no patches, and nothing is done.
    """
    rng = np.random.default_rng(0)
    reals = source.reals(space.level_range[0] + _ABOUT, _VIEWS, rng)
    if reals is None:
        return None
    windows = windows_like(space, reals.levels.tolist(), rng)
    made = render_all(space, windows, lambda _share: breathe(), _BATCH)
    (std, mean), (own_std, own_mean) = (
        torch.std_mean(img.float(), dim=(0, 2, 3)) for img in (reals.images, made)
    )
    factor = (std / own_std.clamp_min(1e-3)).clamp(1 / _MOST, _MOST)
    added = mean - factor * own_mean
    _scale(space.generator, factor, added)
    return factor, added


@torch.no_grad()
def _scale(generator: Generator, factor: torch.Tensor, added: torch.Tensor) -> None:
    """The image times `factor` plus `added`, [3] each: it is a sum over stages of one layer each,
    and to upsample leaves a constant as it is."""
    factor, added = factor.to(generator.device), added.to(generator.device)
    for number, stage in enumerate(generator.stages):
        stage.to_rgb.weight.mul_(factor.view(3, 1, 1, 1))
        stage.rgb_bias.mul_(factor).add_(added if number == 0 else 0.0)
