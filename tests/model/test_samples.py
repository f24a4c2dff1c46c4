"""The strip of samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from model.samples import save_samples
from model.space import Window


class Brightness:
    """Shows how far to the right a pixel lies, from -0.5 to 0.5, and notes what was asked for."""

    patch_size, field_size, level_range, identity = 16, (1.25, 1.0), (0.0, 2.0), "brightness"

    def __init__(self) -> None:
        self.asked: list[Window] = []

    def render(self, windows: Sequence[Window]) -> torch.Tensor:
        self.asked += windows
        rows = []
        for w in windows:
            x = w.origin_xy[0] + (torch.arange(w.width) + 0.5) / (16 * 2**w.level)
            rows.append(x.expand(3, w.height, -1) / 1.25)
        return torch.stack(rows)


@pytest.mark.parametrize("has_picture", [True, False])
def test_samples_stay_within_the_field(tmp_path: Path, has_picture: bool) -> None:
    """At level 0 a window of two patches would be twice as large as the scene."""
    space = Brightness()

    def reals(level: float, count: int, rng: Any) -> Any:
        return SimpleNamespace(images=torch.zeros(count, 3, 16, 16))

    source: Any = SimpleNamespace(picture=space if has_picture else None, reals=reals)
    path = tmp_path / "step0000001.jpg"
    save_samples(space, source, (0.0, 2.0), [0, 1], path)  # type: ignore[arg-type]
    for w in space.asked:
        size = w.width / (16 * 2**w.level)
        for origin, side in zip(w.origin_xy, space.field_size, strict=True):
            assert -side / 2 - 1e-9 <= origin and origin + size <= side / 2 + 1e-9
    assert {(w.level, w.width) for w in space.asked} == {(0.0, 16), (1.0, 32), (2.0, 32)}
    strip = np.asarray(Image.open(path))
    assert strip.shape == (3 * 32, 3 * 32, 3)
    if has_picture:  # the same windows in the same order
        assert np.abs(strip[:32].astype(int) - strip[64:]).max() <= 8
