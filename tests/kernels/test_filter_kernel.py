"""The kernel of `filtered_lrelu` and `upfirdn2d` against the torch versions, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kernels import filtered_lrelu, upfirdn2d
from tests.kernels.conftest import LIMITS, relative_error
from tests.kernels.host_build import HostLauncher

Case = dict[str, Any]


def filters(*taps: tuple[int, ...] | int | None) -> list[torch.Tensor | None]:
    rng = torch.Generator().manual_seed(5)
    shapes = ((t,) if isinstance(t, int) else t for t in taps)
    return [None if t is None else torch.randn(t, generator=rng) / sum(t) for t in shapes]


CASES: dict[str, tuple[Case, tuple[Any, Any]]] = {
    "oversampled by two": ({"up": 2, "down": 2, "padding": (1, 0, 1, 0)}, (12, 12)),
    "gain and clamp": ({"up": 2, "down": 2, "padding": 9, "gain": 1.3, "clamp": 0.4}, (12, 12)),
    "odd factors": ({"up": 3, "down": 2, "padding": (4, 3, 2, 5)}, (5, 4)),
    "cropped": ({"padding": (-1, 2, 0, -2), "slope": 0.0}, (3, None)),
    "upsampled by four": ({"up": 4, "padding": (9, 6, 8, 7), "clamp": 1.0}, (7, 6)),
    "more dropped than filtered": ({"up": 2, "down": 4, "padding": 5}, (3, None)),
    "raised without a filter": ({"up": 2, "padding": 3, "clamp": 0.6}, (None, 12)),
    "radial": ({"up": 2, "down": 2, "padding": 6, "clamp": 0.5}, ((5, 6), (4, 3))),
    "separable up, radial down": ({"up": 2, "down": 2, "padding": 5}, (6, (5, 5))),
    "radial with odd factors": ({"up": 3, "down": 2, "padding": (4, 5, 3, 6)}, ((5, 4), (3, 4))),
}


def results(
    x: torch.Tensor, b: torch.Tensor | None, impl: str, case: Case, fu: Any, fd: Any
) -> list[torch.Tensor]:
    """Output, gradients, and gradients of the squared gradient (R1's second derivative)."""
    x = x.detach().requires_grad_()
    leaves = [x]
    if b is not None:
        b = b.detach().requires_grad_()
        leaves.append(b)
    out = filtered_lrelu(x, fu, fd, b, impl=impl, **case)
    rng = torch.Generator().manual_seed(6)
    cotangent = torch.empty_like(out).copy_(torch.randn(out.shape, generator=rng))
    cotangent = cotangent.detach().requires_grad_()  # laid out as the output is
    grads = torch.autograd.grad(out, leaves, cotangent, create_graph=True)
    penalty = sum(
        g.float().square().sum() if g.dtype != torch.float64 else g.square().sum() for g in grads
    )
    (second,) = torch.autograd.grad(penalty, cotangent)
    return [out, *grads, second]


def compare(
    x: torch.Tensor, b: torch.Tensor | None, case: Case, taps: tuple[Any, Any], limit: float
) -> None:
    fu, fd = filters(*taps)
    on_device = [f if f is None else f.to(x.device) for f in (fu, fd)]
    actual = results(x, b, "cuda", case, *on_device)
    exact = [f if f is None else f.double() for f in (fu, fd)]
    expected = results(
        x.detach().cpu().double(), None if b is None else b.cpu().double(), "ref", case, *exact
    )
    for name, a, e in zip(("out", "grad_x", "grad_b", "second"), actual, expected):
        assert relative_error(a, e) < limit, name


@pytest.mark.parametrize("name", CASES)
def test_matches_the_torch_version_in_values_and_derivatives(
    device: torch.device, name: str
) -> None:
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(2, 3, 19, 70, generator=rng).to(device)
    b = torch.randn(3, generator=rng).to(device)
    case, taps = CASES[name]
    compare(x, b, case, taps, LIMITS[x.dtype])


@pytest.mark.parametrize("dtype", LIMITS)
def test_takes_channels_last_in_every_dtype(device: torch.device, dtype: torch.dtype) -> None:
    rng = torch.Generator().manual_seed(2)
    x = torch.randn(2, 11, 13, 21, generator=rng).to(device, dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    b = torch.randn(11, generator=rng).to(device, dtype)
    case, taps = CASES["oversampled by two"]
    compare(x, b, case, taps, LIMITS[dtype])
    fu, fd = filters(*taps)
    out = filtered_lrelu(x, fu.to(device), fd.to(device), b, impl="cuda", **case)
    assert out.dtype == dtype
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_planes_of_half_precision(device: torch.device) -> None:
    x = torch.randn(1, 2, 40, 33, generator=torch.Generator().manual_seed(3)).to(device).half()
    for name in ("gain and clamp", "radial"):
        compare(x, None, *CASES[name], LIMITS[torch.float16])


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (6, 1), (16, 64), (17, 65)])
def test_takes_tiny_images_and_whole_tiles(device: torch.device, size: tuple[int, int]) -> None:
    x = torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(4)).to(device)
    case = {"up": 2, "down": 2, "padding": (11, 11, 11, 11)}
    compare(x, None, case, (12, 12), LIMITS[x.dtype])


def test_takes_any_strides(device: torch.device) -> None:
    x = torch.randn(3, 9, 22, 2, generator=torch.Generator().manual_seed(5)).to(device)
    for view in (x.permute(3, 0, 2, 1), x[::2, :, ::2, :1].expand(-1, -1, -1, 8)):
        assert not view.is_contiguous()
        compare(view, None, *CASES["odd factors"], LIMITS[x.dtype])


def test_channels_that_start_off_the_load_or_fill_no_group(device: torch.device) -> None:
    """channels_last memory of which no 16 bytes can be loaded at once, beside some that can."""
    rng = torch.Generator().manual_seed(12)
    whole = torch.randn(1, 24, 20, 18, generator=rng).half().to(device)
    whole = whole.contiguous(memory_format=torch.channels_last)
    b = torch.randn(24, generator=rng).half().to(device)
    case, taps = CASES["oversampled by two"]
    fu, fd = (None if f is None else f.to(device) for f in filters(*taps))
    together = filtered_lrelu(whole, fu, fd, b, impl="cuda", **case)
    for begin, end in ((0, 16), (1, 17), (3, 24), (0, 8)):
        part = whole[:, begin:end]
        assert part.stride(1) == 1
        alone = filtered_lrelu(part, fu, fd, b[begin:end], impl="cuda", **case)
        assert torch.equal(alone, together[:, begin:end])


def test_takes_no_images_and_no_channels(device: torch.device) -> None:
    fu, fd = (f.to(device) for f in filters(12, 12) if f is not None)
    for shape in ((0, 3, 8, 9), (2, 0, 8, 9)):
        x = torch.zeros(shape, device=device, requires_grad=True)
        out = filtered_lrelu(x, fu, fd, up=2, down=2, padding=9, impl="cuda")
        assert out.shape == (*shape[:2], 6, 7)
        out.sum().backward()
        assert x.grad is not None and x.grad.shape == shape


def test_beyond_131072_elements(device: torch.device) -> None:
    """More than 1024 threads times 128: a launch with grid and block swapped would fail here."""
    x = torch.randn(1, 16, 96, 97, generator=torch.Generator().manual_seed(7)).to(device)
    x = x.contiguous(memory_format=torch.channels_last)
    case, taps = CASES["oversampled by two"]
    fu, fd = filters(*taps)
    out = filtered_lrelu(x, fu.to(device), fd.to(device), impl="cuda", **case)
    expected = filtered_lrelu(x.cpu(), fu, fd, impl="ref", **case)
    assert x.numel() > 131_072
    assert relative_error(out, expected) < 1e-5


@pytest.mark.parametrize(
    ("up", "down", "taps", "pad"),
    [
        (2, 1, 12, (11, 12, 10, 9)),
        (1, 1, 4, (2, 1, 0, -1)),
        (3, 2, 4, 5),
        (1, 3, 4, (-2, 3, 1, 0)),
        (1, 1, (3, 4), 2),
        (2, 2, (3, 4), (3, 2, 1, 4)),
    ],
)
def test_upfirdn2d_matches_the_torch_version(
    device: torch.device, up: int, down: int, taps: Any, pad: Any
) -> None:
    (f,) = filters(taps)
    assert f is not None
    x = torch.randn(2, 3, 17, 35, generator=torch.Generator().manual_seed(8))

    def derivatives(x: torch.Tensor, f: torch.Tensor, impl: str) -> list[torch.Tensor]:
        x = x.detach().requires_grad_()
        out = upfirdn2d(x, f, up=up, down=down, padding=pad, gain=1.7, impl=impl)
        cotangent = torch.linspace(-1, 1, out.numel()).view(out.shape).to(x).requires_grad_()
        (grad,) = torch.autograd.grad(out, x, cotangent, create_graph=True)
        (second,) = torch.autograd.grad(grad.square().sum(), cotangent)
        return [out, grad, second]

    actual = derivatives(x.to(device), f.to(device), "cuda")
    expected = derivatives(x.double(), f.double(), "ref")
    for a, e in zip(actual, expected):
        assert relative_error(a, e) < 1e-5


def test_upsampling_of_half_precision_in_channels_last(device: torch.device) -> None:
    (f,) = filters(12)
    assert f is not None
    x = torch.randn(1, 24, 20, 18, generator=torch.Generator().manual_seed(9)).to(device).half()
    x = x.contiguous(memory_format=torch.channels_last)
    out = upfirdn2d(x, f.to(device), up=2, padding=6, gain=4.0, impl="cuda")
    expected = upfirdn2d(x.cpu().double(), f.double(), up=2, padding=6, gain=4.0, impl="ref")
    assert relative_error(out, expected) < 2e-3


def test_nan_stays_where_it_is(device: torch.device) -> None:
    """As torch's clamp and leaky ReLU have it: a NaN is never made to look like a number."""
    fu, fd = (f.to(device) for f in filters(12, 12) if f is not None)
    x = torch.zeros(1, 1, 40, 40, device=device)
    x[0, 0, 20, 20] = torch.nan
    out = filtered_lrelu(x, fu, fd, up=2, down=2, padding=9, clamp=1.0, impl="cuda")
    expected = filtered_lrelu(x, fu, fd, up=2, down=2, padding=9, clamp=1.0, impl="ref")
    assert expected.isnan().any()
    assert (out.isnan() >= expected.isnan()).all()
    # A tap of zero that aligns the filter may carry it one pixel further, and no more.
    reach = torch.nn.functional.max_pool2d(expected.isnan().float(), 3, 1, 1) > 0
    assert (out.isnan() <= reach).all()


def test_the_order_of_threads_changes_nothing(host: HostLauncher) -> None:
    """A missing barrier, or a read of shared memory before its write, would."""
    x = torch.randn(1, 9, 21, 37, generator=torch.Generator().manual_seed(10))
    last = x.contiguous(memory_format=torch.channels_last)
    for img, name in ((x, "oversampled by two"), (last, "oversampled by two"), (x, "radial")):
        case, taps = CASES[name]
        runs = []
        for order in (0, 1, 2, 3):
            host.order = order
            runs.append(results(img, None, "cuda", case, *filters(*taps)))
        for other in runs[1:]:
            assert all(torch.equal(a, b) for a, b in zip(runs[0], other))
        assert not any(t.isnan().any() for t in runs[0])


def test_says_what_is_wrong(host: HostLauncher) -> None:
    x, f = torch.zeros(1, 1, 4, 4), torch.ones(12)
    with pytest.raises(ValueError, match="leaves no pixel"):
        upfirdn2d(x, f, impl="cuda")
    with pytest.raises(ValueError, match="leaves no pixel"):
        filtered_lrelu(x, f, f, up=2, down=2, impl="cuda")
