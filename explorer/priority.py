"""Threads that give way to the display."""

from __future__ import annotations

import logging
import os
import sys
import threading

log = logging.getLogger(__name__)


def lower_priority(niceness: int) -> None:
    """Add `niceness` (0 to 19) to that of the calling thread and of the threads it will start.

    On Linux threads have a niceness of their own; elsewhere nothing happens.
    """
    if niceness <= 0 or not sys.platform.startswith("linux"):
        return
    try:
        own = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, own, os.getpriority(os.PRIO_PROCESS, own) + niceness)
    except OSError as error:
        log.debug("%s keeps its priority (%s).", threading.current_thread().name, error)
