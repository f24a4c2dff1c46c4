"""The thread: newest request wins, nothing twice, errors are values, the exact frame is exact."""

from __future__ import annotations

import json
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from explorer.camera import Camera, View
from explorer.chunk_renderer import GivenUp
from explorer.config import StreamingConfig
from explorer.inference_thread import InferenceThread, Mailbox
from explorer.messages import (
    ExactFrame,
    Failure,
    Opened,
    OpenRequest,
    Picture,
    PictureRequest,
    PicturesReady,
    Progress,
    RenderRequest,
    Result,
    StillRequest,
    StillSaved,
    TileBatch,
)
from explorer.tile_grid import TileGrid, TileKey
from explorer.tile_stream import exact_view
from explorer.view_metadata import StillView, read_view
from model.checkpoints import header_of
from model.generator_space import GeneratorSpace
from model.header import CheckpointError
from model.scale import density
from model.space import ScaleSpace, Window, to_uint8
from tests.explorer.fakes import FakeSpace
from tests.model.small import small_generator

GRID = TileGrid(64, (1.25, 1.0), (0.0, 8.0), 64, 2)
KEYS = tuple(TileKey(6, x, y) for y in range(-2, 2) for x in range(-2, 2))


class Bench:
    """A thread with a fake space, and all that it has said so far."""

    def __init__(
        self, space: ScaleSpace | Exception, config: StreamingConfig | None = None
    ) -> None:
        self.space = space
        self.bell = threading.Event()
        self.opened_in: str | None = None
        self.results: list[Result] = []
        self.thread = InferenceThread(self.bell.set, config, self._open)

    def _open(self, path: str, device: str, precision: str) -> ScaleSpace:
        self.opened_in = threading.current_thread().name
        if isinstance(self.space, Exception):
            raise self.space
        return self.space

    def until(self, done: Callable[[], bool], timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < deadline, f"nothing more came after {self.results}"
            self.bell.wait(0.2)
            self.bell.clear()
            self.results += self.thread.take_results()

    def of(self, kind: type) -> list:  # type: ignore[type-arg]
        return [r for r in self.results if isinstance(r, kind)]

    def tiles(self) -> list[TileKey]:
        return [k for b in self.of(TileBatch) for k in b.keys]


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(space: ScaleSpace | Exception | None = None, **options: object) -> Bench:
        config = StreamingConfig(worker_niceness=0, **options)  # type: ignore[arg-type]
        it = Bench(space or FakeSpace(), config)
        made.append(it)
        it.thread.start()
        it.thread.open(OpenRequest("somewhere/night.safetensors"))
        it.until(lambda: bool(it.of(Opened) or it.of(Failure)))
        return it

    yield make
    for it in made:
        assert it.thread.stop(10.0)


def test_opening_happens_in_the_thread_and_says_what_was_opened(
    bench: Callable[..., Bench],
) -> None:
    it = bench()
    info = it.of(Opened)[0].info
    assert it.opened_in == "inference"
    assert (info.identity, info.name, info.patch_size) == ("fake", "night", 64)
    assert info.field_size == (1.25, 1.0) and info.level_range == (0.0, 8.0)
    root = it.of(Opened)[0].root
    assert root.shape[2] == 4 and 1 << 16 < root.shape[0] * root.shape[1] < 1 << 18


@pytest.mark.parametrize("field_size", [(1.25, 1.0), (1.0, 1.37), (1.0, 1.0)])
def test_the_small_picture_of_the_whole_field_ends_with_it(
    bench: Callable[..., Bench], field_size: tuple[float, float]
) -> None:
    """It is drawn as if it did: the sides of its window must not be elsewhere by half a pixel."""
    space = FakeSpace(field_size, level_range=(-3.0, -2.7))
    it = bench(space)
    window, d = space.rendered[0], density(-2.7, 64)
    assert window.level == -2.7
    assert it.of(Opened)[0].root.shape[:2] == (window.height, window.width)
    for origin, side, length in zip(
        window.origin_xy, (window.width, window.height), field_size, strict=True
    ):
        assert abs(origin + length / 2) * d <= 0.25 + 1e-9
        assert abs(origin + side / d - length / 2) * d <= 0.25 + 1e-9


@pytest.mark.usefixtures("no_collector")
def test_a_scene_that_is_left_goes_at_once_with_its_weights(bench: Callable[..., Bench]) -> None:
    def trained(name: str) -> GeneratorSpace:
        generator = small_generator()
        return GeneratorSpace(generator, header_of(generator.config, {}, ""), name, torch.float32)

    def look(name: str) -> None:
        it.thread.request(RenderRequest(name, GRID, tiles=KEYS[:2], exact=exact))
        it.until(lambda: {r.scene for r in it.of(ExactFrame)} >= {name})

    exact = exact_view(View(Camera(0.11, -0.07, 2.3), (120, 90)), GRID)
    it = bench(trained("first"))
    look("first")
    left = weakref.ref(it.space)
    it.space = trained("second")
    it.thread.open(OpenRequest("somewhere/second"))
    it.until(lambda: len(it.of(Opened)) == 2)
    look("second")
    assert left() is None


@pytest.mark.usefixtures("no_collector")
def test_what_a_scene_on_a_gpu_held_is_given_back(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it is gone: before, torch would find nothing to give back."""

    class OnGpu(FakeSpace):
        device = torch.device("cuda", 0)

    def follow(space: FakeSpace) -> None:
        nonlocal left
        left, it.space = weakref.ref(it.space), space
        it.results.clear()
        it.thread.open(OpenRequest("somewhere/else"))
        it.until(lambda: bool(it.of(Opened)))

    given_back: list[bool] = []
    monkeypatch.setattr("model.out_of_memory.free_cached", lambda: given_back.append(not left()))
    it = bench(OnGpu())
    left: Callable[[], object] = object
    follow(OnGpu())
    follow(FakeSpace())
    follow(FakeSpace())
    assert given_back == [True, True]


def test_every_wanted_tile_comes_once_with_the_right_pixels(bench: Callable[..., Bench]) -> None:
    it = bench()
    it.thread.request(RenderRequest("fake", GRID, tiles=KEYS, moving=True, issued_at=1.5))
    it.until(lambda: len(it.tiles()) >= len(KEYS))
    time.sleep(0.05)
    it.results += it.thread.take_results()
    assert it.tiles() == list(KEYS)
    numbers = [b.number for b in it.of(TileBatch)]
    assert numbers == list(range(1, len(numbers) + 1))
    for made in it.of(TileBatch):
        assert made.issued_at == 1.5
        assert made.pixels.shape == (len(made.keys), 66, 66, 4)
        assert not made.pixels.flags.writeable
        for key, pixels in zip(made.keys, made.pixels):
            window = Window(GRID.render_origin(key), GRID.level(key.step), 66, 66)
            expected = to_uint8(FakeSpace().render([window]))[0].numpy()
            assert np.array_equal(pixels[..., :3], expected)
            assert (pixels[..., 3] == 255).all()


def test_tiles_on_their_way_are_not_rendered_again_but_lost_ones_are(
    bench: Callable[..., Bench],
) -> None:
    it = bench()
    it.thread.request(RenderRequest("fake", GRID, tiles=KEYS[:2]))
    it.until(lambda: len(it.tiles()) == 2)
    it.thread.request(RenderRequest("fake", GRID, tiles=KEYS[:3], seen_batch=0))
    it.until(lambda: len(it.tiles()) == 3)
    assert it.tiles()[2] == KEYS[2]
    seen = it.of(TileBatch)[-1].number
    it.thread.request(RenderRequest("fake", GRID, tiles=KEYS[:1], seen_batch=seen))
    it.until(lambda: len(it.tiles()) == 4)
    assert it.tiles()[3] == KEYS[0]


def test_the_newest_request_wins(bench: Callable[..., Bench]) -> None:
    slow = FakeSpace(pixels_per_s=200_000)
    it = bench(slow, initial_pixels_per_s=200_000.0)
    far = tuple(TileKey(8, i, 0) for i in range(40))
    it.thread.request(RenderRequest("fake", GRID, tiles=far, moving=True))
    it.until(lambda: len(it.tiles()) >= 1)
    it.thread.request(RenderRequest("fake", GRID, tiles=KEYS[:1], moving=True))
    it.until(lambda: KEYS[0] in it.tiles())
    assert len(it.tiles()) < 20


def test_a_batch_is_of_one_level(bench: Callable[..., Bench]) -> None:
    it = bench()
    mixed = (TileKey(6, 0, 0), TileKey(5, 0, 0), TileKey(5, 1, 0), TileKey(6, 1, 0))
    it.thread.request(RenderRequest("fake", GRID, tiles=mixed * 1, moving=True))
    it.until(lambda: len(it.tiles()) == 4)
    assert it.tiles() == list(mixed)
    for made in it.of(TileBatch):
        assert len({k.step for k in made.keys}) == 1
        assert len(made.keys) <= 3


def test_batches_grow_on_a_fast_machine_and_stay_small_on_a_slow_one(
    bench: Callable[..., Bench],
) -> None:
    many = tuple(TileKey(12, x, y) for y in range(10) for x in range(12))
    fast = bench(FakeSpace(), batch_target_ms=1000.0)
    fast.thread.request(RenderRequest("fake", GRID, tiles=many, moving=True))
    fast.until(lambda: len(fast.tiles()) == len(many))
    sizes = [len(b.keys) for b in fast.of(TileBatch)]
    assert sizes[:4] == [2, 3, 4, 5] and max(sizes) <= 32
    slow = bench(FakeSpace(pixels_per_s=200_000), batch_target_ms=10.0)
    slow.thread.request(RenderRequest("fake", GRID, tiles=many[:12], moving=True))
    slow.until(lambda: len(slow.tiles()) == 12)
    assert {len(b.keys) for b in slow.of(TileBatch)} == {2}


def test_the_exact_frame_equals_the_window_in_one_go_and_comes_before_tiles(
    bench: Callable[..., Bench],
) -> None:
    it = bench()
    exact = exact_view(View(Camera(0.11, -0.07, 2.3), (700, 500)), GRID)
    assert exact is not None
    it.thread.request(RenderRequest("fake", GRID, tiles=KEYS, exact=exact))
    it.until(lambda: bool(it.of(ExactFrame)))
    frame = it.of(ExactFrame)[0]
    assert frame.number == 1
    window = Window(exact.origin_xy, exact.level, exact.size[1], exact.size[0])
    whole = to_uint8(FakeSpace().render([window]))[0].numpy()
    assert np.array_equal(frame.pixels[..., :3], whole)
    it.until(lambda: len(it.tiles()) == len(KEYS))
    assert len(it.of(ExactFrame)) == 1
    assert len({b.number for b in it.of(TileBatch)} | {frame.number}) == len(it.of(TileBatch)) + 1


def test_tiles_that_the_view_lacks_come_before_the_exact_frame(
    bench: Callable[..., Bench],
) -> None:
    it = bench()
    exact = exact_view(View(Camera(0.11, -0.07, 2.3), (700, 500)), GRID)
    it.thread.request(RenderRequest("fake", GRID, tiles=KEYS, exact=exact, before_exact=3))
    it.until(lambda: bool(it.of(ExactFrame)) and len(it.tiles()) == len(KEYS))
    number = it.of(ExactFrame)[0].number
    before = [key for b in it.of(TileBatch) if b.number < number for key in b.keys]
    assert tuple(before) == KEYS[:3]


def test_an_exact_frame_is_interrupted_by_a_new_view(bench: Callable[..., Bench]) -> None:
    it = bench(FakeSpace(pixels_per_s=500_000))
    first = exact_view(View(Camera(0.0, 0.0, 3.0), (1200, 900)), GRID)
    it.thread.request(RenderRequest("fake", GRID, exact=first))
    it.until(lambda: len(it.space.rendered) >= 2)  # type: ignore[union-attr]
    it.thread.request(RenderRequest("fake", GRID, tiles=KEYS[:1], moving=True))
    it.until(lambda: len(it.tiles()) == 1)
    assert not it.of(ExactFrame)


class LayeredSpace(FakeSpace):
    """Renders layer by layer; where it is endless, a large window until it is given up."""

    def __init__(self) -> None:
        super().__init__()
        self.endless, self.entered, self.given_up = False, threading.Event(), 0

    def breathe_with(self, breathe: Callable[[], object]) -> None:
        self.breathe = breathe

    def render(self, windows: Sequence[Window]) -> torch.Tensor:
        deadline = time.monotonic() + 30
        while self.endless and windows[0].width > 100 and time.monotonic() < deadline:
            self.entered.set()
            try:
                self.breathe()
            except GivenUp:
                self.given_up += 1
                raise
            time.sleep(0.001)
        self.breathe()
        return super().render(windows)


def test_a_chunk_is_given_up_between_two_layers_and_is_rendered_later(
    bench: Callable[..., Bench],
) -> None:
    space = LayeredSpace()
    it = bench(space)
    space.endless = True
    exact = exact_view(View(Camera(0.0, 0.0, 3.0), (500, 400)), GRID)
    it.thread.request(RenderRequest("fake", GRID, exact=exact))
    assert space.entered.wait(20)
    it.thread.request(RenderRequest("fake", GRID, tiles=KEYS[:1], moving=True))
    it.until(lambda: len(it.tiles()) == 1)
    assert space.given_up and not it.of(ExactFrame) and not it.of(Failure)
    space.endless = False
    it.thread.request(RenderRequest("fake", GRID, exact=exact))
    it.until(lambda: bool(it.of(ExactFrame)))
    assert exact is not None
    window = Window(exact.origin_xy, exact.level, exact.size[1], exact.size[0])
    whole = to_uint8(FakeSpace().render([window]))[0].numpy()
    assert np.array_equal(it.of(ExactFrame)[0].pixels[..., :3], whole)


@pytest.mark.parametrize(("cores", "side"), [(1, 528), (2, 528), (8, 272), (16, 208)])
def test_chunks_keep_every_core_at_work(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, cores: int, side: int
) -> None:
    it = bench(LayeredSpace())
    thread, chunks = it.thread, it.thread._chunks
    monkeypatch.setattr(chunks, "cores", cores)
    thread._pixels_per_s[False] = 1e6 * cores  # as fast as that on each
    exact = exact_view(View(Camera(0.0, 0.0, 3.0), (1024, 768)), GRID)
    assert exact is not None
    assert thread._chunk_side(exact) == side


def test_chunks_that_cannot_be_given_up_are_smaller(bench: Callable[..., Bench]) -> None:
    sides = []
    for space in (LayeredSpace(), FakeSpace()):  # the second has no layers, as a picture
        thread = bench(space).thread
        thread._pixels_per_s[False] = 1e6 * thread._chunks.cores
        exact = exact_view(View(Camera(0.0, 0.0, 3.0), (4096, 4096)), GRID)
        assert exact is not None
        sides.append(thread._chunk_side(exact))
    assert sides == [528, 272]


def test_a_small_picture_gives_way_and_is_rendered_later(bench: Callable[..., Bench]) -> None:
    space = LayeredSpace()
    it = bench(space)
    space.endless = True
    exact = exact_view(View(Camera(0.0, 0.0, 3.0), (200, 160)), GRID)
    assert exact is not None
    it.thread.ask_pictures(PictureRequest("owner", "fake", (Picture(exact),)))
    assert space.entered.wait(20)
    it.thread.request(RenderRequest("fake", GRID, tiles=KEYS[:1], moving=True))
    it.until(lambda: len(it.tiles()) == 1)
    assert space.given_up and not it.of(PicturesReady)
    space.endless = False
    it.thread.request(RenderRequest("fake", GRID))
    it.until(lambda: bool(it.of(PicturesReady)))
    (image,) = it.of(PicturesReady)[0].pixels
    assert (image[..., 3] == 255).all()


def test_a_failure_to_open_is_one_message_and_the_thread_goes_on(
    bench: Callable[..., Bench],
) -> None:
    it = bench(CheckpointError("x.safetensors is truncated: copy it again."))
    failure = it.of(Failure)[0]
    assert failure.text == "x.safetensors is truncated: copy it again."
    assert "night.safetensors" in failure.title and not failure.fatal_to_scene
    assert "CheckpointError" in failure.details
    it.space = FakeSpace()
    it.thread.open(OpenRequest("b.safetensors"))
    it.until(lambda: bool(it.of(Opened)))
    assert it.of(Progress)


def test_a_failure_to_render_is_one_message_not_a_flood(bench: Callable[..., Bench]) -> None:
    it = bench(FakeSpace(fail_after=1))
    it.thread.request(RenderRequest("fake", GRID, tiles=KEYS))
    it.until(lambda: bool(it.of(Failure)))
    time.sleep(0.1)
    it.results += it.thread.take_results()
    assert len(it.of(Failure)) == 1
    assert "ran out of paint" in it.of(Failure)[0].text
    assert it.of(Failure)[0].fatal_to_scene
    assert it.thread.is_alive


def test_requests_for_another_scene_are_not_rendered(bench: Callable[..., Bench]) -> None:
    it = bench()
    it.thread.request(RenderRequest("another", GRID, tiles=KEYS))
    time.sleep(0.1)
    assert len(it.space.rendered) == 1  # the root  # type: ignore[union-attr]


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_still_is_what_the_screen_shows(
    bench: Callable[..., Bench], tmp_path: Path, suffix: str
) -> None:
    it = bench()
    exact = exact_view(View(Camera(0.1, 0.1, 1.0), (300, 200)), GRID)
    assert exact is not None
    file = tmp_path / f"still.{suffix}"
    place = {"center": [0.1, 0.1], "level": 2.25, "size": [300, 200]}
    it.thread.save_still(StillRequest("fake", exact, str(file), view=place))
    it.until(lambda: bool(it.of(StillSaved) or it.of(Failure)))
    assert it.of(StillSaved) == [StillSaved(str(file))]
    with Image.open(file) as image:
        saved = np.asarray(image.convert("RGB")).astype(int)
        if suffix == "png":
            assert json.loads(image.info["scalespace"])["center"] == [0.1, 0.1]
    assert read_view(file) == StillView((0.1, 0.1), 2.25, (300, 200), 0, "night", "fake")
    window = Window(exact.origin_xy, exact.level, exact.size[1], exact.size[0])
    expected = to_uint8(FakeSpace().render([window]))[0].numpy().astype(int)
    assert np.abs(saved - expected).max() <= (0 if suffix == "png" else 12)
    assert [p.name for p in tmp_path.iterdir()] == [file.name]


def test_a_still_that_cannot_be_saved_is_a_message(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    it = bench()
    exact = exact_view(View(Camera(0.1, 0.1, 1.0), (300, 200)), GRID)
    assert exact is not None
    it.thread.save_still(StillRequest("fake", exact, str(tmp_path / "none" / "a.png")))
    it.until(lambda: bool(it.of(Failure)))
    assert not it.of(Failure)[0].fatal_to_scene
    assert list(tmp_path.iterdir()) == []


def test_the_mailbox_rings_once_however_much_comes() -> None:
    rings: list[int] = []
    box = Mailbox(lambda: rings.append(1))
    for i in range(50):
        box.put(Progress(str(i)))
    assert len(rings) == 1
    assert [p.text for p in box.take()] == [str(i) for i in range(50)]  # type: ignore[union-attr]
    assert box.take() == []
    box.put(Progress("again"))
    assert len(rings) == 2


def test_stop_before_start_and_twice_is_harmless() -> None:
    thread = InferenceThread(lambda: None)
    assert thread.stop(0.1)
    assert thread.stop(0.1)
