"""A view as a plain value, as JSON, and as text that one can send: `scalespace:` links.

    scalespace:starry-night?x=0.125&y=-0.25&level=5.5&seed=0&w=1280&h=720&id=7c1a4be0cb8b9a6f

Every number comes back as the same float. Plain Python.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from explorer.camera import Camera, camera_at_level
from model.latent import Latent, Seed, parse_seed, seed_from_json, seed_to_json
from model.run_files import run_of

SCHEME = "scalespace"
FORMAT = 2
"""2 knows blends of seeds; a view without one is written as 1, which older builds read."""
_MAX_LEVEL = 60.0
_MAX_COORDINATE = 1e6
_MAX_SIDE_PX = 10_000_000
_MAX_TEXT = 10_000
_SUFFIX = ".safetensors"
_EXAMPLE = "scalespace:starry-night?x=0.1&y=-0.2&level=5&seed=0"


class ViewError(ValueError):
    """Text or metadata that is no view; the message says what is wrong with it."""


@dataclass(frozen=True)
class StillView:
    """Where a picture was taken: enough to take it again."""

    center_xy: tuple[float, float]
    """Field units."""
    level: float
    """Of the picture's own pixels, octaves."""
    size: tuple[int, int] | None = None
    """Width and height, pixels; None where only the place is meant."""
    seed: Seed = 0
    """Names the latent; see `model.latent`."""
    name: str = ""
    """File name of the scene, without folder and without `.safetensors`; '' where not known."""
    identity: str = ""
    """`ScaleSpace.identity`: whose pixels these are; '' where not known."""

    def __post_init__(self) -> None:
        values = (*self.center_xy, self.level)
        if not all(map(math.isfinite, values)):
            raise ViewError(f"centre and level of a view must be finite, got {values}.")
        if max(map(abs, self.center_xy)) > _MAX_COORDINATE or abs(self.level) > _MAX_LEVEL:
            raise ViewError(
                f"a view must lie within {_MAX_COORDINATE:g} field units and levels -60 to 60, "
                f"got {self.center_xy} at level {self.level}."
            )
        if self.size is not None and not all(1 <= side <= _MAX_SIDE_PX for side in self.size):
            raise ViewError(f"a view must be 1 x 1 to 10000000 pixels a side, got {self.size}.")
        if not isinstance(self.seed, Latent) and self.seed < 0:
            raise ViewError(f"the seed of a view must be 0 or more, got {self.seed}.")

    def camera(self, patch_size: int, viewport_size: tuple[int, int]) -> Camera:
        """The camera that shows this view: its extent where it has a size, else its level.

        Args:
            patch_size: Of the scene, pixels.
            viewport_size: Width and height, device pixels; matters only without a size.
        """
        return camera_at_level(self.center_xy, self.level, self.size or viewport_size, patch_size)

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`; `view_from_json` is the inverse."""
        fields: dict[str, Any] = {
            "format": FORMAT if isinstance(self.seed, Latent) else 1,
            "name": self.name,
            "identity": self.identity,
            "center": list(self.center_xy),
            "level": self.level,
            "seed": seed_to_json(self.seed),
        }
        if self.size is not None:
            fields["size"] = list(self.size)
        return fields


def named_by(path: Path) -> Path:
    """What a scene is named by that was opened from `path`: of a run's checkpoint, the run."""
    run = run_of(path)
    return path if run is None else run.resolve()


def scene_name(path: str | PurePath) -> str:
    """What a view calls the scene that was opened from `path`: the same on every machine."""
    return PurePath(path).name.removesuffix(_SUFFIX)


def view_from_json(fields: object) -> StillView:
    """The view that `StillView.to_json` described; unknown keys are ignored.

    Raises:
        ViewError: Something is missing, or is no view.
    """
    if not isinstance(fields, Mapping):
        raise ViewError(f"a view must be a JSON object, got {type(fields).__name__}.")
    try:
        if int(fields.get("format", FORMAT)) > FORMAT:
            raise ViewError(
                f"this view has format {fields['format']}, this build reads up to {FORMAT}; "
                "update the app."
            )
        x, y = fields["center"]
        size = fields.get("size")
        return StillView(
            center_xy=(float(x), float(y)),
            level=float(fields["level"]),
            size=None if size is None else (int(size[0]), int(size[1])),
            seed=seed_from_json(fields.get("seed", 0)),
            name=str(fields.get("name", "")),
            identity=str(fields.get("identity", "")),
        )
    except ViewError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise ViewError(
            f"a view needs center [x, y] and level as numbers, got {str(dict(fields))[:200]}."
        ) from error


def format_link(view: StillView) -> str:
    """The view as one line of text without spaces."""
    x, y = view.center_xy
    query = {"x": repr(x), "y": repr(y), "level": repr(view.level), "seed": str(view.seed)}
    if view.size is not None:
        query |= {"w": str(view.size[0]), "h": str(view.size[1])}
    if view.identity:
        query["id"] = view.identity
    return f"{SCHEME}:{quote(view.name, safe='')}?{urlencode(query, safe='@')}"


def is_link(text: str) -> bool:
    """Whether `text` holds a `scalespace:` link, right or wrong."""
    return _find_link(text) is not None


def parse_link(text: str) -> StillView:
    """The view in `text`: a link by itself, in quotes or brackets, or somewhere in a sentence.

    Raises:
        ViewError: There is none, or it is damaged; the message says where.
    """
    link = _find_link(text)
    if link is None:
        raise ViewError(f"no link found; a view looks like {_EXAMPLE}")
    name, _, query = link.partition("?")
    values: dict[str, str] = {}
    for key, value in parse_qsl(query.replace("&amp;", "&"), keep_blank_values=True):
        if key.lower() in values:
            raise ViewError(f"the link has {key!r} twice; a view looks like {_EXAMPLE}")
        values[key.lower()] = value.strip()
    size = None
    if "w" in values or "h" in values:
        size = (_whole(values, "w"), _whole(values, "h"))
    return StillView(
        center_xy=(_number(values, "x"), _number(values, "y")),
        level=_number(values, "level"),
        size=size,
        seed=_seed(values["seed"]) if "seed" in values else 0,
        name=scene_name(unquote(name.strip("/"))),
        identity=values.get("id", ""),
    )


def _find_link(text: str) -> str | None:
    """What follows `scalespace:`, up to a space or the bracket or quote that ends it."""
    found = re.search(
        rf"(?<![\w.-]){SCHEME}:(?://)?([^\s<>\"'`|\\^{{}}]*)", text[:_MAX_TEXT], re.IGNORECASE
    )
    return None if found is None else found[1].rstrip(".,;:!)]")


def _number(values: Mapping[str, str], key: str) -> float:
    try:
        return float(values[key])
    except KeyError:
        raise ViewError(f"the link has no {key!r}; a view looks like {_EXAMPLE}") from None
    except ValueError:
        raise ViewError(f"{key!r} of a link must be a number, got {values[key]!r}.") from None


def _seed(text: str) -> Seed:
    if "~" not in text and "@" not in text:
        return _whole({"seed": text}, "seed")
    try:
        return parse_seed(text)
    except ValueError as error:
        raise ViewError(f"'seed' of a link: {error}") from error


def _whole(values: Mapping[str, str], key: str) -> int:
    number = _number(values, key)
    if not number.is_integer():
        raise ViewError(f"{key!r} of a link must be a whole number, got {values[key]!r}.")
    return int(values[key]) if values[key].isdigit() else int(number)
