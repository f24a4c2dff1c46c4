"""The procedural picture: the same for the same seed, with detail at every octave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.procedural import main, rock


def test_equal_seeds_give_equal_pictures() -> None:
    first = rock(128, 1)
    assert first.shape == (128, 128, 3) and first.dtype == np.uint8
    assert np.array_equal(first, rock(128, 1))
    assert not np.array_equal(first, rock(128, 2))


def test_coarse_shapes_do_not_depend_on_the_side() -> None:
    small, large = (
        np.asarray(Image.fromarray(rock(side, 4)).resize((32, 32), Image.Resampling.BOX), float)
        for side in (128, 512)
    )
    assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.8


def test_there_is_something_in_every_octave() -> None:
    grey = rock(512, 0).mean(2)
    bands = []
    while len(grey) > 8:
        half = grey.reshape(len(grey) // 2, 2, len(grey) // 2, 2).mean((1, 3))
        bands.append((grey - np.kron(half, np.ones((2, 2)))).std())
        grey = half
    assert min(bands) > 4  # of 255
    assert max(bands) < 8 * min(bands)


def test_the_command_writes_the_picture_whole(tmp_path: Path, capsys) -> None:
    out = tmp_path / "rock.png"
    assert main(["--out", str(out), "--side", "64", "--seed", "5"]) == 0
    assert np.array_equal(np.asarray(Image.open(out)), rock(64, 5))
    assert [p.name for p in tmp_path.iterdir()] == ["rock.png"]
    capsys.readouterr()
    assert main(["--out", str(tmp_path / "rock.jpg"), "--side", "64"]) == 1
    assert main(["--out", str(out), "--side", "16"]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert [line.split(":")[0] for line in lines] == ["procedural", "procedural"]


def test_a_side_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="64"):
        rock(10)
