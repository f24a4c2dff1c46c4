"""What is kept of freed memory, and what is given back."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_PROGRAM = """
import sys
import numpy as np
from model.allocator import bound_memory, give_back_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6

bound_memory()
blocks = [np.ones(1 << 20, np.uint8) for _ in range(200)]
between = [bytes(600) for _ in range(20000)]
blocks += [np.ones(1 << 20, np.uint8) for _ in range(50)]
last = np.ones(1 << 16, np.uint8)
full = resident()
del blocks
kept = resident()
give_back_memory()
print(full - kept, kept - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's own way")
def test_freed_blocks_are_kept_until_they_are_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True
    )
    at_free, at_give_back = map(float, done.stdout.split())
    assert at_free < 60  # by default glibc returns each such block at once
    assert at_give_back > 180


def test_a_persons_own_limits_stay() -> None:
    program = "import os; from model.allocator import bound_memory as f; f(); print({})"
    names = "os.environ['ONEDNN_PRIMITIVE_CACHE_CAPACITY'], os.environ['LRU_CACHE_CAPACITY']"
    own = {**os.environ, "LRU_CACHE_CAPACITY": "7"}
    own.pop("ONEDNN_PRIMITIVE_CACHE_CAPACITY", None)
    done = subprocess.run(
        [sys.executable, "-c", program.format(names)],
        capture_output=True, text=True, check=True, env=own,
    )  # fmt: skip
    assert done.stdout.split() == ["256", "7"]
