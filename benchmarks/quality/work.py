"""Pieces of work in processes of their own, finished ones kept, with one line of progress."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.quality.settings import Parts
from explorer.progress import ProgressLine


@dataclass(frozen=True)
class Task:
    """One call, whose plain result is kept under `name` and `key`."""

    name: str
    key: str
    call: Callable[..., dict[str, Any]]
    """A function of a module: it goes to another process."""
    arguments: tuple[Any, ...]
    weight: float = 1.0


@dataclass(frozen=True)
class Done:
    """What a task gave."""

    value: dict[str, Any]
    seconds: float
    """Processor time, whatever else the machine had to do."""


def run_tasks(
    label: str, tasks: Sequence[Task], parts: Parts, workers: int, run: bool = True
) -> list[Done | None]:
    """Results of `tasks`, in their order; those that were finished before are not done again.

    Args:
        label: Of the line of progress.
        tasks: Independent of one another.
        parts: Where results are kept.
        workers: Processes at once.
        run: Whether to do what is missing; otherwise it stays None.

    Raises:
        Exception: Whatever a task raised; the results that came before are kept.
    """
    results = [_kept(task, parts) for task in tasks]
    todo = sorted(
        (i for i, found in enumerate(results) if found is None and run),
        key=lambda i: -tasks[i].weight,
    )
    total = sum(tasks[i].weight for i in todo)
    line, done = ProgressLine(label), 0.0
    try:
        if workers <= 1 or len(todo) <= 1:
            for i in todo:
                results[i] = _keep(tasks[i], _timed(tasks[i]), parts)
                done += tasks[i].weight
                line(done / total, tasks[i].name)
            return results
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
            waiting = {pool.submit(_timed, tasks[i]): i for i in todo}
            try:
                while waiting:
                    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                        i = waiting.pop(future)
                        results[i] = _keep(tasks[i], future.result(), parts)
                        done += tasks[i].weight
                        line(done / total, tasks[i].name)
            finally:
                for future in waiting:
                    future.cancel()
    finally:
        line.close()
    return results


def _timed(task: Task) -> Done:
    begin = time.process_time()
    value = task.call(*task.arguments)
    return Done(value, time.process_time() - begin)


def _keep(task: Task, done: Done, parts: Parts) -> Done:
    parts.keep(task.name, task.key, asdict(done))
    return done


def _kept(task: Task, parts: Parts) -> Done | None:
    found = parts.find(task.name, task.key)
    return None if found is None else Done(**found)


def _one_thread() -> None:
    """Of a worker: as many workers as cores, one thread each."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
