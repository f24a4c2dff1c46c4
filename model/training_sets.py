"""From a folder of patches to what the trainer learns from: placed, composed, kept with the run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.data.patches import PatchCollection, UnfitError
from model.placement.collection import OnState, place_collection, saved_state
from model.placement.frame import FRAME, Frame, boxed, read_frame
from model.placement.mosaic import compose, detail_map, finest_level
from model.placement.places_csv import state_path
from model.pyramid import ImagePyramid
from model.scenes import ScenesData
from model.training_data import PatchData, PlacedData

PLACES, MOSAIC, PYRAMID = "places.csv", "mosaic.tif", "pyramid"
_LEAST_DETAIL_PX = 512
"""Pixels of the shorter side that the map of what is known where has cells for, at least."""
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
    rows: np.ndarray | None = None
    """Which patches of the collection they are. int64 [N]; None: none of it as they are."""

    @property
    def placed(self) -> np.ndarray:
        """Of which the place and the level are known. bool [N]."""
        return ~np.isnan(self.center_xy[:, 0]) & ~np.isnan(self.levels)


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
        np.array(kept, np.int64),
    )


def unplaced_data(
    collection: PatchCollection,
    patch_size: int,
    report: Report,
    tell: Tell = _nobody,
    aspect: float = 1.0,
) -> PatchData | ScenesData:
    """Patches as they are, for the paper's own way: no places. Of one scene, or of many.

    `aspect` is width over height of the one scene: without places nothing in the patches tells it.

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
    return PatchData(images, levels, (max(aspect, 1.0), max(1 / aspect, 1.0)))


def placed_data(
    collection: PatchCollection,
    folder: Path,
    patch_size: int,
    cache: Path | None,
    report: Report,
    reuse: bool = False,
    tell: Tell = _nobody,
    on_state: OnState | None = None,
) -> PlacedData:
    """Place the patches and compose them; the table and the picture stay in `folder`.

    Patches whose places the data set knows already are not sought. What found no place still
    serves the discriminator.

    Args:
        collection: Patches of one scene with levels, or photographs without any label.
        folder: Of the run.
        patch_size: Pixels.
        cache: For the pyramid of the composed picture; None keeps it in `folder`: nobody else
            has that picture, and it goes with the run.
        report: See `Report`.
        reuse: Take the table, the frame and the picture that are in `folder`: a run on the same
            data goes on.
        tell: See `Tell`.
        on_state: See `model.placement.collection`.

    Raises:
        ValueError: Nothing finds a place.
        OSError: A file cannot be written.
    """
    if len(collection.scenes) > 1:
        raise ValueError(
            f"{collection.path} holds {len(collection.scenes)} scenes; a picture is made of one."
        )
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / PLACES
    if not reuse and (folder / FRAME).exists():
        # Of a run that was given up: its places lie in its own frame.
        (folder / FRAME).unlink()
        state_path(table).unlink(missing_ok=True)
    elif not reuse:
        _drop_other_state(collection, table)
    frame = None
    if all(patch.level is None for patch in collection.patches):
        patches = _from_photographs(collection, table, patch_size, report)
    else:
        if not any(patch.center_xy for patch in collection.patches):
            frame = read_frame(folder, collection)
            if not (reuse and table.exists()):
                place_collection(
                    collection,
                    table,
                    resume=True,
                    progress=lambda f: report("placing patches", f),
                    begin=None if frame is None else frame.begin,
                    on_state=on_state,
                )
            collection = collection.with_labels(table)
        patches = load_patches(collection, patch_size, report, tell)
    if not patches.placed.any():
        raise ValueError(
            f"no patch of {collection.path} found its place; are they all of one picture? "
            "--placement none trains without places."
        )
    mosaic = folder / MOSAIC
    if not reuse:
        mosaic.unlink(missing_ok=True)
        shutil.rmtree(folder / PYRAMID, ignore_errors=True)
    return composed_data(patches, frame, mosaic, cache or folder / PYRAMID, report)


def _drop_other_state(collection: PatchCollection, table: Path) -> None:
    """Of a start that was given up, a placement of just these patches alone goes on."""
    try:
        saved_state(collection, table)
    except ValueError:
        state_path(table).unlink(missing_ok=True)


def composed_data(
    patches: PatchSet, frame: Frame | None, mosaic: Path, cache: Path, report: Report
) -> PlacedData:
    """The picture that placed patches make, and the patches.

    Args:
        patches: Some of which are placed.
        frame: Where the field lies; None: around all that is placed.
        mosaic: The picture's file; one that is there is taken as it is.
        cache: For its pyramid.
        report: See `Report`.

    Raises:
        ValueError: The frame is of other patches.
        OSError: A file cannot be written.
    """
    placed = patches.placed
    center_xy, level = patches.center_xy[placed], patches.levels[placed]
    if frame is None or patches.rows is None:
        gauge, field_size = boxed(center_xy, level), None
    else:
        gauge = frame.gauge(patches.rows[placed], center_xy, level)
        field_size = gauge.field_size
    levels = gauge.levels(patches.levels)
    centers = gauge.centers(center_xy)
    if not mosaic.exists():
        compose(
            patches.images[placed],
            centers,
            levels[placed],
            gauge.field_size,
            mosaic,
            lambda fraction: report("composing the picture", fraction),
        )
    pyramid = ImagePyramid.open(
        mosaic,
        patch_size=patches.images.shape[1],
        cache_dir=cache,
        progress=lambda fraction: report("reading the picture", fraction),
    )
    known = ~np.isnan(levels)
    # Cells of a coarse picture would be so large that a patch's edge matters.
    cells = max(1.0, _LEAST_DETAIL_PX / min(pyramid.base_size))
    width, height = (round(cells * side) for side in pyramid.base_size)
    detail = detail_map(centers, levels[placed], gauge.field_size, (width, height))
    found = PatchData(patches.images[known], levels[known])
    level_range = found.level_range[0], finest_level(levels[placed])
    return PlacedData(pyramid, detail, found, field_size, level_range)


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
