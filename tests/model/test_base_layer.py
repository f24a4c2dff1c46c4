"""The base layer: what was coded comes back at any scale, from any tile, within its bytes."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model.base_layer import TILE, BaseLayer
from model.checkpoints import header_of, load_generator_space, save_checkpoint
from model.config import BaseConfig, GeneratorConfig, from_dict, to_dict
from model.generator import Generator
from model.generator_space import GeneratorSpace
from model.header import CheckpointError
from model.pyramid import ImagePyramid
from model.scale import Lattice, density, level_of_density
from model.space import Window
from tests.model.small import CONFIG, small_generator

PATCH = 32


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory: pytest.TempPathFactory) -> ImagePyramid:
    """A smooth scene with an edge, 520 x 400."""
    folder = tmp_path_factory.mktemp("base")
    y, x = np.mgrid[:400, :520].astype(np.float64)
    picture = np.stack([np.sin(x / 9) * np.cos(y / 13), np.cos((x + y) / 21), x / 260 - 1], -1)
    picture[150:250, 200:300] *= -0.5
    Image.fromarray((picture * 100 + 128).astype(np.uint8)).save(folder / "scene.png")
    return ImagePyramid.open(folder / "scene.png", patch_size=PATCH, cache_dir=folder / "cache")


def _png(pixels: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def coordinates(window: Window) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Centres of a window's pixels, and their density."""
    d = density(window.level, PATCH)
    nodes = []
    for origin, size in zip(window.origin_xy, (window.width, window.height), strict=True):
        lattice = Lattice.at(origin, d)
        index = torch.arange(lattice.first, lattice.first + size, dtype=torch.float64)
        nodes.append(((index + 0.5 + lattice.phase) / d)[None])
    return nodes[0], nodes[1], d


@pytest.mark.parametrize(("level", "least"), [(0.0, 34), (1.3, 34), (2.0, 32), (3.6, 30)])
def test_it_shows_the_scene_at_every_scale(
    pyramid: ImagePyramid, level: float, least: float
) -> None:
    base = BaseLayer.of(pyramid, pyramid.base_density, 1 << 20)
    window = Window((-0.4, -0.3), level, 24, 28)
    shown = base.read(*coordinates(window))
    error = (shown - pyramid.render([window])).square().mean()
    assert 10 * torch.log10(4 / error) > least
    assert base.get_extra_state().numel() < pyramid.base_size[0] * pyramid.base_size[1]


@pytest.mark.parametrize("octaves", [0.51, 0.75, 1.0, 1.3])
def test_between_octaves_it_is_read_and_not_guessed(
    octaves: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture full of detail, seen where its pixels are not: what a halving lost would show."""
    detail = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    Image.fromarray(detail).save(tmp_path / "noise.png")
    pyramid = ImagePyramid.open(tmp_path / "noise.png", patch_size=PATCH, cache_dir=tmp_path)
    monkeypatch.setattr("model.base_layer._FORMATS", ("PNG",))
    monkeypatch.setattr("model.base_layer._encode", lambda pixels, quality, speed: _png(pixels))
    base = BaseLayer.of(pyramid, 256.0, 1 << 20)
    window = Window((-0.3013, -0.2507), level_of_density(256 / 2**octaves, PATCH), 40, 40)
    error = base.read(*coordinates(window)) - pyramid.render([window])
    contrast = pyramid.render([window]).square().mean()
    assert float(error.square().mean() / contrast) < (0.06 if octaves < 1 else 0.001)


def test_a_pixel_does_not_depend_on_its_window(pyramid: ImagePyramid) -> None:
    base = BaseLayer.of(pyramid, 100.0, 1 << 20)
    xs, ys, d = coordinates(Window((-0.5, -0.4), 2.4, 150, 140))
    whole = base.read(xs, ys, d)
    part = base.read(xs[:, 70:93], ys[:, 31:120], d)
    torch.testing.assert_close(part, whole[:, :, 31:120, 70:93], atol=2e-6, rtol=0)
    both = base.read(
        torch.cat([xs[:, :20], xs[:, 90:110]]), torch.cat([ys[:, :9], ys[:, 60:69]]), d
    )
    torch.testing.assert_close(both[1], whole[0, :, 60:69, 90:110], atol=2e-6, rtol=0)


def test_the_nearest_edge_goes_on_outside(pyramid: ImagePyramid) -> None:
    base = BaseLayer.of(pyramid, 400.0, 1 << 20)
    xs, ys, d = coordinates(Window((-9.0, -0.1), 2.0, 8, 8))
    far, further = base.read(xs, ys, d), base.read(xs - 3, ys, d)
    torch.testing.assert_close(far, further, atol=1e-6, rtol=0)
    assert float(far.std(3).max()) < 1e-6 < float(far.std(2).min())
    corner = base.read(xs, ys + 9, d)[..., 0, 0]
    torch.testing.assert_close(corner[0] * 127.5 + 127.5, base.mip1[-1, 0].float())


def test_what_is_finer_than_the_lattice_is_left_out() -> None:
    """Stripes of one pixel: all there at their own density, grey where it is halved.

    Between halvings a box, as the truth's, lets a fifth of them pass.
    """
    base = BaseLayer((1.0, 1.0))
    pixels = torch.full((64, 64, 3), 228, dtype=torch.uint8)
    pixels[:, ::2] = 28
    halved = pixels.view(32, 2, 32, 2, 3).float().mean((1, 3)).to(torch.uint8)
    base._set_mips([pixels, halved])
    base.density = 64.0
    for d, least, most in (
        (64.0, 0.78, 0.79),
        (40.0, 0.0, 0.2),
        (32.0, 0.0, 0.01),
        (25.0, 0.0, 0.2),
        (16.0, 0.0, 0.01),
    ):
        nodes = ((torch.arange(12) + 0.5) / d - 0.25).double()[None]
        assert least <= float(base.read(nodes, nodes, d)[0, 0, 0].abs().max()) <= most


def test_it_keeps_to_its_bytes(pyramid: ImagePyramid) -> None:
    plenty = BaseLayer.of(pyramid, 400.0, 1 << 20).get_extra_state().numel()
    few = BaseLayer.of(pyramid, 400.0, plenty // 3).get_extra_state().numel()
    assert plenty // 6 < few < plenty // 3 + 200, "the head counts too"
    again = BaseLayer.of(pyramid, 400.0, plenty // 3).get_extra_state().numel()
    assert again == few


def test_more_than_one_tile(pyramid: ImagePyramid) -> None:
    """Magnified, so that there are four: their borders do not show."""
    base = BaseLayer.of(pyramid, 1.2 * TILE, 1 << 20)
    window = Window((-0.2, TILE / (1.2 * TILE) - 0.5 - 0.1), 3.5, 64, 64)
    error = base.read(*coordinates(window)) - pyramid.render([window])
    assert float(error.abs().max()) < 0.2


def test_progress_rises_and_can_cancel(pyramid: ImagePyramid) -> None:
    shares: list[float] = []
    BaseLayer.of(pyramid, 1.2 * TILE, 1 << 20, shares.append)
    assert shares == sorted(shares) and shares[-1] == 1.0 and len(set(shares)) > 2

    def cancel(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        BaseLayer.of(pyramid, 400.0, 1 << 20, cancel)


def test_copies_share_the_pixels(pyramid: ImagePyramid) -> None:
    base = BaseLayer.of(pyramid, 400.0, 1 << 20)
    assert copy.deepcopy(base).mip0.data_ptr() == base.mip0.data_ptr()


def filled(pyramid: ImagePyramid) -> Generator:
    generator = small_generator(
        base=BaseConfig(400.0), waves_per_octave=0, field_size=pyramid.field_size
    )
    generator.base = BaseLayer.of(pyramid, 400.0, 1 << 20)
    return generator


def test_a_checkpoint_brings_it_back(pyramid: ImagePyramid, tmp_path: Path) -> None:
    generator = filled(pyramid)
    header = header_of(generator.config, {}, "")
    save_checkpoint(tmp_path / "a.safetensors", generator, header)
    window = [Window((-0.2, -0.1), 2.5, 40, 48)]
    space = load_generator_space(tmp_path / "a.safetensors", torch.device("cpu"), "fp32")
    before = GeneratorSpace(generator, header, "x", torch.float32).render(window)
    torch.testing.assert_close(space.render(window), before, atol=0.01, rtol=0)
    assert from_dict(GeneratorConfig, to_dict(generator.config)) == generator.config


def test_damage_is_one_line(pyramid: ImagePyramid, tmp_path: Path) -> None:
    generator = filled(pyramid)
    header = header_of(generator.config, {}, "")
    whole = generator.base.get_extra_state()  # type: ignore[union-attr]
    head = int.from_bytes(whole[:8].numpy().tobytes(), "little")
    cut_off, no_head, noise = whole[: len(whole) // 2], whole[9:], whole.clone()
    noise[8 + head :] = torch.randint(0, 255, noise[8 + head :].shape, dtype=torch.uint8)
    huge = json_head({"density": 1.0, "size": [10**6, 10**6], "bytes": []})
    for damaged in (cut_off, no_head, noise, whole[:4], huge, whole.float()):
        with pytest.raises(ValueError, match="picture"):
            BaseLayer(pyramid.field_size).set_extra_state(damaged)
    generator.base.get_extra_state = lambda: noise  # type: ignore[union-attr, method-assign]
    save_checkpoint(tmp_path / "a.safetensors", generator, header)
    with pytest.raises(CheckpointError, match="damaged") as caught:
        load_generator_space(tmp_path / "a.safetensors", torch.device("cpu"))
    assert "\n" not in str(caught.value)


def json_head(head: dict[str, object]) -> torch.Tensor:
    import json

    text = json.dumps(head).encode()
    data = len(text).to_bytes(8, "little") + text
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def test_an_untrained_network_shows_it(pyramid: ImagePyramid) -> None:
    """Training begins with the picture: what the stages make is added to it."""
    config = CONFIG.__class__(
        patch_size=PATCH,
        field_size=pyramid.field_size,
        level_range=(0.0, 3.6),
        widths=(24, 16, 8),
        waves_per_octave=0,
        w_dim=16,
        base=BaseConfig(400.0),
    )
    generator = Generator(config)
    generator.base = BaseLayer.of(pyramid, 400.0, 1 << 20)
    window = Window((-0.4, -0.3), 2.2, 32, 32)
    with torch.no_grad():
        error = (generator([window]) - pyramid.render([window])).square().mean()
    assert 10 * torch.log10(4 / error) > 20
