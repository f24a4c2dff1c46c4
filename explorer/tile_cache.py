"""What was rendered is kept for a while: bounded, and in one place."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from explorer.tile_grid import TileKey

if TYPE_CHECKING:
    from explorer.messages import Pixels


class TileCache:
    """Rendered tiles, at most `max_bytes`: the least recently used go first, pinned ones stay.

    All lie in one block of memory, and a new tile takes the place of a dropped one: thousands of
    small arrays that come and go would leave gaps that nothing else fits into.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._block: Pixels | None = None
        self._free: list[int] = []
        self._places: OrderedDict[TileKey, int] = OrderedDict()
        self._pinned: dict[TileKey, int] = {}

    def __contains__(self, key: TileKey) -> bool:
        return key in self._places or key in self._pinned

    def __len__(self) -> int:
        return len(self._places) + len(self._pinned)

    @property
    def bytes(self) -> int:
        """Of the tiles that are kept."""
        return 0 if self._block is None else len(self) * self._block[0].nbytes

    def get(self, key: TileKey) -> Pixels | None:
        """The tile, now the most recently used, or None; its pixels hold until the next `put`."""
        place = self._places.get(key)
        if place is not None:
            self._places.move_to_end(key)
        else:
            place = self._pinned.get(key)
        return None if place is None or self._block is None else self._block[place]

    def put(self, key: TileKey, tile: Pixels, pinned: bool = False) -> None:
        """Keep a copy of `tile` (all of one shape); the least recently used one makes room.

        Where the pinned ones leave no room, it is not kept.
        """
        if key in self:
            return
        if self._block is None or (not len(self) and self._block[0].shape != tile.shape):
            # Filled, and so had at once: the process does not grow for minutes until it is full.
            self._block = tile[None].repeat(self.max_bytes // tile.nbytes, axis=0)
            self._free = list(range(len(self._block)))
        if self._free:
            place = self._free.pop()
        elif self._places:
            _, place = self._places.popitem(last=False)
        else:
            return
        self._block[place] = tile
        (self._pinned if pinned else self._places)[key] = place

    def clear(self) -> None:
        """Drop everything; the next tiles may have another shape."""
        self._free += [*self._places.values(), *self._pinned.values()]
        self._places.clear()
        self._pinned.clear()
