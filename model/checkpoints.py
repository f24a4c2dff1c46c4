"""Checkpoints: tensors and JSON in one safetensors file, small enough to send to a friend.

The base layer is stored as it was coded, large tensors in half precision. Reading back gives the
same weights on every machine.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from model.breathing import Breathe
from model.config import DiscriminatorConfig, GeneratorConfig, from_dict, to_dict
from model.discriminator import Discriminator
from model.generator import Generator
from model.generator_space import GeneratorSpace, identity_of
from model.header import METADATA_KEY, CheckpointError, CheckpointHeader, read_header
from model.precision import choose_dtype
from model.rendering import render_view
from model.scale import level_of_density
from model.tensor_file import write_tensors

PREVIEW_PX = 640
"""Longer side of the preview inside a checkpoint."""
_DISCRIMINATOR = "scalespace-discriminator"  # key of its config in its file
_EXTRA_STATE = "_extra_state"  # torch's name for what is no plain tensor: the base layer
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


def save_checkpoint(
    path: str | os.PathLike[str],
    generator: Generator,
    header: CheckpointHeader,
    breathe: Breathe | None = None,
) -> None:
    """Write `generator` so that `load_generator_space` opens it.

    With `breathe` that is called every few megabytes; it may wait.

    Raises:
        OSError: It cannot be written; nothing is left of it.
    """
    save_tensors(Path(path), _packed(generator), {METADATA_KEY: header.to_json()}, breathe)


def discriminator_beside(checkpoint: str | os.PathLike[str]) -> Path:
    """Where the discriminator of a checkpoint lies, if it has one: `NAME.discriminator`."""
    return Path(checkpoint).with_suffix(".discriminator")


def save_discriminator(
    path: Path, discriminator: Discriminator, breathe: Breathe | None = None
) -> None:
    """Write it in half precision, for other runs to start with; see `save_checkpoint`."""
    config = {_DISCRIMINATOR: json.dumps(to_dict(discriminator.config))}
    save_tensors(path, _packed(discriminator), config, breathe)


def load_discriminator(path: Path, discriminator: Discriminator) -> None:
    """Fill `discriminator` with the weights of a file.

    Raises:
        CheckpointError: The file is damaged, or of a discriminator of another size or view.
    """
    try:
        state = _unpacked(load_file(path))
        _check_shapes(discriminator, state)
        with safe_open(path, "pt") as file:
            written = json.loads((file.metadata() or {}).get(_DISCRIMINATOR, "{}"))
        its = from_dict(DiscriminatorConfig, written).detail_gain
        here = discriminator.config.detail_gain
        if its != here:
            raise ValueError(f"it sees detail {its:g} times as strong, here it is {here:g} times")
    except (SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(f"{path} does not fit the discriminator here ({error}).") from error
    discriminator.load_state_dict(state)


def _packed(network: nn.Module) -> dict[str, torch.Tensor]:
    """Its tensors, the large ones in half precision."""
    packed = {}
    for name, tensor in network.state_dict().items():
        tensor = tensor.detach().cpu()
        small = tensor.numel() <= _SMALL or tensor.dtype in (torch.float64, torch.uint8)
        kept = tensor if small else tensor.half()
        # A copy: stages may share a buffer, and safetensors refuses shared memory.
        packed[name] = kept.clone(memory_format=torch.contiguous_format)
    return packed


def _unpacked(packed: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    # Copies, all of them: what is read lies in the mapped file, which others may write to.
    return {n: t.float() if t.dtype == torch.float16 else t.clone() for n, t in packed.items()}


def load_generator_space(
    path: str | os.PathLike[str], device: torch.device, precision: str = "auto"
) -> GeneratorSpace:
    """Open a checkpoint for rendering.

    Args:
        path: A `.safetensors` file.
        device: Where it renders.
        precision: 'auto', 'fp32', 'bf16' or 'fp16'; see `model.precision.choose_dtype`.

    Raises:
        CheckpointError: Missing, truncated, foreign or too new; one clear line.
    """
    header = read_header(path)
    try:
        config = from_dict(GeneratorConfig, header.config)
        told = (header.patch_size, header.field_size, header.level_range)
        if told != (config.patch_size, config.field_size, config.level_range):
            raise ValueError("its head and its generator disagree")
        packed = load_file(os.fspath(path))
        state = _unpacked(packed)
        _check_size(config, sum(tensor.numel() for tensor in state.values()))
        generator = Generator(config)
        _check_shapes(generator, state)
        generator.load_state_dict(state, assign=True)
    except (SafetensorError, ValueError, TypeError, RuntimeError, OSError) as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(
            f"{path} does not fit this version's generator ({first}); train it again, or open "
            "it with the version that made it."
        ) from error
    return GeneratorSpace(
        generator.to(device), header, identity_of(packed), choose_dtype(device, precision)
    )


def _check_size(config: GeneratorConfig, stored: int) -> None:
    """Raise ValueError where the network would hold many more numbers than the file does.

    No memory is taken on a file's word. (A network on torch's `meta` device would tell exactly, a
    second later: that device takes so long to be imported.)
    """
    octaves = config.level_range[1] - config.level_range[0]
    fewest = config.convs_per_stage * sum(width**2 for width in config.widths)
    fewest += (config.z_dim + config.w_dim) * config.w_dim
    inputs = config.waves_per_octave + config.noise_features * config.noise_bands
    fewest += int(octaves * inputs)
    if fewest > stored:
        raise ValueError(f"it would hold {fewest} numbers or more, the file has {stored}")


def _check_shapes(network: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Raise ValueError unless `state` has exactly the network's tensors."""
    expected = network.state_dict()
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
