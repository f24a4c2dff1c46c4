"""Points of w: what seeds, blends of them and the mean of all are behind the mapping network."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch

from model.latent import Latent
from model.layers import Mapping

_MEAN_OF = 1024
_MEAN_SEED = 0x5CA1E
_KEPT_MEANS = 64


def draw_z(seed: int, z_dim: int) -> torch.Tensor:
    """The latent that a number names: float32 [1, z_dim], the same on every machine."""
    z = np.random.default_rng(seed).standard_normal((1, z_dim)).astype(np.float32)
    return torch.from_numpy(z)


class Styles:
    """Styles of blends. From any thread.

    The mapping knows the level, so a blend is one of styles of the same level, and so is the mean:
    that of 1024 latents which are always the same, so that it need not be stored.
    """

    def __init__(self, mapping: Mapping, device: torch.device) -> None:
        """Use `mapping`, whose weights do not change any more, on `device`."""
        self._mapping, self._device = mapping, device
        self._many: torch.Tensor | None = None
        self._means: OrderedDict[float, torch.Tensor] = OrderedDict()

    @torch.inference_mode()
    def of(self, level: float, latent: Latent) -> torch.Tensor:
        """The style [1, style_dim] of a blend at a level (octaves)."""
        z = torch.cat([draw_z(seed, self._mapping.z_dim) for seed, _ in latent.parts])
        weights = torch.tensor([weight for _, weight in latent.parts], device=self._device)
        w = weights[None] @ self._mapping(level, z.to(self._device))
        if latent.psi == 1:
            return w
        mean = self.mean(level)
        return mean + latent.psi * (w - mean)

    @torch.inference_mode()
    def mean(self, level: float) -> torch.Tensor:
        """The mean style [1, style_dim] at a level (octaves)."""
        mean = self._means.get(level)
        if mean is None:
            if self._many is None:
                z = np.random.default_rng(_MEAN_SEED).standard_normal(
                    (_MEAN_OF, self._mapping.z_dim), np.float32
                )
                self._many = torch.from_numpy(z).to(self._device)
            mean = self._mapping(level, self._many).mean(0, keepdim=True)
            self._means[level] = mean
            while len(self._means) > _KEPT_MEANS:
                self._means.popitem(last=False)
        return mean
