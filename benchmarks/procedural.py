"""A large picture of another kind than a painting, that anyone can make: bare rock from above.

    python -m benchmarks.procedural --out rock.png --side 8192

Ridges on ridges, from the whole picture down to single pixels, coloured by layers of rock and lit
from one side. Equal seeds give equal pixels on one version of numpy and OpenCV, and the coarse
shapes of a seed are the same at every side.

Source: ridged multifractals after Musgrave, in Ebert et al., "Texturing and Modeling", chapter 16.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

COARSEST = 3
"""Cells of the coarsest noise along a side."""
ROUGHNESS = 0.85
"""Each octave's height is 2**-ROUGHNESS of the one before."""
_WARP = 0.07  # of a side, how far shapes are drawn out of the noise's grid
_LAYERS = 1024  # colours from the lowest to the highest rock
_LIGHT = (-0.62, -0.48, 0.62)
_FINEST_PX = 2  # a cell of the finest noise
_STRIP_PX = 512
_ROCK = ((58, 46, 44), (121, 84, 66), (176, 132, 96), (206, 180, 146), (142, 146, 150))

Progress = Callable[[float], None]


def rock(side: int, seed: int = 0, progress: Progress | None = None) -> np.ndarray:
    """The picture: uint8 [side, side, 3].

    Args:
        side: Pixels, 64 or more; takes about 30 bytes of memory a pixel.
        seed: Of everything.
        progress: Called with the fraction that is done.

    Raises:
        ValueError: `side` is too small.
    """
    if side < 64:
        raise ValueError(f"--side must be 64 pixels or more, got {side}.")
    height = _heights(side, seed, progress)
    layers = _layers(np.random.default_rng([seed, 1]))
    low, high = float(height.min()), float(height.max())
    slope = 1.3 / _typical_slope(height)
    out = np.empty((side, side, 3), np.uint8)
    for y in range(0, side, _STRIP_PX):
        rows = slice(max(0, y - 1), min(side, y + _STRIP_PX + 1))
        part = height[rows]
        down, across = np.gradient(part)
        inner = slice(y - rows.start, y - rows.start + min(_STRIP_PX, side - y))
        shade = _shade(across[inner] * slope, down[inner] * slope)
        index = (part[inner] - low) / (high - low) * (_LAYERS - 1)
        color = layers[index.astype(np.int32)] * shade[..., None]
        out[y : y + _STRIP_PX] = np.clip(np.rint(color), 0, 255)
        if progress is not None:
            progress(0.8 + 0.2 * min(1.0, (y + _STRIP_PX) / side))
    return out


def _noise(rng: np.random.Generator, cells: int, side: int) -> np.ndarray:
    """Smooth noise of about unit variance with `cells` along a side: float32 [side, side]."""
    grid = rng.standard_normal((cells, cells), np.float32)
    return cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC) * np.float32(1.4)


def _heights(side: int, seed: int, progress: Progress | None) -> np.ndarray:
    """Ridges on ridges: float32 [side, side]."""
    octaves = max(1, round(np.log2(side / _FINEST_PX / COARSEST)) + 1)
    rng = np.random.default_rng([seed, 0])
    sway = [_noise(rng, 2 * COARSEST, side) for _ in range(2)]
    place = np.arange(side, dtype=np.float32)
    map_x = place[None] + np.float32(_WARP * side / 2) * sway[0]
    map_y = place[:, None] + np.float32(_WARP * side / 2) * sway[1]
    del sway
    height = np.zeros((side, side), np.float32)
    weight = np.ones_like(height)
    for octave in range(octaves):
        cells = min(COARSEST << octave, side)
        ridge = 1 - np.abs(_noise(rng, cells, side))
        if cells * 8 < side:  # interpolating the finest octaves again would blur them
            ridge = cv2.remap(ridge, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        ridge *= weight
        height += ridge * np.float32(2.0 ** (-ROUGHNESS * octave))
        # Where the coarser shapes are high and steep the finer ones are strong: many fractals.
        weight = np.clip(0.35 + 0.9 * ridge, 0.15, 1.4)
        if progress is not None:
            progress(0.8 * (octave + 1) / octaves)
    return height


def _typical_slope(height: np.ndarray) -> float:
    """Mean absolute difference of neighbours."""
    step = max(1, len(height) // 512)
    part = height[::step]
    return float(np.abs(np.diff(part, axis=1)).mean())


def _layers(rng: np.random.Generator) -> np.ndarray:
    """Colours of the layers of rock, thick ones of thin ones: float32 [_LAYERS, 3]."""
    at = np.zeros(_LAYERS)
    for octave in range(2, 9):
        knots = rng.standard_normal((1 << octave) + 1)
        at += np.interp(np.linspace(0, len(knots) - 1, _LAYERS), np.arange(len(knots)), knots) * (
            2.0 ** (-0.6 * octave)
        )
    at = (np.argsort(np.argsort(at)) / (_LAYERS - 1)) * (len(_ROCK) - 1)
    palette = np.array(_ROCK, np.float64)
    channels = [np.interp(at, np.arange(len(_ROCK)), palette[:, c]) for c in range(3)]
    return np.stack(channels, 1).astype(np.float32)


def _shade(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Light from one side on a surface with these slopes, and some from the sky."""
    x, y, z = _LIGHT
    lit = (z - x * across - y * down) / np.sqrt(1 + across**2 + down**2)
    return np.float32(0.35) + np.float32(0.95) * np.clip(lit, 0, None)


def main(words: Sequence[str] | None = None) -> int:
    """Make the picture: 0, or 1 with one line on stderr."""
    from explorer.progress import ProgressLine

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.procedural",
        description="Make a large picture of bare rock, with detail in every octave.",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="F.png")
    parser.add_argument("--side", type=int, default=8192, metavar="PIXELS", help="default: 8192")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(words)
    part = options.out.with_name(f".{options.out.name}.part")
    line = ProgressLine(f"making {options.out.name}")
    try:
        if options.out.suffix.lower() != ".png":
            raise ValueError(f"--out must end in .png, got {options.out.name}.")
        picture = rock(options.side, options.seed, line)
        line.close()
        Image.fromarray(picture).save(part, "PNG", compress_level=3)
        os.replace(part, options.out)
    except (ValueError, OSError) as error:
        print(f"procedural: {error}", file=sys.stderr)
        return 1
    finally:
        line.close()
        part.unlink(missing_ok=True)
    print(f"{options.out}: {options.side} x {options.side} pixels")
    return 0


if __name__ == "__main__":
    sys.exit(main())
