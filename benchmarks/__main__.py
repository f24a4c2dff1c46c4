"""`python -m benchmarks`: the same as `scalespace-explorer bench`."""

from __future__ import annotations

import argparse
import sys

from benchmarks.app_bench import add_arguments, run


def main() -> int:
    """Parse and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the app.")
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
