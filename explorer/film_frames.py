"""A film as a folder of PNG files, one per frame, each moved into place when it is whole.

No torch and no Qt here: the caller renders.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from explorer.recorder import FilmSpec, OtherFilmError, RenderFrame, check_frame

NOTE = "film.json"
"""In the folder: what the frames are of."""


def frame_file(folder: Path, number: int) -> Path:
    """The file of one frame; frames count from 0."""
    return folder / f"frame_{number:06d}.png"


def has_frames(folder: Path) -> bool:
    """Whether there is a film in `folder`, whole or broken."""
    return (folder / NOTE).exists()


def record_frames(
    folder: Path,
    spec: FilmSpec,
    render_frame: RenderFrame,
    progress: Callable[[int], None] | None = None,
    *,
    texts: Callable[[int], Mapping[str, str]] | None = None,
    resume: bool = False,
) -> None:
    """Render every frame for its own number into `folder`, which is made if need be.

    Frames that are done stay, whatever happens.

    Args:
        folder: New or empty, or with frames of this film and `resume`.
        spec: Size, speed, length, metadata; the rate is for the note only.
        render_frame: Called with the numbers that are missing, rising.
        progress: Called with the number of frames that are done; what it raises reaches the caller.
        texts: Texts that go into the PNG of one frame.
        resume: Leave out the frames that are there.

    Raises:
        OtherFilmError: There is something else in the folder, or frames of another film.
        OSError: A frame cannot be written.
    """
    folder.mkdir(exist_ok=True)
    fields = {
        "frames": spec.num_frames,
        "fps": spec.fps,
        "size": list(spec.size),
        "film": spec.fingerprint,
        "scalespace": dict(spec.metadata),
    }
    note = folder / NOTE
    if any(folder.iterdir()):
        if not resume:
            raise OtherFilmError(
                f"{folder} must be a new or an empty folder; name another one, or go on with "
                "the film in it with --resume."
            )
        if not note.exists() or _fingerprint(note) != spec.fingerprint:
            raise OtherFilmError(
                f"{folder} holds another film, or something else (another path, size, rate, scene "
                "or version); name another folder."
            )
    _write(note, lambda file: file.write_text(json.dumps(fields, indent=1), encoding="utf-8"))
    for number in range(spec.num_frames):
        file = frame_file(folder, number)
        if not file.exists():
            frame = check_frame(render_frame(number), spec.size)
            _write_png(file, frame, {} if texts is None else texts(number))
        if progress is not None:
            progress(number + 1)


def _fingerprint(note: Path) -> str:
    """What the note in a folder says that its frames are of; empty where it says nothing."""
    try:
        return str(json.loads(note.read_text(encoding="utf-8"))["film"])
    except (ValueError, KeyError, TypeError):
        return ""


def _write_png(file: Path, frame: np.ndarray, texts: Mapping[str, str]) -> None:
    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    image = Image.fromarray(frame)
    _write(file, lambda temporary: image.save(temporary, "PNG", pnginfo=info, compress_level=3))


def _write(file: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, and move it into place."""
    temporary = file.with_name(f".{file.name}.part")
    try:
        write(temporary)
        os.replace(temporary, file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
