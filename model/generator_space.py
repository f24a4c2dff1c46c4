"""A trained generator as a scale space that anyone can render from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch

from model.allocator import bound_memory
from model.breathing import Breathe, breathe_between_layers
from model.generator import Generator
from model.graphs import Graphs
from model.header import CheckpointHeader
from model.latent import Latent, Seed
from model.out_of_memory import free_cached, render_in_halves
from model.rendering import render_view
from model.space import Window, check_batch
from model.styles import Styles, draw_z
from model.synthesis_graphs import SynthesisGraphs, widened

_KEPT_SHARE = 1 / 8
"""Of a GPU's memory, at most, in inputs and results of recordings. One of 1920 x 1080 pixels takes
0.3 GiB (`laptop`) to 0.9 (`paper`, reckoned), and a window that is resized leaves many behind."""


class GeneratorSpace:
    """A generator behind the `ScaleSpace` interface. Its weights are never trained further.

    Args:
        generator: In evaluation; taken over.
        header: What the checkpoint says of itself.
        identity: Names the weights.
        dtype: Of the convolutions.
    """

    def __init__(
        self, generator: Generator, header: CheckpointHeader, identity: str, dtype: torch.dtype
    ) -> None:
        bound_memory()
        self.generator = generator.requires_grad_(False).eval()
        self.header, self.identity, self.dtype = header, identity, dtype
        self.patch_size = header.patch_size
        self.field_size = header.field_size
        self.level_range = header.level_range
        self._styles = Styles(generator.mapping, generator.device)
        self._breathe: Breathe | None = None
        self._graphs: SynthesisGraphs | None = None
        if generator.device.type == "cuda":
            memory = torch.cuda.get_device_properties(generator.device).total_memory
            graphs = Graphs(most_bytes=int(_KEPT_SHARE * memory))
            self._graphs = SynthesisGraphs(generator, graphs)

    @property
    def device(self) -> torch.device:
        return self.generator.device

    @property
    def has_latents(self) -> bool:
        """Whether a seed changes the picture."""
        return self.generator.config.z_dim > 0

    def breathe_with(self, breathe: Breathe) -> None:
        """From now on, call `breathe` after every layer, in the thread that renders.

        It may wait, or raise, to give up what is being rendered: `render` then raises the same. On
        a GPU, which is done in milliseconds, nothing is called.
        """
        if self._graphs is not None:
            return
        if self._breathe is None:
            breathe_between_layers(self.generator, self._give_way)
        self._breathe = breathe

    def _give_way(self) -> None:
        if self._breathe is not None:
            self._breathe()

    @torch.inference_mode()
    def render(self, windows: Sequence[Window]) -> torch.Tensor:
        """See `model.space.ScaleSpace.render`; any level, also beyond `level_range`."""
        check_batch(windows)
        groups: dict[tuple[int, int], list[int]] = {}
        for i, alignment in enumerate(self.generator.alignments(windows)):
            groups.setdefault(alignment, []).append(i)
        z, w = self._style(windows[0])
        parts: dict[int, torch.Tensor] = {}
        for indices in groups.values():
            img = render_in_halves(
                lambda some: self._fitting(some, z, w), [windows[i] for i in indices]
            )
            parts |= dict(zip(indices, img.clamp_(-1, 1), strict=True))
        return torch.stack([parts[i] for i in range(len(windows))])

    def _fitting(
        self, windows: Sequence[Window], z: torch.Tensor | None, w: torch.Tensor | None
    ) -> torch.Tensor:
        """See `_images`; where a GPU's memory is full, once more without what recordings keep."""
        try:
            return self._images(windows, z, w)
        except torch.OutOfMemoryError:
            if self._graphs is None:
                raise
        # Outside the handler: the traceback would keep some of them alive.
        self._graphs.forget()
        free_cached()
        return self._images(windows, z, w)

    def _images(
        self, windows: Sequence[Window], z: torch.Tensor | None, w: torch.Tensor | None
    ) -> torch.Tensor:
        """Windows of one alignment, [N, 3, H, W]."""
        if self._graphs is None:
            return self.generator(windows, z, self.dtype, w)
        grown, (left, top) = widened(windows, self.patch_size, self.generator.alignment)
        img = self.generator(grown, z, self.dtype, w, self._graphs)
        height, width = windows[0].height, windows[0].width
        return img[:, :, top : top + height, left : left + width]

    def _style(self, window: Window) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """z [1, z_dim] of a seed, or w [1, style_dim] of a blend; neither for a single scene."""
        dim, seed = self.generator.config.z_dim, window.seed
        if not dim:
            return None, None
        if isinstance(seed, Latent):
            return None, self._styles.of(window.level, seed)
        return draw_z(seed, dim).to(self.device), None

    def render_view(
        self, center_xy: tuple[float, float], level: float, size: tuple[int, int], seed: Seed = 0
    ) -> np.ndarray:
        """The uint8 [H, W, 3] that the app shows; see `model.rendering.render_view`."""
        return render_view(self, center_xy, level, size, seed)


def identity_of(tensors: dict[str, torch.Tensor]) -> str:
    """A short name of the weights' content."""
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
