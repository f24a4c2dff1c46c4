"""The kernel of `filtered_lrelu` and `upfirdn2d` against the torch versions, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kernels import _cuda, filtered_lrelu, upfirdn2d
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
    names = ("out", "grad_x", *(() if b is None else ("grad_b",)), "second")
    for name, a, e in zip(names, actual, expected, strict=True):
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
    whole = torch.randn(1, 24, 20, 18, generator=rng).to(device)
    whole = whole.contiguous(memory_format=torch.channels_last)
    b = torch.randn(24, generator=rng).to(device)
    case, taps = CASES["oversampled by two"]
    fu, fd = (None if f is None else f.to(device) for f in filters(*taps))
    together = filtered_lrelu(whole, fu, fd, b, impl="cuda", **case)
    for begin, end in ((0, 16), (1, 17), (3, 24), (0, 8)):
        part = whole[:, begin:end]
        assert part.stride(1) == 1
        alone = filtered_lrelu(part, fu, fd, b[begin:end], impl="cuda", **case)
        assert torch.equal(alone, together[:, begin:end])
    for begin, end in ((0, 16), (1, 17), (3, 24)):
        part = whole.half()[:, begin:end]
        alone = filtered_lrelu(part, fu, fd, b[begin:end].half(), impl="cuda", **case)
        assert relative_error(alone, together[:, begin:end]) < LIMITS[torch.float16]


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
    # What sees it, by filters without a sign; on a CPU the torch version carries it further.
    lit = x.isnan().float()
    seen = filtered_lrelu(lit, fu.abs(), fd.abs(), up=2, down=2, padding=9, impl="ref") > 0
    assert seen.any()
    assert (out.isnan() >= seen).all()
    # A tap of zero that aligns the filter may carry it one pixel further, and no more.
    reach = torch.nn.functional.max_pool2d(seen.float(), 3, 1, 1) > 0
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


MODEL: Case = {"up": 2, "down": 2, "padding": (1, 0, 1, 0), "gain": 1.0}
"""As the generator has it; 12 taps take 10 pixels away."""

TENSOR_CORES: dict[str, tuple[tuple[int, ...], Case, tuple[int, int]]] = {
    "less than a tile": ((2, 8, 13, 21), MODEL, (12, 12)),
    "a whole tile": ((1, 16, 42, 42), MODEL | {"gain": 1.3}, (12, 12)),
    "a pixel more": ((1, 8, 43, 43), MODEL | {"clamp": 0.3}, (12, 12)),
    "a clamp, wide borders": ((1, 24, 9, 40), MODEL | {"padding": 11, "clamp": 0.2}, (12, 12)),
    "four taps a phase": ((1, 16, 20, 45), MODEL | {"padding": (7, 4, 5, 9)}, (8, 8)),
    "filters apart": ((1, 8, 17, 33), MODEL | {"padding": (4, 3, 2, 7), "slope": 0.0}, (7, 15)),
    "cropped": ((1, 8, 30, 52), MODEL | {"padding": (-3, 2, 0, -6)}, (15, 4)),
}


@pytest.mark.parametrize("name", TENSOR_CORES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_tensor_cores_match_the_torch_version(
    device: torch.device, dtype: torch.dtype, name: str
) -> None:
    """Derivatives are those of the signs that the kernel saw: near zero its rounding decides.

    Each must be one that numbers of 16 bits cannot tell from the true one.
    """
    shape, case, taps = TENSOR_CORES[name]
    slope, clamp = case.get("slope", 0.2), case.get("clamp", float("inf"))
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(shape, generator=rng).to(device, dtype, memory_format=torch.channels_last)
    b = torch.randn(shape[1], generator=rng).to(device, dtype)
    fu, fd = (f.to(device) for f in filters(*taps) if f is not None)
    x.requires_grad_()
    b.requires_grad_()
    out = filtered_lrelu(x, fu, fd, b, impl="cuda", **case)
    cotangent = torch.randn(out.shape, generator=rng).to(out)
    cotangent = cotangent.contiguous(memory_format=torch.channels_last).requires_grad_()
    grads = torch.autograd.grad(out, (x, b), cotangent, create_graph=True)
    (second,) = torch.autograd.grad(grads[0].float().square().sum(), cotangent)

    assert out.grad_fn is not None
    (signs,) = (t.cpu() for t in out.grad_fn.saved_tensors if t.dtype == torch.uint8)
    x, b, cotangent = (t.detach().cpu().double().requires_grad_() for t in (x, b, cotangent))
    fu, fd = fu.cpu().double(), fd.cpu().double()
    raised = upfirdn2d(x + b.view(1, -1, 1, 1), fu, up=2, padding=case["padding"])
    raised = raised * 4 * case["gain"]
    codes = torch.stack([signs >> 2 * k & 3 for k in range(4)], 3).flatten(2, 3)
    codes = codes[:, :, : raised.shape[2]]
    activated = torch.where(codes == 1, raised * slope, raised)
    activated = torch.where(codes == 2, raised.detach().sign() * clamp, activated)
    expected = upfirdn2d(activated, fd, down=2)
    expected_grads = torch.autograd.grad(expected, (x, b), cotangent, create_graph=True)
    (expected_second,) = torch.autograd.grad(expected_grads[0].square().sum(), cotangent)

    limit = LIMITS[dtype]
    assert relative_error(out, expected) < limit
    for actual, exact in zip(grads, expected_grads):
        assert relative_error(actual, exact) < limit
    assert relative_error(second, expected_second) < 2 * limit  # rounded once more on the way
    excess = torch.where(raised > 0, raised, raised * slope).abs() - clamp
    true_codes = torch.where(excess > 0, 2, (raised <= 0).long())
    unsure = torch.minimum(raised.abs(), excess.abs()) < limit * raised.abs().max()
    read_h, read_w = (2 * size - 2 + taps[1] for size in expected.shape[2:])
    assert ((codes == true_codes) | unsure)[:, :, :read_h, :read_w].all()


def test_tensor_cores_do_what_they_can_and_no_more(host: HostLauncher) -> None:
    x = torch.randn(1, 16, 24, 26, generator=torch.Generator().manual_seed(13)).half()
    last = x.contiguous(memory_format=torch.channels_last)
    for img, options, taps, expected in (
        (last, {}, (12, 12), True),
        (last.bfloat16(), {"slope": 0.0}, (8, 8), True),
        (last[:, 8:], {"clamp": 0.5}, (12, 15), True),
        (x, {}, (12, 12), False),
        (last.float(), {}, (12, 12), False),
        (last[:, 1:9], {}, (12, 12), False),
        (last[:, :11], {}, (12, 12), False),
        (last, {}, ((5, 6), (3, 4)), False),
    ):
        host.launched.clear()
        results(img, None, "cuda", MODEL | {"padding": 11} | options, *filters(*taps))
        assert (host.launched[0].source == "filtered_lrelu_mma") == expected
        if expected:  # signs written, signs read
            assert {kernel.source for kernel in host.launched} == {"filtered_lrelu_mma"}
            assert len({kernel.name for kernel in host.launched}) == 2


def test_capability_7_5_has_no_such_tensor_cores(
    host: HostLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_cuda, "is_ampere", lambda device: False)
    x = torch.zeros(1, 8, 24, 26).half().contiguous(memory_format=torch.channels_last)
    results(x, None, "cuda", MODEL, *filters(12, 12))
    assert {kernel.source for kernel in host.launched} == {"filtered_lrelu"}


def test_without_an_activation_tensor_cores_go_one_way(device: torch.device) -> None:
    """The transpose reads beyond the raised map, which is left to the other kernel."""
    x = torch.randn(1, 8, 19, 37, generator=torch.Generator().manual_seed(14)).to(device).half()
    x = x.contiguous(memory_format=torch.channels_last)
    compare(x, None, MODEL | {"slope": 1.0}, (12, 12), 2 * LIMITS[x.dtype])


def test_both_kernels_share_one_form_of_signs(device: torch.device) -> None:
    """A gradient in planes is taken by the one, one in channels_last by the other."""
    rng = torch.Generator().manual_seed(15)
    x = torch.randn(1, 16, 43, 22, generator=rng).to(device).half()
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    fu, fd = (f.to(device) for f in filters(12, 12) if f is not None)
    out = filtered_lrelu(x, fu, fd, impl="cuda", **MODEL, clamp=0.2)
    planes = torch.randn(out.shape, generator=rng).to(out)
    last = planes.contiguous(memory_format=torch.channels_last)
    grads = [torch.autograd.grad(out, x, g, retain_graph=True)[0] for g in (planes, last)]
    assert relative_error(*grads) < LIMITS[torch.float16]


def test_a_zero_has_the_slope_of_what_lies_below(device: torch.device) -> None:
    fu, fd = (f.to(device) for f in filters(12, 12) if f is not None)
    for dtype in (torch.float16, torch.bfloat16):
        x = torch.zeros(1, 8, 12, 13, dtype=dtype, device=device)
        x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
        out = filtered_lrelu(x, fu, fd, impl="cuda", **MODEL)
        cotangent = torch.ones_like(out)
        (grad,) = torch.autograd.grad(out, x, cotangent)
        flat = filtered_lrelu(x, fu, fd, impl="ref", **(MODEL | {"slope": 1.0}))
        (full,) = torch.autograd.grad(flat, x, cotangent)
        assert not out.any()
        assert relative_error(grad, 0.2 * full) < 2 * LIMITS[dtype]


def test_the_order_of_warps_changes_nothing(host: HostLauncher) -> None:
    rng = torch.Generator().manual_seed(16)
    x = torch.randn(1, 24, 24, 21, generator=rng).half()
    x = x.contiguous(memory_format=torch.channels_last)
    runs = []
    for host.order in (0, 1, 2):
        runs.append(results(x, None, "cuda", MODEL | {"clamp": 0.3}, *filters(12, 12)))
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other))
    assert {kernel.source for kernel in host.launched} == {"filtered_lrelu_mma"}
    assert not any(t.isnan().any() for t in runs[0])
