"""The kernels of `fourier_features` against the torch version."""

from __future__ import annotations

import pytest
import torch

from kernels import fourier_features
from tests.kernels.conftest import relative_error
from tests.kernels.host_build import HostLauncher


def arguments(
    n: int, height: int, width: int, waves: int, channels: int, device: torch.device
) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(3)
    xs = torch.rand(n, width, generator=rng, dtype=torch.float64) - 0.5
    ys = torch.rand(n, height, generator=rng, dtype=torch.float64) - 0.5
    freqs = torch.randn(waves, 2, generator=rng, dtype=torch.float64) * 4000
    phases = torch.rand(waves, generator=rng, dtype=torch.float64)
    mix = torch.randn(channels, waves, generator=rng)
    return [t.to(device) for t in (xs, ys, freqs, phases, mix)]


def derivatives(args: list[torch.Tensor], dtype: torch.dtype, impl: str) -> list[torch.Tensor]:
    *places, mix = args
    mix = mix.detach().requires_grad_()
    out = fourier_features(*places, mix, dtype=dtype, impl=impl)
    rng = torch.Generator().manual_seed(4)
    cotangent = torch.randn(out.shape, generator=rng).to(out.device, dtype).requires_grad_()
    (grad,) = torch.autograd.grad(out, mix, cotangent, create_graph=True)
    (second,) = torch.autograd.grad(grad.square().sum(), cotangent)
    return [out, grad, second]


@pytest.mark.parametrize(
    "shape", [(2, 7, 5, 6, 4), (1, 1, 1, 1, 1), (1, 9, 70, 17, 65), (3, 8, 8, 70, 3)]
)
def test_matches_the_torch_version(device: torch.device, shape: tuple[int, ...]) -> None:
    args = arguments(*shape, device)
    out, grad, second = derivatives(args, torch.float32, "cuda")
    expected = derivatives([a.cpu() for a in args], torch.float32, "ref")
    assert out.is_contiguous(memory_format=torch.channels_last)
    for actual, wanted in zip((out, grad, second), expected):
        assert relative_error(actual, wanted) < 1e-5


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float16, 2e-3), (torch.bfloat16, 1.6e-2)])
def test_half_precision(device: torch.device, dtype: torch.dtype, limit: float) -> None:
    args = arguments(2, 6, 11, 20, 9, device)
    actual = derivatives(args, dtype, "cuda")
    assert actual[0].dtype == dtype
    # The torch version in float32, given the same rounded cotangent.
    *places, mix = [a.cpu() for a in args]
    mix.requires_grad_()
    out = fourier_features(*places, mix, impl="ref")
    rng = torch.Generator().manual_seed(4)
    cotangent = torch.randn(out.shape, generator=rng).to(dtype).float().requires_grad_()
    (grad,) = torch.autograd.grad(out, mix, cotangent, create_graph=True)
    (second,) = torch.autograd.grad(grad.square().sum(), cotangent)
    for a, wanted in zip(actual, (out, grad, second)):
        assert relative_error(a, wanted) < limit


def test_beyond_131072_elements_and_strided_places(device: torch.device) -> None:
    args = arguments(1, 130, 258, 5, 8, device)
    args[0], args[1] = args[0][:, ::2], args[1].flip(1)
    args[4] = args[4].t().contiguous().t()
    out = fourier_features(*args, impl="cuda")
    assert out.numel() > 131_072
    expected = fourier_features(*(a.cpu() for a in args), impl="ref")
    assert relative_error(out, expected) < 1e-5


def test_no_waves_no_images_no_channels(device: torch.device) -> None:
    for shape in ((2, 5, 7, 0, 4), (0, 5, 7, 3, 4), (2, 5, 7, 3, 0)):
        out, grad, _ = derivatives(arguments(*shape, device), torch.float32, "cuda")
        assert out.shape == (shape[0], shape[4], *shape[1:3])
        assert not out.any()
        assert grad.shape == (shape[4], shape[3])
        assert not grad.any()


def test_the_order_of_threads_changes_nothing(host: HostLauncher) -> None:
    runs = []
    for order in (0, 1, 2):
        host.order = order
        runs.append(
            derivatives(arguments(1, 9, 9, 33, 5, torch.device("cpu")), torch.float32, "cuda")
        )
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other))
