"""The kernels of `resample` against the torch version, in float64."""

from __future__ import annotations

import pytest
import torch

from kernels import resample
from kernels.resample import FILTERS, _taps_cuda, axis_taps
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
@pytest.mark.parametrize("steps", [(0.3, 1.0), (1.3, 2.0), (1.9, 7.7)])
def test_taps_are_those_of_the_torch_version(
    device: torch.device, steps: tuple[float, float], filter: str
) -> None:
    """The same pixels; weights to the last bits of float32, whose sum is 1."""
    origin = torch.tensor([[-4.3, 2.1], [1.0, 1e6 + 1 / 3]]).double()
    step = torch.tensor(steps).double()
    size, (height, width) = (5, 70), (2_000_000, 31)
    img = torch.empty(2, 1, 1, 1, device=device).expand(-1, -1, height, width)
    expected = []
    for axis, length in ((0, size[1]), (1, size[0])):
        centers = origin[:, axis, None] + (torch.arange(length).double() + 0.5) * step[:, None]
        expected.append(axis_taps(centers, step[:, None], filter))
    num_taps = expected[0][1].shape[-1]
    placement = torch.cat([origin, step[:, None]], 1).flatten().tolist()
    words = _taps_cuda(img, placement, size, filter, num_taps).cpu()
    positions = 2 * sum(size)
    first, weights = words[:positions], words[positions:].view(torch.float32).view(num_taps, -1)
    for (wanted, weight), begin, length in zip(expected, (0, 2 * size[1]), (width, height)):
        part = slice(begin, begin + wanted.numel())
        assert torch.equal(first[part], wanted.flatten().clamp(-num_taps, length).int())
        actual = weights[:, part].T
        torch.testing.assert_close(actual, weight.flatten(0, 1).float(), atol=1e-7, rtol=0)
    torch.testing.assert_close(weights.sum(0), torch.ones(positions), atol=1e-6, rtol=0)


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


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_any_number_of_channels(device: torch.device, channels: int) -> None:
    img = torch.randn(2, channels, 17, 40, generator=torch.Generator().manual_seed(4))
    origin, step = torch.tensor([[0.3, 0.7], [-2.0, 1.0]]), torch.tensor([0.9, 1.2])
    actual = derivatives(img.to(device), origin, step, "area", "cuda")
    expected = derivatives(img.double(), origin, step, "area", "ref")
    for a, wanted in zip(actual, expected):
        assert relative_error(a, wanted) < 1e-5


@pytest.mark.parametrize("filter", ["area", "mixed"])
@pytest.mark.parametrize("step", [0.4, 1.4, 9.0])
def test_bytes_where_they_lie_in_a_picture(device: torch.device, step: float, filter: str) -> None:
    rng = torch.Generator().manual_seed(5)
    picture = torch.randint(256, (60, 80, 3), generator=rng, dtype=torch.uint8)
    origin, steps = torch.tensor([[-4.3, 2.1], [5.5, -7.0]]).double(), torch.full((2,), step)

    def at(picture: torch.Tensor, impl: str) -> torch.Tensor:
        img = picture[3:, 1:].permute(2, 0, 1).expand(2, -1, -1, -1)
        return resample(img, origin, steps, (19, 37), filter=filter, impl=impl)

    out = at(picture.to(device), "cuda")
    assert out.dtype == torch.float32
    assert relative_error(out, at(picture.double(), "ref")) < 1e-5
    none = picture.to(device).permute(2, 0, 1)[None, :, :, :][:0]
    assert resample(none, origin[:0], steps[:0], (4, 5), impl="cuda").dtype == torch.float32


def test_places_may_lie_with_the_image(device: torch.device) -> None:
    img = torch.randn(1, 3, 20, 20, generator=torch.Generator().manual_seed(6)).to(device)
    origin, step = torch.tensor([[1.2, 0.4]]), torch.tensor([1.7])
    here = resample(img, origin, step, (8, 9), impl="cuda")
    assert torch.equal(here, resample(img, origin.to(device), step.to(device), (8, 9), impl="cuda"))


def test_a_call_is_two_launches_with_a_gradient_or_without(host: HostLauncher) -> None:
    img = torch.randn(1, 3, 20, 20)
    outs = []
    for leaf in (img, img.clone().requires_grad_()):
        host.launched.clear()
        outs.append(resample(leaf, torch.zeros(1, 2), torch.ones(1), (8, 9), impl="cuda"))
        names = [kernel.name for kernel in host.launched]
        assert names == ["resample_taps", "resample_forward<float, float, 3>"]
    assert torch.equal(*outs)
    assert outs[1].requires_grad and not outs[0].requires_grad


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
