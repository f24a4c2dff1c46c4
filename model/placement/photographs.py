"""Ordinary photographs of one picture find their place: level, roll, perspective, light.

    places = place_photographs(images)                   # no labels at all
    patches = cut_rectified(images[0], places[0], 64)    # upright, evenly lit, with level and place

Features say which photographs overlap and how (`photo_features`); the largest connected set is
adjusted at once (`photo_bundle`), then by its pixels (`photo_align`). The field is the smallest
rectangle round all placed photographs, its shorter side 1, centred at the origin (`photo_gauge`):
a photograph that shows a wall beside the picture makes the wall part of the field. Light is evened
where photographs overlap (`photo_light`).

The picture must be flat, and the camera's lens free of distortion (phones correct theirs).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from model.data.patches import LEAST_PHOTOGRAPH_PX
from model.placement.photo_align import Mips, center_density, draw, make_mips
from model.placement.photo_bundle import connected_sets
from model.placement.photo_features import (
    MIN_INLIERS,
    Features,
    Progress,
    apply_homography,
    find_distant_pairs,
    find_features,
    find_pairs,
    normalising,
    part,
)
from model.placement.photo_gauge import choose_field, roll
from model.placement.photo_light import Light, even_light, evened, light_mips
from model.placement.photo_solve import Solved, rms_px, solve
from model.scale import density, level_of_density

USUAL_PATCH_SIZE = 64
PHOTO_COLUMNS = (
    *("file", "log2_zoom", "x", "y", "scene", "status", "confidence", "reason"),
    *("rotation_deg", "rms_px", "width", "height"),
    *(f"h{row}{column}" for row in range(3) for column in range(3)),
)
"""Columns of `place_unlabelled`."""


@dataclass(frozen=True)
class PhotoConfig:
    """How photographs are placed."""

    patch_size: int | None = None
    """Pixels; fixes what level 0 means. None: the side of the images where all are squares of one
    size, else 64."""
    min_side: int = LEAST_PHOTOGRAPH_PX
    """Photographs with a shorter side, pixels, have too few features to be looked for."""
    work_side: int = 1600
    """Longer side that a photograph is reduced to while it is placed, pixels."""
    max_features: int = 12_000
    """Features a photograph at most."""

    def __post_init__(self) -> None:
        if self.patch_size is not None and self.patch_size < 1:
            raise ValueError(f"patch_size must be at least 1 pixel, got {self.patch_size}.")
        if not 32 <= self.min_side <= self.work_side:
            raise ValueError(
                "min_side must be at least 32 and at most work_side, got "
                f"{self.min_side} and {self.work_side}."
            )
        if self.max_features < MIN_INLIERS:
            raise ValueError(
                f"max_features must be at least {MIN_INLIERS}, got {self.max_features}."
            )


@dataclass(frozen=True)
class PhotoPlace:
    """Where one photograph belongs, or why that is not known."""

    index: int
    """Into the photographs that were given."""
    size_wh: tuple[int, int]
    """Pixels; (0, 0) where it could not be read."""
    status: str
    """'placed' or 'unplaced'."""
    reason: str = ""
    """Why it is unplaced and what to do; '' where it is placed."""
    level: float | None = None
    """Octaves, of the photograph's centre: density = patch_size * 2**level pixels a field unit."""
    center_xy: tuple[float, float] | None = None
    """Of its centre, field units."""
    rotation_deg: float | None = None
    """Direction of its x axis in the field, clockwise; the mean over those that were taken from one
    side, the most, is 0."""
    homography: tuple[float, ...] | None = None
    """Photo pixel (centres at half-integers) to field units: 3 x 3, row by row, the last 1."""
    rms_px: float | None = None
    """How far its points are from those of the others: root mean square without the farthest tenth,
    in pixels of the coarser photograph of each pair."""
    confidence: float = 0.0
    """Part of what it shares with others that looks the same, in [0, 1]; 0.5 where it shares too
    little to compare by pixels, and only its features say so."""
    pairs: int = 0
    """Photographs that it overlaps and was compared with."""
    light: Light | None = None
    """Its gain; None where no overlap told."""


@dataclass(frozen=True)
class RectifiedPatch:
    """An upright, evenly lit patch of a photograph."""

    image: np.ndarray
    """uint8 [P, P, 3], sRGB."""
    level: float
    """Octaves."""
    center_xy: tuple[float, float]
    """Field units."""


class Listed(Protocol):
    """A file of a collection, as `model.data.patches.Patch` has it."""

    @property
    def name(self) -> str: ...
    @property
    def level(self) -> float | None: ...
    @property
    def scene(self) -> str: ...


class Collection(Protocol):
    """What `place_unlabelled` needs of `model.data.patches.PatchCollection`."""

    @property
    def patches(self) -> Sequence[Listed]: ...
    def image(self, index: int) -> np.ndarray: ...


@dataclass(frozen=True)
class _Photo:
    """What is kept of a photograph while all are placed."""

    index: int
    size_wh: tuple[int, int]
    to_uv: np.ndarray
    grey: Mips
    light: Mips
    features: Features


def place_photographs(
    images: Sequence[np.ndarray],
    config: PhotoConfig | None = None,
    progress: Progress = lambda fraction: None,
) -> tuple[PhotoPlace, ...]:
    """Find level, place, roll and perspective of every photograph of one picture.

    Time grows with the square of their number (60 photographs of 1,024 x 768: a minute or two on
    two cores), memory with the number (about 10 MB each).

    Args:
        images: uint8 [H, W, 3] sRGB of any sizes; each is asked for once, in order, so that it may
            be read then. Asking may raise OSError or ValueError: that one is then unplaced.
        config: How.
        progress: Called with the fraction done, in [0, 1]. What it raises cancels.

    Returns:
        One place a photograph, in their order.
    """
    config = config or PhotoConfig()
    places, photos = _look_at_all(images, config, part(progress, 0.0, 0.25))
    sizes = {place.size_wh for place in places if place.size_wh != (0, 0)}
    patch_size = config.patch_size or USUAL_PATCH_SIZE
    if config.patch_size is None and len(sizes) == 1:
        width, height = next(iter(sizes))
        patch_size = width if width == height else patch_size
    features = [p.features for p in photos]
    sizes_wh = [p.grey.size_wh for p in photos]
    pairs = find_pairs(features, sizes_wh, part(progress, 0.25, 0.4))
    sets = connected_sets(len(photos), pairs)
    loose = [i for group in sets[1:] for i in group]
    if loose and pairs:
        pairs += find_distant_pairs(features, sizes_wh, loose, sets[0], part(progress, 0.65, 0.1))
        sets = connected_sets(len(photos), pairs)
    if pairs:
        solved = solve(pairs, [p.grey for p in photos], part(progress, 0.75, 0.2))
        if len(solved.placed) > 1:
            for place in _placed(photos, solved, patch_size):
                places[place.index] = place
    names = [p.index for p in photos]
    for group in sets:
        for i in group:
            if places[names[i]].status != "placed":
                reason = _why_unplaced([names[j] for j in group], len(photos), group is sets[0])
                places[names[i]] = replace(places[names[i]], reason=reason)
    progress(1.0)
    return tuple(places)


def cut_rectified(
    image: np.ndarray,
    place: PhotoPlace,
    patch_size: int,
    levels: Sequence[float] | None = None,
) -> tuple[RectifiedPatch, ...]:
    """Training patches of a placed photograph: upright, evenly lit, side by side, none beyond it.

    Args:
        image: The photograph, uint8 [H, W, 3].
        place: Where `place_photographs` put it.
        patch_size: Pixels a side; what the levels mean as well, so give the one it was placed with.
        levels: Octaves, none above the photograph's own (`place.level`); None cuts at that one.

    Raises:
        ValueError: The photograph is not placed, not the one that was, or not so fine.
    """
    if place.homography is None or place.level is None:
        raise ValueError(f"only placed photographs can be cut; number {place.index} is not placed.")
    if (image.shape[1], image.shape[0]) != place.size_wh:
        raise ValueError(
            f"the photograph placed is {place.size_wh[0]} x {place.size_wh[1]} pixels, got "
            f"{image.shape[1]} x {image.shape[0]}; give the same photograph."
        )
    h = np.array(place.homography).reshape(3, 3)
    wanted = (place.level,) if levels is None else tuple(levels)
    if max(wanted, default=place.level) > place.level + 0.01:
        raise ValueError(
            f"the photograph shows nothing finer than level {place.level:.2f}, got "
            f"{max(wanted):.2f}; leave out the levels above."
        )
    mips = make_mips(evened(image, place.light))
    patches: list[RectifiedPatch] = []
    for level in wanted:
        patches += _cut_level(mips, h, patch_size, level)
    return tuple(patches)


def place_unlabelled(
    collection: Collection,
    config: PhotoConfig | None = None,
    progress: Progress = lambda fraction: None,
) -> list[dict[str, object]]:
    """Place the files of a collection that have no level, scene by scene, as photographs.

    Args:
        collection: Any `PatchCollection`.
        config: How.
        progress: Called with the fraction done, in [0, 1]. What it raises cancels.

    Returns:
        One row a file without a level, in the collection's order; keys are `PHOTO_COLUMNS`. What is
        not known is ''.
    """
    return place_read(collection, config, progress)[1]


def place_read(
    collection: Collection,
    config: PhotoConfig | None = None,
    progress: Progress = lambda fraction: None,
) -> tuple[dict[int, PhotoPlace], list[dict[str, object]]]:
    """`place_unlabelled`, and the places themselves by index into the collection."""
    listed = [i for i, patch in enumerate(collection.patches) if patch.level is None]
    scenes = sorted({collection.patches[i].scene for i in listed})
    found: dict[int, PhotoPlace] = {}
    for scene in scenes:
        members = [i for i in listed if collection.patches[i].scene == scene]
        begin, share = len(found) / len(listed), len(members) / len(listed)
        places = place_photographs(_Read(collection, members), config, part(progress, begin, share))
        found |= {members[place.index]: place for place in places}
    progress(1.0)
    patches = collection.patches
    return found, [_row(patches[i].name, patches[i].scene, found[i]) for i in listed]


def write_rows(path: Path, rows: Sequence[dict[str, object]]) -> None:
    """Write what `place_unlabelled` returned as a CSV, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, PHOTO_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(text.getvalue(), encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class _Read(Sequence[np.ndarray]):
    """Images of a collection, read when they are asked for."""

    def __init__(self, collection: Collection, members: Sequence[int]) -> None:
        self._collection, self._members = collection, members

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # slices are never asked for
        return self._collection.image(self._members[index])


def _look_at_all(
    images: Sequence[np.ndarray], config: PhotoConfig, progress: Progress
) -> tuple[list[PhotoPlace], list[_Photo]]:
    """Unplaced places with the reasons known so far, and the photographs that can be placed."""
    places, photos = [], []
    for index in range(len(images)):
        progress(index / len(images))
        try:
            image = images[index]
        except (OSError, ValueError) as error:
            places.append(PhotoPlace(index, (0, 0), "unplaced", f"unreadable: {error}"))
            continue
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(
                "photographs must be uint8 [H, W, 3], got "
                f"{image.dtype} {list(image.shape)} at index {index}."
            )
        size_wh = image.shape[1], image.shape[0]
        photo, reason = None, ""
        if min(size_wh) < config.min_side:
            reason = (
                f"too small: {size_wh[0]} x {size_wh[1]} pixels have too few features to be "
                f"recognised; leave it out, or give a photograph of {config.min_side} pixels or "
                "more a side"
            )
        else:
            photo = _look(index, image, config)
            if len(photo.features.uv) < MIN_INLIERS:
                photo, reason = None, "no texture: blank or blurred; take it again, or leave it out"
        if photo is not None:
            photos.append(photo)
        places.append(PhotoPlace(index, size_wh, "unplaced", reason))
    return places, photos


def _look(index: int, image: np.ndarray, config: PhotoConfig) -> _Photo:
    """Reduce a photograph to working size and find its features."""
    height, width = image.shape[:2]
    shrink = min(1.0, config.work_side / max(width, height))
    small = image
    if shrink < 1:
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    work_wh = small.shape[1], small.shape[0]
    to_work = np.diag([work_wh[0] / width, work_wh[1] / height, 1])
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    return _Photo(
        index,
        (width, height),
        normalising(work_wh) @ to_work,
        make_mips(grey),
        light_mips(small),
        find_features(grey, config.max_features),
    )


def _placed(photos: Sequence[_Photo], solved: Solved, patch_size: int) -> list[PhotoPlace]:
    """Places in the field of all photographs that the bundle holds."""
    sizes_wh = [p.grey.size_wh for p in photos]
    to_field, _, _ = choose_field(solved.h, sizes_wh, solved.placed)
    overlaps = {(p.fine, p.coarse) for p in solved.pairs}
    lights = even_light(
        [(f, c, np.linalg.solve(solved.h[c], solved.h[f])) for f, c in sorted(overlaps)],
        [p.light for p in photos],
    )
    rms: dict[int, list[float]] = {i: [] for i in solved.placed}
    for pair in solved.pairs:
        gap = rms_px(solved.h, pair, photos[pair.coarse].size_wh)
        rms[pair.fine].append(gap)
        rms[pair.coarse].append(gap)
    places = []
    for i in solved.placed:
        photo = photos[i]
        upright = to_field @ solved.h[i]
        whole = upright @ photo.to_uv
        center = apply_homography(upright, np.zeros(2))
        # Pixels a field unit: a normalised unit is half the longer side.
        finest = max(photo.size_wh) / 2 / center_density(upright)
        places.append(
            PhotoPlace(
                index=photo.index,
                size_wh=photo.size_wh,
                status="placed",
                level=level_of_density(finest, patch_size),
                center_xy=(float(center[0]), float(center[1])),
                rotation_deg=float(np.rad2deg(roll(upright))),
                homography=tuple((whole / whole[2, 2]).ravel().tolist()),
                rms_px=float(np.sqrt(np.mean(np.square(rms[i])))),
                confidence=solved.agreement.get(i, 0.5),
                pairs=sum(i in pair for pair in overlaps),
                light=lights.get(i),
            )
        )
    return places


def _why_unplaced(group: Sequence[int], count: int, largest: bool) -> str:
    """What to tell of a photograph that is in no place; `group` are those it connects to."""
    if largest and len(group) > 1:
        return (
            "its matches contradict the other photographs: another picture with the same detail, "
            "or not flat; leave it out"
        )
    if len(group) > 1:
        return (
            f"matches {len(group) - 1} other{'s' * (len(group) > 2)}, but none of the rest; add a "
            "photograph that shows these and the rest together"
        )
    if count == 1:
        return "no other photograph to compare with; add more of the same picture"
    return (
        "matches no other photograph: another picture, blurred, or too near; add one from a "
        "little farther away that shows its surroundings"
    )


def _cut_level(mips: Mips, h: np.ndarray, patch_size: int, level: float) -> list[RectifiedPatch]:
    """All patches of one level, on a grid in the middle of the photograph's bounding box."""
    width, height = mips.size_wh
    corners = apply_homography(h, np.array([[0, 0], [width, 0], [width, height], [0, height]]))
    pixels_per_unit = density(level, patch_size)
    extent = np.ptp(corners, 0) * pixels_per_unit
    count = np.floor(extent / patch_size).astype(int)
    if (count < 1).any():
        return []
    middle = (corners.min(0) + corners.max(0)) / 2
    origin = middle - count * patch_size / 2 / pixels_per_unit
    to_field = np.array(
        [[1 / pixels_per_unit, 0, origin[0]], [0, 1 / pixels_per_unit, origin[1]], [0, 0, 1]]
    )
    to_photo = np.linalg.inv(h) @ to_field
    size = int(count[0]) * patch_size, int(count[1]) * patch_size
    drawn = np.clip(np.round(draw(mips, to_photo, size)), 0, 255).astype(np.uint8)
    patches = []
    box = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    for row in range(count[1]):
        for column in range(count[0]):
            at = apply_homography(to_photo, (box + (column, row)) * patch_size)
            if (at < 2).any() or (at > np.array(mips.size_wh) - 2).any():
                continue
            x, y = column * patch_size, row * patch_size
            center = origin + (np.array([column, row]) + 0.5) * patch_size / pixels_per_unit
            cut = drawn[y : y + patch_size, x : x + patch_size].copy()
            patches.append(RectifiedPatch(cut, level, (float(center[0]), float(center[1]))))
    return patches


def _row(name: str, scene: str, place: PhotoPlace) -> dict[str, object]:
    """A row of `PHOTO_COLUMNS`."""
    values: dict[str, object] = dict.fromkeys(PHOTO_COLUMNS, "")
    values |= {"file": name, "scene": scene, "status": place.status, "reason": place.reason}
    values |= {"width": place.size_wh[0], "height": place.size_wh[1]}
    if place.homography is not None and place.center_xy is not None:
        values |= {
            "log2_zoom": place.level,
            "x": place.center_xy[0],
            "y": place.center_xy[1],
            "confidence": place.confidence,
            "rotation_deg": place.rotation_deg,
            "rms_px": place.rms_px,
        }
        values |= {f"h{n // 3}{n % 3}": v for n, v in enumerate(place.homography)}
    return values
