"""The generative mode: patches of many scenes, and latents that tell one from the other."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from explorer.cli import run as run_cli
from model.checkpoints import load_generator_space
from model.config import DiscriminatorConfig, LossConfig, TrainConfig
from model.data.patches import open_patches
from model.discriminator import Discriminator, spread
from model.generator import Generator
from model.losses import diversity
from model.run_files import CHECKPOINT, LOG
from model.runs import CONFIG as RUN_CONFIG
from model.runs import load_state, save_state
from model.sampling import draw_windows
from model.scenes import ScenesData
from model.trainer import Trainer
from model.training_data import PatchData
from model.training_sets import unplaced_data
from tests.model.small import CONFIG

COLOURS = ((230, 40, 40), (40, 200, 60), (50, 60, 220))


def quiet(label: str, fraction: float) -> None:
    assert label and 0 <= fraction <= 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes, each of its own colour, one folder each; the third has few patches."""
    path = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(0)
    for scene, (colour, count) in enumerate(zip(COLOURS, (40, 40, 8))):
        inner = path / f"scene{scene}"
        inner.mkdir()
        labels = []
        for index in range(count):
            noise = rng.normal(0, 12, (64, 64, 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(inner / f"{index}.png")
            labels.append([f"{index}.png", round(float(rng.uniform(0, 2)), 3)])
        (inner / "dataset.json").write_text(json.dumps({"labels": labels}))
    return path


def test_a_folder_a_scene_is_many_scenes_and_all_are_seen_alike(folder: Path) -> None:
    data = unplaced_data(open_patches(folder), 64, quiet)
    assert isinstance(data, ScenesData)
    assert data.names == ("scene0", "scene1", "scene2") and not data.is_registered
    assert 0 <= data.level_range[0] < 0.2 and 1.8 < data.level_range[1] <= 2
    rng = np.random.default_rng(1)
    reals = data.reals(1.0, 600, rng)
    strongest = reals.images.mean((2, 3)).argmax(1)
    assert strongest.bincount(minlength=3).tolist() == pytest.approx([200] * 3, abs=50)
    assert (strongest[:100] != strongest[1:101]).float().mean() > 0.4  # mixed, not in runs


def test_a_scene_speaks_only_at_its_own_levels() -> None:
    images = np.zeros((40, 8, 8, 3), np.uint8)
    images[20:] = 255
    levels = np.concatenate([np.linspace(0, 1, 20), np.linspace(2, 3, 20)])
    data = ScenesData(images, levels, ["a"] * 20 + ["b"] * 20)
    rng = np.random.default_rng(0)
    assert float(data.reals(0.3, 16, rng).images.max()) == -1
    assert float(data.reals(2.9, 16, rng).images.min()) == 1
    assert len(data.reals(9.0, 16, rng).images.unique()) == 2  # nobody has any: all may speak
    with pytest.raises(ValueError, match="at least two"):
        ScenesData(images, levels, ["a"] * 40)
    with pytest.raises(ValueError, match="no truth"):
        data.truth([])


def test_training_on_scenes_gives_a_latent_its_picture(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert run_cli(["train", str(folder), "--out", str(run), "--kimg", "0.064"]) == 0
    capsys.readouterr()
    config = json.loads((run / RUN_CONFIG).read_text())
    assert config["data"]["scenes"] == 3
    assert config["discriminator"]["compared"] == 0
    assert config["generator"]["scene_features"] == min(8, config["generator"]["z_dim"])
    assert config["generator"]["z_dim"] == 64 and config["generator"]["base"] is None
    losses = json.loads((run / LOG).read_text().splitlines()[-1])["losses"]
    assert all(math.isfinite(v) for v in losses.values())
    assert {"adversarial", "discriminator", "consistency", "diversity"} <= losses.keys()
    assert "reconstruction" not in losses
    told = [json.loads(line)["distances"] for line in (run / LOG).read_text().splitlines()]
    low, high = config["generator"]["level_range"]
    assert len(told[0]) == len(np.arange(low, high + 0.01))
    assert all(value > 0 for value in told[0].values())
    with Image.open(next((run / "samples").glob("*.jpg"))) as strip:
        assert strip.height == 5 * 128  # four scenes, and real patches
    space = load_generator_space(run / CHECKPOINT, torch.device("cpu"))
    assert space.header.config["z_dim"] == 64
    pictures = []
    for name, seed in (("a", 1), ("b", 2), ("c", 1)):
        out = tmp_path / f"{name}.png"
        command = ["render", str(run / CHECKPOINT), "--center", "0", "0", "--level", "1"]
        assert (
            run_cli([*command, "--size", "96", "64", "--seed", str(seed), "--out", str(out)]) == 0
        )
        pictures.append(np.asarray(Image.open(out)).astype(int))
    assert (pictures[0] == pictures[2]).all()
    assert np.abs(pictures[0] - pictures[1]).max() > 0
    more = ["train", str(folder), "--out", str(run), "--kimg", "0.096", "--resume"]
    assert run_cli(more) == 0


def test_the_discriminator_is_told_when_images_are_alike() -> None:
    x = torch.rand(8, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    x[:4] = x[:1]
    told = spread(x, 4)
    assert told.shape == (8, 1, 3, 3)
    assert float(told[:4].max()) < 1e-3 and len(told[4:].unique()) == 1
    expected = x[4:].std(0, unbiased=False).mean()
    assert float(told[4, 0, 0, 0]) == pytest.approx(float(expected), rel=1e-4)
    assert torch.equal(spread(x[4:6], 4), spread(x[4:6], 2))  # as many as there are
    judge = Discriminator(DiscriminatorConfig(widths=(8, 8), compared=4), 32, (0.0, 3.0))
    images, levels = torch.rand(4, 3, 32, 32), torch.ones(4)
    alone = Discriminator(DiscriminatorConfig(widths=(8, 8)), 32, (0.0, 3.0))
    others = torch.cat([images[:1], torch.zeros(3, 3, 32, 32)])
    assert not torch.allclose(judge(images, levels)[0], judge(others, levels)[0])
    assert torch.allclose(alone(images, levels)[0], alone(others, levels)[0], atol=1e-6)


def test_an_untrained_generator_tells_latents_apart_at_every_level() -> None:
    """Or training would make one scene of all."""
    generator = Generator(replace(CONFIG, base=None, z_dim=16, field_size=(1.0, 1.0)))
    z = torch.randn(12, 16, generator=torch.Generator().manual_seed(1))
    for level in (0.0, 2.0, 5.0):
        windows = draw_windows(level, 1, 32, (1.0, 1.0), 4, np.random.default_rng(0)) * 12
        with torch.no_grad():
            images = generator(windows, z)
        assert float(images.std(0).mean()) > 0.5 * float(images.std()), level


def test_one_scene_among_many_images_stays_one_scene(folder: Path) -> None:
    data = unplaced_data(open_patches(folder / "scene1"), 64, quiet)
    assert isinstance(data, PatchData)


def test_what_is_left_out_is_told(folder: Path, tmp_path: Path) -> None:
    """Once for each kind, with how many and one of them."""
    for index in range(6):
        Image.new("RGB", (64, 64), (index, 0, 0)).save(tmp_path / f"{index}.png")
    Image.new("RGB", (64, 40)).save(tmp_path / "wide.png")
    Image.new("RGB", (32, 32)).save(tmp_path / "small.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    names = [f"{i}.png" for i in range(5)] + ["wide.png", "small.png", "broken.png"]
    labels = {"labels": [[name, 1.0] for name in names]}
    (tmp_path / "dataset.json").write_text(json.dumps(labels))
    told: list[str] = []
    data = unplaced_data(open_patches(tmp_path), 64, quiet, told.append)
    assert data.level_range == (1.0, 1.0)
    assert len(told) == 3
    assert "1 of 9 images left out, not readable: broken.png" in told[0]
    assert "2 of 9 images left out, not square or too small: small.png has 32 x 32" in told[1]
    assert told[2] == "1 of 6 images left out: they have no level."
    quiet_told: list[str] = []
    unplaced_data(open_patches(folder), 64, quiet, quiet_told.append)
    assert quiet_told == []


def test_diversity_is_that_of_the_data_and_none_where_all_is_one_picture() -> None:
    rng = torch.Generator().manual_seed(0)
    real = torch.randn(64, 3, 1, 1, generator=rng).expand(-1, -1, 16, 16)
    same = torch.randn(64, 3, 1, 1, generator=rng).expand(-1, -1, 16, 16)
    assert diversity(same, real) == pytest.approx(1.0, abs=0.2)
    assert diversity(0.5 * same, real) == pytest.approx(0.5 * diversity(same, real))
    assert diversity(real[:1].expand(64, -1, -1, -1), real) == 0
    noise = torch.randn(64, 3, 16, 16, generator=rng)  # texture is no other scene
    assert diversity(noise, real) < 0.4


def test_the_mapping_of_latents_learns_slowly_and_goes_on_from_a_saved_state(
    folder: Path, tmp_path: Path
) -> None:
    """One scene has no latents, and one rate."""
    data = unplaced_data(open_patches(folder), 64, quiet)
    config = replace(
        CONFIG, patch_size=64, z_dim=8, base=None, widths=(12, 8), level_range=(0.0, 2.0)
    )
    small = DiscriminatorConfig(widths=(8, 8), compared=4)
    train = TrainConfig(kimg=1.0, group_size=4, groups=1)

    def made(z_dim: int) -> Trainer:
        return Trainer(replace(config, z_dim=z_dim), small, LossConfig(), train, data)

    trainer = made(8)
    first = {name: p.detach().clone() for name, p in trainer.G.named_parameters()}
    trainer.step()
    mapping, rest = trainer.opt_G.param_groups
    assert mapping["lr"] == pytest.approx(train.mapping_lr_share * rest["lr"])
    moved = {
        name: float((p.detach() - first[name]).abs().max())
        for name, p in trainer.G.named_parameters()
    }
    slow = max(value for name, value in moved.items() if name.startswith("mapping"))
    assert 0 < slow < 0.05 * max(moved.values())
    assert len(made(0).opt_G.param_groups) == 1
    save_state(tmp_path / "state", trainer)
    again = made(8)
    load_state(tmp_path / "state", again)
    one, other = trainer.step().losses, again.step().losses
    assert one == other
