"""Rendering on when the GPU's memory is full: the batch is halved instead of the app ended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch

from model.graphs import CAPTURING
from model.space import Window

logger = logging.getLogger(__name__)

Render = Callable[[Sequence[Window]], torch.Tensor]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory is full: the GPU's, or the machine's."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def free_cached() -> None:
    """Give back what torch keeps of the GPU's memory for later."""
    if torch.cuda.is_initialized():
        with CAPTURING:
            torch.cuda.empty_cache()


def render_in_halves(render: Render, windows: Sequence[Window]) -> torch.Tensor:
    """Render a batch, in halves of halves where it does not fit into the GPU's memory.

    Args:
        render: From N windows to [N, ...]; a pixel must not depend on the batch that it is in.
        windows: Non-empty.

    Returns:
        What `render(windows)` would have returned.

    Raises:
        torch.OutOfMemoryError: One window alone does not fit; the message says what to do.
    """
    try:
        return render(windows)
    except torch.OutOfMemoryError as error:
        if len(windows) == 1:
            raise torch.OutOfMemoryError(
                f"a window of {windows[0].width} x {windows[0].height} pixels does not fit into "
                "the GPU's memory; close what else uses it, or use --device cpu."
            ) from error
    # Outside the handler: the traceback would keep the tensors of the failed attempt alive.
    free_cached()
    half = (len(windows) + 1) // 2
    logger.warning(
        "The GPU's memory is full: rendering %d windows as %d and %d.",
        len(windows),
        half,
        len(windows) - half,
    )
    parts = [render_in_halves(render, part) for part in (windows[:half], windows[half:])]
    return torch.cat(parts)
