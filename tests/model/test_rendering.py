"""Views by tiles: the same picture whatever the tiles, and a cancel that is obeyed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from model.rendering import render_view
from model.scale import Lattice, density
from model.space import Window, check_batch, to_rgba8, to_uint8, window_around


class PlaneWaves:
    """A scale space without weights: the value of a pixel follows from its place and level."""

    identity = "waves"
    patch_size = 32
    field_size = (1.5, 1.0)
    level_range = (0.0, 6.0)

    def __init__(self) -> None:
        self.shapes: list[tuple[int, int, int]] = []
        self.phases: set[tuple[float, float]] = set()

    def render(self, windows: Sequence[Window]) -> torch.Tensor:
        check_batch(windows)
        self.shapes.append((len(windows), windows[0].height, windows[0].width))
        d = density(windows[0].level, self.patch_size)
        images = []
        for w in windows:
            x, y = (Lattice.at(v, d) for v in w.origin_xy)
            self.phases.add((x.phase, y.phase))
            column = (torch.arange(w.width, dtype=torch.float64) + x.first + x.phase + 0.5) / d
            row = (torch.arange(w.height, dtype=torch.float64) + y.first + y.phase + 0.5) / d
            wave = torch.sin(97 * column)[None] * torch.cos(71 * row)[:, None]
            images.append(torch.stack([wave, wave.square(), -wave]))
        return torch.stack(images).float()


@pytest.mark.parametrize("size", [(1, 1), (64, 64), (65, 31), (200, 130), (257, 3)])
@pytest.mark.parametrize("tile_px", [16, 50, 256])
def test_a_view_equals_its_window_in_one_go(size: tuple[int, int], tile_px: int) -> None:
    space = PlaneWaves()
    window = window_around((0.13, -0.2), 2.31, size, 32)
    expected = to_uint8(space.render([window]))[0].numpy()
    frame = render_view(space, (0.13, -0.2), 2.31, size, tile_px=tile_px)
    assert frame.dtype == np.uint8
    assert frame.shape == (size[1], size[0], 3)
    np.testing.assert_array_equal(frame, expected)


def test_tiles_are_bounded() -> None:
    space = PlaneWaves()
    render_view(space, (0.1, 0.2), 2.0, (700, 500), tile_px=128)
    assert all(h <= 128 and w <= 128 for _, h, w in space.shapes)
    assert all(n * h * w <= 4 * 256 * 256 for n, h, w in space.shapes)


def test_all_tiles_round_to_the_same_phase_even_halfway_between_two_steps() -> None:
    torn = 0
    for k in range(40):
        level = 2.0 + k / 97
        d = density(level, 32)
        center = ((k + 0.5) / 256 / d, (3 * k + 0.5) / 256 / d)
        space = PlaneWaves()
        render_view(space, center, level, (300, 300), tile_px=30)
        assert len(space.phases) == 1
        window = window_around(center, level, (300, 300), 32)
        origins = [window.crop(x, 0, 30, 30, 32).origin_xy[0] for x in range(0, 300, 30)]
        torn += len({Lattice.at(x, d).phase for x in origins}) > 1
    assert torn > 0, "the places are chosen so that tiles would round apart without care"


def test_progress_rises_to_one_and_can_cancel() -> None:
    fractions: list[float] = []
    render_view(PlaneWaves(), (0, 0), 1.0, (900, 900), tile_px=100, progress=fractions.append)
    assert fractions == sorted(fractions)
    assert len(fractions) > 1
    assert fractions[-1] == 1.0

    class Cancelled(Exception):
        pass

    def cancel(fraction: float) -> None:
        raise Cancelled

    space = PlaneWaves()
    with pytest.raises(Cancelled):
        render_view(space, (0, 0), 1.0, (900, 900), tile_px=100, progress=cancel)
    assert len(space.shapes) == 1


def test_the_number_of_threads_is_put_back() -> None:
    before = torch.get_num_threads()
    seen: list[int] = []
    render_view(
        PlaneWaves(),
        (0, 0),
        1.0,
        (8, 8),
        threads=before + 1,
        progress=lambda _: seen.append(torch.get_num_threads()),
    )
    assert seen == [before + 1]
    assert torch.get_num_threads() == before


def test_what_cannot_be_rendered_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 x 1"):
        render_view(PlaneWaves(), (0, 0), 1.0, (0, 5))
    for center, level in (((math.nan, 0.0), 1.0), ((0.0, 0.0), math.inf)):
        with pytest.raises(ValueError, match="finite"):
            render_view(PlaneWaves(), center, level, (5, 5))


def test_display_bytes_with_and_without_opacity_are_the_same_colours() -> None:
    img = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0)) * 2.4 - 1.2
    rgba = to_rgba8(img)
    assert torch.equal(rgba[..., :3], to_uint8(img)) and bool((rgba[..., 3] == 255).all())
