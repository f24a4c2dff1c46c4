"""Open whatever can be flown through: a checkpoint, an image, or a run folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch

from kernels import unavailable_reason
from model.data.tile_pyramids import is_tile_pyramid
from model.header import CheckpointError, read_header
from model.space import ScaleSpace

DEVICES = ("auto", "cpu", "cuda")
_CHECKPOINT_SUFFIX = ".safetensors"
_FOREIGN_SUFFIXES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".onnx", ".gguf", ".bin")


def resolve_device(device: str = "auto") -> torch.device:
    """The torch device for `device`: 'auto' takes CUDA where torch has it, else the CPU.

    Raises:
        ValueError: 'cuda' was asked for and torch has none, or the name is unknown.
    """
    if device not in DEVICES:
        raise ValueError(f"device must be one of {', '.join(DEVICES)}, got {device!r}.")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "device 'cuda' was asked for and torch finds no CUDA GPU; use --device cpu, "
            "or install a CUDA build of torch and a driver."
        )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def why_no_kernels() -> str:
    """Why no GPU kernels run, and what to do; '' where they do. The first call logs it."""
    return unavailable_reason() or ""


def open_scale_space(
    path: str | os.PathLike[str],
    device: str = "auto",
    precision: str = "auto",
    progress: Callable[[float], None] | None = None,
) -> ScaleSpace:
    """Open a checkpoint, an image of any size, a tile pyramid, or a run folder's newest checkpoint.

    Args:
        path: The file or folder.
        device: 'auto', 'cpu' or 'cuda', where a generator runs. An image needs none.
        precision: Of a generator; see `model.checkpoints.load_generator_space`.
        progress: Called with the fraction of an image's pyramid that is built, in [0, 1]; whatever
            it raises cancels.

    Raises:
        CheckpointError: Missing, truncated, foreign or too new, in one clear line.
        ValueError: The file is no image, or `device` cannot be had.
        OSError: The file cannot be read, or an image's pyramid cannot be written.
    """
    target = resolve_device(device)
    path = Path(path)
    if path.is_dir() and not is_tile_pyramid(path):
        path = newest_checkpoint(path)
    if is_checkpoint(path):
        read_header(path)  # first, because its messages are the clear ones
        from model.checkpoints import load_generator_space

        return load_generator_space(path, target, precision)
    from model.pyramid import ImagePyramid

    return ImagePyramid.open(path, progress=progress)


def load_scale_space(
    path: str | os.PathLike[str], device: str = "auto", precision: str = "auto"
) -> ScaleSpace:
    """The same as `open_scale_space`, from Python: `load_scale_space(path).render_view(...)`."""
    return open_scale_space(path, device, precision)


def is_checkpoint(path: Path) -> bool:
    """Whether `path` is to be opened as a checkpoint: by its name, never by running it."""
    return path.suffix.lower() in (_CHECKPOINT_SUFFIX, *_FOREIGN_SUFFIXES)


def newest_checkpoint(folder: Path) -> Path:
    """The youngest checkpoint in a run folder, or in its `checkpoints` folder.

    Raises:
        CheckpointError: There is none that can be read.
    """
    found = [
        file
        for pattern in (f"*{_CHECKPOINT_SUFFIX}", f"checkpoints/*{_CHECKPOINT_SUFFIX}")
        for file in folder.glob(pattern)
        if not file.name.startswith(".")
    ]
    for file in sorted(found, key=lambda f: (f.stat().st_mtime_ns, f.name), reverse=True):
        try:
            read_header(file)
        except CheckpointError:
            continue  # resumable state, or a file that a kill left: the next one is whole
        return file
    raise CheckpointError(
        f"{folder} holds no checkpoint; open a .safetensors file, an image, or the folder of a "
        "training run that has saved one."
    )
