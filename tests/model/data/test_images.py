"""Every kind and mode of image becomes upright 8-bit sRGB; what cannot is refused in one line."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from model.data.images import (
    ImageError,
    ImageInfo,
    _decode_any,
    _decode_plain,
    decode_image,
    decode_with_info,
    sniff,
)


def smooth(width: int = 40, height: int = 30) -> np.ndarray:
    """Colours that change slowly and fit every gamut, without symmetry."""
    y, x = np.mgrid[:height, :width]
    bands = [90 + 2 * x + y, 150 - x + 0 * y, 80 + 3 * y]
    return np.stack(bands, -1).astype(np.uint8)


def noise(width: int = 40, height: int = 30) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


def saved(image: Image.Image | np.ndarray, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    image.save(stream, kind, **options)
    return stream.getvalue()


def vips(pixels: np.ndarray, interpretation: str) -> pyvips.Image:
    return pyvips.Image.new_from_array(pixels).copy(interpretation=interpretation)


def far(found: np.ndarray, expected: np.ndarray) -> int:
    assert found.shape == expected.shape and found.dtype == np.uint8
    return int(np.abs(found.astype(int) - expected).max())


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def png_header(width: int, height: int, *chunks: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunks)


def chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


PLAIN: dict[str, Callable[[], bytes]] = {
    "png": lambda: saved(noise(), "PNG"),
    "png grey": lambda: saved(noise()[..., 0], "PNG"),
    "png palette": lambda: saved(Image.fromarray(smooth()).quantize(256), "PNG"),
    "png srgb profile": lambda: saved(noise(), "PNG", icc_profile=srgb_profile()),
    "png interlaced": lambda: vips(noise(), "srgb").pngsave_buffer(interlace=True),
    "jpeg": lambda: saved(smooth(), "JPEG", quality=90),
    "jpeg noise, odd size": lambda: saved(noise(37, 29), "JPEG", quality=80),
    "jpeg 4:4:4": lambda: saved(noise(), "JPEG", quality=95, subsampling=0),
    "jpeg progressive": lambda: saved(smooth(), "JPEG", progressive=True),
    "jpeg grey": lambda: saved(smooth()[..., 1], "JPEG"),
}


@pytest.mark.parametrize("name", PLAIN)
def test_the_quick_route_agrees_with_libvips(name: str) -> None:
    data = PLAIN[name]()
    kind = sniff(data)
    assert kind is not None
    quick = _decode_plain(data, kind)
    assert quick is not None, "this file should not need libvips"
    slow, info = _decode_any(data, kind)
    np.testing.assert_array_equal(quick[0], slow)
    assert quick[1] == info


def test_lossless_kinds_keep_every_pixel(tmp_path: Path) -> None:
    pixels = noise()
    for kind in ("PNG", "BMP", "TIFF"):
        np.testing.assert_array_equal(decode_image(saved(pixels, kind)), pixels)
    np.testing.assert_array_equal(decode_image(saved(pixels, "WEBP", lossless=True)), pixels)
    path = tmp_path / "an image without an ending"
    path.write_bytes(saved(pixels, "PNG"))
    np.testing.assert_array_equal(decode_image(path), pixels)
    assert decode_image(path).flags.writeable


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_images_are_turned_upright(kind: str, orientation: int) -> None:
    pixels = np.kron(noise(3, 2), np.ones((16, 16, 1), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    if kind == "JPEG":
        options = {"quality": 100, "subsampling": 0}
    data = saved(pixels, kind, exif=exif, **options)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    found, info = decode_with_info(data)
    assert far(found, expected) <= 2
    assert info.turned == (orientation > 1)
    assert info.size_wh == (expected.shape[1], expected.shape[0])


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_become_eight(kind: str) -> None:
    wide = np.random.default_rng(0).integers(0, 65536, (30, 40, 3)).astype(np.uint16)
    save = {"PNG": "pngsave_buffer", "TIFF": "tiffsave_buffer"}[kind]
    color = getattr(vips(wide, "rgb16"), save)()
    np.testing.assert_array_equal(decode_image(color), wide >> 8)
    grey, info = decode_with_info(getattr(vips(wide[..., 0], "grey16"), save)())
    np.testing.assert_array_equal(grey, np.repeat((wide[..., :1] >> 8).astype(np.uint8), 3, -1))
    assert (info.mode, info.bits) == ("grey", 16)


def test_transparency_is_laid_on_white() -> None:
    pixels, alpha = noise(), noise()[..., 1]
    weight = alpha[..., None] / 255
    expected = pixels * weight + 255 * (1 - weight)
    both = np.dstack([pixels, alpha])
    assert far(decode_image(saved(both, "PNG")), expected) <= 1
    assert far(decode_image(saved(both, "WEBP", lossless=True, exact=True)), expected) <= 1
    wide = np.dstack([pixels, alpha]).astype(np.uint16) * 257
    assert far(decode_image(vips(wide, "rgb16").pngsave_buffer()), expected) <= 1
    grey = Image.fromarray(np.dstack([pixels[..., 0], alpha]), "LA")
    assert far(decode_image(saved(grey, "PNG")), expected[..., :1].repeat(3, -1)) <= 1


def test_a_transparent_colour_becomes_white() -> None:
    image = Image.fromarray(np.tile(np.array([[[9, 9, 9], [200, 0, 0]]], np.uint8), (20, 20, 1)))
    palette = image.quantize(2)
    index = palette.getpixel((0, 0))
    found, info = decode_with_info(saved(palette, "PNG", transparency=index))
    assert found[0, 0].tolist() == [255, 255, 255] and found[0, 1].tolist() == [200, 0, 0]
    assert info.mode == "palette + alpha"
    data = saved(image, "PNG", transparency=(9, 9, 9))
    assert decode_image(data)[0, 0].tolist() == [255, 255, 255]


def test_profiles_are_applied() -> None:
    pixels = smooth()
    wide = vips(pixels, "srgb").icc_transform("p3", input_profile="srgb")
    data = wide.pngsave_buffer()
    raw = np.asarray(Image.open(io.BytesIO(data)))
    assert far(raw, pixels) > 8, "the test needs a profile that matters"
    found, info = decode_with_info(data)
    assert far(found, pixels) <= 2
    assert info.profile
    sixteen = vips(pixels.astype(np.uint16) * 257, "rgb16")
    sixteen = sixteen.icc_transform("p3", input_profile="srgb", depth=16)
    assert far(decode_image(sixteen.pngsave_buffer()), pixels) <= 2


def test_a_profile_with_transparency() -> None:
    pixels = smooth()
    alpha = np.full(pixels.shape[:2], 128, np.uint8)
    wide = vips(pixels, "srgb").icc_transform("p3", input_profile="srgb")
    data = wide.bandjoin(pyvips.Image.new_from_array(alpha)).pngsave_buffer()
    expected = pixels * (128 / 255) + 255 * (127 / 255)
    assert far(decode_image(data), expected) <= 2


def test_a_damaged_profile_is_left_out() -> None:
    pixels = noise()
    found = decode_image(saved(pixels, "PNG", icc_profile=b"no profile at all" * 20))
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("save", ["jpegsave_buffer", "tiffsave_buffer"])
def test_cmyk_with_its_profile_comes_back(save: str) -> None:
    pixels = smooth()
    inks = vips(pixels, "srgb").icc_transform("cmyk", input_profile="srgb")
    assert inks.bands == 4
    options = {"Q": 100} if save.startswith("jpeg") else {}
    found, info = decode_with_info(getattr(inks, save)(**options))
    assert far(found, pixels) <= 8
    assert info.mode == "CMYK" and info.profile


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_without_profile_has_its_colours(kind: str) -> None:
    inks = np.zeros((32, 96, 4), np.uint8)  # white, cyan, black
    inks[:, 32:64, 0] = 255
    inks[:, 64:, :] = 255
    found = decode_image(saved(Image.fromarray(inks, "CMYK"), kind))
    white, cyan, black = (found[16, x].astype(int) for x in (16, 48, 80))
    assert white.min() >= 250 and black.max() < 60
    assert cyan[0] < 80 < 130 < min(cyan[1:])


def test_one_bit_and_few_greys() -> None:
    bits = noise()[..., 0] > 127
    expected = np.repeat(bits[..., None] * np.uint8(255), 3, -1)
    for kind in ("PNG", "TIFF", "BMP"):
        np.testing.assert_array_equal(decode_image(saved(Image.fromarray(bits), kind)), expected)
    four = vips(noise()[..., 0] // 17 * 17, "b-w").pngsave_buffer(bitdepth=4)
    grey = (noise()[..., :1] // 17 * 17).repeat(3, -1)
    np.testing.assert_array_equal(decode_image(four), grey)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_only_the_first_frame_is_taken(kind: str) -> None:
    frames = [Image.fromarray(np.full((20, 30, 3), v, np.uint8)) for v in (40, 120, 240)]
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    found, info = decode_with_info(data)
    assert far(found, np.full((20, 30, 3), 40)) <= 2
    if kind != "PNG":  # to libvips an animated PNG is its first frame
        assert info.frames == 3


def test_what_a_file_says_of_itself() -> None:
    assert decode_with_info(saved(noise(), "JPEG"))[1] == ImageInfo("JPEG", (40, 30), "RGB", 8)
    wide = vips(noise().astype(np.uint16), "rgb16").tiffsave_buffer()
    assert decode_with_info(wide)[1] == ImageInfo("TIFF", (40, 30), "RGB", 16)


def refused(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode_image(data)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 300
    return text


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_truncated_files_are_refused(kind: str, share: float) -> None:
    data = saved(noise(64, 64), kind)
    refused(data[: int(share * len(data))])


def test_empty_and_foreign_files_are_refused() -> None:
    assert "empty" in refused(b"")
    for data in (b"P", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.4" + bytes(99)):
        assert "no image" in refused(data)
    assert "no image" in refused(b"II*" + bytes(5))


def test_damaged_pixels_are_refused() -> None:
    data = bytearray(saved(noise(64, 64), "PNG"))
    data[len(data) // 2] ^= 0xFF
    refused(bytes(data))


@pytest.mark.parametrize("size", [(40_000, 40_000), (40_000, 1), (16_000, 16_000)])
def test_large_images_are_refused_by_their_header(size: tuple[int, int]) -> None:
    # There are no pixels behind the header: only its numbers can be the reason.
    text = refused(png_header(*size, chunk(b"IDAT", zlib.compress(bytes(100)))))
    assert f"{size[0]} x {size[1]} px" in text and "large image" in text
    data = bytearray(saved(noise(), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", size[1], size[0])
    assert "large image" in refused(bytes(data))


def test_a_bomb_in_a_comment_does_no_harm() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "a" * (1 << 26), zip=True)
    data = saved(noise(), "PNG", pnginfo=info)
    assert len(data) < 1 << 18
    try:
        np.testing.assert_array_equal(decode_image(data), noise())
    except ImageError as error:
        assert "\n" not in str(error)


def test_floating_point_grey_is_refused() -> None:
    data = vips(noise()[..., 0].astype(np.float32) / 255, "b-w").tiffsave_buffer()
    assert "floating-point" in refused(data)
