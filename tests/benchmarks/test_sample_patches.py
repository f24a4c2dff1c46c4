"""The sample patches: what the command makes, and that what ships is that."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.sample_patches import SampleConfig, draw, write_samples
from explorer.shipped import PAINTING, SAMPLE_PATCHES, shipped
from model.checkpoints import header_of, save_checkpoint
from model.data.patches import PatchCollection, open_data
from model.header import read_header
from tests.model.small import CONFIG, small_generator


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "scene.safetensors"
    save_checkpoint(path, small_generator(), header_of(CONFIG, {}, "CC0-1.0"))
    return path


def test_patches_lie_in_the_field_and_a_seed_repeats_them() -> None:
    config = SampleConfig(counts=(5, 40, 80), seed=3)
    levels, centers = draw((1.25, 1.0), config)
    assert levels.min() == 0.0 and levels.max() < 3 and len(levels) == 125
    assert (np.diff(levels) < 0).mean() > 0.3  # shuffled
    reach = np.abs(centers) + 0.5 * 2.0 ** -levels[:, None]
    assert (reach <= np.array([0.625, 0.5]) + 1e-9).all() and reach[:, 0].max() > 0.6
    again = draw((1.25, 1.0), config)
    assert np.array_equal(again[0], levels) and np.array_equal(again[1], centers)
    assert not np.array_equal(draw((1.25, 1.0), SampleConfig((5, 40, 80), seed=4))[0], levels)


def test_the_command_writes_a_data_set_that_opens(scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "samples"
    config = SampleConfig(counts=(2, 3, 3))
    size = write_samples(scene, out, config)
    assert size == sum(file.stat().st_size for file in out.iterdir())
    data = open_data(out)
    assert isinstance(data, PatchCollection) and not data.problems and len(data) == 8
    assert data.images(range(8), 32, threads=1).std() > 1
    first = {file.name: file.read_bytes() for file in out.iterdir()}
    (out / "stale.jpg").write_bytes(b"")
    write_samples(scene, out, config)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["samples", "scene.safetensors"]


def test_what_ships_is_small_labelled_and_of_the_painting() -> None:
    folder = shipped(SAMPLE_PATCHES).parent
    labels = json.loads((folder / "dataset.json").read_text())["labels"]
    levels, _ = draw(read_header(shipped(PAINTING)).field_size, SampleConfig())
    assert [level for _, level in labels] == levels.tolist()
    assert {name for name, _ in labels} == {file.name for file in folder.glob("*.jpg")}
    assert sum(file.stat().st_size for file in folder.iterdir()) < 3 * 2**20
    assert levels.min() >= 0 and 4.9 < levels.max() <= 5
    with Image.open(folder / labels[0][0]) as image:
        assert image.size == (64, 64) and image.mode == "RGB"
    about = (folder / "README.md").read_text()
    assert f"{len(labels)} pictures" in about and "CC0-1.0" in about
