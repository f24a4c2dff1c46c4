"""Render the tiles of an export, each by itself, on every core."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch

from model.export.plan import TILE_PX, ExportPlan
from model.export.work import WorkFolder
from model.space import ScaleSpace, to_uint8
from model.torch_threads import set_torch_threads

Place = tuple[int, int]
"""Column and strip of a tile."""
Progress = Callable[[float], None]


class TileRenderer:
    """Tiles of one plan. On a CPU as many at once as there are cores, each on one torch thread.

    One by one and not in batches, so that a tile's pixels cannot depend on its company.
    """

    def __init__(
        self, space: ScaleSpace, plan: ExportPlan, pool: ThreadPoolExecutor, ahead: int
    ) -> None:
        """Use `rendering`, which makes the pool; `ahead` tiles are in work at once."""
        self._space, self._plan, self._pool, self._ahead = space, plan, pool, ahead

    def tiles(self, places: Iterable[Place]) -> Generator[np.ndarray, None, None]:
        """The tiles at `places`, in their order: uint8 [TILE_PX, TILE_PX, 3]. Close it early."""
        waiting: deque[Future[np.ndarray]] = deque()
        try:
            for column, strip in places:
                waiting.append(self._pool.submit(self._render, column, strip))
                if len(waiting) >= self._ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _render(self, column: int, strip: int) -> np.ndarray:
        window = self._plan.tile_window(column, strip)
        with torch.inference_mode():
            tile: np.ndarray = to_uint8(self._space.render([window]))[0].cpu().numpy()
        return tile


@contextmanager
def rendering(space: ScaleSpace, plan: ExportPlan) -> Iterator[TileRenderer]:
    """A renderer; its threads have ended afterwards, and torch has its number of threads back."""
    on_cpu = str(getattr(space, "device", "cpu")) == "cpu"
    threads = torch.get_num_threads()
    # With a GPU one thread feeds it; two would only take turns.
    workers = min(threads, os.cpu_count() or 1) if on_cpu else 1
    pool = ThreadPoolExecutor(
        workers, "export", initializer=set_torch_threads, initargs=(1 if on_cpu else threads,)
    )
    try:
        yield TileRenderer(space, plan, pool, 2 * workers)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(threads)


def render_rows(space: ScaleSpace, work: WorkFolder, progress: Progress | None = None) -> None:
    """Render every strip that `work` does not have yet.

    Args:
        space: What is exported.
        work: Begun or resumed.
        progress: Called after each tile with the fraction that is done of what `work` lacked, in
            (0, 1]. Whatever it raises stops the export, keeps the whole strips and reaches the
            caller.
    """
    plan = work.plan
    columns, first = plan.columns, work.done
    total = columns * (plan.strips - first)
    places = ((c, s) for s in range(first, plan.strips) for c in range(columns))
    rows = np.empty((TILE_PX, plan.window.width, 3), np.uint8)
    with rendering(space, plan) as renderer:
        tiles = renderer.tiles(places)
        try:
            for strip in range(first, plan.strips):
                height = plan.strip_rows(strip)
                for column in range(columns):
                    x = column * TILE_PX
                    width = min(TILE_PX, plan.window.width - x)
                    rows[:height, x : x + width] = next(tiles)[:height, :width]
                    if progress is not None:
                        progress(((strip - first) * columns + column + 1) / total)
                work.add_strip(rows[:height])
        finally:
            tiles.close()
