"""Pictures for tests that cut patches: with something to see at every octave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def save_octaves(path: Path, size: tuple[int, int], octaves: range, gain: float = 22.0) -> None:
    """Write a picture of `size` (width, height): noise of 2**octave cells a side, added up."""
    rng = np.random.default_rng(0)
    picture = np.zeros((size[1], size[0], 3))
    for octave in octaves:
        cells = rng.uniform(-1, 1, (2**octave, 2**octave, 3)).astype(np.float32)
        layers = [
            np.asarray(Image.fromarray(cells[..., c]).resize(size, Image.Resampling.BICUBIC))
            for c in range(3)
        ]
        picture += np.stack(layers, 2) * gain
    Image.fromarray(np.clip(picture + 128, 0, 255).astype(np.uint8)).save(path)
