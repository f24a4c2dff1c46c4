"""Views as values, links and metadata: what goes out comes back, and nothing else is believed."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from explorer.camera import View
from explorer.recorder import FilmSpec, record_film
from explorer.stills import STILL_FORMATS, write_still
from explorer.view_links import (
    StillView,
    ViewError,
    format_link,
    is_link,
    parse_link,
    scene_name,
    view_from_json,
)
from explorer.view_metadata import film_fields, read_film, read_view

VIEW = StillView((0.1, -1 / 3), 5.0000001, (1280, 721), 42, "nächt & day?.png", "image:a:b:64")


def random_views(count: int) -> list[StillView]:
    chance = random.Random(3)
    views = []
    for _ in range(count):
        name = "".join(
            chance.choice("aZ09 .-_%&=?#/üß夜\"'<>") for _ in range(chance.randrange(12))
        )
        views.append(
            StillView(
                (chance.uniform(-1, 1) * 10 ** chance.uniform(-12, 2), chance.gauss(0, 1)),
                chance.uniform(-3, 20),
                None
                if chance.random() < 0.3
                else (chance.randrange(1, 9999), chance.randrange(1, 9)),
                chance.randrange(2**62),
                scene_name(name.strip("/").rpartition("/")[2]),
                chance.choice(["", "a3f", "image:x y.jpg:12:64"]),
            )
        )
    return views


def test_links_come_back_exactly() -> None:
    for view in [VIEW, *random_views(300)]:
        link = format_link(view)
        assert parse_link(link) == view
        assert not set(link) & set(" \n<>\"'")
        assert link.isascii()
        assert is_link(link)
        assert parse_link(f'Look <{link}>, or "{link}".\nYours') == view


def test_json_comes_back_exactly() -> None:
    for view in [VIEW, *random_views(50)]:
        assert view_from_json(json.loads(json.dumps(view.to_json()))) == view


def test_a_link_as_people_write_it() -> None:
    plain = StillView((0.5, -0.25), 3.0, None, 0, "starry-night")
    for text in (
        "scalespace:starry-night?x=.5&y=-2.5e-1&level=3",
        "  SCALESPACE://starry-night/?level=3&y=-0.25&x=0.5&unknown=7\n",
        "scalespace:starry-night.safetensors?x=0.5&amp;y=-0.25&amp;level=3.0",
        "(see scalespace:starry%2Dnight?X=0.5&Y=-0.25&Level=3).",
    ):
        assert parse_link(text) == plain
    assert parse_link("scalespace:?x=1&y=2&level=3").name == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no link found"),
        ("https://example.org/?x=1&y=2&level=3", "no link found"),
        ("myscalespace:a?x=1&y=2&level=3", "no link found"),
        ("scalespace:a", "has no 'x'"),
        ("scalespace:a?x=1&y=2", "has no 'level'"),
        ("scalespace:a?x=1&y=two&level=3", "'y' of a link must be a number, got 'two'"),
        ("scalespace:a?x=1&x=2&y=2&level=3", "'x' twice"),
        ("scalespace:a?x=nan&y=2&level=3", "must be finite"),
        ("scalespace:a?x=1e9&y=2&level=3", "must lie within"),
        ("scalespace:a?x=1&y=2&level=1e4", "must lie within"),
        ("scalespace:a?x=1&y=2&level=3&seed=1.5", "'seed' of a link must be a whole number"),
        ("scalespace:a?x=1&y=2&level=3&seed=-1", "0 or more"),
        ("scalespace:a?x=1&y=2&level=3&seed=inf", "whole number"),
        ("scalespace:a?x=1&y=2&level=3&w=100", "has no 'h'"),
        ("scalespace:a?x=1&y=2&level=3&w=0&h=5", "1 x 1"),
    ],
)
def test_a_link_that_is_none_says_why(text: str, message: str) -> None:
    with pytest.raises(ViewError, match=message) as error:
        parse_link(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "fields",
    [None, [], {}, {"center": [0, 0]}, {"center": 3, "level": 1}, {"center": [0, "a"], "level": 1}]
    + [{"center": [0, 0], "level": 1, "size": [5]}, {"center": [0, 0], "level": None}]
    + [{"center": [0, 0], "level": 1, "seed": "x"}, {"center": [0, 0], "level": 1, "format": 3}],
)
def test_json_that_is_no_view_is_an_error(fields: object) -> None:
    with pytest.raises(ViewError):
        view_from_json(fields)


def test_the_camera_of_a_view_shows_its_extent() -> None:
    camera = VIEW.camera(64, (800, 800))
    assert View(camera, (1280, 721)).level(64) == pytest.approx(VIEW.level, abs=1e-12)
    assert (camera.cx, camera.cy) == VIEW.center_xy
    place = StillView((0, 0), 3.0).camera(64, (800, 600))
    assert View(place, (800, 600)).level(64) == pytest.approx(3.0, abs=1e-12)


def test_scenes_have_the_same_name_on_every_machine() -> None:
    assert scene_name("a/b/starry-night.safetensors") == "starry-night"
    assert scene_name(Path("a", "moon.tif")) == "moon.tif"


@pytest.mark.parametrize("suffix", STILL_FORMATS)
def test_every_still_carries_its_view(tmp_path: Path, suffix: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    file = tmp_path / f"still{suffix}"
    for view in (VIEW, StillView((0, 0), -1.5, None, 0, "<&\"'>]]>", "")):
        write_still(file, image, view)
        assert read_view(file) == view
        with Image.open(file) as read:
            assert read.size == (40, 30)
            if suffix not in (".jpg", ".jpeg"):
                np.testing.assert_array_equal(np.asarray(read.convert("RGB")), image)
    assert list(tmp_path.iterdir()) == [file]


def test_a_still_of_the_first_version_is_read(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    old = {"center": [0.25, 0.5], "level": 2.5, "seed": 3, "identity": "abc"}
    info.add_itxt("scalespace", json.dumps(old))
    Image.new("RGB", (4, 4)).save(tmp_path / "old.png", pnginfo=info)
    assert read_view(tmp_path / "old.png") == StillView((0.25, 0.5), 2.5, None, 3, "", "abc")


def test_a_picture_without_a_view_has_none(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "plain.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "plain.jpg", xmp=b"<x:xmpmeta>other</x:xmpmeta>")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.mp4").write_bytes(b"")
    for text in ("{", "[]", '{"center": [0, 0], "level": 1e999}', "[" * 100_000, "1" * 2_000_000):
        info = PngImagePlugin.PngInfo()
        info.add_itxt("scalespace", text)
        Image.new("RGB", (4, 4)).save(tmp_path / "damaged.png", pnginfo=info)
        assert read_view(tmp_path / "damaged.png") is None
    for name in ("plain.png", "plain.jpg", "text.png", "empty.mp4"):
        assert read_view(tmp_path / name) is None, name
    for name in ("missing.png", "missing.mp4"):
        with pytest.raises(OSError, match="No such file"):
            read_view(tmp_path / name)


def test_a_film_carries_its_path_and_its_first_view(tmp_path: Path) -> None:
    path = {"format": 1, "keyframes": [{"time": 0.0, "center": [0.1, 0.2], "log2_zoom": 1.5}]}
    spec = FilmSpec((32, 32), 10, 3, film_fields(VIEW, path, 0.3))
    record_film(tmp_path / "a.mp4", spec, lambda _: np.zeros((32, 32, 3), np.uint8))
    assert read_view(tmp_path / "a.mp4") == VIEW
    film = read_film(tmp_path / "a.mp4")
    assert film is not None
    assert (film.path, film.seconds, film.seed) == (path, 0.3, 42)
    assert film.identity == "image:a:b:64"
    older = FilmSpec((32, 32), 10, 3, {"path": path, "identity": "x", "seed": 0, "seconds": 1})
    record_film(tmp_path / "b.mp4", older, lambda _: np.zeros((32, 32, 3), np.uint8))
    assert read_view(tmp_path / "b.mp4") is None
    old_film = read_film(tmp_path / "b.mp4")
    assert old_film is not None
    assert old_film.path == path
    record_film(
        tmp_path / "c.mp4", FilmSpec((32, 32), 10, 1), lambda _: np.zeros((32, 32, 3), np.uint8)
    )
    assert read_film(tmp_path / "c.mp4") is None
