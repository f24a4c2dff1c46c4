"""A pyramid that adds up to the image it was made of."""

from __future__ import annotations

import torch

from model import laplacian


def test_the_laplacian_pyramid_adds_up_to_the_image() -> None:
    img = torch.rand(2, 3, 64, 64)
    pyramid = laplacian.laplacian_pyramid(img)
    assert [band.shape[-1] for band in pyramid] == [64, 32, 16]
    assert [laplacian.num_levels(size) for size in (16, 32, 64, 96, 256)] == [1, 2, 3, 3, 5]
    total = pyramid[-1]
    for band in reversed(pyramid[:-1]):
        total = band + laplacian._expanded(total, band)
    assert torch.allclose(total, img, atol=1e-5)
    flat = laplacian.laplacian_pyramid(torch.full((1, 3, 64, 64), 0.4))
    assert float(flat[0][..., 4:-4, 4:-4].abs().max()) < 1e-6
    assert torch.allclose(flat[-1], torch.tensor(0.4))


def test_amplified_detail_leaves_what_is_coarse_as_it_was() -> None:
    across = torch.arange(64) / 64
    coarse = torch.cos(torch.pi * across).expand(1, 3, 64, 64)
    fine = torch.cos(2 * torch.pi * 16 * across).expand(1, 3, 64, 64)
    inside = (..., slice(8, -8))
    seen = laplacian.amplify_detail(0.5 * coarse + 0.01 * fine, 8.0)
    torch.testing.assert_close(
        seen[inside], (0.5 * coarse + 0.08 * fine)[inside], atol=0.05, rtol=0
    )
    assert torch.equal(laplacian.amplify_detail(fine, 1.0), fine)
