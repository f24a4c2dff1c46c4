"""Files to drop and to open, good ones and broken ones, for `benchmarks.monkey`."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


class Props:
    """Files to drop and to open, and texts to paste."""

    def __init__(self, folder: Path, scenes: list[str]) -> None:
        """Make them in `folder`; `scenes` are the paths of scenes that open."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.scenes = folder, scenes
        rng = np.random.default_rng(0)
        picture = Image.fromarray(rng.integers(0, 255, (12, 16, 3), np.uint8))
        self.picture = folder / "picture.png"
        picture.resize((640, 480), Image.Resampling.BICUBIC).save(self.picture)
        self.path = folder / "flight.json"
        keys = [
            {"time": time, "center": [0.1 * time, 0.0], "log2_zoom": time} for time in (0.0, 2.0)
        ]
        self.path.write_text(json.dumps({"format": 1, "keyframes": keys}))
        self.patches = write_patches(folder / "patches")
        self.zip = folder / "patches.zip"
        with zipfile.ZipFile(self.zip, "w") as archive:
            for file in sorted(self.patches.iterdir()):
                archive.write(file, file.name)
        self.broken = self._make_broken()
        self.texts = (
            "scalespace:starry-night?x=0.1&y=-0.2&level=4",
            "scalespace:nowhere?x=0&y=0&level=2",
            "scalespace:?x=nan&y=1e400&level=-900",
            "--center 0.1 -0.2 --level 3 --seed 5",
            "no view at all",
            '{"center": [0.2, 0.1], "level": 3.5}',
            "{" * 3000,
            "",
        )

    def _make_broken(self) -> list[Path]:
        whole = self.picture.read_bytes()
        contents = {
            "empty.safetensors": b"",
            "cut.safetensors": (1 << 40).to_bytes(8, "little") + b'{"a":',
            "noise.png": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4,
            "cut.png": whole[: len(whole) // 2],
            "empty.jpg": b"",
            "film.mp4": b"\0\0\0\x18ftypisom" + bytes(64),
            "broken.json": b'{"format": 1, "keyframes": [{"time": ',
            "broken.zip": b"PK\x03\x04" + bytes(40),
            "text.txt": b"not a picture",
            "binary.json": bytes(range(256)),
        }
        files = []
        for name, content in contents.items():
            (self.folder / name).write_bytes(content)
            files.append(self.folder / name)
        (self.folder / "nothing").mkdir(exist_ok=True)
        return [*files, self.folder / "nothing", self.folder / "is-not-there.png"]


def write_patches(folder: Path, count: int = 24, side: int = 32) -> Path:
    """A folder of labelled patches without places, two octaves, no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    labels = []
    for index in range(count):
        coarse = Image.fromarray(rng.integers(0, 255, (4, 4, 3), np.uint8))
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{index:02d}.png")
        labels.append([f"{index:02d}.png", 2.0 * index / (count - 1)])
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    return folder
