"""The generator with every op on its kernel against the generator on the torch versions."""

from __future__ import annotations

import torch

from kernels import _cuda
from model.scale import density
from model.space import Window
from tests.kernels.conftest import relative_error
from tests.kernels.host_build import HostLauncher
from tests.model.small import CONFIG, small_generator


def windows() -> list[Window]:
    """Two of one alignment, of a level where the picture has something new for every stage."""
    d = density(2.0, CONFIG.patch_size)
    return [Window((4 * k / d, 8 / d), 2.0, 21, 26) for k in (-9, 3)]


def render_and_learn(generator: torch.nn.Module) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    generator.zero_grad(set_to_none=True)
    out = generator(windows())
    cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(0))
    out.backward(cotangent)
    return out.detach(), {
        name: p.grad for name, p in generator.named_parameters() if p.grad is not None
    }


def test_renders_and_learns_as_on_the_torch_versions(host_launcher: HostLauncher) -> None:
    generator = small_generator(nonlinearity_oversampling=2, filter_taps=6)
    expected, expected_grads = render_and_learn(generator)
    host_launcher.launched.clear()
    with _cuda.launching_with(host_launcher):
        out, grads = render_and_learn(generator)
    launched = {kernel.source for kernel in host_launcher.launched}
    assert {"filtered_lrelu", "resample", "feature_grid"} <= launched
    assert relative_error(out, expected) < 1e-5
    assert grads.keys() == expected_grads.keys()
    for name, grad in grads.items():
        assert relative_error(grad, expected_grads[name]) < 1e-5, name
