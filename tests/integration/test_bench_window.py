"""The flight benchmark through the real window, in a process of its own, on a picture."""

from __future__ import annotations

import argparse
import json
import random
import shutil
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.app_bench import add_arguments, run
from explorer.display import why_no_display


@pytest.fixture
def picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A picture of two octaves more than the window shows at once; cached in the test's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    chance = random.Random(0)
    coarse = Image.frombytes("RGB", (50, 40), chance.randbytes(50 * 40 * 3))
    path = tmp_path / "picture.png"
    coarse.resize((4000, 3200), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.mark.skipif(
    why_no_display() is not None and shutil.which("Xvfb") is None, reason="no display and no Xvfb"
)
def test_the_whole_bench_of_a_picture(picture: Path, tmp_path: Path, capsys) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    out = tmp_path / "bench.json"
    words = (
        f"{picture} --json {out} --device cpu --repeats 1 --windows 2 --seconds 4 --minutes 0.02"
    )
    code = run(parser.parse_args([*words.split(), "--only", "speed", "seams", "flight", "memory"]))
    printed = capsys.readouterr()
    assert code == 0, printed.err
    result = json.loads(out.read_text(encoding="utf-8"))
    label = "picture.png (cpu)"
    assert result["subjects"][label]["source"] == "picture.png"
    assert result["speed"][label]["megapixels_per_s"] > 0
    assert result["seams"][label]["fp32"] == 0
    assert result["seams"][label]["zero-padded control"] > 1e-3
    flight = result["flight"][label]
    assert flight["displayed_fps"] > 1
    assert flight["fresh_per_s"] > 0
    assert flight["exact_frames"] >= 1
    assert flight["latency_p50_ms"] > 0
    assert result["memory"][label]["rss_max_mb"] > 100
    assert "displayed_fps" in printed.out
