"""Training on several processes at once, started by `torchrun`: each has its share of every group.

All ranks draw the same windows, patches and latents from equal random states and take their slice,
so that a run does not depend on how many there are, but for rounding. Gradients are averaged before
each optimiser steps, as DistributedDataParallel would, and so is every number that steers the run.
Only the first rank writes files; all of them read the run's folder, which they must share.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import nn

T = TypeVar("T")

_TIMEOUT = timedelta(days=1)
"""The others wait while the first rank finds the places of patches; a dead rank ends all at once,
because torchrun sees to it."""


@dataclass(frozen=True)
class Ranks:
    """The processes of one run. With one of them, every method gives what it was given."""

    rank: int = 0
    """Of this process."""
    count: int = 1
    device: str = "cpu"
    """Where numbers are exchanged."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """This process's share of `count` windows.

        Raises:
            ValueError: They cannot be shared evenly.
        """
        if count % self.count:
            raise ValueError(
                f"a group of {count} windows cannot be shared by {self.count} processes; "
                "their number must divide it."
            )
        share = count // self.count
        return slice(self.rank * share, (self.rank + 1) * share)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the processes."""
        if self.count == 1:
            return
        grads = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([grad.reshape(-1) for grad in grads])
        self.average_tensor(flat)
        for grad, mean in zip(grads, flat.split([grad.numel() for grad in grads])):
            grad.copy_(mean.view_as(grad))  # gradients have no history of their own

    def average(self, values: dict[str, float]) -> dict[str, float]:
        """The mean of each value over the processes; all give the same names."""
        if self.count == 1:
            return values
        total = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(total)
        return dict(zip(values, (total / self.count).tolist()))

    def average_tensor(self, values: torch.Tensor) -> None:
        """Replace `values` by their mean over the processes."""
        if self.count > 1:
            torch.distributed.all_reduce(values)
            values /= self.count

    def any(self, here: bool) -> bool:
        """Whether it is so in at least one process."""
        return self.average({"here": float(here)})["here"] > 0

    def copy_first(self, module: nn.Module) -> None:
        """Give every process the first one's weights."""
        if self.count == 1:
            return
        # Not what a module keeps besides: every process has made that alike, and on the CPU.
        for tensor in (*module.parameters(), *module.buffers()):
            # Laid out alike first: a broadcast walks memory.
            same = tensor.detach().contiguous()
            torch.distributed.broadcast(same, 0)
            tensor.data.copy_(same)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            self.any(False)

    def first_then_others(self, work: Callable[[], T]) -> T:
        """Do `work` in the first process, and when it is done in the others."""
        if not self.is_first:
            self.wait()
        result = work()
        if self.is_first:
            self.wait()
        return result

    def leave(self) -> None:
        """Let go of the others, at the end."""
        if self.count > 1:
            self.wait()  # nobody ends while another still waits for it
            gc.collect()  # what still holds the group would keep its threads alive
            torch.distributed.destroy_process_group()


def is_first_process() -> bool:
    """Whether this process is alone or the first that `torchrun` started; before they have met."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ["RANK"] == "0"


def join_ranks(device: torch.device) -> Ranks:
    """The processes that `torchrun` started; one alone, where it did not.

    Each takes the GPU of its local rank, or, on the CPU, exchanges through gloo.

    Raises:
        ValueError: There are more processes on this machine than GPUs.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Ranks()
    rank, local = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    if device.type == "cuda":
        if local >= torch.cuda.device_count():
            raise ValueError(
                f"process {local} of this machine has no GPU, there are "
                f"{torch.cuda.device_count()}; start one process for each GPU, or add --device cpu."
            )
        torch.cuda.set_device(local)
    backend = "nccl" if device.type == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, timeout=_TIMEOUT)
    return Ranks(rank, count, device.type)
