"""Patches of many scenes, for the generative mode: one latent is one scene at all its levels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from model.space import ScaleSpace, Window
from model.training_data import PatchData, Reals, Truth

Z_DIM = 64
"""Components of the latent where a preset for one scene names none."""
SCENE_FEATURES = 8
"""Of which so many at most say which noise a scene hears; see `GeneratorConfig.scene_features`."""
_NEAR = 0.25


class ScenesData:
    """Patches with a level and a scene, and no place. The discriminator sees all scenes alike.

    Args:
        images: uint8 [N, P, P, 3].
        levels: Octaves. [N].
        scenes: Name of the scene of each patch. [N].

    Raises:
        ValueError: There is only one scene.
    """

    is_registered = False
    picture: ScaleSpace | None = None
    field_size = (1.0, 1.0)

    def __init__(self, images: np.ndarray, levels: np.ndarray, scenes: Sequence[str]) -> None:
        names = np.array(scenes)
        self.names = tuple(sorted(set(scenes)))
        """Of the scenes."""
        if len(self.names) < 2:
            raise ValueError(f"many scenes means at least two, got {len(self.names)}.")
        self._scenes = [PatchData(images[names == n], levels[names == n]) for n in self.names]

    @property
    def level_range(self) -> tuple[float, float]:
        ranges = [scene.level_range for scene in self._scenes]
        return min(low for low, _ in ranges), max(high for _, high in ranges)

    def truth(self, windows: Sequence[Window]) -> Truth:
        """Nobody knows it: ValueError."""
        raise ValueError("patches of many scenes have no truth; ask for `reals`.")

    def reals(self, level: float, count: int, rng: np.random.Generator) -> Reals:
        """Patches of about `level`; each is of any scene that has some there, with equal odds."""
        having = [s for s in self._scenes if _reaches(s, level)] or self._scenes
        chosen = rng.integers(len(having), size=count)
        parts = [
            having[index].reals(level, number, rng)
            for index, number in zip(*np.unique(chosen, return_counts=True))
        ]
        # Mixed: the fakes that they are paired with share a batch, and perhaps a latent.
        order = torch.from_numpy(rng.permutation(count))
        images = torch.cat([part.images for part in parts])
        return Reals(images[order], torch.cat([part.levels for part in parts])[order])

    def level_near(self, level: float) -> float:
        """That of the patch of any scene whose own is nearest."""
        return min((s.level_near(level) for s in self._scenes), key=lambda v: abs(v - level))


def _reaches(scene: PatchData, level: float) -> bool:
    low, high = scene.level_range
    return low - _NEAR <= level <= high + _NEAR
