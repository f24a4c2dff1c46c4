"""`record`: films, folders of frames and strips, and going on where one was killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from explorer import cli, zoom_strip
from explorer.camera import Camera
from explorer.camera_path import CameraPath, Keyframe, save_path
from explorer.film_frames import frame_file
from explorer.recorder import part_path
from explorer.view_links import view_from_json
from explorer.view_metadata import read_film
from explorer.zoom_strip import StripPlan
from model import open_scale_space
from model.rendering import render_view

ROOT = Path(__file__).parents[2]
LOOP = CameraPath(
    (Keyframe(0.0, Camera(0, 0, 0.0), "linear"), Keyframe(3.0, Camera(0.1, 0.1, 2.0), hold_s=1.0)),
    loop_s=2.0,
)


@pytest.fixture
def picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image whose pyramid is built."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    blocks = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
    file = tmp_path / "picture.png"
    blocks.resize((320, 240), Image.Resampling.BICUBIC).save(file)
    open_scale_space(file)
    save_path(LOOP, tmp_path / "loop.json")
    return file


def arguments(picture: Path, out: str, *more: str) -> list[str]:
    path = str(picture.with_name("loop.json"))
    return ["record", str(picture), "--path", path, "--fps", "10", "--size", "64", "48",
            "--out", out, *more]  # fmt: skip


def decoded(file: Path) -> list[np.ndarray]:
    with av.open(str(file)) as container:
        return [frame.to_ndarray() for frame in container.decode(video=0)]


def assert_same(a: list[np.ndarray], b: list[np.ndarray]) -> None:
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_killed_flight_goes_on_to_the_same_frames(
    picture: Path, tmp_path: Path, suffix: str
) -> None:
    whole, out = tmp_path / f"whole{suffix}", tmp_path / f"film{suffix}"
    long = ("--seconds", "40")
    assert cli.run(arguments(picture, str(whole), *long)) == 0
    command = [sys.executable, "-m", "explorer", *arguments(picture, str(out), *long, "--count")]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if line.startswith("done ") and float(line.split()[1]) > 0.2:
                break
        child.send_signal(signal.SIGKILL)
    assert part_path(out).exists() and not out.exists()
    assert cli.run(arguments(picture, str(out), *long, "--resume")) == 0
    assert_same(decoded(whole), decoded(out))
    assert not part_path(out).exists()


def test_a_webm_carries_its_flight(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "film.webm"
    assert cli.run(arguments(picture, str(out))) == 0
    film = read_film(out)
    assert film is not None and film.seconds == 6.0 and film.path["loop"] == 2.0
    assert film.view is not None and film.view.center_xy == (0.0, 0.0)
    assert len(decoded(out)) == 60


def test_frames_in_a_folder_are_those_of_the_path_and_carry_their_views(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "frames"
    argv = arguments(picture, f"{folder}/", "--size", "63", "47", "--count")
    assert cli.run(argv) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("done ")]
    assert len(told) == 60 and told[-1] == "done 1.000000"
    space = open_scale_space(picture)
    for number in (0, 17, 59):
        with Image.open(frame_file(folder, number)) as image:
            view = view_from_json(json.loads(image.info["scalespace"]))
            pixels = np.asarray(image)
        camera = LOOP.at(number * 0.1)
        assert view.center_xy == pytest.approx((camera.cx, camera.cy))
        expected = render_view(space, view.center_xy, view.level, (63, 47))
        np.testing.assert_array_equal(pixels, expected)
    assert cli.run(argv) == 2
    assert "new or an empty folder" in capsys.readouterr().err
    frame_file(folder, 5).unlink()
    assert cli.run([*argv, "--resume"]) == 0
    assert frame_file(folder, 5).exists()


def test_a_strip_is_the_whole_zoom(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "strip.png"
    assert cli.run(arguments(picture, str(out), "--strip", "--size", "200", "1")) == 0
    with Image.open(out) as image:
        assert image.size == (200, StripPlan.rows(2.0, 200))
        view = view_from_json(json.loads(image.info["scalespace"]))
    assert view.center_xy == (0.1, 0.1)
    assert cli.run(arguments(picture, str(tmp_path / "s.mp4"), "--strip")) == 2
    assert "must end in .png" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_killed_strip_goes_on_to_the_same_bytes(picture: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole.png", tmp_path / "strip.png"
    strip = ("--strip", "--size", "900", "1")
    assert cli.run(arguments(picture, str(whole), *strip)) == 0
    command = [sys.executable, "-m", "explorer", *arguments(picture, str(out), *strip, "--count")]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if line.startswith("done "):
                break
        child.send_signal(signal.SIGKILL)
    assert zoom_strip.part_path(out).exists() and not out.exists()
    assert cli.run(arguments(picture, str(out), *strip, "--resume")) == 0
    assert out.read_bytes() == whole.read_bytes()
    assert not zoom_strip.part_path(out).exists()


def test_a_part_of_another_film_is_one_line(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "film.mp4"
    part_path(out).write_bytes(b"something else")
    assert cli.run(arguments(picture, str(out), "--resume")) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "is of another film" in last and part_path(out).read_bytes() == b"something else"
