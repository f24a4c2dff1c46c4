"""One launch instead of a hundred and fifty: work on a GPU that comes again, as CUDA graphs.

A GPU is done with a layer of a frame, or of a step of training, before the host has queued the next
one. So what depends on shapes alone is recorded once a shape and replayed on new inputs. Whatever
changes from call to call has to be in the inputs: a recording keeps addresses and plain numbers.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias
from weakref import WeakSet

import torch

logger = logging.getLogger(__name__)

_MET = 3
"""Times that a shape is asked for until it is recorded: recording takes as long as some calls."""
_KEPT = 24
"""Recordings at most; the one that was not used for longest goes."""
_KNOWN = 256
"""Shapes whose calls are counted."""

CAPTURING = threading.RLock()
"""Held while CUDA takes work down, and by whoever gives memory back: torch refuses that meanwhile,
in every thread."""

Tensors: TypeAlias = "tuple[torch.Tensor, ...]"
Work = Callable[..., Tensors]
"""Of tensors on one device, without a look at their values."""


Run = Callable[[Hashable, Work, Sequence[torch.Tensor]], Tensors]
"""Does work on inputs, for `Graphs.run`'s key: see there."""


def plainly(_key: Hashable, work: Work, inputs: Sequence[torch.Tensor]) -> Tensors:
    """The `Run` that records nothing."""
    return work(*inputs)


class Recording(Protocol):
    """Work that was taken down."""

    def replay(self) -> None:
        """All of it again, on the memory that it was recorded on."""
        ...


class Recorder(Protocol):
    """Takes down what a function does on the GPU. The tests have one that needs none."""

    def __call__(self, run: Callable[[], Any]) -> tuple[Recording, Any]:
        """The recording, and what `run` returned: memory that a replay fills again."""
        ...

    def apart(self) -> Recorder:
        """One whose recordings keep what they hold while others are replayed."""
        ...


class CudaRecorder:
    """CUDA graphs that share their memory: nothing of one is needed when the next is replayed.

    What differentiates must run on a stream of its own, here and where it is not recorded: autograd
    ties each parameter to a stream, and torch's default one cannot be recorded.
    """

    def __init__(self) -> None:
        self._pool: Any = None
        self._in_pool: WeakSet[torch.cuda.CUDAGraph] = WeakSet()
        """With the last of them the pool ends: torch takes nothing into it ever after."""

    def apart(self) -> CudaRecorder:
        """See `Recorder`: memory of its own."""
        return CudaRecorder()

    def __call__(self, run: Callable[[], Any]) -> tuple[Recording, Any]:
        with CAPTURING:
            if not self._in_pool:
                self._pool = torch.cuda.graph_pool_handle()
            try:
                graph, out = self._captured(run)
            except BaseException:
                self._in_pool = WeakSet()  # the pool may have ended, or be left open
                raise
            self._in_pool.add(graph)
            return graph, out

    def _captured(self, run: Callable[[], Any]) -> tuple[torch.cuda.CUDAGraph, Any]:
        here = stream = torch.cuda.current_stream()
        if here == torch.cuda.default_stream(here.device):
            stream = _side_stream(here.device)
        stream.wait_stream(here)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(stream):
            # Not `torch.cuda.graph`: it collects Python's garbage first, and a frame would stick.
            # Other threads may allocate meanwhile.
            graph.capture_begin(self._pool, capture_error_mode="thread_local")
            try:
                out = run()
            except BaseException:
                with suppress(RuntimeError):  # what went wrong first says more
                    graph.capture_end()
                raise
            graph.capture_end()
        here.wait_stream(stream)
        return graph, out


@functools.cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """What all recorders of a device record on where its default stream is the current one.

    torch hands out the same 32 streams again and again. Of those of high priority nobody else takes
    one; of the others it would some day be the one that training works on.
    """
    return torch.cuda.Stream(device, priority=-1)


class Graphs:
    """Work by key and shapes, done plainly at first and replayed from its third time on.

    From any thread; replays follow each other. Where the driver refuses once, everything is done
    plainly for ever after, and the log says so.

    Args:
        recorder: What takes work down; None: CUDA.
        most_bytes: Of inputs and results that the recordings keep together, but for the newest,
            which is kept whatever it takes; None: their number alone is bounded.
    """

    def __init__(self, recorder: Recorder | None = None, most_bytes: int | None = None) -> None:
        self._record = recorder or CudaRecorder()
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, _Plain | _WithGradients] = OrderedDict()
        self._met: OrderedDict[Hashable, int] = OrderedDict()
        self._refused = False
        self._lock = threading.RLock()

    def run(self, key: Hashable, work: Work, inputs: Sequence[torch.Tensor]) -> Tensors:
        """`work(*inputs)`; of equal `key` and shapes it must do the same.

        Whatever else it reads, weights say, must stay where it is. Results are of the caller's own.
        No gradient passes through; `work` itself may differentiate.
        """
        whole = ("plain", key, _shapes(inputs))
        with self._lock:
            kept = self._found(whole, lambda: _Plain.of(self._record, work, inputs))
            if kept is None:
                return work(*inputs)
            assert isinstance(kept, _Plain)
            return kept(inputs)

    def differentiable(
        self,
        key: Hashable,
        work: Callable[..., torch.Tensor],
        inputs: Sequence[torch.Tensor],
        params: Sequence[torch.Tensor],
    ) -> torch.Tensor:
        """As `run`, for one result; gradients reach `inputs` and `params`, once.

        A key must not be asked for again before the gradient of its last result was taken.
        """
        needs = tuple(t.requires_grad for t in inputs)
        whole = ("grad", key, needs, _shapes(inputs))
        with self._lock:
            kept = self._found(
                whole, lambda: _WithGradients.of(self._record, work, inputs, needs, params)
            )
            if kept is None:
                return work(*inputs)
            assert isinstance(kept, _WithGradients)
            out: torch.Tensor = _Replayed.apply(kept, *inputs, *params)
            return out

    def forget(self) -> None:
        """Give back the memory of all recordings."""
        with self._lock:
            self._kept.clear()
            self._met.clear()

    def _found(
        self, key: Hashable, make: Callable[[], _Plain | _WithGradients]
    ) -> _Plain | _WithGradients | None:
        """What is recorded under `key`; None: do it plainly."""
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        if self._refused or not self._is_met_often(key):
            return None
        try:
            kept = self._kept[key] = make()
        except torch.OutOfMemoryError:
            return None  # done plainly it may still fit
        except RuntimeError as error:
            self._refused = True
            line = str(error).splitlines()[0]
            logger.warning("CUDA graphs are off: %s. Frames and steps take longer.", line)
            return None
        while len(self._kept) > 1 and self._are_too_many():
            self._kept.popitem(last=False)
        return kept

    def _are_too_many(self) -> bool:
        held = sum(kept.held_bytes for kept in self._kept.values())
        return len(self._kept) > _KEPT or (self._most_bytes is not None and held > self._most_bytes)

    def _is_met_often(self, key: Hashable) -> bool:
        count = self._met.pop(key, 0) + 1
        if count >= _MET:
            return True
        self._met[key] = count
        while len(self._met) > _KNOWN:
            self._met.popitem(last=False)
        return False


@dataclass(frozen=True)
class _Plain:
    """A recording with inputs and results of its own."""

    recording: Recording
    inputs: Tensors
    results: Tensors

    @classmethod
    def of(cls, record: Recorder, work: Work, inputs: Sequence[torch.Tensor]) -> _Plain:
        own = tuple(torch.empty_like(t).copy_(t) for t in inputs)
        recording, results = record(lambda: work(*own))
        return cls(recording, own, results)

    @property
    def held_bytes(self) -> int:
        return _bytes(*self.inputs, *self.results)

    def __call__(self, inputs: Sequence[torch.Tensor]) -> Tensors:
        _fill(self.inputs, inputs)
        self.recording.replay()
        return tuple(t.clone() for t in self.results)  # the next replay overwrites them


@dataclass(frozen=True)
class _WithGradients:
    """Recordings of the way there and of the way back."""

    forth: Recording
    back: Recording
    inputs: Tensors
    out: torch.Tensor
    grad_out: torch.Tensor
    grads: tuple[torch.Tensor | None, ...]
    """At the inputs, then at the parameters; None where there is none."""

    @property
    def held_bytes(self) -> int:
        grads = (g for g in self.grads if g is not None)
        return _bytes(*self.inputs, self.out, self.grad_out, *grads)

    @classmethod
    def of(
        cls,
        record: Recorder,
        work: Callable[..., torch.Tensor],
        inputs: Sequence[torch.Tensor],
        needs: Sequence[bool],
        params: Sequence[torch.Tensor],
    ) -> _WithGradients:
        own = tuple(
            torch.empty_like(t).copy_(t.detach()).requires_grad_(need)
            for t, need in zip(inputs, needs, strict=True)
        )
        # What the way there saves must last until the way back.
        record = record.apart()
        with torch.enable_grad():
            forth, out = record(lambda: work(*own))
            grad_out = torch.zeros_like(out)
            wanted = [t for t in (*own, *params) if t.requires_grad]
            # The graph is retained: what it saved is read by every replay.
            back, found = record(
                lambda: torch.autograd.grad(
                    out, wanted, grad_out, retain_graph=True, allow_unused=True
                )
            )
        of_wanted = iter(found)
        grads = tuple(next(of_wanted) if t.requires_grad else None for t in (*own, *params))
        return cls(forth, back, own, out, grad_out, grads)


class _Replayed(torch.autograd.Function):
    """A `_WithGradients` as a function of its inputs and parameters."""

    @staticmethod
    def forward(ctx: Any, kept: _WithGradients, *tensors: torch.Tensor) -> torch.Tensor:
        ctx.kept = kept
        _fill(kept.inputs, tensors[: len(kept.inputs)])
        kept.forth.replay()
        return kept.out.detach().clone()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        kept: _WithGradients = ctx.kept
        kept.grad_out.copy_(grads[0])
        kept.back.replay()
        # Of the caller's own: gradients of several groups are summed up in place.
        return None, *(None if g is None else g.clone() for g in kept.grads)


@torch.no_grad()
def _fill(own: Sequence[torch.Tensor], new: Sequence[torch.Tensor]) -> None:
    for target, source in zip(own, new, strict=True):
        target.copy_(source)


def _bytes(*tensors: torch.Tensor) -> int:
    return sum(t.nbytes for t in tensors)


def _shapes(tensors: Sequence[torch.Tensor]) -> Hashable:
    return tuple((t.shape, t.stride(), t.dtype, t.device) for t in tensors)
