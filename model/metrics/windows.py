"""Which windows are measured: real ones of an octave, and those that a scale space renders."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from model.latent import Seed
from model.scale import PHASE_STEPS, density
from model.space import ScaleSpace, Window

if TYPE_CHECKING:
    from model.data.patches import PatchCollection

BATCH_PIXELS = 64 * 64 * 64
"""Pixels that are rendered at once."""
BIN = 0.5
"""A patch belongs to a level if its own lies within this many octaves of it."""
_ALIGNMENT = 16  # windows that agree modulo this many pixels go through a generator together
_GROUP = 16
_LATENTS, _OF_A_LATENT = 64, 8
"""How many are looked at, and windows that are rendered together."""
_LEVEL_STEPS = 32  # levels of single patches are rounded to 1/32 octave, so that batches exist

Tick = Callable[[float], None]


@dataclass(frozen=True)
class RealDraw:
    """Real windows, in an order that says nothing: each half of a draw is a draw."""

    img: torch.Tensor
    """float32 [N, 3, P, P] in [-1, 1]."""
    windows: tuple[Window, ...] | None
    """Where they lie in the field, N of them; None where that is not known."""
    levels: tuple[float, ...]
    """Their own levels, N of them, octaves."""

    def __len__(self) -> int:
        return len(self.img)


class RealWindows(Protocol):
    """Real data as the metrics see it."""

    @property
    def identity(self) -> str:
        """Names the data."""
        ...

    @property
    def patch_size(self) -> int:
        """Pixels."""
        ...

    @property
    def level_range(self) -> tuple[float, float]:
        """Lowest and highest level that has windows, octaves."""
        ...

    @property
    def scene(self) -> ScaleSpace | None:
        """The truth at every place and level; None where places are not known."""
        ...

    def draw(self, level: float, count: int, rng: np.random.Generator) -> RealDraw:
        """At most `count` windows of `level`, none twice; fewer where there are not as many."""
        ...


class SceneWindows:
    """Windows of a scale space that is the truth: an `ImagePyramid`. Exactly at the level."""

    def __init__(self, scene: ScaleSpace) -> None:
        self.scene: ScaleSpace | None = scene
        self.identity, self.patch_size = scene.identity, scene.patch_size
        self.level_range = scene.level_range
        self._scene = scene

    def draw(self, level: float, count: int, rng: np.random.Generator) -> RealDraw:
        """See `RealWindows.draw`; places are uniform inside the field."""
        windows = random_windows(self._scene, level, count, rng)
        return RealDraw(render_all(self._scene, windows), tuple(windows), (level,) * count)


class CollectionWindows:
    """Patches with a level and no place. A draw takes what lies within `BIN` of its level.

    Args:
        collection: Patches; those without a level are never drawn.
        patch_size: Pixels to which every patch is brought.
        identity: Names the data.

    Raises:
        ValueError: No patch has a level.
    """

    scene: ScaleSpace | None = None

    def __init__(
        self, collection: PatchCollection, patch_size: int, identity: str = "patches"
    ) -> None:
        self._collection, self.patch_size, self.identity = collection, patch_size, identity
        found = [(i, p.level) for i, p in enumerate(collection.patches) if p.level is not None]
        if not found:
            raise ValueError(
                f"{identity} must hold patches with a level to be compared with, got none; "
                "add labels (dataset.json, a CSV or one folder per octave)."
            )
        self._index = np.array([i for i, _ in found])
        self._levels = np.array([level for _, level in found], np.float64)
        self.level_range = float(self._levels.min()) - BIN, float(self._levels.max()) + BIN

    def draw(self, level: float, count: int, rng: np.random.Generator) -> RealDraw:
        """See `RealWindows.draw`."""
        near = np.flatnonzero(np.abs(self._levels - level) <= BIN)
        chosen = rng.permutation(near)[:count]
        size = self.patch_size
        img = torch.zeros(0, 3, size, size)
        if len(chosen):
            pixels = self._collection.images(self._index[chosen].tolist(), size)
            img = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
        return RealDraw(img.contiguous(), None, tuple(self._levels[chosen].tolist()))


def random_windows(
    space: ScaleSpace,
    level: float,
    count: int,
    rng: np.random.Generator,
    size: int | None = None,
    inset: float = 0.0,
) -> list[Window]:
    """Square windows, uniform over the places inside the field.

    Groups of 16 agree modulo 16 pixels, so that a generator can render them together; each place
    alone is uniform all the same. Not where so few places agree that a group would be the same few
    windows again and again: there each is drawn for itself. A window that is larger than the field
    is centred on it.

    Args:
        space: Whose field it is.
        level: Octaves.
        count: Windows.
        rng: Places come from it.
        size: Pixels a side; None takes a patch.
        inset: Field units that stay free at every edge.
    """
    side = space.patch_size if size is None else size
    d = density(level, space.patch_size)
    ends = [((-v / 2 + inset) * d, (v / 2 - inset) * d - side) for v in space.field_size]
    cells = [max(1, int((high - low) // _ALIGNMENT)) for low, high in ends]
    group = _GROUP if math.prod(cells) >= _GROUP else 1
    axes = [_positions(low, high, count, rng, group) / d for low, high in ends]
    return [Window((float(x), float(y)), level, side, side) for x, y in zip(*axes, strict=True)]


def _positions(
    low: float, high: float, count: int, rng: np.random.Generator, group: int
) -> np.ndarray:
    """`count` numbers, each uniform in [low, high] in steps of a lattice, in aligned groups."""
    if high <= low:
        return np.full(count, (low + high) / 2)
    first, last = math.ceil(low * PHASE_STEPS), math.floor(high * PHASE_STEPS)
    cell = _ALIGNMENT * PHASE_STEPS
    out = np.empty(count)
    for begin in range(0, count, group):
        phase = int(rng.integers(first, last + 1)) % cell
        n = min(group, count - begin)
        cells = rng.integers(-(-(first - phase) // cell), (last - phase) // cell + 1, n)
        out[begin : begin + n] = (cells * cell + phase) / PHASE_STEPS
    return out


def windows_like(
    space: ScaleSpace, levels: Sequence[float], rng: np.random.Generator
) -> list[Window]:
    """One window of a patch for each of `levels` (rounded to 1/32 octave), anywhere."""
    rounded = np.round(np.asarray(levels) * _LEVEL_STEPS) / _LEVEL_STEPS
    out: list[Window | None] = [None] * len(rounded)
    for level in np.unique(rounded):
        index = np.flatnonzero(rounded == level)
        for i, window in zip(index, random_windows(space, float(level), len(index), rng)):
            out[i] = window
    return [window for window in out if window is not None]


def of_many_latents(windows: Sequence[Window]) -> list[Window]:
    """The same windows, each of one of `_LATENTS` latents; a few of a level share one."""
    out = list(windows)
    order = sorted(range(len(out)), key=lambda i: out[i].level)
    for place, i in enumerate(order):
        out[i] = replace(out[i], seed=place // _OF_A_LATENT % _LATENTS)
    return out


def render_all(
    space: ScaleSpace,
    windows: Sequence[Window],
    tick: Tick | None = None,
    at_once: int | None = None,
) -> torch.Tensor:
    """Render any number of windows of one size, in their order: float32 [N, 3, H, W], cut to
    [-1, 1] as the screen does, on the CPU. `tick` hears the fraction that is done, after every
    `at_once` windows: fewer let somebody else have the cores sooner, None is quickest."""
    if not windows:
        return torch.zeros(0, 3, space.patch_size, space.patch_size)
    groups: dict[tuple[float, Seed], list[int]] = {}
    for i, window in enumerate(windows):
        groups.setdefault((window.level, window.seed), []).append(i)
    out = torch.empty(len(windows), 3, windows[0].height, windows[0].width)
    batch = at_once or max(1, BATCH_PIXELS // (windows[0].height * windows[0].width))
    done = 0
    with torch.inference_mode():
        for group in groups.values():
            for begin in range(0, len(group), batch):
                part = group[begin : begin + batch]
                img = space.render([windows[i] for i in part])
                out[part] = img.float().cpu().clamp_(-1, 1)
                done += len(part)
                if tick is not None:
                    tick(done / len(windows))
    return out
