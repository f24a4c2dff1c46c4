"""Whether a window can be shown here. Plain Python: asks before Qt does, which would abort."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

_NO_GL_PLATFORMS = ("offscreen", "minimal", "minimalegl", "vnc", "linuxfb")
_TIMEOUT_S = 2.0


def why_no_display() -> str | None:
    """None where a window with OpenGL can be shown, else the reason in a few words."""
    if sys.platform in ("win32", "darwin"):
        return None
    platform = os.environ.get("QT_QPA_PLATFORM", "").partition(":")[0]
    if platform in _NO_GL_PLATFORMS:
        return f"QT_QPA_PLATFORM={platform} has no OpenGL"
    if platform == "eglfs":
        return None
    if platform != "xcb" and _wayland_answers():
        return None
    display = os.environ.get("DISPLAY", "")
    if not display:
        return "there is no display"
    return None if _x_answers(display) else f"the display {display} does not answer"


def _wayland_answers() -> bool:
    name = os.environ.get("WAYLAND_DISPLAY", "")
    if not name:
        return False
    return _connects(socket.AF_UNIX, str(Path(os.environ.get("XDG_RUNTIME_DIR", "/"), name)))


def _x_answers(display: str) -> bool:
    """Whether an X server listens at `display`: [host]:number[.screen]."""
    host, _, rest = display.rpartition(":")
    number = rest.partition(".")[0]
    if not number.isdigit():
        return False
    if host in ("", "unix") or host.startswith("/"):
        path = f"/tmp/.X11-unix/X{number}"
        return _connects(socket.AF_UNIX, path) or _connects(socket.AF_UNIX, f"\0{path}")
    return _connects(socket.AF_INET, (host, 6000 + int(number)))


def _connects(family: int, address: str | tuple[str, int]) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TIMEOUT_S)
            connection.connect(address)
    except OSError:
        return False
    return True
