"""The kernels of `resample` against the torch version, in float64."""

from __future__ import annotations

import pytest
import torch

from kernels import resample
from kernels.resample import FILTERS
from tests.kernels.conftest import LIMITS, relative_error
from tests.kernels.host_build import HostLauncher


def derivatives(
    img: torch.Tensor, origin: torch.Tensor, step: torch.Tensor, filter: str, impl: str
) -> list[torch.Tensor]:
    img = img.detach().requires_grad_()
    out = resample(img, origin, step, (19, 37), filter=filter, impl=impl)
    rng = torch.Generator().manual_seed(1)
    cotangent = torch.randn(out.shape, generator=rng).to(out.device, out.dtype).requires_grad_()
    (grad,) = torch.autograd.grad(out, img, cotangent, create_graph=True)
    (second,) = torch.autograd.grad(grad.double().square().sum(), cotangent)
    return [out, grad, second]


@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize("steps", [(0.3, 0.5), (1.0, 2.7), (11.0, 0.8)])
def test_matches_the_torch_version(
    device: torch.device, steps: tuple[float, float], filter: str
) -> None:
    img = torch.randn(2, 3, 31, 22, generator=torch.Generator().manual_seed(0))
    origin = torch.tensor([[-4.3, 2.1], [5.5, -70.0]]).double()
    step = torch.tensor(steps).double()
    actual = derivatives(img.to(device), origin, step, filter, "cuda")
    expected = derivatives(img.double(), origin, step, filter, "ref")
    for a, wanted in zip(actual, expected):
        assert relative_error(a, wanted) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_in_channels_last(device: torch.device, dtype: torch.dtype) -> None:
    img = torch.randn(2, 3, 31, 22, generator=torch.Generator().manual_seed(0)).to(dtype)
    img = img.contiguous(memory_format=torch.channels_last)
    origin, step = torch.tensor([[-4.3, 2.1], [0.5, 3.0]]).double(), torch.tensor([0.7, 1.9])
    out, grad, _ = derivatives(img.to(device), origin, step, "area", "cuda")
    rng = torch.Generator().manual_seed(1)
    exact = img.double().requires_grad_()
    wanted = resample(exact, origin, step, (19, 37), impl="ref")
    cotangent = torch.randn(wanted.shape, generator=rng).to(dtype).double()
    (wanted_grad,) = torch.autograd.grad(wanted, exact, cotangent)
    assert out.dtype == grad.dtype == dtype
    assert relative_error(out, wanted) < LIMITS[dtype]
    assert relative_error(grad, wanted_grad) < LIMITS[dtype]


def test_tiny_empty_and_far_away(device: torch.device) -> None:
    one = torch.full((1, 2, 1, 1), 0.7, device=device, requires_grad=True)
    for x in (0.0, 1e12, -1e12):
        out = resample(one, torch.tensor([[x, -x]]), torch.tensor([3.0]), (5, 4), impl="cuda")
        torch.testing.assert_close(out, torch.full_like(out, 0.7))
        (grad,) = torch.autograd.grad(out.sum(), one)
        torch.testing.assert_close(grad, torch.full_like(grad, 20.0))
    none = torch.zeros(0, 3, 4, 4, device=device)
    assert resample(none, torch.zeros(0, 2), torch.zeros(0), (5, 4), impl="cuda").numel() == 0


def test_beyond_131072_elements_of_a_strided_image(device: torch.device) -> None:
    img = torch.randn(1, 40, 50, 6, generator=torch.Generator().manual_seed(2)).to(device)
    img = img.permute(0, 3, 2, 1)[:, :, :, ::2]
    assert not img.is_contiguous()
    origin, step = torch.tensor([[0.3, 0.7]]), torch.tensor([0.17])
    out = resample(img, origin, step, (150, 160), impl="cuda")
    assert out.numel() > 131_072
    expected = resample(img.cpu().double(), origin, step, (150, 160), impl="ref")
    assert relative_error(out, expected) < 1e-5


def test_the_order_of_threads_changes_nothing(host: HostLauncher) -> None:
    img = torch.randn(1, 2, 20, 21, generator=torch.Generator().manual_seed(3))
    runs = []
    for order in (0, 1, 2):
        host.order = order
        runs.append(
            derivatives(img, torch.tensor([[1.2, 0.4]]), torch.tensor([1.7]), "lanczos", "cuda")
        )
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other))
