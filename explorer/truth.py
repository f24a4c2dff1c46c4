"""The real picture beside the generated one: opened, rendered and compared in a side thread."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from explorer.messages import Progress
from explorer.truth_messages import (
    FigureRequest,
    Figures,
    OctaveFigures,
    OctaveMap,
    OctaveMapRequest,
    TruthFrame,
    TruthOpen,
    TruthOpened,
    TruthRequest,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from explorer.messages import ExactView, Pixels
    from explorer.octave_views import Region
    from explorer.side_thread import SideThread
    from model.pyramid import ImagePyramid

_STRIP_PX = 96
"""Rows that are rendered between two looks at newer requests."""
_RATIO_TOLERANCE = 0.005
_FAINTEST_WHITE = 8.0
"""What white means in a map of levels, at least: in steps of 0 to 255."""

Box = tuple[int, int, int, int]


class Truth:
    """The handlers of the lens: `open`, `frame` and `figures`; all run in the side thread."""

    def __init__(self) -> None:
        self.thread: SideThread | None = None
        self._pyramid: ImagePyramid | None = None
        self._scene = ""
        self._last: tuple[ExactView, Pixels] | None = None

    def open(self, request: TruthOpen) -> TruthOpened:
        """Open the picture, cut to what the scene was trained on.

        Raises:
            OSError: It cannot be read, or its pyramid cannot be written.
            ValueError: It is no image.
            GaveUp: Another picture is to be opened.
        """
        from model.pyramid import ImagePyramid
        from model.torch_threads import set_torch_threads

        set_torch_threads(1)  # of this thread: the cores are the generator's
        told_at = time.perf_counter()

        def progress(fraction: float) -> None:
            nonlocal told_at
            self._check(TruthOpen)
            if self.thread is not None and time.perf_counter() - told_at > 0.1:
                told_at = time.perf_counter()
                self.thread.tell(Progress(f"Preparing {Path(request.path).name} ...", fraction))

        crop, warning = _crop_for(Path(request.path), Path(request.scene_path))
        pyramid = ImagePyramid.open(
            request.path, crop=crop, patch_size=request.patch_size, progress=progress
        )
        width, height = pyramid.field_size
        ratio = (width / height) / (request.field_size[0] / request.field_size[1])
        if not warning and abs(ratio - 1) > _RATIO_TOLERANCE:
            warning = (
                f"Proportions differ: {width:.3f} x {height:.3f} here, "
                f"{request.field_size[0]:.3f} x {request.field_size[1]:.3f} in the scene; "
                "places may not agree."
            )
        if self._pyramid is not None:
            self._pyramid.close()
        self._pyramid, self._scene, self._last = pyramid, request.scene, None
        return TruthOpened(request.scene, request.path, pyramid.level_range[1], warning)

    def frame(self, request: TruthRequest) -> TruthFrame | None:
        """The picture of a view at exactly its level and offset; None where it is another scene's.

        Raises:
            GaveUp: A newer view is wanted.
        """
        if self._pyramid is None or request.scene != self._scene:
            return None
        if self._last is None or self._last[0] != request.view:
            pixels = self._render(request.view, lambda: self._check(TruthRequest))
            self._last = (request.view, pixels)
        pixels, difference = self._last[1], None
        if request.generated is not None:
            difference = signed_difference(request.generated, pixels, request.gain)
        return TruthFrame(request.scene, request.view, pixels, difference, request.gain)

    def figures(self, request: FigureRequest) -> Figures | None:
        """PSNR and power of each level; None where it is another scene's.

        The PSNR is that of the pixels in the request's region. The power is that of the whole
        picture, of which a Hann window counts the middle most: few pixels have no spectrum.

        Raises:
            GaveUp: Newer figures are wanted.
        """
        if self._pyramid is None or request.scene != self._scene:
            return None
        from model.metrics.fidelity import psnr
        from model.metrics.spectrum import decibels, high_band_power

        octaves = []
        for view, generated in zip(request.views, request.generated, strict=True):
            self._check(FigureRequest)
            real_img = _as_img(self._render(view, lambda: None))
            img = _as_img(generated)
            inside = _inside(request.region, view, self._pyramid.patch_size)
            fidelity = psnr(img[..., inside], real_img[..., inside])
            power, real_power = high_band_power(img), high_band_power(real_img)
            octaves.append(
                OctaveFigures(
                    view.level,
                    fidelity,
                    decibels(power, real_power),
                    (decibels(power, 1.0), decibels(real_power, 1.0)),
                )
            )
        return Figures(request, tuple(octaves))

    def _render(self, view: ExactView, check: Callable[[], None]) -> Pixels:
        """uint8 [H, W, 4] of the real picture, in strips."""
        from explorer.exact_frame import to_rgba
        from model.space import Window

        assert self._pyramid is not None
        width, height = view.size
        window = Window(view.origin_xy, view.level, height, width)
        pixels = np.empty((height, width, 4), np.uint8)
        for y in range(0, height, _STRIP_PX):
            check()
            rows = min(_STRIP_PX, height - y)
            strip = window.crop(0, y, width, rows, self._pyramid.patch_size)
            pixels[y : y + rows] = to_rgba(self._pyramid.render([strip]))[0]
        pixels.flags.writeable = False
        return pixels

    def _check(self, kind: type) -> None:
        if self.thread is not None:
            self.thread.check(kind)


def signed_difference(generated: Pixels, real: Pixels, gain: float) -> Pixels:
    """Generated minus real, times `gain`, about 128: grey where both are equal.

    Args:
        generated, real: uint8 [H, W, 4], RGBA, of one shape.
        gain: Factor, > 0.

    Returns:
        uint8 [H, W, 4], opaque.
    """
    out = np.empty_like(real)
    for begin in range(0, len(real), _STRIP_PX):  # small pieces stay in the processor's cache
        rows = slice(begin, begin + _STRIP_PX)
        delta = generated[rows].astype(np.float32) - real[rows]
        np.clip(np.rint(delta * np.float32(gain)) + 128, 0, 255, out=delta)
        out[rows] = delta
    out[..., 3] = 255
    return out


def octave_map(request: OctaveMapRequest) -> OctaveMap:
    """The fine picture averaged over 2 x 2 pixels minus the coarse one, absolute, made small.

    Raises:
        ValueError: The two pictures are not an octave apart in size.
    """
    height, width = request.coarse.shape[:2]
    if request.fine.shape[0] // 2 != height or request.fine.shape[1] // 2 != width:
        raise ValueError(
            "the coarse picture must have half the sides of the fine one, got "
            f"{request.fine.shape[:2]} and {request.coarse.shape[:2]}; ask for both of one view."
        )
    fine = request.fine[: 2 * height, : 2 * width, :3].astype(np.float32)
    small = fine.reshape(height, 2, width, 2, 3).mean((1, 3))
    delta = np.abs(small - request.coarse[..., :3]).mean(-1)
    pool = -(-max(height, width) // request.max_px)
    rows, columns = max(1, height // pool), max(1, width // pool)
    part = delta[: rows * pool, : columns * pool] if pool > 1 else delta
    pooled = part.reshape(rows, -1, columns, part.shape[1] // columns).mean((1, 3))
    peak = max(float(pooled.max()), _FAINTEST_WHITE)
    pixels = np.rint(pooled * (255 / peak)).astype(np.uint8)
    return OctaveMap(request.number, pixels, float(delta.mean()), peak)


def _inside(region: Region, view: ExactView, patch_size: int) -> Any:
    """Which pixels of a view touch the region: bool tensor [H, W]; all, where none does."""
    import torch

    from model.scale import density

    pixel = 1 / density(view.level, patch_size)
    width, height = view.size
    x = view.origin_xy[0] + (torch.arange(width, dtype=torch.float64) + 0.5) * pixel
    y = view.origin_xy[1] + (torch.arange(height, dtype=torch.float64) + 0.5) * pixel
    in_x = (x > region.left - pixel / 2) & (x < region.right + pixel / 2)
    in_y = (y > region.top - pixel / 2) & (y < region.bottom + pixel / 2)
    inside = in_y[:, None] & in_x[None]
    if region.circle is not None:
        cx, cy, radius = region.circle
        inside &= torch.hypot((y - cy)[:, None], (x - cx)[None]) < radius + pixel / 2
    return inside if bool(inside.any()) else torch.ones_like(inside)


def _as_img(pixels: Pixels) -> Any:
    """uint8 [H, W, 4] to float32 [1, 3, H, W] in [-1, 1]."""
    import torch

    rgb = np.ascontiguousarray(pixels[..., :3].transpose(2, 0, 1))
    return torch.from_numpy(rgb)[None].float() / 127.5 - 1


def _crop_for(path: Path, scene_path: Path) -> tuple[Box | None, str]:
    """The part of `path` that the scene was trained on, and a warning where sizes differ."""
    source = _source_of(scene_path)
    if not source or not source.get("crop") or not source.get("size"):
        return None, ""
    from model.data.large import open_picture

    size = tuple(int(v) for v in open_picture(path).size_wh)
    full = tuple(int(v) for v in source["size"])
    x0, y0, x1, y1 = (int(v) for v in source["crop"])
    # All of it has the pyramid that training has built, which asks for no crop.
    is_whole = (x0, y0, x1, y1) == (0, 0, *full)
    if size == full:
        return None if is_whole else (x0, y0, x1, y1), ""
    if size == (x1 - x0, y1 - y0):
        return None, ""
    named = source.get("name", "the picture it came from")
    warning = (
        f"This file has {size[0]} x {size[1]} pixels, {named} had {full[0]} x {full[1]}; "
        "places may not agree."
    )
    sx, sy = size[0] / full[0], size[1] / full[1]
    scaled = round(x0 * sx), round(y0 * sy), round(x1 * sx), round(y1 * sy)
    return None if is_whole else scaled, warning


def _source_of(scene_path: Path) -> dict[str, Any] | None:
    """What a checkpoint, or a run's newest one, says of its picture; None for anything else."""
    from model.header import CheckpointError, read_header
    from model.opening import is_checkpoint, newest_checkpoint

    try:
        if scene_path.is_dir():
            scene_path = newest_checkpoint(scene_path)
        return read_header(scene_path).source if is_checkpoint(scene_path) else None
    except CheckpointError:
        return None  # a tile pyramid, or a file that has gone since it was opened
