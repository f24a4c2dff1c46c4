"""What crosses between the window and the threads that look at data and train: frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from explorer.messages import Failure

if TYPE_CHECKING:
    from model.data.report import DoctorReport
    from model.space import ScaleSpace

PREPARING, TRAINING, PAUSED, SAVING = "preparing", "training", "paused", "saving"
WAITING = "waiting"
"""For the places of more patches."""


@dataclass(frozen=True)
class LookProgress:
    """The doctor goes on looking."""

    fraction: float
    """0 to 1."""


@dataclass(frozen=True)
class Looked:
    """What the doctor found so far; `report.complete` says whether that is all."""

    report: DoctorReport


@dataclass(frozen=True)
class LookEnded:
    """The doctor has stopped."""

    failure: Failure | None = None


@dataclass(frozen=True)
class Phase:
    """What training does from now on."""

    name: str
    """`PREPARING`, `TRAINING`, `WAITING`, `PAUSED` or `SAVING`."""
    text: str = ""
    """What is being prepared."""
    fraction: float | None = None
    """0 to 1, or None where it is not known."""


@dataclass(frozen=True)
class TrainingTick:
    """Figures of the steps since the last one; a few times a second."""

    step: int
    kimg: float
    """Thousands of windows seen."""
    fraction: float
    """Share of the budget that is used, 0 to 1."""
    seconds_left: float
    """At the present share of the machine."""
    images_per_second: float
    """While it trains; what it waits is left out."""
    losses: dict[str, float] = field(default_factory=dict)
    """Means by name."""


@dataclass(frozen=True)
class TrainingNote:
    """Something that one should know; training goes on."""

    text: str


@dataclass(frozen=True)
class WeightsReady:
    """Newer averaged weights can be shown: `TrainingThread.live` has them."""

    folder: str
    step: int


@dataclass(frozen=True)
class SamplesSaved:
    """A strip of samples lies on the disk."""

    file: str
    step: int
    kimg: float = 0.0
    """Thousands of windows seen."""
    distances: tuple[tuple[str, float], ...] = ()
    """Octave, and how far its samples are: see `model.sample_distance`."""


@dataclass(frozen=True)
class StopFailed:
    """A stop that was to keep the run could not save it: it pauses instead. A `Failure` follows."""


@dataclass(frozen=True)
class TrainingEnded:
    """The thread is about to end."""

    folder: str
    kept: bool
    """The folder holds a run that can be opened and resumed."""
    finished: bool = False
    """The budget is used up."""


TrainingResult = (
    Phase
    | TrainingTick
    | TrainingNote
    | WeightsReady
    | SamplesSaved
    | StopFailed
    | TrainingEnded
    | Failure
)
LookResult = LookProgress | Looked | LookEnded


@dataclass(frozen=True)
class LiveSpace:
    """Weights of a run that is training, frozen. From the training to the inference thread."""

    space: ScaleSpace
    step: int
