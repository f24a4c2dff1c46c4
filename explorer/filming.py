"""Flights through a scale space as films, folders of frames, and one tall picture.

What `explorer.api` and `scalespace-explorer record` do. Every frame is rendered for its own camera
and carries its view as far as its file can.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from explorer.camera import Camera, View
from explorer.camera_path import CameraPath
from explorer.view_links import StillView
from explorer.view_metadata import VIEW_KEY, film_fields, view_text
from model.latent import Seed

if TYPE_CHECKING:
    import numpy as np

    from explorer.api import Scene

FILM_SUFFIXES = (".mp4", ".webm")
"""Endings of films, H.264 and VP9. A name without an ending is that of a folder of PNG frames."""
MAX_FRAMES = 1_000_000
"""Of one film."""
_LEAST_FPS = 0.01

Progress = Callable[[float], None]
"""Called with the fraction that is done. Whatever it raises cancels and comes through."""


def is_folder(out: Path) -> bool:
    """Whether frames go to `out` one by one."""
    return not out.suffix


def film_frames(seconds: float, fps: float) -> int:
    """Number of frames of a film.

    Raises:
        ValueError: There is none, or more than anybody wants.
    """
    num_frames = round(min(seconds * fps, 1e15))
    if fps < _LEAST_FPS:
        raise ValueError(f"a film must have {_LEAST_FPS:g} frames/s or more, got {fps:g}.")
    if not 1 <= num_frames <= MAX_FRAMES:
        raise ValueError(
            f"a film must have 1 to {MAX_FRAMES} frames, {seconds:g} s at {fps:g} frames/s give "
            f"{num_frames}; change its length or its rate."
        )
    return num_frames


@dataclass(frozen=True)
class Shots:
    """Renders what a camera sees, and says where that is."""

    scene: Scene
    size: tuple[int, int]
    """Width and height of a frame, pixels."""
    seed: Seed = 0
    """Names the latent, where the flight does not."""

    def render(
        self, camera: Camera, size: tuple[int, int] | None = None, seed: Seed | None = None
    ) -> np.ndarray:
        """What `camera` sees of a latent: uint8 [H, W, 3]."""
        size, seed = size or self.size, self.seed if seed is None else seed
        level = View(camera, size).level(self.scene.space.patch_size)
        return self.scene.render((camera.cx, camera.cy), level, size, seed)

    def view(self, camera: Camera, seed: Seed | None = None) -> StillView:
        """What a picture from `camera` of a latent carries."""
        space = self.scene.space
        return StillView(
            center_xy=(camera.cx, camera.cy),
            level=View(camera, self.size).level(space.patch_size),
            size=self.size,
            seed=self.seed if seed is None else seed,
            name=self.scene.name,
            identity=space.identity,
        )


def film(
    shots: Shots,
    path: CameraPath,
    out: Path,
    fps: float,
    seconds: float,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> None:
    """Fly `path` in `seconds` and write every frame.

    Args:
        shots: Renders the frames.
        path: Where the camera is.
        out: A film, or a folder for frames; see `FILM_SUFFIXES`.
        fps: Frames per second.
        seconds: Duration, s; the path is flown faster or slower than it says.
        resume: Go on where a recording of the same film was broken, if one was; see
            `explorer.recorder.record_film`.
        progress: Called after every frame.

    Raises:
        OtherFilmError: There is something else where the film is to go, or to go on.
        ValueError: A film has an odd side, or no frames.
        OSError: It cannot be written.
    """
    from explorer.film_frames import record_frames
    from explorer.recorder import FilmSpec, record_film

    num_frames = film_frames(seconds, fps)
    times = path.frame_times(num_frames)
    first = shots.view(path.at(0.0), path.seed_at(0.0))
    fields = film_fields(first, json.loads(path.to_json()), seconds)

    def render_frame(number: int) -> np.ndarray:
        return shots.render(path.at(times[number]), seed=path.seed_at(times[number]))

    def texts(number: int) -> dict[str, str]:
        view = shots.view(path.at(times[number]), path.seed_at(times[number]))
        return {VIEW_KEY: view_text(view)}

    def told(done: int) -> None:
        if progress is not None:
            progress(done / num_frames)

    spec = FilmSpec(shots.size, fps, num_frames, fields, even=not is_folder(out))
    if is_folder(out):
        record_frames(out, spec, render_frame, told, texts=texts, resume=resume)
    else:
        record_film(out, spec, render_frame, told, resume=resume)


def strip(
    shots: Shots,
    path: CameraPath,
    out: Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> None:
    """Write the whole zoom of `path` as one PNG; see `explorer.zoom_strip` for the map.

    Args:
        shots: Renders; the strip is as wide as its frames.
        path: From its widest view to its deepest, around the deepest, and with the latent of that.
        out: The picture; it carries the view of the deepest.
        resume: Go on where a strip of the same was broken, if one was, to the same bytes.
        progress: Of its rows.

    Raises:
        OtherFilmError: What is to be gone on with is of another strip.
        ValueError: The path does not zoom.
        OSError: The picture cannot be written; nothing is left of it unless `resume`.
    """
    from explorer.zoom_strip import plan_strip, record_strip

    plan = plan_strip(path, shots.size[0])
    deepest = max(path.keyframes, key=lambda key: key.camera.log2_zoom)
    seed = path.seed_at(deepest.time_s)

    def told(done: int) -> None:
        if progress is not None:
            progress(done / plan.height)

    record_strip(
        out,
        plan,
        lambda camera, side: shots.render(camera, (side, side), seed),
        told,
        texts={VIEW_KEY: view_text(shots.view(plan.center, seed))},
        resume=resume,
    )
