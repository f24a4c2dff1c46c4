"""`scalespace-explorer bench`: what this machine does, as a table and as JSON."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add the command to argparse's `subparsers`.

    Raises:
        ImportError: The benchmarks were not installed.
    """
    try:
        from benchmarks import app_bench
    except ModuleNotFoundError as error:
        raise ImportError(
            f"the benchmarks are not installed ({error}); run bench in a clone of the repository."
        ) from error
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "bench",
        help="measure this machine",
        description="Measure rendering, seams, a scripted flight through a real window, start-up "
        "and memory; print tables, and JSON for a file.",
    )
    app_bench.add_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Hand over to the benchmarks."""
    from benchmarks import app_bench

    return int(app_bench.run(args))
