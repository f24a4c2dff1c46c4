"""The explorer from Python: open a scene, render views of it, record flights, export it.

    import explorer.api

    with explorer.api.open("checkpoints/starry-night.safetensors") as scene:
        print(scene.info)
        image = scene.render((0.1, -0.2), level=5.0, size_wh=(1280, 720))
        scene.save_still("moon.png", (0.1, -0.2), 5.0, (1280, 720))
        start, end = scene.camera((0, 0), 1.0), scene.camera((0.1, -0.2), 6.0)
        scene.record(explorer.api.flight(start, end, 10.0), "fall.mp4")
        scene.export("whole.tif", level=6.0)

The commands `render`, `record` and `export` call the same, so their files are the same. Importing
this costs little: torch comes with the first scene that is opened, and Qt never. Places are in
field units: the shorter side of the scene is 1, its middle (0, 0), x to the right and y down. A
level is in octaves: a picture of level L has patch size * 2^L pixels per field unit. One thread at
a time may use a scene.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from explorer.camera import Camera, camera_at_level
from explorer.camera_path import CameraPath, Keyframe, flight, load_path, save_path
from explorer.export_page import deepzoom_page
from explorer.filming import FILM_SUFFIXES, Shots, film, film_frames, is_folder, strip
from explorer.shipped import PAINTING, shipped
from explorer.stills import STILL_FORMATS, check_still, write_still
from explorer.view_links import StillView, named_by, scene_name
from explorer.view_metadata import view_text, xmp_packet
from model.latent import Latent, Seed, blend, mix, seed_from_json, truncated

if TYPE_CHECKING:
    import numpy as np

    from model.export import ExportPlan, Preflight
    from model.space import ScaleSpace

__all__ = [
    "EXPORT_FORMATS",
    "STILL_FORMATS",
    "Camera",
    "CameraPath",
    "Info",
    "Keyframe",
    "Latent",
    "Scene",
    "blend",
    "film_frames",
    "flight",
    "load_path",
    "mix",
    "open",
    "save_path",
    "truncated",
]

EXPORT_FORMATS = (".tif", ".tiff", ".dzi", ".png", ".jpg", ".jpeg")
"""Endings of exports: pyramidal BigTIFF, DeepZoom with its page, PNG, JPEG."""

Progress = Callable[[float], None]
"""Called with the fraction that is done, 0 to 1. Whatever it raises cancels and comes through."""
StepProgress = Callable[[str, float], None]
"""Called with what is being done, 'rendering' or 'writing', and the fraction of it. As above."""
PathLike = str | os.PathLike[str]
SeedLike = Seed | str
"""A seed, a blend that `blend`, `mix` or `truncated` made, or its text: '12~37@0.25~psi0.7'."""


@dataclass(frozen=True)
class Info:
    """What a scene is."""

    name: str
    """File name, without folder and without `.safetensors`."""
    identity: str
    """Names the content: scenes of one identity render equal pixels."""
    field_size: tuple[float, float]
    """Width and height, field units; the shorter is 1."""
    level_range: tuple[float, float]
    """Lowest and highest level that it was made for, octaves."""
    patch_size: int
    """Pixels; fixes what level 0 means."""
    has_latents: bool
    """Whether a seed changes the picture."""


def open(
    path: PathLike | None = None,
    device: str = "auto",
    precision: str = "auto",
    *,
    progress: Progress | None = None,
) -> Scene:
    """Open a checkpoint, an image of any size, a tile pyramid, or a run's newest checkpoint.

    Args:
        path: The file or folder; None opens the painting that ships.
        device: 'auto', 'cpu' or 'cuda', where a generator runs.
        precision: Of a generator: 'auto' (as the app has it), 'fp32', 'bf16'.
        progress: Of an image's pyramid, which is built when the image is opened first.

    Returns:
        The scene; close it, or use it as a context manager.

    Raises:
        CheckpointError: The checkpoint is missing, truncated, foreign or too new.
        ValueError: The file is no image, or `device` or `precision` cannot be had.
        OSError: The file cannot be read, or an image's pyramid cannot be written.
    """
    from model import open_scale_space

    file = shipped(PAINTING) if path is None else Path(path)
    space = open_scale_space(file, device, precision, progress=progress)
    return Scene(space, scene_name(named_by(file)))


class Scene:
    """An open scale space. `open` makes one."""

    def __init__(self, space: ScaleSpace, name: str = "") -> None:
        """Take `space` over; `name` is what its pictures call it."""
        self._space: ScaleSpace | None = space
        self.name = name

    def __enter__(self) -> Scene:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of files and memory; a second call does nothing."""
        space, self._space = self._space, None
        close = getattr(space, "close", None)
        if close is not None:
            close()

    @property
    def space(self) -> ScaleSpace:
        """What renders the windows of this scene; see `model.space.ScaleSpace`.

        Raises:
            ValueError: The scene is closed.
        """
        if self._space is None:
            raise ValueError(f"the scene {self.name!r} is closed; open it again.")
        return self._space

    @property
    def info(self) -> Info:
        """What the scene is."""
        space = self.space
        width, height = space.field_size
        low, high = space.level_range
        return Info(
            name=self.name,
            identity=space.identity,
            field_size=(float(width), float(height)),
            level_range=(float(low), float(high)),
            patch_size=space.patch_size,
            has_latents=bool(getattr(space, "has_latents", False)),
        )

    def camera(
        self, center_xy: tuple[float, float], level: float, size_wh: tuple[int, int] = (1280, 720)
    ) -> Camera:
        """The camera at `center_xy` whose view of `size_wh` pixels has this level."""
        return camera_at_level(center_xy, level, size_wh, self.space.patch_size)

    def render(
        self,
        center_xy: tuple[float, float],
        level: float,
        size_wh: tuple[int, int],
        seed: SeedLike = 0,
        *,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """The view around a place: the pixels that the app shows there.

        Args:
            center_xy: Centre of the view, field units.
            level: Of the view's own pixels, octaves; any, also beyond `info.level_range`.
            size_wh: Width and height, pixels.
            seed: Names the latent: 0 or more, or a blend; a scene without latents ignores it.
            progress: Of the rendering.

        Returns:
            uint8 [H, W, 3], display-referred sRGB.

        Raises:
            ValueError: A size is below one pixel, place or level is not finite, or `seed` names
                nothing.
        """
        from model.rendering import render_view

        latent = seed_from_json(seed)
        return render_view(self.space, center_xy, level, size_wh, latent, progress=progress)

    def save_still(
        self,
        file: PathLike,
        center_xy: tuple[float, float],
        level: float,
        size_wh: tuple[int, int],
        seed: SeedLike = 0,
        *,
        progress: Progress | None = None,
    ) -> Path:
        """Save what `render` gives as a picture that carries its view.

        Args:
            file: Ends in one of `STILL_FORMATS`; an older file is replaced when this one is whole.
            center_xy, level, size_wh, seed, progress: As of `render`.

        Returns:
            The file.

        Raises:
            ValueError: See `render`; or the ending is not known.
            OSError: It cannot be written; nothing is left of it.
        """
        out = check_file(file, tuple(STILL_FORMATS))
        check_still(out, size_wh)
        view = self._view(center_xy, level, size_wh, seed_from_json(seed))
        image = self.render(center_xy, level, size_wh, seed, progress=progress)
        write_still(out, image, view)
        return out

    def record(
        self,
        path: CameraPath | Sequence[Keyframe] | PathLike,
        file: PathLike,
        size_wh: tuple[int, int] = (1280, 720),
        fps: float = 30.0,
        *,
        seconds: float | None = None,
        seed: SeedLike = 0,
        resume: bool = False,
        progress: Progress | None = None,
    ) -> Path:
        """Record a flight as a film; every frame is rendered for its own camera.

        Args:
            path: A camera path, its keyframes, or a file of one.
            file: Ends in .mp4 (H.264) or .webm (VP9); an older file is replaced when this one is
                whole. A name without an ending is that of a new folder for PNG frames.
            size_wh: Width and height, pixels; even, for a film.
            fps: Frames per second.
            seconds: Length of the film, into which the path is stretched; None takes the path's.
            seed: Names the latent, where the path's keyframes do not.
            resume: Go on where a recording of the same film was broken; the film will be the same,
                frame by frame. One that fails again is left for another try.
            progress: Called after every frame.

        Returns:
            The film, which carries its path.

        Raises:
            ValueError: The path, the size or the number of frames cannot be, or there is something
                else where it is to go on.
            OSError: It cannot be written. Without `resume` nothing is left of a film; of a folder,
                the frames that are done.
        """
        out = check_film(file)
        flown = _camera_path(path)
        seconds = flown.duration_s if seconds is None else seconds
        shots = Shots(self, size_wh, seed_from_json(seed))
        film(shots, flown, out, fps, seconds, resume=resume, progress=progress)
        return out

    def record_strip(
        self,
        path: CameraPath | Sequence[Keyframe] | PathLike,
        file: PathLike,
        width: int = 1280,
        *,
        seed: SeedLike = 0,
        resume: bool = False,
        progress: Progress | None = None,
    ) -> Path:
        """Save the whole zoom of a flight as one tall PNG; see `explorer.zoom_strip` for the map.

        Args:
            path: As of `record`; the strip goes from its widest view to its deepest.
            file: Ends in .png.
            width: Pixels once around.
            seed: Names the latent, 0 or more.
            resume: Go on where an earlier call was broken, to the same bytes.
            progress: Of its rows.

        Raises:
            ValueError: The path does not zoom, or there is something else where it is to go on.
            OSError: It cannot be written; nothing is left of it unless `resume`.
        """
        out = check_file(file, (".png",))
        shots = Shots(self, (width, width), seed_from_json(seed))
        strip(shots, _camera_path(path), out, resume=resume, progress=progress)
        return out

    def export(
        self,
        file: PathLike,
        level: float,
        box: Sequence[float] | None = None,
        *,
        seed: SeedLike = 0,
        quality: int | str | None = None,
        tile_px: int = 256,
        resume: bool = False,
        agree: Callable[[Preflight], bool] | None = None,
        progress: StepProgress | None = None,
    ) -> tuple[Path, ...]:
        """Export the whole field, or a box of it, with bounded memory, whatever the size.

        Stopped by an exception or a kill, it leaves a `work_folder` beside the file, and goes on
        from there when it is called with `resume`.

        Args:
            file: Does not exist yet; its ending, one of `EXPORT_FORMATS`, names its kind.
            level: Of the file's own pixels, octaves.
            box: Left, top, right, bottom, field units; None takes the whole field.
            seed: Names the latent, 0 or more.
            quality: JPEG quality of pixels, 1 to 100, or 'lossless'; None: 90 for .dzi and .jpg,
                lossless for .tif and .png.
            tile_px: Side of the tiles in a .tif or .dzi, pixels.
            resume: Go on where a stopped export left its folder.
            agree: Called with what it will cost, before anything is written; False ends it there.
            progress: Of the rendering, then of the writing.

        Returns:
            The files and folders that were made, the chief one first; none where nobody agreed.

        Raises:
            ValueError: It cannot be, or the folder is of another export.
            FileExistsError: The output exists; or the folder does, without `resume`.
            OSError: The disk is too small, or cannot be written.
        """
        from model.export import WorkFolder, check_target, export, measure

        out = check_file(file, EXPORT_FORMATS)
        plan = prepare_export(
            self.space, out, level, name=self.name, box=box, seed=seed, quality=quality,
            tile_px=tile_px,
        )  # fmt: skip
        check_target(plan, resume)
        work = WorkFolder(plan)
        if resume and work.exists:
            work.resume()
        cost = measure(self.space, work)
        cost.check(plan)
        if agree is not None and not agree(cost):
            return ()
        steps = {} if progress is None else {
            "on_render": lambda fraction: progress("rendering", fraction),
            "on_write": lambda fraction: progress("writing", fraction),
        }  # fmt: skip
        export(self.space, plan, resume=resume, **steps)
        return tuple(reversed(plan.outputs()))

    def _view(
        self, center_xy: tuple[float, float], level: float, size: tuple[int, int], seed: Seed
    ) -> StillView:
        """What a picture of this scene carries."""
        x, y = center_xy
        place = (float(x), float(y))
        return StillView(place, float(level), size, seed, self.name, self.space.identity)


def check_file(file: PathLike, suffixes: tuple[str, ...], name: str = "the file") -> Path:
    """Find out before the work whether the result can be written.

    Args:
        file: Where it is to lie.
        suffixes: Known endings, in small letters.
        name: What the messages call the file.

    Raises:
        ValueError: Its folder does not exist or takes no files, it is a folder, or its ending is
            not known.
    """
    out = Path(file)
    if out.suffix.lower() not in suffixes:
        raise ValueError(f"{name} must end in {' or '.join(suffixes)}, got {out.name!r}.")
    if not out.parent.is_dir():
        raise ValueError(f"the folder of {name}, {out.parent}, does not exist; make it first.")
    if out.is_dir():
        raise ValueError(f"{name} {out} is a folder; give the name of a file.")
    if not os.access(out.parent, os.W_OK):
        raise ValueError(f"the folder of {name}, {out.parent}, takes no files; name another.")
    return out


def work_folder(file: PathLike) -> Path:
    """Where an export to `file` keeps what it has rendered, until the file is whole."""
    out = Path(file)
    return out.with_name(f"{out.name}.work")


@dataclass(frozen=True)
class KeptExport:
    """What a stopped export was asked for: it goes on where the same is asked for again."""

    level: float
    """Octaves."""
    box: tuple[float, float, float, float] | None
    """Left, top, right, bottom, field units; None is the whole field."""
    size: tuple[int, int]
    """Width and height, pixels."""
    seed: Seed
    quality: int | None
    """JPEG quality; None is lossless."""
    tile_px: int


def kept_export(file: PathLike) -> KeptExport | None:
    """What an export to `file` that was stopped was asked for; None where nothing says so."""
    try:
        told = json.loads((work_folder(file) / "manifest.json").read_text("utf-8"))
        left, top, right, bottom = map(float, told["box"] or (0, 0, 0, 0))
        width, height = map(int, told["size"])
        quality = told["quality"]
        return KeptExport(
            level=float(told["level"]),
            box=(left, top, right, bottom) if told["box"] else None,
            size=(width, height),
            seed=seed_from_json(told["seed"]),
            quality=None if quality is None else int(quality),
            tile_px=int(told["tile"]),
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


def check_film(file: PathLike, name: str = "the file") -> Path:
    """As `check_file`, of a film or of a folder for its frames."""
    out = Path(file)
    if not is_folder(out):
        return check_file(out, FILM_SUFFIXES, name)
    if not out.parent.is_dir():
        raise ValueError(f"the folder of {name}, {out.parent}, does not exist; make it first.")
    return out


def _camera_path(path: CameraPath | Sequence[Keyframe] | PathLike) -> CameraPath:
    if isinstance(path, CameraPath):
        return path
    if isinstance(path, str | os.PathLike):
        return load_path(path)
    return CameraPath(tuple(path))


def prepare_export(
    space: ScaleSpace,
    out: Path,
    level: float,
    *,
    name: str = "",
    box: Sequence[float] | None = None,
    seed: SeedLike = 0,
    quality: int | str | None = None,
    tile_px: int = 256,
) -> ExportPlan:
    """The plan of an export that carries its view, and its page where it is a DeepZoom.

    Args:
        space: What is exported.
        out: The file.
        level, box, seed, quality, tile_px: As of `Scene.export`.
        name: The scene's, as `scene_name` has it.

    Raises:
        ValueError: It cannot be; the message says what to do.
    """
    from model.export import plan_export
    from model.export.plan import DEEPZOOM_OVERLAP

    corners = None if box is None else (box[0], box[1], box[2], box[3])
    latent = seed_from_json(seed)
    plan = plan_export(
        space, out, level, box=corners, seed=latent, quality=quality, tile_px=tile_px
    )
    view = StillView(plan.center_xy, level, plan.size, latent, name, space.identity)
    plan = replace(plan, view_json=view_text(view), xmp=xmp_packet(view))
    if plan.kind != "dzi":
        return plan
    x, y = plan.center_xy
    page = deepzoom_page(
        title=name or out.stem,
        caption=f"{name or out.stem}, level {level:g}, {plan.size[0]} x {plan.size[1]} pixels"
        + ("" if box is None else f" around {x:.4g}, {y:.4g}"),
        folder=f"{out.stem}_files",
        size=plan.size,
        tile_size=tile_px - 2 * DEEPZOOM_OVERLAP,
        overlap=DEEPZOOM_OVERLAP,
        suffix="png" if plan.quality is None else "jpg",
    )
    return replace(plan, page=page)
