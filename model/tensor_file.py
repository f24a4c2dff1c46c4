"""A safetensors file written piece by piece: between two pieces its writer can wait."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from model.breathing import Breathe

_PIECE_BYTES = 4 << 20
_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write_tensors(
    path: Path,
    tensors: dict[str, torch.Tensor],
    metadata: dict[str, str] | None = None,
    breathe: Breathe = lambda: None,
) -> None:
    """Write what `safetensors.torch.save_file` would; `breathe` is called every few megabytes.

    Raises:
        OSError: It cannot be written.
    """
    # Wide elements first, as safetensors does it: then all of them are aligned.
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, object] = {} if metadata is None else {"__metadata__": metadata}
    end = 0
    for name in names:
        tensor = tensors[name]
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for name in names:
            plain = tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            for piece in plain.split(_PIECE_BYTES):
                breathe()
                file.write(piece.numpy().data)
