"""Where the files that ship with the app are: the painting, the icon, the sample patches."""

from __future__ import annotations

import sys
from pathlib import Path

PAINTING = Path("checkpoints", "starry-night.safetensors")
SCENES = {
    "scene_painting": PAINTING,
    "scene_from_patches": Path("checkpoints", "starry-night-from-patches.safetensors"),
    "scene_unplaced": Path("checkpoints", "starry-night-adversarial.safetensors"),
    "scene_brushwork": Path("checkpoints", "brushwork.safetensors"),
}
"""By the action that opens it: every scale space that ships."""
ICON = Path("assets", "icon.svg")
SAMPLE_PATCHES = Path("assets", "sample-patches", "dataset.json")
"""Labels of the pictures beside it: a small training set."""
_ROOTS = (
    Path(__file__).resolve().parent.parent,  # a clone, or an editable install
    Path(sys.prefix, "share", "scalespace-explorer"),  # an installed wheel
)


def shipped(file: Path) -> Path:
    """The path of a file that ships.

    Raises:
        FileNotFoundError: It is in neither place.
    """
    for root in _ROOTS:
        if (root / file).is_file():
            return root / file
    raise FileNotFoundError(
        f"{_ROOTS[0] / file} is missing, though it ships with the app; clone the repository "
        "again, or name a checkpoint, an image or a folder."
    )
