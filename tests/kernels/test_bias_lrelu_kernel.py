"""The kernels of `bias_lrelu` against the torch version, in float64."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
import torch

from kernels import bias_lrelu
from tests.kernels.conftest import LIMITS, relative_error
from tests.kernels.host_build import HostLauncher

DTYPES = (torch.float32, torch.float16, torch.bfloat16)

LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "planes": lambda x: x,
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "planes cut out": lambda x: torch.nn.functional.pad(x, (1, 2, 1, 0))[:, :, 1:, 1:-2],
    "channels_last cut out": lambda x: torch.nn.functional.pad(x, (1, 2, 1, 0)).contiguous(
        memory_format=torch.channels_last
    )[:, :, 1:, 1:-2],
    "turned": lambda x: x.mT.contiguous().mT,
    "off the 16 bytes": lambda x: torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape),
}


def noise(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Away from 0, where a rounded sum may have the other sign than an exact one."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return (x.sign() * (x.abs() + 0.1)).half().bfloat16().float()


def derivatives(
    x: torch.Tensor, b: torch.Tensor | None, impl: str, gain: float = 1.5
) -> list[torch.Tensor]:
    """Output, gradients, and gradients of a penalty on these as R1 has it."""
    x = x.detach().requires_grad_()
    leaves = [x] if b is None else [x, b.detach().requires_grad_()]
    out = bias_lrelu(x, *leaves[1:], slope=0.25, gain=gain, impl=impl)
    weight = noise(tuple(out.shape), 1).to(out).requires_grad_()
    grads = torch.autograd.grad(out, leaves, weight, create_graph=True)
    penalty = sum(g.to(torch.promote_types(g.dtype, torch.float32)).square().mean() for g in grads)
    second = torch.autograd.grad(penalty, weight)  # type: ignore[arg-type]
    return [out, *grads, *second]


def check(x: torch.Tensor, b: torch.Tensor | None, device: torch.device) -> list[torch.Tensor]:
    """Parity, and the results of the kernel."""
    actual = derivatives(x.to(device), None if b is None else b.to(device), "cuda")
    expected = derivatives(x.double(), None if b is None else b.double(), "ref")
    for i, (a, wanted) in enumerate(zip(actual, expected, strict=True)):
        limit = LIMITS[x.dtype]
        if b is not None and i >= 2:  # through the bias's gradient, which has the bias's dtype
            limit = max(limit, LIMITS.get(b.dtype, 0.0))
        assert a.dtype == (b.dtype if b is not None and i == 2 else x.dtype)
        assert relative_error(a, wanted) < limit
    return actual


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(2, 16, 7, 9), (2, 5, 6, 8)])
def test_matches_the_torch_version(
    device: torch.device, shape: tuple[int, ...], layout: str, dtype: torch.dtype
) -> None:
    x = LAYOUTS[layout](noise(shape).to(dtype))
    b = torch.where(noise(shape[1:2], 2) > 0, 0.05, -0.05)  # no sum comes near 0
    out = check(x, b, device)[0]
    if "channels_last" in layout:
        assert out.is_contiguous(memory_format=torch.channels_last)
    else:
        assert out.is_contiguous()
    check(x, None, device)


@pytest.mark.parametrize("bias_dtype", [*DTYPES, torch.float64])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_bias_has_a_dtype_of_its_own(
    device: torch.device, dtype: torch.dtype, bias_dtype: torch.dtype
) -> None:
    b = torch.tensor([0.0625, -0.0625, 0.03125], dtype=bias_dtype)
    check(noise((2, 3, 4, 5)).to(dtype), b, device)


@pytest.mark.parametrize(
    "shape",
    [
        (1, 1, 1, 1),
        (3, 1, 5, 7),
        (4, 8, 1, 1),
        (5, 24),
        (2, 3, 11),
        (1, 2, 2, 3, 4),
        (1, 2100, 2, 1),
        (2, 1200, 3, 1),
        (1, 2, 70, 64),
    ],
)
def test_any_shape(device: torch.device, shape: tuple[int, ...]) -> None:
    b = noise(shape[1:2], 2) * 0.01
    check(noise(shape), b, device)
    if len(shape) == 4:
        check(noise(shape).contiguous(memory_format=torch.channels_last), b, device)


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 3, 0, 4), (2, 0, 3, 4)])
def test_nothing_gives_nothing(device: torch.device, shape: tuple[int, ...]) -> None:
    x = torch.zeros(shape, device=device, requires_grad=True)
    b = torch.zeros(shape[1], device=device, requires_grad=True)
    out = bias_lrelu(x, b, impl="cuda")
    grad_x, grad_b = torch.autograd.grad(out.sum(), (x, b))
    assert out.shape == grad_x.shape == x.shape
    assert torch.equal(grad_b, torch.zeros_like(b))


@pytest.mark.parametrize("last", [False, True])
def test_beyond_131072_elements(device: torch.device, last: bool) -> None:
    x = noise((2, 24, 53, 56))
    assert x.numel() > 131_072
    check(LAYOUTS["channels_last"](x) if last else x, noise((24,), 2) * 0.01, device)


@pytest.mark.parametrize("last", [False, True])
def test_more_than_the_blocks_have_threads(
    device: torch.device, last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread takes several vectors, and the partial sums have several rows."""
    monkeypatch.setattr(sys.modules["kernels.bias_lrelu"], "_PARTS", 3)
    x = noise((1, 3, 90, 110))
    check(LAYOUTS["channels_last"](x) if last else x, noise((3,), 2) * 0.01, device)


@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_has_the_slope_below_and_nan_stays(device: torch.device, dtype: torch.dtype) -> None:
    tiny = torch.finfo(dtype).smallest_normal
    x = torch.tensor([[0.0, -0.0, -tiny, 1.0, -1.0, torch.nan, torch.inf, -torch.inf]])
    x = x.to(device, dtype).T.contiguous().requires_grad_()
    out = bias_lrelu(x, impl="cuda")
    assert out[:5, 0].tolist()[3] == 1.0 and bool(out[5].isnan())
    assert out[6] == torch.inf and out[7] == -torch.inf
    (grad,) = torch.autograd.grad(out, x, torch.ones_like(out))
    slope = torch.tensor(0.2).to(dtype).item()
    wanted = [slope, slope, slope, 1.0, slope, slope, 1.0, slope]
    assert grad[:, 0].tolist() == wanted


def test_only_what_wants_a_gradient_gets_one(host: HostLauncher) -> None:
    x, b = noise((2, 4, 5, 5)), noise((4,), 1)
    with torch.no_grad():
        assert bias_lrelu(x.requires_grad_(), b, impl="cuda").grad_fn is None
    out = bias_lrelu(x, b, impl="cuda")
    host.launched.clear()
    torch.autograd.grad(out.sum(), x)
    assert [k.name for k in host.launched] == ["bias_lrelu<float, 1, false, true>"]
    x, b = x.detach(), b.requires_grad_()
    out = bias_lrelu(x, b, impl="cuda")
    (grad,) = torch.autograd.grad(out.sum(), b)
    assert relative_error(grad, torch.where(out > 0, 1.0, 0.2).sum((0, 2, 3))) < 1e-6


def test_autocast_leaves_the_dtype_alone(host: HostLauncher) -> None:
    x, b = noise((2, 4, 5, 5)), noise((4,), 1)
    for given in (x, x.bfloat16()):
        plain = bias_lrelu(given, b, impl="cuda")
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(bias_lrelu(given, b, impl="cuda"), plain)
            assert bias_lrelu(given, b, impl="ref").dtype == given.dtype


@pytest.mark.parametrize("last", [False, True])
def test_the_order_of_threads_changes_nothing(host: HostLauncher, last: bool) -> None:
    x, b = noise((2, 24, 20, 8)), noise((24,), 1)
    x = LAYOUTS["channels_last"](x) if last else x
    runs = []
    for order in (0, 1, 2):
        host.order = order
        runs.append(derivatives(x, b, "cuda"))
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other))
