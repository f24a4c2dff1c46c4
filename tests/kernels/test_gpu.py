"""What only a GPU can show: streams, graphs, waiting, determinism and memory.

Parity is tested where each kernel is; there a GPU is one more device.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch

from kernels import (
    bias_lrelu,
    feature_grid,
    filtered_lrelu,
    fourier_features,
    resample,
    tile_to_rgba8,
    unavailable_reason,
    upfirdn2d,
)

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def gpu() -> Iterator[None]:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    reason = unavailable_reason("cuda")
    if reason:
        pytest.skip(f"CUDA kernels are off: {reason}")
    yield
    torch.cuda.synchronize()


def ops() -> dict[str, Callable[[], list[torch.Tensor]]]:
    """Every op forward and backward, on inputs made once."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(2, 32, 65, 66, generator=rng).cuda().half()
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    f = torch.hann_window(12).cuda() / 6
    bias = torch.randn(32, generator=rng).cuda().requires_grad_()
    xs, ys = (torch.rand(2, n, generator=rng, dtype=torch.float64).cuda() for n in (40, 30))
    freqs = torch.randn(24, 2, generator=rng, dtype=torch.float64).cuda() * 100
    phases = torch.rand(24, generator=rng, dtype=torch.float64).cuda()
    mix = torch.randn(48, 24, generator=rng).cuda().requires_grad_()
    table = torch.randn(64, 80, 4, generator=rng).cuda().requires_grad_()
    img = torch.randn(2, 3, 50, 60, generator=rng).cuda().requires_grad_()
    origin, step = torch.tensor([[0.5, 1.5], [-3.0, 2.0]]).double(), torch.tensor([1.3, 0.4])

    def with_grad(out: torch.Tensor, leaf: torch.Tensor) -> list[torch.Tensor]:
        # Without its graph: that would tie `leaf` to the stream of this run.
        return [out.detach(), *torch.autograd.grad(out, leaf, out.detach())]

    return {
        "filtered_lrelu": lambda: with_grad(
            filtered_lrelu(x, f, f, up=2, down=2, padding=9, impl="cuda"), x
        ),
        "bias_lrelu": lambda: with_grad(bias_lrelu(x, bias, impl="cuda"), x),
        "upfirdn2d": lambda: with_grad(upfirdn2d(x, f, up=2, padding=5, impl="cuda"), x),
        "fourier_features": lambda: with_grad(
            fourier_features(xs, ys, freqs, phases, mix, impl="cuda"), mix
        ),
        "feature_grid": lambda: with_grad(
            feature_grid(table, xs * 80, ys * 64, deterministic=True, impl="cuda"), table
        ),
        "resample": lambda: with_grad(resample(img, origin, step, (40, 41), impl="cuda"), img),
        "tile_to_rgba8": lambda: [tile_to_rgba8(img, impl="cuda")],
    }


NAMES = (
    "filtered_lrelu",
    "bias_lrelu",
    "upfirdn2d",
    "fourier_features",
    "feature_grid",
    "resample",
    "tile_to_rgba8",
)


@pytest.mark.parametrize("name", NAMES)
def test_repeated_runs_are_bit_equal(name: str) -> None:
    run = ops()[name]
    first = run()
    for _ in range(3):
        assert all(torch.equal(a, b) for a, b in zip(first, run()))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_waits_for_the_gpu(name: str) -> None:
    run = ops()[name]
    run()  # compiles
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that this mode is a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        run()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", NAMES)
def test_runs_on_torchs_current_stream(name: str) -> None:
    """Work that the op reads is still queued on a side stream when the op is launched there."""
    run = ops()[name]
    expected = run()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        torch.cuda._sleep(100_000_000)
        done_before = torch.cuda.Event()
        done_before.record()
        actual = run()
        after = torch.cuda.Event()
        after.record()
    assert not after.query()  # launched behind the sleep, not beside it
    side.synchronize()
    assert done_before.query()
    assert all(torch.equal(a, b) for a, b in zip(expected, actual))


@pytest.mark.parametrize("name", ["filtered_lrelu", "bias_lrelu", "upfirdn2d", "fourier_features"])
def test_is_captured_in_a_cuda_graph(name: str) -> None:
    run = ops()[name]
    expected = run()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        actual = run()
    for tensor in actual:
        tensor.detach().zero_()
    graph.replay()
    torch.cuda.synchronize()
    assert all(torch.equal(a, b) for a, b in zip(expected, actual))


def test_memory_is_flat_and_all_of_it_torchs() -> None:
    runs = ops()
    for run in runs.values():
        run()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    for _ in range(100):
        for run in runs.values():
            run()
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() == before
    assert importlib.import_module("cupy").get_default_memory_pool().total_bytes() == 0


def test_indices_beyond_32_bits() -> None:
    if torch.cuda.mem_get_info()[0] < 40 << 30:
        pytest.skip("needs 40 GB of free GPU memory")
    img = torch.zeros(1, 3, 30_000, 30_000, device="cuda", dtype=torch.float16)
    img[0, :, -1, -1] = 1.0
    out = tile_to_rgba8(img, impl="cuda")
    assert out[0, -1, -1].tolist() == [255] * 4
    assert out[0, -1, -2].tolist() == [128, 128, 128, 255]
    x = torch.zeros(1, 5, 30_000, 30_000, device="cuda", dtype=torch.float16)
    x[0, -1, -1, -1] = 1.0
    f = torch.ones(1, device="cuda")
    y = filtered_lrelu(x, f, f, gain=2.0, impl="cuda")
    assert float(y[0, -1, -1, -1]) == 2.0
