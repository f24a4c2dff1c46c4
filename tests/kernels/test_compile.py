"""Every CUDA source compiles for every GPU that is supported, without one being here."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor

import pytest

from kernels import _cuda
from tests.kernels import nvrtc
from tests.kernels.instances import INSTANCES, PRESETS

CAPABILITIES = ("75", "80", "86", "90", "100", "120")
AS_CUPY_DOES = (*_cuda.OPTIONS, "-ftz=true", "--device-as-default-execution-space")


@pytest.fixture(scope="module")
def compiler() -> ctypes.CDLL:
    return nvrtc.load()


def test_every_source_is_covered() -> None:
    assert {path.stem for path in _cuda.CUDA_FOLDER.glob("*.cu")} == set(INSTANCES)


def test_compiles_to_machine_code_for_every_capability(compiler: ctypes.CDLL) -> None:
    """Every instance of the small sources; of the large one what the presets launch."""

    def size_of(stem: str, capability: str) -> int:
        names = PRESETS if stem == "filtered_lrelu" else INSTANCES[stem]
        options = (*AS_CUPY_DOES, f"-arch=sm_{capability}")
        return len(nvrtc.compile_source(compiler, _cuda.source_text(stem), names, options))

    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(size_of, stem, c) for stem in INSTANCES for c in CAPABILITIES]
        assert all(job.result() > 0 for job in jobs)


def test_compiles_every_instance_that_is_launched_anywhere(compiler: ctypes.CDLL) -> None:
    names = [n for n in INSTANCES["filtered_lrelu"] if n not in PRESETS]
    source = _cuda.source_text("filtered_lrelu")
    assert names
    with ThreadPoolExecutor(2) as pool:
        texts = pool.map(
            lambda part: nvrtc.compile_source(
                compiler, source, part, (*AS_CUPY_DOES, "-arch=compute_75"), ptx=True
            ),
            (names[::2], names[1::2]),
        )
        # PTX holds an entry for each instance that was asked for.
        assert sum(text.count(b".entry") for text in texts) == len(names)


def test_a_mistake_does_not_compile(compiler: ctypes.CDLL) -> None:
    source = _cuda.source_text("tile_to_rgba8").replace("img_c", "img_channel", 1)
    with pytest.raises(AssertionError, match="error"):
        nvrtc.compile_source(
            compiler, source, INSTANCES["tile_to_rgba8"], (*AS_CUPY_DOES, "-arch=sm_90")
        )
