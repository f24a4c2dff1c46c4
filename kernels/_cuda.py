"""Compiling and launching the kernels in `kernels/cuda`.

CuPy compiles them with NVRTC (no toolkit, no compiler) when they are first used, and keeps the
result on disk. They run on torch's current stream, read and write torch's own memory by address,
allocate nothing and wait for nothing; so they follow torch's rules for streams and can be captured
in a CUDA graph once they have run. CuPy's own memory pool stays empty.

Whatever keeps the kernels from running is found once a device, logged in one line, and remembered.
"""

from __future__ import annotations

import functools
import importlib
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch

logger = logging.getLogger(__name__)

CUDA_FOLDER = Path(__file__).with_name("cuda")
OPTIONS = ("-std=c++17",)
MAX_BLOCKS = 2**31 - 1
MAX_THREADS = 1024
MAX_SHARED_BYTES = 48 * 1024
"""Shared memory that every GPU grants a block without being asked."""
MAX_SHARED_BYTES_ASKED = 99 * 1024
"""What every GPU of capability 8.0 or more grants a block that asks, as the launcher does."""

TYPE_NAMES = {torch.float32: "float", torch.float16: "half_t", torch.bfloat16: "bfloat_t"}
"""C++ names of the dtypes, see `cuda/common.cuh`."""


class KernelUnavailable(RuntimeError):
    """A CUDA kernel was asked for and cannot be had; the message says why and what to do."""


@dataclass(frozen=True)
class Kernel:
    """One function of one source file."""

    source: str
    """Stem of the file in `kernels/cuda`."""
    name: str
    """C++ name, with the template arguments where it has some."""


Argument: TypeAlias = "torch.Tensor | np.generic | None"
"""What a kernel takes: a tensor's address (None: null), or a number of exactly the C++ type."""


class Launcher(Protocol):
    """Runs kernels on one kind of device. The tests have one that runs them on the CPU."""

    device_type: str

    def __call__(
        self,
        kernel: Kernel,
        device: torch.device,
        blocks: int,
        threads: int,
        args: Sequence[np.generic],
        shared_bytes: int,
    ) -> None:
        """Launch `blocks` blocks of `threads` threads; raises KernelUnavailable if it cannot, and
        torch.OutOfMemoryError if it only cannot now."""
        ...


class CupyLauncher:
    """CuPy's compiler, torch's current stream."""

    device_type = "cuda"

    def __init__(self) -> None:
        self._cupy: Any = importlib.import_module("cupy")
        self._functions: dict[tuple[Kernel, int], Any] = {}
        self._lock = threading.Lock()

    def __call__(
        self,
        kernel: Kernel,
        device: torch.device,
        blocks: int,
        threads: int,
        args: Sequence[np.generic],
        shared_bytes: int,
    ) -> None:
        cuda = self._cupy.cuda
        stream = torch.cuda.current_stream(device)
        with cuda.Device(stream.device.index):
            try:
                function = self._function(kernel, stream.device.index, shared_bytes)
                # Grid first, block second. The raw function takes the stream, where entering a
                # stream would change CuPy's current one for whoever else uses it in this thread.
                function(
                    (blocks,),
                    (threads,),
                    tuple(args),
                    shared_mem=shared_bytes,
                    stream=cuda.Stream.from_external(stream),
                )
            except RuntimeError as error:
                if "OUT_OF_MEMORY" not in str(error):
                    raise
                # Soon there may be room again: nothing against the kernel.
                raise torch.OutOfMemoryError(
                    f"CUDA out of memory: no room to load or launch {kernel.name}."
                ) from error

    def _function(self, kernel: Kernel, index: int, shared_bytes: int) -> Any:
        """Compiled for the device that is current, for launches that take as much memory; kept."""
        with self._lock:
            function = self._functions.get((kernel, index))
            if function is None:
                module = self._cupy.RawModule(
                    code=source_text(kernel.source),
                    options=OPTIONS,
                    name_expressions=(kernel.name,),
                )
                try:
                    raw = module.get_function(kernel.name)
                    function = raw.kernel
                    if shared_bytes > MAX_SHARED_BYTES:
                        raw.max_dynamic_shared_size_bytes = shared_bytes
                except (RuntimeError, OSError, self._cupy.cuda.compiler.CompileException) as error:
                    raise KernelUnavailable(_first_line(error)) from error
                self._functions[kernel, index] = function
            return function


@functools.cache
def source_text(stem: str) -> str:
    """One source file with what all of them begin with."""
    texts = [CUDA_FOLDER / "common.cuh", CUDA_FOLDER / f"{stem}.cu"]
    return "\n".join(path.read_text(encoding="utf-8") for path in texts)


class _State:
    """What has been found out about this process's devices."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.override: Launcher | None = None
        self.cupy: CupyLauncher | None = None
        self.reasons: dict[int, str | None] = {}
        self.capabilities: dict[torch.device, tuple[int, int]] = {}
        self.failures: dict[tuple[str, str], str] = {}


_state = _State()


@contextmanager
def launching_with(launcher: Launcher) -> Iterator[None]:
    """Use another launcher, in every thread, until the block ends. For tests and tools."""
    global _state
    kept = _state
    _state = _State()
    _state.override = launcher
    try:
        yield
    finally:
        _state = kept


def launches_on(device: torch.device) -> bool:
    """Whether kernels are made for this kind of device."""
    override = _state.override
    return device.type == (override.device_type if override else "cuda")


def unavailable_reason(device: torch.device | str | None = None) -> str | None:
    """Why the CUDA kernels cannot run on a device, with what to do; None where they can.

    Found out at the first call, logged in one line, and remembered: later calls cost nothing.

    Args:
        device: A CUDA device; None is torch's current one.
    """
    state = _state
    if state.override:
        return None
    index = torch.device(device).index if device is not None else None
    if index is None:
        index = torch.cuda.current_device() if torch.cuda.is_available() else 0
    if index not in state.reasons:
        with state.lock:
            if index not in state.reasons:
                reason = _find_reason(state, index)
                if reason:
                    logger.warning(
                        "CUDA kernels are off: %s Using the torch versions, slower.", reason
                    )
                state.reasons[index] = reason
    return state.reasons[index]


def is_ampere(device: torch.device) -> bool:
    """Whether a device has capability 8.0 or more, as the tests' launcher always has."""
    if device.type != "cuda":
        return True
    known = _state.capabilities
    if device not in known:
        known[device] = torch.cuda.get_device_capability(device)
    return known[device] >= (8, 0)


def check_shared_bytes(op: str, shared_bytes: int, device: torch.device) -> None:
    """Raise KernelUnavailable unless a block of `op` gets so much shared memory."""
    if shared_bytes > MAX_SHARED_BYTES_ASKED or (
        shared_bytes > MAX_SHARED_BYTES and not is_ampere(device)
    ):
        raise KernelUnavailable(
            f"{op} would need {shared_bytes} bytes of shared memory a block, at most "
            f"{MAX_SHARED_BYTES} are to be had; use shorter filters, or pass impl='ref'."
        )


def failure_of(op: str, device: torch.device) -> str | None:
    """Why this op's kernel failed on this device before; None if it did not."""
    return _state.failures.get((op, str(device)))


def blocks_for(count: int, threads: int) -> int:
    """Blocks for `count` independent items, one a thread, up to where more would only queue.

    The kernels that use it go on in strides of the whole grid: 2**16 blocks of 256 threads fill
    the largest GPU some sixty times over, and keep its last wave short.
    """
    return min(-(-count // threads), 2**16)


def launch(
    op: str,
    kernel: Kernel,
    device: torch.device,
    blocks: int,
    threads: int,
    args: Sequence[Argument],
    shared_bytes: int = 0,
) -> None:
    """Launch a kernel on torch's current stream of `device`, without waiting for it.

    Args:
        op: The public op that it belongs to, under which a failure is remembered.
        kernel: What to launch.
        device: Where every tensor in `args` lies.
        blocks: Blocks, in [0, 2**31); 0 launches nothing.
        threads: Threads a block, in [1, 1024].
        args: In the kernel's order.
        shared_bytes: Dynamic shared memory a block, up to 48 KiB, or 99 KiB where `is_ampere`;
            above 48 KiB the same for all launches of a kernel.

    Raises:
        KernelUnavailable: It does not compile here, or the work is too large for one launch.
        torch.OutOfMemoryError: The GPU's memory is full; nothing is remembered of that.
    """
    if blocks == 0:
        return
    if not (0 < blocks <= MAX_BLOCKS and 0 < threads <= MAX_THREADS):
        raise KernelUnavailable(
            f"{op} would need {blocks} blocks of {threads} threads, one launch has at most "
            f"{MAX_BLOCKS} of {MAX_THREADS}; split the batch, or pass impl='ref'."
        )
    check_shared_bytes(op, shared_bytes, device)
    state = _state
    launcher: Launcher | None = state.override or state.cupy
    if launcher is None:
        raise KernelUnavailable(f"{op} was launched before its device was asked for.")
    numbers = [_number(a) for a in args]
    try:
        launcher(kernel, device, blocks, threads, numbers, shared_bytes)
    except KernelUnavailable as error:
        reason = (
            f"CUDA kernel {op} does not compile here ({error}); update the NVIDIA driver and "
            "CuPy, or pass impl='ref'."
        )
        state.failures[op, str(device)] = reason
        logger.warning("%s Using the torch version, slower.", reason)
        raise KernelUnavailable(reason) from error


def _number(argument: Argument) -> np.generic:
    """An address as a number; numbers as they are."""
    if isinstance(argument, np.generic):
        return argument
    return np.uint64(0 if argument is None else argument.data_ptr())


def _find_reason(state: _State, index: int) -> str | None:
    """Try everything that a launch needs, short of compiling."""
    if not torch.cuda.is_available():
        if torch.version.cuda is None:
            return "this torch is built without CUDA; install a CUDA build of torch."
        return "torch finds no usable NVIDIA GPU; install or update the NVIDIA driver."
    try:
        state.cupy = state.cupy or CupyLauncher()
        cuda: Any = importlib.import_module("cupy").cuda
    except ImportError as error:
        major = (torch.version.cuda or "12").split(".")[0]
        return (
            f"CuPy cannot be imported ({_first_line(error)}); "
            f"pip install 'scalespace-explorer[cuda{major}]'."
        )
    try:
        driver, built = cuda.runtime.driverGetVersion(), cuda.runtime.runtimeGetVersion()
        if driver // 1000 < built // 1000:
            return (
                f"the driver speaks CUDA {_dotted(driver)}, this CuPy needs {built // 1000}; "
                f"update the driver, or install the extra cuda{driver // 1000} instead."
            )
        compiler = cuda.nvrtc.getVersion()
    except (RuntimeError, OSError, ImportError) as error:
        return (
            f"NVRTC, the run-time compiler, cannot be loaded ({_first_line(error)}); pip install "
            f"'nvidia-cuda-nvrtc' of the driver's CUDA version."
        )
    if compiler[0] > driver // 1000:
        return (
            f"NVRTC {compiler[0]}.{compiler[1]} compiles for newer drivers than this one "
            f"(CUDA {_dotted(driver)}); update the driver, or install NVRTC {driver // 1000}."
        )
    capability = torch.cuda.get_device_capability(index)
    if capability < (7, 5):
        return (
            f"the GPU has compute capability {capability[0]}.{capability[1]}, 7.5 is the least "
            "that the kernels are made for."
        )
    return None


def _dotted(version: int) -> str:
    """CUDA's 12040 as 12.4."""
    return f"{version // 1000}.{version % 1000 // 10}"


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # A compiler's log names the file first; the first error tells more.
    return next((line for line in lines if "error" in line), lines[0] if lines else repr(error))[
        :300
    ]
