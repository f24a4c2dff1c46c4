"""From rendered rows to the file that was asked for, through libvips, with bounded memory."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyvips

from model.export.plan import DEEPZOOM_OVERLAP, ExportPlan
from model.export.work import WorkFolder

VIEW_KEY = "scalespace"
"""Text field of a PNG that holds the view."""
_POLL_S = 0.1

Progress = Callable[[float], None]


def write_output(work: WorkFolder, progress: Progress | None = None) -> None:
    """Write the file from the rows of `work`, all of them rendered, and move it into place.

    Args:
        work: Its rows are kept; the caller removes them.
        progress: Called ten times a second with the fraction that is written, in [0, 1]. Whatever
            it raises stops the writing, leaves no output and reaches the caller.

    Raises:
        OSError: It cannot be written. No output is left, and the rows stay.
    """
    plan = work.plan
    try:
        folder = work.clean_result()
        image = pyvips.Image.new_from_file(str(work.pixels), access="sequential", revalidate=True)
        image = _with_metadata(image, plan)
        try:
            with _temporary_files_in(folder):
                _save_watched(image, lambda: _save(image, plan, folder), progress)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)  # room for the next try
            raise
        work.begin_moving()
        _move_into_place(plan, folder)
    except (OSError, pyvips.Error) as error:
        raise _clear_error(error, work) from error


def encode(image: pyvips.Image, plan: ExportPlan) -> int:
    """Bytes that a small picture takes in the plan's format: for an estimate."""
    if plan.kind == "png" or (plan.kind == "dzi" and plan.quality is None):
        return len(image.pngsave_buffer(**_png_options()))
    if plan.kind == "tif":
        return len(image.tiffsave_buffer(**_tiff_options(plan) | {"pyramid": False}))
    return len(image.jpegsave_buffer(Q=plan.quality))


def _save(image: pyvips.Image, plan: ExportPlan, folder: Path) -> None:
    """Write `image` into `folder`, under names that `_move_into_place` knows."""
    if plan.kind == "dzi":
        suffix = ".png" if plan.quality is None else f".jpg[Q={plan.quality}]"
        image.dzsave(
            str(folder / "image"),
            tile_size=plan.tile_px - 2 * DEEPZOOM_OVERLAP,
            overlap=DEEPZOOM_OVERLAP,
            suffix=suffix,
            keep="none",
        )
        # It holds the date, and nothing that a viewer reads.
        (folder / "image_files" / "vips-properties.xml").unlink(missing_ok=True)
    elif plan.kind == "tif":
        image.tiffsave(str(folder / "image"), **_tiff_options(plan))
    elif plan.kind == "png":
        image.pngsave(str(folder / "image"), **_png_options())
    else:
        image.jpegsave(str(folder / "image"), Q=plan.quality)


def _tiff_options(plan: ExportPlan) -> dict[str, Any]:
    options: dict[str, Any] = {
        "tile": True,
        "tile_width": plan.tile_px,
        "tile_height": plan.tile_px,
        "pyramid": True,
        "bigtiff": True,
    }
    if plan.quality is None:
        return options | {"compression": "deflate", "predictor": "horizontal"}
    return options | {"compression": "jpeg", "Q": plan.quality}


def _png_options() -> dict[str, Any]:
    # Without a filter a painting's file is 1.4 times as large.
    return {"compression": 6, "filter": "all"}


def _with_metadata(image: pyvips.Image, plan: ExportPlan) -> pyvips.Image:
    """The image with the plan's view, and without what the rows' file says of itself."""
    image = image.copy(interpretation="srgb")
    for name in image.get_fields():
        if name in ("n-pages", "image-description", "resolution-unit", "orientation"):
            image.remove(name)
    if plan.kind == "png" and plan.view_json:
        image.set_type(pyvips.GValue.gstr_type, f"png-comment-0-{VIEW_KEY}", plan.view_json)
    elif plan.xmp:
        image.set_type(pyvips.GValue.blob_type, "xmp-data", plan.xmp)
    return image


def _save_watched(image: pyvips.Image, save: Callable[[], None], progress: Progress | None) -> None:
    """Run `save` on a thread of its own; Ctrl-C, and what `progress` raises, stop it."""
    fraction = 0.0
    errors: list[Exception] = []

    def watch(_: object, state: Any) -> None:
        nonlocal fraction
        fraction = max(fraction, min(1.0, state.percent / 100))

    def run() -> None:
        try:
            save()
        except (pyvips.Error, OSError) as error:
            errors.append(error)

    image.set_progress(True)
    image.signal_connect("eval", watch)
    thread = threading.Thread(target=run, name="export-writer", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_POLL_S)
            if progress is not None:
                progress(fraction)
    except BaseException:
        image.set_kill(True)
        raise
    finally:
        thread.join()
    if errors:
        raise errors[0]
    if progress is not None:
        progress(1.0)


@contextlib.contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """libvips keeps the coarser levels of a TIFF in files of `TMPDIR`; /tmp may be memory."""
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before


def _move_into_place(plan: ExportPlan, folder: Path) -> None:
    """Rename what was written; the file that was asked for comes last."""
    if plan.kind != "dzi":
        with (folder / "image").open("rb+") as file:
            os.fsync(file.fileno())  # the rows are deleted next
        (folder / "image").replace(plan.out)
        return
    tiles = plan.outputs()[0]
    shutil.rmtree(tiles, ignore_errors=True)  # of this export, when it was killed while moving
    (folder / "image_files").rename(tiles)
    if plan.page:
        page = folder / "page.html"
        page.write_text(plan.page, "utf-8")
        page.replace(plan.out.with_suffix(".html"))
    (folder / "image.dzi").replace(plan.out)


def _clear_error(error: Exception, work: WorkFolder) -> OSError:
    """One line that says what to do."""
    number = getattr(error, "errno", None)
    reason = os.strerror(number) if number else str(error).strip().splitlines()[-1].strip()
    if os.strerror(errno.ENOSPC) in str(error):
        number, reason = errno.ENOSPC, os.strerror(errno.ENOSPC)
    return OSError(
        number or errno.EIO,
        f"{work.plan.out} cannot be written: {reason}; make room there and export again with "
        f"--resume: the rendered rows are kept in {work.folder}.",
    )
