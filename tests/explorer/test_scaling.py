"""The same hands on screens of 1.5 and 2 device pixels to the logical one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
TESTS = (
    "test_window.py::test_zoom_is_about_the_cursor_and_every_frame_is_whole_and_in_place",
    "test_window.py::test_drag_moves_the_picture_with_the_pointer",
    "test_moving.py::test_a_drawn_box_fills_the_window",
    "test_moving.py::test_one_finger_drags_and_flings_two_fingers_pan_and_pinch",
)


@pytest.mark.usefixtures("display")
@pytest.mark.parametrize("factor", ["1.5", "2"])
def test_hands_meet_the_pixels_that_they_mean(factor: str) -> None:
    """Qt takes the factor at its start only: another process."""
    command = [sys.executable, "-m", "pytest", "-q", *(str(HERE / test) for test in TESTS)]
    result = subprocess.run(
        command,
        cwd=HERE.parent.parent,
        env=os.environ | {"QT_SCALE_FACTOR": factor},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:]
