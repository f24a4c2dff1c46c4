"""What is measured, and where it is kept."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.quality.gauge import Gauge
    from model.space import ScaleSpace

FORMAT = 1
"""Of the parts; older ones are measured again."""
CODECS = ("jpeg", "avif")
PARTS = ("baselines", "measures", "strips", "film", "page")


@dataclass(frozen=True)
class Settings:
    """How much is measured. The defaults are those of the page."""

    windows: int = 2000
    """Windows a level in each of the real, the floor's and the generated set."""
    held_out: int = 64
    """Windows a level for PSNR."""
    search_windows: int = 256
    """Windows a level when baselines are compared with one another."""
    bootstrap: int = 20
    """Resamplings for intervals."""
    realism_from: int = 5
    """First level at which the distance of a baseline is measured."""
    avif_speed: int = 8
    """Of libaom: 0 is the slowest and best, 10 the fastest."""
    seed: int = 0
    """Of all places and random numbers."""


@dataclass(frozen=True)
class Truth:
    """The image that everything is compared with; plain values, so that it can go to a worker."""

    image: str
    crop: tuple[int, int, int, int] | None
    """x0, y0, x1, y1, pixels; None takes all."""
    cache: str | None
    """Folder of pyramids; None takes the user's."""
    patch_size: int
    """Pixels."""
    gauge: Gauge | None = None
    """Where a scene that was never told its places lies in it; None where it was told."""
    field_size: tuple[float, float] | None = None
    """Of that scene, field units."""

    def open(self) -> ScaleSpace:
        """The image as a scale space, through the gauge where there is one.

        Raises:
            OSError, ValueError: See `ImagePyramid.open`.
        """
        from model.pyramid import ImagePyramid

        pyramid = ImagePyramid.open(
            self.image, crop=self.crop, patch_size=self.patch_size, cache_dir=self.cache
        )
        if self.gauge is None or self.field_size is None:
            return pyramid
        from benchmarks.quality.gauge import Seen

        return Seen(pyramid, self.gauge, self.field_size)


@dataclass(frozen=True)
class Subject:
    """What is measured: a checkpoint, or an encoded picture."""

    name: str
    """'checkpoint', 'twin', 'jpeg', 'avif', 'bicubic'."""
    file: str
    kind: str
    """'checkpoint' or 'encoded'."""

    def open(self) -> ScaleSpace:
        """Open it for measuring, in the precision of the app."""
        if self.kind == "encoded":
            from benchmarks.quality.encoded import EncodedPicture

            return EncodedPicture.open(Path(self.file))
        from model import open_scale_space

        return open_scale_space(self.file)

    def content(self) -> str:
        """Names the bytes of the file."""
        return file_hash(Path(self.file))


def file_hash(path: Path) -> str:
    """A short name of the bytes of `path`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


def key_of(*values: object) -> str:
    """A short name of plain values and dataclasses."""
    return hashlib.blake2b(repr((FORMAT, values)).encode(), digest_size=8).hexdigest()


def slim(value: Any) -> Any:
    """Plain JSON values with five significant digits."""
    if isinstance(value, dict):
        return {key: slim(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [slim(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.5g}")
    return value


@dataclass(frozen=True)
class Parts:
    """Finished pieces of work, one JSON file each, by what they were made from."""

    folder: Path

    def path(self, name: str, key: str) -> Path:
        """The file of a piece."""
        return self.folder / f"{name}-{key}.json"

    def find(self, name: str, key: str) -> dict[str, Any] | None:
        """A piece that was finished before, or None."""
        path = self.path(name, key)
        if not path.exists():
            return None
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def keep(self, name: str, key: str, value: dict[str, Any]) -> None:
        """Write a finished piece."""
        from benchmarks.tables import write_json

        write_json(self.path(name, key), value)


def describe(settings: Settings) -> dict[str, Any]:
    """The settings as JSON."""
    return asdict(settings)
