"""The command line: what it makes, and one clear line for everything that can go wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from explorer import cli
from explorer.camera_path import CameraPath, Keyframe, save_path
from explorer.commands import no_display
from explorer.display import why_no_display
from explorer.progress import ProgressLine, minutes
from explorer.recorder import film_metadata, part_path
from explorer.shipped import shipped
from explorer.view_state import Camera
from model import load_scale_space, open_scale_space
from model.checkpoints import header_of, save_checkpoint
from model.generator import Generator
from model.header import FORMAT, METADATA_KEY, CheckpointHeader
from model.presets import PRESETS
from model.rendering import render_view

ROOT = Path(__file__).parents[2]
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits and signals")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    rng = np.random.default_rng(5)
    blocks = rng.integers(30, 226, (20, 30, 3), np.uint8)
    noise = rng.integers(-30, 30, (320, 480, 3))
    pixels = np.kron(blocks, np.ones((16, 16, 1), np.int64)) + noise
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def fails(capsys: pytest.CaptureFixture[str], code: int, *argv: object) -> str:
    """Run the command line, expect exit `code` and one line on stderr; returns the line."""
    capsys.readouterr()
    assert cli.run([str(word) for word in argv]) == code
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1, err
    assert err.startswith("scalespace-explorer: error: ")
    return err


def render_args(scene: Path, out: Path, size: tuple[int, int] = (40, 30)) -> list[str]:
    view = ["--center", "-1e-2", ".1", "--level", "1.3", "--size", *map(str, size)]
    return ["render", str(scene), *view, "--out", str(out)]


def record_args(scene: Path, out: Path) -> list[str]:
    flight = ["--from", "0", "0", "0", "--to", "-.2", "0.1", "2", "--seconds", "1.2"]
    return ["record", str(scene), *flight, "--fps", "10", "--size", "64", "48", "--out", str(out)]


def decoded(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    with (Path(__file__).parents[2] / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    assert capsys.readouterr().out == f"scalespace-explorer {version}\n"


def test_a_name_that_cannot_be_printed_is_no_failure(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "\u56fe\xfc.png"
    words = render_args(picture, out, (8, 8))
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "explorer", *words], cwd=ROOT, env=environment, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert out.exists() and b"\\u56fe\\xfc.png" in done.stdout


def test_what_ships_is_found_where_pip_puts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path("checkpoints", "of-a-wheel.safetensors")
    with pytest.raises(FileNotFoundError, match="clone the repository again"):
        shipped(file)
    kept = tmp_path / "share" / "scalespace-explorer" / file
    kept.parent.mkdir(parents=True)
    kept.touch()
    monkeypatch.setattr("site.getuserbase", lambda: str(tmp_path))
    assert shipped(file) == kept


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from explorer.cli import run\n"
        "assert run(['--help']) == 0 and run(['render', '--help']) == 0\n"
        "assert run(['record', '--help']) == 0\n"
        "heavy = {'torch', 'numpy', 'PySide6', 'av', 'pyvips', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help_and_a_device(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([command, "--help"]) == 0
    assert "--device" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv",
    [
        ["render", "x.png", "--center", "0", "--level", "1", "--size", "4", "4", "--out", "y.png"],
        ["render", "x.png", "--center", "0", "inf", "--level", "1", "--size", "4", "4"],
        ["record", "x.png", "--from", "0", "0", "1", "--size", "0", "4", "--out", "y.mp4"],
        ["record", "x.png", "--path", "p", "--fps", "-3", "--out", "y.mp4"],
        ["--device", "tpu"],
        ["--no-such-option"],
    ],
)
def test_wrong_usage_exits_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(argv) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_render_writes_what_render_view_gives(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "still.png"
    assert cli.run(render_args(picture, out)) == 0
    expected = render_view(open_scale_space(picture), (-0.01, 0.1), 1.3, (40, 30))
    with Image.open(out) as still:
        np.testing.assert_array_equal(np.asarray(still), expected)
        view = json.loads(still.info["scalespace"])
    assert view["center"] == [-0.01, 0.1]
    assert view["level"] == 1.3


def test_a_checkpoint_is_rendered_as_from_python(tmp_path: Path) -> None:
    config = PRESETS["laptop"].for_field((1.5, 1.0), (0.0, 2.0)).generator
    path, out = tmp_path / "tiny.safetensors", tmp_path / "still.png"
    save_checkpoint(path, Generator(config), header_of(config, {}, "CC0-1.0"))
    assert cli.run([*render_args(path, out, (100, 70)), "--device", "cpu"]) == 0
    expected = load_scale_space(path, device="cpu").render_view((-0.01, 0.1), 1.3, (100, 70))
    with Image.open(out) as still:
        np.testing.assert_array_equal(np.asarray(still), expected)


def test_record_renders_every_frame_for_its_own_camera(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "film.mp4"
    assert cli.run([*record_args(picture, out), "--size", "65", "47"]) == 0
    assert "66 x 48 instead of 65 x 47" in capsys.readouterr().err
    frames = decoded(out)
    assert len(frames) == 12
    assert frames[0].shape == (48, 66, 3)
    space = open_scale_space(picture)
    for frame, center, level in ((frames[0], (0, 0), 0.0), (frames[-1], (-0.2, 0.1), 2.0)):
        expected = render_view(space, center, level, (66, 48)).astype(float)
        assert np.abs(frame.mean((0, 1)) - expected.mean((0, 1))).max() < 6
        assert np.corrcoef(frame.mean(-1).ravel(), expected.mean(-1).ravel())[0, 1] > 0.9
    for before, after in zip(frames, frames[1:], strict=False):
        assert np.abs(before.astype(int) - after).mean() > 0.5
    metadata = film_metadata(out)
    assert metadata["identity"] == space.identity
    assert len(metadata["path"]["keyframes"]) == 2


def test_record_flies_a_path_file(picture: Path, tmp_path: Path) -> None:
    keys = (Keyframe(0.0, Camera(0, 0, 0.0)), Keyframe(0.8, Camera(0.2, 0.1, 2.0), "linear"))
    save_path(CameraPath(keys), tmp_path / "path.json")
    out = tmp_path / "film.mp4"
    args = ["--path", str(tmp_path / "path.json"), "--fps", "10", "--size", "64", "48"]
    assert cli.run(["record", str(picture), *args, "--out", str(out)]) == 0
    assert len(decoded(out)) == 8


def write_checkpoint(path: Path, head: str) -> Path:
    save_file({"w": torch.zeros(64)}, path, {METADATA_KEY: head})
    return path


def test_bad_input_is_one_line_and_exit_2(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = CheckpointHeader(64, (1.0, 1.0), (0.0, 5.0), {}).to_json()
    newer = json.loads(head) | {"format": FORMAT + 1}
    too_new = write_checkpoint(tmp_path / "new.safetensors", json.dumps(newer))
    truncated = write_checkpoint(tmp_path / "cut.safetensors", head)
    truncated.write_bytes(truncated.read_bytes()[:-40])
    foreign = tmp_path / "foreign.safetensors"
    save_file({"w": torch.zeros(4)}, foreign)
    (tmp_path / "text.jpg").write_text("no picture")
    cases = (
        (tmp_path / "none.safetensors", "cannot be read: No such file"),
        (tmp_path / "none.png", "cannot be read: No such file"),
        (too_new, "update the app"),
        (truncated, "is truncated"),
        (foreign, "of another program"),
        (tmp_path / "text.jpg", "cannot be read as an image"),
        (tmp_path, "holds no checkpoint"),
    )
    (tmp_path / "out").mkdir()
    for scene, message in cases:
        if scene == tmp_path:
            scene = tmp_path / "empty"
            scene.mkdir()
        assert message in fails(capsys, 2, *render_args(scene, tmp_path / "out" / "s.png"))
        assert message in fails(capsys, 2, *record_args(scene, tmp_path / "out" / "f.mp4"))
    assert not list((tmp_path / "out").iterdir())


def test_what_cannot_be_written_is_said_before_the_work(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "does not exist" in fails(capsys, 2, *render_args(picture, tmp_path / "no" / "s.png"))
    assert "must end in" in fails(capsys, 2, *render_args(picture, tmp_path / "s.doc"))
    assert "must end in .mp4" in fails(capsys, 2, *record_args(picture, tmp_path / "f.avi"))
    (tmp_path / "d.png").mkdir()
    assert "is a folder" in fails(capsys, 2, *render_args(picture, tmp_path / "d.png"))
    assert not (tmp_path / "cache").exists()


def test_record_wants_a_path_or_two_views(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", tmp_path / "f.mp4"]
    both = ["--path", "p.json", "--from", "0", "0", "1", "--to", "0", "0", "2"]
    assert "either --path" in fails(capsys, 2, "record", picture, *both, *out)
    assert "either --path" in fails(capsys, 2, "record", picture, *out)
    assert "both --from" in fails(capsys, 2, "record", picture, "--from", "0", "0", "1", *out)
    missing = fails(capsys, 2, "record", picture, "--path", tmp_path / "p.json", *out)
    assert "p.json" in missing
    short = [*record_args(picture, tmp_path / "f.mp4"), "--seconds", "0.01"]
    assert "1 to 1000000 frames" in fails(capsys, 2, *short)


def run_limited(argv: list[str], max_file_bytes: int) -> subprocess.CompletedProcess[str]:
    """The command line in a process in which no file may grow beyond `max_file_bytes`."""
    code = (
        "import resource, sys; from explorer.cli import run\n"
        "limit = int(sys.argv[1]); resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
        "sys.exit(run(sys.argv[2:]))"
    )
    command = [sys.executable, "-c", code, str(max_file_bytes), *argv]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )


@posix
def test_a_disk_that_fills_is_one_line_and_leaves_nothing(picture: Path, tmp_path: Path) -> None:
    open_scale_space(picture)  # so that the pyramid is there
    (tmp_path / "out").mkdir()
    still = render_args(picture, tmp_path / "out" / "s.png", (600, 400))
    film = record_args(picture, tmp_path / "out" / "f.mp4")
    for argv in (still, film):
        done = run_limited(argv, 6_000)
        assert done.returncode == 1, done.stderr
        last = done.stderr.splitlines()[-1]
        assert last.startswith("scalespace-explorer: error: ")
        assert "cannot be written: File too large" in last
        assert "Traceback" not in done.stderr
        assert not list((tmp_path / "out").iterdir())


@posix
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_recording_that_is_stopped(
    picture: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    out = tmp_path / "film.mp4"
    argv = [*record_args(picture, out), "--seconds", "5000", "--size", "96", "64"]
    with subprocess.Popen(
        [sys.executable, "-m", "explorer", *argv],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        deadline = time.monotonic() + 300
        while not (part_path(out).exists() and part_path(out).stat().st_size > 60_000):
            assert child.poll() is None, child.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        child.send_signal(number)
        _, err = child.communicate(timeout=300)
    assert child.returncode == code
    assert "Traceback" not in err
    assert not out.exists()
    if number == signal.SIGINT:
        assert "stopped by Ctrl-C" in err
        assert not part_path(out).exists()
    else:
        with av.open(str(part_path(out))) as container:
            assert sum(1 for _ in zip(container.decode(video=0), range(10), strict=False)) == 10


def test_with_no_display_the_app_records_a_flight(
    picture: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(no_display, "FLIGHT_PX", 160 * 120)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert cli.run([str(picture)]) == 0
    captured = capsys.readouterr()
    assert "there is no display" in captured.err
    out = tmp_path / "here" / "picture-flight.mp4"
    assert str(out) in captured.out
    frames = decoded(out)
    assert len(frames) >= 240
    assert all(frame.mean() > 20 for frame in frames)
    pairs = zip(frames, frames[1:], strict=False)
    assert min(np.abs(a.astype(int) - b).mean() for a, b in pairs) > 0.2
    assert list((tmp_path / "here").iterdir()) == [out]


def test_with_a_display_the_app_opens(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, str, bool]] = []

    def run_app(path: object, device: str, new_window: bool) -> int:
        asked.append((path, device, new_window))
        return 0

    monkeypatch.setattr("explorer.display.why_no_display", lambda: None)
    monkeypatch.setitem(sys.modules, "explorer.app", SimpleNamespace(run_app=run_app))
    assert cli.run([str(picture), "--device", "cpu"]) == 0
    link = "scalespace:starry-night?x=0.1&y=0.2&level=3.0"
    assert cli.run([]) == cli.run([link, "--new-window"]) == 0
    assert asked == [(str(picture), "cpu", False), (None, "auto", False), (link, "auto", True)]


def test_the_flight_ends_at_the_finest_level_inside_the_scene(picture: Path) -> None:
    space = open_scale_space(picture)
    size = no_display.flight_size(space.field_size)
    assert size[0] % 2 == size[1] % 2 == 0
    assert abs(size[0] / size[1] - 1.5) < 0.02
    end = no_display.descent(space, size).keyframes[-1].camera
    assert abs(end.cx) < 0.75
    assert abs(end.cy) < 0.5
    assert no_display.flight_size((1.0, 400.0)) == (128, 1280)


def test_the_place_to_fall_into_is_where_there_is_something_to_see() -> None:
    image = np.full((120, 200, 3), 90, np.uint8)
    image[60:80, 120:140] = np.random.default_rng(0).integers(0, 255, (20, 20, 3))
    x, y = no_display.richest_point(image)
    assert abs(x - 130) < 12
    assert abs(y - 70) < 12


@pytest.mark.parametrize(
    ("env", "reason"),
    [
        ({}, "there is no display"),
        ({"DISPLAY": ":98765"}, "does not answer"),
        ({"DISPLAY": "nonsense"}, "does not answer"),
        ({"QT_QPA_PLATFORM": "offscreen", "DISPLAY": ":0"}, "has no OpenGL"),
    ],
)
def test_displays_that_cannot_be_used(
    env: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert reason in (why_no_display() or "")


def test_errors_on_the_way_exit_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(argv: object) -> int:
        raise RuntimeError("the GPU fell off the bus\nwith details")

    monkeypatch.setattr(cli, "_run_app", broken)
    assert "fell off the bus with details" in fails(capsys, 1)


def test_a_missing_scene_is_said_before_any_window(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "does not exist" in fails(capsys, 2, tmp_path / "none.png")


class Log:
    """A stream that is, or is not, a terminal."""

    def __init__(self, terminal: bool) -> None:
        self.terminal, self.text = terminal, ""

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_tells_the_time_left(terminal: bool) -> None:
    log, times = Log(terminal), iter(range(0, 1000, 2))
    line = ProgressLine("job", stream=log, clock=lambda: float(next(times)))  # type: ignore[arg-type]
    for step in range(1, 101):
        line(step / 100, "note")
    line.close()
    assert "note  1:40 left" in log.text
    assert log.text.endswith("100 %  note  3:20\n")
    assert terminal or len(log.text.splitlines()) == 10
    assert minutes(3675) == "1:01:15"


def test_the_module_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "explorer", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"COLUMNS": "100"},
    )
    assert "record" in done.stdout
