"""`feature_grid` against a plain sum over corners, and its kernels against it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kernels import feature_grid
from tests.kernels.conftest import relative_error
from tests.kernels.host_build import HostLauncher

SHAPE = (9, 13)
"""Rows and columns of the grids here."""


def places(device: torch.device | str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Three lattices: inside, over the edges, and far outside; the first two overlap."""
    node_x = torch.stack([torch.linspace(a, b, 11).double() for a, b in ((2.2, 5.1), (-3, 15))])
    node_x = torch.cat([node_x, torch.linspace(1e10, 2e10, 11).double()[None]])
    node_y = torch.stack(
        [torch.linspace(a, b, 6).double() for a, b in ((1.3, 7.7), (2.0, 4.5), (-9, -8))]
    )
    return node_x.to(device), node_y.to(device)


def table(features: int, hashed: bool, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    shape = (32, features) if hashed else (*SHAPE, features)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


def by_definition(
    values: torch.Tensor, node_x: torch.Tensor, node_y: torch.Tensor, hashed: bool
) -> torch.Tensor:
    n, features = len(node_x), values.shape[-1]
    out = torch.zeros(n, node_y.shape[1], node_x.shape[1], features, dtype=torch.float64)
    flat = values.double().reshape(-1, features)
    for i in range(n):
        for a, y in enumerate(node_y[i].tolist()):
            for b, x in enumerate(node_x[i].tolist()):
                for dy in (0, 1):
                    for dx in (0, 1):
                        row = min(max(int(y // 1) + dy, 0), SHAPE[0] - 1)
                        column = min(max(int(x // 1) + dx, 0), SHAPE[1] - 1)
                        weight = abs(1 - dy - y % 1) * abs(1 - dx - x % 1)
                        entry = row * SHAPE[1] + column
                        if hashed:
                            entry = (column ^ row * 2654435761 & 0xFFFFFFFF) % len(flat)
                        out[i, a, b] += weight * flat[entry]
    return out


def options(hashed: bool) -> dict[str, Any]:
    return {"shape": SHAPE} if hashed else {}


@pytest.mark.parametrize("hashed", [False, True])
def test_the_torch_version_matches_its_definition(hashed: bool) -> None:
    node_x, node_y = places()
    # The torch version gathers whole rectangles: nothing as far out as the kernel is given.
    node_x[2] = torch.linspace(20, 30, 11)
    values = table(3, hashed).double().requires_grad_()
    out = feature_grid(values, node_x, node_y, weight=0.7, impl="ref", **options(hashed))
    expected = 0.7 * by_definition(values, node_x, node_y, hashed)
    assert relative_error(out, expected) < 1e-6
    # In float32 inside: gradcheck cannot be that exact, a second call of the same op can.
    cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    (grad,) = torch.autograd.grad(out, values, cotangent)
    (wanted,) = torch.autograd.grad(expected, values, cotangent.double())
    assert relative_error(grad, wanted) < 1e-6


@pytest.mark.parametrize(
    ("features", "hashed"), [(1, False), (2, True), (3, True), (4, False), (4, True)]
)
def test_the_kernels_match_the_definition(
    device: torch.device, features: int, hashed: bool
) -> None:
    node_x, node_y = places()
    leaf = table(features, hashed)
    exact = leaf.double().requires_grad_()
    expected = 0.7 * by_definition(exact, node_x, node_y, hashed)
    cotangent = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    (grad_expected,) = torch.autograd.grad(expected, exact, cotangent.double())
    for deterministic in (False, True):
        values = leaf.to(device, copy=True).requires_grad_()
        out = feature_grid(
            values,
            node_x,
            node_y,
            weight=0.7,
            deterministic=deterministic,
            impl="cuda",
            **options(hashed),
        )
        assert out.dtype == torch.float32
        assert relative_error(out, expected) < 1e-5
        on_device = cotangent.to(device, copy=True).requires_grad_()
        (grad,) = torch.autograd.grad(out, values, on_device, create_graph=True)
        assert relative_error(grad, grad_expected) < 1e-5
        (second,) = torch.autograd.grad(grad, on_device, values.detach())
        assert relative_error(second, expected) < 1e-5  # linear: its derivative is the op itself


@pytest.mark.parametrize(
    ("dtype", "features", "limit"), [(torch.float16, 4, 2e-3), (torch.bfloat16, 1, 1.6e-2)]
)
def test_tables_of_half_precision(
    device: torch.device, dtype: torch.dtype, features: int, limit: float
) -> None:
    node_x, node_y = places()
    values = table(features, False, dtype)
    expected = by_definition(values, node_x, node_y, False)
    leaf = values.to(device).requires_grad_()
    out = feature_grid(leaf, node_x, node_y, impl="cuda")
    assert relative_error(out, expected) < 1e-5  # only the table is rounded
    out.sum().backward()
    assert leaf.grad is not None
    exact = values.detach().double().requires_grad_()
    by_definition(exact, node_x, node_y, False).sum().backward()
    assert exact.grad is not None
    assert relative_error(leaf.grad, exact.grad) < limit


@pytest.mark.parametrize("impl", ["ref", "cuda"])
def test_a_periodic_grid_goes_on_as_if_laid_side_by_side(device: torch.device, impl: str) -> None:
    """Across every edge, many periods off, and on the nodes themselves."""
    node_x = torch.stack([torch.linspace(a, b, 11).double() for a, b in ((2.2, 15), (-31, 4))])
    node_y = torch.stack([torch.linspace(a, b, 6).double() for a, b in ((-9, 9), (20.5, 33))])
    leaf = table(4, False)
    values = leaf.to(device, copy=True).requires_grad_()
    out = feature_grid(values, node_x, node_y, periodic=True, weight=0.7, impl=impl)
    # The same from copies beside each other, read in the middle.
    exact = leaf.double().requires_grad_()
    copies = exact.repeat(11, 11, 1)
    shifted = (node_x + 5 * SHAPE[1], node_y + 5 * SHAPE[0])
    expected = feature_grid(copies, *shifted, weight=0.7, impl="ref")
    assert relative_error(out, expected) < 1e-5
    fixed = feature_grid(values.detach(), node_x, node_y, periodic=True, weight=0.7, impl=impl)
    assert relative_error(fixed, expected) < 1e-5
    cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    (grad,) = torch.autograd.grad(out, values, cotangent.to(device))
    (wanted,) = torch.autograd.grad(expected, exact, cotangent)
    assert relative_error(grad, wanted) < 1e-5
    far = node_x + SHAPE[1] * 2.0**30  # more than an int holds
    again = feature_grid(values, far, node_y, periodic=True, weight=0.7, impl=impl)
    assert relative_error(again, expected) < 1e-4  # float64 knows the place to 2**-19 node


def test_beyond_131072_elements(device: torch.device) -> None:
    node_x = torch.linspace(-1, 13, 300).double()[None]
    node_y = torch.linspace(-1, 9, 120).double()[None]
    values = table(4, False).to(device).requires_grad_()
    out = feature_grid(values, node_x, node_y, deterministic=False, impl="cuda")
    assert out.numel() > 131_072
    assert relative_error(out, feature_grid(table(4, False), node_x, node_y, impl="ref")) < 1e-5
    out.sum().backward()
    assert values.grad is not None
    torch.testing.assert_close(
        float(values.grad.double().sum()), float(out.numel()), rtol=1e-5, atol=0
    )


def test_no_lattice_and_no_pixel(device: torch.device) -> None:
    values = table(2, False).to(device).requires_grad_()
    for n, height, width in ((0, 3, 4), (2, 0, 4)):
        x, y = torch.zeros(n, width).double(), torch.zeros(n, height).double()
        for impl in ("ref", "cuda"):
            assert feature_grid(values, x, y, impl=impl).shape == (n, height, width, 2)
        feature_grid(values, x, y, impl="cuda").sum().backward()
        assert values.grad is not None
        assert not values.grad.any()


def test_deterministic_sums_do_not_depend_on_the_order_of_threads(host: HostLauncher) -> None:
    node_x, node_y = places()
    grads: dict[bool, list[torch.Tensor]] = {False: [], True: []}
    for order in (0, 1, 2):
        host.order = order
        for deterministic, found in grads.items():
            values = table(3, True).requires_grad_()
            out = feature_grid(
                values, node_x, node_y, shape=SHAPE, deterministic=deterministic, impl="cuda"
            )
            cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(3)) * 1e3
            found += torch.autograd.grad(out, values, cotangent)
    assert all(torch.equal(grads[True][0], g) for g in grads[True])
    # The control: as the threads come, the last bits do depend on it.
    assert not all(torch.equal(grads[False][0], g) for g in grads[False])


def test_follows_torchs_deterministic_mode(host: HostLauncher) -> None:
    node_x, node_y = places()
    values = table(3, False).requires_grad_()
    torch.use_deterministic_algorithms(True)
    try:
        feature_grid(values, node_x, node_y, impl="cuda").sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    names = {kernel.name for kernel in host.launched}
    assert "feature_grid_gather" in names
    assert "feature_grid_scatter" not in names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"table": torch.zeros(4, 4)}, "table must be"),
        ({"table": torch.zeros(5, 2), "shape": (3, 3)}, "must have 2"),
        ({"table": torch.zeros(4, 2), "shape": (0, 3)}, "shape must be"),
        ({"table": torch.zeros(4, 2), "shape": (2, 3), "periodic": True}, "cannot be periodic"),
        ({"node_x": torch.zeros(1, 3)}, "must be float64"),
        ({"node_y": torch.zeros(2, 3).double()}, "must be float64"),
    ],
)
def test_what_does_not_fit_is_said(change: dict[str, Any], message: str) -> None:
    args: dict[str, Any] = {
        "table": torch.zeros(2, 2, 2),
        "node_x": torch.zeros(1, 3).double(),
        "node_y": torch.zeros(1, 3).double(),
    }
    with pytest.raises(ValueError, match=message):
        feature_grid(**(args | change))
