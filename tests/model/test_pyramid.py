"""`ImagePyramid` against averages taken from the image itself, and what it makes of odd files."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import pyvips
import torch
from PIL import Image

from kernels.resample import resample
from model.pyramid import ImagePyramid
from model.pyramid_build import Box, default_cache_dir, is_built, mip_path
from model.space import Window, to_uint8, window_around

RNG = np.random.default_rng(7)


def save(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def random_pixels(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(width * 1000 + height).integers(
        0, 256, (height, width, 3), np.uint8
    )


def smooth_pixels(width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 93 + k) * np.cos(y / 69 - k) for k in range(3)]
    return np.stack([np.round(127.5 + 120 * w) for w in waves], -1).astype(np.uint8)


def network_image(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.astype(np.float64) / 127.5 - 1).permute(2, 0, 1)[None]


def reference(pixels: np.ndarray, window: Window, patch_size: int) -> torch.Tensor:
    """The window as exact averages of the image's own pixels, by the op that has its own tests."""
    height, width = pixels.shape[:2]
    d = patch_size * 2.0**window.level
    step = min(width, height) / d
    origin = [
        round(o * d * 256) / 256 * step + n / 2
        for o, n in zip(window.origin_xy, (width, height), strict=True)
    ]
    out = resample(
        network_image(pixels),
        torch.tensor([origin], dtype=torch.float64),
        torch.tensor([step], dtype=torch.float64),
        (window.height, window.width),
    )
    return out.float()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImagePyramid, np.ndarray]:
    folder = tmp_path_factory.mktemp("scene")
    pixels = random_pixels(523, 389)
    path = save(folder / "scene.png", pixels)
    return ImagePyramid.open(path, patch_size=16, cache_dir=folder / "cache"), pixels


@pytest.mark.parametrize(("width", "height"), [(64, 64), (67, 131), (333, 40), (3, 5), (1, 1)])
def test_mips_are_exact_averages_rounded_once(tmp_path: Path, width: int, height: int) -> None:
    pixels = random_pixels(width, height)
    ImagePyramid.open(save(tmp_path / "a.png", pixels), cache_dir=tmp_path / "cache")
    (folder,) = (tmp_path / "cache").iterdir()
    num_mips = json.loads((folder / "pyramid.json").read_text())["num_mips"]
    assert max(width, height) >> (num_mips - 1) <= 16
    for mip in range(num_mips):
        block = 2**mip
        w, h = math.ceil(width / block), math.ceil(height / block)
        padding = ((0, h * block - height), (0, w * block - width), (0, 0))
        whole = np.pad(pixels.astype(np.int64), padding, mode="edge")
        sums = whole.reshape(h, block, w, block, 3).sum((1, 3))
        expected = (2 * sums + block * block) // (2 * block * block)
        found = np.fromfile(mip_path(folder, mip), np.uint8).reshape(h, w, 3)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("level", [1.7, 2.0, 3.37, 4.6, 6.2])
def test_up_to_eight_pixels_a_pixel_the_average_is_exact(
    scene: tuple[ImagePyramid, np.ndarray], level: float
) -> None:
    space, pixels = scene
    assert 389 / (16 * 2**level) < 8
    window = window_around((0.113, -0.271), level, (37, 22), 16)
    torch.testing.assert_close(
        space.render([window]), reference(pixels, window, 16), atol=2e-6, rtol=0
    )


@pytest.mark.parametrize("level", [-1.0, 0.0, 0.61])
def test_far_away_it_is_right_to_a_grey_level(tmp_path: Path, level: float) -> None:
    pixels = smooth_pixels(700, 610)
    path = save(tmp_path / "a.png", pixels)
    space = ImagePyramid.open(path, patch_size=16, cache_dir=tmp_path / "cache")
    side = int(16 * 2**level)
    # Blocks that an output pixel cuts count by their area: all that is not exact, with rounding.
    window = Window((-0.5, -0.5), level, side, side)
    expected = reference(pixels, window, 16)
    assert (space.render([window]) - expected).abs().max() < 1.5 / 127.5
    half_a_pixel_off = Window((-0.5 + 0.5 / 16 / 2**level, -0.5), level, side, side)
    assert (space.render([half_a_pixel_off]) - expected).abs().max() > 6 / 127.5


@pytest.mark.parametrize("level", [-0.7, 1.0, 2.43, 4.9])
@pytest.mark.parametrize("tile", [7, 16, 50])
def test_tiles_equal_the_window_bit_for_bit(
    scene: tuple[ImagePyramid, np.ndarray], level: float, tile: int
) -> None:
    space, _ = scene
    window = window_around((0.31, -0.47), level, (61, 43), 16)
    whole = space.render([window])
    for y in range(0, 43, tile):
        for x in range(0, 61, tile):
            width, height = min(tile, 61 - x), min(tile, 43 - y)
            part = space.render([window.crop(x, y, width, height, 16)])
            assert torch.equal(part, whole[:, :, y : y + height, x : x + width])


def test_sample_is_render_with_a_level_each(scene: tuple[ImagePyramid, np.ndarray]) -> None:
    space, _ = scene
    rng = np.random.default_rng(3)
    origins, levels = rng.uniform(-0.6, 0.6, (9, 2)), rng.uniform(-1, 5, 9)
    out = space.sample(torch.from_numpy(origins), torch.from_numpy(levels), 16)
    assert out.dtype == torch.float32
    assert out.shape == (9, 3, 16, 16)
    for i in range(9):
        window = Window((origins[i, 0], origins[i, 1]), levels[i], 16, 16)
        assert torch.equal(out[i : i + 1], space.render([window]))
    assert space.sample(np.zeros((0, 2)), np.zeros(0), 16).shape == (0, 3, 16, 16)


def test_a_picture_held_in_memory_gives_the_same_samples(tmp_path: Path) -> None:
    path = save(tmp_path / "scene.png", random_pixels(523, 389))
    scene = ImagePyramid.open(path, patch_size=16, cache_dir=tmp_path / "cache")
    cases = []
    for level in (0.0, 0.7, 1.9, 3.2, 4.6, 5.5):
        corners = RNG.uniform(-0.7, 0.6, (5, 2))  # some windows reach over the edge
        cases.append((corners, np.full(5, level), scene.sample(corners, np.full(5, level), 24)))
    assert scene.keep_on(torch.device("cpu"))
    for corners, levels, wanted in cases:
        torch.testing.assert_close(scene.sample(corners, levels, 24), wanted, rtol=0, atol=2e-5)
    scene.close()
    with pytest.raises(ValueError, match="closed"):
        scene.sample(*cases[0][:2], 24)


def test_the_field_and_its_levels(scene: tuple[ImagePyramid, np.ndarray]) -> None:
    space, pixels = scene
    assert space.field_size == (523 / 389, 1.0)
    assert space.level_range == (0.0, math.log2(389 / 16))
    w, h = space.field_size
    everything = Window((-w / 2, -h / 2), space.level_range[1], 389, 523)
    np.testing.assert_array_equal(to_uint8(space.render([everything]))[0].numpy(), pixels)
    assert space.source == {"name": "scene.png", "size": [523, 389], "crop": [0, 0, 523, 389]}


@pytest.mark.parametrize(("width", "height"), [(3, 5), (5, 3), (1, 1), (1, 40)])
def test_the_smallest_images(tmp_path: Path, width: int, height: int) -> None:
    pixels = random_pixels(width, height)
    space = ImagePyramid.open(save(tmp_path / "a.png", pixels), cache_dir=tmp_path / "cache")
    assert min(space.field_size) == 1.0
    assert space.level_range[0] <= space.level_range[1]
    for level in (-8.0, 0.0, 0.3, 5.0):
        window = window_around((0.1, 0.2), level, (20, 30), 64)
        expected = reference(pixels, window, 64)
        torch.testing.assert_close(space.render([window]), expected, atol=2e-6, rtol=0)
    outside = space.render([window_around((9.0, 90.0), 2.0, (4, 4), 64)])
    edge = torch.from_numpy(pixels[-1, -1] / np.float32(127.5) - 1)
    torch.testing.assert_close(outside, edge[None, :, None, None].expand(1, 3, 4, 4).float())


def test_crop_and_density(tmp_path: Path) -> None:
    pixels = random_pixels(90, 70)
    path = save(tmp_path / "a.png", pixels)
    cut = ImagePyramid.open(path, crop=(10, 4, 74, 68), cache_dir=tmp_path / "cache")
    window = Window((-0.5, -0.5), 0.0, 64, 64)
    shown = to_uint8(cut.render([window]))[0].numpy()
    np.testing.assert_array_equal(shown, pixels[4:68, 10:74])
    assert cut.source["crop"] == [10, 4, 74, 68]
    whole = ImagePyramid.open(path, cache_dir=tmp_path / "cache")
    assert whole.identity != cut.identity
    small = ImagePyramid.open(path, max_density=24, cache_dir=tmp_path / "cache")
    assert small.base_size == (30, 23)
    with pytest.raises(ValueError, match="crop must be"):
        ImagePyramid.open(path, crop=(0, 0, 91, 70), cache_dir=tmp_path / "cache")
    with pytest.raises(ValueError, match="patch_size"):
        ImagePyramid.open(path, patch_size=0, cache_dir=tmp_path / "cache")


def pixel_of(path: Path, cache: Path) -> list[int]:
    space = ImagePyramid.open(path, cache_dir=cache)
    window = window_around((0.0, 0.0), 0.0, (1, 1), 64)
    return to_uint8(space.render([window]))[0, 0, 0].tolist()


def test_every_kind_of_pixel_becomes_8_bit_srgb(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    size = (9, 8)
    Image.new("L", size, 90).save(tmp_path / "grey.png")
    assert pixel_of(tmp_path / "grey.png", cache) == [90, 90, 90]
    Image.new("RGBA", size, (200, 100, 50, 0)).save(tmp_path / "clear.png")
    assert pixel_of(tmp_path / "clear.png", cache) == [255, 255, 255]
    Image.new("LA", size, (40, 255)).save(tmp_path / "grey-alpha.png")
    assert pixel_of(tmp_path / "grey-alpha.png", cache) == [40, 40, 40]
    black = pyvips.Image.black(*size, bands=3)
    deep = black.linear([1, 1, 1], [65535, 32896, 257])
    deep.cast("ushort").copy(interpretation="rgb16").write_to_file(str(tmp_path / "deep.png"))
    assert pixel_of(tmp_path / "deep.png", cache) == [255, 128, 1]
    Image.new("CMYK", size, (255, 0, 0, 0)).save(tmp_path / "ink.jpg")
    red, green, blue = pixel_of(tmp_path / "ink.jpg", cache)
    assert red < 60 < 120 < min(green, blue)
    Image.new("P", size, 3).save(tmp_path / "palette.gif")
    assert len(pixel_of(tmp_path / "palette.gif", cache)) == 3


def test_the_orientation_of_a_photograph_is_applied(tmp_path: Path) -> None:
    pixels = random_pixels(30, 20)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    space = ImagePyramid.open(tmp_path / "a.png", patch_size=20, cache_dir=tmp_path / "cache")
    assert space.base_size == (20, 30)
    shown = to_uint8(space.render([Window((-0.5, -0.75), 0.0, 30, 20)]))[0].numpy()
    np.testing.assert_array_equal(shown, np.rot90(pixels, -1))


def test_unreadable_images_are_one_clear_line(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(OSError, match="No such file"):
        ImagePyramid.open(tmp_path / "none.png", cache_dir=cache)
    (tmp_path / "text.png").write_text("this is no picture")
    (tmp_path / "empty.jpg").write_bytes(b"")
    Image.fromarray(random_pixels(300, 300)).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    for name in ("text.png", "empty.jpg", "cut.jpg"):
        with pytest.raises(ValueError, match="cannot be read as an image") as caught:
            ImagePyramid.open(tmp_path / name, cache_dir=cache)
        assert "\n" not in str(caught.value)
    assert not cache.exists() or not list(cache.iterdir())


def test_it_is_built_once_and_again_when_the_file_changes(tmp_path: Path) -> None:
    path, cache = save(tmp_path / "a.png", random_pixels(80, 80)), tmp_path / "cache"
    fractions: list[float] = []
    first = ImagePyramid.open(path, cache_dir=cache, progress=fractions.append)
    assert fractions
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    fractions.clear()
    second = ImagePyramid.open(path, cache_dir=cache, progress=fractions.append)
    assert not fractions
    assert second.identity == first.identity
    save(path, random_pixels(81, 80))
    third = ImagePyramid.open(path, cache_dir=cache, progress=fractions.append)
    assert fractions
    assert third.identity != first.identity


def test_a_damaged_cache_is_built_again(tmp_path: Path) -> None:
    path, cache = save(tmp_path / "a.png", random_pixels(80, 80)), tmp_path / "cache"
    ImagePyramid.open(path, cache_dir=cache)
    (folder,) = cache.iterdir()
    mip_path(folder, 1).write_bytes(b"short")
    space = ImagePyramid.open(path, cache_dir=cache)
    assert space.render([window_around((0, 0), 0.0, (4, 4), 64)]).isfinite().all()


def test_cancelling_leaves_nothing(tmp_path: Path) -> None:
    path, cache = save(tmp_path / "a.png", random_pixels(200, 600)), tmp_path / "cache"

    class Cancelled(Exception):
        pass

    def cancel(fraction: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        ImagePyramid.open(path, cache_dir=cache, progress=cancel)
    assert list(cache.iterdir()) == []


def test_what_a_killed_build_left_is_swept(tmp_path: Path) -> None:
    path, cache = save(tmp_path / "a.png", random_pixels(40, 40)), tmp_path / "cache"
    ImagePyramid.open(path, cache_dir=cache)
    (folder,) = cache.iterdir()
    (folder / "pyramid.json").unlink()
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    left = cache / f"{folder.name}.tmp-{child.pid}-x"
    left.mkdir()
    ImagePyramid.open(path, cache_dir=cache)
    assert [p.name for p in cache.iterdir()] == [folder.name]


def test_what_killed_builds_of_other_pictures_left_is_swept_after_a_while(tmp_path: Path) -> None:
    path, cache = save(tmp_path / "a.png", random_pixels(40, 40)), tmp_path / "cache"
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    dead, living = f"tmp-{child.pid}-x", f"tmp-{os.getpid()}-x"
    left, fresh, under_way = (
        "0a" * 12 + "." + dead,
        "1b" * 12 + "." + dead,
        "2c" * 12 + "." + living,
    )
    for name in (left, fresh, under_way, f"my pictures.{dead}"):
        (cache / name).mkdir(parents=True)
        (cache / name / "level-00.u8").write_bytes(b"pixels")
        if name != fresh:
            for file in (cache / name / "level-00.u8", cache / name):
                os.utime(file, (time.time() - 7200,) * 2)
    ImagePyramid.open(path, cache_dir=cache).close()
    there = {folder.name for folder in cache.iterdir()}
    assert left not in there
    assert {fresh, f"my pictures.{dead}"} < there
    if sys.platform != "win32":  # where its open files would keep it
        assert under_way in there


def test_the_pyramid_of_what_a_picture_was_goes_when_it_has_changed(tmp_path: Path) -> None:
    path, cache = save(tmp_path / "a.png", random_pixels(80, 80)), tmp_path / "cache"
    other = save(tmp_path / "b.png", random_pixels(80, 80))
    now = time.time()

    def opened(file: Path, changed_s: float, crop: Box | None = None) -> ImagePyramid:
        os.utime(file, (now + changed_s,) * 2)
        return ImagePyramid.open(file, crop=crop, cache_dir=cache)

    def count() -> int:
        return len(list(cache.iterdir()))

    opened(other, -90).close()
    read = opened(path, -60)
    window = window_around((0.0, 0.0), 0.0, (8, 8), 64)
    before = read.render([window])
    opened(path, -60, (0, 0, 40, 40)).close()
    assert count() == 3
    opened(path, -90).close()  # what another process may take for the newest stays
    assert count() == 4
    opened(path, -30).close()
    torch.testing.assert_close(read.render([window]), before, rtol=0, atol=0)
    read.close()
    opened(path, 0).close()
    assert count() == 2
    assert is_built(path, cache_dir=cache) and is_built(other, cache_dir=cache)


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_disk_that_fills_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    path, cache = save(tmp_path / "a.png", random_pixels(600, 400)), tmp_path / "cache"
    code = (
        "import resource, sys; from model.pyramid import ImagePyramid\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "try: ImagePyramid.open(sys.argv[1], cache_dir=sys.argv[2])\n"
        "except OSError as error: print(error.strerror); sys.exit(7)"
    )
    command = [sys.executable, "-c", code, str(path), str(cache)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 7, done.stderr
    assert "cannot be written" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert list(cache.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kB on Linux only")
def test_building_needs_a_bounded_part_of_the_image_in_memory(tmp_path: Path) -> None:
    tile = pyvips.Image.new_from_array(RNG.integers(0, 255, (64, 64)).tolist())
    large = tile.cast("uchar").replicate(125, 125).bandjoin([128, 40])
    large.copy(interpretation="srgb").write_to_file(str(tmp_path / "large.tif"), tile=False)
    code = (
        "import resource, sys; from model.pyramid import ImagePyramid\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "before = peak(); ImagePyramid.open(sys.argv[1], cache_dir=sys.argv[2])\n"
        "print(peak() - before)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "large.tif"), str(tmp_path / "cache")]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert int(done.stdout) < 120, "8000 x 8000 pixels are 183 MiB, with their sums 600 and more"


def test_a_closed_pyramid_says_so(tmp_path: Path) -> None:
    space = ImagePyramid.open(
        save(tmp_path / "a.png", random_pixels(20, 20)), cache_dir=tmp_path / "cache"
    )
    space.close()
    with pytest.raises(ValueError, match="closed"):
        space.render([window_around((0, 0), 0.0, (4, 4), 64)])


def test_batches_are_checked(scene: tuple[ImagePyramid, np.ndarray]) -> None:
    space, _ = scene
    with pytest.raises(ValueError, match="must share level"):
        space.render([Window((0, 0), 0.0, 4, 4), Window((0, 0), 1.0, 4, 4)])
    with pytest.raises(ValueError, match="finite"):
        space.render([Window((math.nan, 0), 0.0, 4, 4)])
    with pytest.raises(ValueError, match="sample needs"):
        space.sample(np.zeros((3, 2)), np.zeros(2), 8)


def test_the_cache_follows_the_custom_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_cache_dir() == Path("/somewhere/scalespace-explorer/pyramids")


def test_without_a_home_the_cache_is_among_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ImagePyramid.open(save(tmp_path / "a.png", random_pixels(20, 20))).close()
    assert default_cache_dir().is_relative_to(tmp_path) and default_cache_dir().is_dir()


def test_a_pyramid_in_the_cache_is_known_and_may_be_read_by_whoever_may_read_there(
    tmp_path: Path,
) -> None:
    path, cache = save(tmp_path / "a.png", random_pixels(20, 20)), tmp_path / "cache"
    assert not is_built(path, cache_dir=cache)
    ImagePyramid.open(path, cache_dir=cache).close()
    assert is_built(path, cache_dir=cache)
    assert not is_built(path, crop=(0, 0, 10, 10), cache_dir=cache)
    (folder,) = cache.iterdir()
    assert folder.stat().st_mode == cache.stat().st_mode
