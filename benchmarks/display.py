"""A display for windows that are measured: the one there is, or a virtual one with software GL."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator

SCREEN = "1280x1024x24"


class NoDisplayError(OSError):
    """There is no display, and no Xvfb to make one."""


@contextlib.contextmanager
def display_environment(screen: str = SCREEN) -> Iterator[dict[str, str]]:
    """Environment variables for a process with a window.

    Where DISPLAY or WAYLAND_DISPLAY is set (or the system is not X11's), the environment as it is;
    else that of an Xvfb that lives as long as the context, with Mesa's software GL; `screen` is its
    width, height and depth.

    Raises:
        NoDisplayError: There is no display and Xvfb is not installed, or does not start.
    """
    environment = dict(os.environ)
    if os.name != "posix" or os.uname().sysname == "Darwin":
        yield environment
        return
    if environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"):
        yield environment
        return
    server = shutil.which("Xvfb")
    if server is None:
        raise NoDisplayError("a window needs a display or Xvfb, found neither; install xvfb.")
    read_end, write_end = os.pipe()
    command = [server, "-displayfd", str(write_end), "-screen", "0", screen, "-nolisten", "tcp"]
    process = subprocess.Popen(
        command, pass_fds=[write_end], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            number = pipe.readline().strip()
        if not number:
            raise NoDisplayError("Xvfb was started and ended at once; try it by hand: Xvfb :99.")
        environment |= {
            "DISPLAY": f":{number}",
            "QT_QPA_PLATFORM": "xcb",
            "LIBGL_ALWAYS_SOFTWARE": "1",
        }
        yield environment
    finally:
        process.terminate()
        process.wait()
