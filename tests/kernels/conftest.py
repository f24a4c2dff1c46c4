"""Kernels under test: on the CPU through the shim always, on a GPU where there is one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from kernels import _cuda, unavailable_reason
from tests.kernels.host_build import HostLauncher


@pytest.fixture(scope="session")
def host_launcher(tmp_path_factory: pytest.TempPathFactory) -> HostLauncher:
    """Builds each source once a session, when it is first launched."""
    return HostLauncher(tmp_path_factory.mktemp("host_kernels"))


@pytest.fixture
def host(host_launcher: HostLauncher) -> Iterator[HostLauncher]:
    """CPU tensors go to the kernels, run by the shim, while the test lasts."""
    host_launcher.order = 0
    host_launcher.launched.clear()
    with _cuda.launching_with(host_launcher):
        yield host_launcher


@pytest.fixture(params=["host", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """Where a parity test runs its kernels."""
    if request.param == "host":
        request.getfixturevalue("host")
        yield torch.device("cpu")
        return
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    reason = unavailable_reason("cuda")
    if reason:
        pytest.skip(f"CUDA kernels are off: {reason}")
    yield torch.device("cuda")


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference over the largest magnitude expected."""
    assert actual.shape == expected.shape
    if expected.numel() == 0:
        return 0.0
    difference = (actual.detach().cpu().double() - expected.detach().cpu().double()).abs().max()
    return float(difference / expected.detach().abs().max().clamp_min(1e-30))


LIMITS = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
"""Relative errors allowed; bfloat16 has three bits fewer than float16."""
