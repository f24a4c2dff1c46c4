"""Any image file as upright 8-bit sRGB pixels, refused in one line where it is none.

Two routes that agree: Pillow for plain PNG, JPEG and BMP (0.1 ms for 64 px, libvips
takes 0.5, and 3 with a profile), libvips for every other kind, mode, profile and rotation.
Sizes are read from the header and checked before a pixel is decoded.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import os
import stat
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyvips
from PIL import BmpImagePlugin, ImageFile, JpegImagePlugin, PngImagePlugin

MAX_SIDE_PX = 16_384
"""The longest side of a patch or photograph; larger pictures are opened as one large image."""
MAX_PIXELS = 1 << 27
"""Pixels of a patch or photograph: 400 MB once decoded."""
MAX_FILE_BYTES = 1 << 28
"""Bytes of one file of a data set."""
MIN_FILE_BYTES = 16

_PLAIN: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
}
"""Pillow's readers, called directly: `Image.open` tries more kinds and warns of large sizes."""


# libvips reports each damaged tile there, beside the error that it raises.
logging.getLogger("pyvips").setLevel(logging.ERROR)
# Pillow warns of damaged EXIF, and goes on: it says nothing that a person can use.
warnings.filterwarnings("ignore", ".*EXIF.*", UserWarning, r"PIL\.")


class ImageError(ValueError):
    """A file that gives no picture; one line that says why and what to do."""


@dataclass(frozen=True)
class ImageInfo:
    """What a file says of itself."""

    kind: str
    """'PNG', 'JPEG', 'TIFF', 'WebP', 'GIF', 'HEIF' or 'BMP': by content, not by name."""
    size_wh: tuple[int, int]
    """Width and height of the upright image, pixels."""
    mode: str
    """'RGB', 'grey', 'palette', 'CMYK' or another colour space; '+ alpha' where it has one."""
    bits: int
    """Bits per value: 8, 16 or 32; fewer count as 8."""
    frames: int = 1
    """Frames or pages; only the first is taken."""
    profile: bool = False
    """Whether an ICC profile is embedded."""
    turned: bool = False
    """Whether the file asks to be turned or mirrored (EXIF orientation)."""


def decode_image(source: bytes | Path) -> np.ndarray:
    """The pixels of one image: upright, 8-bit sRGB, transparency on white, first frame.

    Args:
        source: The bytes of the file, or its path.

    Returns:
        uint8 [H, W, 3], writable.

    Raises:
        ImageError: Not an image, damaged, or too large; in one line.
        OSError: The path cannot be read.
    """
    return decode_with_info(source)[0]


def decode_with_info(source: bytes | Path) -> tuple[np.ndarray, ImageInfo]:
    """`decode_image`, and what the file says of itself."""
    data = source if isinstance(source, bytes) else read_bounded(source)
    kind = check_kind(data)
    plain = _decode_plain(data, kind)
    return plain if plain is not None else _decode_any(data, kind)


def read_bounded(path: Path) -> bytes:
    """The bytes of a regular file of at most `MAX_FILE_BYTES`.

    Raises:
        ImageError: It is larger, or no regular file.
        OSError: It cannot be read.
    """
    # Few system calls: a data set has many files. A pipe is opened without waiting for a writer.
    handle = os.open(path, os.O_RDONLY | _NONBLOCK)
    try:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise ImageError("is no regular file; put the image itself there.")
        check_bytes(state.st_size)
        data = os.read(handle, state.st_size)
        while len(data) < state.st_size and (more := os.read(handle, state.st_size - len(data))):
            data += more
    finally:
        os.close(handle)
    return data


_NONBLOCK = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def check_bytes(num_bytes: int) -> None:
    """Raise ImageError where a file of `num_bytes` is too large to be one of a data set."""
    if num_bytes > MAX_FILE_BYTES:
        raise ImageError(
            f"has {num_bytes / 2**20:.0f} MB, more than the {MAX_FILE_BYTES >> 20} MB of a patch; "
            "open it by itself, as one large image."
        )


def check_kind(data: bytes) -> str:
    """The kind of image that `data` begins as.

    Raises:
        ImageError: None that is known.
    """
    if not data:
        raise ImageError("is empty (0 bytes); copy it again or remove it.")
    kind = sniff(data)
    if kind is None:
        raise ImageError(
            "is no image that can be read (its content is none of PNG, JPEG, TIFF, WebP, GIF, "
            "HEIF, BMP); convert it to PNG or remove it."
        )
    return kind


def sniff(head: bytes) -> str | None:
    """The kind of an image by its first 16 bytes, None where it is none of the known ones."""
    if len(head) < MIN_FILE_BYTES:
        return None
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return "HEIF"
    return "BMP" if head[:2] == b"BM" else None


_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"avif", b"avis")


def check_size(width: int, height: int) -> None:
    """Raise ImageError where an image of this size is too large to be one of a data set."""
    if max(width, height) > MAX_SIDE_PX or width * height > MAX_PIXELS:
        raise ImageError(
            f"has {width} x {height} px, more than the {MAX_SIDE_PX} px a side or "
            f"{MAX_PIXELS >> 20} Mpx of a patch; open it by itself, as one large image."
        )


def upright_srgb(load: Callable[[str], pyvips.Image]) -> pyvips.Image:
    """A lazy image as three bands of upright 8-bit sRGB. The one place where colour is decided.

    ICC profiles are applied (relative colorimetric), CMYK without one is read with libvips' own
    profile, 16 bits are cut to 8, transparency is laid on white.

    Args:
        load: Opens the image; called with libvips' access, 'sequential', or 'random' where the
            image must be turned (libvips then decodes it to memory, or to disc when large).

    Raises:
        pyvips.Error: It cannot be decoded, or its colour space leads nowhere.
        ImageError: Floating-point grey, whose white nobody knows.
    """
    image = load("sequential")
    if _is_turned(image):
        image = load("random").autorot()
    if image.interpretation == "b-w" and image.format in ("float", "double"):
        raise ImageError("is floating-point grey without a known white; save it as 8 or 16 bit.")
    if image.get_typeof("icc-profile-data"):
        with contextlib.suppress(pyvips.Error):  # a damaged profile: take the pixels as they are
            image = image.icc_transform(
                "srgb", embedded=True, depth=8, intent=pyvips.Intent.RELATIVE
            )
    if image.interpretation != "srgb":
        image = image.colourspace("srgb")
    if image.hasalpha():
        image = image.flatten(background=[255, 255, 255])
    if image.format != "uchar":
        image = image.cast("uchar")
    if image.bands < 3:
        image = image[0].bandjoin([image[0], image[0]])
    return image[:3]


def first_line(error: pyvips.Error) -> str:
    """Why libvips gave up, without a full stop."""
    lines = [line.strip() for line in str(error.detail or error.message).splitlines()]
    return next((line for line in lines if line), "unknown reason").rstrip(".")


def _is_turned(image: pyvips.Image) -> bool:
    return bool(image.get_typeof("orientation")) and image.get("orientation") > 1


def _decode_plain(data: bytes, kind: str) -> tuple[np.ndarray, ImageInfo] | None:
    """8-bit RGB, grey or opaque palette that needs no conversion; None for all else."""
    reader = _PLAIN.get(kind)
    if reader is None or (kind == "PNG" and (len(data) < 26 or data[24] != 8)):
        return None
    try:
        with reader(io.BytesIO(data)) as image:
            check_size(*image.size)
            if image.mode not in _PLAIN_MODES or getattr(image, "n_frames", 1) > 1:
                return None
            profile = image.info.get("icc_profile")
            if profile and not (image.mode == "RGB" and _means_srgb(profile)):
                return None
            image.load()
            # After load: PNG may say so behind its pixels.
            if "transparency" in image.info or image.getexif().get(_ORIENTATION, 1) != 1:
                return None
            info = ImageInfo(kind, image.size, _PLAIN_MODES[image.mode], 8, 1, bool(profile))
            return np.array(image if image.mode == "RGB" else image.convert("RGB")), info
    except ImageError:
        raise
    except _DAMAGED:
        return None  # damaged, or odder than Pillow knows: libvips decides and says why


_ORIENTATION = 0x0112
_DAMAGED: tuple[type[Exception], ...] = (
    *(OSError, ValueError, SyntaxError, EOFError, ArithmeticError, LookupError, TypeError),
    UserWarning,  # where warnings are errors
)
_PLAIN_MODES = {"RGB": "RGB", "L": "grey", "P": "palette", "1": "grey"}


@functools.lru_cache(maxsize=64)
def _means_srgb(profile: bytes) -> bool:
    """Whether libvips would leave colours as they are, to a grey level, for this profile."""
    steps = np.linspace(0, 255, 18).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(18, -1, 3)
    image = pyvips.Image.new_from_array(np.ascontiguousarray(cube), interpretation="srgb")
    image = image.copy()
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    try:
        out = image.icc_transform("srgb", embedded=True, depth=8, intent=pyvips.Intent.RELATIVE)
        difference = np.abs(out.numpy().astype(np.int16) - cube)
    except pyvips.Error:
        return False
    return bool(difference.max() <= 1)


def _decode_any(data: bytes, kind: str) -> tuple[np.ndarray, ImageInfo]:
    """Whatever libvips reads."""
    if kind == "BMP":
        raise ImageError("is a BMP of an unusual or damaged kind; save it as PNG.")

    def load(access: str) -> pyvips.Image:
        return pyvips.Image.new_from_buffer(data, "", access=access, fail_on="error")

    try:
        header = load("sequential")
        check_size(header.width, header.height)
        image = upright_srgb(load)
        pixels = np.frombuffer(image.write_to_memory(), np.uint8)
    except pyvips.Error as error:
        raise ImageError(
            f"cannot be decoded ({first_line(error)}); copy it again, or remove it."
        ) from error
    pixels = pixels.reshape(image.height, image.width, 3).copy()
    return pixels, _info(header, kind, (image.width, image.height))


_BITS = {"uchar": 8, "char": 8, "ushort": 16, "short": 16}
_MODES = {"srgb": "RGB", "rgb": "RGB", "rgb16": "RGB", "scrgb": "RGB", "b-w": "grey"}
_MODES |= {"grey16": "grey", "cmyk": "CMYK", "lab": "Lab", "labs": "Lab"}


def mode_of(header: pyvips.Image) -> tuple[str, int]:
    """Colour mode and bits of an image as its file has it; see `ImageInfo`."""
    mode = _MODES.get(header.interpretation, header.interpretation)
    if header.get_typeof("palette"):
        mode = "palette"
    if header.hasalpha():
        mode += " + alpha"
    return mode, _BITS.get(header.format, 32)


def _info(header: pyvips.Image, kind: str, size_wh: tuple[int, int]) -> ImageInfo:
    mode, bits = mode_of(header)
    frames = header.get("n-pages") if header.get_typeof("n-pages") else 1
    profile = bool(header.get_typeof("icc-profile-data"))
    return ImageInfo(kind, size_wh, mode, bits, int(frames), profile, _is_turned(header))
