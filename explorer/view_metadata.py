"""Every picture carries its view: how it lies in PNG, JPEG, WebP, TIFF and MP4, and is read back.

A PNG has it as the text `scalespace`, the others in their XMP packet, both as the JSON of
`StillView.to_json`. A film has the view of its first frame and its camera path in its metadata.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explorer.view_links import StillView, ViewError, scene_name, view_from_json
from model.latent import Seed, seed_from_json, seed_to_json

__all__ = [
    "VIEW_KEY",
    "FilmView",
    "StillView",
    "film_fields",
    "read_film",
    "read_view",
    "scene_name",
    "view_text",
    "xmp_packet",
]

VIEW_KEY = "scalespace"
"""Name of the text in a PNG and of the metadata of a film."""
FILM_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
_NAMESPACE = "urn:scalespace-explorer:view:1"
_MAX_JSON = 1 << 20


@dataclass(frozen=True)
class FilmView:
    """What a film says of itself."""

    path: dict[str, Any]
    """JSON of its camera path; `explorer.camera_path` reads it."""
    seconds: float
    """Duration for which the path was flown, s."""
    seed: Seed
    identity: str
    """Of the scene."""
    view: StillView | None
    """The first frame; None in films that were recorded before this was kept."""


def view_text(view: StillView) -> str:
    """The JSON that a picture carries, in ASCII."""
    return json.dumps(view.to_json(), allow_nan=False)


def xmp_packet(view: StillView) -> bytes:
    """The XMP packet of a picture that has no text fields.

    Source: ISO 16684-1:2019, section 7.
    """
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:{VIEW_KEY}="{_NAMESPACE}">'
        f"<{VIEW_KEY}:view>{html.escape(view_text(view))}</{VIEW_KEY}:view>"
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def film_fields(view: StillView, path: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """What a film carries: for `FilmSpec.metadata`.

    Args:
        view: The first frame.
        path: JSON of the camera path.
        seconds: Duration for which the path is flown, s.
    """
    return {
        "path": dict(path),
        "seconds": seconds,
        "seed": seed_to_json(view.seed),
        "identity": view.identity,
        "view": view.to_json(),
    }


def read_view(path: Path) -> StillView | None:
    """The view that the picture or film at `path` carries; None where it carries none.

    Reads the head of the file only. Damaged metadata counts as none.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb"):
        pass  # what cannot be read is an error; what is no picture is not
    if path.suffix.lower() in FILM_SUFFIXES:
        film = read_film(path)
        return None if film is None else film.view
    text = _image_text(path)
    return None if text is None else _view_or_none(_json_or_none(text))


def read_film(path: Path) -> FilmView | None:
    """What the film at `path` carries; None where it carries no camera path."""
    import av

    from explorer.recorder import film_metadata

    try:
        fields = film_metadata(path)
        return FilmView(
            path=dict(fields["path"]),
            seconds=float(fields.get("seconds", 0.0)),
            seed=seed_from_json(fields.get("seed", 0)),
            identity=str(fields.get("identity", "")),
            view=_view_or_none(fields.get("view")),
        )
    except (av.error.FFmpegError, KeyError, TypeError, ValueError):
        return None


def _image_text(path: Path) -> str | None:
    """The JSON text in an image, or None; libvips reads no pixels for it."""
    import pyvips

    try:
        # Without `revalidate` libvips would answer for the file that had this name before.
        image = pyvips.Image.new_from_file(str(path), access="sequential", revalidate=True)
        for name in image.get_fields():
            if re.fullmatch(rf"png-comment-\d+-{VIEW_KEY}", name):
                return str(image.get(name))
        if not image.get_typeof("xmp-data"):
            return None
        packet = bytes(image.get("xmp-data"))[:_MAX_JSON].decode("utf-8", "replace")
    except pyvips.Error:
        return None
    # By search and not by an XML parser: nothing in a foreign file is expanded or fetched.
    found = re.search(rf"<{VIEW_KEY}:view>([^<]*)</{VIEW_KEY}:view>", packet)
    return None if found is None else html.unescape(found[1])


def _json_or_none(text: str) -> object:
    try:
        return json.loads(text) if len(text) <= _MAX_JSON else None
    except (ValueError, RecursionError):
        return None


def _view_or_none(fields: object) -> StillView | None:
    try:
        return view_from_json(fields)
    except ViewError:
        return None
