"""`tile_to_rgba8`: the same bytes as the rest of the app makes, on every device."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kernels import tile_to_rgba8
from model.space import to_uint8


def images(dtype: torch.dtype) -> torch.Tensor:
    """Every boundary between two bytes, a little to either side, beyond the range, and noise."""
    edges = (torch.arange(-2, 260).double() - 128) / 127.5
    near = torch.cat(
        [
            edges.float(),
            edges.float().nextafter(torch.tensor(9.0)),
            edges.float().nextafter(torch.tensor(-9.0)),
            torch.tensor([1e9, -1e9]),
        ]
    )
    noise = torch.randn(3 * 2 * 7 * 61, generator=torch.Generator().manual_seed(0))
    return torch.cat([near, noise])[: 2 * 3 * 7 * 61].view(2, 3, 7, 61).to(dtype)


@pytest.mark.parametrize("impl", ["ref", "cuda"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_bytes_are_those_of_to_uint8(device: torch.device, dtype: torch.dtype, impl: str) -> None:
    img = images(dtype)
    out = tile_to_rgba8(img.to(device), impl=impl).cpu()
    assert torch.equal(out[..., :3], to_uint8(img))
    assert (out[..., 3] == 255).all()


@pytest.mark.parametrize("impl", ["ref", "cuda"])
def test_writes_where_it_is_told_from_any_layout(device: torch.device, impl: str) -> None:
    img = torch.randn(3, 300, 200, 3, generator=torch.Generator().manual_seed(1)).to(device)
    img = img.permute(0, 3, 1, 2)[:, :, :, 1:]  # beyond 131,072 elements, channels last, cropped
    buffer = torch.full((4, 300, 199, 4), 7, dtype=torch.uint8, device=device)
    out = tile_to_rgba8(img, out=buffer[:3], impl=impl)
    assert out.data_ptr() == buffer.data_ptr()
    assert torch.equal(out[..., :3].cpu(), to_uint8(img.cpu()))
    assert (buffer[3] == 7).all()


@pytest.mark.parametrize("impl", ["ref", "cuda"])
def test_no_image_no_pixel_and_a_buffer_off_the_word(device: torch.device, impl: str) -> None:
    assert tile_to_rgba8(torch.zeros(0, 3, 4, 4, device=device), impl=impl).shape == (0, 4, 4, 4)
    assert tile_to_rgba8(torch.zeros(1, 3, 0, 4, device=device), impl=impl).shape == (1, 0, 4, 4)
    odd = torch.zeros(17, dtype=torch.uint8, device=device)[1:].view(1, 2, 2, 4)
    out = tile_to_rgba8(torch.ones(1, 3, 2, 2, device=device), out=odd, impl=impl)
    assert (out == 255).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"img": torch.zeros(1, 4, 2, 2)}, "img must be"),
        ({"out": torch.zeros(1, 2, 2, 3, dtype=torch.uint8)}, "out must be"),
        ({"out": torch.zeros(1, 2, 2, 4)}, "out must be"),
        ({"out": torch.zeros(1, 2, 4, 4, dtype=torch.uint8)[:, :, ::2]}, "out must be"),
    ],
)
def test_what_does_not_fit_is_said(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tile_to_rgba8(**({"img": torch.zeros(1, 3, 2, 2)} | change))
