"""One place at every octave, a picture each: `python docs/examples/every_octave.py`.

With a checkpoint or an image as its first argument it shows that. Every picture carries its view:
drop one on the window, and one is there.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import explorer.api


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", nargs="?", help="default: the painting that ships")
    parser.add_argument("--at", nargs=2, type=float, default=(0.12, -0.2), metavar=("X", "Y"))
    parser.add_argument("--size", nargs=2, type=int, default=(640, 480), metavar=("W", "H"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", default=".", help="folder (default: this one)")
    args = parser.parse_args()
    place, size = (args.at[0], args.at[1]), (args.size[0], args.size[1])

    with explorer.api.open(args.scene, args.device) as scene:
        low, high = scene.info.level_range
        for octave in range(math.floor(high - low) + 1):
            file = Path(args.out, f"octave-{octave}.png")
            print(scene.save_still(file, place, low + octave, size, args.seed))


if __name__ == "__main__":
    main()
