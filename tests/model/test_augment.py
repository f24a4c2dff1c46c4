"""Augmentation before the discriminator: what it does, and that it lets gradients through."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from model.augment import Augmentation, draw_augmentation
from model.config import AUGMENTATIONS, DiscriminatorConfig, LossConfig, TrainConfig
from model.trainer import Trainer
from model.training_data import PatchData
from tests.model.small import CONFIG

ALL = ",".join(AUGMENTATIONS)


def images(count: int = 4, side: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def draw(policy: str, count: int = 4, seed: int = 0, side: int = 32) -> Augmentation:
    return draw_augmentation(policy, count, side, np.random.default_rng(seed))


def test_without_a_policy_the_images_are_those_that_came_and_nothing_is_drawn() -> None:
    rng = np.random.default_rng(3)
    before = rng.bit_generator.state
    some = images()
    assert draw_augmentation("", 4, 32, rng)(some) is some
    assert rng.bit_generator.state == before
    with pytest.raises(ValueError, match=r"color, translation, cutout, got 'blur'"):
        draw("color,blur")
    with pytest.raises(ValueError, match="blur"):
        TrainConfig(augment="blur")


@pytest.mark.parametrize("policy", [*AUGMENTATIONS, ALL])
def test_one_seed_gives_one_result_and_each_image_its_own(policy: str) -> None:
    same = images(1).expand(4, -1, -1, -1)
    one, again, other = (draw(policy, seed=seed)(same) for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])
    assert torch.equal(draw(policy, seed=1).part(slice(2, 4))(same[2:]), one[2:])


@pytest.mark.parametrize("policy", [*AUGMENTATIONS, ALL])
def test_gradients_are_those_of_the_change(policy: str) -> None:
    """Against finite differences, in double precision."""
    some = images(2, 8).double().requires_grad_(True)
    augment = draw(policy, 2, seed=5, side=8)
    assert torch.autograd.gradcheck(augment, (some,))
    (grad,) = torch.autograd.grad(augment(some).square().sum(), some)
    assert float(grad.abs().max()) > 0


def test_translation_moves_by_whole_pixels_and_on_average_not_at_all() -> None:
    some = images(1)
    moved = Augmentation(shift=torch.tensor([[3, -2]]))(some)
    assert torch.equal(moved[:, :, :-2, 3:], some[:, :, 2:, :-3])
    assert float(moved[:, :, -2:].abs().max()) == 0 and float(moved[..., :3].abs().max()) == 0
    shift = draw("translation", 20_000).shift
    assert shift is not None
    assert shift.min() == -4 and shift.max() == 4  # an eighth of 32
    deviation = math.sqrt((9**2 - 1) / 12 / 20_000)
    assert shift.double().mean(0).abs().max() < 4 * deviation


def test_a_hole_is_half_as_wide_and_colour_keeps_what_it_should() -> None:
    ones = torch.ones(1, 3, 32, 32)
    cut = Augmentation(hole=torch.tensor([[4, 10]]))(ones)
    assert float(cut.sum()) == 3 * (32 * 32 - 16 * 16)
    assert float(cut[:, :, 10:26, 4:20].abs().max()) == 0
    some = images(1)
    brighter = Augmentation(color=torch.tensor([[0.25, 1.0, 1.0]]))(some)
    assert torch.allclose(brighter, some + 0.25, atol=1e-6)
    grey = Augmentation(color=torch.tensor([[0.0, 0.0, 1.0]]))(some)
    assert torch.allclose(grey, some.mean(1, keepdim=True).expand_as(some), atol=1e-6)
    flat = Augmentation(color=torch.tensor([[0.0, 1.0, 0.5]]))(some)
    assert float(flat.std()) == pytest.approx(float(some.std()) / 2, rel=1e-3)
    assert float(flat.mean()) == pytest.approx(float(some.mean()), abs=1e-5)


def test_training_augments_what_the_discriminator_sees_and_repeats_itself() -> None:
    rng = np.random.default_rng(0)
    data = PatchData(rng.integers(0, 256, (40, 32, 32, 3), np.uint8), rng.uniform(0, 3, 40))
    generator = replace(CONFIG, base=None, level_range=(0.0, 3.0), field_size=(1.0, 1.0))

    def losses(policy: str) -> list[dict[str, float]]:
        train = TrainConfig(kimg=0.1, group_size=4, groups=2, augment=policy)
        discriminator = DiscriminatorConfig(widths=(8, 12, 16))
        trainer = Trainer(generator, discriminator, LossConfig(), train, data, dtype=torch.float32)
        return [trainer.step().losses for _ in range(3)]

    plain, changed = losses(""), losses(ALL)
    assert changed == losses(ALL) != plain
    assert all(math.isfinite(v) for step in changed for v in step.values())
    assert {"r1", "r2"} <= changed[0].keys()
