"""How far a run's samples are from its data: the figure by which it keeps its best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from model.sample_distance import SCENES, WINDOWS, SampleDistance
from model.space import Window
from model.training_data import PatchData

PATCH = 32


def paint(seed: int) -> torch.Tensor:
    """Noise of several finenesses, float32 [3, P, P] in [-1, 1]."""
    rng = torch.Generator().manual_seed(seed)
    total = torch.zeros(1, 3, PATCH, PATCH)
    for cells in (4, 8, 16, 32):
        noise = torch.randn(1, 3, cells, cells, generator=rng)
        total += 0.15 * F.interpolate(noise, (PATCH, PATCH), mode="nearest")
    return total[0].clamp(-1, 1)


class Painted:
    """Shows other paint in every window, changed by `change`, and notes what was asked for."""

    patch_size, field_size, level_range, identity = PATCH, (1.25, 1.0), (0.0, 1.0), "painted"

    def __init__(
        self,
        change: Callable[[torch.Tensor], torch.Tensor] = lambda x: x,
        z_dim: int = 0,
        first: int = 10_000,
    ) -> None:
        self.change, self.first, self.asked = change, first, list[Window]()
        self.generator = SimpleNamespace(config=SimpleNamespace(z_dim=z_dim))

    def render(self, windows: Sequence[Window]) -> torch.Tensor:
        begin = self.first + len(self.asked)
        self.asked += windows
        return self.change(torch.stack([paint(begin + i) for i in range(len(windows))]))


def patches() -> PatchData:
    images = torch.stack([paint(seed) for seed in range(400)])
    pixels = ((images + 1) * 127.5).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    return PatchData(pixels, np.linspace(0.0, 1.0, 400))


def distances(source: Any, space: Any) -> dict[str, float]:
    return SampleDistance(source, (0.0, 1.0), PATCH).measure(space)


def test_the_same_paint_is_as_far_as_the_floor_and_worse_paint_further() -> None:
    source = patches()
    same, blurred, flat, pale = (
        distances(source, Painted(change))
        for change in (
            lambda x: x,
            lambda x: F.avg_pool2d(x, 3, 1, 1),
            torch.zeros_like,
            lambda x: 0.8 * x,
        )
    )
    assert set(same) == {"0", "1"}
    for octave in ("0", "1"):
        assert 0.5 < same[octave] < 2
        assert 1.5 * same[octave] < pale[octave] < blurred[octave] < flat[octave]


def test_windows_are_of_the_levels_of_the_patches_and_always_the_same() -> None:
    space = Painted()
    measured = SampleDistance(patches(), (0.25, 1.25), PATCH)
    first = measured.measure(space)  # type: ignore[arg-type]
    asked, space.asked = space.asked, []
    assert len(asked) == 2 * WINDOWS
    levels = np.array([w.level for w in asked])
    assert (np.abs(levels[:WINDOWS] - 0.25) <= 0.25).all() and len(set(levels[:WINDOWS])) == 5
    assert (levels[WINDOWS:] == 1.0).all()  # none is finer
    assert {w.seed for w in asked} == {0}
    assert measured.measure(space) == first and space.asked == asked  # type: ignore[arg-type]


def test_many_scenes_share_the_windows() -> None:
    space = Painted(z_dim=4)
    distances(patches(), space)
    assert {w.seed for w in space.asked} == set(range(SCENES))


def test_a_picture_is_measured_at_whole_levels_and_needs_no_patches() -> None:
    picture = Painted(first=20_000)
    source = SimpleNamespace(picture=picture, reals=lambda level, count, rng: None)
    found = distances(source, Painted())
    assert all(0.5 < d < 2 for d in found.values())
    assert {w.level for w in picture.asked} == {0.0, 1.0}


def test_data_that_is_the_same_all_over_has_a_finite_distance() -> None:
    flat = PatchData(np.full((8, PATCH, PATCH, 3), 99, np.uint8), np.zeros(8))
    found = SampleDistance(flat, (0.0, 0.0), PATCH).measure(Painted())  # type: ignore[arg-type]
    assert np.isfinite(found["0"]) and found["0"] > 1


def test_somebody_who_waits_in_between_can_stop_it() -> None:
    def stop() -> None:
        raise InterruptedError

    measured = SampleDistance(patches(), (0.0, 1.0), PATCH)
    with pytest.raises(InterruptedError):
        measured.measure(Painted(), stop)  # type: ignore[arg-type]
