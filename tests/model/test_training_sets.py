"""A folder of patches becomes what the trainer learns from, and a run."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from explorer.cli import run as run_cli
from model.checkpoints import load_generator_space
from model.data.cut import CutConfig, write_patches
from model.data.patches import open_patches
from model.header import read_header
from model.placement.frame import FRAME
from model.placement.place import PlacementState
from model.placement.places_csv import state_path
from model.pyramid import ImagePyramid
from model.run_files import CHECKPOINT, STATE
from model.runs import remove_run
from model.space import Window
from model.training_sets import MOSAIC, PLACES, PYRAMID, placed_data, unplaced_data
from model.training_setup import Recipe, prepare
from tests.model.pictures import save_octaves


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImagePyramid, Path]:
    """A picture with detail at every octave, 620 x 500, and 160 patches of it, unregistered."""
    folder = tmp_path_factory.mktemp("scene")
    save_octaves(folder / "picture.png", (620, 500), range(2, 9))
    pyramid = ImagePyramid.open(folder / "picture.png", cache_dir=folder / "cache")
    write_patches(pyramid, CutConfig((0.0, 2.5), (160,)), folder / "patches")
    return pyramid, folder / "patches"


def quiet(label: str, fraction: float) -> None:
    assert label and 0 <= fraction <= 1


def test_patches_without_a_place_become_the_picture(
    scene: tuple[ImagePyramid, Path], tmp_path: Path
) -> None:
    """Placed, composed, and where a patch speaks the truth is the picture's."""
    pyramid, patches = scene
    run = tmp_path / "run"
    data = placed_data(open_patches(patches), run, 64, tmp_path / "cache", quiet)
    assert (run / PLACES).exists() and (run / MOSAIC).exists()
    assert data.field_size == pytest.approx(pyramid.field_size, abs=0.03)
    window = Window((-0.25, -0.25), 0.9, 56, 56)
    truth = data.truth([window])
    assert truth.known is not None and float(truth.known.mean()) > 0.9
    best = min(
        float((truth.images - pyramid.render([shifted])).abs().mean())
        for dx in np.linspace(-0.02, 0.02, 9)
        for dy in np.linspace(-0.02, 0.02, 9)
        for shifted in [Window((-0.25 + dx, -0.25 + dy), 0.9, 56, 56)]
    )
    assert best < 0.05  # one offset of the whole is not known
    rng = np.random.default_rng(0)
    assert data.reals(2.0, 4, rng).images.shape == (4, 3, 64, 64)
    data.pyramid.close()

    def nothing_to_do(label: str, fraction: float) -> None:
        assert label == "reading patches"

    cache = tmp_path / "cache"
    again = placed_data(open_patches(patches), run, 64, cache, nothing_to_do, reuse=True)
    assert np.array_equal(again.detail, data.detail)
    again.pyramid.close()


def test_the_picture_that_patches_make_stays_and_goes_with_their_run(
    scene: tuple[ImagePyramid, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = tmp_path / "run"
    for reuse in (False, True, False):
        placed_data(open_patches(scene[1]), run, 64, None, quiet, reuse).pyramid.close()
        assert len(list((run / PYRAMID).iterdir())) == 1
    assert not (tmp_path / "cache").exists()
    remove_run(run)
    assert not run.exists()


def test_the_places_of_other_data_in_the_folder_are_not_taken(
    scene: tuple[ImagePyramid, Path], tmp_path: Path
) -> None:
    """A start that was given up left them; the names are the same."""
    _, patches = scene
    names = [patch.name for patch in open_patches(patches).patches]
    lines = [f"{name},1.0,0.1,0.1" for name in names]
    (tmp_path / PLACES).write_text("\n".join(["file,log2_zoom,x,y", *lines]) + "\n")
    (tmp_path / MOSAIC).write_bytes(b"another picture")
    data = placed_data(open_patches(patches), tmp_path, 64, tmp_path / "cache", quiet)
    assert data.field_size[0] > 1.1
    assert "placed" in (tmp_path / PLACES).read_text()
    data.pyramid.close()


def test_a_run_that_is_there_is_refused_before_anything_in_it_is_changed(
    scene: tuple[ImagePyramid, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (STATE, FRAME, PLACES, MOSAIC):
        (tmp_path / name).write_text(name)
    assert run_cli(["train", str(scene[1]), "--out", str(tmp_path)]) != 0
    assert "already holds a run" in capsys.readouterr().err
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        name: name for name in (STATE, FRAME, PLACES, MOSAIC)
    }


@pytest.mark.parametrize("change", ["none", "pixels", "labels", "exclude", "damaged"])
def test_a_start_that_was_given_up_goes_on_with_the_same_patches_alone(
    scene: tuple[ImagePyramid, Path], tmp_path: Path, change: str
) -> None:
    data = tmp_path / "data"
    shutil.copytree(scene[1], data)
    run, table = tmp_path / "run", tmp_path / "run" / PLACES

    class Stopped(Exception):
        pass

    def stop(rows: np.ndarray, state: PlacementState) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        placed_data(open_patches(data), run, 64, tmp_path / "cache", quiet, on_state=stop)
    collection = open_patches(data)
    if change == "pixels":
        files = sorted(data.glob("*.png"))
        turned = [ImageOps.flip(Image.open(file)) for file in files]
        for file, image in zip(files, turned):
            image.save(file)
    elif change == "labels":
        text = json.loads((data / "dataset.json").read_text())
        text["labels"][0][1] += 0.01
        (data / "dataset.json").write_text(json.dumps(text))
        collection = open_patches(data)
    elif change == "exclude":
        collection = collection.without({collection.patches[0].name})
    elif change == "damaged":
        state_path(table).write_text(state_path(table).read_text()[:100])
    calls: list[float] = []

    def count(rows: np.ndarray, state: PlacementState) -> None:
        calls.append(state.stage)

    placed_data(collection, run, 64, tmp_path / "cache", quiet, on_state=count).pyramid.close()
    assert calls[0] == (2 if change == "none" else 1)
    assert table.exists() and not state_path(table).exists()


@pytest.mark.parametrize("placement", ["match", "none"])
def test_the_command_trains_from_patches_and_goes_on(
    scene: tuple[ImagePyramid, Path], tmp_path: Path, placement: str
) -> None:
    run = tmp_path / "run"
    command = ["train", str(scene[1]), "--out", str(run), "--placement", placement]
    command += ["--kimg", "0.032", "--cache", str(tmp_path / "cache")]
    assert run_cli(command) == 0
    assert run_cli([*command[:-4], "--kimg", "0.064", "--cache", command[-1], "--resume"]) == 0
    space = load_generator_space(run / CHECKPOINT, torch.device("cpu"))
    assert (space.generator.base is None) == (placement == "none")
    moved = scene[1].rename(tmp_path / "moved")
    try:
        command[1] = str(moved)
        assert run_cli([*command[:-4], "--kimg", "0.072", "--cache", command[-1], "--resume"]) == 0
    finally:
        moved.rename(scene[1])
    assert json.loads((run / "config.json").read_text())["data"]["path"] == str(moved)
    assert space.render_view((0.0, 0.0), 1.0, (40, 30)).shape == (30, 40, 3)


def test_without_places_nothing_is_learned_without_a_discriminator(
    scene: tuple[ImagePyramid, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", str(scene[1]), "--out", str(tmp_path / "run"), "--placement", "none"]
    assert run_cli([*command, "--no-adversary"]) != 0
    assert "from a discriminator alone" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_without_places_training_goes_on_to_octaves_that_a_checkpoint_does_not_know(
    scene: tuple[ImagePyramid, Path], tmp_path: Path
) -> None:
    first = Recipe(
        str(scene[1]), str(tmp_path / "first"), placement="none", levels=(0.0, 1.0), kimg=0.016
    )
    run = run_of_first = prepare(first, quiet)
    run.train(lambda tick: None)
    checkpoint = str(tmp_path / "first" / CHECKPOINT)
    deeper = replace(first, folder=str(tmp_path / "deeper"), levels=(0.0, 2.0), start=checkpoint)
    run = prepare(deeper, quiet)
    trainer = run.trainer
    assert trainer.generator_config.level_range == (0.0, 2.0)
    known = load_generator_space(checkpoint, torch.device("cpu")).generator
    windows = [Window((-0.4, -0.3), 0.8, 64, 64)]
    with torch.inference_mode():
        error = (trainer.G_ema(windows, None) - known(windows, None)).square().mean()
    assert error < 1e-4
    # All octaves are drawn alike, and have to agree at once.
    assert trainer.train.coarse_first == 1.0
    assert trainer.loss.consistency_start == trainer.loss.moments_start == 0.0
    assert run_of_first.trainer.loss.moments_start > 0.1
    # New octaves are learned as from the beginning, with a new discriminator.
    assert trainer.D.config.detail_gain == run_of_first.trainer.D.config.detail_gain == 1
    assert trainer.train.fall_from == run_of_first.trainer.train.fall_from
    told = set().union(*(trainer.step().losses for _ in range(4)))
    assert {"consistency", "contrast", "marginals"} <= told
    shallow = replace(deeper, folder=str(tmp_path / "shallow"), levels=(0.0, 0.5))
    with pytest.raises(ValueError, match=r"levels up to 1\.00, this training levels up to 0\.50"):
        prepare(shallow, quiet)


def test_without_places_trained_networks_go_on_at_rates_that_soon_fall(
    scene: tuple[ImagePyramid, Path], tmp_path: Path
) -> None:
    first = Recipe(
        str(scene[1]), str(tmp_path / "first"), placement="none", levels=(0.0, 1.0), kimg=0.016
    )
    run = prepare(first, quiet)
    run.train(lambda tick: None)
    assert run.trainer.train.fall_from == 0.5
    checkpoint = str(tmp_path / "first" / CHECKPOINT)
    again = replace(first, folder=str(tmp_path / "again"), start=checkpoint, kimg=0.8)
    again_run = prepare(again, quiet)
    trainer = again_run.trainer
    assert trainer.train.fall_from == 0.3
    assert trainer.loss.consistency_weight > run.trainer.loss.consistency_weight
    # Its discriminator sees detail better than the first one: a new one is trained, the next is
    # taken over.
    gains = [run.trainer.D.config.detail_gain, trainer.D.config.detail_gain]
    assert gains[0] == 1 < gains[1]
    assert trainer.train.warm_up_steps > run.trainer.train.warm_up_steps
    trainer.step()
    again_run.save()
    again_from = read_header(tmp_path / "again" / CHECKPOINT).training["start"]
    assert again_from == CHECKPOINT  # its kimg and minutes are of this run alone
    third = replace(
        again, folder=str(tmp_path / "third"), start=str(tmp_path / "again" / CHECKPOINT)
    )
    next_one = prepare(third, quiet).trainer
    assert next_one.train.warm_up_steps == run.trainer.train.warm_up_steps
    assert torch.allclose(next_one.D.logit.weight, trainer.D.logit.weight, atol=1e-3)
    rates = {}
    for share in (0.1, 0.3, 0.65, 1.0):
        trainer.step_count, trainer.cur_nimg = 1000, round(800 * share)
        trainer._set_rates(adversarial=True)
        rates[share] = trainer.opt_D.param_groups[0]["lr"] / trainer.train.discriminator_lr
        rate = trainer.opt_G.param_groups[0]["lr"]
        assert rate == pytest.approx(rates[share] * trainer.train.adversarial_generator_lr)
    assert list(rates.values()) == pytest.approx([1.0, 1.0, 0.525, 0.05])


def test_data_of_one_level_are_refused_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "small.png")
    command = ["train", str(tmp_path / "small.png"), "--out", str(tmp_path / "run")]
    assert run_cli([*command, "--cache", str(tmp_path / "cache")]) != 0
    said = capsys.readouterr().err
    assert "from a coarse one to a finer one" in said and "more than 64 px" in said


def test_patches_that_say_nothing_are_refused_in_one_line(tmp_path: Path) -> None:
    for index in range(3):
        Image.new("RGB", (64, 64)).save(tmp_path / f"{index}.png")
    with pytest.raises(ValueError, match="level"):
        unplaced_data(open_patches(tmp_path), 64, quiet)
    Image.new("RGB", (8, 8)).save(tmp_path / "small.png")
    (tmp_path / "dataset.json").write_text('{"labels": [["small.png", 1.0]]}')
    for index in range(3):
        (tmp_path / f"{index}.png").unlink()
    with pytest.raises(ValueError, match="64 x 64"):
        unplaced_data(open_patches(tmp_path), 64, quiet)
