"""Half precision is taken where it is quicker, and only there."""

import platform
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from model import precision
from model.precision import choose_dtype, training_dtype

CPU, GPU = torch.device("cpu"), torch.device("cuda")
BF16, FP16, FP32 = torch.bfloat16, torch.float16, torch.float32
AMD = "processor : 0\nvendor_id : AuthenticAMD\n"
INTEL = "processor : 0\nvendor_id : GenuineIntel\n"


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    precision._cpu_is_quick_with_bf16.cache_clear()
    yield
    precision._cpu_is_quick_with_bf16.cache_clear()


@pytest.mark.parametrize(
    ("vendor", "matrix_unit", "vectors", "expected"),
    [
        (AMD, False, True, BF16),
        (AMD, False, False, FP32),  # supported, but emulated
        (INTEL, True, True, BF16),
        (INTEL, False, True, FP32),  # a machine that hides the matrix unit
        (INTEL, False, False, FP32),
    ],
)
@pytest.mark.parametrize("system", ["Linux", "Windows"])
def test_a_processor_computes_in_what_it_is_quicker_with(
    vendor: str,
    matrix_unit: bool,
    vectors: bool,
    expected: torch.dtype,
    system: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64" if system == "Linux" else "AMD64")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: matrix_unit)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: vectors)
    cpuinfo = tmp_path / "cpuinfo"
    monkeypatch.setattr(precision, "_CPUINFO", cpuinfo)
    if system == "Linux":
        cpuinfo.write_text(vendor)
    else:
        name = vendor.split()[-1]
        monkeypatch.setattr(platform, "processor", lambda: f"AMD64 Family 6 Model 207, {name}")
    assert choose_dtype(CPU, "auto") is training_dtype(CPU) is expected


def test_a_processor_of_another_kind_without_the_library_computes_in_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert training_dtype(CPU) is FP32


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((7, 5), FP32), ((8, 6), BF16), ((12, 0), BF16)],  # before 8.0 it is emulated
)
def test_a_gpu_shows_in_half_precision_and_trains_with_the_range_of_float32(
    capability: tuple[int, int], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_dtype(GPU, "auto") is FP16
    assert training_dtype(GPU) is expected


def test_a_precision_that_is_named_is_taken() -> None:
    assert [choose_dtype(CPU, n) for n in ("fp32", "bf16", "fp16")] == [FP32, BF16, FP16]
    with pytest.raises(ValueError, match="precision must be one of auto, fp32, bf16, fp16, got"):
        choose_dtype(CPU, "int8")
