"""Choosing, launching and giving up on kernels, with a pretended CuPy and no GPU."""

from __future__ import annotations

import logging
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import kernels
from kernels import KernelUnavailable, _cuda, tile_to_rgba8, upfirdn2d
from kernels._filter import separable_tile
from tests.kernels.host_build import HostLauncher

CPU = torch.device("cpu")


class PretendedCupy(types.ModuleType):
    """As much of CuPy 14 as the launcher uses; notes every launch."""

    def __init__(self, driver: int = 13000, built: int = 13000) -> None:
        super().__init__("cupy")
        self.launches: list[dict[str, Any]] = []
        self.compiled: list[tuple[str, ...]] = []
        self.failure: Exception | None = None
        """Of compiling and loading."""
        self.launch_failure: Exception | None = None
        self.nvrtc_version: tuple[int, int] | Exception = (built // 1000, 0)
        self.current_device: int | None = None
        outer = self

        class CompileException(Exception):
            pass

        class Device:
            def __init__(self, index: int) -> None:
                self.index = index

            def __enter__(self) -> None:
                outer.current_device = self.index

            def __exit__(self, *_: object) -> None:
                outer.current_device = None

        class Stream:
            @staticmethod
            def from_external(stream: Any) -> Any:
                return ("stream", stream.__cuda_stream__()[1])

        class RawModule:
            def __init__(
                self, *, code: str, options: tuple[str, ...], name_expressions: tuple[str, ...]
            ) -> None:
                assert "__global__" in code and "to_float" in code
                assert options == _cuda.OPTIONS
                self.names = name_expressions

            def get_function(self, name: str) -> Any:
                assert (name,) == self.names
                if outer.failure:
                    raise outer.failure
                outer.compiled.append(self.names)
                return types.SimpleNamespace(kernel=self.launch)

            def launch(
                self,
                grid: tuple[int, ...],
                block: tuple[int, ...],
                args: tuple[Any, ...],
                shared_mem: int = 0,
                stream: Any = None,
            ) -> None:
                if outer.launch_failure:
                    raise outer.launch_failure
                outer.launches.append(
                    {
                        "name": self.names[0],
                        "grid": grid,
                        "block": block,
                        "args": args,
                        "shared_mem": shared_mem,
                        "stream": stream,
                        "device": outer.current_device,
                    }
                )

        def nvrtc_version() -> tuple[int, int]:
            if isinstance(self.nvrtc_version, Exception):
                raise self.nvrtc_version
            return self.nvrtc_version

        self.RawModule = RawModule
        self.cuda = types.SimpleNamespace(
            Device=Device,
            Stream=Stream,
            compiler=types.SimpleNamespace(CompileException=CompileException),
            runtime=types.SimpleNamespace(
                driverGetVersion=lambda: driver, runtimeGetVersion=lambda: built
            ),
            nvrtc=types.SimpleNamespace(getVersion=nvrtc_version),
        )


class PretendedStream:
    """torch's current stream of a device."""

    def __init__(self, index: int) -> None:
        self.device = torch.device("cuda", index)

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, 4000 + self.device.index


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A pretended GPU of capability 9.0, nothing found out about it yet."""
    monkeypatch.setattr(_cuda, "_state", _cuda._State())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 0))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda d: PretendedStream(d.index or 0))
    yield monkeypatch


def install(monkeypatch: pytest.MonkeyPatch, cupy: PretendedCupy) -> PretendedCupy:
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return cupy


def test_everything_in_place_says_nothing(
    gpu: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(gpu, PretendedCupy())
    assert kernels.unavailable_reason("cuda:0") is None
    assert not caplog.records


@pytest.mark.parametrize(
    ("situation", "says"),
    [
        ("no GPU", "no usable NVIDIA GPU"),
        ("torch without CUDA", "built without CUDA"),
        ("no CuPy", "pip install 'scalespace-explorer\\[cuda13\\]'"),
        ("old driver", "speaks CUDA 12.4, this CuPy needs 13"),
        ("no NVRTC", "NVRTC, the run-time compiler, cannot be loaded"),
        ("new NVRTC", "NVRTC 13.0 compiles for newer drivers"),
        ("old GPU", "compute capability 7.0"),
    ],
)
def test_each_reason_is_one_logged_line_found_once(
    gpu: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, situation: str, says: str
) -> None:
    cupy = install(gpu, PretendedCupy())
    gpu.setattr(torch.version, "cuda", "13.0")
    if situation in ("no GPU", "torch without CUDA"):
        gpu.setattr(torch.cuda, "is_available", lambda: False)
    if situation == "torch without CUDA":
        gpu.setattr(torch.version, "cuda", None)
    if situation == "no CuPy":
        gpu.setitem(sys.modules, "cupy", None)
    if situation == "old driver":
        install(gpu, PretendedCupy(driver=12040))
    if situation == "no NVRTC":
        cupy.nvrtc_version = RuntimeError("libnvrtc.so.13: no such file\nmore")
    if situation == "new NVRTC":
        install(gpu, PretendedCupy(driver=12040, built=12000)).nvrtc_version = (13, 0)
    if situation == "old GPU":
        gpu.setattr(torch.cuda, "get_device_capability", lambda index: (7, 0))
    with caplog.at_level(logging.INFO):
        reason = kernels.unavailable_reason()
        assert kernels.unavailable_reason() == reason
    (record,) = caplog.records
    message = record.getMessage()
    assert reason is not None and reason in message
    assert "\n" not in message
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(message)
    # And everything works.
    assert tile_to_rgba8(torch.zeros(1, 3, 2, 2)).shape == (1, 2, 2, 4)


def test_launches_with_grid_first_on_torchs_stream_and_compiles_once_a_device(
    gpu: pytest.MonkeyPatch,
) -> None:
    cupy = install(gpu, PretendedCupy())
    assert kernels.unavailable_reason("cuda:1") is None
    kernel = _cuda.Kernel("tile_to_rgba8", "tile_to_rgba8<float>")
    tensor = torch.zeros(4)
    for index in (1, 1, 0):
        device = torch.device("cuda", index)
        args = [tensor, None, np.int32(7), np.float32(0.5)]
        _cuda.launch("tile_to_rgba8", kernel, device, 200_000, 128, args, 64)
    first, _, last = cupy.launches
    assert first["grid"] == (200_000,) and first["block"] == (128,)
    assert first["args"] == (tensor.data_ptr(), 0, 7, 0.5)
    assert [a.dtype for a in first["args"]] == ["uint64", "uint64", "int32", "float32"]
    assert (first["shared_mem"], first["stream"], first["device"]) == (64, ("stream", 4001), 1)
    assert (last["stream"], last["device"]) == (("stream", 4000), 0)
    assert cupy.compiled == [(kernel.name,)] * 2


class Refusing:
    """A launcher whose compiler takes nothing."""

    device_type = "cpu"
    calls = 0

    def __call__(self, kernel: _cuda.Kernel, *rest: Any) -> None:
        self.calls += 1
        raise KernelUnavailable("kernel.cu(7): error: no such thing")


def test_a_kernel_that_does_not_compile_is_left_alone_from_then_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    launcher = Refusing()
    img = torch.rand(1, 3, 4, 5)
    with _cuda.launching_with(launcher):
        for _ in range(3):
            assert torch.equal(tile_to_rgba8(img), tile_to_rgba8(img, impl="ref"))
        assert launcher.calls == 1
        (record,) = caplog.records
        assert "no such thing" in record.getMessage() and "\n" not in record.getMessage()
        with pytest.raises(KernelUnavailable, match=r"no such thing.*impl='ref'"):
            tile_to_rgba8(img, impl="cuda")
        # Another op is another matter.
        upfirdn2d(img, torch.ones(2), up=2)
        assert launcher.calls == 2


def test_cupys_own_compile_error_becomes_the_reason(
    gpu: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cupy = install(gpu, PretendedCupy())
    assert kernels.unavailable_reason("cuda:0") is None
    cupy.failure = cupy.cuda.compiler.CompileException("log:\nk.cu(3): error: what is this\n")
    kernel = _cuda.Kernel("resample", "resample_forward<float>")
    with pytest.raises(KernelUnavailable, match=r"k.cu\(3\): error: what is this"):
        _cuda.launch("resample", kernel, torch.device("cuda", 0), 1, 32, [])


@pytest.mark.parametrize("where", ["failure", "launch_failure"])
def test_a_kernel_that_finds_memory_full_is_tried_again(
    gpu: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    cupy, device = install(gpu, PretendedCupy()), torch.device("cuda", 0)
    assert kernels.unavailable_reason(device) is None
    kernel = _cuda.Kernel("resample", "resample_forward<float>")
    setattr(cupy, where, RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: out of memory"))
    with pytest.raises(torch.OutOfMemoryError, match="resample_forward"):
        _cuda.launch("resample", kernel, device, 1, 32, [])
    assert _cuda.failure_of("resample", device) is None and not caplog.records
    setattr(cupy, where, None)
    _cuda.launch("resample", kernel, device, 1, 32, [])
    assert len(cupy.launches) == 1


@pytest.mark.parametrize(
    ("blocks", "threads", "shared", "says"),
    [(2**31, 32, 0, "at most 2147483647"), (1, 2048, 0, "of 1024"), (1, 32, 102_000, "shorter")],
)
def test_work_too_large_for_one_launch_is_refused(
    host: HostLauncher, blocks: int, threads: int, shared: int, says: str
) -> None:
    kernel = _cuda.Kernel("resample", "resample_forward<float>")
    with pytest.raises(KernelUnavailable, match=says):
        _cuda.launch("resample", kernel, CPU, blocks, threads, [], shared)
    assert not host.launched
    assert _cuda.failure_of("resample", CPU) is None


def test_filters_too_long_for_shared_memory_take_the_torch_version(host: HostLauncher) -> None:
    x, f = torch.rand(1, 1, 150, 150), torch.rand(120, 120)
    expected = upfirdn2d(x, f, impl="ref")
    assert torch.equal(upfirdn2d(x, f), expected)
    with pytest.raises(KernelUnavailable, match="shared memory"):
        upfirdn2d(x, f, impl="cuda")


class Noting:
    """A launcher that launches nothing."""

    device_type = "cpu"

    def __init__(self) -> None:
        self.launched: list[_cuda.Kernel] = []

    def __call__(self, kernel: _cuda.Kernel, *rest: Any) -> None:
        self.launched.append(kernel)


PLANES, LAST = torch.contiguous_format, torch.channels_last
UPFIRDN2D = [(8, 48), (4, 32), (4, 24), (2, 12)]
FILTERED_LRELU = (4, 24, 2, 12)


@pytest.mark.parametrize("layout_of_grad", [PLANES, LAST])
@pytest.mark.parametrize(
    ("layout", "is_ampere", "left"),
    [
        (PLANES, True, []),
        (PLANES, False, []),
        (LAST, True, [(8, 48), (4, 32)]),
        (LAST, False, [(8, 48), (4, 32), (4, 24), FILTERED_LRELU]),
    ],
)
@pytest.mark.parametrize("form", [*UPFIRDN2D, FILTERED_LRELU])
def test_what_a_kernel_cannot_take_back_the_torch_version_takes_both_ways(
    form: tuple[int, ...],
    layout: torch.memory_format,
    is_ampere: bool,
    left: list[tuple[int, ...]],
    layout_of_grad: torch.memory_format,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Up, its taps, down and its taps; on the way back a block takes more shared memory."""

    def apply(x: torch.Tensor, impl: str | None = None) -> torch.Tensor:
        up, fu, *rest = form
        f = torch.ones(fu) / fu
        if not rest:
            return upfirdn2d(x, f, up=up, padding=fu, impl=impl)
        down, fd = rest
        fd_ = torch.ones(fd) / fd
        return kernels.filtered_lrelu(x, f, fd_, up=up, down=down, padding=fu, impl=impl)

    monkeypatch.setattr(_cuda, "is_ampere", lambda device: is_ampere)
    launcher = Noting()
    x = torch.rand(1, 8, 6, 6).half().contiguous(memory_format=layout).requires_grad_()
    wanted = apply(x, "ref")
    grad = torch.rand_like(wanted).contiguous(memory_format=layout_of_grad)
    (wanted_grad,) = torch.autograd.grad(wanted, x, grad)
    with _cuda.launching_with(launcher):
        out = apply(x)
        (grad_x,) = torch.autograd.grad(out, x, grad)
        assert len(launcher.launched) == (0 if form in left else 2)
        if form in left:
            assert torch.equal(out, wanted) and torch.equal(grad_x, wanted_grad)
            with pytest.raises(KernelUnavailable, match=r"the gradient of .* shared memory"):
                apply(x, "cuda")
        launcher.launched.clear()
        with torch.no_grad():  # nothing is to be taken back
            apply(x, "cuda")
        assert len(launcher.launched) == 1


def test_a_gradient_on_tensor_cores_is_no_reason_to_go_without() -> None:
    """What the check takes for its tile is not what runs there, and fits."""
    tiles = [separable_tile(2, 2, a, b, 8) for a in range(1, 16) for b in range(1, 16)]
    assert max(shared for *_, shared in tiles) <= _cuda.MAX_SHARED_BYTES


def test_factors_and_filters_larger_than_what_is_compiled_take_the_torch_version(
    host: HostLauncher,
) -> None:
    x = torch.rand(1, 1, 60, 60)
    for up, taps in ((17, 4), (2, 49)):
        f = torch.rand(taps)
        assert torch.equal(upfirdn2d(x, f, up=up), upfirdn2d(x, f, up=up, impl="ref"))
        with pytest.raises(KernelUnavailable, match="factors up to 16 and filters up to 48"):
            upfirdn2d(x, f, up=up, impl="cuda")
    assert not host.launched


def test_float64_takes_the_torch_version(host: HostLauncher) -> None:
    x, f = torch.rand(1, 1, 6, 6, dtype=torch.float64), torch.rand(3)
    assert upfirdn2d(x, f).dtype == torch.float64
    assert not host.launched
    with pytest.raises(KernelUnavailable, match=r"got torch.float64"):
        upfirdn2d(x, f, impl="cuda")


def test_autocast_leaves_the_kernels_alone(host: HostLauncher) -> None:
    x = torch.rand(1, 2, 9, 9, requires_grad=True)
    f = torch.ones(12) / 12
    options: dict[str, Any] = {"up": 2, "down": 2, "padding": 11, "impl": "cuda"}
    plain = kernels.filtered_lrelu(x, f, f, **options)
    (grad,) = torch.autograd.grad(plain.sum(), x)
    with torch.autocast("cpu", torch.bfloat16):
        out = kernels.filtered_lrelu(x, f, f, **options)
        half = kernels.filtered_lrelu(x.half(), f, f, **options)
        ref = kernels.filtered_lrelu(x, f, f, **(options | {"impl": "ref"}))
    (grad_of_out,) = torch.autograd.grad(out.sum(), x)
    assert out.dtype == ref.dtype == torch.float32 and half.dtype == torch.float16
    assert torch.equal(out, plain)
    assert torch.equal(grad_of_out, grad)


def test_torch_compile_gets_the_torch_version(
    host: HostLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    img = torch.rand(1, 3, 4, 4)
    tile_to_rgba8(img)
    assert not host.launched
    with pytest.raises(KernelUnavailable, match=r"torch\.compile traces"):
        tile_to_rgba8(img, impl="cuda")


def test_torch_compile_traces_an_op_in_one_graph(host: HostLauncher) -> None:
    x, f = torch.rand(1, 2, 9, 9), torch.ones(12) / 12

    def both(x: torch.Tensor) -> torch.Tensor:
        return kernels.filtered_lrelu(
            upfirdn2d(x, f, up=2, padding=5), f, f, up=2, down=2, padding=9
        )

    compiled = torch.compile(both, backend="eager", fullgraph=True)(x)
    assert not host.launched
    torch.testing.assert_close(compiled, both(x))
    assert host.launched


def test_the_shim_finds_what_it_is_there_to_find(tmp_path: Path) -> None:
    """Controls: a missing barrier, a write past shared memory, a barrier not all threads reach."""
    from tests.kernels import host_build

    text = """
    __global__ void no_barrier(float* out) {
        SHARED_MEMORY(memory);
        float* const words = (float*)memory;
        words[threadIdx.x] = threadIdx.x;
        out[threadIdx.x] = words[blockDim.x - 1 - threadIdx.x];
    }
    __global__ void past_the_end(float* out) {
        SHARED_MEMORY(memory);
        ((float*)memory)[threadIdx.x + 1] = 1.0f;
    }
    __global__ void not_all(float* out) {
        if (threadIdx.x > 3) __syncthreads();
    }
    """
    names = ("no_barrier", "past_the_end", "not_all")
    monkeypatch = pytest.MonkeyPatch()
    with monkeypatch.context() as patch:
        patch.setattr(_cuda, "source_text", lambda stem: text)
        patch.setitem(host_build.INSTANCES, "controls", names)
        launcher = HostLauncher(tmp_path)
        outs = []
        for launcher.order in (0, 1):
            out = torch.zeros(32)
            launcher(_cuda.Kernel("controls", "no_barrier"), CPU, 1, 32, [address(out)], 128)
            outs.append(out)
        assert outs[0].isnan().any()
        assert not torch.equal(*outs)
        with pytest.raises(AssertionError, match="past the shared memory"):
            launcher(_cuda.Kernel("controls", "past_the_end"), CPU, 1, 32, [address(out)], 128)
        with pytest.raises(AssertionError, match="ended while others waited"):
            launcher(_cuda.Kernel("controls", "not_all"), CPU, 1, 32, [address(out)], 128)
        with pytest.raises(AssertionError, match="arguments of"):
            launcher(_cuda.Kernel("controls", "not_all"), CPU, 1, 32, [np.int32(1)], 128)


def address(tensor: torch.Tensor) -> np.generic:
    return np.uint64(tensor.data_ptr())


def test_no_op_names_a_kernel_that_is_not_there(host: HostLauncher) -> None:
    args: Sequence[Any] = [np.int32(1)]
    with pytest.raises(AssertionError, match="not in INSTANCES"):
        _cuda.launch("resample", _cuda.Kernel("resample", "nothing<float>"), CPU, 1, 1, args)
