"""`scalespace-explorer export`: its files, its page, and one clear line for what cannot be."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from explorer import cli
from explorer.commands import export as command
from explorer.export_page import deepzoom_page
from explorer.view_links import StillView
from explorer.view_metadata import read_view
from model import open_scale_space
from model.export import preflight
from model.rendering import render_view
from model.scale import level_of_density

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def a_file_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.COMMANDS, "export", "a file of any size")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(5).integers(0, 256, (200, 300, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def run(scene: Path, out: Path, *options: object, level: float = 2.0) -> int:
    words = ["export", scene, "--level", level, "--out", out, *options]
    return cli.run([str(word) for word in words])


def test_a_png_holds_the_field_and_its_view(
    picture: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "a.png"
    assert run(picture, out) == 0
    captured = capsys.readouterr()
    assert f"{out}: 384 x 256 pixels" in captured.out
    assert re.search(r"384 x 256 pixels: about 0:0\d to render .* are free\.", captured.err)
    space = open_scale_space(picture)
    with Image.open(out) as image:
        expected = render_view(space, (0, 0), 2.0, (384, 256))
        np.testing.assert_array_equal(np.asarray(image), expected)
    view = StillView((0.0, 0.0), 2.0, (384, 256), 0, "picture.png", space.identity)
    assert read_view(out) == view
    assert list(folder.iterdir()) == [out]


@pytest.mark.parametrize("name", ["a.tif", "a.jpg"])
def test_a_box_carries_its_view(picture: Path, folder: Path, name: str) -> None:
    assert run(picture, folder / name, "--box", "-0.5", "-5e-1", "0", ".25", "--seed", 9) == 0
    view = read_view(folder / name)
    assert view is not None
    assert (view.center_xy, view.size, view.seed) == ((-0.25, -0.125), (128, 192), 9)


def test_a_deepzoom_page_needs_nothing_from_elsewhere(picture: Path, folder: Path) -> None:
    out = folder / "a <b>.dzi"
    assert run(picture, out, "--quality", "lossless", "--tile", 128) == 0
    assert {p.name for p in folder.iterdir()} == {"a <b>.dzi", "a <b>.html", "a <b>_files"}
    page = (folder / "a <b>.html").read_text("utf-8")
    body, script = page.split("<script>", 1)
    assert "<b>" not in body + script.rsplit("<script>", 1)[1]
    assert not re.search(r"<(script|img|link)[^>]*(src|href)=", page)
    assert "OpenSeadragon" in script
    found = re.search(r"tileSources: (\{.*\}),\n", page)
    assert found is not None
    source = json.loads(found[1])["Image"]
    assert source.pop("Url") == "./a%20%3Cb%3E_files/"
    size, xml = source.pop("Size"), ElementTree.parse(out).getroot()
    assert xml.tag == f"{{{source.pop('xmlns')}}}Image"
    assert source == xml.attrib
    assert size == xml[0].attrib == {"Width": "384", "Height": "256"}
    assert (folder / "a <b>_files" / "9" / "3_2.png").exists()


def test_the_viewer_lies_beside_its_licence() -> None:
    folder = ROOT / "assets" / "openseadragon"
    script = (folder / "openseadragon.min.js").read_text("utf-8")
    assert script.startswith("//! openseadragon 6.1.1\n")
    assert "sourceMappingURL" not in script
    assert "</script" not in script.lower()
    licence = (folder / "LICENSE.txt").read_text("utf-8")
    assert "Redistributions in binary form must reproduce" in licence
    page = deepzoom_page(
        title="</title>", caption="", folder="</script>", size=(1, 1), tile_size=254, overlap=1,
        suffix="jpg",
    )  # fmt: skip
    assert page.count("</script>") == 2
    assert page.count("</title>") == 1


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.bmp", [], "must end in .tif or"),
        ("none/a.tif", [], "does not exist; make it first"),
        ("a.jpg", ["--level", "12"], "a JPEG holds at most 65500 pixels a side"),
        ("a.tif", ["--box", "0", "0", "2", "1"], "inside the field, -0.75 to 0.75 by -0.5 to 0.5"),
        ("a.tif", ["--tile", "100"], "multiple of 16"),
        ("a.png", ["--quality", "90"], "always lossless"),
    ],
)
def test_what_cannot_be_is_one_line(
    picture: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    options: list[str],
    message: str,
) -> None:
    open_scale_space(picture)
    assert run(picture, folder / name, *options) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert message in err
    assert not list(folder.iterdir())


def test_a_disk_that_is_too_small_is_refused_before_the_work(
    picture: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(preflight, "free_bytes", lambda folder: 20_000_000)
    assert run(picture, folder / "a.tif") == 1
    assert "20 MB are free there; make room" in capsys.readouterr().err.splitlines()[-1]
    assert not list(folder.iterdir())


def test_an_existing_file_is_kept(
    picture: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.tif").write_text("mine")
    assert run(picture, folder / "a.tif") == 2
    assert "a.tif exists; delete it" in capsys.readouterr().err
    assert (folder / "a.tif").read_text() == "mine"
    (folder / "b.tif.work").mkdir()
    assert run(picture, folder / "b.tif") == 2
    assert "go on with --resume" in capsys.readouterr().err
    assert run(picture, folder / "b.tif", "--resume") == 0
    assert not (folder / "b.tif.work").exists()


def test_only_long_exports_ask_and_only_people(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = preflight.Preflight((9, 9), 1.0, 1.0, 1, 1, 10**9)
    long = replace(short, render_s=500.0)

    class Terminal:
        def __init__(self, answer: str) -> None:
            self.answer = answer

        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return self.answer

    for answer, agreed in (("\n", True), ("y\n", True), ("n\n", False)):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        assert command._agreed(long) is agreed
        assert "Go on?" in capsys.readouterr().err
        assert command._agreed(short)
    monkeypatch.setattr(Terminal, "isatty", lambda self: False)
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    assert command._agreed(long)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_keeps_the_rows_and_says_so(picture: Path, folder: Path) -> None:
    level = level_of_density(6000, 64)
    code = (
        "import sys; from explorer import cli; cli.COMMANDS['export'] = ''\n"
        "sys.exit(cli.run(sys.argv[1:]))"
    )
    out = folder / "a.tif"
    words = ["export", str(picture), "--level", repr(level), "--out", str(out)]
    with subprocess.Popen(
        [sys.executable, "-c", code, *words],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        journal = folder / "a.tif.work" / "strips.txt"
        deadline = time.monotonic() + 300
        while not (journal.exists() and journal.stat().st_size > 40):
            assert child.poll() is None, child.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=300)
    assert child.returncode == 130
    assert "Traceback" not in err
    assert "go on with --resume, or delete it.\nscalespace-explorer: stopped by Ctrl-C." in err
    assert [p.name for p in folder.iterdir()] == ["a.tif.work"]
