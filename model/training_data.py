"""What the trainer learns from: a registered picture, patches without a place, or both.

The loss terms follow from what the data knows: where the truth of a window is known there is a
reconstruction; everywhere the discriminator compares with real patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from model.pyramid import ImagePyramid
from model.scale import Lattice, density
from model.space import ScaleSpace, Window

_NEAREST = 16
"""Patches to choose from, where there are so many."""
_REACH, _LEAST_REACH = 0.25, 1 / 16
"""How far their levels may be from the one asked for, octaves; and at an end of the range."""


@dataclass(frozen=True)
class Truth:
    """What the picture really shows in some windows."""

    images: torch.Tensor
    """float32 [N, 3, H, W] in [-1, 1]."""
    known: torch.Tensor | None
    """Where it is known at this level, float32 [N, 1, H, W] of 0 and 1; None: everywhere."""


@dataclass(frozen=True)
class Reals:
    """Real patches for the discriminator."""

    images: torch.Tensor
    """float32 [N, 3, P, P] in [-1, 1]."""
    levels: torch.Tensor
    """Octaves. float32 [N]."""


class TrainingData(Protocol):
    """One data set, for the trainer."""

    @property
    def field_size(self) -> tuple[float, float]:
        """Width and height, field units; the shorter is 1."""
        ...

    @property
    def level_range(self) -> tuple[float, float]:
        """Levels of which there is data, octaves."""
        ...

    @property
    def is_registered(self) -> bool:
        """The truth of any window is known, so that `truth` may be asked."""
        ...

    def truth(self, windows: Sequence[Window]) -> Truth:
        """The picture in `windows` of one level and size. Registered data only."""
        ...

    def reals(self, level: float, count: int, rng: np.random.Generator) -> Reals | None:
        """`count` real patches of about `level`; None: the truth of the same windows serves."""
        ...

    def level_near(self, level: float) -> float:
        """The level next to `level` of which there are windows: where patches have only some
        levels, whole ones for example, a discriminator would tell real ones by theirs."""
        ...


class RunData(TrainingData, Protocol):
    """A data set that a run can also show."""

    @property
    def picture(self) -> ScaleSpace | None:
        """The truth as a scale space, where it is known."""
        ...


class PictureData:
    """One large image, of which every window is known."""

    is_registered = True

    def __init__(self, pyramid: ImagePyramid) -> None:
        self.pyramid = pyramid

    @property
    def field_size(self) -> tuple[float, float]:
        return self.pyramid.field_size

    @property
    def level_range(self) -> tuple[float, float]:
        return self.pyramid.level_range

    @property
    def picture(self) -> ScaleSpace | None:
        return self.pyramid

    def truth(self, windows: Sequence[Window]) -> Truth:
        """See `TrainingData.truth`."""
        origins = np.array([w.origin_xy for w in windows], np.float64)
        levels = np.array([w.level for w in windows], np.float64)
        return Truth(self.pyramid.sample(origins, levels, windows[0].width), None)

    def reals(self, level: float, count: int, rng: np.random.Generator) -> Reals | None:
        """None: windows of the picture itself."""
        return None

    def level_near(self, level: float) -> float:
        """Every level is there."""
        return level


class PatchData:
    """Patches with a level and no place.

    Args:
        images: uint8 [N, P, P, 3].
        levels: Octaves. [N].
        field_size: Of the scene, where it is not square.

    Raises:
        ValueError: There is no patch, or the shapes disagree.
    """

    is_registered = False
    picture: ScaleSpace | None = None

    def __init__(
        self,
        images: np.ndarray,
        levels: np.ndarray,
        field_size: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        if images.ndim != 4 or len(images) != len(levels) or not len(images):
            raise ValueError(
                "training needs patches uint8 [N, P, P, 3] and as many levels, got "
                f"{list(images.shape)} and {len(levels)} levels."
            )
        order = np.argsort(levels, kind="stable")
        self._images, self._levels = images, np.asarray(levels, np.float64)[order]
        self._order = order
        self._field_size = field_size

    @property
    def field_size(self) -> tuple[float, float]:
        return self._field_size

    @property
    def level_range(self) -> tuple[float, float]:
        return float(self._levels[0]), float(self._levels[-1])

    def truth(self, windows: Sequence[Window]) -> Truth:
        """Nobody knows it: ValueError."""
        raise ValueError("patches without a place have no truth; ask for `reals`.")

    def reals(self, level: float, count: int, rng: np.random.Generator) -> Reals:
        """Patches within a quarter octave of `level`, or the nearest ones where these are few.

        On average of that level: near an end of the range as far on one side as on the other.
        """
        coarsest, finest = self.level_range
        reach = min(_REACH, max(_LEAST_REACH, min(level - coarsest, finest - level)))
        first, near, last = np.searchsorted(self._levels, [level - reach, level, level + reach])
        if last - first < _NEAREST:
            first = min(first, max(0, near - _NEAREST // 2))
            last = max(last, min(len(self._levels), near + _NEAREST // 2))
        chosen = rng.integers(first, last, count)
        pixels = torch.from_numpy(self._images[self._order[chosen]])
        images = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
        return Reals(images, torch.from_numpy(self._levels[chosen]).float())

    def level_near(self, level: float) -> float:
        """That of the patch whose own is nearest."""
        after = int(np.searchsorted(self._levels, level))
        beside = self._levels[max(after - 1, 0) : after + 1]
        return float(beside[np.abs(beside - level).argmin()])


class PlacedData:
    """Patches that found their place: the picture that they make, and the patches themselves.

    Args:
        pyramid: The picture, composed of the patches.
        detail: Level of the finest patch at each place of the field, octaves. float32 [H, W].
        patches: The same patches, for the discriminator, and those that found no place.
        field_size: Of the scene, where the picture's whole pixels do not say it exactly.
        level_range: Of the scene, where these are only the first of its patches.
    """

    is_registered = True
    REACH = 0.5
    """A patch speaks for levels up to so many octaves finer than its own."""

    def __init__(
        self,
        pyramid: ImagePyramid,
        detail: np.ndarray,
        patches: PatchData,
        field_size: tuple[float, float] | None = None,
        level_range: tuple[float, float] | None = None,
    ) -> None:
        self.pyramid, self.detail, self.patches = pyramid, detail, patches
        self._field_size = field_size or pyramid.field_size
        self._level_range = level_range or patches.level_range

    @property
    def field_size(self) -> tuple[float, float]:
        return self._field_size

    @property
    def level_range(self) -> tuple[float, float]:
        return self._level_range

    @property
    def picture(self) -> ScaleSpace | None:
        return self.pyramid

    def truth(self, windows: Sequence[Window]) -> Truth:
        """See `TrainingData.truth`; known where a patch of about the windows' level lies."""
        images = PictureData(self.pyramid).truth(windows).images
        known = np.stack([self._known(w) for w in windows])
        return Truth(images, torch.from_numpy(known)[:, None])

    def reals(self, level: float, count: int, rng: np.random.Generator) -> Reals | None:
        """Patches as they are: the composed picture is softer. None where none is of the level."""
        near = self.patches.level_near(level)
        if abs(near - level) > _REACH:
            return None
        reals = self.patches.reals(near, count, rng)
        if len(reals.levels.unique()) > 1:
            return reals
        return Reals(reals.images, torch.full_like(reals.levels, level))  # see `level_near`

    def level_near(self, level: float) -> float:
        """The composed picture has every level."""
        return level

    def _known(self, window: Window) -> np.ndarray:
        """float32 [H, W] of 0 and 1."""
        rows, columns = self.detail.shape
        d = density(window.level, self.pyramid.patch_size)
        cells = []
        for axis, (size, count) in enumerate(((window.width, columns), (window.height, rows))):
            lattice = Lattice.at(window.origin_xy[axis], d)
            centers = (lattice.first + lattice.phase + np.arange(size) + 0.5) / d
            share = centers / self.field_size[axis] + 0.5
            cells.append(np.clip((share * count).astype(np.int64), 0, count - 1))
        finest = self.detail[cells[1][:, None], cells[0]]
        return (finest >= window.level - self.REACH).astype(np.float32)
