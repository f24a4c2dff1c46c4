"""What placement is told and what it answers: plain values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PlacementConfig:
    """How patches are placed."""

    level_error: float = 0.25
    """Octaves by which a label may be wrong."""
    candidates: int = 16
    """Places that are looked at more closely, for each patch."""
    min_detail: float = 0.3
    """Least correlation of neighbouring pixels' differences at a place, in (0, 1)."""
    min_evidence: float = 6.0
    """Least Fisher z of that, in deviations of chance. True places have 7 and more, wrong ones 3 in
    a picture of 5 octaves; over 8 octaves, with 60 times the places, some pass."""
    min_margin: float = 0.05
    """Least amount by which the correlation must exceed that at any other place."""
    device: str = "cpu"
    """Where torch works: 'cpu' or 'cuda'."""

    def __post_init__(self) -> None:
        if not 0 <= self.level_error <= 0.5:
            raise ValueError(f"level_error must be 0 to 0.5 octaves, got {self.level_error}.")
        if self.candidates < 1:
            raise ValueError(f"candidates must be >= 1, got {self.candidates}.")
        if not 0 < self.min_detail < 1 or not 0 <= self.min_margin < 1:
            raise ValueError(
                "min_detail must lie in (0, 1) and min_margin in [0, 1), "
                f"got {self.min_detail} and {self.min_margin}."
            )


PLACED, UNPLACED = "placed", "unplaced"


@dataclass(frozen=True)
class Placement:
    """Where one patch belongs."""

    status: str
    """'placed' or 'unplaced'."""
    center_xy: tuple[float, float]
    """Its centre, field units; (0, 0) of an unplaced patch."""
    level: float
    """Octaves: corrected where it is placed, else as labelled."""
    confidence: float
    """Correlation of neighbouring pixels' differences with what lies there, in [-1, 1]."""
    margin: float
    """By how much that exceeds the same at any other place."""
    reason: str = ""
    """Of an unplaced patch: 'blank', 'no place', 'ambiguous' or 'no level'; of a file that was not
    sought, 'not square or too small' or 'unreadable'."""


@dataclass(frozen=True)
class PlacementResult:
    """Where all patches belong, in the order they were given."""

    center_xy: np.ndarray
    """Field units; the origin is the middle of all that is placed; 0 elsewhere. float64 [N, 2]."""
    level: np.ndarray
    """Octaves: corrected, or as labelled where a patch is not placed. float64 [N]."""
    confidence: np.ndarray
    """See `Placement`. float64 [N]."""
    margin: np.ndarray
    """See `Placement`. float64 [N]."""
    reason: tuple[str, ...]
    """'' where the patch is placed."""
    field_size: tuple[float, float]
    """Width and height of what is placed, field units."""

    @property
    def placed(self) -> np.ndarray:
        """bool [N]."""
        return np.array([not reason for reason in self.reason], bool)

    def __len__(self) -> int:
        return len(self.reason)

    def __getitem__(self, index: int) -> Placement:
        x, y = self.center_xy[index].tolist()
        reason = self.reason[index]
        return Placement(
            UNPLACED if reason else PLACED,
            (x, y),
            float(self.level[index]),
            float(self.confidence[index]),
            float(self.margin[index]),
            reason,
        )
