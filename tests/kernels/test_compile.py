"""Every CUDA source compiles for every GPU that is supported, without one being here."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor

import pytest

from kernels import _cuda
from tests.kernels import nvrtc
from tests.kernels.instances import EVERYWHERE, INSTANCES

CAPABILITIES = ("75", "80", "86", "90", "100", "120")
AS_CUPY_DOES = (*_cuda.OPTIONS, "-ftz=true", "--device-as-default-execution-space")


@pytest.fixture(scope="module")
def compiler() -> ctypes.CDLL:
    return nvrtc.load()


def test_every_source_is_covered() -> None:
    assert {path.stem for path in _cuda.CUDA_FOLDER.glob("*.cu")} == set(INSTANCES)


def test_compiles_to_machine_code_for_every_capability(compiler: ctypes.CDLL) -> None:
    def size_of(stem: str, capability: str) -> int:
        options = (*AS_CUPY_DOES, f"-arch=sm_{capability}")
        source = _cuda.source_text(stem)
        return len(nvrtc.compile_source(compiler, source, EVERYWHERE[stem], options))

    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(size_of, stem, c) for stem in EVERYWHERE for c in CAPABILITIES]
        assert all(job.result() > 0 for job in jobs)


def test_compiles_every_instance_that_is_launched_anywhere(compiler: ctypes.CDLL) -> None:
    def count(part: tuple[str, list[str]]) -> int:
        stem, names = part
        options = (*AS_CUPY_DOES, "-arch=compute_80")
        source = _cuda.source_text(stem)
        text = nvrtc.compile_source(compiler, source, names, options, ptx=True)
        return text.count(b".entry")  # PTX holds one for each instance that was asked for

    rest = {s: [n for n in names if n not in EVERYWHERE[s]] for s, names in INSTANCES.items()}
    parts = [(s, names[i::2]) for s, names in rest.items() for i in range(2) if names[i::2]]
    assert {stem for stem, _ in parts} == {"bias_lrelu", "filtered_lrelu", "filtered_lrelu_mma"}
    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(count, parts)) == sum(map(len, rest.values()))


def test_a_mistake_does_not_compile(compiler: ctypes.CDLL) -> None:
    source = _cuda.source_text("tile_to_rgba8").replace("img_c", "img_channel", 1)
    with pytest.raises(AssertionError, match="error"):
        nvrtc.compile_source(
            compiler, source, INSTANCES["tile_to_rgba8"], (*AS_CUPY_DOES, "-arch=sm_90")
        )
