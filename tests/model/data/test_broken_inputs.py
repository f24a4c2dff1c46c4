"""Sixty broken inputs: each is named in the report with what to do, and none stops the rest."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model.data.doctor import DoctorConfig, inspect_data
from model.data.report import DoctorReport
from tests.model.data.doctor_sets import P, cut, png

NO_COSTS = DoctorConfig(costs=False, patch_size=P)
DO_SOMETHING = (
    "copy", "remove", "convert", "save", "mend", "rename", "make", "exclude", "cut", "keep",
    "give", "open", "pack", "check", "add", "move", "put", "take", "look", "label",
)  # fmt: skip


def sound(seed: int = 1) -> np.ndarray:
    return cut(1, (1.0, 1.0), seed)[0][0]


def encoded(image: Image.Image | np.ndarray, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, data: bytes, depth: int = 8, colour: int = 2) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def broken_files() -> dict[str, bytes]:
    """Images that lie in one folder with good ones, by name."""
    good = sound()
    grey16 = Image.fromarray(good[..., 0].astype(np.uint16) * 257)
    alpha = np.dstack([good, good[..., :1]])
    cmyk = Image.fromarray(good).convert("CMYK")
    bad_crc = bytearray(png(good))
    bad_crc[29] ^= 255
    frames = [Image.fromarray(np.roll(good, 3 * k, 0)) for k in range(3)]
    exif = Image.Exif()
    exif[0x0112] = 6
    scrambled = bytearray(encoded(good, "TIFF"))
    scrambled[4:8] = b"\xff\xff\xff\x7f"
    return {
        "empty.png": b"",
        "one-byte.png": b"\x89",
        "truncated.png": png(good)[: len(png(good)) // 2],
        "truncated-header.png": png(good)[:20],
        "truncated.jpg": encoded(good, "JPEG", quality=95)[:300],
        "truncated.tif": encoded(good, "TIFF")[:200],
        "truncated.webp": encoded(good, "WEBP", lossless=True)[:100],
        "truncated.gif": encoded(good, "GIF")[:60],
        "truncated.bmp": encoded(good, "BMP")[:200],
        "bad-crc.png": bytes(bad_crc),
        "no-pixels.png": png_of(P, P, b""),
        "few-pixels.png": png_of(P, P, zlib.compress(b"\0" * 50)),
        "zero-wide.png": png_of(0, 10, zlib.compress(b"\0" * 10)),
        "40000-px.png": png_of(40_000, 40_000, zlib.compress(b"\0" * 1000)),
        "40000-wide.png": png_of(40_000, 2, zlib.compress(b"\0" * 240_002)),
        "bomb.png": png_of(16_384, 16_384, zlib.compress(b"\0" * 10_000_000)),
        "huge-claim.bmp": b"BM" + struct.pack("<IIIIiiHH", 54, 0, 54, 40, 1 << 30, 1 << 30, 1, 24),
        "one-px.png": png(good[:1, :1]),
        "thin.png": png(np.repeat(good[:1], 2, 0)),
        "oblong.png": png(np.concatenate([good, good], 1)),
        "small.png": png(good[:20, :20]),
        "text.png": b"this is a note and no image at all\n",
        "page.jpg": b"<html><body>404 not found</body></html>",
        "zeros.png": b"\0" * 5000,
        "noise.jpg": np.random.default_rng(0).bytes(3000),
        "svg.png": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        "pdf.tif": b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF",
        "bad-offset.tif": bytes(scrambled),
        "loop.tif": b"II*\0\x08\0\0\0" + b"\0\0" + b"\x08\0\0\0" + b"\0" * 20,
        "cmyk.jpg": encoded(cmyk, "JPEG"),
        "animated.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "pages.tif": encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]),
        "float.tif": encoded(Image.fromarray(good[..., 0].astype(np.float32) / 255), "TIFF"),
        "16-bit.png": encoded(grey16, "PNG"),
        "alpha.png": encoded(np.ascontiguousarray(alpha), "PNG"),
        "turned.jpg": encoded(good, "JPEG", exif=exif),
        "blank.png": png(np.full((P, P, 3), 200, np.uint8)),
        "clipped.png": png(np.where(good > 128, 255, 0).astype(np.uint8)),
        "bad-palette.png": png_of(P, P, zlib.compress(b"\0" * (P * P + P)), 8, 3),
        "schrödinger 猫 🐈.png": png(good)[:70],
        "film.mp4": b"\0\0\0\x18ftypmp42" + b"\0" * 100,
        "inside.zip": b"PK\5\6" + b"\0" * 18,
    }


def broken_entries(folder: Path) -> dict[str, str]:
    """Links, pipes and names that no image is behind: name in the report by what it is."""
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    (folder / "self.png").symlink_to(folder / "self.png")
    (folder / "around").symlink_to(folder, target_is_directory=True)
    os.mkfifo(folder / "pipe.png")
    (folder / "Twin.png").write_bytes(png(sound(7)))
    (folder / "twin.png").write_bytes(png(sound(8)))
    (folder / "locked").mkdir()
    (folder / "same.png").write_bytes(png(sound(9)))
    (folder / "same-again.png").write_bytes(png(sound(9)))
    (Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.png"))).write_bytes(png(good := sound(3)))
    with (folder / "sparse.png").open("wb") as file:
        file.write(png(good))
        file.truncate(300 << 20)
    return {
        "dangling.png": "broken-link",
        "self.png": "broken-link",
        "around": "link-loop",
        "pipe.png": "no-file",
        "twin.png": "duplicate-name",
        "locked": "unreadable-folder",
        "same.png": "exact-duplicate",
        "sparse.png": "unreadable",
        "\\udcff\\udcfe.png": "bad-name",
    }


def broken_labels() -> dict[str, object]:
    """Labels of `dataset.json` that say nothing, by the name they are for."""
    return {
        "label-nan.png": float("nan"),
        "label-infinite.png": float("inf"),
        "label-word.png": "three",
        "label-null.png": None,
        "label-pixels.png": 4096,
        "label-without-file.png": 1.0,
        "../label-outside.png": 1.0,
    }


def report_of_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[DoctorReport, set[str]]:
    """A folder with 60 good patches and all that is broken; names that must be in the report."""
    folder = tmp_path / "broken"
    folder.mkdir()
    labels: list[list[object]] = []
    for number, (pixels, level) in enumerate(cut(60, (0.0, 3.0), seed=4)):
        (folder / f"good-{number:02d}.png").write_bytes(png(pixels))
        labels.append([f"good-{number:02d}.png", level])
    expected = set(broken_files())
    for name, data in broken_files().items():
        (folder / name).write_bytes(data)
        labels.append([name, 1.0])
    expected |= set(broken_entries(folder))
    for number, (name, value) in enumerate(broken_labels().items()):
        expected.add(name)
        labels.append([name, value])
        if "/" not in name and "without" not in name:
            (folder / name).write_bytes(png(cut(1, (2.0, 2.0), 40 + number)[0][0]))
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    scandir = os.scandir

    def locked(path: Any) -> Any:
        # Whoever runs the tests may be allowed to read everything.
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    return inspect_data(folder, NO_COSTS), expected


def whole_sets() -> dict[str, Callable[[Path], object]]:
    """Data that is broken as a whole: name of its file or folder, and who writes it."""

    def zip_with(path: Path, change: Callable[[bytearray], None]) -> None:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("a.png", png(sound()))
        data = bytearray(stream.getvalue())
        change(data)
        path.write_bytes(data)

    def bomb(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("bomb.png", b"\0" * (40 << 20))
            archive.writestr("../outside.png", b"x")

    def folder_with(name: str, data: bytes) -> Callable[[Path], None]:
        def write(path: Path) -> None:
            path.mkdir()
            (path / "a.png").write_bytes(png(sound()))
            (path / name).write_bytes(data)

        return write

    def encrypted(data: bytearray) -> None:
        at = data.rindex(b"PK\1\2")
        data[at + 8] |= 1

    def truncated(data: bytearray) -> None:
        del data[80:]

    def flipped(data: bytearray) -> None:
        data[60] ^= 255

    def file_of(data: bytes) -> Callable[[Path], object]:
        return lambda path: path.write_bytes(data)

    size = b"<Size Width='99' Height='99'/>"
    return {
        "truncated.zip": lambda path: zip_with(path, truncated),
        "encrypted.zip": lambda path: zip_with(path, encrypted),
        "flipped.zip": lambda path: zip_with(path, flipped),
        "bomb.zip": bomb,
        "empty.zip": file_of(b"PK\5\6" + b"\0" * 18),
        "no-zip.zip": file_of(b"hello"),
        "empty-folder": lambda path: path.mkdir(),
        "wrong-json": folder_with("dataset.json", b'{"labels": [["a.png", 1.0], '),
        "deep-json": folder_with("dataset.json", b"[" * 100_000),
        "list-json": folder_with("dataset.json", b'[["a.png", 1.0]]'),
        "headless-csv": folder_with("labels.csv", b"a.png,1.0\n"),
        "latin-csv": folder_with("labels.csv", "file,log2_zoom\né.png,1".encode("latin-1")),
        "null-csv": folder_with("labels.csv", b"file,log2_zoom\n\0\0,\0\n"),
        "truncated.jpg": file_of(b"\xff\xd8\xff\xe0" + b"\0" * 50),
        "damaged.dzi": file_of(b"<Image TileSize='"),
        "no-tiles.dzi": file_of(b"<Image TileSize='64' Overlap='0'>" + size + b"</Image>"),
    }


def named(report: DoctorReport) -> dict[str, list[str]]:
    """Messages by name, each with its finding's advice."""
    found: dict[str, list[str]] = {}
    for finding in report.findings:
        for item in finding.items:
            found.setdefault(item.name, []).append(f"{item.message} {finding.advice}")
    return found


def test_there_are_sixty_broken_inputs(tmp_path: Path) -> None:
    (tmp_path / "count").mkdir()
    entries = len(broken_entries(tmp_path / "count"))
    assert len(broken_files()) + entries + len(broken_labels()) + len(whole_sets()) >= 60


def test_every_broken_file_is_named_with_what_to_do_and_none_stops_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, expected = report_of_folder(tmp_path, monkeypatch)
    found = named(report)
    # Of two equal files the first by name is kept: the other one is named, and names the first.
    assert not expected - set(found), f"not named: {sorted(expected - set(found))}"
    for name in expected:
        text = " ".join(found[name]).lower()
        assert any(word in text for word in DO_SOMETHING), f"{name}: {text}"
        assert "traceback" not in text and "\n" not in text
    assert report.patches is not None
    good = {f"good-{n:02d}.png" for n in range(60)}
    assert not good & set(report.excluded)
    assert report.patches.num_usable >= 60 and report.usable
    page = report.to_text(examples=None)
    assert all(name in page for name in ("empty.png", "around", "label-nan.png"))
    assert json.loads(report.to_json())["usable"] is True


def test_kinds_of_broken_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report, _ = report_of_folder(tmp_path, monkeypatch)
    (tmp_path / "again").mkdir()
    for name, kind in broken_entries(tmp_path / "again").items():
        kinds = {f.kind for f in report.findings if name in {item.name for item in f.items}}
        assert kind in kinds, f"{name}: {kinds}"


@pytest.mark.parametrize("name", whole_sets())
def test_data_that_is_broken_as_a_whole_is_reported(tmp_path: Path, name: str) -> None:
    whole_sets()[name](tmp_path / name)
    report = inspect_data(tmp_path / name, NO_COSTS)
    serious = [f for f in report.findings if f.severity in ("error", "warning")]
    assert serious, report.to_text()
    text = " ".join(t for found in named(report).values() for t in found).lower()
    assert any(word in text for word in DO_SOMETHING)
    for line in report.to_text().splitlines():
        assert len(line) <= 80
