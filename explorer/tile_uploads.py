"""Which tiles get a texture in which frame, and when a batch of them was first seen. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from explorer.camera import View
from explorer.config import ViewportConfig
from explorer.tile_grid import TileGrid, TileKey
from explorer.tile_stream import TileStream

if TYPE_CHECKING:
    from explorer.compositor import Compositor

_MAX_SWAP_S = 3.0
_RIM_OCTAVES = 0.4


@dataclass(frozen=True)
class _Batch:
    """Tiles that came together."""

    issued_at: float
    """When they were asked for, s."""
    keys: tuple[TileKey, ...]


class TileUploads:
    """From the cache of a stream to the textures of a compositor, a few tiles in each frame."""

    def __init__(self, stream: TileStream, config: ViewportConfig) -> None:
        self._stream = stream
        self._config = config
        self._fresh: dict[TileKey, None] = {}
        """Tiles that have come and had no texture yet, in their order."""
        self._absent: dict[TileKey, None] = {}
        """Kept tiles in view that have no texture."""
        self._batches: list[_Batch] = []
        self._frames_to_refresh = 0
        self._refreshed_view: View | None = None
        self._swap_by: float | None = None
        """When the content before goes at the latest, s; None: nothing is to be swapped."""

    @property
    def is_waiting(self) -> bool:
        """Something in view has no texture yet."""
        return bool(self._absent)

    def came(self, issued_at: float, keys: tuple[TileKey, ...]) -> None:
        """New tiles are in the cache; they were asked for at `issued_at`, s."""
        self._batches.append(_Batch(issued_at, keys))
        self._fresh.update(dict.fromkeys(keys))

    def clear(self) -> None:
        """Another scene, seed or context: nothing of before will be shown."""
        self._fresh.clear()
        self._absent.clear()
        self._batches.clear()
        self._swap_by = None

    def begin_swap(self, now: float) -> None:
        """The stream is of other content from `now` on, s: what is shown stays until it has come.

        So a picture turns into the next one at once, and never tile by tile.
        """
        self._swap_by = now + _MAX_SWAP_S

    @property
    def is_swapping(self) -> bool:
        """What is shown is still of the content before."""
        return self._swap_by is not None

    def end_swap(self, compositor: Compositor) -> None:
        """What is shown of the content before goes now."""
        if self._swap_by is not None:
            self._swap_by = None
            compositor.clear_scene(keep_preview=True)

    def upload(
        self, compositor: Compositor, grid: TileGrid, view: View, now: float, moving: bool
    ) -> set[TileKey]:
        """Give tiles of `view` a texture, as many as a frame's budget allows; returns these."""
        if self._swap_by is not None:
            cover = self._stream.cover(view, _RIM_OCTAVES if moving else 0.0)
            if cover is None and now < self._swap_by:
                return set()
            self.end_swap(compositor)
            self._refreshed_view = None
            for key in cover or ():
                pixels = self._stream.cache.get(key)
                if pixels is not None:
                    compositor.upload(key, pixels, now, fade=False)
        self._frames_to_refresh -= 1
        if self._frames_to_refresh <= 0 or (view != self._refreshed_view and not moving):
            # Everything that is kept and in view; also marks it as used. Not in every frame.
            wanted = self._stream.drawable(view, compositor.capacity * 3 // 4)
            self._absent = dict.fromkeys(key for key in wanted if not compositor.holds(key))
            self._frames_to_refresh = self._config.refresh_frames
            self._refreshed_view = view
        elif self._fresh:
            shown = {step: grid.tiles(step, view) for step in {key.step for key in self._fresh}}
            finest = self._stream.finest_drawn(view)
            for key in self._fresh:
                if key.step <= finest and shown[key.step].holds(key):
                    self._absent[key] = None
        uploaded: set[TileKey] = set()
        for key in list(self._absent)[: self._config.uploads_per_frame]:
            del self._absent[key]
            pixels = self._stream.cache.get(key)
            if pixels is not None:
                compositor.upload(key, pixels, now, fade=key in self._fresh)
                uploaded.add(key)
        self._fresh = {key: None for key in self._fresh if key in self._absent}
        return uploaded

    def first_seen(self, uploaded: set[TileKey]) -> list[tuple[float, int]]:
        """Batches that show for the first time now: when they were asked for, s, and how many."""
        seen, waiting = [], []
        for batch in self._batches:
            count = sum(key in uploaded for key in batch.keys)
            if count:
                seen.append((batch.issued_at, count))
            elif any(key in self._fresh for key in batch.keys):
                waiting.append(batch)
        self._batches = waiting
        return seen
