"""Pictures of the app at five depths, taken from the real window once its frame is exact.

`python -m benchmarks.screenshots [SOURCE] --out FOLDER`; the README's picture is one of them. With
`--panels`, sheets of every panel, dialog and overlay instead, dark and light, at 1x and 2x.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.display import display_environment
from benchmarks.flight import Pilot
from explorer.display import why_no_display

PLACES = ((0.0, 0.0), (0.36, -0.32), (0.02, 0.3), (-0.1, -0.1), (-0.1, -0.1))
"""Whole picture, moon, village, the great swirl twice: field, in [-0.5, 0.5] of its sides."""
DEPTHS = (0.0, 0.3, 0.55, 0.75, 1.0)
"""From the whole picture (0) to the finest level (1)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the pictures; starts again on a virtual display where there is none."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.screenshots", description=__doc__)
    parser.add_argument("source", nargs="?", help="default: the painting that ships")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--panels", action="store_true", help="sheets of every panel instead")
    parser.add_argument("--singles", type=Path, metavar="FOLDER", help="of --panels: each as PNG")
    options = parser.parse_args(arguments)
    if options.panels:
        from benchmarks.panel_sheets import make_sheets

        make_sheets(options.out, options.singles)
        return 0
    if why_no_display() is not None:
        with display_environment() as environment:
            command = [sys.executable, "-m", "benchmarks.screenshots", *arguments]
            return subprocess.run(command, env=environment, check=False).returncode
    from explorer.shipped import PAINTING, shipped

    options.out.mkdir(parents=True, exist_ok=True)
    pilot = Pilot(options.source or str(shipped(PAINTING)), "auto")
    try:
        pilot.start()
        for index, (place, depth) in enumerate(zip(PLACES, DEPTHS, strict=True)):
            pilot.viewport.view_state.jump_to(pilot.camera(place, depth))
            pilot.viewport.wake()
            pilot.settle()
            if not pilot.viewport.is_exact:
                raise TimeoutError("the exact frame did not come; is the machine busy?")
            file = options.out / f"depth-{index}.png"
            pilot.app.window.grab().save(str(file))
            print(file)
    finally:
        pilot.app.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
