"""The sample patches that ship: rendered by the painting that ships, labelled with their level.

`python -m benchmarks.sample_patches --out assets/sample-patches` makes them; equal seeds give equal
levels and places. They lie in no order and their names say nothing, as the paper's patches do.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

README = """# Sample patches

{count} pictures of {size} x {size} pixels, rendered by `checkpoints/starry-night.safetensors` at
levels {low:g} to {high:g} and uniform places; `dataset.json` has each one's log2_zoom. Nothing says
where a picture belongs: `scalespace-explorer train` finds out. In the app: Help, "Try training on
sample patches".

Made by `python -m benchmarks.sample_patches --out assets/sample-patches`. Licence: CC0-1.0, as the
weights; the painting (Vincent van Gogh, *The Starry Night*, 1889) is in the public domain.
"""


@dataclass(frozen=True)
class SampleConfig:
    """Which patches are rendered."""

    counts: tuple[int, ...] = (20, 60, 120, 160, 160)
    """Patches in each octave, from level 0 on: so many that each finds its place among coarser."""
    quality: int = 88
    """Of the JPEG files; colours are kept in full resolution."""
    seed: int = 1
    """Of levels, places and order."""


def draw(field_size: tuple[float, float], config: SampleConfig) -> tuple[np.ndarray, np.ndarray]:
    """Levels [N], octaves, and centres [N, 2], field units; shuffled. One has level 0 exactly."""
    rng = np.random.default_rng(config.seed)
    octaves = [rng.uniform(k, k + 1, count) for k, count in enumerate(config.counts)]
    levels = np.concatenate([[0.0], *octaves])[: sum(config.counts)]
    levels = rng.permutation(np.round(levels, 3))
    room = np.asarray(field_size) - 2.0 ** -levels[:, None]
    return levels, rng.uniform(-0.5, 0.5, room.shape) * np.maximum(room, 0)


def write_samples(scene: Path, out: Path, config: SampleConfig) -> int:
    """Render the patches of `scene` into the folder `out`, which is replaced; bytes written.

    Raises:
        CheckpointError: The scene cannot be opened.
        OSError: The folder cannot be written; the old one is there still.
    """
    import torch

    from model.checkpoints import load_generator_space
    from model.space import Window, to_uint8

    space = load_generator_space(scene, torch.device("cpu"), "fp32")
    levels, centers = draw(space.field_size, config)
    size = space.patch_size
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        labels: list[list[object]] = []
        for index, (level, center) in enumerate(zip(levels.tolist(), centers)):
            x, y = (float(c) - 0.5 * 2.0**-level for c in center)
            pixels = to_uint8(space.render([Window((x, y), level, size, size)]))[0].numpy()
            stream = io.BytesIO()
            Image.fromarray(pixels).save(
                stream, "JPEG", quality=config.quality, subsampling=0, optimize=True
            )
            name = f"{index:04d}.jpg"
            (temporary / name).write_bytes(stream.getvalue())
            labels.append([name, level])
        text = json.dumps({"labels": labels}).replace("], [", "],\n [")
        (temporary / "dataset.json").write_text(text + "\n", encoding="utf-8")
        about = README.format(count=len(levels), size=size, low=0, high=len(config.counts))
        (temporary / "README.md").write_text(about, encoding="utf-8")
        temporary.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return sum(file.stat().st_size for file in out.iterdir())


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the folder and say how large it is."""
    from explorer.shipped import PAINTING, shipped

    parser = argparse.ArgumentParser(prog="python -m benchmarks.sample_patches")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--scene", type=Path, help="default: the painting that ships")
    parser.add_argument("--seed", type=int, default=SampleConfig.seed)
    options = parser.parse_args(arguments)
    config = SampleConfig(seed=options.seed)
    size = write_samples(options.scene or shipped(PAINTING), options.out, config)
    print(f"{options.out}: {sum(config.counts)} patches, {size / 2**20:.2f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
