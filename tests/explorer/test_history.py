"""Undo and redo of views, as in a browser."""

from __future__ import annotations

from dataclasses import replace

import pytest

from explorer.camera import Camera
from explorer.history import ViewHistory, Visit
from model.latent import parse_seed

A, B, C = (Visit(Camera(*view)) for view in ((0, 0, 0), (0.2, 0.1, 3), (-0.3, 0, 5)))


def test_back_and_forward_return_the_same_views() -> None:
    history = ViewHistory()
    for view in (A, B, C):
        history.visit(view)
    assert [history.back(C), history.back(B), history.back(A)] == [B, A, None]
    assert [history.forward(A), history.forward(B), history.forward(C)] == [B, C, None]


def test_a_view_that_was_not_noted_is_kept_when_one_goes_back_from_it() -> None:
    history = ViewHistory()
    history.visit(A)
    assert history.back(B) == A
    assert history.forward(A) == B


def test_moving_after_going_back_forgets_what_was_undone() -> None:
    history = ViewHistory()
    for view in (A, B):
        history.visit(view)
    history.back(B)
    history.visit(C)
    assert not history.can_go_forward and history.back(C) == A


def test_the_same_place_with_another_latent_is_another_view() -> None:
    history, blend = ViewHistory(), parse_seed("3~9@0.5")
    for seed in (3, 9, blend):
        history.visit(replace(B, seed=seed))
    assert len(history) == 3
    assert history.back(replace(B, seed=blend)) == replace(B, seed=9)
    assert history.back(replace(B, seed=9)) == replace(B, seed=3)


def test_the_same_view_counts_once_and_the_oldest_go() -> None:
    history = ViewHistory(limit=5)
    for i in range(20):
        history.visit(Visit(Camera(i, 0, 1)))
        history.visit(Visit(Camera(i + 1e-4, 0, 1.01)))
    assert len(history) == 5
    seen = [Visit(Camera(19, 0, 1))]
    while (before := history.back(seen[-1])) is not None:
        seen.append(before)
    assert [view.camera.cx for view in seen] == [19, 18, 17, 16, 15]
    history.clear()
    assert len(history) == 0 and not history.can_go_back
    with pytest.raises(ValueError, match="2 or more"):
        ViewHistory(1)
