"""Where one has been: undo and redo of views. Plain Python."""

from __future__ import annotations

from dataclasses import dataclass

from explorer.camera import Camera
from model.latent import Seed

_SAME_OCTAVES = 0.05
_SAME_PLACE = 0.02
"""Of the shorter side of what is in view."""


@dataclass(frozen=True)
class Visit:
    """A view, and which latent it showed."""

    camera: Camera
    seed: Seed = 0


class ViewHistory:
    """Views in the order of visits, and the one that is shown, as in a web browser."""

    def __init__(self, limit: int = 200) -> None:
        """Keep at most `limit` views (2 or more); the oldest go first."""
        if limit < 2:
            raise ValueError(f"limit must be 2 or more, got {limit}.")
        self.limit = limit
        self._views: list[Visit] = []
        self._index = -1

    def __len__(self) -> int:
        return len(self._views)

    @property
    def can_go_back(self) -> bool:
        """There is a view before the present one."""
        return self._index > 0

    @property
    def can_go_forward(self) -> bool:
        """There is a view that was gone back from."""
        return self._index < len(self._views) - 1

    def clear(self) -> None:
        """Forget everything: another scene was opened."""
        self._views.clear()
        self._index = -1

    def visit(self, here: Visit) -> None:
        """`here` is shown and counts; what was undone before is forgotten, unless it is the same.

        A view of the same latent that differs from the present one by less than 2 % of the window
        and 0.05 octaves is the present one.
        """
        if self._index >= 0 and same_visit(here, self._views[self._index]):
            return
        del self._views[self._index + 1 :]
        self._views.append(here)
        del self._views[: -self.limit]
        self._index = len(self._views) - 1

    def back(self, here: Visit) -> Visit | None:
        """The view before `here`, which is kept for the way forward; None at the beginning."""
        self.visit(here)
        return self._step(-1)

    def forward(self, here: Visit) -> Visit | None:
        """The view that was gone back from; None where there is none, or one has moved since."""
        self.visit(here)
        return self._step(1)

    def _step(self, by: int) -> Visit | None:
        if not 0 <= self._index + by < len(self._views):
            return None
        self._index += by
        return self._views[self._index]


def same_visit(one: Visit, other: Visit) -> bool:
    """Whether nobody would tell the two apart."""
    a, b = one.camera, other.camera
    near = _SAME_PLACE * 2.0 ** -max(a.log2_zoom, b.log2_zoom)
    close = abs(a.cx - b.cx) <= near and abs(a.cy - b.cy) <= near
    return close and abs(a.log2_zoom - b.log2_zoom) <= _SAME_OCTAVES and one.seed == other.seed
