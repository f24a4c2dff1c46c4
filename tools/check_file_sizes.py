"""Refuse files that a repository should not carry: `python tools/check_file_sizes.py FILE...`."""

from __future__ import annotations

import sys
from pathlib import Path

LIMIT_BYTES = 25_000_000


def main(paths: list[str]) -> int:
    """Print each of `paths` over the limit; 1 when there is one, else 0."""
    large = [p for p in map(Path, paths) if p.is_file() and p.stat().st_size > LIMIT_BYTES]
    for path in large:
        print(
            f"{path} must be at most {LIMIT_BYTES // 10**6} MB, it has "
            f"{path.stat().st_size / 1e6:.1f} MB; keep it outside the repository.",
            file=sys.stderr,
        )
    return 1 if large else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
