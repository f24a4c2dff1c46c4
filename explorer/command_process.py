"""What a command of ours says when it runs as a process of its own: why it ended."""

from __future__ import annotations

import re

from PySide6.QtCore import QCoreApplication, QProcess

from explorer.cli import PROGRAM

_ERROR = re.compile(rf"{PROGRAM}(?: [\w-]+)?: error: (.*)")


def said_in(line: str) -> str:
    """What a line on stderr says that is no progress: an error without the program's name."""
    found = _ERROR.match(line)
    return line.strip() if found is None else found[1].strip()


def is_error(line: str) -> bool:
    """Whether the command says in this line why it ends."""
    return _ERROR.match(line) is not None


def why_ended(said: str, code: int, status: QProcess.ExitStatus) -> str:
    """Why a command ended that did not do what it was to, in one line.

    Args:
        said: The last line that was no progress, as `said_in` gives it; of a traceback its error.
        code: Its exit code; of one that was killed, the signal.
        status: Whether it ended by itself.
    """
    if status == QProcess.ExitStatus.CrashExit:
        return QCoreApplication.translate(
            "CommandProcess",
            "it was ended from outside ({0}), perhaps for want of memory; what is done is kept",
        ).format(code)
    return said or QCoreApplication.translate("CommandProcess", "it ended with code {0}").format(
        code
    )
