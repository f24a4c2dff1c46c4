"""Placement's result as a CSV that anyone can read, and its unfinished state beside it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.placement.config import PLACED, Placement, PlacementConfig
from model.placement.place import PlacementState

COLUMNS = (
    "file",
    "log2_zoom",
    "x",
    "y",
    "scene",
    "status",
    "confidence",
    "margin",
    "label",
    "reason",
)
"""The first five are labels as a data set has them; x and y are empty where there is no place."""
_STATE_COLUMNS = ("x", "y", "level", "confidence", "margin", "status")
_STATE_VERSION = 2


@dataclass(frozen=True)
class PlacedFile:
    """One line of the result."""

    name: str
    """'/'-separated path inside the data set."""
    scene: str
    """'' where there is one."""
    label: float | None
    """Level as it was labelled, octaves; None: unknown."""
    placement: Placement


def write_places(path: Path, files: Iterable[PlacedFile]) -> None:
    """Write the result, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for file in files:
        place = file.placement
        known = place.status == PLACED
        level = place.level if known else file.label
        writer.writerow(
            (
                file.name,
                "" if level is None else f"{level:.6f}",
                f"{place.center_xy[0]:.9f}" if known else "",
                f"{place.center_xy[1]:.9f}" if known else "",
                file.scene,
                place.status,
                f"{place.confidence:.4f}",
                f"{place.margin:.4f}",
                "" if file.label is None else f"{file.label:.6f}",
                place.reason,
            )
        )
    _write_whole(path, text.getvalue())


def state_path(out: Path) -> Path:
    """Where the state of an unfinished placement to `out` is kept."""
    return out.with_name(f"{out.name}.unfinished")


def fingerprint(
    names: Sequence[str],
    levels: np.ndarray,
    config: PlacementConfig,
    compared_px: int,
    contents: str,
) -> str:
    """What a state belongs to: the patches' names, labels and `contents`, and the settings."""
    digest = hashlib.sha256(repr((config, compared_px, contents)).encode())
    digest.update(np.ascontiguousarray(levels, np.float64).tobytes())
    digest.update("\n".join(names).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def write_state(path: Path, owner: str, scenes: dict[str, PlacementState]) -> None:
    """Write the states of all scenes that were begun, whole or not at all.

    Args:
        path: See `state_path`.
        owner: See `fingerprint`.
        scenes: By name, in order.

    Raises:
        OSError: It cannot be written.
    """
    head = {
        "version": _STATE_VERSION,
        "owner": owner,
        "scenes": [[name, state.stage, len(state.status)] for name, state in scenes.items()],
    }
    lines = [json.dumps(head), ",".join(_STATE_COLUMNS)]
    for state in scenes.values():
        columns = (
            state.center_xy[:, 0].tolist(),
            state.center_xy[:, 1].tolist(),
            state.level.tolist(),
            state.confidence.tolist(),
            state.margin.tolist(),
            state.status.tolist(),
        )
        # repr of a float gives the same float back.
        lines += [",".join(map(repr, row)) for row in zip(*columns)]
    _write_whole(path, "\n".join(lines) + "\n")


def read_state(path: Path, owner: str) -> dict[str, PlacementState]:
    """The states that `write_state` wrote; none where there is no file, or that of another build.

    Raises:
        ValueError: The file is damaged, or belongs to other patches or settings.
        OSError: It cannot be read.
    """
    if not path.exists():
        return {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        head = json.loads(lines[0])
        version, found, scenes = head["version"], head["owner"], head["scenes"]
        rows = np.array([[float(v) for v in line.split(",")] for line in lines[2:]], np.float64)
        rows = rows.reshape(-1, len(_STATE_COLUMNS))
        states, begin = {}, 0
        for name, stage, count in scenes:
            part = rows[begin : begin + count]
            if len(part) != count:
                raise ValueError("lines are missing")
            begin += count
            states[str(name)] = _state_of(int(stage), part)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ValueError(
            f"{path} is no state of a placement ({error}); remove it and begin anew."
        ) from error
    if version != _STATE_VERSION:
        return {}
    if found != owner:
        raise ValueError(
            f"{path} belongs to other patches, labels or settings; remove it and begin anew."
        )
    return states


def _state_of(stage: int, rows: np.ndarray) -> PlacementState:
    return PlacementState(
        stage,
        rows[:, :2].copy(),
        rows[:, 2].copy(),
        rows[:, 3].copy(),
        rows[:, 4].copy(),
        rows[:, 5].astype(np.int64),
    )


def unplaced(label: float | None, reason: str) -> Placement:
    """A patch that was not sought at all."""
    return Placement("unplaced", (0.0, 0.0), math.nan if label is None else label, -1, -1, reason)


def _write_whole(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", errors="surrogatepass", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
