"""Chunks of a frame, side by side on all cores, given up as soon as nobody wants them any more."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from explorer.exact_frame import ExactJob

if TYPE_CHECKING:
    from model.space import ScaleSpace

Wanted = Callable[[], bool]


class GivenUp(Exception):
    """Something else is wanted by now than what was being rendered."""


class ChunkRenderer:
    """Helpers for stillness, each on one core; a GPU needs none."""

    def __init__(self) -> None:
        self.cores = 1
        """Chunks that are rendered side by side."""
        self.gives_up_between_layers = False
        """Whether a chunk that is not wanted any more ends at once."""
        self._pool: ThreadPoolExecutor | None = None
        self._here = _Here()

    def prepare(self, space: ScaleSpace) -> None:
        """Before the first chunk of `space`."""
        on_cpu = str(getattr(space, "device", "cpu")) == "cpu"
        self.cores = (os.cpu_count() or 1) if on_cpu else 1
        if self._pool is None and self.cores > 1:
            from model.torch_threads import set_torch_threads

            self._pool = ThreadPoolExecutor(
                self.cores, "inference-helper", initializer=set_torch_threads, initargs=(1,)
            )
        breathe_with = getattr(space, "breathe_with", None)
        # A picture that is only read has no layers; a GPU has them all queued.
        self.gives_up_between_layers = on_cpu and breathe_with is not None
        if breathe_with is not None:
            breathe_with(self._between_layers)

    def render(self, job: ExactJob, space: ScaleSpace, wanted: Wanted = lambda: True) -> int:
        """Render one chunk on every core (on a GPU just one); returns the number of pixels.

        Chunks side by side, each on one torch thread, and not one chunk on all: changing torch's
        number of threads between moving and resting costs more than several chunks.

        Raises:
            GivenUp: It was not `wanted` any more; asked after every layer of the network. The
                chunks are still to be rendered.
        """

        def one() -> int:
            self._here.wanted = wanted
            try:
                return job.render_next(space)
            finally:
                self._here.wanted = None

        if self._pool is None or self.cores == 1:
            return one()
        chunks = [self._pool.submit(one) for _ in range(min(self.cores, job.left))]
        wait(chunks)  # for all: what was given up is back in the job then
        return sum(chunk.result() for chunk in chunks)

    def shut_down(self) -> None:
        """Let the helpers go."""
        if self._pool is not None:
            self._pool.shutdown()

    def _between_layers(self) -> None:
        """In the thread that renders.

        Raises:
            GivenUp: Nobody wants what it renders.
        """
        wanted = self._here.wanted
        if wanted is not None and not wanted():
            raise GivenUp


class _Here(threading.local):
    """Of the present thread."""

    wanted: Wanted | None = None
    """Whether anybody wants what it renders; None: it renders no chunk."""
