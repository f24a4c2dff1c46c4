"""Cutting a training set: what is cut is what the labels say, and the files are whole or absent."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.data.cut import FORMS, Cut, CutConfig, cut_patches, write_patches
from model.data.patches import PatchCollection, open_patches
from model.pyramid import ImagePyramid
from model.space import to_uint8, window_around

SIZE = 8


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImagePyramid]:
    folder = tmp_path_factory.mktemp("picture")
    noise = np.random.default_rng(2).integers(0, 256, (200, 300, 3), np.uint8)
    Image.fromarray(noise).save(folder / "picture.png")
    space = ImagePyramid.open(folder / "picture.png", patch_size=SIZE, cache_dir=folder / "cache")
    yield space
    space.close()


def cut(pyramid: ImagePyramid, **changes: object) -> list[Cut]:
    settings = {"levels": (0.0, 4.0), "counts": (300,), "seed": 5, **changes}
    return list(cut_patches(pyramid, CutConfig(**settings)))  # type: ignore[arg-type]


def test_a_patch_is_the_picture_where_the_truth_says(pyramid: ImagePyramid) -> None:
    for patch in cut(pyramid, label_noise=0.1)[::7]:
        window = window_around(patch.center_xy, patch.level, (SIZE, SIZE), SIZE)
        expected = to_uint8(pyramid.render([window]))[0].numpy()
        np.testing.assert_array_equal(patch.pixels, expected)


def test_levels_and_places_are_uniform_inside_the_field(pyramid: ImagePyramid) -> None:
    patches = cut(pyramid, counts=(4000,))
    levels = np.array([p.level for p in patches])
    centers = np.array([p.center_xy for p in patches])
    room = (np.array([1.5, 1.0]) - 2.0 ** -levels[:, None]) / 2
    assert (np.abs(centers) <= room + 1e-12).all()
    assert levels.min() == 0 and levels.max() <= 4
    # 4000 draws: a share of a quarter is off by 0.007 (one sigma), the mean of places by 0.005.
    shares = np.histogram(levels, 4, (0, 4))[0] / 4000
    assert np.abs(shares - 0.25).max() < 0.03
    place = (centers / np.maximum(room, 1e-9))[levels > 0]
    assert np.abs(place.mean(0)).max() < 0.05 and np.abs((place**2).mean(0) - 1 / 3).max() < 0.03
    assert abs(np.corrcoef(levels, np.arange(4000))[0, 1]) < 0.06, "names must not tell levels"


def test_one_patch_anchors_the_scene(pyramid: ImagePyramid) -> None:
    patches = cut(pyramid, counts=(40,))
    (anchor,) = [p for p in patches if p.level == 0]
    assert anchor.center_xy[1] == 0.0 and abs(anchor.center_xy[0]) <= 0.25
    assert min(p.level for p in cut(pyramid, levels=(1, 3), counts=(40,))) > 1


def test_counts_per_octave_as_the_paper_has_them(pyramid: ImagePyramid) -> None:
    patches = cut(pyramid, counts=(5, 15, 0, 300))
    histogram = np.histogram([p.level for p in patches], 4, (0, 4))[0]
    assert histogram.tolist() == [5, 15, 0, 300]


def test_noise_is_on_labels_only(pyramid: ImagePyramid) -> None:
    patches = cut(pyramid, label_noise=0.1)
    errors = np.array([p.label - p.level for p in patches])
    assert 0.09 < np.abs(errors).max() <= 0.1 and abs(errors.mean()) < 0.02
    assert [p.level for p in patches] == [p.level for p in cut(pyramid)]


def test_levels_on_a_grid(pyramid: ImagePyramid) -> None:
    levels = {p.level for p in cut(pyramid, levels=(0.6, 3.4), level_step=0.5)}
    assert levels == {1.0, 1.5, 2.0, 2.5, 3.0}


def test_equal_seeds_cut_equal_patches_with_any_threads(pyramid: ImagePyramid) -> None:
    config = CutConfig((0, 4), (100,), seed=9)
    one, many = (list(cut_patches(pyramid, config, threads)) for threads in (1, 3))
    for a, b in zip(one, many, strict=True):
        assert (a.name, a.label, a.center_xy) == (b.name, b.label, b.center_xy)
        np.testing.assert_array_equal(a.pixels, b.pixels)
    other = list(cut_patches(pyramid, CutConfig((0, 4), (100,), seed=10)))
    assert [p.center_xy for p in one] != [p.center_xy for p in other]
    assert [p.name for p in one[:2]] == ["000000.png", "000001.png"]


def test_wrong_settings_are_one_line(pyramid: ImagePyramid) -> None:
    with pytest.raises(ValueError, match="0 <= A <= B"):
        CutConfig((-1, 2), (5,))
    with pytest.raises(ValueError, match="0 <= A <= B"):
        CutConfig((3, 2), (5,))
    with pytest.raises(ValueError, match="counts"):
        CutConfig((0, 2), (0, 0))
    with pytest.raises(ValueError, match="0 or more octaves"):
        CutConfig((0, 2), (5,), label_noise=-1)
    with pytest.raises(ValueError, match="no multiple"):
        CutConfig((1.1, 1.2), (5,), level_step=0.5)
    with pytest.raises(ValueError, match=r"at 4\.64 or below"):
        cut(pyramid, levels=(0, 5))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_reads_back(tmp_path: Path, pyramid: ImagePyramid, form: str) -> None:
    out = tmp_path / ("set.zip" if form == "zip" else "set")
    config = CutConfig((0, 4), (50,), seed=3, level_step=0.25)
    done: list[float] = []
    write_patches(pyramid, config, out, form, tmp_path / "truth.csv", done.append)
    assert done == sorted(done) and done[-1] == 1
    data = open_patches(out)
    assert isinstance(data, PatchCollection) and data.problems == ()
    cuts = {cut.name: cut for cut in cut_patches(pyramid, config)}
    assert len(data.patches) == 50
    for index, patch in enumerate(data.patches):
        own = cuts[patch.name.rpartition("/")[2]]
        assert (patch.level, patch.center_xy) == (own.label, None)
        np.testing.assert_array_equal(data.image(index), own.pixels)
    data.close()
    with (tmp_path / "truth.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["file"] for row in rows} == {patch.name for patch in data.patches}
    for row in rows:
        own = cuts[row["file"].rpartition("/")[2]]
        assert abs(float(row["log2_zoom"]) - own.level) < 1e-6
        assert np.allclose([float(row["x"]), float(row["y"])], own.center_xy, atol=1e-8)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([out.name, "truth.csv"])


def test_labels_are_written_as_others_read_them(tmp_path: Path, pyramid: ImagePyramid) -> None:
    write_patches(pyramid, CutConfig((0, 4), (3,)), tmp_path / "set")
    content = json.loads((tmp_path / "set" / "dataset.json").read_text())
    names = [name for name, _ in content["labels"]]
    assert names == ["000000.png", "000001.png", "000002.png"]
    assert all(isinstance(level, float) for _, level in content["labels"])


@pytest.mark.parametrize("form", ["dataset.json", "zip"])
def test_cancelling_leaves_nothing(tmp_path: Path, pyramid: ImagePyramid, form: str) -> None:
    def stop(fraction: float) -> None:
        if fraction > 0.3:
            raise KeyboardInterrupt

    out = tmp_path / ("set.zip" if form == "zip" else "set")
    with pytest.raises(KeyboardInterrupt):
        write_patches(pyramid, CutConfig((0, 4), (500,)), out, form, tmp_path / "t.csv", stop)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path: Path, pyramid: ImagePyramid) -> None:
    config = CutConfig((0, 1), (3,))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").touch()
    (tmp_path / "a.zip").touch()
    for out, form in [("full", "csv"), ("a.zip", "zip")]:
        with pytest.raises(ValueError, match="exists already"):
            write_patches(pyramid, config, tmp_path / out, form)
    for out, form in [("a", "zip"), ("b.zip", "csv")]:
        with pytest.raises(ValueError, match="go together"):
            write_patches(pyramid, config, tmp_path / out, form)
    with pytest.raises(ValueError, match="does not exist"):
        write_patches(pyramid, config, tmp_path / "no" / "where")
    with pytest.raises(ValueError, match="level_step"):
        write_patches(pyramid, config, tmp_path / "a", "folders")
    (tmp_path / "empty").mkdir()
    write_patches(pyramid, config, tmp_path / "empty")
    assert len(list((tmp_path / "empty").iterdir())) == 4
    assert len(list(tmp_path.iterdir())) == 3
