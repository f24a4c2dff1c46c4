"""What a run starts with: the weights of a checkpoint, a discriminator or none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.checkpoints import (
    discriminator_beside,
    header_of,
    load_generator_space,
    save_checkpoint,
    save_discriminator,
)
from model.config import DiscriminatorConfig
from model.discriminator import Discriminator
from model.generator import Generator
from model.presets import PRESETS
from model.pyramid import ImagePyramid
from model.run_files import CHECKPOINT
from model.runs import DISCRIMINATOR, Run
from model.training_data import PictureData
from model.training_setup import Recipe, _preset, _started, close, prepare, unplaced
from tests.model.small import CONFIG, TRAIN, small_preset


def test_a_run_starts_with_the_weights_of_a_checkpoint(
    pyramid: ImagePyramid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = small_preset(pyramid)
    small = replace(small, discriminator=replace(small.discriminator, detail_gain=8.0))
    first = Run(tmp_path / "first", small, PictureData(pyramid), {})
    first.train(lambda tick: None)
    small = replace(small, generator=CONFIG)
    monkeypatch.setitem(PRESETS, "laptop", small)
    checkpoint = str(tmp_path / "first" / CHECKPOINT)
    picture, cache = str(tmp_path / "picture.png"), str(tmp_path / "cache")
    recipe = Recipe(picture, str(tmp_path / "next"), start=checkpoint, cache=cache)
    run = prepare(recipe, lambda text, fraction: None)
    assert run.trainer.train.warm_up_steps == TRAIN.warm_up_steps
    for name, tensor in first.trainer.D.state_dict().items():
        torch.testing.assert_close(run.trainer.D.state_dict()[name], tensor, rtol=1e-3, atol=1e-6)
    opened = load_generator_space(checkpoint, torch.device("cpu"))
    for network in (run.trainer.G, run.trainer.G_ema):
        for name, tensor in opened.generator.state_dict().items():
            assert torch.equal(network.state_dict()[name], tensor), name
    # What can be remembered is learned already, and paint is held to be real.
    told = [run.trainer.step() for _ in range(6)]
    assert all(status.adversarial for status in told)
    assert {"contrast", "marginals"} <= set().union(*(status.losses for status in told))
    close(run.source)
    other = replace(recipe, folder=str(tmp_path / "other"), crop=(0, 0, 300, 512))
    with pytest.raises(ValueError, match=r"has a field of 1\.25 to 1, this training .* 0\.59 to 1"):
        prepare(other, lambda text, fraction: None)


@pytest.mark.parametrize("begins", ["new", "from a checkpoint"])
def test_a_run_without_a_discriminator_learns_what_is_remembered(
    begins: str, pyramid: ImagePyramid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = small_preset(pyramid)
    start = ""
    if begins != "new":
        Run(tmp_path / "first", small, PictureData(pyramid), {}).save()
        start = str(tmp_path / "first" / CHECKPOINT)
    monkeypatch.setitem(PRESETS, "laptop", replace(small, generator=CONFIG))
    picture, cache = str(tmp_path / "picture.png"), str(tmp_path / "cache")
    folder = str(tmp_path / "twin")
    recipe = Recipe(picture, folder, start=start, cache=cache, adversarial=False)
    trainer = (run := prepare(recipe, lambda text, fraction: None)).trainer
    before = {name: tensor.clone() for name, tensor in trainer.D.state_dict().items()}
    told = []
    while not trainer.finished:
        told.append(trainer.step())
    run.save()
    close(run.source)
    assert not (run.folder / DISCRIMINATOR).exists()
    assert len(told) == 10 and not any(status.adversarial for status in told)
    assert all(status.losses["reconstruction"] for status in told)
    assert all(torch.equal(t, before[name]) for name, t in trainer.D.state_dict().items())


@pytest.mark.parametrize("beside", [None, b"", "other", "other view"])
def test_a_new_discriminator_gets_time_to_know_weights_that_are_trained(
    beside: bytes | str | None,
    pyramid: ImagePyramid,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where none lies beside the checkpoint, or one that does not fit."""
    preset = small_preset(pyramid)
    first = Run(tmp_path / "first", preset, PictureData(pyramid), {})
    first.save()
    monkeypatch.setitem(PRESETS, "laptop", replace(preset, generator=CONFIG))
    checkpoint = tmp_path / "first" / CHECKPOINT
    file = discriminator_beside(checkpoint)
    assert not file.exists()  # it has not learned anything
    if beside == "other":
        small = Discriminator(DiscriminatorConfig(widths=(4, 4)), 32, (0.0, 4.0))
        save_discriminator(file, small)
    elif beside == "other view":
        config = replace(preset.discriminator, detail_gain=1.0)
        save_discriminator(file, Discriminator(config, 32, (0.0, 4.0)))
    elif isinstance(beside, bytes):
        file.write_bytes(beside)
    told: list[str] = []
    recipe = Recipe(
        str(tmp_path / "picture.png"),
        str(tmp_path / "next"),
        start=str(checkpoint),
        cache=str(tmp_path / "cache"),
    )
    run = prepare(recipe, lambda text, fraction: None, told.append)
    assert [file.name in line and "A new one" in line for line in told] == [True] * (
        beside is not None
    )
    run.trainer.step()
    rate = run.trainer.train.adversarial_generator_lr
    # A step sees 8 windows: 4,000 of them.
    assert run.trainer.opt_G.param_groups[0]["lr"] == pytest.approx(rate / 500)
    close(run.source)


@pytest.mark.parametrize(("preset", "octaves"), [("laptop", 7), ("studio", 7), ("paper", None)])
def test_without_places_no_octave_hears_waves_alone(preset: str, octaves: int | None) -> None:
    """Where only the coarsest stage hears waves; as the paper has it every stage does."""
    generator = unplaced(PRESETS[preset]).generator
    assert generator.wave_octaves == octaves
    assert (generator.wave_stages == 1) == (octaves is not None)


def test_a_checkpoint_that_hears_more_waves_begins_with_fewer(tmp_path: Path) -> None:
    config = replace(CONFIG, base=None, level_range=(0.0, 6.0), wave_stages=1)
    file = tmp_path / "deep.safetensors"
    save_checkpoint(file, Generator(config, 1), header_of(config, {}, ""))
    wanted = replace(PRESETS["laptop"], generator=replace(config, wave_octaves=3))
    preset, generator, _ = _started(file, wanted, lambda line: None)
    assert preset.generator == generator.config == replace(config, wave_octaves=3)
    _, as_it_is, _ = _started(file, replace(wanted, generator=config), lambda line: None)
    assert as_it_is.config == config


def test_the_discriminator_alone_can_speak_louder(pyramid: ImagePyramid, tmp_path: Path) -> None:
    """Its gradient is weighed against the others', which stay."""

    def gradient(weight: float) -> torch.Tensor:
        preset = small_preset(pyramid)
        loss = replace(preset.loss, discriminator_weight=weight, moments_weight=0.0)
        loss = replace(loss, invented_consistency_weight=0.0)
        run = Run(tmp_path / f"{weight}", replace(preset, loss=loss), PictureData(pyramid), {})
        run.trainer._group(4.0, adversarial=True)
        return torch.cat(
            [p.grad.flatten() for p in run.trainer.G.parameters() if p.grad is not None]
        )

    none, once, twice = (gradient(weight) for weight in (0.0, 1.0, 2.0))
    assert (once - none).norm() > 1e-4 * none.norm()
    torch.testing.assert_close(twice - none, 2 * (once - none), rtol=1e-3, atol=1e-6)


def test_a_run_that_goes_on_saves_as_often_as_it_is_told_now(
    pyramid: ImagePyramid, tmp_path: Path
) -> None:
    Run(tmp_path / "run", small_preset(pyramid), PictureData(pyramid), {}).save()
    recipe = Recipe("", str(tmp_path / "run"), resume=True, autosave_seconds=7.0)
    before, _ = _preset(replace(recipe, autosave_seconds=None), tmp_path / "run")
    preset, _ = _preset(recipe, tmp_path / "run")
    assert preset == replace(before, train=replace(before.train, autosave_seconds=7.0))
