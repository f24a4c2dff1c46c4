"""Pictures whose every answer is known: a random painting, and what can be done to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model.pyramid import ImagePyramid
from model.space import ScaleSpace, Window


def painting(seed: int, width: int = 640, height: int = 512) -> np.ndarray:
    """Noise of every fineness, as natural pictures have it: uint8 [H, W, 3]."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for octave in range(1, 8):
        block = 2 ** (8 - octave)
        cells = rng.standard_normal((-(-height // block), -(-width // block), 3))
        layer = np.kron(cells, np.ones((block, block, 1)))[:height, :width]
        total += layer * block**0.7
    total /= 3 * total.std()
    return np.clip(np.round(127.5 + 127.5 * total), 0, 255).astype(np.uint8)


class Changed:
    """A scale space with its windows moved, or its images changed."""

    def __init__(
        self,
        space: ScaleSpace,
        change: Callable[[torch.Tensor, Window], torch.Tensor] | None = None,
        shift: Callable[[Window], tuple[float, float]] = lambda window: (0.0, 0.0),
        identity: str = "changed",
    ) -> None:
        self.space, self.change, self.shift, self.identity = space, change, shift, identity
        self.patch_size, self.field_size = space.patch_size, space.field_size
        self.level_range = space.level_range

    def render(self, windows: Sequence[Window]) -> torch.Tensor:
        moved = []
        for w in windows:
            x, y = self.shift(w)
            origin = (w.origin_xy[0] + x, w.origin_xy[1] + y)
            moved.append(Window(origin, w.level, w.height, w.width, w.seed))
        img = self.space.render(moved)
        return img if self.change is None else self.change(img, windows[0])


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> ImagePyramid:
    """A painting with levels 0 to 4 at patches of 32 pixels."""
    return open_painting(tmp_path_factory.mktemp("scene"), 1)


@pytest.fixture(scope="session")
def other_scene(tmp_path_factory: pytest.TempPathFactory) -> ImagePyramid:
    """Another painting of the same size and kind."""
    return open_painting(tmp_path_factory.mktemp("other"), 2)


def open_painting(folder: Path, seed: int) -> ImagePyramid:
    Image.fromarray(painting(seed)).save(folder / "painting.png")
    return ImagePyramid.open(folder / "painting.png", patch_size=32, cache_dir=folder)


@pytest.fixture
def changed() -> type[Changed]:
    return Changed
