"""Zoomify and DZI pyramids give the very pixels they were made of, in strips of any part."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import pyvips

from model.data.large import LargeImage, open_picture, picture_state
from model.data.patches import open_data
from model.data.tile_pyramids import find_tile_pyramid, is_tile_pyramid
from model.opening import open_scale_space
from model.pyramid import ImagePyramid
from model.space import Window

WIDTH, HEIGHT = 357, 251
PIXELS = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
LAYOUTS = {
    "zoomify": ("scan", {"layout": "zoomify", "tile_size": 64}),
    "dzi": ("scan.dzi", {"layout": "dz", "tile_size": 62, "overlap": 1}),
    "dzi, wide overlap": ("scan.dzi", {"layout": "dz", "tile_size": 50, "overlap": 7}),
    "dzi, one tile": ("scan.dzi", {"layout": "dz", "tile_size": 512, "overlap": 0}),
    "dzi, shallow": ("scan.dzi", {"layout": "dz", "tile_size": 64, "depth": "onetile"}),
}


def write(folder: Path, layout: str, suffix: str = ".png") -> Path:
    """Write the picture in one of LAYOUTS; returns what stands for it."""
    name, options = LAYOUTS[layout]
    image = pyvips.Image.new_from_array(PIXELS, interpretation="srgb")
    image.dzsave(str(folder / "scan"), suffix=suffix, **options)
    return folder / name


@pytest.fixture
def dzi(tmp_path: Path) -> Path:
    return write(tmp_path, "dzi")


def finest(dzi: Path) -> Path:
    return dzi.with_name("scan_files") / "9"


def whole(path: Path) -> np.ndarray:
    return np.concatenate(list(open_picture(path).strips((0, 0, WIDTH, HEIGHT), 1, 33)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_pixel_is_where_it_was(tmp_path: Path, layout: str) -> None:
    path = write(tmp_path, layout)
    assert open_picture(path).size_wh == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(whole(path), PIXELS)


def test_jpeg_tiles_are_close(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH))[..., None] // 3 + np.arange(3)
    image = pyvips.Image.new_from_array(smooth.astype(np.uint8), interpretation="srgb")
    image.dzsave(str(tmp_path / "scan"), layout="zoomify", suffix=".jpg[Q=95]")
    assert np.abs(whole(tmp_path / "scan").astype(int) - smooth).max() <= 4


@pytest.mark.parametrize("shrink", [1, 3, 100])
def test_parts_and_averages_equal_those_of_the_plain_file(dzi: Path, shrink: int) -> None:
    pyvips.Image.new_from_array(PIXELS, interpretation="srgb").write_to_file(
        str(dzi.with_name("scan.png"))
    )
    box = (5, 47, 5 + 300, 47 + 200) if shrink != 3 else (70, 3, 70 + 276, 3 + 240)
    found, expected = (
        np.concatenate(list(open_picture(path).strips(box, shrink, 16)))
        for path in (dzi, dzi.with_name("scan.png"))
    )
    np.testing.assert_array_equal(found, expected)
    x0, y0, x1, y1 = box
    blocks = PIXELS[y0:y1, x0:x1].astype(float)
    blocks = blocks.reshape((y1 - y0) // shrink, shrink, (x1 - x0) // shrink, shrink, 3)
    assert np.abs(found - blocks.mean((1, 3))).max() < 2  # cut once an axis


def test_pages_and_texts_beside_a_pyramid_leave_it_one(tmp_path: Path) -> None:
    """The app's own export writes scan.html; a system puts its own files into any folder."""
    dzi = write(tmp_path / "a", "dzi")
    for name in ("scan.html", "Thumbs.db", "desktop.ini", ".DS_Store", "notice.txt", "LICENCE.md"):
        (dzi.parent / name).write_text("x")
    assert find_tile_pyramid(dzi.parent) == find_tile_pyramid(dzi)
    dzi.rename(dzi.with_name("scan.DZI"))
    assert isinstance(open_data(dzi.parent), LargeImage)
    (dzi.parent / "patch.png").write_bytes(b"")
    assert find_tile_pyramid(dzi.parent) is None


def test_all_its_paths_name_one_pyramid(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    dzi = write(tmp_path / "a", "dzi")
    zoomify = write(tmp_path, "zoomify")
    for path in (dzi, dzi.with_name("scan_files"), dzi.parent):
        data = open_data(path)
        assert data == LargeImage(dzi, "DZI", (WIDTH, HEIGHT), "tiles of 62 px")
        assert picture_state(path).name == "scan.dzi"
    for path in (zoomify, zoomify / "ImageProperties.xml"):
        assert isinstance(data := open_data(path), LargeImage) and data.kind == "Zoomify"
        assert picture_state(path).name == "scan"
    assert not is_tile_pyramid(tmp_path) and not is_tile_pyramid(tmp_path / "nothing")


def test_it_opens_as_a_scale_space(
    tmp_path: Path, dzi: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    png = tmp_path / "scan.png"
    pyvips.Image.new_from_array(PIXELS, interpretation="srgb").write_to_file(str(png))
    expected = ImagePyramid.open(png, cache_dir=tmp_path / "other")
    window = Window((-0.31, -0.2), 1.3, 40, 50)
    for path in (dzi, dzi.with_name("scan_files")):
        space = open_scale_space(path)
        assert isinstance(space, ImagePyramid)
        assert space.source == {
            "name": "scan.dzi",
            "size": [WIDTH, HEIGHT],
            "crop": [0, 0, WIDTH, HEIGHT],
        }
        assert (space.render([window]) == expected.render([window])).all()
    crop = (20, 30, 220, 230)
    part = ImagePyramid.open(dzi, crop=crop, max_density=50, cache_dir=tmp_path / "other")
    reference = ImagePyramid.open(png, crop=crop, max_density=50, cache_dir=tmp_path / "other")
    assert part.base_size == (50, 50)
    assert (part.render([window]) == reference.render([window])).all()


def test_a_changed_tile_makes_a_new_pyramid(tmp_path: Path, dzi: Path) -> None:
    before = ImagePyramid.open(dzi, cache_dir=tmp_path / "cache").identity
    assert ImagePyramid.open(dzi, cache_dir=tmp_path / "cache").identity == before
    tile = finest(dzi) / "2_2.png"
    pyvips.Image.black(64, 64, bands=3).copy(interpretation="srgb").write_to_file(str(tile))
    after = ImagePyramid.open(dzi, cache_dir=tmp_path / "cache")
    assert after.identity != before


def test_a_missing_tile_is_named_before_any_is_read(dzi: Path) -> None:
    (finest(dzi) / "3_2.png").unlink()
    (finest(dzi) / "5_4.png").unlink()
    with pytest.raises(ValueError, match=r"2 are missing \(first: row 2, column 3\); copy"):
        open_picture(dzi)
    shutil.rmtree(dzi.with_name("scan_files"))
    with pytest.raises(ValueError, match="30 are missing"):
        find_tile_pyramid(dzi)


@pytest.mark.parametrize("damage", ["cut", "empty", "small", "folder"])
def test_a_damaged_tile_leaves_nothing_behind(tmp_path: Path, dzi: Path, damage: str) -> None:
    tile = finest(dzi) / "3_2.png"
    data = tile.read_bytes()
    tile.unlink()
    if damage == "folder":
        tile.mkdir()
    elif damage == "small":
        pyvips.Image.black(20, 64, bands=3).write_to_file(str(tile))
    else:
        tile.write_bytes(data[: len(data) // 2] if damage == "cut" else b"")
    with pytest.raises(ValueError, match=r"tile .*3_2\.png ") as caught:
        ImagePyramid.open(dzi, cache_dir=tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('Width="357"', 'Width="0"', "Width as a whole number of 1 or more, got '0'"),
        ('Width="357"', 'Width="9e9"', "got '9e9'"),
        ('Width="357"', 'Width="99999999"', "can be read"),
        ('TileSize="62"', "", "TileSize as a whole number"),
        ('Overlap="1"', 'Overlap="70"', "overlap"),
        ("<Size", "<Size <", "is damaged"),
        ("<Image", "<!DOCTYPE a [<!ENTITY b 'c'>]><Image", "no description"),
    ],
)
def test_a_wrong_description_is_one_line(dzi: Path, old: str, new: str, reason: str) -> None:
    text = dzi.read_text()
    assert old in text
    dzi.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=reason) as caught:
        open_data(dzi)
    assert "\n" not in str(caught.value) and "scan.dzi" in str(caught.value)


def test_large_images_say_what_they_are(tmp_path: Path) -> None:
    image = pyvips.Image.new_from_array(PIXELS, interpretation="srgb")
    image.write_to_file(str(tmp_path / "a.tif"), bigtiff=True, tile=True)
    assert open_data(tmp_path / "a.tif") == LargeImage(
        tmp_path / "a.tif", "TIFF", (WIDTH, HEIGHT), "RGB 8 bit"
    )
    image.colourspace("rgb16").write_to_file(str(tmp_path / "b.png"))
    assert open_data(tmp_path / "b.png") == LargeImage(
        tmp_path / "b.png", "PNG", (WIDTH, HEIGHT), "RGB 16 bit"
    )
    turned = image.copy()
    turned.set_type(pyvips.GValue.gint_type, "orientation", 6)
    turned.write_to_file(str(tmp_path / "c.jpg"))
    data = open_data(tmp_path / "c.jpg")
    assert isinstance(data, LargeImage) and data.size_wh == (HEIGHT, WIDTH)
    for name, content in [
        ("a.txt", b"words"),
        ("e.png", b""),
        ("t.png", b"\x89PNG\r\n\x1a\n1234567890"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name) as caught:
            open_data(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError):
        open_data(tmp_path / "nowhere")
