"""The best that a run without places has been: nothing but a discriminator holds it there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

from model.checkpoints import discriminator_beside
from model.header import read_header

BEST = "best.safetensors"
BEST_DISCRIMINATOR = discriminator_beside(BEST).name
DISTANCE = "sample_distance"
"""What the head of that file says of its training: the mean over octaves."""
_DRIFTED = 1.5
"""So many times as far from real patches as the best."""


class BestSoFar:
    """Keeps the checkpoint whose samples were nearest to real patches, and says when a run drifts.

    A run in which the discriminator loses the scene looks sound by its losses: contrast and
    consistency are met by a fog with specks in it. Its samples tell.
    """

    def __init__(self, folder: Path) -> None:
        """Go on with what `folder` holds."""
        self.file = folder / BEST
        self.distance, self.kimg = math.inf, 0.0
        self._has_told = False
        try:
            kept = read_header(self.file).training
            self.distance, self.kimg = float(kept[DISTANCE]), float(kept["kimg"])
        except (KeyError, TypeError, ValueError):
            pass  # none yet, or one that cannot be told from a worse one

    def look(
        self, distances: Mapping[str, float], kimg: float, save: Callable[[Path, float], None]
    ) -> str:
        """Look at the newest samples.

        Args:
            distances: By octave; see `model.sample_distance`.
            kimg: Thousands of windows seen by now.
            save: Writes the weights to a path, with the distance; called where they are the best.

        Returns:
            One line for the person, once, where the run has become much worse; else empty.

        Raises:
            OSError: They cannot be written.
        """
        distance = sum(distances.values()) / len(distances)
        if distance < self.distance:
            save(self.file, distance)
            self.distance, self.kimg, self._has_told = distance, kimg, False
        elif distance > _DRIFTED * self.distance and not self._has_told:
            self._has_told = True
            return (
                f"The samples drift: their distance from real patches is {distance:.1f} of its "
                f"floor now, it was {self.distance:.1f} after {self.kimg:.0f} thousand windows. "
                f"Stop, and start a new run from {BEST}, which is as it was then."
            )
        return ""
