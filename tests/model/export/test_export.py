"""Exports: the pixels of single tiles, whatever stopped them on the way, in little memory."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pyvips
import torch

from model.export import Preflight, WorkFolder, export, measure, plan_export
from model.export.plan import ExportPlan
from model.export.work import _tiff_header
from model.generator import Generator
from model.presets import PRESETS
from model.scale import density
from tests.model.export.exports import Waves, files_below, tile_by_render_view

ROOT = Path(__file__).parents[3]
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits and signals")
LEVEL = 4.2
"""The field has 765 x 588 pixels there: three strips of three tiles, the last ones cut."""


def plan_of(out: Path, **options: object) -> ExportPlan:
    options.setdefault("quality", None if out.suffix != ".dzi" else "lossless")
    return plan_export(Waves(), out, LEVEL, seed=3, **options)  # type: ignore[arg-type]


def pixels_of(path: Path) -> np.ndarray:
    """The finest level of an export."""
    if path.suffix == ".dzi":
        return from_deepzoom(path)
    return np.asarray(pyvips.Image.new_from_file(str(path)).numpy())


def from_deepzoom(path: Path) -> np.ndarray:
    """Put the finest level of a DeepZoom together from its tiles, overlap and all."""
    folder = path.with_name(f"{path.stem}_files")
    finest = max((p for p in folder.iterdir()), key=lambda p: int(p.name))
    tiles = {tuple(map(int, p.stem.split("_"))): p for p in finest.iterdir()}
    rows = []
    for row in range(1 + max(y for _, y in tiles)):
        cut = []
        for column in range(1 + max(x for x, _ in tiles)):
            tile = pyvips.Image.new_from_file(str(tiles[column, row])).numpy()
            cut.append(tile[1 if row else 0 :, 1 if column else 0 :][:254, :254])
        rows.append(np.concatenate(cut, 1))
    return np.concatenate(rows)


def test_the_space_of_these_tests_is_not_flat_and_hears_its_seed() -> None:
    plan = plan_of(Path("a.png"))
    tile = tile_by_render_view(Waves(), plan, 0, 0)
    assert tile.std() > 30
    other = replace(plan, window=replace(plan.window, seed=4))
    assert (tile != tile_by_render_view(Waves(), other, 0, 0)).any()


@pytest.mark.parametrize("name", ["a.tif", "a.dzi", "a.png"])
def test_every_tile_is_the_one_that_render_view_gives(tmp_path: Path, name: str) -> None:
    space, plan = Waves(), plan_of(tmp_path / name)
    fractions: list[float] = []
    assert export(space, plan, on_render=fractions.append) == plan.out
    assert fractions == sorted(fractions)
    assert len(fractions) == 9
    assert fractions[-1] == 1.0
    assert set(space.shapes) == {(1, 256, 256)}
    pixels = pixels_of(plan.out)
    assert pixels.shape == (*plan.size[::-1], 3) == (588, 765, 3)
    for strip in range(3):
        for column in range(3):
            y, x = 256 * strip, 256 * column
            expected = tile_by_render_view(Waves(), plan, column, strip)
            np.testing.assert_array_equal(pixels[y : y + 256, x : x + 256], expected)
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in plan.outputs()}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_no_file_of_the_work_folder_stays_open(tmp_path: Path) -> None:
    for name in ("a.tif", "a.dzi", "a.jpg"):
        export(Waves(), plan_of(tmp_path / name))
    # A deleted file that is open would keep its gigabytes.
    open_files = {os.readlink(fd.path) for fd in os.scandir("/proc/self/fd") if fd.is_symlink()}
    assert not [name for name in open_files if ".work" in name]


def test_a_jpeg_is_near(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "a.jpg", quality=95, box=(-0.3, -0.2, 0.0, 0.3))
    export(Waves(), plan)
    pixels = pixels_of(plan.out).astype(int)
    expected = tile_by_render_view(Waves(), plan, 0, 0).astype(int)
    assert np.abs(pixels[:256, :256] - expected).mean() < 2


def test_a_generator_in_both_precisions(tmp_path: Path) -> None:
    from model.checkpoints import header_of, load_generator_space, save_checkpoint

    torch.manual_seed(1)
    config = PRESETS["laptop"].for_field((1.25, 1.0), (0.0, 2.0)).generator
    save_checkpoint(
        tmp_path / "tiny.safetensors", Generator(config), header_of(config, {}, "CC0-1.0")
    )
    (tmp_path / "out").mkdir()
    for precision in ("fp32", "bf16"):
        space = load_generator_space(tmp_path / "tiny.safetensors", torch.device("cpu"), precision)
        plan = plan_export(space, tmp_path / "out" / f"{precision}.png", 2.2)
        assert plan.renderer.endswith(" on cpu")
        export(space, plan)
        pixels = pixels_of(plan.out)
        assert plan.columns == 2
        for column in range(2):
            expected = tile_by_render_view(space, plan, column, 0)
            np.testing.assert_array_equal(pixels[:256, 256 * column :][:, :256], expected)


def test_a_tiff_is_big_tiled_and_a_pyramid(tmp_path: Path) -> None:
    plan = replace(plan_of(tmp_path / "a.tif", tile_px=128), xmp=b"<x>here</x>")
    export(Waves(), plan)
    head = plan.out.read_bytes()[:4]
    assert head == b"II\x2b\x00"
    image = pyvips.Image.new_from_file(str(plan.out))
    assert image.get("n-pages") == 4
    assert image.get("tile-width") == 128
    assert bytes(image.get("xmp-data")) == plan.xmp
    half = pyvips.Image.new_from_file(str(plan.out), page=1)
    assert (half.width, half.height) == (382, 294)


def test_a_deepzoom_has_its_page_and_its_size(tmp_path: Path) -> None:
    plan = replace(plan_of(tmp_path / "a b.dzi", quality=80), page="<p>ü</p>")
    export(Waves(), plan)
    assert 'Width="765"' in plan.out.read_text()
    assert (tmp_path / "a b.html").read_text("utf-8") == "<p>ü</p>"
    names = {p.name for p in (tmp_path / "a b_files").iterdir()}
    assert names == {str(i) for i in range(11)}


class Stop(Exception):
    """What a test stops an export with."""


@pytest.mark.parametrize("name", ["a.tif", "a.dzi", "a.png", "a.jpg"])
def test_stopped_anywhere_it_is_completed_to_the_same_bytes(tmp_path: Path, name: str) -> None:
    whole, again = tmp_path / "whole", tmp_path / "again"
    whole.mkdir()
    again.mkdir()
    page = {"page": "page"} if name == "a.dzi" else {}
    export(Waves(), replace(plan_of(whole / name), **page))
    plan = replace(plan_of(again / name), **page)
    chance = random.Random(1)

    def stop_at(limit: float) -> object:
        def progress(fraction: float) -> None:
            if fraction >= limit:
                raise Stop

        return progress

    for on in ("on_render", "on_render", "on_write"):
        limit = {on: stop_at(chance.uniform(0.4, 0.9) if on == "on_render" else 0.0)}
        with pytest.raises(Stop):
            export(Waves(), plan, resume=True, **limit)  # type: ignore[arg-type]
        assert [p.name for p in again.iterdir()] == [f"{name}.work"]
    space = Waves()
    export(space, plan, resume=True)
    assert space.shapes == []  # everything was rendered before
    assert files_below(again) == files_below(whole)


def test_stopped_before_anything_was_rendered_nothing_is_kept(tmp_path: Path) -> None:
    def stop(fraction: float) -> None:
        raise Stop

    with pytest.raises(Stop):
        export(Waves(), plan_of(tmp_path / "a.tif"), on_render=stop)
    assert not list(tmp_path.iterdir())


def stopped(out: Path, after: float = 0.7) -> WorkFolder:
    """The work folder of an export that was stopped."""

    def stop(fraction: float) -> None:
        if fraction > after:
            raise Stop

    plan = plan_of(out)
    with pytest.raises(Stop):
        export(Waves(), plan, on_render=stop)
    return WorkFolder(plan)


@pytest.mark.parametrize("damage", ["flip", "cut", "journal", "no journal", "no manifest"])
def test_damaged_work_is_rendered_again(tmp_path: Path, damage: str) -> None:
    (tmp_path / "whole").mkdir()
    export(Waves(), plan_of(tmp_path / "whole" / "a.png"))
    work = stopped(tmp_path / "a.png")
    rows, journal = work.folder / "rows.tif", work.folder / "strips.txt"
    if damage == "flip":
        data = bytearray(rows.read_bytes())
        data[-100] ^= 1  # in the second strip
        rows.write_bytes(data)
    elif damage == "cut":
        os.truncate(rows, rows.stat().st_size - 100)
    elif damage == "journal":
        journal.write_text(journal.read_text()[:-7])
    elif damage == "no journal":
        journal.unlink()
    else:
        (work.folder / "manifest.json").unlink()
    space = Waves()
    export(space, work.plan, resume=True)
    missing = {"flip": 6, "cut": 6, "journal": 6}.get(damage, 9)
    assert len(space.shapes) == missing
    assert work.plan.out.read_bytes() == (tmp_path / "whole" / "a.png").read_bytes()


def test_killed_while_moving_into_place(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    export(Waves(), replace(plan_of(tmp_path / "whole" / "a.dzi"), page="page"))
    work = stopped(tmp_path / "a.dzi")
    plan = replace(work.plan, page="page")
    work.resume()
    work.begin_moving()
    (tmp_path / "a_files").mkdir()  # the first of the renames
    (tmp_path / "a_files" / "stale").write_text("")
    export(Waves(), plan, resume=True)
    (tmp_path / "whole").rename(tmp_path.with_name("whole"))
    assert files_below(tmp_path) == files_below(tmp_path.with_name("whole"))


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "a.tif")
    work = stopped(plan.out)
    with pytest.raises(FileExistsError, match="go on with --resume") as error:
        export(Waves(), plan)
    assert error.value.errno == errno.EEXIST
    with pytest.raises(ValueError, match=r"its level is 4.2, this one's is 4.3"):
        export(Waves(), plan_export(Waves(), plan.out, 4.3, seed=3), resume=True)
    other = replace(plan, identity="moon")
    with pytest.raises(ValueError, match="its scene is 'waves', this one's is 'moon'"):
        export(Waves(), other, resume=True)
    export(Waves(), plan, resume=True)
    assert not work.exists
    for resume in (False, True):
        with pytest.raises(FileExistsError, match=r"a\.tif exists; delete it"):
            export(Waves(), plan, resume=resume)
    (tmp_path / "b.dzi.work").mkdir()
    (tmp_path / "b.dzi.work" / "letter.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"is not the work folder.*letter\.txt"):
        export(Waves(), plan_of(tmp_path / "b.dzi"), resume=True)
    assert (tmp_path / "b.dzi.work" / "letter.txt").exists()


def test_the_rows_are_a_tiff_that_any_program_reads(tmp_path: Path) -> None:
    for width, height in ((1, 1), (5, 16), (700, 33), (300, 1000)):
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        file = tmp_path / f"{width}.tif"
        file.write_bytes(_tiff_header(width, height) + pixels.tobytes())
        read = pyvips.Image.new_from_file(str(file), access="sequential").numpy()
        np.testing.assert_array_equal(read, pixels)


@pytest.mark.parametrize("width", [1_100_000, 2_000_000, 9_999_999])
def test_rows_of_any_width_can_be_read(tmp_path: Path, width: int) -> None:
    """libtiff, as libvips opens it, refuses strips of 50 MiB."""
    file, header = tmp_path / "wide.tif", _tiff_header(width, 20)
    file.write_bytes(header)
    os.truncate(file, len(header) + width * 20 * 3)  # sparse
    read = pyvips.Image.new_from_file(str(file), access="sequential")
    assert (read.width, read.height) == (width, 20)
    assert read.crop(0, 0, 16, 20).avg() == 0


def test_half_a_file_does_not_take_the_room_of_the_next_try(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "a.tif")

    def stop(fraction: float) -> None:
        if fraction > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(Waves(), plan, on_write=stop)
    work = WorkFolder(plan)
    assert work.pixels.exists() and not work.result.exists()
    work.result.mkdir()  # as a kill leaves it
    (work.result / "image").write_bytes(b"half")
    work.resume()
    assert not work.result.exists() and work.done == plan.strips
    export(Waves(), plan, resume=True)
    assert plan.out.exists() and not work.exists


def test_a_preflight_is_near_what_comes(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "a.png")
    space = Waves(seconds=0.01)
    cost = measure(space, WorkFolder(plan))
    assert not list(tmp_path.iterdir())
    assert cost.work_bytes == plan.raw_bytes == 765 * 588 * 3
    assert 0.009 < cost.render_s < 60
    export(space, plan)
    assert 0.4 < cost.file_bytes / plan.out.stat().st_size < 2.5
    work = stopped(tmp_path / "b.png")
    work.resume()
    assert measure(space, work).work_bytes == (588 - 512) * 765 * 3


def test_a_disk_that_is_too_small_is_refused() -> None:
    plan = plan_of(Path("a.tif"))
    cost = Preflight((765, 588), 1.0, 1.0, 3_000_000_000, 1_000_000_000, 4_000_000_000)
    with pytest.raises(OSError, match=r"needs about 4\.\d GB .*4\.0 GB are free.*make room") as e:
        cost.check(plan)
    assert e.value.errno == errno.ENOSPC
    replace(cost, free_bytes=5_000_000_000).check(plan)


def child(code: str, *argv: object) -> list[str]:
    head = (
        "import json, resource, sys; from pathlib import Path\n"
        "from model.export import export, plan_export\n"
        "from tests.model.export.exports import Waves\n"
    )
    return [sys.executable, "-c", head + code, *map(str, argv)]


@posix
@pytest.mark.parametrize("name", ["a.dzi"])
def test_killed_it_goes_on(tmp_path: Path, name: str) -> None:
    for folder in ("whole", "killed"):
        (tmp_path / folder).mkdir()
    export(Waves(), plan_export(Waves(), tmp_path / "whole" / name, 5.5))
    out = tmp_path / "killed" / name
    code = "export(Waves(seconds=0.02), plan_export(Waves(), Path(sys.argv[1]), 5.5))"
    with subprocess.Popen(child(code, out), cwd=ROOT) as process:
        journal = out.with_name(f"{name}.work") / "strips.txt"
        deadline = time.monotonic() + 300
        while not (journal.exists() and journal.stat().st_size > 40):
            assert process.poll() is None, "the export ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert [p.name for p in out.parent.iterdir()] == [f"{name}.work"]
    space = Waves()
    plan = plan_export(space, out, 5.5)
    export(space, plan, resume=True)
    assert len(space.shapes) < plan.columns * plan.strips
    assert files_below(tmp_path / "killed") == files_below(tmp_path / "whole")


@posix
def test_a_disk_that_fills_says_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "a.tif"
    code = (
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))\n"
        "try:\n    export(Waves(), plan_export(Waves(), Path(sys.argv[1]), 5.0))\n"
        "except OSError as error:\n    print(error.strerror)"
    )
    done = subprocess.run(child(code, out), cwd=ROOT, capture_output=True, text=True, check=True)
    assert "a.tif.work cannot be written: File too large; make room there" in done.stdout
    assert not out.exists()
    export(Waves(), plan_export(Waves(), out, 5.0), resume=True)
    assert pyvips.Image.new_from_file(str(out)).width == round(1.3 * density(5.0, 32))


@posix
def test_memory_does_not_grow_with_the_picture(tmp_path: Path) -> None:
    code = (
        "def peak():\n"
        "    with open('/proc/self/status') as f:\n"
        "        return next(int(x.split()[1]) * 1024 for x in f if x.startswith('VmHWM'))\n"
        "space = Waves((1.0, 6.0), flat=True)\n"
        "out = Path(sys.argv[1])\n"
        "export(space, plan_export(space, out / 'small.tif', 6.0, box=(-.5, 0, .5, 1)))\n"
        "before = peak()\n"
        "plan = plan_export(space, out / 'tall.tif', 6.0)\n"
        "export(space, plan)\n"
        "print(json.dumps([before, peak(), plan.raw_bytes]))"
    )
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc")
    done = subprocess.run(
        child(code, tmp_path), cwd=ROOT, capture_output=True, text=True, check=True
    )
    before, after, raw = json.loads(done.stdout)
    assert raw > 70_000_000
    # The same width, six times the height: a picture held in memory would add its raw bytes.
    assert after - before < 30_000_000
