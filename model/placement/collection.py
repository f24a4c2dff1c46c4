"""Placing a data set: every scene by itself, files left out listed, the state kept beside."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.data.images import ImageError
from model.data.patches import PatchCollection, UnfitError
from model.placement.config import Placement, PlacementConfig
from model.placement.place import NothingToSeek, PlacementState, place_patches
from model.placement.places_csv import (
    PlacedFile,
    fingerprint,
    read_state,
    state_path,
    unplaced,
    write_places,
    write_state,
)

Progress = Callable[[float], None]
"""Called with the fraction that is done; whatever it raises cancels and reaches the caller."""

Begin = Callable[[np.ndarray, np.ndarray, np.ndarray], PlacementState]
"""What is known of places before any is sought: of rows of the collection, their pixels (uint8
[N, P, P, 3]) and their labels."""
OnState = Callable[[np.ndarray, PlacementState], None]
"""Called after every half octave, when the state is on the disk: rows of the collection, state."""

MAX_PATCH_PX, MIN_PATCH_PX = 64, 16
"""Larger patches are averaged down: places stay as true as they need to be, memory stays small."""
_LOAD_BATCH = 512
_LOAD_SHARE = 0.1
_SIZE_SAMPLES = 32


@dataclass(frozen=True)
class CollectionPlacement:
    """Where all files of a data set belong."""

    files: tuple[PlacedFile, ...]
    """In the order of the collection."""
    field_sizes: dict[str, tuple[float, float]]
    """Width and height of what is placed, field units, by scene; (0, 0) where nothing is."""


def place_collection(
    data: PatchCollection,
    out: Path,
    config: PlacementConfig | None = None,
    patch_size: int | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    *,
    begin: Begin | None = None,
    on_state: OnState | None = None,
) -> CollectionPlacement:
    """Place the patches of a data set and write the table.

    After every half octave the state is saved beside `out`; it is removed when the table is there.

    Args:
        data: Labelled patches.
        out: The table, .csv.
        config: See there.
        patch_size: Pixels to compare; None takes the patches' own size, at most 64.
        resume: Whether to go on from the state beside `out`, where there is one.
        progress: See `Progress`.
        begin: See `Begin`; None: nothing is known of any place.
        on_state: See `OnState`.

    Raises:
        ValueError: Nothing can be placed, or the state belongs to something else.
        OSError: The table cannot be written.
    """
    config = PlacementConfig() if config is None else config
    if not data.patches:
        raise ValueError(f"{data.path} holds no patches; give a folder or zip with images.")
    report = progress if progress is not None else _ignore
    size = compared_size(data, patch_size)
    levels, owner = _levels(data), _owner(data, config, size, report)
    beside = state_path(out)
    states = read_state(beside, owner) if resume else {}
    images, left_out = _load(data, size, report)
    done = 0
    places: list[Placement | None] = [None] * len(data.patches)
    field_sizes: dict[str, tuple[float, float]] = {}
    sought, nothing = 0, None
    for scene, rows in _rows_by_scene(data, left_out).items():
        field_sizes[scene] = (0.0, 0.0)
        if len(rows) == 0 or bool(np.isnan(levels[rows]).all()):
            continue

        def scene_progress(fraction: float, first: int = done, count: int = len(rows)) -> None:
            share = (first + fraction * count) / len(data.patches)
            report(_LOAD_SHARE + (1 - _LOAD_SHARE) * share)

        def save(state: PlacementState, scene: str = scene, rows: np.ndarray = rows) -> None:
            states[scene] = state
            write_state(beside, owner, states)
            if on_state is not None:
                on_state(rows, state)

        # A copy of all pixels only where there are several scenes, or files that say nothing.
        own = images if len(rows) == len(images) else images[rows]
        state = states.get(scene)
        if state is None and begin is not None:
            state = begin(rows, own, levels[rows])
        done += len(rows)
        try:
            result = place_patches(
                own, levels[rows], config, scene_progress, state=state, save=save
            )
        except NothingToSeek as error:  # the other scenes may be sound
            nothing = error
            for row in rows[~np.isnan(levels[rows])].tolist():
                places[row] = unplaced(data.patches[row].level, "blank")
            continue
        sought += 1
        field_sizes[scene] = result.field_size
        for index, row in enumerate(rows.tolist()):
            places[row] = result[index]
    if nothing is not None and not sought:
        raise nothing
    files = _placed_files(data, places, left_out)
    write_places(out, files)
    beside.unlink(missing_ok=True)
    report(1.0)
    return CollectionPlacement(files, field_sizes)


def _rows_by_scene(data: PatchCollection, left_out: Mapping[int, str]) -> dict[str, np.ndarray]:
    """Indices of what can be placed, int64, by scene; of every scene, be it none."""
    found: dict[str, list[int]] = {patch.scene: [] for patch in data.patches}
    for index, patch in enumerate(data.patches):
        if index not in left_out:
            found[patch.scene].append(index)
    return {scene: np.array(rows, np.int64) for scene, rows in found.items()}


def _placed_files(
    data: PatchCollection, places: Sequence[Placement | None], left_out: Mapping[int, str]
) -> tuple[PlacedFile, ...]:
    """Every file with its place, or why it has none."""
    return tuple(
        PlacedFile(
            patch.name,
            patch.scene,
            patch.level,
            place or unplaced(patch.level, left_out.get(index, "no level")),
        )
        for index, (patch, place) in enumerate(zip(data.patches, places, strict=True))
    )


def saved_state(data: PatchCollection, out: Path) -> PlacementState | None:
    """Where placing the one scene of `data` to `out` stopped, for all its patches; None: nowhere.

    It was placed as `place_collection` does unless it is told otherwise.

    Raises:
        ValueError: What is there is damaged, or of other patches, labels or settings.
        OSError: It cannot be read.
    """
    if not state_path(out).exists():
        return None
    owner = _owner(data, PlacementConfig(), compared_size(data), _ignore)
    (state,) = read_state(state_path(out), owner).values() or (None,)
    # Where files could not be read it has fewer rows, and nobody knows which.
    return state if state is not None and len(state.status) == len(data) else None


def _levels(data: PatchCollection) -> np.ndarray:
    known = [float("nan") if p.level is None else p.level for p in data.patches]
    return np.array(known, np.float64)


def _owner(data: PatchCollection, config: PlacementConfig, size: int, report: Progress) -> str:
    names = [f"{p.scene}/{p.name}" for p in data.patches]
    return fingerprint(names, _levels(data), config, size, _contents(data, report))


def _contents(data: PatchCollection, report: Progress) -> str:
    """A digest of all files as they are stored, wherever the data set lies."""
    digest = hashlib.sha256()
    for index in range(len(data)):
        if index % _LOAD_BATCH == 0:
            report(0.0)
        try:
            file = data.read_bytes(index)
        except ImageError:
            file = b""
        digest.update(len(file).to_bytes(8, "little"))
        digest.update(file)
    return digest.hexdigest()


def _ignore(fraction: float) -> None:
    """Progress that nobody asked for."""


def compared_size(data: PatchCollection, wanted: int | None = None) -> int:
    """Pixels to compare: as wanted, else the commonest size of a few patches, at most 64."""
    if wanted is not None:
        if wanted < MIN_PATCH_PX:
            raise ValueError(f"patch_size must be >= {MIN_PATCH_PX} pixels, got {wanted}.")
        return wanted
    sizes: Counter[int] = Counter()
    step = max(1, len(data.patches) // _SIZE_SAMPLES)
    for index in range(0, len(data.patches), step):
        try:
            height, width = data.image(index).shape[:2]
        except ImageError:
            continue
        if height == width >= MIN_PATCH_PX:
            sizes[width] += 1
    if not sizes:
        raise ValueError(
            f"{data.path} holds no square patches of at least {MIN_PATCH_PX} pixels; see what "
            "`scalespace-explorer inspect` says of it."
        )
    common = sizes.most_common(1)[0][1]
    return min(MAX_PATCH_PX, min(size for size, count in sizes.items() if count == common))


def _load(data: PatchCollection, size: int, report: Progress) -> tuple[np.ndarray, dict[int, str]]:
    """All patches, uint8 [N, P, P, 3], and by index why some are left out."""
    count = len(data.patches)
    images = np.zeros((count, size, size, 3), np.uint8)
    left_out: dict[int, str] = {}
    for begin in range(0, count, _LOAD_BATCH):
        report(_LOAD_SHARE * begin / count)
        rows = range(begin, min(begin + _LOAD_BATCH, count))
        try:
            images[rows.start : rows.stop] = data.images(rows, size)
        except ImageError:
            for index in rows:
                try:
                    images[index] = data.images([index], size)[0]
                except ImageError as error:
                    unfit = isinstance(error, UnfitError)
                    left_out[index] = "not square or too small" if unfit else "unreadable"
    return images, left_out
