"""Where training and its saving can wait: between layers, and pieces of tables and files."""

from __future__ import annotations

import copy
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from model import breathing
from model.breathing import breathe_between_layers, copy_of, in_pieces
from model.checkpoints import header_of
from model.ema import update_ema
from model.generator_space import GeneratorSpace
from model.space import Window
from model.tensor_file import write_tensors
from tests.model.small import small_generator


class Breaths:
    """Counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1

    def since(self) -> int:
        """How many since this was last asked."""
        count, self.count = self.count, 0
        return count


@pytest.fixture
def breaths() -> Breaths:
    return Breaths()


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softplus(), nn.Conv2d(4, 5, 3), nn.Conv2d(5, 1, 1))


def test_every_layer_gives_way_forth_and_back_and_back_again(breaths: Breaths) -> None:
    network = layers()
    plain = copy.deepcopy(network)
    breathe_between_layers(network, breaths)

    def gradients(of: nn.Module) -> list[torch.Tensor]:
        img = torch.linspace(-1, 1, 192).view(1, 3, 8, 8).requires_grad_()
        out = of(img)
        forth = breaths.since()
        (slope,) = torch.autograd.grad(out.sum(), img, create_graph=True)
        back = breaths.since()
        slope.square().sum().backward()
        again = breaths.since()
        if of is network:
            assert forth == back == 3 and again > 3
        return [p.grad for p in of.parameters() if p.grad is not None]

    for mine, expected in zip(gradients(network), gradients(plain), strict=True):
        assert torch.equal(mine, expected)
    assert breaths.since() == 0
    with torch.no_grad():
        network(torch.zeros(1, 3, 8, 8))
    assert breaths.since() == 3


def test_what_breathing_raises_ends_the_way_back() -> None:
    network = layers()
    is_over = False

    def breathe() -> None:
        if is_over:
            raise KeyboardInterrupt

    breathe_between_layers(network, breathe)
    out = network(torch.zeros(1, 3, 8, 8)).sum()
    is_over = True
    with pytest.raises(KeyboardInterrupt):
        out.backward()


def test_large_tensors_are_cut_into_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breathing, "PIECE", 20)
    table, other = torch.arange(70.0).view(7, 5, 2), torch.zeros(7, 5, 2)
    pieces = list(in_pieces(table, other))
    assert [len(piece) for piece, _ in pieces] == [2, 2, 2, 1]
    assert torch.equal(torch.cat([piece for piece, _ in pieces]), table)
    assert len(list(in_pieces(table[:2]))) == 1


def test_an_average_and_a_copy_breathe_and_come_out_the_same(
    breaths: Breaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = nn.ParameterList([torch.randn(40, 30, 4), torch.randn(3)])
    average = nn.ParameterList([torch.randn(40, 30, 4), torch.randn(3)])
    expected = [torch.lerp(a, m, 0.5) for a, m in zip(average, module, strict=True)]
    for name in ("model.breathing.PIECE", "model.ema.PIECE"):
        monkeypatch.setattr(name, 1000)
    update_ema(average, module, 1000, 1.0, breaths)
    assert breaths.since() == 5
    for mine, whole in zip(average, expected, strict=True):
        torch.testing.assert_close(mine.detach(), whole)

    copied = copy_of(module, breaths)
    assert breaths.since() == 5
    for mine, original in zip(copied, module, strict=True):
        assert torch.equal(mine, original) and mine.data_ptr() != original.data_ptr()


def test_a_file_is_written_in_pieces_and_is_what_safetensors_writes(
    breaths: Breaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.tensor_file._PIECE_BYTES", 100)
    tensors = {
        "b/weight": torch.randn(8, 4, 3, 3).to(memory_format=torch.channels_last).contiguous(),
        "a": torch.arange(7, dtype=torch.float64),
        "half": torch.randn(5).half(),
        "brain": torch.randn(5).bfloat16(),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "step": torch.tensor(3.0),
        "empty": torch.zeros(0, 3),
    }
    metadata = {"scalespace-state": '{"rng": "ü"}'}
    write_tensors(tmp_path / "mine", tensors, metadata, breaths)
    assert breaths.since() >= 8 * 4 * 9 * 4 // 100
    save_file(tensors, tmp_path / "theirs", metadata)
    mine = load_file(tmp_path / "mine")
    assert mine.keys() == tensors.keys()
    for name, tensor in load_file(tmp_path / "theirs").items():
        assert mine[name].dtype == tensor.dtype and torch.equal(mine[name], tensor)
    # The data lie where safetensors puts them.
    sizes = [(tmp_path / name).stat().st_size for name in ("mine", "theirs")]
    assert abs(sizes[0] - sizes[1]) <= 8


def test_what_a_space_renders_can_be_given_up_between_two_layers(breaths: Breaths) -> None:
    generator = small_generator()
    header = header_of(generator.config, {}, "CC0-1.0")
    space = GeneratorSpace(generator, header, "small", torch.float32)
    window = Window((0.0, 0.0), 2.0, 32, 32)
    before = space.render([window])
    space.breathe_with(lambda: None)
    space.breathe_with(breaths)  # in place of the first
    assert torch.equal(space.render([window]), before)
    layers_of = breaths.since()
    assert layers_of > 4

    class Enough(Exception):
        pass

    def give_up() -> None:
        breaths()
        if breaths.count == 2:
            raise Enough

    space.breathe_with(give_up)
    with pytest.raises(Enough):
        space.render([window])
    assert breaths.since() == 2
    space.breathe_with(breaths)
    assert torch.equal(space.render([window]), before) and breaths.since() == layers_of


def test_what_the_layers_hear_gives_way_between_its_parts(breaths: Breaths) -> None:
    """The base layer and the noise are as much work as the layers themselves."""
    generator = small_generator()
    window = Window((-0.1, 0.05), 2.2, 24, 24)
    plain = generator([window]).detach()
    breathe_between_layers(generator, breaths)
    places = generator._places([window])
    generator._hear(places, None, torch.float32)
    assert breaths.since() >= 2 * len(places)
    assert torch.equal(generator([window]), plain)


@pytest.mark.usefixtures("no_collector")
def test_a_space_that_gave_way_goes_at_once_with_its_weights(breaths: Breaths) -> None:
    """A run hands out a copy of its weights a minute: an hour of them is hundreds of megabytes."""
    generator = small_generator()
    space = GeneratorSpace(generator, header_of(generator.config, {}, ""), "small", torch.float32)
    space.breathe_with(breaths)
    space.render([Window((0.0, 0.0), 2.0, 32, 32)])
    weights = weakref.ref(generator.noise.mix[0])
    del space, generator
    assert weights() is None


def test_what_outlived_its_owner_breathes_for_nobody() -> None:
    times: list[int] = []

    class Owner:
        def breathe(self) -> None:
            times.append(1)

    network, owner = layers(), Owner()
    breathe_between_layers(network, owner.breathe)
    network(torch.zeros(1, 3, 8, 8))
    assert len(times) == 3
    del owner
    network(torch.zeros(1, 3, 8, 8))
    assert len(times) == 3


def test_copies_share_what_never_changes() -> None:
    generator = small_generator()
    copied = copy_of(generator)
    assert copied.noise.table is generator.noise.table
    mix, copied_mix = generator.noise.mix[0], copied.noise.mix[0]
    assert torch.equal(copied_mix, mix) and copied_mix.data_ptr() != mix.data_ptr()
    assert copied.state_dict().keys() == generator.state_dict().keys()
