"""`bias_lrelu` against its formula, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from kernels import bias_lrelu
from kernels._backend import KernelUnavailable


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 4), (2, 3, 7), (1, 2, 2, 3, 2)])
def test_is_what_the_layers_did(shape: tuple[int, ...]) -> None:
    x, b = torch.randn(shape), torch.randn(shape[1])
    expected = F.leaky_relu(x + b.view(1, -1, *(1,) * (len(shape) - 2)), 0.2)
    assert torch.equal(bias_lrelu(x, b), expected)
    assert torch.equal(bias_lrelu(x), F.leaky_relu(x, 0.2))
    assert torch.equal(bias_lrelu(x, b, gain=1.5), expected * 1.5)
    half = bias_lrelu(x.bfloat16(), b)
    assert half.dtype == torch.bfloat16
    assert torch.equal(half, bias_lrelu(x.bfloat16(), b.bfloat16()))


def test_gradients() -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 4, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    b = torch.randn(3, generator=rng, dtype=torch.float64, requires_grad=True)

    def op(x: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return bias_lrelu(x, b, slope=0.3, gain=1.7)

    assert torch.autograd.gradcheck(op, (x, b))
    assert torch.autograd.gradgradcheck(lambda *args: op(*args).square(), (x, b))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(3)}, "x must be"),
        ({"x": torch.zeros(2, 3, dtype=torch.int32)}, "x must be"),
        ({"b": torch.zeros(2)}, "b must be"),
        ({"b": torch.zeros(3, 1)}, "b must be"),
        ({"b": torch.zeros(3, dtype=torch.int64)}, "b must be"),
        ({"b": torch.zeros(3, device="meta")}, "b must be"),
        ({"slope": 0.0}, "slope of bias_lrelu must be"),
        ({"gain": -1.0}, "gain of bias_lrelu must be"),
        ({"gain": float("nan")}, "gain of bias_lrelu must be"),
        ({"impl": "numpy"}, "impl of bias_lrelu"),
    ],
)
def test_what_does_not_fit_is_said(change: dict[str, Any], message: str) -> None:
    args: dict[str, Any] = {"x": torch.zeros(2, 3, 4, 5), "b": torch.zeros(3)}
    with pytest.raises(ValueError, match=message):
        bias_lrelu(**(args | change))


def test_the_cuda_kernel_is_refused_with_a_reason() -> None:
    with pytest.raises(KernelUnavailable, match="bias_lrelu"):
        bias_lrelu(torch.zeros(1, 1), impl="cuda")
