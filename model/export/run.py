"""An export from its first tile to the file in its place, and what stands in its way."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

from model.export.plan import ExportPlan
from model.export.render import render_rows
from model.export.work import WorkFolder
from model.export.write import write_output
from model.space import ScaleSpace

Progress = Callable[[float], None]


def check_target(plan: ExportPlan, resume: bool) -> WorkFolder:
    """The work folder of the plan, not yet made; refuses what would be overwritten.

    Args:
        plan: The export.
        resume: Go on where an earlier one stopped.

    Raises:
        FileExistsError: An output is there; or a work folder, and `resume` is False.
    """
    work = WorkFolder(plan)
    ours = resume and work.exists and work.moving
    present = [path for path in plan.outputs() if path.exists()]
    if present and not ours:
        raise FileExistsError(
            errno.EEXIST, f"{present[0]} exists; delete it, or give another name with --out."
        )
    if work.exists and not resume:
        raise FileExistsError(
            errno.EEXIST,
            f"{work.folder} holds what an earlier export has rendered; go on with --resume, or "
            "delete that folder.",
        )
    return work


def export(
    space: ScaleSpace,
    plan: ExportPlan,
    *,
    resume: bool = False,
    on_render: Progress | None = None,
    on_write: Progress | None = None,
) -> Path:
    """Render the picture, write the file and move it into place.

    Whatever stops it (an exception, a kill, a full disk) leaves no output, and in the folder
    `<out>.work` the strips that are whole, for a later call with `resume`; the file is then the
    same, byte for byte. Nothing is kept where nothing was rendered.

    Args:
        space: Of the plan.
        plan: What, and into which file.
        resume: Go on where an earlier call stopped; begins anew where there is nothing.
        on_render: Called with the fraction of the missing tiles that is rendered, in (0, 1].
        on_write: Called with the fraction that is written, in [0, 1]. Whatever either raises stops
            the export and reaches the caller.

    Returns:
        `plan.out`.

    Raises:
        FileExistsError: See `check_target`.
        ValueError: `resume`, and the work folder is of another export, which the message names.
        OSError: The disk is full or cannot be written.
    """
    work = check_target(plan, resume)
    if work.exists:
        work.resume()
    else:
        work.begin()
    try:
        render_rows(space, work, on_render)
        write_output(work, on_write)
    except BaseException:
        if work.done == 0:
            work.remove()
        raise
    work.remove()
    return plan.out
