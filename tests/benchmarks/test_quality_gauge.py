"""A scene that was never told its places is found in the real picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks.procedural import rock
from benchmarks.quality.gauge import Gauge, Seen, find_gauge
from model.metrics.windows import render_all
from model.pyramid import ImagePyramid
from model.space import ScaleSpace, Window, window_around


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[ImagePyramid]:
    """Two pictures of rock, levels 0 to 4."""
    folder = tmp_path_factory.mktemp("scenes")
    for seed in (1, 2):
        Image.fromarray(rock(1024, seed)).save(folder / f"{seed}.png")
    return [
        ImagePyramid.open(folder / f"{seed}.png", patch_size=64, cache_dir=folder)
        for seed in (1, 2)
    ]


class Noisy:
    """A scene with noise of its own at every place."""

    def __init__(self, space: ScaleSpace, sigma: float) -> None:
        self.space, self.sigma, self.identity = space, sigma, "noisy"
        self.patch_size, self.field_size = space.patch_size, space.field_size
        self.level_range = space.level_range
        self.generator = torch.Generator().manual_seed(0)

    def render(self, windows: Sequence[Window]) -> torch.Tensor:
        img = self.space.render(windows)
        return img + self.sigma * torch.randn(img.shape, generator=self.generator)


def test_the_picture_through_a_gauge_is_moved_and_scaled(scenes: list[ImagePyramid]) -> None:
    seen = Seen(scenes[0], Gauge(2.0, (0.05, -0.1), 1), (1.0, 1.0))
    shown = seen.render([window_around((0.1, 0.05), 3.0, (64, 64), 64)])
    # What lies at (0.1, 0.05) there lies at (0.25, 0.0) here, twice as large.
    expected = scenes[0].render([window_around((0.25, 0.0), 2.0, (64, 64), 64)])
    assert torch.allclose(shown, expected, atol=1e-5)


@pytest.mark.parametrize("gauge", [Gauge(1.003, (0.02, -0.013)), Gauge(0.997, (-0.005, 0.001))])
def test_a_known_gauge_is_found(scenes: list[ImagePyramid], gauge: Gauge) -> None:
    scene = Noisy(Seen(scenes[0], gauge, (1.0, 1.0)), 0.05)
    found = find_gauge(scene, scenes[0])
    assert found.found >= 12
    # A quarter of a pixel of the finest level at the edge of the field.
    assert found.scale == pytest.approx(gauge.scale, abs=0.5 / 1024)
    assert found.shift_xy == pytest.approx(gauge.shift_xy, abs=0.25 / 1024)
    windows = [window_around((0.2, -0.3), 3.0, (64, 64), 64)]
    through = render_all(Seen(scenes[0], found, (1.0, 1.0)), windows)
    without = render_all(scenes[0], windows)
    shown = render_all(scene.space, windows)
    assert float((through - shown).square().mean()) < 0.05 * float(
        (without - shown).square().mean()
    )


def test_another_picture_is_not_found(scenes: list[ImagePyramid]) -> None:
    assert find_gauge(scenes[1], scenes[0]) == Gauge()


def test_a_picture_in_its_place_stays_there(scenes: list[ImagePyramid], tmp_path: Path) -> None:
    found = find_gauge(scenes[0], scenes[0])
    assert found.scale == pytest.approx(1.0, abs=1e-5)
    assert found.shift_xy == pytest.approx((0.0, 0.0), abs=1e-5)
