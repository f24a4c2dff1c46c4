"""Where the field lies, told by the coarsest patches alone, before all others have a place.

A run that begins with them learns in their frame: whatever is placed later is brought into it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.data.images import ImageError
from model.data.patches import PatchCollection
from model.placement.config import PLACED, Placement, PlacementConfig
from model.placement.place import PlacementState, Progress, begin_state, place_patches
from model.placement.places_csv import PlacedFile, unplaced, write_places

FRAME = "frame.csv"
"""The coarsest patches' places, inside a run's folder: columns as those of `places.csv`."""
COARSEST = 96
"""So many of the coarsest octave's patches say where the field lies."""
_LEAST = 64
"""Fewer say too little of where it ends."""
_LEAST_PLACED = 0.8
"""Share of them that must find a place."""
_LEAST_COVERAGE = 8.0
"""Times that they must cover the field: its edges lie between the outermost patches' own errors."""


@dataclass(frozen=True)
class Gauge:
    """From places as they were measured to the field: what no patch can tell by itself."""

    octaves: float
    """Added to levels."""
    shift_xy: tuple[float, float]
    """Added to centres after they were brought to the field's scale, field units."""
    field_size: tuple[float, float]
    """Width and height; the shorter is 1."""

    def levels(self, level: np.ndarray) -> np.ndarray:
        """Levels in the field. [N]."""
        return level + self.octaves

    def centers(self, center_xy: np.ndarray) -> np.ndarray:
        """Centres in field units. [N, 2]."""
        return center_xy * 2.0**-self.octaves + np.array(self.shift_xy)


def boxed(center_xy: np.ndarray, level: np.ndarray) -> Gauge:
    """The field is the box around placed patches: centres [N, 2] and levels [N], N >= 1."""
    half = 0.5 * 2.0 ** -level[:, None]
    low, high = (center_xy - half).min(0), (center_xy + half).max(0)
    unit = float((high - low).min())
    x, y = (-(low + high) / 2 / unit).tolist()
    width, height = ((high - low) / unit).tolist()
    return Gauge(math.log2(unit), (x, y), (width, height))


@dataclass(frozen=True)
class Frame:
    """The coarsest patches of a data set, and where they lie in the field."""

    rows: np.ndarray
    """Which patches of the collection. int64 [N]."""
    labels: np.ndarray
    """Their levels as labelled. float64 [N]."""
    level: np.ndarray
    """Their levels in the field, octaves. float64 [N]."""
    center_xy: np.ndarray
    """Their centres, field units. float64 [N, 2]."""

    @property
    def octaves(self) -> float:
        """By how much levels in the field exceed labels."""
        return float(np.median(self.level - self.labels))

    @property
    def field_size(self) -> tuple[float, float]:
        """Width and height; the shorter is 1."""
        return boxed(self.center_xy, self.level).field_size

    def gauge(self, rows: np.ndarray, center_xy: np.ndarray, level: np.ndarray) -> Gauge:
        """What brings places of any frame into this one.

        Args:
            rows: Which patches of the collection, some of the frame's among them. [N].
            center_xy, level: Where they were found. [N, 2] and [N].

        Raises:
            ValueError: None of the frame's patches is there.
        """
        _, mine, theirs = np.intersect1d(self.rows, rows, return_indices=True)
        if len(mine) == 0:
            raise ValueError(
                "none of the patches that this run began with has a place any more; start anew."
            )
        octaves = float(np.median(self.level[mine] - level[theirs]))
        x, y = np.median(self.center_xy[mine] - center_xy[theirs] * 2.0**-octaves, 0).tolist()
        return Gauge(octaves, (x, y), self.field_size)

    def begin(self, rows: np.ndarray, images: np.ndarray, labels: np.ndarray) -> PlacementState:
        """A placement in which the frame's patches have their place already.

        Args:
            rows: Which patches of the collection are to be placed. [N].
            images: Their pixels, uint8 [N, P, P, 3].
            labels: Their levels as labelled, octaves; NaN where unknown. [N].
        """
        state = begin_state(images, labels)
        _, mine, theirs = np.intersect1d(self.rows, rows, return_indices=True)
        # In the labels' scale: the others are sought at theirs.
        state.center_xy[theirs] = self.center_xy[mine] * 2.0**self.octaves
        state.level[theirs] = self.level[mine] - self.octaves
        state.confidence[theirs] = state.margin[theirs] = 1.0
        state.status[theirs] = 0
        return state


def place_coarsest(
    data: PatchCollection, size: int, progress: Progress, config: PlacementConfig | None = None
) -> list[PlacedFile] | None:
    """Place the coarsest patches of one scene by themselves.

    Args:
        data: Labelled patches.
        size: Pixels to compare.
        progress: See `Progress`.
        config: See there.

    Returns:
        Their places in the field; None where they are too few, are not all of one picture, or do
        not cover it well enough to tell where it ends.
    """
    labels = np.array([math.nan if p.level is None else p.level for p in data.patches], np.float64)
    order = np.argsort(labels, kind="stable")
    order = order[labels[order] < np.nanmin(labels) + 1][:COARSEST]
    try:
        images = data.images(order, size)
        result = place_patches(images, labels[order], config, progress)
    except (ImageError, ValueError):
        return None  # the doctor, or placing them all, says what is wrong
    placed = result.placed
    if placed.sum() < max(_LEAST, _LEAST_PLACED * len(order)):
        return None
    gauge = boxed(result.center_xy[placed], result.level[placed])
    centers, levels = gauge.centers(result.center_xy), gauge.levels(result.level)
    width, height = gauge.field_size
    if (4.0 ** -levels[placed]).sum() < _LEAST_COVERAGE * width * height:
        return None
    files = []
    for slot, row in enumerate(order.tolist()):
        patch, found = data.patches[row], result[slot]
        place = unplaced(patch.level, found.reason)
        if placed[slot]:
            x, y = centers[slot].tolist()
            level = float(levels[slot])
            place = Placement(PLACED, (x, y), level, found.confidence, found.margin)
        files.append(PlacedFile(patch.name, patch.scene, patch.level, place))
    return files


def write_frame(folder: Path, files: Sequence[PlacedFile]) -> None:
    """Keep what `place_coarsest` found with the run.

    Raises:
        OSError: It cannot be written.
    """
    write_places(folder / FRAME, files)


def read_frame(folder: Path, data: PatchCollection) -> Frame | None:
    """The frame that a run in `folder` on `data` has; None: all its patches decide.

    Raises:
        ValueError: The file is damaged, or of other data.
        OSError: It cannot be read.
    """
    if not (folder / FRAME).exists():
        return None
    found = data.with_labels(folder / FRAME).patches
    rows, labels, levels, centers = [], [], [], []
    for row, (patch, framed) in enumerate(zip(data.patches, found, strict=True)):
        if framed.center_xy is None or framed.level is None or patch.level is None:
            continue
        rows.append(row)
        labels.append(patch.level)
        levels.append(framed.level)
        centers.append(framed.center_xy)
    if not rows:
        raise ValueError(f"{folder / FRAME} places no patch of {data.path}; start a new run.")
    return Frame(np.array(rows), np.array(labels), np.array(levels), np.array(centers))
