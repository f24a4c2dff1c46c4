"""The files in the folder of a training run, for whoever looks at them and does not train."""

from __future__ import annotations

from pathlib import Path

CONFIG, LOG, STATE, CHECKPOINT = (
    "config.json",
    "log.jsonl",
    "state.resume",
    "checkpoint.safetensors",
)
LOCK = ".training.lock"
"""See `model.run_lock`."""
_WEIGHTS = Path(CHECKPOINT).suffix


def is_run(folder: Path) -> bool:
    """Whether a run that can go on lies there; not, where nobody can look: its drive has gone."""
    try:
        return (folder / STATE).is_file()
    except OSError:
        return False


def run_of(path: Path) -> Path | None:
    """The run that `path` is, or is a checkpoint of; None where it is of none."""
    if path.is_dir():
        return path if is_run(path) else None
    return path.parent if path.suffix == _WEIGHTS and is_run(path.parent) else None
