"""Grids as lossless images."""

from __future__ import annotations

import pytest
import torch

from model.grid_codec import decode_grid, encode_grid


@pytest.mark.parametrize("features", [1, 2, 3, 4, 5, 8])
def test_a_grid_comes_back_within_half_a_step(features: int) -> None:
    grid = torch.randn(13, 29, features, generator=torch.Generator().manual_seed(features)) * 0.2
    images, steps = encode_grid(grid, 1 / 64)
    again = decode_grid(images, steps, (13, 29, features))
    assert again.dtype == torch.float16
    assert len(images) == -(-features // 4)
    assert float((again.float() - grid).abs().max()) < 0.5 / 64 + 1e-3


def test_a_second_time_changes_nothing() -> None:
    grid = torch.randn(9, 7, 4, generator=torch.Generator().manual_seed(0))
    images, steps = encode_grid(grid, 0.05)
    again = decode_grid(images, steps, (9, 7, 4))
    images_2, steps_2 = encode_grid(again.float(), 0.05)
    assert all(torch.equal(a, b) for a, b in zip(images, images_2, strict=True))
    assert torch.equal(steps, steps_2)


def test_large_values_get_a_larger_step() -> None:
    grid = torch.full((4, 4, 3), 10.0)
    _, steps = encode_grid(grid, 0.01)
    assert torch.allclose(steps, torch.tensor(10 / 127), rtol=1e-3)


def test_what_repeats_costs_little() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(200, 200, 4, generator=generator)
    alike = noise[..., :1].expand(-1, -1, 4)
    size = sum(len(image) for image in encode_grid(alike, 1 / 16)[0])
    assert size < 0.4 * sum(len(image) for image in encode_grid(noise, 1 / 16)[0])


def test_a_side_that_no_image_can_have_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 16383"):
        encode_grid(torch.zeros(1, 16384, 3), 0.1)


def test_another_shape_is_refused_before_anything_is_decoded() -> None:
    images, steps = encode_grid(torch.zeros(5, 6, 4), 0.1)
    with pytest.raises(ValueError, match="must have"):
        decode_grid(images, steps, (6, 5, 4))
    with pytest.raises(ValueError, match="needs 2 images"):
        decode_grid(images, steps, (5, 6, 8))
