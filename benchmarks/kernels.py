"""`python -m benchmarks.kernels`: the CUDA kernels against memory bandwidth and their torch twins.

Needs an NVIDIA GPU and CuPy; says so in one line where there is none, and measures nothing.
"""

from __future__ import annotations

import argparse
import functools
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.tables import facts, table, write_json

RESULTS = Path(__file__).resolve().parent / "results"
WARM_UP = 3
"""Runs before the first that counts: compiling, caches, clocks."""

_CYCLES_PER_S = 2e9
"""Of a GPU, about."""

Timer = Callable[[Callable[[], object]], float]
"""Median seconds that one run of a job keeps the GPU busy."""


def main(argv: list[str] | None = None) -> int:
    """Parse, measure, print, write: 0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kernels", description="Time the CUDA kernels."
    )
    parser.add_argument(
        "--against",
        metavar="MODULE:FUNCTION",
        help="an implementation of filtered_lrelu with StyleGAN3's arguments, timed beside ours",
    )
    parser.add_argument(
        "--checkpoint", metavar="CKPT", help="also time exact 1920 x 1080 frames of this one"
    )
    parser.add_argument(
        "--training", action="store_true", help="also time training with each preset"
    )
    parser.add_argument(
        "--presets", nargs="+", metavar="P", help="with --training: only these (default: all)"
    )
    parser.add_argument("--repeats", type=int, default=20, help="runs a figure (default: 20)")
    parser.add_argument("--json", type=Path, metavar="F", help="write the figures here")
    parser.add_argument(
        "--save", action="store_true", help="write them to benchmarks/results/kernels-<GPU>.json"
    )
    args = parser.parse_args(argv)
    try:
        result = _measure(args)
        targets = [args.json] if args.json else []
        if args.save:
            targets.append(RESULTS / f"{result_name(result['gpu'])}.json")
        for target in targets:
            write_json(target, result)
            print(f"\nwrote {target}")
    except (ValueError, OSError) as error:
        print(f"benchmarks.kernels: {error}", file=sys.stderr)
        return 1
    return 0


def result_name(gpu: str) -> str:
    """File name, without its ending, of the results of one kind of GPU."""
    return "kernels-" + re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-")


def measure_cases(
    cases: Iterable[Any], timer: Timer, rates: dict[str, float]
) -> list[dict[str, Any]]:
    """One row a case.

    Args:
        cases: `kernel_cases.Case`s.
        timer: See `Timer`.
        rates: `copy_bytes_per_s`, and `<dtype>_operations_per_s` of matrix products.

    Returns:
        Rows with `op`, `label`, `dtype`, `direction`, `ms` by who ran it, `bytes`,
        `copy_share` and (where a matrix product bounds the op) `matrix_share` of ours, and
        `times_faster_than` by who.
    """
    rows = []
    for case in cases:
        seconds = {who: timer(job) for who, job in case.jobs.items()}
        ours = seconds["cuda"]
        row: dict[str, Any] = {
            "op": case.op,
            "label": case.label,
            "dtype": case.dtype,
            "direction": case.direction,
            "ms": {who: s * 1e3 for who, s in seconds.items()},
            "bytes": case.bytes,
            "copy_share": case.bytes / ours / rates["copy_bytes_per_s"],
            "times_faster_than": {who: s / ours for who, s in seconds.items() if who != "cuda"},
        }
        if case.operations:
            rate = rates[f"{case.dtype}_operations_per_s"]
            row["matrix_share"] = case.operations / ours / rate
        rows.append(row)
    return rows


def print_rows(rows: list[dict[str, Any]]) -> None:
    """The table that a person reads."""
    others = list(dict.fromkeys(who for row in rows for who in row["times_faster_than"]))
    head = ["op", "case", "dtype", "direction", "ms", "MB", "of copy", "of matrix"]
    lines = [
        [
            row["op"],
            row["label"],
            row["dtype"],
            row["direction"],
            row["ms"]["cuda"],
            row["bytes"] / 1e6,
            row["copy_share"],
            row.get("matrix_share"),
            *(row["times_faster_than"].get(who) for who in others),
        ]
        for row in rows
    ]
    print(table("kernels", [*head, *(f"x {who}" for who in others)], lines))


def cuda_timer(repeats: int) -> Timer:
    """Times on the GPU's own clock, with its second-level cache emptied before every run.

    Before the clock starts the GPU is kept busy until the host has queued the whole job: else an
    op of microseconds would be measured as long as Python takes to ask for it.
    """
    import torch

    flush = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")

    def timer(job: Callable[[], object]) -> float:
        for _ in range(WARM_UP):
            job()
        torch.cuda.synchronize()
        began = time.perf_counter()
        job()
        queued_s = time.perf_counter() - began
        marks = []
        for _ in range(repeats):
            flush.zero_()
            torch.cuda._sleep(int(2 * queued_s * _CYCLES_PER_S))
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            job()
            end.record()
            marks.append((begin, end))
            torch.cuda.synchronize()
        return statistics.median(begin.elapsed_time(end) for begin, end in marks) / 1e3

    return timer


def measure_rates(timer: Timer, side: int = 8192) -> dict[str, float]:
    """What this GPU copies and multiplies at best, by the same clock."""
    import torch

    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    rates = {"copy_bytes_per_s": 2 * source.numel() / timer(lambda: target.copy_(source))}
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        a = torch.randn(side, side, device="cuda").to(dtype)
        name = str(dtype).removeprefix("torch.")
        rates[f"{name}_operations_per_s"] = 2 * side**3 / timer(functools.partial(torch.mm, a, a))
    return rates


def measure_frames(checkpoint: str, count: int = 60) -> list[dict[str, float]]:
    """Exact 1920 x 1080 frames of a slow zoom, to display bytes on the GPU, at nine levels.

    Each is waited for before the next is asked for, host time included: what a viewer sees.
    """
    import torch

    from kernels import tile_to_rgba8
    from model.opening import load_scale_space
    from model.space import window_around

    space = load_scale_space(checkpoint, device="cuda")
    low, high = space.level_range
    rows = []
    for i in range(9):
        begin = low + (high - 0.25 - low) * i / 8
        times = []
        for number in range(-5, count):  # the first prepare what all others use
            level = begin + 0.25 * max(number, 0) / count
            began = time.perf_counter()
            window = window_around((1e-3 * number, 0.0), level, (1920, 1080), space.patch_size)
            with torch.inference_mode():
                tile_to_rgba8(space.render([window]))
            torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
        seen = sorted(times[5:])
        rows.append(
            {
                "level": begin,
                "frames_per_s": count / sum(seen),
                "p95_ms": 1e3 * seen[int(0.95 * count)],
                "longest_ms": 1e3 * seen[-1],
                "memory_mb": torch.cuda.memory_reserved() / 2**20,
            }
        )
    return rows


def _measure(args: argparse.Namespace) -> dict[str, Any]:
    if args.repeats < 1:
        raise ValueError(f"--repeats must be at least 1, got {args.repeats}.")
    import torch

    from benchmarks.kernel_cases import Sizes, all_cases, load_rival
    from benchmarks.machine import describe_machine
    from kernels import unavailable_reason

    rival = load_rival(args.against) if args.against else None
    reason = unavailable_reason()
    if reason:
        raise ValueError(f"nothing is measured without the CUDA kernels: {reason}")
    device = torch.device("cuda", torch.cuda.current_device())
    timer = cuda_timer(args.repeats)
    machine = describe_machine()
    rates = measure_rates(timer)
    print(facts("machine", {k: v for k, v in machine.items() if v is not None}))
    print(facts("\nmeasured rates, per second", {k: f"{v:.3g}" for k, v in rates.items()}))
    rows = measure_cases(all_cases(device, Sizes(), rival), timer, rates)
    print()
    print_rows(rows)
    result: dict[str, Any] = {
        "gpu": torch.cuda.get_device_name(device),
        "machine": machine,
        "rates": rates,
        "against": args.against,
        "rows": rows,
    }
    if args.checkpoint:
        result["frames"] = measure_frames(args.checkpoint)
        head = ["level", "per second", "p95 ms", "longest ms", "MB"]
        lines = [list(row.values()) for row in result["frames"]]
        print("\n" + table("exact 1920 x 1080 frames", head, lines))
    if args.training:
        from benchmarks.kernel_training import measure_training
        from model.presets import PRESETS

        names = args.presets or list(PRESETS)
        unknown = [name for name in names if name not in PRESETS]
        if unknown:
            raise ValueError(f"--presets must be of {', '.join(PRESETS)}, got {unknown[0]!r}.")
        result["training"] = measure_training({name: PRESETS[name] for name in names}, device)
        head = ["preset", "kernels", "torch versions", "ratio"]
        lines = [[name, *row.values()] for name, row in result["training"].items()]
        print("\n" + table("training, patches a second", head, lines))
    return result


if __name__ == "__main__":
    sys.exit(main())
