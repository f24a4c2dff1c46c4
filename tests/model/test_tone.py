"""What a scene without places looks like all over is what its patches say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model import open_scale_space
from model.checkpoints import header_of
from model.config import DiscriminatorConfig, LossConfig, TrainConfig
from model.generator import Generator
from model.generator_space import GeneratorSpace
from model.metrics.windows import random_windows, render_all
from model.presets import Preset
from model.pyramid import ImagePyramid
from model.run_files import CHECKPOINT
from model.runs import Run
from model.space import ScaleSpace, Window, to_uint8
from model.tone import even_tone
from model.training_data import PatchData, PictureData
from tests.model.small import CONFIG, LOSS, TRAIN, small_generator

FIELD = (1.3, 1.0)
UNPLACED = replace(CONFIG, base=None, field_size=FIELD, level_range=(0.0, 2.0))
FACTOR, ADDED = torch.tensor([1.1, 0.95, 1.0]), torch.tensor([0.05, 0.0, -0.1])


def space_of(generator: Generator) -> GeneratorSpace:
    return GeneratorSpace(generator, header_of(generator.config, {}, ""), "small", torch.float32)


def views(space: ScaleSpace, level: float = 0.0, count: int = 64) -> torch.Tensor:
    return render_all(space, random_windows(space, level, count, np.random.default_rng(5)))


def scene_and_patches() -> tuple[GeneratorSpace, PatchData]:
    """A scene, and views of it in another tone."""
    space = space_of(small_generator(base=None, level_range=(0.0, 2.0)))
    img = views(space, count=400)
    img = img * FACTOR.view(3, 1, 1) + ADDED.view(3, 1, 1)
    return space, PatchData(to_uint8(img).numpy(), np.zeros(400), FIELD)


def shown(space: GeneratorSpace, windows: list[Window]) -> torch.Tensor:
    """Not cut to the range of a screen; windows anywhere share no batch."""
    return torch.cat([space.generator([window]) for window in windows])


def test_every_channel_gets_the_tone_of_the_patches_at_every_level() -> None:
    space, patches = scene_and_patches()
    windows = {level: random_windows(space, level, 4, np.random.default_rng(6)) for level in (0, 2)}
    with torch.no_grad():
        before = {level: shown(space, some) for level, some in windows.items()}
    found = even_tone(space, patches)
    assert found is not None
    factor, added = found
    torch.testing.assert_close(factor, FACTOR, atol=0.04, rtol=0)
    torch.testing.assert_close(added, ADDED, atol=0.04, rtol=0)
    for level, some in windows.items():
        expected = before[level] * factor.view(3, 1, 1) + added.view(3, 1, 1)
        with torch.no_grad():
            torch.testing.assert_close(shown(space, some), expected, atol=1e-5, rtol=1e-5)
    again = even_tone(space, patches)
    assert again is not None
    torch.testing.assert_close(again[0], torch.ones(3), atol=1e-3, rtol=0)


def test_what_is_far_off_is_moved_by_a_quarter_at_most() -> None:
    space, _ = scene_and_patches()
    rng = np.random.default_rng(7)
    loud = PatchData(rng.integers(0, 2, (64, 32, 32, 3), np.uint8) * 255, np.zeros(64), FIELD)
    found = even_tone(space, loud)
    assert found is not None
    assert torch.equal(found[0], torch.full((3,), 1.25))


def test_a_picture_says_its_tone_everywhere(pyramid: ImagePyramid) -> None:
    space, _ = scene_and_patches()
    weights = {k: v.clone() for k, v in space.generator.state_dict().items()}
    assert even_tone(space, PictureData(pyramid)) is None
    assert all(torch.equal(v, weights[k]) for k, v in space.generator.state_dict().items())


@pytest.mark.parametrize("finishes", [True, False])
def test_a_run_ends_in_the_tone_of_its_patches(tmp_path: Path, finishes: bool) -> None:
    _, patches = scene_and_patches()
    train = TrainConfig(kimg=0.016, adversarial_start=0.0, group_size=4, groups=1)
    preset = Preset(UNPLACED, DiscriminatorConfig(widths=(8, 12, 16)), LossConfig(), train)
    run = Run(tmp_path / "run", preset, patches, {})
    run.train(lambda tick: None, lambda: not finishes and run.trainer.step_count >= 2)
    assert run.trainer.finished is finishes
    shown = views(open_scale_space(tmp_path / "run" / CHECKPOINT, "cpu", "fp32"))
    real = patches.reals(0.0, 256, np.random.default_rng(8)).images
    distance = float((shown.mean((0, 2, 3)) - real.mean((0, 2, 3))).abs().max())
    assert (distance < 0.01) is finishes, distance


def test_a_registered_run_ends_as_it_was_trained(
    pyramid: ImagePyramid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.runs.even_tone", lambda *_: pytest.fail("tone is not asked for"))
    config = replace(CONFIG, field_size=pyramid.field_size, level_range=(0.0, 2.0))
    preset = Preset(
        config, DiscriminatorConfig(widths=(8, 12, 16)), LOSS, replace(TRAIN, kimg=0.01)
    )
    run = Run(tmp_path / "run", preset, PictureData(pyramid), {})
    run.train(lambda tick: None)
    assert run.trainer.finished
