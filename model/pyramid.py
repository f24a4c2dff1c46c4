"""`ImagePyramid`: one image as a scale space, exact. The ground truth of training and measuring."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from kernels.resample import axis_taps, resample
from model.latent import Seed
from model.lattice import lattices_of
from model.pyramid_build import Box, Progress, PyramidFiles, find_or_build, mip_path
from model.rendering import render_view
from model.scale import Lattice, density, field_size_of, level_of_density
from model.space import Window, check_batch

_OVERSAMPLING = 4.0
"""Pixels of the chosen mip per output pixel, at least, unless it is the image itself."""


_FAULT_BYTES = 1 << 16
"""What Linux maps around a page that is touched, where the file is in its cache."""
_MAPPED_BYTES = 1 << 30
"""Mapped by rendering before all is unmapped again: the files stay cached, the process small."""


_GPU_SHARE, _GPU_ROWS = 0.25, 1024
"""Of a GPU's free memory, at most; and lines that are sent there at a time."""


class ImagePyramid:
    """The image of any window of a picture: area averages when it shrinks, linear when it grows.

    Up to 8 image pixels per output pixel the average is taken over the image itself and is exact;
    beyond, over exact averages of 2, 4, 8... pixels, of which an output pixel spans 4 to 8.
    A pixel depends on its place and level alone: equal pixels of different windows are equal bits.
    `render` and `sample` may be called from several threads at once.
    """

    def __init__(self, folder: Path, files: PyramidFiles, patch_size: int) -> None:
        """Map the files of a whole pyramid; use `open` instead."""
        self._files = files
        self._patch_size = patch_size
        self._field_size = field_size_of(files.width, files.height)
        self._identity = f"image:{files.name}:{folder.name}:{patch_size}"
        self._mips: list[np.memmap] = []
        self._on_gpu: list[torch.Tensor] = []
        self._mapped_bytes = 0  # threads may miscount it: it is no more than a hint
        for mip in range(files.num_mips):
            width, height = files.mip_size(mip)
            self._mips.append(
                np.memmap(mip_path(folder, mip), np.uint8, mode="r", shape=(height, width, 3))
            )

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        crop: Box | None = None,
        patch_size: int = 64,
        cache_dir: str | os.PathLike[str] | None = None,
        max_density: float | None = None,
        progress: Progress | None = None,
    ) -> ImagePyramid:
        """Open an image of any size; the first time, build its pyramid on disk.

        Args:
            path: Anything libvips reads, a .dzi or a Zoomify folder. Orientation is applied; ICC
                profiles, CMYK, 16 bits and grey become 8-bit sRGB; transparency is laid on white.
            crop: x0, y0, x1, y1 of the part to take, pixels; None takes all.
            patch_size: Pixels; fixes what level 0 means.
            cache_dir: Folder for pyramids (4 bytes a pixel); None takes the user's cache.
            max_density: Pixels per field unit; a larger image is averaged over whole pixels first.
            progress: Called with the fraction that is built, in [0, 1]. Whatever it raises cancels
                the build, leaves nothing behind and reaches the caller.

        Raises:
            OSError: The image cannot be read, or the cache cannot be written (disk full).
            ValueError: Not an image, or `crop`, `patch_size` or `max_density` does not fit it.
        """
        if patch_size < 1:
            raise ValueError(f"patch_size must be >= 1 pixel, got {patch_size}.")
        folder, files = find_or_build(
            Path(path), crop, max_density, None if cache_dir is None else Path(cache_dir), progress
        )
        return cls(folder, files, patch_size)

    @property
    def identity(self) -> str:
        """Names the image file, its state on disk and the crop."""
        return self._identity

    @property
    def patch_size(self) -> int:
        """Pixels of a patch; fixes what level 0 means."""
        return self._patch_size

    @property
    def field_size(self) -> tuple[float, float]:
        """Width and height in field units; the shorter is 1."""
        return self._field_size

    @property
    def base_size(self) -> tuple[int, int]:
        """Width and height of the finest pixels, in pixels."""
        return self._files.width, self._files.height

    @property
    def base_density(self) -> float:
        """Pixels of the image per field unit."""
        return float(min(self._files.width, self._files.height))

    @property
    def level_range(self) -> tuple[float, float]:
        """From level 0 to the level of the image's own pixels, octaves."""
        return 0.0, max(0.0, level_of_density(self.base_density, self._patch_size))

    @property
    def source(self) -> dict[str, object]:
        """Where the picture came from, as a checkpoint's head stores it."""
        files = self._files
        return {"name": files.name, "size": list(files.source_size), "crop": list(files.crop)}

    def render(self, windows: Sequence[Window]) -> torch.Tensor:
        """See `model.space.ScaleSpace.render`. Any level, also outside `level_range`."""
        check_batch(windows)
        first = windows[0]
        out = np.empty((len(windows), first.height, first.width, 3), np.float32)
        for image, w in zip(out, windows, strict=True):
            self._render_into(image, w.origin_xy, w.level)
        return _as_network_images(out)

    def render_view(
        self, center_xy: tuple[float, float], level: float, size_wh: tuple[int, int], seed: Seed = 0
    ) -> np.ndarray:
        """The view that the app shows, uint8 [H, W, 3]; see `model.rendering.render_view`."""
        return render_view(self, center_xy, level, size_wh, seed)

    def sample(
        self, origins_xy: torch.Tensor | np.ndarray, levels: torch.Tensor | np.ndarray, size: int
    ) -> torch.Tensor:
        """Square windows that each have their own level: training patches.

        Args:
            origins_xy: Top left corners, field units. [N, 2].
            levels: Octaves. [N].
            size: Pixels a side.

        Returns:
            float32 [N, 3, size, size] in [-1, 1]; equal to `render` of the same windows. After
            `keep_on`, windows of one level are made there, and equal to rounding.
        """
        origins, octaves = np.asarray(origins_xy, np.float64), np.asarray(levels, np.float64)
        if origins.shape != (len(octaves), 2) or octaves.ndim != 1 or size < 1:
            raise ValueError(
                "sample needs origins_xy [N, 2], levels [N] and size >= 1, "
                f"got {list(origins.shape)}, {list(octaves.shape)} and {size}."
            )
        if self._on_gpu and len(set(octaves.tolist())) == 1:
            return self._sample_on_gpu(origins, float(octaves[0]), size)
        out = np.empty((len(octaves), size, size, 3), np.float32)
        for image, (x, y), level in zip(out, origins.tolist(), octaves.tolist(), strict=True):
            self._render_into(image, (x, y), level)
        return _as_network_images(out)

    def keep_on(self, device: torch.device) -> bool:
        """Hold the picture in a GPU's memory too, so that `sample` costs the host nothing.

        Returns:
            False where it would take more than a quarter of the free memory: all stays as it is.
        """
        free, _ = torch.cuda.mem_get_info(device) if device.type == "cuda" else (1 << 62, 0)
        if sum(mip.nbytes for mip in self._mips) > free * _GPU_SHARE:
            return False
        # In bands: a copy of a mapped file that is larger than memory must not be made here first.
        for mip in self._mips:
            pixels = torch.empty(mip.shape, dtype=torch.uint8, device=device)
            for y in range(0, len(mip), _GPU_ROWS):
                pixels[y : y + _GPU_ROWS] = torch.from_numpy(np.array(mip[y : y + _GPU_ROWS]))
            self._on_gpu.append(pixels)
        return True

    def close(self) -> None:
        """Let go of the mapped files; rendering afterwards raises ValueError."""
        self._mips, self._on_gpu = [], []

    def _sample_on_gpu(self, origins: np.ndarray, level: float, size: int) -> torch.Tensor:
        pixels_per_unit = density(level, self._patch_size)
        step, mip = self._step_and_mip(pixels_per_unit)
        shrink = 0.5**mip
        corners = [
            ((firsts + phases) * step + length / 2) * shrink
            for (firsts, phases), length in (
                (lattices_of(origins[:, 0], pixels_per_unit), self._files.width),
                (lattices_of(origins[:, 1], pixels_per_unit), self._files.height),
            )
        ]
        img = self._on_gpu[mip].permute(2, 0, 1).expand(len(origins), -1, -1, -1)
        steps = torch.full((len(origins),), step * shrink, dtype=torch.float64)
        places = torch.from_numpy(np.stack(corners, 1))
        return resample(img, places, steps, (size, size)).mul_(1 / 127.5).sub_(1)

    def _step_and_mip(self, pixels_per_unit: float) -> tuple[float, int]:
        """Image pixels per pixel of a window of this density, and the halving to read."""
        step = self.base_density / pixels_per_unit
        mip = max(0, math.floor(math.log2(step / _OVERSAMPLING)))
        return step, min(mip, len(self._mips) - 1)

    def _render_into(self, out: np.ndarray, origin_xy: tuple[float, float], level: float) -> None:
        """Fill `out` (float32 [H, W, 3], 0 to 255) with the window at `origin_xy` and `level`."""
        mips = self._mips
        if not mips:
            raise ValueError("this image pyramid was closed; open the image again.")
        if not all(map(math.isfinite, (*origin_xy, level))):
            raise ValueError(f"origin and level must be finite, got {origin_xy} and {level}.")
        pixels_per_unit = density(level, self._patch_size)
        step, mip = self._step_and_mip(pixels_per_unit)
        shrink = 0.5**mip
        pixels = mips[mip]
        taps = []
        for axis, length in enumerate((self._files.width, self._files.height)):
            lattice = Lattice.at(origin_xy[axis], pixels_per_unit)
            # Whole-number positions first, so that a pixel's centre does not depend on its window.
            index = np.arange(lattice.first, lattice.first + out.shape[1 - axis], dtype=np.float64)
            centers = ((index + (lattice.phase + 0.5)) * step + length / 2) * shrink
            taps.append(_clamped_taps(centers, step * shrink, pixels.shape[1 - axis]))
        _weighted_sums(pixels, taps[0], taps[1], out)
        self._unmap(*(int(index.max() - index.min()) + 1 for index, _ in taps))

    def _unmap(self, width: int, height: int) -> None:
        """Give back what rendering has mapped, once windows of many pixels were read."""
        self._mapped_bytes += height * (3 * width + _FAULT_BYTES)
        if self._mapped_bytes > _MAPPED_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            self._mapped_bytes = 0
            for pixels in self._mips:
                pixels.base.madvise(mmap.MADV_DONTNEED)


def _clamped_taps(centers: np.ndarray, step: float, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Input indices int64 [K, S] within `length`, and their weights float32 [K, S]."""
    first, weights = axis_taps(torch.from_numpy(centers), torch.tensor([step], dtype=torch.float64))
    index = first.numpy()[None] + np.arange(weights.shape[-1])[:, None]
    return np.clip(index, 0, length - 1), np.ascontiguousarray(weights.numpy().T, np.float32)


def _weighted_sums(
    pixels: np.ndarray,
    taps_x: tuple[np.ndarray, np.ndarray],
    taps_y: tuple[np.ndarray, np.ndarray],
    out: np.ndarray,
) -> None:
    """Separable sum over taps, added up in the same order for every pixel of every window."""
    (index_x, weights_x), (index_y, weights_y) = taps_x, taps_y
    x0, x1 = int(index_x.min()), int(index_x.max()) + 1
    y0, y1 = int(index_y.min()), int(index_y.max()) + 1
    region = np.asarray(pixels[y0:y1, x0:x1]).reshape(y1 - y0, -1).astype(np.float32)
    rows = weights_y[0, :, None] * region[index_y[0] - y0]
    for index, weights in zip(index_y[1:], weights_y[1:], strict=True):
        term = region[index - y0]
        term *= weights[:, None]
        rows += term
    rows = rows.reshape(out.shape[0], x1 - x0, 3)
    np.multiply(rows[:, index_x[0] - x0], weights_x[0, :, None], out=out)
    for index, weights in zip(index_x[1:], weights_x[1:], strict=True):
        term = rows[:, index - x0]
        term *= weights[:, None]
        out += term


def _as_network_images(out: np.ndarray) -> torch.Tensor:
    """float32 [N, H, W, 3] in 0 to 255, to [N, 3, H, W] in [-1, 1]."""
    out *= np.float32(1 / 127.5)
    out -= np.float32(1)
    return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous()
