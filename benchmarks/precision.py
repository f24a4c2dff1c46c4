"""Which type of convolutions is quicker on this machine: is what the app chooses the quicker one?

    python -m benchmarks.precision [CKPT] [--rounds 3] [--json F]

Pixels a second of rendering, and windows a second of training with the laptop preset, with float32
and with bfloat16, taking turns.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.kernel_training import patches_per_s
from benchmarks.machine import describe_machine
from benchmarks.rendering import measure_speed
from benchmarks.tables import table, write_json
from explorer.shipped import PAINTING, shipped
from model import open_scale_space
from model.precision import choose_dtype
from model.presets import PRESETS
from model.scale import whole_levels

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
PRESET = "laptop"


def rendering_rates(checkpoint: str, rounds: int) -> dict[str, float]:
    """Millions of pixels a second by type, of views of every whole level."""
    spaces = {name: open_scale_space(checkpoint, "cpu", name) for name in TYPES}
    speeds = measure_speed(spaces, whole_levels(spaces["fp32"].level_range), rounds)
    return {name: speed.megapixels_per_s for name, speed in speeds.items()}


def training_rates(rounds: int, steps: int = 4, warm_up: int = 2) -> dict[str, float]:
    """Windows a second by type, a discriminator included; medians of `rounds`."""
    found: dict[str, list[float]] = {name: [] for name in TYPES}
    for _ in range(rounds):
        for name, dtype in TYPES.items():
            rate = patches_per_s(
                PRESETS[PRESET], torch.device("cpu"), steps, warm_up, time.perf_counter, dtype
            )
            found[name].append(rate)
    return {name: statistics.median(rates) for name, rates in found.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where the app chooses the slower type, by more than a tenth."""
    parser = argparse.ArgumentParser("python -m benchmarks.precision")
    parser.add_argument("checkpoint", nargs="?", default=str(shipped(PAINTING)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="F")
    options = parser.parse_args(argv)
    chosen = choose_dtype(torch.device("cpu"), "auto")
    mine = next(name for name, dtype in TYPES.items() if dtype == chosen)
    rates = {
        "rendering, Mpx/s": rendering_rates(options.checkpoint, options.rounds),
        f"training {PRESET}, windows/s": training_rates(options.rounds),
    }
    rows = [
        [
            what,
            *(f"{by_type[name]:.2f}" for name in TYPES),
            f"{by_type['bf16'] / by_type['fp32']:.2f}",
        ]
        for what, by_type in rates.items()
    ]
    print(table("rates on the CPU", ["", *TYPES, "bf16 over fp32"], rows))
    print(f"The app chooses {mine} here.")
    if options.json:
        figures = {"machine": describe_machine(), "chosen": mine, "rates": rates}
        write_json(options.json, figures)
    return int(any(by_type[mine] < 0.9 * max(by_type.values()) for by_type in rates.values()))


if __name__ == "__main__":
    sys.exit(main())
