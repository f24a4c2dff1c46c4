"""Work that is recorded and replayed: the same numbers, and of the caller's own."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any
from weakref import finalize

import pytest
import torch

from benchmarks.kernel_training import Noise
from kernels import unavailable_reason
from model import graphs as recordings
from model.checkpoints import header_of
from model.config import BaseConfig, DiscriminatorConfig, LossConfig, TrainConfig
from model.generator import Generator
from model.generator_space import GeneratorSpace
from model.graphs import CudaRecorder, Graphs, plainly
from model.out_of_memory import free_cached
from model.scale import Lattice, density
from model.space import Window
from model.synthesis_graphs import SynthesisGraphs, widened
from model.trainer import Trainer
from tests.model.small import CONFIG, small_generator


class Again:
    """Records nothing: replaying does the work again, into the same memory."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def apart(self) -> Again:
        return self

    def __call__(self, run: Callable[[], Any]) -> tuple[Any, Any]:
        self.recorded += 1
        recorder, results = self, run()

        class Recording:
            def replay(self) -> None:
                recorder.replayed += 1
                for own, new in zip(results, run(), strict=True):
                    own.copy_(new)

        return Recording(), results


def work(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return a + b, a * b


def test_work_that_comes_again_is_replayed_on_new_inputs() -> None:
    recorder = Again()
    graphs = Graphs(recorder)
    results = []
    for i in range(6):
        a, b = torch.full((3,), float(i)), torch.arange(3.0)
        results.append((graphs.run("sum", work, [a, b]), work(a, b)))
    # The first two times plainly; and no result is overwritten by a later replay.
    assert (recorder.recorded, recorder.replayed) == (1, 4)
    assert all(torch.equal(x, y) for actual, wanted in results for x, y in zip(actual, wanted))


def test_another_key_or_shape_is_other_work() -> None:
    recorder = Again()
    graphs = Graphs(recorder)
    for size in (3, 4, 5):
        for key in ("one", "other"):
            graphs.run(key, work, [torch.ones(size), torch.ones(size)])
    assert recorder.recorded == 0
    for _ in range(2):
        graphs.run("one", work, [torch.ones(3), torch.ones(3)])
    assert recorder.recorded == 1
    assert plainly("any", work, [torch.ones(2), torch.ones(2)])[0].tolist() == [2.0, 2.0]


def test_only_so_many_are_kept() -> None:
    recorder = Again()
    graphs = Graphs(recorder)
    for size in range(1, 31):
        for _ in range(3):
            graphs.run("sum", work, [torch.ones(size), torch.ones(size)])
    assert recorder.recorded == 30
    assert len(graphs._kept) == 24
    graphs.run("sum", work, [torch.ones(30), torch.ones(30)])
    assert recorder.recorded == 30


def test_only_so_many_bytes_are_kept_and_always_the_newest() -> None:
    """Two inputs and two results of float32 each."""
    graphs = Graphs(Again(), most_bytes=16 * 10)
    left = []
    for size in (3, 4, 3, 5, 2, 20, 1):
        for _ in range(3):
            graphs.run("sum", work, [torch.ones(size), torch.ones(size)])
        left.append([len(kept.inputs[0]) for kept in graphs._kept.values()])
    assert left == [[3], [3, 4], [4, 3], [3, 5], [3, 5, 2], [20], [1]]


def test_what_gradients_take_is_counted_too() -> None:
    graphs = Graphs(Again(), most_bytes=0)
    a, weight = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    for _ in range(3):
        graphs.differentiable("product", lambda t: t * weight, [a], [weight])
    (kept,) = graphs._kept.values()
    assert kept.held_bytes == 5 * 3 * 4  # input, result, and the gradients of all three


def test_a_refusal_is_told_once_and_all_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    class Refusing(Again):
        def __call__(self, run: Callable[[], Any]) -> tuple[Any, Any]:
            raise RuntimeError("operation not permitted\nwhen stream is capturing")

    graphs = Graphs(Refusing())
    with caplog.at_level(logging.WARNING):
        for key in "abcdefgh" * 4:
            assert graphs.run(key, work, [torch.ones(2), torch.ones(2)])[0].tolist() == [2.0, 2.0]
    assert [r.message for r in caplog.records] == [
        "CUDA graphs are off: operation not permitted. Frames and steps take longer."
    ]


def test_where_memory_is_full_the_work_is_done_plainly() -> None:
    class Full(Again):
        def __call__(self, run: Callable[[], Any]) -> tuple[Any, Any]:
            raise torch.OutOfMemoryError("full")

    graphs = Graphs(Full())
    for _ in range(5):
        assert graphs.run("sum", work, [torch.ones(2), torch.ones(2)])[0].tolist() == [2.0, 2.0]


DEFAULT = 0
"""Priority of most streams; lower numbers go first."""


@dataclass(frozen=True)
class PretendedStream:
    """Of a priority, one of the 32 that torch hands out in turn; number -1 is the default one."""

    device: torch.device
    priority: int
    number: int

    def wait_stream(self, other: PretendedStream) -> None:
        pass


class PretendedGpu:
    """As much of `torch.cuda` as the recorder uses; notes where and into which pool it records."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.device = torch.device("cuda", 0)
        self.default = PretendedStream(self.device, DEFAULT, -1)
        self.taken: list[PretendedStream] = []
        self.recorded_on: list[PretendedStream] = []
        self.pools: list[int] = []
        """Of every recording."""
        self.users: Counter[int] = Counter()
        """Recordings that are left of each."""
        self.is_capturing = False
        self._here = threading.local()
        gpu = self

        class Graph:
            def capture_begin(self, pool: int, capture_error_mode: str) -> None:
                assert not gpu.is_capturing and capture_error_mode == "thread_local"
                if pool in gpu.pools and not gpu.users[pool]:
                    raise RuntimeError("it->second->use_count > 0 INTERNAL ASSERT FAILED")
                gpu.is_capturing = True
                gpu.recorded_on.append(gpu.current())
                gpu.pools.append(pool)
                gpu.users[pool] += 1
                finalize(self, gpu.users.subtract, [pool])

            def capture_end(self) -> None:
                gpu.is_capturing = False

            def replay(self) -> None:
                pass

        def empty_cache() -> None:
            assert not gpu.is_capturing, "torch refuses it"

        recordings._side_stream.cache_clear()
        monkeypatch.setattr(torch.cuda, "Stream", self.take)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: self.current())
        monkeypatch.setattr(torch.cuda, "default_stream", lambda device=None: self.default)
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", count(1).__next__)
        monkeypatch.setattr(torch.cuda, "stream", self.on)
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.cuda, "empty_cache", empty_cache)

    def take(self, device: torch.device, priority: int = DEFAULT) -> PretendedStream:
        before = sum(stream.priority == priority for stream in self.taken)
        self.taken.append(PretendedStream(device, priority, before % 32))
        return self.taken[-1]

    def current(self) -> PretendedStream:
        return getattr(self._here, "stream", self.default)

    @contextmanager
    def on(self, stream: PretendedStream) -> Iterator[None]:
        before, self._here.stream = self.current(), stream
        yield
        self._here.stream = before


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendedGpu]:
    yield PretendedGpu(monkeypatch)
    recordings._side_stream.cache_clear()


def record(graphs: Graphs, key: str = "sum") -> None:
    for _ in range(3):
        graphs.run(key, work, [torch.ones(2), torch.ones(2)])
    assert graphs._kept and not graphs._refused


def test_no_viewer_records_on_the_stream_that_training_works_on(pretended: PretendedGpu) -> None:
    trains_on = torch.cuda.Stream(pretended.device)
    for _ in range(40):  # sets of weights that a run publishes
        record(Graphs())
    (side,) = pretended.taken[1:]
    assert side.priority != trains_on.priority
    assert set(pretended.recorded_on) == {side}
    with torch.cuda.stream(trains_on):
        record(Graphs())
    assert pretended.recorded_on[-1] is trains_on


def test_one_thread_records_at_a_time_and_none_gives_memory_back_meanwhile(
    pretended: PretendedGpu,
) -> None:
    others = [
        threading.Thread(target=lambda: CudaRecorder()(lambda: None)),
        threading.Thread(target=free_cached),
    ]

    def run() -> None:
        for thread in others:
            thread.start()
            thread.join(0.1)
            assert thread.is_alive(), "it waits"

    CudaRecorder()(run)
    for thread in others:
        thread.join(10)
        assert not thread.is_alive()
    assert len(pretended.recorded_on) == 2


def test_recordings_share_a_pool_until_the_last_is_gone(pretended: PretendedGpu) -> None:
    graphs = Graphs()
    for key in ("one", "other"):
        record(graphs, key)
    graphs.forget()
    record(graphs)
    graphs._kept.clear()  # as recordings with gradients, in pools of their own, push others out
    record(graphs)
    assert pretended.pools == [1, 1, 2, 3]


@pytest.mark.parametrize("others", [False, True])
def test_recordings_go_on_once_memory_was_full(pretended: PretendedGpu, others: bool) -> None:
    graphs = Graphs()
    if others:
        record(graphs, "other")
    asked = count()

    def once_too_much(a: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if next(asked) == 2:
            raise torch.OutOfMemoryError("full")
        return (a + 1,)

    for _ in range(6):
        (out,) = graphs.run("sum", once_too_much, [torch.ones(2)])
        assert out.tolist() == [2.0, 2.0]
    assert not graphs._refused and len(graphs._kept) == 1 + others
    failed, good = pretended.pools[-2:]
    assert good != failed


def places_and_levels() -> Iterator[tuple[float, float, float]]:
    for i in range(12):
        yield 0.013 * i - 0.1, 0.2 - 0.017 * i, 1.9 + 0.02 * i


def window_at(generator: Generator, x: float, y: float, level: float) -> list[Window]:
    window = Window((x, y), level, 24, 30)
    return widened([window], generator.config.patch_size, generator.alignment)[0]


def test_layers_are_recorded_once_for_all_places_and_levels() -> None:
    generator = small_generator().eval()
    recorder = Again()
    synthesize = SynthesisGraphs(generator, Graphs(recorder))
    with torch.inference_mode():
        for x, y, level in places_and_levels():
            windows = window_at(generator, x, y, level)
            replayed = generator(windows, synthesize=synthesize)
            # What is copied into the recording lies in memory otherwise: sums may be rounded so.
            torch.testing.assert_close(replayed, generator(windows), rtol=0, atol=1e-6)
    assert recorder.replayed == 10
    assert recorder.recorded == 1


@pytest.mark.parametrize("base", [CONFIG.base, None])
def test_what_is_heard_can_be_summed_up_first(base: BaseConfig | None) -> None:
    """The same picture and the same gradients, from inputs whose shapes no level changes."""
    generator = small_generator(base=base)
    shapes = set()

    def summed(places: Any, heard: Any, w: torch.Tensor) -> torch.Tensor:
        totals = [part.totalled(stage.width) for part, stage in zip(heard, generator.stages)]
        shapes.add(tuple(None if p.total is None else tuple(p.total.shape) for p in totals))
        return generator.synthesize(places, totals, w)

    for x, y, level in places_and_levels():
        windows = window_at(generator, x, y, level)
        pictures, gradients = [], []
        for synthesize in (None, summed):
            generator.zero_grad(set_to_none=True)
            picture = generator(windows, synthesize=synthesize)
            picture.square().mean().backward()
            pictures.append(picture.detach())
            gradients.append([p.grad for p in generator.parameters() if p.grad is not None])
        torch.testing.assert_close(*pictures, rtol=0, atol=1e-5)
        for plain, total in zip(*gradients, strict=True):
            torch.testing.assert_close(total, plain, rtol=1e-3, atol=1e-6)
    assert len(shapes) == 1 and None not in next(iter(shapes))


def test_where_memory_is_full_recordings_go_before_a_batch_is_halved(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    generator = small_generator()
    space = GeneratorSpace(generator, header_of(generator.config, {}, ""), "x", torch.float32)
    graphs, layers = Graphs(Again()), generator.synthesize
    space._graphs = SynthesisGraphs(generator, graphs)
    windows = [Window((0.0, y), 1.0, 32, 32) for y in (0.0, 0.25)]
    freed: list[int] = []

    def synthesize(*inputs: Any) -> torch.Tensor:
        if graphs._kept:
            raise torch.OutOfMemoryError("full")
        return layers(*inputs)

    monkeypatch.setattr("model.generator_space.free_cached", lambda: freed.append(1))
    for _ in range(3):
        before = space.render(windows)
    assert graphs._kept
    monkeypatch.setattr(generator, "synthesize", synthesize)
    torch.testing.assert_close(space.render(windows), before, rtol=0, atol=1e-6)
    assert not graphs._kept and freed == [1] and not caplog.records


@pytest.mark.parametrize("size", [(24, 30), (8, 8), (1, 5), (33, 64)])
def test_grown_windows_hold_what_was_asked_for(size: tuple[int, int]) -> None:
    generator = small_generator().eval()
    patch, a = generator.config.patch_size, generator.alignment
    shapes = set()
    with torch.inference_mode():
        for x, y, level in places_and_levels():
            window = Window((x, y), level, *size)
            (grown,), (left, top) = widened([window], patch, a)
            d = density(level, patch)
            assert all(Lattice.at(v, d).first % a == 0 for v in grown.origin_xy)
            shapes.add((grown.width % a, grown.height % a))
            part = generator([grown])[:, :, top : top + size[0], left : left + size[1]]
            torch.testing.assert_close(part, generator([window]), rtol=0, atol=2e-5)
    assert shapes == {(0, 0)}


def test_what_lies_right_already_is_not_grown() -> None:
    d = density(1.5, 32)
    window = Window((-16 / d, 8 / d), 1.5, 64, 32)
    assert widened([window], 32, 8) == ([window], (0, 0))
    moved = replace(window, origin_xy=(-15 / d, 8 / d))
    ((grown,), before) = widened([moved], 32, 8)
    assert before == (1, 0) and (grown.width, grown.height) == (40, 72)


@pytest.fixture
def gpu() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    reason = unavailable_reason("cuda")
    if reason:
        pytest.skip(f"CUDA kernels are off: {reason}")
    return torch.device("cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("oversampling", [1, 2])
def test_a_gpu_replays_frames(gpu: torch.device, oversampling: int) -> None:
    generator = small_generator(nonlinearity_oversampling=oversampling).eval().to(gpu)
    graphs = Graphs()
    synthesize = SynthesisGraphs(generator, graphs)
    with torch.inference_mode():
        for x, y, level in places_and_levels():
            windows = window_at(generator, x, y, level)
            replayed = generator(windows, synthesize=synthesize)
            torch.testing.assert_close(replayed, generator(windows), rtol=0, atol=1e-5)
    assert graphs._kept and not graphs._refused


@pytest.mark.gpu
def test_a_gpu_replays_gradients(gpu: torch.device) -> None:
    """Two results at a time, one after the other; gradients of several groups add up."""
    generator = small_generator().to(gpu)
    graphs = Graphs()
    roles = [SynthesisGraphs(generator, graphs, role) for role in ("a", "b")]

    def gradients(x: float, y: float, level: float, replayed: bool) -> list[torch.Tensor]:
        generator.zero_grad(set_to_none=True)
        for shift in (0.0, 0.02):
            outs = [
                generator(window_at(generator, x + shift, y, level), synthesize=role)
                for role in (roles if replayed else (None, None))
            ]
            for number, out in enumerate(outs):
                out.backward(torch.full_like(out, 0.1 + number))
        return [p.grad.clone() for p in generator.parameters() if p.grad is not None]

    stream = torch.cuda.Stream()  # as `CudaRecorder` wants it
    stream.wait_stream(torch.cuda.current_stream())
    for place in places_and_levels():
        with torch.cuda.stream(stream):
            actual, wanted = gradients(*place, True), gradients(*place, False)
        stream.synchronize()
        assert len(actual) == len(wanted)
        for mine, plain in zip(actual, wanted):
            scale = float(plain.abs().max()) + 1e-6
            torch.testing.assert_close(mine / scale, plain / scale, rtol=0, atol=1e-4)
    assert graphs._kept and not graphs._refused


@pytest.mark.gpu
def test_a_gpu_refuses_what_waits_for_it(gpu: torch.device) -> None:
    def waits(a: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (a * float(a.sum()),)

    graphs = Graphs(CudaRecorder())
    for _ in range(5):
        (out,) = graphs.run("waits", waits, [torch.ones(4, device=gpu)])
        assert out.tolist() == [4.0] * 4
    assert graphs._refused


@pytest.mark.gpu
def test_a_gpu_trains_alike_with_recordings_and_without(gpu: torch.device) -> None:
    def losses(recorded: bool) -> list[dict[str, float]]:
        torch.manual_seed(0)
        trainer = Trainer(
            replace(CONFIG, base=None),
            DiscriminatorConfig(widths=(16, 16)),
            LossConfig(adversarial_from=0.0, adversarial_full=1.0, consistency_start=0.0),
            TrainConfig(adversarial_start=0.0, group_size=4, groups=3, minutes=1e9, seed=3),
            Noise(gpu),
            gpu,
            dtype=torch.float32,
        )
        if not recorded:
            trainer._run, trainer._synthesize = plainly, {}
        return [trainer.step().losses for _ in range(12)]

    for step, (mine, plain) in enumerate(zip(losses(True), losses(False), strict=True)):
        assert mine.keys() == plain.keys()
        for name in mine:
            assert mine[name] == pytest.approx(plain[name], rel=0.02, abs=2e-3), (step, name)
