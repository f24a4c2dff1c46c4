"""Record a fall from the whole scene to one place: `python docs/examples/flight.py`.

With a checkpoint or an image as its first argument it falls into that.
"""

from __future__ import annotations

import argparse

import explorer.api


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", nargs="?", help="default: the painting that ships")
    parser.add_argument("--to", nargs=2, type=float, default=(0.12, -0.2), metavar=("X", "Y"))
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--fps", type=float, default=24.0)
    parser.add_argument("--size", nargs=2, type=int, default=(640, 480), metavar=("W", "H"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", default="flight.mp4")
    args = parser.parse_args()
    size = (args.size[0], args.size[1])

    with explorer.api.open(args.scene, args.device) as scene:
        low, high = scene.info.level_range
        start = scene.camera((0.0, 0.0), low, size)
        end = scene.camera(tuple(args.to), high, size)
        scene.record(
            explorer.api.flight(start, end, args.seconds),
            args.out,
            size,
            args.fps,
            seed=args.seed,
            progress=lambda done: print(f"\r{args.out}  {done:4.0%}", end="", flush=True),
        )
    print()


if __name__ == "__main__":
    main()
