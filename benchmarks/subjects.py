"""What is measured: a checkpoint, an image, a run folder or an untrained preset, on one device."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from model.presets import PRESETS
from model.space import ScaleSpace

DEVICES = ("auto", "cpu", "cuda")
PRESET_FIELD = (1.25, 1.0)
"""Field of an untrained preset, field units: about the painting's that ships."""
PRESET_LEVELS = (0.0, 8.0)
"""Its level range, octaves."""


@dataclass(frozen=True)
class Subject:
    """One thing to measure, and how it runs."""

    source: str
    """Path of a checkpoint, image or run folder, or the name of a preset."""
    device: str = "auto"
    """'auto', 'cpu' or 'cuda'."""
    precision: str = "auto"
    """'auto' is what the app uses; 'fp32' is exact."""

    @property
    def is_preset(self) -> bool:
        """Whether `source` names a preset rather than a file."""
        return self.source in PRESETS

    @property
    def label(self) -> str:
        """Short name for tables."""
        name = f"preset {self.source}" if self.is_preset else Path(self.source).name
        return f"{name} ({self.device})"

    def against(self, other: str) -> Subject:
        """What `--against OTHER` compares this with: another device, preset or file."""
        if other in DEVICES:
            return replace(self, device=other)
        return replace(self, source=other)


def open_subject(subject: Subject) -> ScaleSpace:
    """Open what `subject` names.

    Raises:
        CheckpointError, ValueError, OSError: It cannot be opened; one line says why.
    """
    from model import open_scale_space

    with tempfile.TemporaryDirectory() as folder:
        path = path_of(subject, Path(folder))
        return open_scale_space(path, device=subject.device, precision=subject.precision)


def path_of(subject: Subject, folder: Path) -> Path:
    """The file to open for `subject`; for a preset, a checkpoint of it that is put into `folder`.

    Its weights are those that a training run begins with: the time of a picture does not depend on
    what is in it.
    """
    if not subject.is_preset:
        return Path(subject.source)
    from model.checkpoints import header_of, save_checkpoint
    from model.generator import Generator

    config = PRESETS[subject.source].for_field(PRESET_FIELD, PRESET_LEVELS).generator
    header = header_of(config, {"preset": subject.source, "kimg": 0}, licence="MIT")
    path = folder / f"{subject.source}.safetensors"
    save_checkpoint(path, Generator(config), header)
    return path
