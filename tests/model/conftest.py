"""Pictures that several subjects train on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.pyramid import ImagePyramid


@pytest.fixture
def pyramid(tmp_path: Path) -> ImagePyramid:
    """A picture with detail at every octave, 640 x 512."""
    rng = np.random.default_rng(0)
    picture = np.zeros((512, 640, 3))
    for octave in range(8):
        cells = rng.uniform(-1, 1, (2 + 2**octave, 2 + 2**octave, 3)).astype(np.float32)
        layers = [
            np.asarray(Image.fromarray(cells[..., c]).resize((640, 512), Image.Resampling.BICUBIC))
            for c in range(3)
        ]
        picture += np.stack(layers, 2) * 24
    path = tmp_path / "picture.png"
    Image.fromarray(np.clip(picture + 128, 0, 255).astype(np.uint8)).save(path)
    opened = ImagePyramid.open(path, patch_size=32, cache_dir=tmp_path / "cache")
    yield opened
    opened.close()
