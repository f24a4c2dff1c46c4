"""TensorBoard events of a run, beside its log: the same numbers as curves.

Needs the package `tensorboard` (the extra of that name); `log.jsonl` alone is enough for the app.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.runs import RunTick

FOLDER = "events"
"""Inside the run's folder."""


class Events:
    """Writes every tick as scalars, by step.

    Args:
        run: Folder of the run.
        step: From where it goes on; later points, which a kill has undone, are not shown.

    Raises:
        ImportError: The package is not there; the message says what to install.
    """

    def __init__(self, run: Path, step: int = 0) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "TensorBoard events need the package tensorboard: "
                "pip install 'scalespace-explorer[tensorboard]'. The log is written without it."
            ) from error
        self._writer = SummaryWriter(str(run / FOLDER), purge_step=step + 1 if step else None)

    def add(self, tick: RunTick) -> None:
        """One tick; its points are on the disk when this returns."""
        numbers = {f"loss/{name}": value for name, value in tick.losses.items()}
        numbers |= {
            "run/images_per_second": tick.images_per_second,
            "run/kimg": tick.kimg,
            "run/minutes": tick.minutes,
        }
        numbers |= {f"distance/octave_{name}": value for name, value in tick.distances.items()}
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, tick.step)
        if tick.note:
            self._writer.add_text("note", tick.note, tick.step)
        self._writer.flush()

    def close(self) -> None:
        """Let go of the file."""
        self._writer.close()
