"""A generator's layers as recordings: see `model.graphs`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from model.generator import Generator, Heard, Place
from model.graphs import Graphs
from model.lattice import StageSpans
from model.scale import Lattice, density
from model.space import Window

_MOST_PIXELS = 1 << 22
"""Of a batch: beyond, the GPU takes longer than the host, and its maps would stay in memory."""


class SynthesisGraphs:
    """`Generator.synthesize`, replayed where a shape comes up again and again."""

    def __init__(self, generator: Generator, graphs: Graphs, role: str = "") -> None:
        """`role`: tells apart results of which several are differentiated at a time."""
        self._generator, self._graphs, self._role = generator, graphs, role
        self._params = [p for p in generator.stages.parameters() if p.requires_grad]

    def __call__(
        self, places: Sequence[Place], heard: Sequence[Heard], w: torch.Tensor
    ) -> torch.Tensor:
        """See `Generator.synthesize`."""
        finest = places[-1]
        if len(finest.xs) * finest.x.image.size * finest.y.image.size > _MOST_PIXELS:
            return self._generator.synthesize(places, heard, w)
        heard = [
            part.totalled(stage.width)
            for part, stage in zip(heard, self._generator.stages, strict=True)
        ]
        inputs = [w, *(t for part in heard for t in _tensors(part))]

        def layers(own_w: torch.Tensor, *tensors: torch.Tensor) -> torch.Tensor:
            left = iter(tensors)
            return self._generator.synthesize(places, [_with(p, left) for p in heard], own_w)

        kinds = tuple((part.total is None, part.picture is None, part.dtype) for part in heard)
        key = (self._role, _layout(places), kinds)
        if not torch.is_grad_enabled():
            return self._graphs.run(key, lambda *t: (layers(*t),), inputs)[0]
        return self._graphs.differentiable(key, layers, inputs, self._params)

    def forget(self) -> None:
        """See `Graphs.forget`."""
        self._graphs.forget()


def widened(
    windows: Sequence[Window], patch_size: int, alignment: int
) -> tuple[list[Window], tuple[int, int]]:
    """Windows of one alignment, grown to whole pixels of the coarsest stage.

    So that every place asks for the same shapes.

    Args:
        windows: Of one level and size, which agree modulo `alignment` pixels.
        patch_size: Pixels; fixes what level 0 means.
        alignment: Pixels.

    Returns:
        The windows, and how many columns and rows of each lie before the window asked for.
    """
    first = windows[0]
    d = density(first.level, patch_size)
    left, top = (Lattice.at(v, d).first % alignment for v in first.origin_xy)
    if not any((left, top, first.width % alignment, first.height % alignment)):
        return list(windows), (0, 0)
    width, height = (
        (side + 2 * (alignment - 1)) // alignment * alignment
        for side in (first.width, first.height)
    )

    def before(origin: float, pixels: int) -> float:
        lattice = Lattice.at(origin, d)
        return (lattice.first - pixels + lattice.phase) / d

    grown = [
        replace(
            w,
            origin_xy=(before(w.origin_xy[0], left), before(w.origin_xy[1], top)),
            width=width,
            height=height,
        )
        for w in windows
    ]
    return grown, (left, top)


def _layout(places: Sequence[Place]) -> tuple[tuple[int, ...], ...]:
    """How the stages of a batch lie to each other, wherever in the field they are."""
    below = [places[0], *places[:-1]]
    return tuple(
        (*_relative(here.x, under.x), *_relative(here.y, under.y))
        for here, under in zip(places, below, strict=True)
    )


def _relative(here: StageSpans, below: StageSpans) -> tuple[int, ...]:
    is_coarsest = here is below
    return (
        here.entry.size,
        here.exit.begin - here.entry.begin,
        here.exit.size,
        here.image.begin - here.exit.begin,
        here.image.size,
        0 if is_coarsest else here.entry.begin - 2 * below.exit.begin,
        0 if is_coarsest else here.image.begin - 2 * below.image.begin,
    )


def _tensors(part: Heard) -> Iterator[torch.Tensor]:
    return (t for t in (part.total, part.picture) if t is not None)


def _with(part: Heard, tensors: Iterator[torch.Tensor]) -> Heard:
    """`part` with the next of `tensors` in place of its own."""
    total, picture = (None if t is None else next(tensors) for t in (part.total, part.picture))
    return replace(part, total=total, picture=picture)
