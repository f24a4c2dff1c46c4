"""The readable head of a checkpoint: what it is and a small preview, without importing torch.

A checkpoint is one `.safetensors` file. Its metadata key `scalespace` holds a JSON object; nothing
in the file can run code. Reading the head takes milliseconds, so the app shows first pixels from
`preview` before torch is even imported.
"""

from __future__ import annotations

import base64
import json
import math
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FORMAT = 2
METADATA_KEY = "scalespace"
_MAX_HEADER_BYTES = 64 << 20
_ODD = (KeyError, ValueError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)
"""What a file that somebody made up can lead to."""


class CheckpointError(ValueError):
    """A file that cannot be opened as a checkpoint; the message says why and what to do."""


@dataclass(frozen=True)
class CheckpointHeader:
    """What a checkpoint says of itself."""

    patch_size: int
    """Pixels."""
    field_size: tuple[float, float]
    """Width and height, field units; the shorter is 1."""
    level_range: tuple[float, float]
    """Octaves."""
    config: dict[str, Any]
    """Fields of `GeneratorConfig`."""
    training: dict[str, Any] = field(default_factory=dict)
    """How it was made: images seen, minutes, data, the training configuration."""
    licence: str = ""
    preview: bytes = b""
    """The whole field as a small JPEG; empty when there is none."""
    source: dict[str, Any] | None = None
    """`{"name", "size": [w, h], "crop": [x0, y0, x1, y1]}` in pixels of the image it came from."""

    def to_json(self) -> str:
        """The metadata value, as written into the file."""
        fields = {
            "format": FORMAT,
            "patch_size": self.patch_size,
            "field_size": list(self.field_size),
            "level_range": list(self.level_range),
            "config": self.config,
            "training": self.training,
            "licence": self.licence,
            "preview": base64.b64encode(self.preview).decode("ascii"),
        }
        if self.source is not None:
            fields["source"] = self.source
        return json.dumps(fields, allow_nan=False)


def read_header(path: str | os.PathLike[str]) -> CheckpointHeader:
    """Read the head of the checkpoint at `path`.

    Raises:
        CheckpointError: The file is missing, truncated, foreign or too new, in one clear line.
    """
    metadata = _read_metadata(Path(path))
    try:
        fields = json.loads(metadata[METADATA_KEY])
        file_format = int(fields["format"])
    except _ODD as error:
        raise CheckpointError(
            f"{path} is a safetensors file of another program: its metadata has no "
            f"'{METADATA_KEY}' object. Open a checkpoint that scalespace-explorer trained."
        ) from error
    if file_format > FORMAT:
        raise CheckpointError(
            f"{path} has format {file_format}, this build reads up to {FORMAT}; update the app."
        )
    try:
        width, height = (float(v) for v in fields["field_size"])
        low, high = (float(v) for v in fields["level_range"])
        patch_size = int(fields["patch_size"])
        if not (
            0 < width < math.inf and 0 < height < math.inf and -math.inf < low < high < math.inf
        ):
            raise ValueError("its field or its levels are none")
        if patch_size < 1:
            raise ValueError("its patches have no pixel")
        return CheckpointHeader(
            patch_size=patch_size,
            field_size=(width, height),
            level_range=(low, high),
            config=dict(fields["config"]),
            training=dict(fields.get("training", {})),
            licence=str(fields.get("licence", "")),
            preview=base64.b64decode(fields.get("preview", ""), validate=True),
            source=fields.get("source"),
        )
    except _ODD as error:
        raise CheckpointError(
            f"{path} has a damaged head ({error}); download or train it again."
        ) from error


def _read_metadata(path: Path) -> dict[str, str]:
    """The `__metadata__` table of a safetensors file, after checking that the file is whole."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(8)
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
            if not 2 <= length <= min(size - 8, _MAX_HEADER_BYTES):
                raise CheckpointError(
                    f"{path} is not a checkpoint: it does not begin as a safetensors file does. "
                    "Open a .safetensors file that scalespace-explorer trained."
                )
            table = json.loads(file.read(length))
        ends = [t["data_offsets"][1] for name, t in table.items() if name != "__metadata__"]
        expected = 8 + length + max(map(int, ends), default=0)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CheckpointError(f"{path} cannot be read: {reason}. Check the path.") from error
    except CheckpointError:
        raise
    except _ODD as error:
        raise CheckpointError(
            f"{path} is not a checkpoint: its safetensors table is not valid JSON. "
            "Open a .safetensors file that scalespace-explorer trained."
        ) from error
    if size < expected:
        raise CheckpointError(
            f"{path} is truncated: it must hold {expected} bytes, it has {size}; copy it again."
        )
    return table.get("__metadata__") or {}
