"""The memory of places: gradients that add in place, interpolation, the warm start."""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F

from model.config import MemoryConfig
from model.memory import PAD, PlaceMemory
from model.optim import TouchedRMSprop
from model.space import Window
from model.warm_start import remember
from tests.model.small import small_generator


def small_memory() -> PlaceMemory:
    memory = PlaceMemory(MemoryConfig(resolutions=(8.0,), features=3), (1.5, 1.0))
    with torch.no_grad():
        memory.grids[0].normal_(generator=torch.Generator().manual_seed(0))
    return memory


def test_reads_as_linear_interpolation_with_replicated_edges() -> None:
    memory = small_memory()
    xs = torch.linspace(-1.2, 1.1, 40, dtype=torch.float64)[None]
    ys = torch.linspace(-0.9, 0.8, 30, dtype=torch.float64)[None]
    grid = memory.grids[0].permute(2, 0, 1)[None].double()
    rows, columns = grid.shape[2:]
    at_x = ((xs[0] + 0.75) * 8 - 0.5 + PAD).expand(30, 40)
    at_y = ((ys[0] + 0.5) * 8 - 0.5 + PAD)[:, None].expand(30, 40)
    normalised = torch.stack([(at_x + 0.5) * 2 / columns - 1, (at_y + 0.5) * 2 / rows - 1], 2)
    expected = F.grid_sample(grid, normalised[None], padding_mode="border", align_corners=False)
    out = memory.read(0, xs, ys)[0].permute(2, 0, 1).double()
    torch.testing.assert_close(out, expected[0], atol=1e-5, rtol=0)


def test_gradients_add_up_like_autograds_own() -> None:
    """Inside, over the edge, and twice the same place."""
    memory = small_memory()
    xs = torch.tensor([[-0.2, 0.0, 0.3], [-0.9, -0.8, -0.7]], dtype=torch.float64)
    ys = torch.tensor([[-0.1, 0.1], [0.4, 0.9]], dtype=torch.float64)
    cotangent = torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(1))

    def plain(grid: torch.Tensor) -> torch.Tensor:
        at_x, at_y = (xs + 0.75) * 8 - 0.5 + PAD, (ys + 0.5) * 8 - 0.5 + PAD
        out = torch.zeros(2, 2, 3, 3)
        for dy in (0, 1):
            for dx in (0, 1):
                wy = 1 - (at_y - at_y.floor() - dy).abs()
                wx = 1 - (at_x - at_x.floor() - dx).abs()
                iy = (at_y.floor().long() + dy).clamp(0, grid.shape[0] - 1)
                ix = (at_x.floor().long() + dx).clamp(0, grid.shape[1] - 1)
                weight = (wy[:, :, None] * wx[:, None, :]).float()[..., None]
                out = out + weight * grid[iy[:, :, None], ix[:, None, :]]
        return out

    leaf = memory.grids[0].detach().clone().requires_grad_()
    (expected,) = torch.autograd.grad((plain(leaf) * cotangent).sum(), leaf)
    for _ in range(2):
        (memory.read(0, xs, ys) * cotangent).sum().backward()
    assert memory.grids[0].grad is not None
    torch.testing.assert_close(memory.grids[0].grad, 2 * expected, atol=1e-5, rtol=1e-4)


def test_the_optimiser_moves_touched_rows_only_and_by_its_rate_at_first() -> None:
    table = torch.nn.Parameter(torch.zeros(4, 5, 2))
    optimiser = TouchedRMSprop([table], lr=0.1)
    table.grad = torch.zeros_like(table)
    table.grad[1, 2] = torch.tensor([3.0, -0.01])
    for _ in range(300):  # as many steps elsewhere must not dilute the average
        other = table.grad.clone()
        other[1, 2] = 0
        table.grad, kept = other, table.grad
        optimiser.step()
        table.grad = kept
    optimiser.step()
    moved = table.detach().abs().sum(2).nonzero().tolist()
    assert moved == [[1, 2]]
    torch.testing.assert_close(table[1, 2].detach(), torch.tensor([-0.1, 0.1]))
    assert not table.grad.any()


def test_the_optimiser_finds_what_it_is_told_was_touched() -> None:
    """Inside, over an edge, far outside, and twice the same place: as by searching for it."""
    memory = PlaceMemory(MemoryConfig(resolutions=(8.0, 16.0), features=3), (1.5, 1.0))
    with torch.no_grad():
        for grid in memory.grids:
            grid.normal_(generator=torch.Generator().manual_seed(0))
    searching = copy.deepcopy(memory)
    notes = memory.watch()
    optimisers = (
        TouchedRMSprop(memory.parameters(), 0.1, touched=notes),
        TouchedRMSprop(searching.parameters(), 0.1),
    )
    rng = torch.Generator().manual_seed(1)
    for step in range(4):
        xs = torch.tensor([[-0.2, 0.0, 0.3], [-0.9, -0.8, -0.7], [5.0, 5.1, 5.2]]).double()
        ys = torch.tensor([[-0.1, 0.1], [0.4, 0.9], [-3.0, -2.9]]).double() + 0.05 * step
        cotangent = torch.randn(3, 2, 3, 3, generator=rng)
        for one, optimiser in zip((memory, searching), optimisers, strict=True):
            for _ in range(2):
                (one.read(step % 2, xs, ys) * cotangent).sum().backward()
            if one is memory:
                assert len(notes[step % 2].rectangles) == 6 and notes[step % 2].is_complete
            optimiser.step()
        assert not any(note.rectangles for note in notes)
    for told, found in zip(memory.grids, searching.grids, strict=True):
        torch.testing.assert_close(told, found, atol=0, rtol=0)
        assert told.grad is not None and not told.grad.any()


class Waves:
    """A smooth picture that the grids can hold."""

    identity, patch_size, field_size, level_range = "waves", 32, (1.3, 1.0), (0.0, 5.0)

    def render(self, windows: list[Window]) -> torch.Tensor:
        (window,) = windows
        d = 32 * 2.0**window.level
        x = window.origin_xy[0] + (torch.arange(window.width) + 0.5) / d
        y = window.origin_xy[1] + (torch.arange(window.height) + 0.5) / d
        wave = torch.sin(9 * x)[None, :] * torch.cos(7 * y)[:, None]
        return (wave[None] * torch.tensor([0.8, 0.3, -0.5])[:, None, None])[None]


def test_the_warm_start_shows_the_image_at_once() -> None:
    generator = small_generator()
    for stage in generator.stages:
        torch.nn.init.zeros_(stage.to_rgb.weight)
    remember(generator, Waves())
    window = Window((-0.5, -0.4), 2.0, 100, 120)
    with torch.no_grad():
        error = generator([window]) - Waves().render([window])
    assert error.abs().max() < 0.06  # of 0.8: grids are linear, upsampling has four taps


def test_the_warm_start_is_exact_at_every_node_of_every_grid() -> None:
    """A grid and all coarser ones, read at its own nodes, beyond the field too: the truth."""
    generator = small_generator()
    remember(generator, Waves())
    memory = generator.memory
    assert memory is not None
    for g, cells in enumerate(memory.config.resolutions):
        rows, columns, _ = memory.grids[g].shape
        left, top = (-side / 2 - PAD / cells for side in memory.field_size)
        level = math.log2(cells / 32)
        truth = Waves().render([Window((left, top), level, rows, columns)])[0]
        xs, ys = (
            first + (torch.arange(count, dtype=torch.float64)[None] + 0.5) / cells
            for first, count in ((left, columns), (top, rows))
        )
        with torch.no_grad():
            shown = sum(memory.read(coarse, xs, ys)[0, ..., :3] for coarse in range(g + 1))
        torch.testing.assert_close(shown.permute(2, 0, 1), truth, atol=1e-5, rtol=0)


def test_the_warm_start_in_two_parts_is_the_same_as_in_one() -> None:
    whole, parts = small_generator(), small_generator()
    remember(whole, Waves())
    assert whole.memory is not None and parts.memory is not None
    middle = whole.memory.config.resolutions[2]
    before = [grid.detach().clone() for grid in parts.memory.grids]
    remember(parts, Waves(), up_to=middle)
    left = [torch.equal(grid, old) for grid, old in zip(parts.memory.grids, before, strict=True)]
    assert left == [g > 2 for g in range(len(left))] and left[-1]
    remember(parts, Waves(), finer_than=middle)
    for one, other in zip(whole.memory.grids, parts.memory.grids, strict=True):
        assert torch.equal(one, other)
