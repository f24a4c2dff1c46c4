"""Placement: where in one picture each of its patches belongs."""

from model.placement.config import Placement, PlacementConfig, PlacementResult
from model.placement.place import PlacementState, Progress, Save, place_patches

__all__ = [
    "Placement",
    "PlacementConfig",
    "PlacementResult",
    "PlacementState",
    "Progress",
    "Save",
    "place_patches",
]
