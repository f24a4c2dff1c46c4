"""The dataset doctor: what a training set holds, what is wrong with it, what training will cost.

Never stops at a bad file and never raises for what data hold: each fault becomes a finding.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from model.data.doctor_duplicates import alike_pairs, exact_groups
from model.data.doctor_findings import (
    Findings,
    add_content,
    add_duplicates,
    add_files,
    add_listing,
    add_octaves,
    add_spectrum,
    add_training,
    facts_of,
    octaves_of,
)
from model.data.doctor_image import image_facts
from model.data.doctor_scan import DEFAULT_PATCH_SIZE, MAX_PATCH_SIZE, Scan, scan
from model.data.labels import printable
from model.data.patches import LargeImage, PatchCollection, open_data
from model.data.report import ERROR, SEVERITIES, WARNING, DoctorReport, ImageFacts, Item
from model.data.report_text import size_text
from model.pyramid_build import Progress

if TYPE_CHECKING:
    from model.data.doctor_cost import Machine

QUICK_PATCHES = 2000
"""Patches that a quick look decodes."""
_SCANNED, _COMPARED, _MEASURED = 0.85, 0.92, 0.96
"""Progress after files were read, duplicates compared, and this machine measured."""

OnReport = Callable[[DoctorReport], None]


@dataclass(frozen=True)
class DoctorConfig:
    """How the doctor looks."""

    patch_size: int | None = None
    """Pixels that training will have; None takes the most frequent size."""
    quick: bool = False
    """Decode a sample only, and time nothing."""
    costs: bool = True
    """Predict what training will take."""
    device: str = "auto"
    """Where training would run."""
    threads: int | None = None
    """None: one a core, at most 8."""

    def __post_init__(self) -> None:
        if self.patch_size is not None and not 8 <= self.patch_size <= MAX_PATCH_SIZE:
            raise ValueError(
                f"patch_size must be 8 to {MAX_PATCH_SIZE} pixels, got {self.patch_size}."
            )


def inspect_data(
    path: str | os.PathLike[str],
    config: DoctorConfig | None = None,
    progress: Progress | None = None,
    on_report: OnReport | None = None,
    machine: Machine | None = None,
) -> DoctorReport:
    """Look at a folder or zip of patches, one large image, or a tile pyramid.

    Args:
        path: The data.
        config: How.
        progress: Called with the finished share, in [0, 1]; whatever it raises cancels.
        on_report: Called with the report so far, `complete=False`, from time to time; and with
            all but the costs, before these are measured.
        machine: What was measured of this machine already; None measures it.

    Raises:
        FileNotFoundError: There is nothing at `path`. All else becomes a finding.
        ValueError: `config.device` cannot be had here.
    """
    config = config or DoctorConfig()
    path = Path(path)
    progress = progress or (lambda _fraction: None)
    progress(0.0)
    try:
        data = open_data(path)
    except FileNotFoundError:
        raise
    except (ValueError, OSError, MemoryError) as error:
        return _unopened(path, error)
    seen = None
    if isinstance(data, LargeImage):
        report = _large(data, path, config, progress)
    else:
        with data:
            report, seen = _collection(data, config, progress, on_report)
    if config.costs and report.usable:
        if on_report is not None:
            on_report(report)  # all but the costs: one need not wait for these
        report = _with_costs(report, data, seen, config, machine, progress)
    progress(1.0)
    return report


def _unopened(path: Path, error: Exception) -> DoctorReport:
    """The report on data that cannot be opened at all."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = " ".join(text.split()).removeprefix(f"{path} ") or type(error).__name__
    found = Findings(())
    found.add(
        "unopened",
        ERROR,
        "The data cannot be opened.",
        "Give a folder or zip of patches, an image, or a tile pyramid; see the line.",
        [Item(printable(path.name), text)],
    )
    return DoctorReport(printable(str(path)), "none", None, None, found.sorted(), (), ())


def _large(
    picture: LargeImage, path: Path, config: DoctorConfig, progress: Progress
) -> DoctorReport:
    found = Findings(())
    size = config.patch_size or DEFAULT_PATCH_SIZE
    facts: ImageFacts = image_facts(
        picture, size, found, lambda share: progress(_COMPARED * share), read=not config.quick
    )
    return DoctorReport(
        printable(str(path)),
        picture.form,
        None,
        facts,
        found.sorted(),
        (),
        (),
        quick=config.quick,
    )


def _collection(
    data: PatchCollection, config: DoctorConfig, progress: Progress, on_report: OnReport | None
) -> tuple[DoctorReport, Scan]:
    count = len(data)
    indices = range(count)
    if config.quick and count > QUICK_PATCHES:
        indices = range(0, count, -(-count // QUICK_PATCHES))

    def on_part(part: Scan) -> None:
        if on_report is not None:
            on_report(replace(_diagnosed(data, part, config, None), complete=False))

    seen = scan(
        data,
        indices,
        config.patch_size,
        config.threads,
        lambda share: progress(_SCANNED * share),
        on_part,
    )
    return _diagnosed(data, seen, config, progress), seen


def _diagnosed(
    data: PatchCollection, seen: Scan, config: DoctorConfig, progress: Progress | None
) -> DoctorReport:
    """The report from a scan; duplicates and spectra only with `progress`, once it is whole."""
    found = Findings(data.patches)
    add_listing(found, data.problems)
    add_files(found, data, seen)
    blank = add_content(found, seen)
    octaves = octaves_of(data.patches)
    add_octaves(found, data.patches, octaves)
    if progress is not None:
        skip = blank | ~seen.fits
        exact = exact_groups(seen, skip)
        for group in exact:
            skip[group[1:]] = True
        share = _COMPARED - _SCANNED
        near = alike_pairs(data, seen, skip, lambda part: progress(_SCANNED + share * part))
        progress(_COMPARED)
        add_duplicates(found, data.patches, exact, near, keep_near=seen.photographs)
        add_spectrum(found, data.patches, seen, blank)
    add_training(found, data.patches, seen)
    facts = facts_of(data, seen, octaves, found.excluded)
    return DoctorReport(
        printable(str(data.path)),
        data.form,
        facts,
        None,
        found.sorted(),
        (),
        tuple(sorted(found.excluded)),
        quick=facts.num_checked < facts.num_listed and progress is not None,
    )


def _with_costs(
    report: DoctorReport,
    data: PatchCollection | LargeImage,
    seen: Scan | None,
    config: DoctorConfig,
    machine: Machine | None,
    progress: Progress,
) -> DoctorReport:
    """The report with what each preset would take, and a finding for those that do not fit."""
    from model.data.doctor_cost import PhotographSizes, measure_machine, predict_costs
    from model.placement.mosaic import finest_level

    if machine is None:
        machine = measure_machine(
            config.device, trial=not config.quick, check=lambda: progress(_COMPARED)
        )
    progress(_MEASURED)
    field_size, levels, photographs = (1.0, 1.0), (0.0, 1.0), None
    if isinstance(data, LargeImage):
        width, height = data.size_wh
        field_size = (width / min(width, height), height / min(width, height))
        if report.image is not None:
            levels = (0.0, report.image.finest_level)
    else:
        known = [patch.level for patch in data.patches if patch.level is not None]
        if known:
            levels = (float(np.floor(min(known))), finest_level(np.array(known)))
    num_patches = report.patches.num_usable if report.patches is not None else 0
    if seen is not None and seen.photographs and seen.fits.any():
        sizes = seen.sizes[seen.fits].astype(float)
        photographs = PhotographSizes(
            float(sizes.prod(1).mean()) * num_patches, float(sizes.min(1).max())
        )
    costs = predict_costs(
        machine,
        field_size,
        levels,
        num_patches,
        check=lambda: progress(_MEASURED),
        composed=report.patches is not None and report.patches.num_scenes == 1,
        photographs=photographs,
    )
    free = machine.available_bytes
    large = [cost for cost in costs if free is not None and cost.memory_bytes > free]
    found = Findings(())
    found.add(
        "memory",
        WARNING,
        "Presets that need more memory than is free now.",
        "Take a smaller preset, close other programs, or train on another machine.",
        [
            Item(
                cost.preset,
                f"needs about {size_text(cost.memory_bytes)}, {size_text(free or 0)} are free.",
            )
            for cost in large
        ],
    )
    return replace(
        report,
        costs=costs,
        available_bytes=free,
        findings=tuple(
            sorted(
                (*report.findings, *found.sorted()),
                key=lambda f: (SEVERITIES.index(f.severity), f.kind),
            )
        ),
    )
