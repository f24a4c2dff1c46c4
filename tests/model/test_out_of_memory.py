"""A batch that does not fit is rendered in halves, and comes out the same."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest
import torch

from model.out_of_memory import render_in_halves
from model.space import Window


class SmallMemory:
    """Renders the x of each window; at most `room` of them at once."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.batches: list[int] = []

    def __call__(self, windows: Sequence[Window]) -> torch.Tensor:
        if len(windows) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.batches.append(len(windows))
        return torch.tensor([[w.origin_xy[0]] for w in windows])


def windows(count: int) -> list[Window]:
    return [Window((float(i), 0.0), 1.0, 4, 6) for i in range(count)]


@pytest.mark.parametrize(
    ("room", "batches"), [(7, [7]), (4, [4, 3]), (2, [2, 2, 2, 1]), (1, [1] * 7)]
)
def test_halves_until_it_fits_and_keeps_the_order(
    room: int, batches: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    render = SmallMemory(room)
    with caplog.at_level(logging.WARNING):
        out = render_in_halves(render, windows(7))
    assert torch.equal(out[:, 0], torch.arange(7.0))
    assert render.batches == batches
    assert bool(caplog.records) == (room < 7)


def test_one_window_too_many_says_what_to_do() -> None:
    with pytest.raises(torch.OutOfMemoryError, match=r"6 x 4 pixels does not fit.*--device cpu"):
        render_in_halves(SmallMemory(0), windows(2))


def test_other_errors_are_not_its_business() -> None:
    def broken(_: Sequence[Window]) -> torch.Tensor:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        render_in_halves(broken, windows(4))
