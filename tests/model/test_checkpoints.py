"""Checkpoints: small, the same picture back, and one clear line for every bad file."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.checkpoints import header_of, load_generator_space, render_preview, save_checkpoint
from model.config import GeneratorConfig, LossConfig, TrainConfig, from_dict, to_dict
from model.generator_space import GeneratorSpace
from model.header import METADATA_KEY, CheckpointError, read_header
from model.space import Window
from tests.model.small import CONFIG, small_generator

CPU = torch.device("cpu")
SHIPPED = sorted((Path(__file__).parents[2] / "checkpoints").glob("*.safetensors"))


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
    assert difference.max() < 0.01  # weights in half precision
    again = load_generator_space(checkpoint, CPU, "fp32")
    assert torch.equal(again.render(window), space.render(window))
    assert again.identity == space.identity


def test_what_is_open_is_not_what_the_file_becomes(checkpoint: Path) -> None:
    """A mapped file would show what is written over it, or end the program where it is cut."""
    space = load_generator_space(checkpoint, CPU, "fp32")
    window = [Window((-0.2, -0.1), 2.5, 64, 64)]
    before = space.render(window)
    weights = [p.clone() for p in space.generator.parameters()]
    data = checkpoint.read_bytes()
    with checkpoint.open("r+b") as file:
        file.seek(len(data) // 4)
        file.write(bytes(len(data) - len(data) // 4))
    assert all(map(torch.equal, space.generator.parameters(), weights))
    assert torch.equal(space.render(window), before)
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert str(checkpoint) not in maps.read_text()


def test_weights_take_two_bytes_and_the_picture_what_it_was_coded_in(checkpoint: Path) -> None:
    tensors = load_file(checkpoint)
    generator = small_generator()
    assert generator.base is not None
    coded = generator.base.get_extra_state()
    assert torch.equal(tensors.pop("base._extra_state"), coded)
    weights = sum(p.numel() for p in generator.parameters())
    kept = sum(t.numel() * t.element_size() for t in tensors.values())
    assert 2 * weights < kept < 4 * weights + 4096
    large = [t for t in tensors.values() if t.numel() > 4096 and t.dtype != torch.float64]
    assert large and {t.dtype for t in large} == {torch.float16}


def test_with_pauses_between_its_parts_it_is_the_same_file(
    checkpoint: Path, tmp_path: Path
) -> None:
    breaths: list[None] = []
    path = tmp_path / "slow.safetensors"
    header = read_header(checkpoint)
    save_checkpoint(path, small_generator(), header, lambda: breaths.append(None))
    assert len(breaths) >= len(load_file(path))
    assert (
        load_generator_space(path, CPU).identity == load_generator_space(checkpoint, CPU).identity
    )
    assert _metadata(path) == _metadata(checkpoint)


def test_what_a_head_of_before_leaves_out_means_what_it_did() -> None:
    """Later fields have other defaults for new generators: an old picture must not change."""
    old = from_dict(GeneratorConfig, {"memory": None})
    assert (old.noise_features, old.wave_stages) == (0, None)
    assert (old.noise_bands, old.noise_cutoff, old.base) == (1, None, None)
    assert from_dict(GeneratorConfig, to_dict(CONFIG)) == CONFIG


def test_fields_that_nothing_asks_for_any_more_are_left_out(checkpoint: Path) -> None:
    """Those of generators without feature grids; each in its own config only."""
    config = to_dict(CONFIG) | {"memory": None}
    assert from_dict(GeneratorConfig, config) == CONFIG
    assert from_dict(TrainConfig, {"memory_lr": 1e-3, "kimg": 2.0}) == TrainConfig(
        kimg=2.0, whole_share=0.0
    )
    assert from_dict(LossConfig, {}) == LossConfig(moments_weight=0.0)  # it goes on as it was
    for cls, field in ((GeneratorConfig, "memory_lr"), (TrainConfig, "memory")):
        with pytest.raises(ValueError, match=f"has no field '{field}'"):
            from_dict(cls, {field: None})
    before = load_generator_space(checkpoint, CPU, "fp32")
    _rewrite(checkpoint, {"config": config, "training": {"config": {"train": {"memory_lr": 1e-3}}}})
    window = [Window((-0.2, -0.1), 2.5, 32, 32)]
    space = load_generator_space(checkpoint, CPU, "fp32")
    assert torch.equal(space.render(window), before.render(window))


def test_feature_grids_are_refused_in_one_line(checkpoint: Path) -> None:
    grids = {"resolutions": [9.0, 18.0], "features": 4}
    _rewrite(checkpoint, {"config": to_dict(CONFIG) | {"base": None, "memory": grids}})
    line = (
        r"keeps feature grids, where this version expects a base layer\); train it again, or open "
        "it with the version that made it"
    )
    with pytest.raises(CheckpointError, match=line) as caught:
        load_generator_space(checkpoint, CPU)
    assert "\n" not in str(caught.value) and str(checkpoint) in str(caught.value)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_ships_opens(path: Path) -> None:
    space = load_generator_space(path, CPU)
    assert space.render([Window((-0.2, -0.1), 3.0, 32, 32)]).std() > 0.05


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
        {"patch_size": 0},
        {"patch_size": math.inf},
        {"field_size": [math.nan, 1.0]},
        {"field_size": [0.0, 1.0]},
        {"level_range": [3.0, 1.0]},
        {"level_range": [0.0, 1.0]},
    ],
)
def test_damaged(checkpoint: Path, change: dict[str, object]) -> None:
    _rewrite(checkpoint, change)
    with pytest.raises(CheckpointError) as caught:
        load_generator_space(checkpoint, CPU)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "table",
    [
        '{"a": {"data_offsets": [0, "x"]}}',
        '{"a": {"data_offsets": [0, null]}}',
        '{"a": 3}',
        '{"a": ' * 100_000,
        '{"__metadata__": {"scalespace": "{\\"format\\": 1e999}"}}',
    ],
)
def test_a_head_that_somebody_made_up_is_one_line(tmp_path: Path, table: str) -> None:
    path = tmp_path / "odd.safetensors"
    path.write_bytes(struct.pack("<Q", len(table)) + table.encode() + bytes(64))
    with pytest.raises(CheckpointError) as caught:
        read_header(path)
    assert "\n" not in str(caught.value)


def test_no_memory_is_taken_on_a_files_word(checkpoint: Path) -> None:
    """Widths of which a network would take a terabyte."""
    config = {**read_header(checkpoint).config, "widths": [200_000, 200_000]}
    _rewrite(checkpoint, {"config": config})
    with pytest.raises(CheckpointError, match="does not fit"):
        load_generator_space(checkpoint, CPU)


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
