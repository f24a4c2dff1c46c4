"""Small pictures that panels want: of each owner the newest request, one picture after another.

The inference thread renders a picture in chunks, and looks for better things to do between them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from explorer.exact_frame import ExactJob
from explorer.messages import ExactView, PictureRequest, PicturesReady


class PictureJobs:
    """What is waited for. `ask` from any thread, the rest from the inference thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, PictureRequest] = {}
        self._done: dict[str, int] = {}
        self._job: tuple[PictureRequest, int, ExactJob] | None = None
        self._ready: list[PicturesReady] = []

    def ask(self, request: PictureRequest) -> None:
        """Replace what its owner waits for; without pictures, the owner waits for nothing."""
        with self._lock:
            # Behind the other owners, so that one who asks all the time leaves them their turn.
            self._waiting.pop(request.owner, None)
            if request.pictures:
                self._waiting[request.owner] = request
                self._done[request.owner] = 0

    def has(self, scene: str) -> bool:
        """Whether a picture of the scene of this identity is waited for."""
        with self._lock:
            return any(request.scene == scene for request in self._waiting.values())

    @contextmanager
    def next(
        self, scene: str, patch_size: int, chunk_px: Callable[[ExactView], int]
    ) -> Iterator[ExactJob | None]:
        """The picture to go on with, None where there is none; in chunks of that side.

        It counts when the block ends with the picture whole; an exception in the block ends the
        whole request, so that what cannot be rendered is not tried for ever.
        """
        found = self._find(scene, patch_size, chunk_px)
        if found is None:
            yield None
            return
        request, index, job = found
        try:
            yield job
        except BaseException:
            self._job = None
            self._drop(request)
            raise
        self._job = found if not job.is_whole else None
        if job.is_whole:
            job.pixels.flags.writeable = False
            self._ready.append(PicturesReady(request, index, (job.pixels,)))
            self._count(request, index + 1)

    def take(self) -> list[PicturesReady]:
        """Pictures that have become whole since the last call."""
        ready, self._ready = self._ready, []
        return ready

    def _find(
        self, scene: str, patch_size: int, chunk_px: Callable[[ExactView], int]
    ) -> tuple[PictureRequest, int, ExactJob] | None:
        with self._lock:
            mine = [r for r in self._waiting.values() if r.scene == scene]
            if self._job is not None and any(r is self._job[0] for r in mine):
                return self._job
            if not mine:
                return None
            request = mine[0]
            index = self._done[request.owner]
        picture = request.pictures[index]
        side = chunk_px(picture.view)
        return request, index, ExactJob(picture.view, patch_size, picture.seed, side)

    def _count(self, request: PictureRequest, done: int) -> None:
        with self._lock:
            if self._waiting.get(request.owner) is request:
                self._done[request.owner] = done
                if done == len(request.pictures):
                    del self._waiting[request.owner]

    def _drop(self, request: PictureRequest) -> None:
        with self._lock:
            if self._waiting.get(request.owner) is request:
                del self._waiting[request.owner]
