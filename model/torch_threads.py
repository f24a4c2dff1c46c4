"""How many cores torch uses in the calling thread."""

from __future__ import annotations

import torch


def set_torch_threads(count: int) -> None:
    """Use `count` cores in this thread, whatever other threads of the process ask for.

    At its first operation a thread takes over the number that any thread has set last, its own
    setting from before notwithstanding. To ask for the number counts as such an operation.
    """
    torch.get_num_threads()
    torch.set_num_threads(count)
