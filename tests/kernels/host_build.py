"""The CUDA sources on the CPU: built by the host's C++ compiler, launched as CuPy would."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from kernels import _cuda
from tests.kernels.instances import INSTANCES

SHIM = Path(__file__).with_name("cuda_shim.h")
FLAGS = ("-std=c++17", "-O1", "-fPIC", "-shared", "-ffp-contract=off", "-w", "-pthread")
FAILURES = {
    1: "some threads ended while others waited at a barrier",
    2: "a thread wrote past the shared memory that was asked for",
}


class HostLauncher:
    """A `kernels._cuda.Launcher` for tensors on the CPU."""

    device_type = "cpu"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.order = 0
        """Of a block's threads: 0 rising, 1 falling (blocks too), else the seed of a shuffle."""
        self.launched: list[_cuda.Kernel] = []
        self._libraries: dict[str, ctypes.CDLL] = {}

    def __call__(
        self,
        kernel: _cuda.Kernel,
        device: torch.device,
        blocks: int,
        threads: int,
        args: Sequence[np.generic],
        shared_bytes: int,
    ) -> None:
        assert device.type == "cpu"
        assert kernel.name in INSTANCES[kernel.source], (
            f"{kernel.name} is launched but not in INSTANCES: nothing proves that NVRTC takes it."
        )
        self.launched.append(kernel)
        library = self._library(kernel.source)
        index = INSTANCES[kernel.source].index(kernel.name)
        sizes = self._parameter_sizes(library, index)
        assert [a.dtype.itemsize for a in args] == sizes, f"arguments of {kernel.name}"
        numbers = [np.array(a) for a in args]
        pointers = (ctypes.c_void_p * len(args))(*(n.ctypes.data for n in numbers))
        run = getattr(library, f"run_{index}")
        failure = run(pointers, blocks, threads, ctypes.c_size_t(shared_bytes), self.order)
        assert failure == 0, f"{kernel.name}: {FAILURES[failure]}"

    @staticmethod
    def _parameter_sizes(library: ctypes.CDLL, index: int) -> list[int]:
        count = getattr(library, f"count_{index}")()
        sizes = (ctypes.c_int * count)()
        getattr(library, f"sizes_{index}")(sizes)
        return list(sizes)

    def _library(self, stem: str) -> ctypes.CDLL:
        if stem not in self._libraries:
            self._libraries[stem] = ctypes.CDLL(str(build(stem, self.folder)))
        return self._libraries[stem]


def build(stem: str, folder: Path, flags: Sequence[str] = FLAGS) -> Path:
    """Compile one source with all its instances; the path of the shared library."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    assert compiler, "the kernels' tests need a C++ compiler: apt-get install g++"
    lines = [f'#include "{SHIM}"', _cuda.source_text(stem)]
    for i, name in enumerate(INSTANCES[stem]):
        lines.append(
            f'extern "C" int run_{i}(void** a, unsigned b, unsigned t, size_t s, unsigned o) '
            f"{{ return shim::run<{name}>(a, b, t, s, o); }}\n"
            f'extern "C" int count_{i}() {{ return shim::count({name}); }}\n'
            f'extern "C" void sizes_{i}(int* out) {{ shim::sizes({name}, out); }}'
        )
    source, library = folder / f"{stem}.cpp", folder / f"{stem}.so"
    source.write_text("\n".join(lines), encoding="utf-8")
    done = subprocess.run(
        [compiler, *flags, str(source), "-o", str(library)], capture_output=True, text=True
    )
    assert done.returncode == 0, f"{compiler} does not take {stem}.cu:\n{done.stderr[:4000]}"
    return library
