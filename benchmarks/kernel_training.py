"""Training patches a second of each preset, with the CUDA kernels and with their torch twins."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from kernels import _cuda
from model.presets import Preset
from model.space import ScaleSpace, Window
from model.trainer import Trainer
from model.training_data import Reals, Truth

LEVELS = (0.0, 8.0)
"""Of the pretended scene, octaves."""


class Noise:
    """Training data that costs nothing: what is timed is the networks."""

    field_size = (1.0, 1.0)
    level_range = LEVELS
    is_registered = True
    picture: ScaleSpace | None = None

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def truth(self, windows: Sequence[Window]) -> Truth:
        """Random pixels."""
        size = (windows[0].height, windows[0].width)
        return Truth(torch.rand(len(windows), 3, *size, device=self.device) * 2 - 1, None)

    def reals(self, level: float, count: int, rng: np.random.Generator) -> Reals | None:
        """The truth of the same windows serves."""
        return None

    def level_near(self, level: float) -> float:
        """Every level is there."""
        return level


class NoLauncher:
    """A launcher for no device at all: every op takes its torch version."""

    device_type = "none"

    def __call__(self, *_: Any, **__: Any) -> None:
        raise AssertionError("nothing is launched here")


@contextmanager
def torch_versions_only() -> Iterator[None]:
    """Every op takes its torch version until the block ends."""
    with _cuda.launching_with(NoLauncher()):
        yield


def measure_training(
    presets: Mapping[str, Preset],
    device: torch.device,
    steps: int = 8,
    warm_up: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, dict[str, float]]:
    """Patches a second by preset.

    Args:
        presets: By name.
        device: Where to train.
        steps: Steps that count, all terms of the loss switched on.
        warm_up: Steps before them, in which kernels are compiled and graphs recorded.
        clock: Seconds; for tests.

    Returns:
        For each preset 'cuda' and 'ref' (patches a second with the kernels and without), and
        'ratio' of the two.
    """
    rates: dict[str, dict[str, float]] = {}
    for name, preset in presets.items():
        rates[name] = {"cuda": patches_per_s(preset, device, steps, warm_up, clock)}
        with torch_versions_only():
            rates[name]["ref"] = patches_per_s(preset, device, steps, warm_up, clock)
        rates[name]["ratio"] = rates[name]["cuda"] / rates[name]["ref"]
    return rates


def patches_per_s(
    preset: Preset,
    device: torch.device,
    steps: int,
    warm_up: int,
    clock: Callable[[], float],
    dtype: torch.dtype | None = None,
) -> float:
    """Of a registered scene, all terms of the loss switched on; see `measure_training`.

    `dtype` is of the convolutions; None: as the trainer chooses.
    """
    data = Noise(device)
    sized = preset.for_field(data.field_size, data.level_range)
    # Never done, and all terms at full weight from the first step on.
    train = replace(sized.train, adversarial_start=0.0, minutes=1e9, kimg=None)
    loss = replace(sized.loss, consistency_start=0.0)
    trainer = Trainer(sized.generator, sized.discriminator, loss, train, data, device, dtype)
    for _ in range(warm_up):
        trainer.step()
    _wait(device)
    began = clock()
    for _ in range(steps):
        trainer.step()
    _wait(device)
    return steps * trainer.images_per_step / (clock() - began)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
