"""The picture that placed patches make."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model.placement import mosaic
from model.placement.mosaic import compose, detail_map, finest_level
from model.pyramid import ImagePyramid
from model.space import Window, to_uint8

ORANGE = np.array([250, 120, 20], np.uint8)


@pytest.fixture
def pyramid(tmp_path: Path) -> ImagePyramid:
    """A smooth picture of 390 x 300 pixels."""
    y, x = np.mgrid[0:300, 0:390] / 300
    waves = [np.sin(9 * x + 4 * y), np.cos(7 * y - 2 * x), np.sin(5 * x * y)]
    Image.fromarray((np.stack(waves, 2) * 100 + 128).astype(np.uint8)).save(tmp_path / "p.png")
    opened = ImagePyramid.open(tmp_path / "p.png", patch_size=32, cache_dir=tmp_path / "cache")
    yield opened
    opened.close()


def grid_patches(
    pyramid: ImagePyramid, level: float, step: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Patches of one level whose centres lie `step` spans apart, over the whole field."""
    span = 2.0**-level
    axes = [
        np.unique(np.append(np.arange(-s / 2, s / 2 - span, step * span), s / 2 - span))
        for s in pyramid.field_size
    ]
    origins = np.array([(x, y) for y in axes[1] for x in axes[0]])
    levels = np.full(len(origins), level)
    images = to_uint8(pyramid.sample(origins, levels, 32)).numpy()
    return images, origins + span / 2, levels


def test_true_places_give_the_picture_back(pyramid: ImagePyramid, tmp_path: Path) -> None:
    parts = [grid_patches(pyramid, level, 0.7) for level in (0.0, 1.0, 2.6)]
    images, centers, levels = (np.concatenate(p) for p in zip(*parts))
    seen: list[float] = []
    field = pyramid.field_size
    compose(images, centers, levels, field, tmp_path / "m.tif", seen.append)
    assert seen == sorted(seen) and seen[-1] == 1.0
    opened = ImagePyramid.open(tmp_path / "m.tif", patch_size=32, cache_dir=tmp_path / "cache")
    assert opened.field_size == pytest.approx(field, abs=1e-2)
    for level in (0.5, 2.0):
        window = Window((-0.62, -0.49), level, 30, 30)
        error = (opened.render([window]) - pyramid.render([window])).abs()
        assert float(error.max()) < 8 / 127.5, level
    detail = detail_map(centers, levels, field, opened.base_size)
    assert float(detail.min()) == pytest.approx(2.6)
    opened.close()


def test_a_place_is_as_sharp_as_the_finest_patch_there(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (256, 256, 3), np.uint8)).save(tmp_path / "noise.png")
    pyramid = ImagePyramid.open(tmp_path / "noise.png", patch_size=32, cache_dir=tmp_path / "cache")
    # One patch alone makes the picture half an octave denser than the others are.
    parts = [grid_patches(pyramid, 1.5, 0.7), tuple(a[:1] for a in grid_patches(pyramid, 2.0, 1.0))]
    images, centers, levels = (np.concatenate(p) for p in zip(*parts))
    compose(images, centers, levels, (1.0, 1.0), tmp_path / "m.tif")
    opened = ImagePyramid.open(tmp_path / "m.tif", patch_size=32, cache_dir=tmp_path / "cache")
    window = Window((0.0, 0.0), 0.8, 15, 15)
    ours, real = opened.render([window]), pyramid.render([window])
    share = float((ours - real).square().mean() / (real - real.mean()).square().mean())
    assert share < 0.4  # half, where these patches are left to the next coarser picture
    opened.close()
    pyramid.close()


def test_the_picture_shows_what_its_patches_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (256, 320, 3), np.uint8)).save(tmp_path / "noise.png")
    pyramid = ImagePyramid.open(tmp_path / "noise.png", patch_size=32, cache_dir=tmp_path / "cache")
    images, centers, levels = grid_patches(pyramid, 1.7, 0.7)
    patches = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    errors = []
    for rounds in (0, mosaic._ROUNDS):
        monkeypatch.setattr(mosaic, "_ROUNDS", rounds)
        path = tmp_path / f"{rounds}.tif"
        compose(images, centers, levels, (1.25, 1.0), path)
        opened = ImagePyramid.open(path, patch_size=32, cache_dir=tmp_path / "cache")
        origins = centers - 0.5 * 2.0 ** -levels[:, None]
        shown = opened.sample(origins, levels, 32)
        inside = (slice(None), slice(None), slice(4, -4), slice(4, -4))
        errors.append(float(((shown + 1) * 127.5 - patches)[inside].square().mean().sqrt()))
        opened.close()
    pyramid.close()
    assert errors[1] < 0.8 * errors[0]


def one_colour(finest: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Patches, centres and levels: orange, and at random places of a field of 1.4 x 1."""
    rng = np.random.default_rng(0)
    levels = np.concatenate([np.zeros(9), rng.uniform(0, finest, 400)])
    half = 0.5 * 2.0 ** -levels[:, None]
    centers = rng.uniform(-1, 1, (409, 2)) * (np.array([0.7, 0.5]) - half)
    centers[:2, 0] = -0.2, 0.2  # the left and the right edge are covered whole
    images = np.empty((409, 32, 32, 3), np.uint8)
    images[:] = ORANGE
    return images, centers, levels


@pytest.mark.parametrize("finest", [0.2, 3.0])
def test_no_frame_of_another_colour_is_round_the_picture(tmp_path: Path, finest: float) -> None:
    compose(*one_colour(finest), (1.4, 1.0), tmp_path / "m.tif")
    with Image.open(tmp_path / "m.tif") as picture:
        assert (np.asarray(picture) == ORANGE).all()


def test_a_hole_takes_the_mean_colour_of_what_is_shown(tmp_path: Path) -> None:
    images, centers, levels = one_colour(3.0)
    aside = np.abs(centers[:, 0]) > 0.1 + 0.5 * 2.0**-levels
    compose(images[aside], centers[aside], levels[aside], (1.4, 1.0), tmp_path / "m.tif")
    with Image.open(tmp_path / "m.tif") as picture:
        assert (np.asarray(picture) == ORANGE).all()


def test_detail_is_the_finest_patch_over_each_cell() -> None:
    centers, levels = np.array([[0.0, 0.0], [0.25, 0.25]]), np.array([0.0, 1.0])
    detail = detail_map(centers, levels, (2.0, 1.0), (2048, 1024))
    assert detail.shape == (64, 128)
    assert (detail[:, :32] == -1).all() and (detail[:, 96:] == -1).all()
    assert (detail[32:, 64:96] == 1).all()
    assert (detail[:32, 32:96] == 0).all() and (detail[:, 32:64] == 0).all()


def test_one_patch_in_thousands_does_not_make_the_picture_finer(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    levels = np.append(rng.uniform(0, 2, 1999), 3.7)  # placed by mistake
    assert finest_level(levels) == pytest.approx(2.0, abs=0.01)
    assert finest_level(np.array([0.0, 1.0, 3.7])) == 3.7
    centers = rng.uniform(-0.5, 0.5, (2000, 2))
    compose(np.zeros((2000, 8, 8, 3), np.uint8), centers, levels, (1.0, 1.0), tmp_path / "m.tif")
    with Image.open(tmp_path / "m.tif") as picture:
        assert picture.size == (32, 32)


def test_what_cannot_be_composed_is_refused(tmp_path: Path) -> None:
    nothing = np.empty((0, 8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="placed patches"):
        compose(nothing, np.empty((0, 2)), np.empty(0), (1.0, 1.0), tmp_path / "m.tif")
    one = np.zeros((1, 8, 8, 3), np.uint8)
    with pytest.raises(OSError, match="cannot be written"):
        compose(one, np.zeros((1, 2)), np.zeros(1), (1.0, 1.0), tmp_path / "no" / "m.tif")
    assert not list(tmp_path.iterdir())
