"""`scalespace-explorer bench`, also `python -m benchmarks`: one table, one JSON, one command.

Renders, checks seams, and flies the real window in processes of its own. With `--against` a second
device, preset or file is measured beside the first, taking turns, and the ratios are printed.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.tables import facts, table, write_json
from explorer.shipped import PAINTING, shipped

SECTIONS = ("speed", "seams", "startup", "flight", "memory")
RESULTS = Path(__file__).resolve().parent / "results"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "checkpoint",
        nargs="?",
        metavar="CKPT",
        help="checkpoint, image, run folder or preset (default: the painting that ships)",
    )
    parser.add_argument("--json", type=Path, metavar="F", help="write the figures here")
    parser.add_argument(
        "--save", action="store_true", help="write them to benchmarks/results/<machine>.json"
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument(
        "--against",
        metavar="OTHER",
        help="a device (cpu, cuda), preset or file to measure in the same run, taking turns",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=SECTIONS,
        default=SECTIONS,
        metavar="SECTION",
        help=f"some of: {', '.join(SECTIONS)}",
    )
    parser.add_argument("--repeats", type=int, default=5, help="rounds of rendering (default: 5)")
    parser.add_argument("--windows", type=int, default=40, help="windows for seams (default: 40)")
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="motion in the scripted flight (default: 20)"
    )
    parser.add_argument(
        "--minutes", type=float, default=0.5, help="random flight for memory (default: 0.5)"
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print, write: 0, or 1 with one line on stderr."""
    from benchmarks.windows import FlightError

    try:
        result = _measure(args)
        targets = [args.json] if args.json else []
        if args.save:
            from benchmarks.machine import machine_name

            targets.append(RESULTS / f"{machine_name(result['machine'])}.json")
        for target in targets:
            write_json(target, result)
            print(f"\nwrote {target}")
    except (FlightError, ValueError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def _measure(args: argparse.Namespace) -> dict[str, Any]:
    from benchmarks.machine import describe_machine
    from benchmarks.subjects import Subject

    for name, least in (("repeats", 1), ("windows", 1), ("seconds", 1), ("minutes", 0)):
        if getattr(args, name) < least:
            raise ValueError(f"--{name} must be at least {least}, got {getattr(args, name)}.")
    first = Subject(str(args.checkpoint or shipped(PAINTING)), args.device)
    subjects = [first]
    if args.against:
        subjects.append(first.against(args.against))
    machine = describe_machine()
    print(facts("machine", {k: v for k, v in machine.items() if v is not None}))
    result: dict[str, Any] = {
        "machine": machine,
        "subjects": {s.label: asdict(s) | {"source": Path(s.source).name} for s in subjects},
    }
    if {"speed", "seams"} & set(args.only):
        _measure_rendering(subjects, args, result)
    for section in ("startup", "flight", "memory"):
        if section in args.only and not (section == "memory" and args.minutes == 0):
            result[section] = {s.label: _measure_window(section, s, args) for s in subjects}
            _print_facts(section, result[section])
    return result


def _measure_rendering(
    subjects: list[Any], args: argparse.Namespace, result: dict[str, Any]
) -> None:
    import torch

    from benchmarks.rendering import measure_speed, speed_ratios
    from benchmarks.subjects import open_subject
    from model.scale import whole_levels

    spaces = {s.label: open_subject(s) for s in subjects}
    with torch.inference_mode():
        if "speed" in args.only:
            known = [set(whole_levels(s.level_range)) for s in spaces.values()]
            coarsest = max(s.level_range[0] for s in spaces.values())
            levels = sorted(set.intersection(*known)) or [coarsest]
            speeds = measure_speed(spaces, levels, args.repeats)
            result["speed"] = {label: speed.to_json() for label, speed in speeds.items()}
            for label, speed in speeds.items():
                _print_speed(label, speed)
            if len(speeds) == 2:
                one, two = speeds
                ratios = speed_ratios(speeds[one], speeds[two])
                result["ratios"] = {f"{two} over {one}": ratios}
                print("\n" + facts(f"speed: {two} over {one}", dict(ratios)))
        if "seams" in args.only:
            result["seams"] = {s.label: _seams(s, spaces[s.label], args.windows) for s in subjects}
            _print_facts("seams: max abs difference, values in [-1, 1]", result["seams"])


def _seams(subject: Any, space: Any, windows: int) -> dict[str, Any]:
    """Seam error in fp32 and in the app's precision, and that of a control that must fail."""
    from dataclasses import replace

    from benchmarks.seams import LIMITS, ZeroPaddedControl, measure_seams
    from benchmarks.subjects import open_subject

    exact = open_subject(replace(subject, precision="fp32"))
    report: dict[str, Any] = {}
    for name, measured, limit in (
        ("fp32", exact, LIMITS["fp32"]),
        ("app precision", space, LIMITS["auto"]),
        ("zero-padded control", ZeroPaddedControl(exact), LIMITS["fp32"]),
    ):
        error = measure_seams(measured, windows)
        report[name] = error.max_abs
        report[f"{name}: below {limit:.2g}"] = error.max_abs < limit
    return report


def _measure_window(section: str, subject: Any, args: argparse.Namespace) -> dict[str, Any]:
    from benchmarks.windows import measure_flight, measure_memory, measure_startup

    if section == "startup":
        return measure_startup(subject)
    if section == "flight":
        return measure_flight(subject, args.seconds)
    return measure_memory(subject, args.minutes)


def _print_speed(label: str, speed: Any) -> None:
    sizes = list(speed.levels[0].tile_ms)
    head = ["level", *(f"ms/tile {size}" for size in sizes), "ms/view"]
    rows = [[f"{r.level:g}", *(r.tile_ms[size] for size in sizes), r.view_ms] for r in speed.levels]
    print("\n" + table(f"speed: {label}", head, rows))
    print(f"  {speed.megapixels_per_s:.2f} Mpx/s; ms/view max/min {speed.view_max_over_min:.2f}")


def _print_facts(title: str, by_label: dict[str, dict[str, Any]]) -> None:
    for label, values in by_label.items():
        plain = {k: v for k, v in values.items() if not isinstance(v, list | dict)}
        print("\n" + facts(f"{title}: {label}", plain))
