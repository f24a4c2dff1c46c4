"""Moments within a step of training at which it can wait for whoever needs the cores more."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any, TypeVar
from weakref import WeakMethod

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
    computed does not change. A method is held weakly: its owner often holds the network, and the
    two would keep each other, weights and all, until Python looks for circles an hour later.
    """
    if isinstance(breathe, MethodType):
        breathe = _held_weakly(breathe)

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


def _held_weakly(method: MethodType) -> Breathe:
    """The same call; of an owner that is gone nobody waits for anything."""
    held = WeakMethod(method)

    def call() -> None:
        alive = held()
        if alive is not None:
            alive()

    return call


def in_pieces(*tensors: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """Tensors of one shape cut alike along their first axis, into pieces of about `PIECE`."""
    (first, *_) = tensors
    if first.numel() <= PIECE:
        yield tensors
        return
    rows = max(1, PIECE * len(first) // first.numel())
    yield from zip(*(tensor.split(rows) for tensor in tensors), strict=True)


def copy_of(module: M, breathe: Breathe = lambda: None) -> M:
    """A deep copy; `breathe` is called between pieces of large parameters.

    The copies share what is not stored with the weights, such as tables of noise: it never changes.
    """
    large = {id(p): p for p in module.parameters() if p.numel() > PIECE}
    made: dict[int, Any] = {
        key: nn.Parameter(torch.empty_like(p), requires_grad=p.requires_grad)
        for key, p in large.items()
    }
    shared = {id(b): b for m in module.modules() for b in _not_stored(m)}
    copied = copy.deepcopy(module, made | shared)
    with torch.no_grad():
        for key, param in large.items():
            for to, source in in_pieces(made[key], param):
                breathe()
                to.copy_(source)
    return copied


def _not_stored(module: nn.Module) -> Iterator[torch.Tensor]:
    """Buffers of `module` itself that are no part of its state."""
    for name, buffer in module.named_buffers(recurse=False):
        if name in module._non_persistent_buffers_set:
            yield buffer
