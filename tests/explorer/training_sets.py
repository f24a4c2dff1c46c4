"""A training set, a recipe and a preset so small that a step takes a hundredth of a second."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.config import DiscriminatorConfig, TrainConfig
from model.data.doctor_cost import Machine
from model.presets import PRESETS, Preset
from model.training_setup import Recipe
from tests.model.small import CONFIG

PATCH_PX = 32


def write_patches(folder: Path, count: int = 24, size: int = PATCH_PX) -> Path:
    """A folder of labelled patches without places, two octaves, no two alike."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    labels = []
    for index in range(count):
        coarse = rng.integers(0, 255, (4, 4, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
        picture.save(folder / f"{index:02d}.png")
        labels.append([f"{index:02d}.png", 2.0 * index / (count - 1)])
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    return folder


def small_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let 'laptop' be tiny, and the doctor not time this machine."""
    train = TrainConfig(group_size=4, groups=2, autosave_seconds=3600.0)
    small = Preset(
        replace(CONFIG, widths=(12, 8), waves_per_octave=4),
        DiscriminatorConfig(widths=(8, 8)),
        train=train,
    )
    monkeypatch.setitem(PRESETS, "laptop", small)
    machine = Machine("cpu", 8 << 30, None)
    monkeypatch.setattr("model.data.doctor_cost.measure_machine", lambda *_a, **_k: machine)


def recipe_for(data: Path, folder: Path, **more: object) -> Recipe:
    """Train on `data` without places."""
    fields = {"kimg": 1000.0, "placement": "none", "device": "cpu", **more}
    return Recipe(str(data), str(folder), **fields)  # type: ignore[arg-type]


def wait_for(condition: Callable[[], bool], seconds: float = 180.0) -> None:
    """Return when `condition()` holds; fail when it does not for so long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.005)
