"""From a folder of patches to what the trainer learns from: placed, composed, kept with the run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.data.patches import PatchCollection, UnfitError
from model.placement.collection import place_collection
from model.placement.mosaic import compose, detail_map
from model.pyramid import ImagePyramid
from model.scenes import ScenesData
from model.training_data import PatchData, PlacedData

PLACES, MOSAIC = "places.csv", "mosaic.tif"
Report = Callable[[str, float], None]
"""Called with what is being done and its share; whatever it raises cancels."""
Tell = Callable[[str], None]
"""Called with one line that a person should read."""


def _nobody(line: str) -> None:
    """For callers to whom nothing is told."""


@dataclass(frozen=True)
class PatchSet:
    """Decoded patches of one data set, with what is known of them."""

    images: np.ndarray
    """uint8 [N, P, P, 3]."""
    levels: np.ndarray
    """Octaves; NaN: unknown. float64 [N]."""
    center_xy: np.ndarray
    """Field units; NaN: unknown. float64 [N, 2]."""
    scenes: tuple[str, ...] = ()
    """Name of each one's scene; '' where there is one. [N]."""


def load_patches(
    collection: PatchCollection, patch_size: int, report: Report, tell: Tell = _nobody
) -> PatchSet:
    """Decode a whole data set; files that give no patch of the size are left out, and told of.

    Raises:
        ValueError: None is left.
    """
    found: list[np.ndarray] = []
    kept: list[int] = []
    left_out: dict[str, list[ValueError]] = {}
    for begin in range(0, len(collection), 512):
        indices = range(begin, min(begin + 512, len(collection)))
        try:
            found.append(collection.images(indices, patch_size))
            kept += indices
        except ValueError:
            for index in indices:
                try:
                    found.append(collection.images([index], patch_size, threads=1))
                    kept.append(index)
                except ValueError as error:
                    unfit = isinstance(error, UnfitError)
                    kind = "not square or too small" if unfit else "not readable"
                    left_out.setdefault(kind, []).append(error)
        report("reading patches", indices[-1] / len(collection))
    if not kept:
        raise ValueError(
            f"{collection.path} holds no image of {patch_size} x {patch_size} pixels or more that "
            "can be read; `scalespace-explorer inspect` says what is wrong with each."
        )
    for kind, errors in left_out.items():
        tell(f"{len(errors)} of {len(collection)} images left out, {kind}: {errors[0]}")
    patches = [collection.patches[index] for index in kept]
    nan = float("nan")
    return PatchSet(
        np.concatenate(found),
        np.array([nan if p.level is None else p.level for p in patches], np.float64),
        np.array([p.center_xy or (nan, nan) for p in patches], np.float64).reshape(-1, 2),
        tuple(p.scene for p in patches),
    )


def unplaced_data(
    collection: PatchCollection, patch_size: int, report: Report, tell: Tell = _nobody
) -> PatchData | ScenesData:
    """Patches as they are, for the paper's own way: no places. Of one scene, or of many.

    Raises:
        ValueError: No patch has a level.
    """
    patches = load_patches(collection, patch_size, report, tell)
    known = ~np.isnan(patches.levels)
    if not known.any():
        raise ValueError(
            f"no image of {collection.path} has a level; label them, or place them first."
        )
    if not known.all():
        tell(f"{int((~known).sum())} of {len(known)} images left out: they have no level.")
    images, levels = patches.images[known], patches.levels[known]
    scenes = [scene for scene, has_level in zip(patches.scenes, known) if has_level]
    if len(set(scenes)) > 1:
        return ScenesData(images, levels, scenes)
    return PatchData(images, levels)


def placed_data(
    collection: PatchCollection,
    folder: Path,
    patch_size: int,
    cache: Path | None,
    report: Report,
    reuse: bool = False,
    tell: Tell = _nobody,
) -> PlacedData:
    """Place the patches and compose them; the table and the picture stay in `folder`.

    Patches whose places the data set knows already are not sought. What found no place still
    serves the discriminator.

    Args:
        collection: Patches of one scene with levels, or photographs without any label.
        folder: Of the run.
        patch_size: Pixels.
        cache: For the pyramid of the composed picture; None takes the user's.
        report: See `Report`.
        reuse: Take the table and the picture that are in `folder`: a run on the same data goes on.
        tell: See `Tell`.

    Raises:
        ValueError: Nothing finds a place.
        OSError: A file cannot be written.
    """
    if len(collection.scenes) > 1:
        raise ValueError(
            f"{collection.path} holds {len(collection.scenes)} scenes; a picture is made of one."
        )
    folder.mkdir(parents=True, exist_ok=True)
    if all(patch.level is None for patch in collection.patches):
        patches = _from_photographs(collection, folder / PLACES, patch_size, report)
    else:
        if not any(patch.center_xy for patch in collection.patches):
            table = folder / PLACES
            if not (reuse and table.exists()):
                place_collection(
                    collection, table, resume=True, progress=lambda f: report("placing patches", f)
                )
            collection = collection.with_labels(table)
        patches = load_patches(collection, patch_size, report, tell)
    placed = ~np.isnan(patches.center_xy[:, 0]) & ~np.isnan(patches.levels)
    if not placed.any():
        raise ValueError(
            f"no patch of {collection.path} found its place; are they all of one picture? "
            "--placement none trains without places."
        )
    unit, low, high = _bounds(patches, placed)
    levels = patches.levels + math.log2(unit)
    centers = (patches.center_xy - (low + high) / 2) / unit
    width, height = ((high - low) / unit).tolist()
    mosaic = folder / MOSAIC
    if not (reuse and mosaic.exists()):
        compose(
            patches.images[placed],
            centers[placed],
            levels[placed],
            (width, height),
            mosaic,
            lambda fraction: report("composing the picture", fraction),
        )
    pyramid = ImagePyramid.open(
        mosaic,
        patch_size=patch_size,
        cache_dir=cache,
        progress=lambda fraction: report("reading the picture", fraction),
    )
    known = ~np.isnan(levels)
    detail = detail_map(centers[placed], levels[placed], (width, height), pyramid.base_size)
    return PlacedData(pyramid, detail, PatchData(patches.images[known], levels[known]))


def _from_photographs(
    collection: PatchCollection, table: Path, patch_size: int, report: Report
) -> PatchSet:
    """Upright, evenly lit patches of photographs of which nothing is known."""
    from model.placement.photographs import PhotoConfig, cut_rectified, place_read, write_rows

    places, rows = place_read(
        collection, PhotoConfig(patch_size), lambda f: report("placing photographs", f)
    )
    write_rows(table, rows)
    cut = [
        patch
        for index, place in places.items()
        if place.status == "placed"
        for patch in cut_rectified(collection.image(index), place, patch_size)
    ]
    return PatchSet(
        np.array([p.image for p in cut], np.uint8).reshape(-1, patch_size, patch_size, 3),
        np.array([p.level for p in cut], np.float64),
        np.array([p.center_xy for p in cut], np.float64).reshape(-1, 2),
    )


def _bounds(patches: PatchSet, placed: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The shorter side, the low and the high corner of what is placed, in the labels' units."""
    half = 0.5 * 2.0 ** -patches.levels[placed, None]
    low = (patches.center_xy[placed] - half).min(0)
    high = (patches.center_xy[placed] + half).max(0)
    return float((high - low).min()), low, high
