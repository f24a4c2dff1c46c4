"""Films: what is written is what was rendered, whole or not at all."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from explorer.recorder import FilmSpec, even_size, film_metadata, part_path, record_film

ROOT = Path(__file__).parents[2]
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
    child = subprocess.Popen([sys.executable, "-c", code, str(out)], cwd=ROOT)
    try:
        deadline = time.monotonic() + 300
        while not (part_path(out).exists() and part_path(out).stat().st_size > 300_000):
            assert child.poll() is None, "the recording ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not out.exists()
    with av.open(str(part_path(out))) as container:
        frames = 0
        try:
            for _ in container.decode(video=0):
                frames += 1
        except av.error.InvalidDataError:
            pass  # the fragment that the kill cut
    assert frames >= 10
