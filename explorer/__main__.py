"""`python -m explorer` and the console script `scalespace-explorer`."""

from __future__ import annotations

import sys

from explorer.cli import run


def main() -> int:
    """Entry point; returns the exit code."""
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
