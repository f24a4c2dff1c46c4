"""Where the files that ship with the app are: the painting, the icon, the sample patches."""

from __future__ import annotations

import site
import sys
import sysconfig
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
_SHARE = Path("share", "scalespace-explorer")


def _roots() -> list[Path]:
    """Where to look: a clone or an editable install, then wherever pip puts what a wheel brings."""
    code = Path(__file__).resolve().parent.parent
    installed = (sys.prefix, sysconfig.get_path("data"), site.getuserbase(), str(code))
    return [code, *(Path(base, _SHARE) for base in installed)]


def shipped(file: Path) -> Path:
    """The path of a file that ships.

    Raises:
        FileNotFoundError: It is in none of these places.
    """
    roots = _roots()
    for root in roots:
        if (root / file).is_file():
            return root / file
    raise FileNotFoundError(
        f"{roots[0] / file} is missing, though it ships with the app; clone the repository "
        "again, or name a checkpoint, an image or a folder."
    )
