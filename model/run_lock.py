"""One program at a time trains a run: it holds a lock in the run's folder, which ends with it."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from model.run_files import LOCK, is_run

if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

    def _unlock(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)


log = logging.getLogger(__name__)
_TAKEN = (errno.EAGAIN, errno.EACCES)
"""What a lock that somebody else holds is refused with."""


@contextlib.contextmanager
def training_alone(folder: Path) -> Iterator[None]:
    """While this lasts, nobody else trains the run in `folder`; the system ends it with a program.

    The folder is made where it is missing, and goes again where nothing came into it. In that of a
    run the file of the lock stays: whoever removed it could take it from one who begins just then.

    Raises:
        ValueError: The run is training elsewhere; nothing in its folder was changed.
        OSError: The folder or a file in it cannot be made.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        is_locked = _is_locked(file, folder)
    except ValueError:
        os.close(file)
        raise
    try:
        yield
    finally:
        if is_locked:
            _unlock(file)
        os.close(file)
        if not is_run(folder):
            with contextlib.suppress(OSError):  # another has it by now, or more lies there
                (folder / LOCK).unlink()
                if is_new:
                    folder.rmdir()


def _is_locked(file: int, folder: Path) -> bool:
    """Whether the lock could be had; some drives know of none.

    Raises:
        ValueError: Somebody else has it.
    """
    try:
        _lock(file)
    except OSError as error:
        if error.errno in _TAKEN:
            raise ValueError(
                f"the run in {folder} is training in another window or program; stop it there, or "
                "wait for its end."
            ) from error
        log.info("%s cannot be locked: %s", folder, error)
        return False
    return True
