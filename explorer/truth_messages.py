"""What the comparison panels and their threads tell each other: frozen values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from explorer.messages import ExactView
from explorer.octave_views import Region

if TYPE_CHECKING:
    from explorer.messages import Pixels

REMEMBERED_DB = 28.0
"""PSNR from which a level counts as remembered."""
TEXTURED_DB = -4.0
"""High-band power, against the real picture's, from which what differs has texture of its own."""


@dataclass(frozen=True)
class TruthOpen:
    """Open the real picture of a scene."""

    path: str
    scene: str
    """`SceneInfo.identity`."""
    scene_path: str
    """Where the scene was opened from: a checkpoint names the crop it was trained on."""
    patch_size: int
    field_size: tuple[float, float]


@dataclass(frozen=True)
class TruthOpened:
    """The real picture is ready."""

    scene: str
    path: str
    top_level: float
    """Level of the file's own pixels, octaves; above it there is no more to see."""
    warning: str = ""
    """One line where places may not agree; empty where they do."""


@dataclass(frozen=True)
class TruthRequest:
    """The real picture of a view, and what differs from it."""

    scene: str
    """`TruthOpened.scene`: newer weights of a run keep the picture of those before."""
    view: ExactView
    generated: Pixels | None = None
    """The exact frame of the same view, uint8 [H, W, 4]; None: not there yet."""
    gain: float = 1.0
    """Factor of the signed difference."""


@dataclass(frozen=True)
class TruthFrame:
    """The real picture of a view."""

    scene: str
    view: ExactView
    pixels: Pixels
    """uint8 [H, W, 4], RGBA."""
    difference: Pixels | None
    """Generated minus real, times the gain, about grey (128); None without a generated frame."""
    gain: float


@dataclass(frozen=True)
class FigureRequest:
    """Compare pictures of the scene, one a level, with the real one."""

    scene: str
    """`TruthOpened.scene`."""
    views: tuple[ExactView, ...]
    generated: tuple[Pixels, ...]
    """Of `views`, uint8 [H, W, 4]."""
    region: Region
    """Pixels beside it do not count for the PSNR."""


@dataclass(frozen=True)
class OctaveFigures:
    """How one level compares with the real picture."""

    level: float
    """Octaves."""
    psnr_db: float
    """Infinite where both are equal."""
    high_band_db: float
    """Power above half the Nyquist frequency, generated over real."""
    power_db: tuple[float, float] = (0.0, 0.0)
    """The same power, generated and real, about that of white noise with variance 1."""

    @property
    def verdict(self) -> str:
        """'remembered', 'invented' or 'soft'.

        Remembered: PSNR of 28 dB or more. Else invented, where the power of the upper half of the
        frequencies is less than 4 dB below that of the real picture (there is as much texture, but
        another), else soft (texture is missing).
        """
        if self.psnr_db >= REMEMBERED_DB:
            return "remembered"
        return "invented" if self.high_band_db >= TEXTURED_DB else "soft"


@dataclass(frozen=True)
class Figures:
    """All levels of what the real picture lay over, the coarsest first."""

    request: FigureRequest
    octaves: tuple[OctaveFigures, ...]


@dataclass(frozen=True)
class OctaveMapRequest:
    """Where do two levels disagree?"""

    number: int
    """`ExactFrame.number` of the fine picture."""
    fine: Pixels
    """uint8 [H, W, 4]."""
    coarse: Pixels
    """The same place one octave coarser, uint8 [H // 2, W // 2, 4]."""
    max_px: int = 192
    """Longest side of the map, at most."""


@dataclass(frozen=True)
class OctaveMap:
    """Mean absolute difference between levels, by place."""

    number: int
    """Of the request."""
    pixels: Pixels
    """uint8 [h, w]: 0 where levels agree, 255 at `peak` and above."""
    mean: float
    """Over the view, in steps of 0 to 255."""
    peak: float
    """What white means, in steps of 0 to 255."""


def verdict_runs(octaves: tuple[OctaveFigures, ...]) -> list[tuple[str, float, float]]:
    """Neighbouring levels of one verdict as (verdict, first level, last level)."""
    runs: list[tuple[str, float, float]] = []
    for each in octaves:
        if runs and runs[-1][0] == each.verdict:
            runs[-1] = (each.verdict, runs[-1][1], each.level)
        else:
            runs.append((each.verdict, each.level, each.level))
    return runs


def decibel_text(value: float) -> str:
    """A figure as a person reads it; beyond what eight bits can tell it is infinite."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.1f}"
