"""`scalespace-explorer evaluate` on small pictures: tables, JSON, baselines, and refusals."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from explorer.cli import UsageError
from explorer.commands import evaluate as command
from model.checkpoints import header_of, save_checkpoint
from model.generator import Generator
from model.metrics import METRICS
from model.presets import PRESETS
from model.pyramid import ImagePyramid
from model.pyramid_build import default_cache_dir

QUICK = ["--windows", "16", "--held-out", "4", "--bootstrap", "2"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    rng = np.random.default_rng(5)
    blocks = rng.integers(30, 226, (20, 30, 3), np.uint8)
    noise = rng.integers(-30, 30, (320, 480, 3))
    pixels = np.kron(blocks, np.ones((16, 16, 1), np.int64)) + noise
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def run(*argv: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["evaluate", *map(str, argv)])
    return int(args.run(args))


def thumbnail(picture: Path, folder: Path) -> Path:
    with Image.open(picture) as image:
        image.resize((60, 40), Image.Resampling.BOX).save(folder / "small.png")
    return folder / "small.png"


def test_a_thumbnail_is_a_baseline_at_all_levels_of_the_data(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.json"
    small = thumbnail(picture, tmp_path)
    metrics = ["--metrics", "fidelity", "spectrum"]
    argv = ["--data", picture, "--patch-size", 32, *QUICK, *metrics, "--json", out]
    assert run(small, *argv) == 0
    found = json.loads(out.read_text())
    assert found["levels"] == [0.0, 1.0, 2.0, 3.0]
    assert found["scale_space"] == "small.png"
    assert "torch" in found["machine"]
    bands = [found["figures"][f"{level}"]["spectrum"]["high_band"]["value"] for level in (0, 3)]
    assert abs(bands[0]) < 6 and bands[1] < -10  # 40 pixels a side hold level 0 and no more
    text = capsys.readouterr().out
    assert METRICS["fidelity"].title in text and METRICS["swd"].title not in text


def test_a_checkpoint_takes_the_crop_from_its_head(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = PRESETS["laptop"].for_field((1.25, 1.0), (0.0, 2.0)).generator
    path = tmp_path / "tiny.safetensors"
    source = {"name": "picture.png", "size": [480, 320], "crop": [10, 10, 335, 270]}
    header = header_of(config, {}, "CC0-1.0", source=source)
    save_checkpoint(path, Generator(config), header)
    argv = [path, "--data", picture, *QUICK, "--device", "cpu", "--levels", "1"]
    assert run(*argv, "--metrics", "fidelity") == 0
    assert "PSNR" in capsys.readouterr().out
    with pytest.raises(ValueError, match="field of the data"):
        run(*argv, "--metrics", "fidelity", "--crop", 0, 0, 300, 300)
    with pytest.raises(UsageError, match="a checkpoint has its own"):
        run(*argv, "--patch-size", 32)


def test_a_checkpoint_of_the_whole_picture_takes_the_pyramid_that_is_there(
    picture: Path, tmp_path: Path
) -> None:
    config = PRESETS["laptop"].for_field((1.5, 1.0), (0.0, 2.0)).generator
    path = tmp_path / "tiny.safetensors"
    source = {"name": "picture.png", "size": [480, 320], "crop": [0, 0, 480, 320]}
    save_checkpoint(path, Generator(config), header_of(config, {}, "CC0-1.0", source=source))
    ImagePyramid.open(picture).close()  # as training does
    argv = [path, "--data", picture, *QUICK, "--device", "cpu", "--levels", "1"]
    assert run(*argv, "--metrics", "fidelity") == 0
    assert len(list(default_cache_dir().iterdir())) == 1


def test_patches_with_levels_are_compared_without_places(picture: Path, tmp_path: Path) -> None:
    folder, rng = tmp_path / "patches", np.random.default_rng(0)
    folder.mkdir()
    labels = []
    with Image.open(picture) as image:
        for index in range(80):
            x, y = int(rng.integers(0, 480 - 64)), int(rng.integers(0, 320 - 64))
            image.crop((x, y, x + 64, y + 64)).resize((32, 32), Image.Resampling.BOX).save(
                folder / f"{index:03d}.png"
            )
            labels.append([f"{index:03d}.png", float(np.log2(5))])
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    out = tmp_path / "found.json"
    argv = [picture, "--data", folder, "--patch-size", 32, "--levels", "2", "0", *QUICK]
    assert run(*argv, "--metrics", "spectrum", "swd", "--json", out) == 0
    found = json.loads(out.read_text())
    assert found["windows"] == {"2": 16}
    assert abs(found["figures"]["2"]["spectrum"]["high_band"]["value"]) < 1.5
    assert found["figures"]["0"] == {}
    with pytest.raises(ValueError, match="no places"):
        run(*argv, "--metrics", "layout")
    with pytest.raises(UsageError, match="--crop is for images"):
        run(*argv, "--crop", 0, 0, 9, 9)


def test_what_cannot_be_is_refused_before_the_work(picture: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--fid-weights FILE"):
        run(picture, "--data", picture, "--metrics", "fid")
    with pytest.raises(UsageError, match="json"):
        run(picture, "--data", picture, "--json", tmp_path / "found.txt")
    with pytest.raises(FileNotFoundError):
        run(picture, "--data", tmp_path / "nothing.png")
    with pytest.raises(SystemExit):
        run(picture, "--data", picture, "--metrics", "beauty")


def test_its_module_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = "import sys, explorer.commands.evaluate; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
