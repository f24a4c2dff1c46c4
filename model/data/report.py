"""The doctor's report: plain values that cross threads, as JSON and as text."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

SCHEMA = "scalespace-doctor"
SCHEMA_VERSION = 2
"""Rises when a key of the JSON changes its meaning or goes; new keys do not raise it."""
ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)
_NO_TRAINING = frozenset(("no-level", "one-level", "too-few"))
"""Kinds of findings that leave nothing to train on, however many images there are."""


@dataclass(frozen=True)
class Item:
    """One file, octave or scene that a finding is about."""

    name: str
    """Path inside the data set, or what it is ('octave 3')."""
    message: str
    """What was found there, one line."""


@dataclass(frozen=True)
class Finding:
    """One kind of thing that a person should know, and what to do about it."""

    kind: str
    """Stable key: 'unreadable', 'exact-duplicate', 'bad-label'..."""
    severity: str
    """'error': not usable as it is; 'warning': harms training; 'note': good to know."""
    title: str
    """What it is and how sure that is, one sentence."""
    advice: str
    """What to do, one sentence."""
    items: tuple[Item, ...]
    excluded: bool = False
    """Whether the patches in `items` stand on the exclude list."""


@dataclass(frozen=True)
class Count:
    """How many patches share a property."""

    what: str
    count: int


@dataclass(frozen=True)
class Octave:
    """Labelled patches of one octave."""

    octave: int
    """Holds levels from `octave` up to `octave` + 1."""
    count: int
    coverage: float
    """Sum of the patches' areas, square field units: how often they cover a square picture."""


@dataclass(frozen=True)
class PatchFacts:
    """What a folder or zip of patches holds."""

    num_listed: int
    """Images found by name."""
    num_checked: int
    """Of these, decoded; fewer than listed with `quick`, and while the doctor is at work."""
    num_read: int
    """Of these, readable."""
    num_usable: int
    """Listed, less those on the exclude list."""
    num_trainable: int
    """Of these, with a level; all where no image has one, and they are photographs."""
    num_labelled: int
    """With a level."""
    num_placed: int
    """With a level and a place."""
    num_scenes: int
    patch_size: int
    """Pixels that the patches were judged at."""
    photographs: bool
    """Whether no image has a level, and all are taken for photographs of any size."""
    octaves: tuple[Octave, ...]
    sizes: tuple[Count, ...]
    """'64 x 64', most frequent first."""
    modes: tuple[Count, ...]
    """'PNG RGB 8 bit', most frequent first."""


@dataclass(frozen=True)
class ImageFacts:
    """What one large picture is."""

    kind: str
    """'JPEG', 'TIFF', 'DZI'..."""
    mode: str
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    patch_size: int
    """Pixels; fixes what level 0 means."""
    finest_level: float
    """Level of the picture's own pixels, octaves."""
    detail_level: float | None
    """Level where its detail ends by its own spectrum, octaves; None: not measured."""
    pyramid_bytes: int
    """Disk space that its pyramid needs."""
    free_bytes: int | None
    """Disk space that is free where the pyramid goes; None: unknown."""


@dataclass(frozen=True)
class PresetCost:
    """What training with one preset would take on this machine."""

    preset: str
    patch_size: int
    """Pixels."""
    device: str
    memory_bytes: int
    """Peak memory of training, or of making a picture of the patches before it, estimated from what
    is stored."""
    checkpoint_bytes: int
    """Size of the checkpoint, counted."""
    state_bytes: int
    """Size of the resumable state in the run's folder, counted."""
    windows_per_second: float | None
    """None: not measured."""
    hours: float | None
    """For `REFERENCE_KIMG` thousand windows; None: not measured."""
    budget_minutes: float
    """What the preset trains for unless it is told otherwise."""
    method: str
    """How the time was found."""


REFERENCE_KIMG = 140
"""Thousands of windows that the painting in this repository was trained with."""


@dataclass(frozen=True)
class DoctorReport:
    """All that the doctor found."""

    path: str
    form: str
    """'dataset.json', 'csv', 'octave folders', 'unlabelled', 'large image', or 'none'."""
    patches: PatchFacts | None
    image: ImageFacts | None
    findings: tuple[Finding, ...]
    """Errors first."""
    costs: tuple[PresetCost, ...]
    excluded: tuple[str, ...]
    """Names for the exclude list, sorted."""
    available_bytes: int | None = None
    """Memory of this machine that is free for training; None: unknown."""
    complete: bool = True
    """False while the doctor is at work."""
    quick: bool = False
    """Whether only a sample was decoded."""

    @property
    def usable(self) -> bool:
        """Whether anything can be trained on."""
        if self.image is not None:
            return not self.count(ERROR)
        if self.patches is None or any(f.kind in _NO_TRAINING for f in self.findings):
            return False
        return self.patches.num_trainable > 0

    def count(self, severity: str) -> int:
        """Findings of this severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def to_json(self) -> str:
        """For programs; see `SCHEMA_VERSION`. Strict JSON, keys in a fixed order."""
        head: dict[str, Any] = {"schema": SCHEMA, "version": SCHEMA_VERSION, "usable": self.usable}
        return json.dumps(head | asdict(self), indent=1, allow_nan=False) + "\n"

    def to_text(self, examples: int | None = 3) -> str:
        """One page of 80 columns; `examples` names a finding (None: all)."""
        from model.data.report_text import report_text

        return report_text(self, examples)

    def exclude_text(self) -> str:
        """The exclude list as a file: names, one a line, under comments with the reasons."""
        names = set(self.excluded)
        lines = ["# patches that training and placement leave out; delete a line to keep one"]
        for finding in self.findings:
            listed = [item.name for item in finding.items if item.name in names]
            if finding.excluded and listed:
                lines += [f"# {finding.kind}: {finding.title}", *sorted(listed)]
                names -= set(listed)
        return "\n".join([*lines, *sorted(names)]) + "\n"
