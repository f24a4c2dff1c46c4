"""Checkpoints: tensors and JSON in one safetensors file, small enough to send to a friend.

Grids of the memory are stored as 8-bit integers with one step a feature, every other tensor in half
precision. Reading back gives the same weights on every machine.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from model.config import GeneratorConfig, from_dict, to_dict
from model.generator import Generator
from model.generator_space import GeneratorSpace, choose_dtype, identity_of
from model.header import METADATA_KEY, CheckpointError, CheckpointHeader, read_header
from model.scale import level_of_density

PREVIEW_PX = 640
"""Longer side of the preview inside a checkpoint."""
_STEP = ".step"
_GRIDS = "memory.grids."
_SMALL = 4096
"""Tensors up to this many elements keep their precision."""


def save_tensors(
    path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file under a temporary name and move it into place."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file(tensors, temporary, metadata)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # safetensors writes for the owner alone
        temporary.replace(path)
    except SafetensorError as error:
        raise OSError(f"{path} cannot be written ({error}); free some space.") from error
    finally:
        temporary.unlink(missing_ok=True)


def pack(generator: Generator) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint: grids as int8 and steps, the rest as float16 (float64 stays)."""
    packed = {}
    for name, tensor in generator.state_dict().items():
        tensor = tensor.detach().cpu()
        if name.startswith(_GRIDS):
            # The rarest values are cut: they would coarsen the step of all others.
            flat = tensor.flatten(0, 1).abs()
            limit = torch.quantile(flat[:: max(1, len(flat) // 200_000)], 0.9998, dim=0)
            step = (limit.clamp(min=1e-8) / 127).float()
            packed[name] = (tensor / step).round().clamp(-127, 127).to(torch.int8).contiguous()
            packed[name + _STEP] = step
        else:
            small = tensor.numel() <= _SMALL or tensor.dtype == torch.float64
            kept = tensor if small else tensor.half()
            # A copy: stages may share a buffer, and safetensors refuses shared memory.
            packed[name] = kept.clone(memory_format=torch.contiguous_format)
    return packed


def unpack(packed: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state of a generator from the tensors of a checkpoint; grids in float16."""
    state = {}
    for name, tensor in packed.items():
        if name.endswith(_STEP):
            continue
        if name + _STEP in packed:
            tensor = (tensor.float() * packed[name + _STEP]).half()
        elif tensor.dtype == torch.float16:
            tensor = tensor.float()
        state[name] = tensor
    return state


def save_checkpoint(
    path: str | os.PathLike[str], generator: Generator, header: CheckpointHeader
) -> None:
    """Write `generator` so that `load_generator_space` opens it.

    Raises:
        OSError: It cannot be written; nothing is left of it.
    """
    save_tensors(Path(path), pack(generator), {METADATA_KEY: header.to_json()})


def load_generator_space(
    path: str | os.PathLike[str], device: torch.device, precision: str = "auto"
) -> GeneratorSpace:
    """Open a checkpoint for rendering.

    Args:
        path: A `.safetensors` file.
        device: Where it renders.
        precision: 'auto', 'fp32', 'bf16' or 'fp16'; see `model.generator_space.choose_dtype`.

    Raises:
        CheckpointError: Missing, truncated, foreign or too new; one clear line.
    """
    header = read_header(path)
    try:
        config = from_dict(GeneratorConfig, header.config)
        packed = load_file(os.fspath(path))
        state = unpack(packed)
        generator = Generator(config)
        _check_shapes(generator, state)
        generator.load_state_dict(state, assign=True)
    except (SafetensorError, ValueError, TypeError, RuntimeError, OSError) as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(
            f"{path} does not fit this version's generator ({first}); train it again."
        ) from error
    return GeneratorSpace(
        generator.to(device), header, identity_of(packed), choose_dtype(device, precision)
    )


def _check_shapes(generator: Generator, state: dict[str, torch.Tensor]) -> None:
    """Raise ValueError unless `state` has exactly the generator's tensors."""
    expected = generator.state_dict()
    for name in sorted(expected.keys() ^ state.keys()):
        raise ValueError(f"'{name}' is {'missing' if name in expected else 'not known'}")
    for name, tensor in expected.items():
        if state[name].shape != tensor.shape:
            raise ValueError(f"'{name}' must be {list(tensor.shape)}, is {list(state[name].shape)}")


def render_preview(space: GeneratorSpace) -> bytes:
    """The whole field as a small JPEG."""
    width, height = space.field_size
    d = PREVIEW_PX / max(width, height)
    size = (max(1, round(width * d)), max(1, round(height * d)))
    frame: np.ndarray = space.render_view((0.0, 0.0), level_of_density(d, space.patch_size), size)
    data = io.BytesIO()
    Image.fromarray(frame).save(data, "JPEG", quality=82)
    return data.getvalue()


def header_of(
    config: GeneratorConfig,
    training: dict[str, object],
    licence: str,
    preview: bytes = b"",
    source: dict[str, object] | None = None,
) -> CheckpointHeader:
    """The head of a checkpoint of this generator."""
    return CheckpointHeader(
        patch_size=config.patch_size,
        field_size=config.field_size,
        level_range=config.level_range,
        config=to_dict(config),
        training=training,
        licence=licence,
        preview=preview,
        source=source,
    )
