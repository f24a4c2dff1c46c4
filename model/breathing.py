"""Moments within a step of training at which it can wait for whoever needs the cores more."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import nn

from model.generator import Generator
from model.layers import ModulatedConv

M = TypeVar("M", bound=nn.Module)
Breathe = Callable[[], object]
"""May wait; raises to give up."""
PIECE = 1 << 20
"""Elements of a large tensor between two moments: a millisecond or two of one core."""
_LAYERS = (ModulatedConv, nn.Conv2d)


def breathe_between_layers(network: nn.Module, breathe: Breathe) -> None:
    """From now on, call `breathe` after every layer of `network`.

    On the way back too, and on the way back of that where a gradient is differentiated. What is
    computed does not change.
    """

    def after(_layer: nn.Module, _inputs: Any, out: torch.Tensor) -> None:
        breathe()
        watch(out)

    def on_the_way_back(grad: torch.Tensor | None) -> None:
        breathe()
        watch(grad)

    def watch(tensor: torch.Tensor | None) -> None:
        if tensor is not None and tensor.requires_grad:
            tensor.register_hook(on_the_way_back)

    for module in network.modules():
        if isinstance(module, _LAYERS):
            module.register_forward_hook(after)
    if isinstance(network, Generator):
        network.breathe = lambda: breathe()  # a function: copies of the network share it


def in_pieces(*tensors: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """Tensors of one shape cut alike along their first axis, into pieces of about `PIECE`."""
    (first, *_) = tensors
    if first.numel() <= PIECE:
        yield tensors
        return
    rows = max(1, PIECE * len(first) // first.numel())
    yield from zip(*(tensor.split(rows) for tensor in tensors), strict=True)


def copy_of(module: M, breathe: Breathe = lambda: None) -> M:
    """A deep copy; `breathe` is called between pieces of large parameters."""
    large = {id(p): p for p in module.parameters() if p.numel() > PIECE}
    made: dict[int, Any] = {
        key: nn.Parameter(torch.empty_like(p), requires_grad=p.requires_grad)
        for key, p in large.items()
    }
    copied = copy.deepcopy(module, dict(made))
    with torch.no_grad():
        for key, param in large.items():
            for to, source in in_pieces(made[key], param):
                breathe()
                to.copy_(source)
    return copied
