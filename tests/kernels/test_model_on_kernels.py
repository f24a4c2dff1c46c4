"""The generator with every op on its kernel against the generator on the torch versions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernels import _cuda
from model.base_layer import BaseLayer
from model.config import BaseConfig
from model.scale import density
from model.space import Window
from tests.kernels.conftest import relative_error
from tests.kernels.host_build import HostLauncher
from tests.model.small import CONFIG, small_generator


def windows() -> list[Window]:
    """Two of one alignment."""
    d = density(3.0, CONFIG.patch_size)
    return [Window((4 * k / d, 8 / d), 3.0, 21, 26) for k in (-9, 3)]


def base_layer() -> BaseLayer:
    """A picture of noise, 90 pixels a field unit."""

    class Noise:
        field_size, patch_size = CONFIG.field_size, CONFIG.patch_size

        def render(self, windows: list[Window]) -> torch.Tensor:
            height, width = windows[0].height, windows[0].width
            noise = np.random.RandomState(0).uniform(-1, 1, (1, 3, height, width))
            return torch.from_numpy(noise).float()

    return BaseLayer.of(Noise(), 90.0, 1 << 20)  # type: ignore[arg-type]


def render_and_learn(generator: torch.nn.Module) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    generator.zero_grad(set_to_none=True)
    out = generator(windows())
    cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(0))
    out.backward(cotangent)
    return out.detach(), {
        name: p.grad for name, p in generator.named_parameters() if p.grad is not None
    }


@pytest.mark.parametrize(("remembers", "op"), [("grids", "feature_grid"), ("base", "resample")])
def test_renders_and_learns_as_on_the_torch_versions(
    host_launcher: HostLauncher, remembers: str, op: str
) -> None:
    changes = {"nonlinearity_oversampling": 2, "filter_taps": 6}
    generator = small_generator(**changes)
    if remembers == "base":
        generator = small_generator(**changes, memory=None, base=BaseConfig())
        generator.base = base_layer()
    expected, expected_grads = render_and_learn(generator)
    host_launcher.launched.clear()
    with _cuda.launching_with(host_launcher):
        out, grads = render_and_learn(generator)
    launched = {kernel.source for kernel in host_launcher.launched}
    assert {"filtered_lrelu", op} <= launched
    assert relative_error(out, expected) < 1e-5
    assert grads.keys() == expected_grads.keys()
    for name, grad in grads.items():
        assert relative_error(grad, expected_grads[name]) < 1e-5, name
