"""Loss terms against cases whose value is known."""

from __future__ import annotations

import math

import pytest
import torch

from model.config import DiscriminatorConfig, LossConfig
from model.discriminator import Discriminator
from model.losses import (
    charbonnier,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    reconstruction,
)


def test_charbonnier_is_zero_at_zero_and_linear_far_away() -> None:
    assert charbonnier(torch.zeros(3)) == 0
    assert charbonnier(torch.tensor([-5.0, 5.0])).item() == pytest.approx(5.0 - 0.02, abs=1e-4)


@pytest.mark.parametrize("kind", ["relativistic", "logistic"])
def test_adversarial_losses_know_their_side(kind: str) -> None:
    high, low = torch.full((4, 1), 2.0), torch.full((4, 1), -2.0)
    assert discriminator_loss(high, low, kind) < discriminator_loss(low, high, kind)
    assert generator_loss(low, high, kind) < generator_loss(high, low, kind)
    undecided = torch.zeros(4, 1)
    expected = math.log(2) * (1 if kind == "relativistic" else 2)
    assert discriminator_loss(undecided, undecided, kind).item() == pytest.approx(expected)
    assert generator_loss(undecided, undecided, kind).item() == pytest.approx(math.log(2))


def test_the_gradient_penalty_is_exact() -> None:
    """D(x) = sum(a * x): the squared norm of its gradient is that of `a`, at every x."""
    a = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)

    def linear(img: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        return (img * a).sum((1, 2, 3))[:, None]

    penalty = gradient_penalty(linear, torch.randn(5, 3, 8, 8), torch.zeros(5))
    torch.testing.assert_close(penalty, a.square().sum())
    (grad,) = torch.autograd.grad(penalty, a)
    torch.testing.assert_close(grad, 2 * a.detach())


def test_the_gradient_penalty_trains_the_discriminator() -> None:
    D = Discriminator(DiscriminatorConfig(widths=(8, 8)), 16, (0.0, 4.0))
    img = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    gradient_penalty(D, img, torch.tensor([1.0, 3.0])).backward()
    # A shift before a piecewise linear function does not change its slope.
    weights = [p for n, p in D.named_parameters() if "conv" in n and n.endswith("weight")]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in weights)


def test_the_discriminator_is_told_the_level() -> None:
    D = Discriminator(DiscriminatorConfig(widths=(8, 8)), 16, (0.0, 4.0))
    img = torch.randn(1, 3, 16, 16).expand(3, -1, -1, -1)
    logits = D(img, torch.tensor([0.0, 2.0, 4.0])).detach()
    assert len({round(float(v), 5) for v in logits[:, 0]}) == 3


def test_detail_is_seen_as_strong_as_the_config_says() -> None:
    weak = 0.01 * torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    plain, strong = (
        Discriminator(DiscriminatorConfig(widths=(8, 8), detail_gain=gain), 16, (0.0, 4.0))
        for gain in (1.0, 8.0)
    )
    assert torch.equal(plain.view(weak), weak)
    assert float(strong.view(weak).std() / weak.std()) > 6


def test_reconstruction_compares_pixels_where_they_can_be_remembered() -> None:
    config = LossConfig(full_until=5.0, full_none_from=7.0, remembered_level=5.5)
    real = torch.zeros(1, 3, 16, 16)
    stripes = torch.zeros(1, 3, 16, 16)
    stripes[..., ::2], stripes[..., 1::2] = 0.5, -0.5
    shifted = real + 0.5
    assert reconstruction(stripes, real, 4.0, config) > 0.4
    assert reconstruction(stripes, real, 8.0, config) == 0  # invented detail is free there
    assert reconstruction(shifted, real, 8.0, config) > 0.4  # what it lies upon is not
    between = reconstruction(stripes, real, 6.0, config)
    assert 0 < between < reconstruction(stripes, real, 4.0, config)


def test_a_loss_configuration_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="relativistic"):
        LossConfig(adversarial="hinge")
    with pytest.raises(ValueError, match="full_none_from must lie above"):
        LossConfig(full_until=8.0)
