"""Films: what is written is what was rendered, whole or not at all."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from explorer.film_frames import NOTE, frame_file, record_frames
from explorer.film_parts import has_part
from explorer.recorder import (
    FilmSpec,
    OtherFilmError,
    _frame_rate,
    even_size,
    film_metadata,
    part_path,
    record_film,
)

ROOT = Path(__file__).parents[2]
SUFFIXES = (".mp4", ".webm")
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX devices and signals")


def gradient(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A frame whose mean colour names its number."""
    y, x = np.mgrid[:height, :width]
    frame = np.stack([x * 2 + 20, y * 3 + 30, np.full_like(x, 40 + 5 * number)], -1)
    return frame.astype(np.uint8)


def frames_of(path: Path) -> Iterator[np.ndarray]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            rgb = frame.reformat(format="rgb24", src_colorspace="ITU709", dst_color_range="JPEG")
            yield rgb.to_ndarray()


def test_a_film_holds_every_frame_in_its_colours(tmp_path: Path) -> None:
    out = tmp_path / "a.mp4"
    done: list[int] = []
    record_film(out, FilmSpec((64, 48), 25, 30), gradient, done.append)
    assert done == list(range(1, 31))
    frames = list(frames_of(out))
    assert len(frames) == 30
    for number, frame in enumerate(frames):
        error = np.abs(frame.astype(int) - gradient(number))
        # 4:2:0 and crf 18; a wrong matrix or range is off by 10 and more.
        assert np.median(error) <= 3
        assert np.abs((frame.astype(float) - gradient(number)).mean((0, 1))).max() < 4
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_film_begins_with_its_first_frame(tmp_path: Path, suffix: str) -> None:
    """An encoder holds frames back, by which the part begins late."""
    out, spec = tmp_path / f"a{suffix}", FilmSpec((64, 48), 10, 20)
    record_film(out, spec, noise)
    for _ in range(2):
        with av.open(str(out)) as container:
            assert container.start_time == 0
            assert container.duration == pytest.approx(2_000_000, abs=2000)
            times = [frame.time for frame in container.decode(video=0)]
        assert times == pytest.approx([number / 10 for number in range(20)], abs=1e-3)
        out.unlink()
        broken(out, spec, 13)
        record_film(out, spec, noise, resume=True)


@pytest.mark.parametrize(
    ("fps", "rate"),
    [
        (29.97, (30000, 1001)),
        (23.976, (24000, 1001)),
        (24, (24, 1)),
        (12.5, (25, 2)),
        (1, (1, 1)),
        (0.5, (1, 2)),
    ],
)
def test_rates_of_television_are_those_of_television(fps: float, rate: tuple[int, int]) -> None:
    assert _frame_rate(FilmSpec((64, 48), fps, 1)) == Fraction(*rate)


def test_a_film_that_cannot_take_its_place_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, replace = tmp_path / "a.mp4", Path.replace
    out.write_text("an older film, open in a player")

    def refuse(self: Path, target: Path) -> Path:
        if Path(target) == out:
            raise PermissionError(errno.EACCES, "Permission denied")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match=r"the film is whole: .*a\.final\.part\.mp4"):
        record_film(out, FilmSpec((64, 48), 10, 12), gradient)
    assert len(list(frames_of(tmp_path / "a.final.part.mp4"))) == 12
    assert out.read_text().startswith("an older") and len(list(tmp_path.iterdir())) == 2


def test_the_film_is_tagged_and_its_index_comes_first(tmp_path: Path) -> None:
    out = tmp_path / "a.mp4"
    metadata = {"path": {"keyframes": [1, 2.5]}, "identity": "ü" * 2000}
    record_film(out, FilmSpec((64, 48), 29.97, 12, metadata), gradient)
    assert film_metadata(out) == metadata
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert stream.codec_context.name == "h264"
        assert stream.average_rate is not None
        assert abs(float(stream.average_rate) - 29.97) < 0.001
        assert (context.colorspace, context.color_range) == (1, 1)  # BT.709, limited
        assert (context.color_primaries, context.color_trc) == (1, 1)
        assert context.pix_fmt == "yuv420p"
    data = out.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert b"moof" not in data


@pytest.mark.parametrize(("asked", "got"), [((321, 240), (322, 240)), ((1, 1), (2, 2))])
def test_odd_sides_grow_by_one(asked: tuple[int, int], got: tuple[int, int]) -> None:
    assert even_size(*asked) == got


def test_what_cannot_be_a_film_is_refused(tmp_path: Path) -> None:
    for size, fps, num_frames in (((63, 48), 25, 5), ((64, 48), 0, 5), ((64, 48), 25, 0)):
        with pytest.raises(ValueError, match="got"):
            FilmSpec(size, fps, num_frames)
    with pytest.raises(ValueError, match=r"end in \.mp4"):
        record_film(tmp_path / "a.avi", FilmSpec((64, 48), 25, 5), gradient)
    with pytest.raises(ValueError, match="a frame must be uint8"):
        record_film(tmp_path / "a.mp4", FilmSpec((32, 48), 25, 5), gradient)
    assert not list(tmp_path.iterdir())


@posix
@pytest.mark.parametrize("stage", ["part", "final.part"])
@pytest.mark.parametrize("num_frames", [5, 200])  # it fills at the end, or on the way
def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, stage: str, num_frames: int
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    out = tmp_path / "a.mp4"
    out.write_bytes(b"an older film")
    # The kernel itself answers every write there with "no space left".
    (tmp_path / f"a.{stage}.mp4").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"cannot be written: No space left.*No film was left") as e:
        record_film(out, FilmSpec((64, 48), 25, num_frames), lambda n: gradient(n % 40))
    assert e.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == [out]
    assert out.read_bytes() == b"an older film"


def test_a_folder_that_is_missing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot be written: No such file"):
        record_film(tmp_path / "none" / "a.mp4", FilmSpec((64, 48), 25, 5), gradient)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError])
def test_an_error_while_rendering_leaves_nothing(tmp_path: Path, kind: type[BaseException]) -> None:
    def fail(number: int) -> np.ndarray:
        if number == 40:
            raise kind
        return gradient(number % 30)

    with pytest.raises(kind):
        record_film(tmp_path / "a.mp4", FilmSpec((64, 48), 25, 200), fail)
    assert not list(tmp_path.iterdir())


def killed_at(out: Path, size: int, code: str) -> None:
    """Run a program that records `out`, and kill it once its part has so many bytes."""
    child = subprocess.Popen([sys.executable, "-c", code, str(out)], cwd=ROOT)
    try:
        deadline = time.monotonic() + 300
        while not (part_path(out).exists() and part_path(out).stat().st_size > size):
            assert child.poll() is None, "the recording ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()


@posix
def test_a_recording_that_is_killed_leaves_a_playable_part(tmp_path: Path) -> None:
    out = tmp_path / "a.mp4"
    code = (
        "import sys, time; from pathlib import Path; import numpy as np\n"
        "from explorer.recorder import FilmSpec, record_film\n"
        "rng = np.random.default_rng(0)\n"
        "def frame(number):\n"
        "    time.sleep(0.002)\n"
        "    return rng.integers(0, 256, (96, 128, 3), np.uint8)\n"
        "record_film(Path(sys.argv[1]), FilmSpec((128, 96), 10, 100_000), frame)"
    )
    killed_at(out, 300_000, code)
    assert not out.exists()
    with av.open(str(part_path(out))) as container:
        frames = 0
        try:
            for _ in container.decode(video=0):
                frames += 1
        except av.error.InvalidDataError:
            pass  # the fragment that the kill cut
    assert frames >= 10


# Going on where a recording was broken.


def noise(number: int) -> np.ndarray:
    """A frame that is another one in every place, and moves."""
    rng = np.random.default_rng(number // 7)
    blocks = np.kron(rng.integers(0, 256, (6, 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    return np.roll(blocks, 3 * number, 1)


def exact_frames(path: Path) -> list[tuple[float, np.ndarray]]:
    with av.open(str(path)) as container:
        frames = [(float(f.time or 0), f.to_ndarray()) for f in container.decode(video=0)]
    return [(time_s - frames[0][0], pixels) for time_s, pixels in frames]


def assert_same_film(a: Path, b: Path) -> None:
    left, right = exact_frames(a), exact_frames(b)
    assert len(left) == len(right)
    for (ta, pixels_a), (tb, pixels_b) in zip(left, right, strict=True):
        assert ta == pytest.approx(tb)
        np.testing.assert_array_equal(pixels_a, pixels_b)
    assert film_metadata(a) == film_metadata(b)


def broken(out: Path, spec: FilmSpec, after: int) -> None:
    """A recording that ends after so many frames, and leaves its part."""

    def stop(done: int) -> None:
        if done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record_film(out, spec, noise, stop, resume=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_film_that_was_broken_goes_on_to_the_same_frames(tmp_path: Path, suffix: str) -> None:
    spec = FilmSpec((64, 48), 10, 57, {"path": [1, 2]})
    whole, out = tmp_path / f"whole{suffix}", tmp_path / f"a{suffix}"
    record_film(whole, spec, noise)
    broken(out, spec, 23)
    assert has_part(out) and not out.exists()
    rendered: list[int] = []
    done: list[int] = []

    def render(number: int) -> np.ndarray:
        rendered.append(number)
        return noise(number)

    broken(out, spec, 41)  # and once more
    record_film(out, spec, render, done.append, resume=True)
    assert rendered == list(range(rendered[0], 57)) and rendered[0] in (20, 30)
    assert done[0] == rendered[0] and done[-1] == 57
    assert_same_film(whole, out)
    assert sorted(p.name for p in tmp_path.iterdir()) == [out.name, whole.name]


def test_a_colon_in_a_relative_name_is_no_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out, spec = Path("2025-06-01T12:30.mp4"), FilmSpec((64, 48), 10, 12, {"a": 1})
    broken(out, spec, 11)
    record_film(out, spec, noise, resume=True)
    assert film_metadata(out) == {"a": 1} and len(exact_frames(tmp_path / out)) == 12


def test_a_part_of_before_does_not_outlive_a_recording_that_began_anew(tmp_path: Path) -> None:
    spec, out = FilmSpec((64, 48), 10, 57), tmp_path / "a.mp4"
    broken(out, spec, 31)
    kept = out.with_name("a.kept.part.mp4")
    part_path(out).rename(kept)  # a resumption was killed while it copied this

    def fails(number: int) -> np.ndarray:
        if number == 3:
            assert not kept.exists()
            raise KeyboardInterrupt
        return noise(number)

    with pytest.raises(KeyboardInterrupt):
        record_film(out, spec, fails)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("seed", range(4))
def test_a_part_that_was_cut_anywhere_goes_on_to_the_same_frames(
    tmp_path: Path, suffix: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    spec = FilmSpec((64, 48), 8, 50)
    whole, out = tmp_path / f"whole{suffix}", tmp_path / f"a{suffix}"
    record_film(whole, spec, noise)
    broken(out, spec, 45)
    data = part_path(out).read_bytes()
    part_path(out).write_bytes(data[: int(rng.integers(3000, len(data)))])
    if seed == 3:  # killed while the part of before was being copied
        part_path(out).rename(out.with_name(f"a.kept.part{suffix}"))
        part_path(out).write_bytes(data[:2500])
    record_film(out, spec, noise, resume=True)
    assert_same_film(whole, out)
    assert sorted(p.name for p in tmp_path.iterdir()) == [out.name, whole.name]


def test_a_part_of_another_film_is_refused_and_left(tmp_path: Path) -> None:
    out = tmp_path / "a.mp4"
    broken(out, FilmSpec((64, 48), 10, 57), 23)
    before = part_path(out).read_bytes()
    for spec in (
        FilmSpec((64, 48), 10, 58),
        FilmSpec((32, 48), 10, 57),
        FilmSpec((64, 48), 20, 57),
        FilmSpec((64, 48), 10, 57, {"path": 2}),
    ):
        with pytest.raises(OtherFilmError, match=r"is of another film.*without --resume"):
            record_film(out, spec, noise, resume=True)
    assert part_path(out).read_bytes() == before
    part_path(out).write_bytes(b"no film at all")
    with pytest.raises(OtherFilmError):
        record_film(out, FilmSpec((64, 48), 10, 57), noise, resume=True)


def test_resume_begins_where_there_is_nothing(tmp_path: Path) -> None:
    out = tmp_path / "a.webm"
    record_film(out, FilmSpec((64, 48), 10, 5, {"a": 1}), noise, resume=True)
    assert len(exact_frames(out)) == 5 and film_metadata(out) == {"a": 1}
    with av.open(str(out)) as container:
        assert container.streams.video[0].codec_context.name in ("vp9", "libvpx-vp9")
        assert container.duration == pytest.approx(500_000, abs=2000)
    assert list(tmp_path.iterdir()) == [out]


def test_frames_go_into_a_folder_and_on_where_they_were_broken(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    spec = FilmSpec((63, 47), 10, 6, {"path": 1}, even=False)

    def frame(number: int) -> np.ndarray:
        if number == 3 and not rendered:
            raise RuntimeError("broken")
        rendered_now.append(number)
        return gradient(number, 63, 47)

    rendered: list[int] = []
    rendered_now: list[int] = []
    with pytest.raises(RuntimeError):
        record_frames(folder, spec, frame, texts=lambda n: {"number": str(n)})
    with pytest.raises(OtherFilmError, match="new or an empty folder"):
        record_frames(folder, spec, frame)
    rendered, rendered_now = [1], []
    other = FilmSpec((63, 47), 10, 6, {"path": 2}, even=False)
    with pytest.raises(OtherFilmError, match="holds another film"):
        record_frames(folder, other, frame, resume=True)
    record_frames(folder, spec, frame, texts=lambda n: {"number": str(n)}, resume=True)
    assert rendered_now == [3, 4, 5]
    for number in range(6):
        with Image.open(frame_file(folder, number)) as image:
            assert image.info["number"] == str(number)
            np.testing.assert_array_equal(np.asarray(image), gradient(number, 63, 47))
    assert len(list(folder.iterdir())) == 7 and (folder / NOTE).exists()


@posix
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_film_that_was_killed_plays_and_goes_on_to_the_same_frames(
    tmp_path: Path, suffix: str
) -> None:
    whole, out = tmp_path / f"whole{suffix}", tmp_path / f"a{suffix}"
    spec = FilmSpec((64, 48), 10, 150)
    code = (
        "import sys, time; from pathlib import Path\n"
        "from explorer.recorder import FilmSpec, record_film\n"
        "from tests.explorer.test_recorder import noise\n"
        "def frame(number):\n"
        "    time.sleep(0.01 if number < 60 else 0.2)\n"
        "    return noise(number)\n"
        "record_film(Path(sys.argv[1]), FilmSpec((64, 48), 10, 150), frame)"
    )
    killed_at(out, 12_000, code)
    with av.open(str(part_path(out))) as container:
        assert sum(1 for _ in zip(range(10), container.decode(video=0), strict=False)) == 10
    first: list[int] = []
    record_film(out, spec, noise, first.append, resume=True)
    assert first[0] >= 10
    record_film(whole, spec, noise)
    assert_same_film(whole, out)
