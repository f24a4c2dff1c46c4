"""`resample` against averages taken pixel by pixel, against torch's own, and its gradients."""

from __future__ import annotations

import math

import pytest
import torch

from kernels._backend import KernelUnavailable, choose_impl
from kernels.resample import FILTERS, resample


def brute_force_area(
    img: torch.Tensor, x: float, y: float, step: float, size: tuple[int, int]
) -> torch.Tensor:
    """One image [C, H, W]: every overlap of an output box with an input pixel, one by one."""

    def overlaps(origin: float, index: int, length: int) -> dict[int, float]:
        width = max(step, 1.0)
        low = origin + (index + 0.5) * step - width / 2
        found: dict[int, float] = {}
        for k in range(math.floor(low), math.ceil(low + width)):
            part = min(k + 1, low + width) - max(k, low)
            at = min(max(k, 0), length - 1)
            found[at] = found.get(at, 0.0) + part / width
        return found

    out = torch.zeros(img.shape[0], *size, dtype=img.dtype)
    for row in range(size[0]):
        for column in range(size[1]):
            for j, wy in overlaps(y, row, img.shape[1]).items():
                for i, wx in overlaps(x, column, img.shape[2]).items():
                    out[:, row, column] += wy * wx * img[:, j, i]
    return out


@pytest.mark.parametrize("step", [0.3, 1.0, 1.37, 2.0, 5.9])
def test_area_is_the_average_over_the_output_pixel(step: float) -> None:
    img = torch.rand(1, 2, 13, 17, dtype=torch.float64)
    x, y = -3.3, 2.45  # reaches over two edges
    origin = torch.tensor([[x, y]], dtype=torch.float64)
    out = resample(img, origin, torch.tensor([step], dtype=torch.float64), (5, 4))
    torch.testing.assert_close(
        out[0], brute_force_area(img[0], x, y, step, (5, 4)), atol=1e-12, rtol=0
    )


@pytest.mark.parametrize("factor", [2, 4])
def test_magnifying_is_linear_interpolation_with_centres_at_half_integers(factor: int) -> None:
    img = torch.rand(2, 3, 9, 8, dtype=torch.float64)
    size = (9 * factor, 8 * factor)
    out = resample(img, torch.zeros(2, 2), torch.full((2,), 1 / factor), size)
    expected = torch.nn.functional.interpolate(
        img, scale_factor=factor, mode="bilinear", align_corners=False
    )
    torch.testing.assert_close(out, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("filter", FILTERS)
def test_the_same_lattice_gives_the_same_image(filter: str) -> None:
    img = torch.rand(1, 3, 6, 7, dtype=torch.float64)
    out = resample(img, torch.zeros(1, 2), torch.ones(1), (6, 7), filter=filter)
    torch.testing.assert_close(out, img, atol=1e-12, rtol=0)


@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize("step", [0.4, 1.0, 3.3, 11.0])
def test_a_flat_image_stays_flat(filter: str, step: float) -> None:
    img = torch.full((1, 1, 5, 6), 0.7, dtype=torch.float64)
    out = resample(img, torch.tensor([[-9.1, 1.7]]), torch.tensor([step]), (4, 9), filter=filter)
    torch.testing.assert_close(out, torch.full_like(out, 0.7), atol=1e-12, rtol=0)


def test_mixed_goes_from_lanczos_to_area() -> None:
    img = torch.rand(1, 2, 40, 50, dtype=torch.float64)

    def at(step: float, filter: str) -> torch.Tensor:
        origin = torch.tensor([[3.3, 4.1]])
        return resample(img, origin, torch.tensor([step]), (9, 11), filter=filter)

    for step in (0.4, 1.0):
        torch.testing.assert_close(at(step, "mixed"), at(step, "lanczos"))
    for step in (2.0, 3.1):
        torch.testing.assert_close(at(step, "mixed"), at(step, "area"))
    halfway = (at(2**0.5, "lanczos") - at(2**0.5, "area")).abs().max()
    for near, other in (("lanczos", 1.01), ("area", 1.98)):
        assert (at(other, "mixed") - at(other, near)).abs().max() < 0.1 * halfway
    constant = resample(
        torch.ones(1, 1, 20, 20),
        torch.zeros(1, 2),
        torch.tensor([1.3]),
        (15, 15),
        filter="mixed",
    )
    torch.testing.assert_close(constant, torch.ones_like(constant))


@pytest.mark.parametrize(("filter", "limit"), [("area", 0.13), ("lanczos", 0.03)])
def test_minifying_does_not_alias(filter: str, limit: float) -> None:
    stripes = torch.tensor([-1.0, 1.0]).double().repeat(100).expand(1, 1, 200, 200)
    origin, step = torch.tensor([[20.0, 20.0]]), torch.tensor([4.3])
    out = resample(stripes, origin, step, (30, 30), filter=filter)
    assert out.abs().max() < limit * 2
    picked = stripes[0, 0, 22::4, 22::5]  # what picking single pixels would have shown
    assert picked.abs().max() == 1


@pytest.mark.parametrize("filter", FILTERS)
def test_a_tile_equals_its_part_of_the_window(filter: str) -> None:
    img = torch.rand(1, 3, 40, 50)
    step = torch.tensor([1.7])
    whole = resample(img, torch.tensor([[1.25, -2.5]]), step, (16, 24), filter=filter)
    origin = torch.tensor([[1.25 + 10 * 1.7, -2.5 + 4 * 1.7]], dtype=torch.float64)
    tile = resample(img, origin, step, (8, 9), filter=filter)
    # Float32 sums in another order; the control below is wrong by one hundredth of a pixel.
    torch.testing.assert_close(tile, whole[..., 4:12, 10:19], atol=2e-6, rtol=0)
    shifted = resample(img, origin + 0.01, step, (8, 9), filter=filter)
    assert (shifted - whole[..., 4:12, 10:19]).abs().max() > 1e-4


def test_every_image_has_its_own_origin_and_step() -> None:
    img = torch.rand(3, 2, 12, 11).double()
    origin = torch.tensor([[0.0, 0.0], [3.3, -1.0], [5.0, 4.2]]).double()
    step = torch.tensor([0.5, 1.0, 3.1]).double()
    together = resample(img, origin, step, (5, 6))
    for i in range(3):
        alone = resample(img[i : i + 1], origin[i : i + 1], step[i : i + 1], (5, 6))
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-12, rtol=0)


@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize("step", [0.6, 2.3])
def test_gradients(filter: str, step: float) -> None:
    img = torch.rand(2, 1, 5, 6, dtype=torch.float64, requires_grad=True)
    origin = torch.tensor([[-1.2, 0.3], [0.0, 2.0]]).double()
    steps = torch.tensor([step, step * 1.3]).double()
    assert torch.autograd.gradcheck(
        lambda x: resample(x, origin, steps, (3, 4), filter=filter), (img,)
    )
    assert torch.autograd.gradgradcheck(
        lambda x: resample(x, origin, steps, (3, 4), filter=filter).square(), (img,)
    )


def test_layouts_sizes_and_dtypes() -> None:
    img = torch.rand(2, 3, 9, 10)
    origin, step = torch.zeros(2, 2), torch.tensor([1.5, 2.5])
    plain = resample(img, origin, step, (3, 4))
    last = resample(img.contiguous(memory_format=torch.channels_last), origin, step, (3, 4))
    turned = resample(img.mT.contiguous().mT, origin, step, (3, 4))
    torch.testing.assert_close(last, plain)
    torch.testing.assert_close(turned, plain)
    half = resample(img.bfloat16(), origin, step, (3, 4))
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), plain, atol=2e-2, rtol=0)
    assert resample(img[:0], origin[:0], step[:0], (3, 4)).shape == (0, 3, 3, 4)
    assert resample(img[:, :, :1, :1], origin, step, (1, 1)).shape == (2, 3, 1, 1)


def test_bytes_are_read_as_numbers() -> None:
    rng = torch.Generator().manual_seed(0)
    picture = torch.randint(256, (9, 12, 3), generator=rng, dtype=torch.uint8)
    img = picture[1:, 2:].permute(2, 0, 1).expand(2, -1, -1, -1)
    origin, step = torch.zeros(2, 2), torch.tensor([1.5, 0.5])
    out = resample(img, origin, step, (3, 4), filter="mixed")
    assert out.dtype == torch.float32
    assert torch.equal(out, resample(img.float(), origin, step, (3, 4), filter="mixed"))
    none = resample(img[:0], origin[:0], step[:0], (3, 4))
    assert none.shape == (0, 3, 3, 4) and none.dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"img": torch.zeros(1, 3, 4)}, "img must be"),
        ({"img": torch.zeros(1, 3, 4, 5, dtype=torch.int32)}, "img must be"),
        ({"origin_xy": torch.zeros(2, 2)}, "origin_xy must be"),
        ({"step": torch.zeros(1)}, "step must be finite and > 0"),
        ({"step": torch.full((1,), torch.inf)}, "step must be finite and > 0"),
        ({"step": torch.full((1,), torch.nan)}, "step must be finite and > 0.*got nan"),
        ({"step": torch.ones(1, 1)}, "step must be floating"),
        ({"origin_xy": torch.full((1, 2), torch.nan)}, "origin_xy must be finite"),
        ({"size": (0, 3)}, "size must be"),
        ({"filter": "cubic"}, "filter must be one of"),
        ({"impl": "numpy"}, "impl of resample"),
    ],
)
def test_what_does_not_fit_is_said(change: dict[str, object], message: str) -> None:
    args: dict[str, object] = {
        "img": torch.zeros(1, 3, 4, 5),
        "origin_xy": torch.zeros(1, 2),
        "step": torch.ones(1),
        "size": (2, 2),
    }
    with pytest.raises(ValueError, match=message):
        resample(**(args | change))  # type: ignore[arg-type]


def test_the_cuda_kernel_is_refused_with_a_reason() -> None:
    img = torch.zeros(1, 1, 2, 2)
    with pytest.raises(KernelUnavailable, match="resample"):
        resample(img, torch.zeros(1, 2), torch.ones(1), (1, 1), impl="cuda")
    assert choose_impl(None, img, "resample") == "ref"
    assert choose_impl("ref", img, "resample") == "ref"
