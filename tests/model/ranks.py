"""`python -m tests.model.ranks OUT`: a short training, alone or as one of torchrun's processes.

The first process writes the losses of every step to OUT as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from model.config import DiscriminatorConfig, LossConfig, TrainConfig
from model.distributed import Ranks, join_ranks
from model.scenes import ScenesData
from model.space import Window
from model.trainer import Trainer
from model.training_data import Reals, TrainingData, Truth
from tests.model.small import CONFIG, small_base

STEPS = 20
TRAIN = TrainConfig(kimg=0.32, adversarial_start=0.3, group_size=4, groups=2)
LOSS = LossConfig(
    adversarial_from=1.0,
    adversarial_full=1.5,
    full_until=2.0,
    full_none_from=4.0,
    remembered_level=2.0,
    consistency_start=0.0,
    marginals_weight=2.0,
)


class Waves:
    """A picture by its formula."""

    is_registered = True
    field_size, level_range = CONFIG.field_size, (0.0, 4.0)

    def truth(self, windows: Sequence[Window]) -> Truth:
        images = []
        for window in windows:
            pixels = (np.arange(window.width) + 0.5) / (CONFIG.patch_size * 2.0**window.level)
            x, y = pixels + window.origin_xy[0], (pixels + window.origin_xy[1])[:, None]
            waves = [np.sin(40 * x + 9 * y), np.cos(90 * y) + 0 * x, np.sin(70 * x * y)]
            images.append(np.stack(waves).astype(np.float32))
        return Truth(torch.from_numpy(np.stack(images)), None)

    def reals(self, level: float, count: int, rng: np.random.Generator) -> Reals | None:
        return None

    def level_near(self, level: float) -> float:
        return level


def many_scenes() -> ScenesData:
    """Noise of three brightnesses."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 90, (60, 32, 32, 3), np.uint8)
    scenes = [str(index % 3) for index in range(60)]
    images += (80 * (np.arange(60) % 3)).astype(np.uint8)[:, None, None, None]
    return ScenesData(images, rng.uniform(0, 3, 60), scenes)


def losses(data: TrainingData, ranks: Ranks) -> list[dict[str, float]]:
    """Of every step, at one global batch, whoever shares it."""
    registered = data.is_registered
    config = replace(CONFIG, level_range=(0.0, 4.0), widths=(12, 8), waves_per_octave=4)
    if not registered:
        config = replace(config, base=None, z_dim=8, field_size=(1.0, 1.0))
    train = replace(TRAIN, augment="" if registered else "color,translation,cutout")
    trainer = Trainer(
        config,
        DiscriminatorConfig(widths=(6, 8, 8), compared=0 if registered else 2),
        LOSS,
        train,
        data,
        dtype=torch.float32,
        ranks=ranks,
    )
    if registered:
        trainer.G.base = trainer.G_ema.base = small_base()
    return [trainer.step().losses for _ in range(STEPS)]


def main(out: Path) -> None:
    """See the module docstring."""
    torch.set_num_threads(1)
    ranks = join_ranks(torch.device("cpu"))
    found = {"registered": losses(Waves(), ranks), "scenes": losses(many_scenes(), ranks)}
    if ranks.is_first:
        out.write_text(json.dumps(found))
    ranks.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
