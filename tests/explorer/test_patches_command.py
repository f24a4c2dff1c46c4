"""`scalespace-explorer patches` from the command line, and the large images that it opens."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import pyvips

from explorer.cli import UsageError
from explorer.commands import patches
from model.data import cut
from model.data.patches import PatchCollection, open_data


def command(*words: object) -> int:
    """Run the command as the command line does."""
    parser = argparse.ArgumentParser()
    patches.add_parser(parser.add_subparsers())
    args = parser.parse_args(["patches", *map(str, words)])
    return int(args.run(args))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(4).integers(0, 256, (180, 240, 3), np.uint8)
    image = pyvips.Image.new_from_array(pixels, interpretation="srgb")
    image.dzsave(str(tmp_path / "picture"), layout="zoomify", suffix=".png", tile_size=64)
    image.write_to_file(str(tmp_path / "picture.png"))
    return tmp_path / "picture.png"


def opened(path: Path) -> PatchCollection:
    data = open_data(path)
    assert isinstance(data, PatchCollection)
    return data


def test_a_set_is_cut_and_its_path_printed(
    tmp_path: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, truth = tmp_path / "set", tmp_path / "truth.csv"
    cache = ["--cache", tmp_path / "cache"]
    words = ["--count", 60, "--levels", 0, 2.5, "--patch-size", 16, "--label-noise", 0.1]
    crop = ["--crop", 10, 20, 230, 170]
    assert command(picture, "--out", out, *words, *crop, *cache, "--truth", truth) == 0
    assert capsys.readouterr().out == f"{out}\n"
    data = opened(out)
    assert len(data) == 60 and data.form == "dataset.json" and data.problems == ()
    assert data.images(range(60), 16).shape == (60, 16, 16, 3)
    placed = data.with_labels(truth)
    off = [abs(a.level - b.level) for a, b in zip(placed.patches, data.patches, strict=True)]
    assert 0.05 < max(off) <= 0.1 + 1e-6
    for patch in placed.patches:
        room = np.array([220 / 150, 1.0]) / 2 - 2.0**-patch.level / 2
        assert (np.abs(patch.center_xy) <= room + 1e-6).all()


@pytest.mark.parametrize("form", ["dataset.json", "folders"])
def test_the_folder_that_one_is_in_can_be_filled(
    tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    words = ["--count", 5, "--levels", 0, 2, "--patch-size", 16, "--form", form]
    assert command(picture, "--out", ".", *words, "--cache", tmp_path / "cache") == 0
    assert Path(".").samefile(here) and len(opened(here)) == len(opened(Path("."))) == 5
    assert not list(here.glob(".*"))


def test_forms_and_sources_give_the_same_patches(tmp_path: Path, picture: Path) -> None:
    cache = ["--cache", tmp_path / "cache", "--seed", 3, "--patch-size", 16]
    words = ["--per-octave", 3, 9, "--levels", 0, 2, "--level-step", 0.5, *cache]
    outs = [tmp_path / name for name in ("a.zip", "b", "c")]
    assert command(picture, "--out", outs[0], *words) == 0
    assert command(picture, "--out", outs[1], *words, "--form", "csv") == 0
    assert command(tmp_path / "picture", "--out", outs[2], *words, "--form", "folders") == 0
    sets = []
    for out in outs:
        with opened(out) as data:
            images = data.images(range(len(data)), 16)
            names = [patch.name.rpartition("/")[2] for patch in data.patches]
            levels = [patch.level for patch in data.patches]
            sets.append(sorted(zip(names, levels, [image.tobytes() for image in images])))
    assert sets[0] == sets[1] == sets[2] and len(sets[0]) == 12


def test_folders_take_whole_octaves_by_themselves(tmp_path: Path, picture: Path) -> None:
    words = ["--count", 20, "--levels", 0, 2, "--patch-size", 16, "--cache", tmp_path / "cache"]
    assert command(picture, "--out", tmp_path / "set", *words, "--form", "folders") == 0
    assert {path.name for path in (tmp_path / "set").iterdir()} == {"0", "1", "2"}


def test_wrong_usage_is_told_before_the_image_is_read(tmp_path: Path, picture: Path) -> None:
    cache = tmp_path / "cache"
    base = [picture, "--count", 5, "--levels", 0, 2, "--patch-size", 16, "--cache", cache]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    out = tmp_path / "set"
    for words, kind in [
        (["--out", tmp_path / "full"], ValueError),
        (["--out", tmp_path / "no" / "set"], ValueError),
        (["--out", out, "--form", "zip"], ValueError),
        (["--out", out, "--truth", out / "truth.csv"], UsageError),
        (["--out", out, "--truth", tmp_path / "truth.txt"], UsageError),
        (["--out", out, "--levels", -1, 2], ValueError),
    ]:
        with pytest.raises(kind):
            command(*base, *words)
    for words in (["--count", "0"], ["--count", "3", "--per-octave", "3"], ["--label-noise", "-1"]):
        with pytest.raises(SystemExit):
            command(*base, "--out", out, *words)
    assert not cache.exists() and not out.exists()
    with pytest.raises(ValueError, match="magnified"):
        command(*base, "--out", out, "--levels", 0, 9)
    assert not out.exists()


def test_the_forms_of_the_help_are_those_of_the_model() -> None:
    assert patches.FORMS == cut.FORMS


def test_only_the_true_places_are_kept_apart(tmp_path: Path, picture: Path) -> None:
    words = ["--count", 5, "--levels", 0, 1, "--patch-size", 16, "--cache", tmp_path / "cache"]
    command(picture, "--out", tmp_path / "set", *words)
    assert sorted(path.suffix for path in (tmp_path / "set").iterdir()) == [".json"] + [".png"] * 5
