"""Training that begins with the coarsest patches, while the others are still finding their places.

The coarsest few hundred are placed alone, within seconds: they say where the field lies, and the
picture that they make is learned at once. All others are then sought in another thread; whenever
these reach an octave further, and at last, there is a fuller picture to go on with. How the places
come out does not depend on when: frame and table are the same whatever was learned meanwhile.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from model.data.patches import PatchCollection
from model.placement.collection import compared_size, saved_state
from model.placement.frame import (
    FRAME,
    Frame,
    place_coarsest,
    read_frame,
    write_frame,
)
from model.placement.place import PlacementState
from model.training_data import PlacedData
from model.training_sets import (
    PLACES,
    PatchSet,
    Report,
    Tell,
    composed_data,
    placed_data,
)

STAGES = "stages"
"""Folder inside the run's: pictures of what is placed so far, until all is."""
LEAST_PATCHES = 3000
"""Fewer have their places within seconds, all of them."""
_STEP = 0.9
"""Octaves by which what is placed must reach further before it is worth a new picture."""


@dataclass(frozen=True)
class Stage:
    """What can be learned by now."""

    data: PlacedData
    finest: float | None
    """Level up to which patches have been sought, octaves; None: all have."""
    patches: int
    """How many have been sought, of those that have their place; of all where all have."""

    @property
    def note(self) -> str:
        """One line for the log."""
        if self.finest is None:
            return f"All {self.patches:,} patches have been sought; every level is learned now."
        return f"{self.patches:,} patches have their place: levels up to {self.finest:.1f}."


class Placing:
    """Patches that find their places while what they show already is learned.

    Made and begun in one thread; `work` belongs into another.
    """

    def __init__(
        self,
        collection: PatchCollection,
        folder: Path,
        patch_size: int,
        cache: Path | None,
        frame: Frame,
    ) -> None:
        """Use `begin`."""
        self._collection, self._folder, self._patch_size = collection, folder, patch_size
        self._cache, self._frame = cache, frame
        self._finest = -np.inf
        self._report: Report = _ignore
        self._ready: Callable[[Stage], None] = _drop

    @classmethod
    def begin(
        cls,
        collection: PatchCollection,
        folder: Path,
        patch_size: int,
        cache: Path | None,
        resume: bool,
        report: Report,
    ) -> Self | None:
        """Place the coarsest patches.

        Args:
            collection: Patches of one scene; it is closed by `close`.
            folder: Of the run.
            patch_size: Pixels.
            cache: For the pyramid of the whole picture; None keeps it with the run.
            resume: The run goes on.
            report: See `Report`.

        Returns:
            None where all must have a place first: they are few, they have places or are
            photographs, the coarsest do not tell enough, or the run that goes on is past it.

        Raises:
            ValueError: What the folder holds is of other data.
            OSError: A file cannot be read or written.
        """
        if resume and ((folder / PLACES).exists() or not (folder / FRAME).exists()):
            return None
        patches = collection.patches
        many = len(patches) >= LEAST_PATCHES and len(collection.scenes) == 1
        labelled = any(p.level is not None for p in patches)
        if not many or not labelled or any(p.center_xy for p in patches):
            return None
        if not resume:
            size = compared_size(collection)
            label = "placing the coarsest patches"
            files = place_coarsest(collection, size, lambda f: report(label, f))
            if files is None:
                return None
            folder.mkdir(parents=True, exist_ok=True)
            write_frame(folder, files)
        frame = read_frame(folder, collection)
        assert frame is not None, "it is there: written above, or seen there"
        return cls(collection, folder, patch_size, cache, frame)

    def first(self) -> Stage:
        """What is known now: the coarsest patches, or where a run that goes on was.

        Raises:
            ValueError: What the folder holds is of other data.
            OSError: A file cannot be read or written.
        """
        state = saved_state(self._collection, self._folder / PLACES)
        if state is not None:
            return self._stage(np.arange(len(state.status)), state)
        frame = self._frame
        return self._composed(frame.rows, frame.level, frame.center_xy)

    def work(self, report: Report, ready: Callable[[Stage], None], tell: Tell) -> None:
        """Place all patches; `ready` gets fuller and fuller pictures, at last the whole one.

        Args:
            report: See `Report`; may wait.
            ready: Called from this thread; whoever gets a stage closes its picture.
            tell: See `Tell`.

        Raises:
            ValueError: Nothing finds a place.
            OSError: A file cannot be written; what was placed so far is kept.
        """
        self._report, self._ready = report, ready
        data = placed_data(
            self._collection,
            self._folder,
            self._patch_size,
            self._cache,
            report,
            reuse=True,
            tell=tell,
            on_state=self._on_state,
        )
        ready(Stage(data, None, len(self._collection)))

    def close(self) -> None:
        """Let go of the data, and of the pictures of what was placed on the way."""
        self._collection.close()
        shutil.rmtree(self._folder / STAGES, ignore_errors=True)

    def _on_state(self, rows: np.ndarray, state: PlacementState) -> None:
        """A half octave has been sought."""
        levels = state.level[state.status == 0] + self._frame.octaves
        if levels.max() >= self._finest + _STEP:
            self._ready(self._stage(rows, state))

    def _stage(self, rows: np.ndarray, state: PlacementState) -> Stage:
        placed = state.status == 0
        return self._composed(rows[placed], state.level[placed], state.center_xy[placed])

    def _composed(self, rows: np.ndarray, level: np.ndarray, center_xy: np.ndarray) -> Stage:
        """The picture that these patches make."""
        images = self._collection.images(rows, self._patch_size)
        folder = self._folder / STAGES
        folder.mkdir(parents=True, exist_ok=True)
        patches = PatchSet(images, level, center_xy, rows=rows)
        # Each picture has its own file: the last one is still being looked at.
        mosaic = folder / f"{len(rows)}.tif"
        mosaic.unlink(missing_ok=True)
        data = composed_data(patches, self._frame, mosaic, folder, self._report)
        self._finest = data.level_range[1]
        labels = [p.level for p in self._collection.patches if p.level is not None]
        reach = (min(labels) + self._frame.octaves, max(labels) + self._frame.octaves)
        whole = PlacedData(data.pyramid, data.detail, data.patches, data.field_size, reach)
        return Stage(whole, self._finest + PlacedData.REACH, len(rows))


def _ignore(label: str, fraction: float) -> None:
    """Nobody is told."""


def _drop(stage: Stage) -> None:
    """Nobody goes on with it."""
