"""Checkpoints: small, the same picture back, and one clear line for every bad file."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from model.checkpoints import header_of, load_generator_space, render_preview, save_checkpoint
from model.config import GeneratorConfig, from_dict, to_dict
from model.generator_space import GeneratorSpace
from model.header import METADATA_KEY, CheckpointError, read_header
from model.space import Window
from tests.model.small import CONFIG, small_generator

CPU = torch.device("cpu")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    generator = small_generator()
    header = header_of(generator.config, {"kimg": 1.5}, "CC0-1.0")
    space = GeneratorSpace(generator, header, "x", torch.float32)
    path = tmp_path / "small.safetensors"
    full = header_of(generator.config, {"kimg": 1.5}, "CC0-1.0", render_preview(space))
    save_checkpoint(path, generator, full)
    return path


def test_the_picture_comes_back(checkpoint: Path) -> None:
    space = load_generator_space(checkpoint, CPU, "fp32")
    header = header_of(space.generator.config, {}, "")
    before = GeneratorSpace(small_generator(), header, "x", torch.float32)
    window = [Window((-0.2, -0.1), 2.5, 64, 64)]
    difference = (space.render(window) - before.render(window)).abs()
    # A step of 1/24 alone errs by 1/96 on average; coarser grids add half of it each, at random.
    assert difference.mean() < 0.015
    again = load_generator_space(checkpoint, CPU, "fp32")
    assert torch.equal(again.render(window), space.render(window))
    assert again.identity == space.identity


def test_grids_are_images_and_weights_two_bytes(checkpoint: Path) -> None:
    tensors = load_file(checkpoint)
    generator = small_generator()
    grids = list(generator.memory.parameters())  # type: ignore[union-attr]
    images = {name: t for name, t in tensors.items() if ".image." in name}
    assert len(images) == len(grids)
    for image in images.values():
        assert Image.open(io.BytesIO(image.numpy().tobytes())).format == "WEBP"
    others = sum(p.numel() for p in generator.parameters()) - sum(g.numel() for g in grids)
    kept = sum(t.numel() * t.element_size() for n, t in tensors.items() if n not in images)
    assert 2 * others < kept < 4 * others + 4096


def test_grids_get_coarser_steps_until_the_file_fits(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = checkpoint.stat().st_size
    usual = load_file(checkpoint)["memory.grids.3.step"]
    header = read_header(checkpoint)
    for share, finest, coarsest in ((0.99, 1.05, 2.0), (0.01, 1.0, 1.0)):  # the second never fits
        monkeypatch.setattr("model.checkpoints.FILE_BYTES", int(full * share))
        path = tmp_path / f"{share}.safetensors"
        save_checkpoint(path, small_generator(), header)
        ratio = (load_file(path)["memory.grids.3.step"] / usual).amax()
        assert finest <= ratio <= coarsest
        if share > 0.5:
            assert path.stat().st_size <= full * share
    assert path.read_bytes() == checkpoint.read_bytes()


def test_a_file_of_the_first_format_still_opens(checkpoint: Path) -> None:
    tensors = load_file(checkpoint)
    space = load_generator_space(checkpoint, CPU, "fp32")
    memory = space.generator.memory
    assert memory is not None
    for g, grid in enumerate(memory.grids):
        steps = tensors[f"memory.grids.{g}.step"]
        del tensors[f"memory.grids.{g}.image.0"]
        tensors[f"memory.grids.{g}"] = (grid.float() / steps).round().to(torch.int8)
    save_file(tensors, checkpoint, _metadata(checkpoint))
    window = [Window((-0.2, -0.1), 2.5, 64, 64)]
    old = load_generator_space(checkpoint, CPU, "fp32")
    assert torch.equal(old.render(window), space.render(window))


def test_what_a_head_of_before_leaves_out_means_what_it_did() -> None:
    """Later fields have other defaults for new generators: an old picture must not change."""
    old = from_dict(GeneratorConfig, {"memory": {"resolutions": [9.0, 18.0], "features": 4}})
    assert (old.noise_features, old.wave_stages) == (0, None)
    assert (old.noise_bands, old.noise_cutoff) == (1, None)
    assert old.memory is not None and (old.memory.ahead, old.memory.handed_over) == (0.0, 0.0)
    later = from_dict(GeneratorConfig, {"memory": {"resolutions": [9.0], "ahead": 0.5}})
    assert later.memory is not None and later.memory.handed_over == -0.5
    assert from_dict(GeneratorConfig, to_dict(CONFIG)) == CONFIG


@pytest.mark.parametrize("harm", ["missing", "cut", "foreign", "size"])
def test_a_damaged_grid_is_one_line(checkpoint: Path, harm: str) -> None:
    tensors = load_file(checkpoint)
    name = "memory.grids.1.image.0"
    if harm == "missing":
        del tensors[name]
    elif harm == "cut":
        tensors[name] = tensors[name][:40].clone()
    elif harm == "foreign":
        tensors[name] = torch.arange(99, dtype=torch.uint8)
    else:
        tensors[name] = tensors["memory.grids.0.image.0"].clone()
    save_file(tensors, checkpoint, _metadata(checkpoint))
    with pytest.raises(CheckpointError, match="grid") as caught:
        load_generator_space(checkpoint, CPU)
    assert "\n" not in str(caught.value)


def test_other_weights_have_another_identity(checkpoint: Path, tmp_path: Path) -> None:
    other = small_generator(seed=1)
    save_checkpoint(tmp_path / "b.safetensors", other, header_of(other.config, {}, ""))
    first = load_generator_space(checkpoint, CPU).identity
    assert first != load_generator_space(tmp_path / "b.safetensors", CPU).identity


def _rewrite(path: Path, change: dict[str, object]) -> None:
    fields = json.loads(_metadata(path)[METADATA_KEY]) | change
    save_file(load_file(path), path, {METADATA_KEY: json.dumps(fields)})


def _metadata(path: Path) -> dict[str, str]:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length])["__metadata__"]


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        read_header(tmp_path / "none.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 8, 100, -1, -1000])
def test_truncated(checkpoint: Path, keep: int) -> None:
    data = checkpoint.read_bytes()
    checkpoint.write_bytes(data[:keep])
    with pytest.raises(CheckpointError, match=r"truncated|not a checkpoint"):
        load_generator_space(checkpoint, CPU)


def test_foreign(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(3)}, path, {"format": "pt"})
    with pytest.raises(CheckpointError, match="another program"):
        load_generator_space(path, CPU)
    path.write_bytes(b"\x80\x04\x95" * 100)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load_generator_space(path, CPU)


def test_too_new(checkpoint: Path) -> None:
    _rewrite(checkpoint, {"format": 3})
    with pytest.raises(CheckpointError, match="format 3, this build reads up to 2; update"):
        load_generator_space(checkpoint, CPU)


@pytest.mark.parametrize(
    "change",
    [
        {"patch_size": "many"},
        {"field_size": [1.0]},
        {"preview": "***"},
        {"config": {"patch_size": 32, "widhts": [8]}},
        {"config": {"patch_size": 32}},
    ],
)
def test_damaged(checkpoint: Path, change: dict[str, object]) -> None:
    _rewrite(checkpoint, change)
    with pytest.raises(CheckpointError) as caught:
        load_generator_space(checkpoint, CPU)
    assert "\n" not in str(caught.value)


def test_an_unknown_field_names_the_nearest_known_one(checkpoint: Path) -> None:
    _rewrite(checkpoint, {"config": {"widhts": [8]}})
    with pytest.raises(CheckpointError, match="did you mean 'widths'"):
        load_generator_space(checkpoint, CPU)


def test_a_full_disk_leaves_the_old_file(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = checkpoint.read_bytes()

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("model.checkpoints.save_file", full)
    generator = small_generator(seed=5)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(checkpoint, generator, header_of(generator.config, {}, ""))
    assert checkpoint.read_bytes() == before
    assert [p.name for p in checkpoint.parent.iterdir()] == [checkpoint.name]
