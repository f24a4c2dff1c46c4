"""What every test gets: fixed seeds, one torch thread, no user settings, no thread left over."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from benchmarks.display import display_environment

for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("LIBGL_ALWAYS_SOFTWARE", "1")

THREAD_GRACE_S = 5.0
"""How long a test's threads may take to end by themselves once the test is over."""


def pytest_configure(config: pytest.Config) -> None:
    """Keep Qt away from the settings and caches of whoever runs the tests."""
    from PySide6.QtCore import QStandardPaths

    QStandardPaths.setTestModeEnabled(True)
    # Started in the background a shell has us ignore Ctrl-C, and every child would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "PYTEST_XDIST_WORKER" in os.environ:
        # On one display the windows of tests side by side would take the keyboard from each other.
        for name in ("DISPLAY", "WAYLAND_DISPLAY"):
            os.environ.pop(name, None)
        display = contextlib.ExitStack()
        os.environ.update(display.enter_context(display_environment()))
        config.add_cleanup(display.close)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random numbers in every test, alone or in the suite, and one torch thread."""
    random.seed(0)
    if "numpy" in sys.modules:
        import numpy as np

        np.random.seed(0)  # noqa: NPY002  # whoever uses the global generator gets it seeded
    if "torch" in sys.modules:
        import torch

        torch.manual_seed(0)
        torch.set_num_threads(1)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What goes in this test goes because nobody holds it: circles stay."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(autouse=True)
def no_thread_left_running() -> Iterator[None]:
    """Fail a test that leaves a thread behind: it would abort the app at exit, or the next test."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + THREAD_GRACE_S
    while True:
        left = [t for t in threading.enumerate() if t not in before and t.is_alive()]
        if not left or time.monotonic() > deadline:
            break
        left[0].join(0.05)
    names = ", ".join(repr(t.name) for t in left)
    assert not left, f"threads left running: {names}; stop and join them in the test."
