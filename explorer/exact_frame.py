"""A frame at exactly one level and offset, rendered chunk by chunk; in the inference thread."""

from __future__ import annotations

import mmap
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from explorer.messages import ExactView
from model.latent import Seed

if TYPE_CHECKING:
    from model.space import ScaleSpace


class ExactJob:
    """A frame that is rendered chunk by chunk, so that a new wish can interrupt it."""

    def __init__(self, view: ExactView, patch_size: int, seed: Seed, side: int) -> None:
        import numpy as np

        from model.rendering import cut_into_tiles
        from model.space import Window

        width, height = view.size
        self.view, self.seed = view, seed
        self.begun_at = time.perf_counter()
        # Memory of its own, which goes back to the system whole; in the heap, frames of ever new
        # sizes would leave gaps between the maps of the network.
        memory = mmap.mmap(-1, height * width * 4)
        self.pixels = np.frombuffer(memory, np.uint8).reshape(height, width, 4)
        window = Window(view.origin_xy, view.level, height, width, seed)
        self._chunks = deque(cut_into_tiles(window, patch_size, side))

    @property
    def left(self) -> int:
        """Chunks that nobody has taken yet."""
        return len(self._chunks)

    @property
    def is_whole(self) -> bool:
        """Nothing is missing."""
        return not self._chunks

    def render_next(self, space: ScaleSpace) -> int:
        """Render one chunk, or raise and leave it to be rendered; returns its number of pixels."""
        chunk = self._chunks.popleft()
        try:
            img = space.render([chunk.window])
        except BaseException:
            self._chunks.appendleft(chunk)
            raise
        chunk.paste(to_rgba(img)[0], self.pixels)
        return chunk.window.width * chunk.window.height


def to_rgba(img: Any) -> Any:
    """Display bytes: float [N, 3, H, W] in [-1, 1] to read-only uint8 RGBA [N, H, W, 4]."""
    import numpy as np
    import torch

    from model.space import to_rgba8, to_uint8

    with torch.inference_mode():
        if img.is_cuda:
            rgba = to_rgba8(img).cpu().numpy()  # nothing but the finished bytes leaves it
            rgba.flags.writeable = False
            return rgba
        rgb = to_uint8(img).cpu().numpy()
    rgba = np.empty((*rgb.shape[:3], 4), np.uint8)
    rgba[..., :3] = rgb
    rgba[..., 3] = 255
    rgba.flags.writeable = False
    return rgba
