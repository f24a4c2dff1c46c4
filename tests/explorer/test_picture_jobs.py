"""Small pictures for panels: right pixels, newest request of each owner, after everything else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from explorer.config import StreamingConfig
from explorer.inference_thread import InferenceThread
from explorer.messages import (
    MAX_PICTURE_PX,
    ExactFrame,
    ExactView,
    Failure,
    Opened,
    OpenRequest,
    Picture,
    PictureRequest,
    PicturesReady,
    RenderRequest,
    Result,
    TileBatch,
)
from explorer.tile_grid import TileGrid, TileKey
from model.space import Window, to_uint8
from tests.explorer.fakes import FakeSpace

GRID = TileGrid(64, (1.25, 1.0), (0.0, 8.0), 64, 2)


def pictures(count: int, side: int = 32, seed: int = 0) -> tuple[Picture, ...]:
    return tuple(
        Picture(ExactView((0.1 * i - 0.3, 0.05), 3.0, (side, side)), seed) for i in range(count)
    )


def shown(picture: Picture) -> np.ndarray:
    """What the fake has at the place of `picture`."""
    (width, height), view = picture.view.size, picture.view
    window = Window(view.origin_xy, view.level, height, width, picture.seed)
    return np.asarray(to_uint8(FakeSpace().render([window]))[0])


class Bench:
    def __init__(self, space: FakeSpace) -> None:
        self.bell = threading.Event()
        self.results: list[Result] = []
        config = StreamingConfig(worker_niceness=0)
        self.thread = InferenceThread(self.bell.set, config, lambda *_: space)  # type: ignore[arg-type,return-value]
        self.thread.start()
        self.thread.open(OpenRequest("night.safetensors"))
        self.until(lambda: any(isinstance(r, Opened) for r in self.results))

    def until(self, done: Callable[[], bool], timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < deadline, f"nothing more came after {self.results}"
            self.bell.wait(0.2)
            self.bell.clear()
            self.results += self.thread.take_results()

    def ready(self, request: PictureRequest) -> dict[int, np.ndarray]:
        return {
            r.first + i: p
            for r in self.results
            if isinstance(r, PicturesReady) and r.request is request
            for i, p in enumerate(r.pixels)
        }


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(space: FakeSpace | None = None) -> Bench:
        made.append(Bench(space or FakeSpace()))
        return made[-1]

    yield make
    for it in made:
        assert it.thread.stop(10.0)


def test_each_picture_has_its_own_place_and_seed(bench: Callable[..., Bench]) -> None:
    space = FakeSpace()
    it = bench(space)
    wanted = (*pictures(3), *pictures(2, 48, seed=7))
    request = PictureRequest("panel", "fake", wanted)
    it.thread.ask_pictures(request)
    it.until(lambda: len(it.ready(request)) == 5)
    for index, pixels in it.ready(request).items():
        assert np.array_equal(pixels[..., :3], shown(wanted[index]))
        assert (pixels[..., 3] == 255).all() and not pixels.flags.writeable
    assert [w.seed for w in space.rendered[1:]] == [0, 0, 0, 7, 7]


def test_tiles_and_the_exact_frame_come_first(bench: Callable[..., Bench]) -> None:
    it = bench(FakeSpace(pixels_per_s=4e5))
    request = PictureRequest("panel", "fake", pictures(6, 64))
    it.thread.ask_pictures(request)
    keys = tuple(TileKey(6, x, 0) for x in range(-2, 2))
    exact = ExactView((0.0, 0.0), 3.0, (64, 64))
    it.thread.request(RenderRequest("fake", GRID, tiles=keys, exact=exact))
    it.until(lambda: len(it.ready(request)) == 6)
    kinds = [type(r) for r in it.results]
    last_of_others = max(i for i, k in enumerate(kinds) if k in (TileBatch, ExactFrame))
    assert kinds[last_of_others:].count(PicturesReady) >= 5


def test_nothing_is_drawn_while_the_view_moves(bench: Callable[..., Bench]) -> None:
    it = bench()
    keys = (TileKey(6, 0, 0),)
    it.thread.request(RenderRequest("fake", GRID, tiles=keys, moving=True))
    it.until(lambda: any(isinstance(r, TileBatch) for r in it.results))
    request = PictureRequest("panel", "fake", pictures(1))
    it.thread.ask_pictures(request)
    time.sleep(0.05)
    it.results += it.thread.take_results()
    assert not it.ready(request)
    it.thread.request(RenderRequest("fake", GRID, moving=False))
    it.until(lambda: len(it.ready(request)) == 1)


def test_the_newest_request_of_an_owner_replaces_the_one_before(
    bench: Callable[..., Bench],
) -> None:
    it = bench(FakeSpace(pixels_per_s=1e5))
    old, other, new = (
        PictureRequest(owner, "fake", pictures(8, 32, seed))
        for owner, seed in (("a", 1), ("b", 2), ("a", 3))
    )
    for request in (old, other, new):
        it.thread.ask_pictures(request)
    it.until(lambda: len(it.ready(new)) == 8 and len(it.ready(other)) == 8)
    assert len(it.ready(old)) <= 1
    it.thread.ask_pictures(PictureRequest("c", "fake", pictures(40)))
    it.thread.ask_pictures(PictureRequest("c", "fake"))
    after = PictureRequest("d", "fake", pictures(1))
    it.thread.ask_pictures(after)
    it.until(lambda: len(it.ready(after)) == 1)
    assert sum(isinstance(r, PicturesReady) and r.request.owner == "c" for r in it.results) <= 1


def test_what_fails_is_told_once_and_not_tried_again(bench: Callable[..., Bench]) -> None:
    space = FakeSpace(fail_after=3)
    it = bench(space)
    bad = PictureRequest("panel", "fake", pictures(6))
    it.thread.ask_pictures(bad)
    it.until(lambda: any(isinstance(r, Failure) for r in it.results))
    space.fail_after = None
    good = PictureRequest("panel", "fake", pictures(2))
    it.thread.ask_pictures(good)
    it.until(lambda: len(it.ready(good)) == 2)
    failures = [r for r in it.results if isinstance(r, Failure)]
    assert len(failures) == 1 and not failures[0].fatal_to_scene
    assert "out of paint" in failures[0].text


def test_pictures_of_another_scene_wait(bench: Callable[..., Bench]) -> None:
    it = bench()
    stale, mine = (PictureRequest(s, s, pictures(1)) for s in ("gone", "fake"))
    it.thread.ask_pictures(stale)
    it.thread.ask_pictures(mine)
    it.until(lambda: len(it.ready(mine)) == 1)
    assert not it.ready(stale)


@pytest.mark.parametrize("size", [(0, 10), (10, MAX_PICTURE_PX + 1)])
def test_a_picture_of_no_size_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="1 to"):
        Picture(ExactView((0.0, 0.0), 1.0, size))
