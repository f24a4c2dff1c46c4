"""Checkpoints: tensors and JSON in one safetensors file, small enough to send to a friend.

Grids of the memory are stored as lossless images of 8-bit steps (`model.grid_codec`), every other
tensor in half precision. Reading back gives the same weights on every machine.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save, save_file

from model.breathing import Breathe
from model.config import GeneratorConfig, from_dict, to_dict
from model.generator import Generator
from model.generator_space import GeneratorSpace, choose_dtype, identity_of
from model.grid_codec import decode_grid, encode_grid
from model.header import METADATA_KEY, CheckpointError, CheckpointHeader, read_header
from model.rendering import render_view
from model.scale import level_of_density
from model.tensor_file import write_tensors

PREVIEW_PX = 640
"""Longer side of the preview inside a checkpoint."""
FILE_BYTES = 16 << 20
"""What a checkpoint takes at most, where coarser steps can bring it there."""
_STEP, _IMAGE = ".step", ".image."
_GRIDS = "memory.grids."
_EXTRA_STATE = "_extra_state"  # torch's name for what is no plain tensor: the base layer
_FINEST_STEP = 1 / 24
"""Step of the finest grid, where the picture spans 2. A grid half as dense has half the step, for a
quarter of the cells: then every byte buys the same. All grids together: 41 dB at the finest."""
_SMALL = 4096
"""Tensors up to this many elements keep their precision."""


def save_tensors(
    path: Path,
    tensors: dict[str, torch.Tensor],
    metadata: dict[str, str] | None = None,
    breathe: Breathe | None = None,
) -> None:
    """Write a safetensors file under a temporary name and move it into place.

    With `breathe` that is called every few megabytes; it may wait.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if breathe is None:
            save_file(tensors, temporary, metadata)
        else:
            write_tensors(temporary, tensors, metadata, breathe)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # safetensors writes for the owner alone
        temporary.replace(path)
    except SafetensorError as error:
        raise OSError(f"{path} cannot be written ({error}); free some space.") from error
    finally:
        temporary.unlink(missing_ok=True)


def pack(
    generator: Generator, coarser: float = 1.0, breathe: Breathe = lambda: None
) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint: grids as images and steps, the rest in half precision.

    `coarser` multiplies the steps; `breathe` is called before every grid.
    """
    packed = {}
    resolutions = generator.config.memory.resolutions if generator.config.memory else ()
    for name, tensor in generator.state_dict().items():
        tensor = tensor.detach().cpu()
        if name.startswith(_GRIDS):
            breathe()
            share = resolutions[int(name.removeprefix(_GRIDS))] / resolutions[-1]
            images, packed[name + _STEP] = encode_grid(tensor, _FINEST_STEP * share * coarser)
            packed |= {f"{name}{_IMAGE}{k}": image for k, image in enumerate(images)}
        else:
            small = tensor.numel() <= _SMALL or tensor.dtype in (torch.float64, torch.uint8)
            kept = tensor if small else tensor.half()
            # A copy: stages may share a buffer, and safetensors refuses shared memory.
            packed[name] = kept.clone(memory_format=torch.contiguous_format)
    return packed


def unpack(packed: dict[str, torch.Tensor], generator: Generator) -> dict[str, torch.Tensor]:
    """The state of `generator` from the tensors of a checkpoint; grids in float16.

    Raises:
        ValueError: A grid does not fit the generator.
    """
    state = {}
    for name, tensor in packed.items():
        if _IMAGE in name:
            continue
        if name.endswith(_STEP):
            grid = name.removesuffix(_STEP)
            if grid in packed:  # format 1: plain 8-bit integers
                state[grid] = (packed[grid].float() * tensor).half()
                continue
            images = [packed[n] for n in sorted(packed) if n.startswith(f"{grid}{_IMAGE}")]
            index = int(grid.removeprefix(_GRIDS))
            if generator.memory is None or index >= len(generator.memory.grids):
                raise ValueError(f"'{grid}' is not known")
            rows, columns, features = generator.memory.grids[index].shape
            state[grid] = decode_grid(images, tensor, (rows, columns, features))
        elif name + _STEP not in packed:
            state[name] = tensor.float() if tensor.dtype == torch.float16 else tensor
    return state


def save_checkpoint(
    path: str | os.PathLike[str],
    generator: Generator,
    header: CheckpointHeader,
    breathe: Breathe = lambda: None,
) -> None:
    """Write `generator` so that `load_generator_space` opens it.

    Grids are stored in as coarse steps as it takes for a file of `FILE_BYTES`, up to twice the
    usual ones; where these do not do, in the usual ones. `breathe` is called between grids.

    Raises:
        OSError: It cannot be written; nothing is left of it.
    """
    metadata = {METADATA_KEY: header.to_json()}
    save_tensors(Path(path), _pack_to_fit(generator, metadata, breathe), metadata)


def _pack_to_fit(
    generator: Generator, metadata: dict[str, str], breathe: Breathe
) -> dict[str, torch.Tensor]:
    """The tensors for a file of `FILE_BYTES`, where coarser steps can bring them there."""

    def fits(packed: dict[str, torch.Tensor]) -> bool:
        return len(save(packed, metadata)) <= FILE_BYTES

    usual = pack(generator, breathe=breathe)
    if generator.memory is None or fits(usual):
        return usual
    best = pack(generator, 2.0, breathe)
    if not fits(best):
        return usual
    low, high = 0, 8  # eighths of an octave: the first does not fit, the second does
    while high - low > 1:
        middle = (low + high) // 2
        trial = pack(generator, 2 ** (middle / 8), breathe)
        if fits(trial):
            best, high = trial, middle
        else:
            low = middle
    return best


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
        generator = Generator(config, memory_device="meta")
        state = unpack(packed, generator)
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
        coded = name.endswith(_EXTRA_STATE)  # as long as it is; the base layer checks it
        if not coded and state[name].shape != tensor.shape:
            raise ValueError(f"'{name}' must be {list(tensor.shape)}, is {list(state[name].shape)}")


def render_preview(space: GeneratorSpace, breathe: Breathe = lambda: None) -> bytes:
    """The whole field as a small JPEG; `breathe` is called between its parts."""
    width, height = space.field_size
    d = PREVIEW_PX / max(width, height)
    size = (max(1, round(width * d)), max(1, round(height * d)))
    level = level_of_density(d, space.patch_size)
    frame = render_view(space, (0.0, 0.0), level, size, progress=lambda _share: breathe())
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
