"""`explorer.api`: cheap to import, the same pixels and files as the commands, and its examples."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import explorer.api
from explorer import cli
from explorer.api import Camera, CameraPath, Keyframe, Scene, flight, save_path
from explorer.view_links import StillView
from explorer.view_metadata import read_film, read_view
from model import open_scale_space
from model.checkpoints import header_of, save_checkpoint
from model.export import WorkFolder
from model.rendering import render_view
from tests.model.small import small_generator

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(2).integers(0, 256, (60, 90, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


@pytest.fixture
def seeded(tmp_path: Path) -> Path:
    """A checkpoint with latents."""
    generator = small_generator(z_dim=8)
    path = tmp_path / "seeded.safetensors"
    save_checkpoint(path, generator, header_of(generator.config, {}, "CC0-1.0"))
    return path


def words(*argv: object) -> list[str]:
    return [str(word) for word in argv]


def test_importing_it_costs_neither_torch_nor_qt() -> None:
    code = (
        "import sys, explorer.api\n"
        "heavy = {'torch', 'numpy', 'PySide6', 'av', 'pyvips', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_everything_public_says_what_it_does() -> None:
    for name in explorer.api.__all__:
        made = getattr(explorer.api, name)
        assert not callable(made) or made.__doc__, name
    members = {name: m for name, m in vars(Scene).items() if not name.startswith("_")}
    assert all(member.__doc__ for member in members.values()), members


def test_a_scene_says_what_it_is_and_renders_what_the_model_does(picture: Path) -> None:
    told: list[float] = []
    with explorer.api.open(picture, progress=told.append) as scene:
        info = scene.info
        space = open_scale_space(picture)
        assert (info.name, info.identity) == ("picture.png", space.identity)
        assert info.field_size == pytest.approx((1.5, 1.0))
        assert info.level_range == space.level_range
        assert (info.patch_size, info.has_latents) == (space.patch_size, False)
        image = scene.render((0.1, -0.1), 0.7, (50, 40))
        np.testing.assert_array_equal(image, render_view(space, (0.1, -0.1), 0.7, (50, 40)))
    assert told and told[-1] == 1.0
    scene.close()
    with pytest.raises(ValueError, match="is closed; open it again"):
        scene.render((0, 0), 0.0, (4, 4))


def test_a_seed_names_a_latent_where_there_are_some(seeded: Path) -> None:
    with explorer.api.open(seeded, "cpu") as scene:
        assert scene.info.has_latents
        first, again, other = (scene.render((0, 0), 1.0, (32, 32), seed=s) for s in (3, 3, 4))
        np.testing.assert_array_equal(first, again)
        assert np.abs(first.astype(int) - other).max() > 0


def test_a_still_is_that_of_the_command_and_carries_its_view(picture: Path, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "a.png", tmp_path / "b.png"
    with explorer.api.open(picture) as scene:
        assert scene.save_still(ours, (0.1, 0.0), 1.5, (70, 50), seed=7) == ours
        view = StillView((0.1, 0.0), 1.5, (70, 50), 7, "picture.png", scene.info.identity)
    place = ["--center", 0.1, 0, "--level", 1.5, "--size", 70, 50, "--seed", 7]
    assert cli.run(words("render", picture, *place, "--out", theirs)) == 0
    assert ours.read_bytes() == theirs.read_bytes()
    assert read_view(ours) == view


def test_a_film_flies_a_path_its_keyframes_or_a_file(picture: Path, tmp_path: Path) -> None:
    done: list[float] = []
    with explorer.api.open(picture) as scene:
        start, end = scene.camera((0, 0), 0.0, (64, 48)), scene.camera((0.2, 0.1), 2.0, (64, 48))
        path = flight(start, end, 0.8)
        save_path(path, tmp_path / "path.json")
        films = [
            scene.record(given, tmp_path / f"{index}.mp4", (64, 48), 10, progress=done.append)
            for index, given in enumerate((path, path.keyframes, tmp_path / "path.json"))
        ]
        slow = scene.record(path, tmp_path / "slow.mp4", (64, 48), 10, seconds=1.2)
        expected = scene.render((0, 0), 0.0, (64, 48)).astype(float)
    assert done == [pytest.approx((i + 1) / 8) for i in range(8)] * 3
    assert len({film.read_bytes() for film in films}) == 1
    with av.open(str(films[0])) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    assert len(frames) == 8
    assert np.abs(frames[0].mean((0, 1)) - expected.mean((0, 1))).max() < 6
    with av.open(str(slow)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 12
    film = read_film(films[0])
    assert film is not None and film.view.name == "picture.png"


def test_an_export_is_that_of_the_command(picture: Path, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "a.tif", tmp_path / "b.tif"
    steps: dict[str, float] = {}
    with explorer.api.open(picture) as scene:
        box = (-0.5, -0.25, 0.25, 0.5)
        made = scene.export(ours, 2.0, box, seed=3, progress=steps.__setitem__)
        assert made == (ours,)
        assert not scene.export(tmp_path / "no.tif", 2.0, agree=lambda cost: False)
    assert steps == {"rendering": 1.0, "writing": 1.0}
    options = ["--box", *box, "--seed", 3, "--out", theirs]
    assert cli.run(words("export", picture, "--level", 2, *options)) == 0
    assert ours.read_bytes() == theirs.read_bytes()
    assert not (tmp_path / "no.tif").exists()


class Enough(Exception):
    """The person has had enough."""


def test_a_stopped_export_goes_on(picture: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole.tif", tmp_path / "a.tif"

    def stop(step: str, fraction: float) -> None:
        if fraction > 0.6:
            raise Enough

    with explorer.api.open(picture) as scene:
        scene.export(whole, 4.0)
        with pytest.raises(Enough):
            scene.export(out, 4.0, progress=stop)
        folder = explorer.api.work_folder(out)
        assert folder.is_dir() and not out.exists()
        plan = explorer.api.prepare_export(scene.space, out, 4.0)
        assert WorkFolder(plan).folder == folder
        with pytest.raises(FileExistsError):
            scene.export(out, 4.0)
        scene.export(out, 4.0, resume=True)
    assert out.read_bytes() == whole.read_bytes()
    assert not folder.exists()


def test_what_cannot_be_is_one_clear_line(picture: Path, tmp_path: Path) -> None:
    with explorer.api.open(picture) as scene:
        with pytest.raises(ValueError, match=r"the file must end in \.png or"):
            scene.save_still(tmp_path / "a.bmp", (0, 0), 1.0, (4, 4))
        with pytest.raises(ValueError, match="does not exist; make it first"):
            scene.export(tmp_path / "none" / "a.tif", 1.0)
        path = CameraPath((Keyframe(0.0, Camera(0, 0, 0)),))
        with pytest.raises(ValueError, match="1 to 1000000 frames"):
            scene.record(path, tmp_path / "a.mp4")
        with pytest.raises(ValueError, match="even width and height"):
            scene.record(path, tmp_path / "a.mp4", (63, 48), seconds=1.0)
        for rate in (1e-4, 1e308):
            with pytest.raises(ValueError, match="a film must have"):
                scene.record(path, tmp_path / "a.mp4", seconds=1e5, fps=rate)
        for name, side in (("a.webp", 16_384), ("a.jpg", 65_501)):
            with pytest.raises(ValueError, match=f"at most {side - 1} pixels a side"):
                scene.save_still(tmp_path / name, (0, 0), 1.0, (side, 4))


@pytest.mark.parametrize(
    ("script", "options", "made"),
    [
        ("flight.py", ["--seconds", 0.5, "--fps", 8, "--size", 64, 48], "flight.mp4"),
        ("every_octave.py", ["--size", 48, 32], "octave-5.png"),
    ],
)
def test_the_examples_run(
    script: str, options: list[object], made: str, seeded: Path, tmp_path: Path
) -> None:
    # As somebody has it who has installed this.
    command = words(sys.executable, EXAMPLES / script, seeded, "--device", "cpu", *options)
    subprocess.run(command, cwd=tmp_path, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert read_view(tmp_path / made) is not None
