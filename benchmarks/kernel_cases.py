"""What `python -m benchmarks.kernels` times: each op on sizes that the presets have, and rivals."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

import kernels

Job = Callable[[], object]
"""Queues one run of the op; what it returns is not looked at."""


@dataclass(frozen=True)
class Case:
    """One op in one direction, dtype and layout, and who else does the same."""

    op: str
    label: str
    """Size, layout, filter."""
    dtype: str
    direction: str
    """'forward' or 'backward'."""
    jobs: dict[str, Job]
    """By who: 'cuda' is ours, 'ref' its torch twin, then rivals."""
    bytes: int
    """Least that has to cross the memory bus: every input read and every output written once."""
    operations: int = 0
    """Multiplications and additions of a matrix product, where that is what bounds the op."""


@dataclass(frozen=True)
class Sizes:
    """How large the cases are. The defaults are those of a batch of the studio preset."""

    images: int = 8
    channels: int = 64
    pixels: int = 288
    """Side of a feature map."""
    waves: int = 48
    frame: tuple[int, int] = (1080, 1920)
    """Height and width of a displayed image."""
    cells: int = 2048
    """Side of a feature grid."""


def load_rival(spec: str) -> Callable[..., torch.Tensor]:
    """The function that `MODULE:FUNCTION` names, with the arguments of StyleGAN3's filtered_lrelu.

    Raises:
        ValueError: The form is another, or there is no such module or function.
    """
    module, _, function = spec.partition(":")
    if not module or not function:
        raise ValueError(f"--against must be MODULE:FUNCTION, got {spec!r}.")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"--against {spec}: {error}; is it on PYTHONPATH?") from error
    if not callable(found):
        raise ValueError(f"--against {spec} is no function but {type(found).__name__}.")
    return found


def all_cases(
    device: torch.device, sizes: Sizes, rival: Callable[..., torch.Tensor] | None = None
) -> Iterator[Case]:
    """Every case, made when it is asked for, so that only one case's tensors are alive."""
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        yield from _filtered_lrelu(device, sizes, dtype, True, rival)
    for dtype in (torch.float32, torch.float16):
        yield from _filtered_lrelu(device, sizes, dtype, False, rival)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        yield from _bias_lrelu(device, sizes, dtype, True)
    yield from _bias_lrelu(device, sizes, torch.float16, False)
    for dtype in (torch.float32, torch.float16):
        yield from _upfirdn2d(device, sizes, dtype)
        yield from _fourier_features(device, sizes, dtype)
    for deterministic in (False, True):
        yield from _feature_grid(device, sizes, deterministic)
    for dtype in (torch.float32, torch.float16):
        yield from _resample(device, sizes, dtype)
        yield _tile_to_rgba8(device, sizes, dtype)
    yield _resample_bytes(device, sizes)


def composed_filtered_lrelu(
    x: torch.Tensor, fu: torch.Tensor, fd: torch.Tensor, b: torch.Tensor
) -> torch.Tensor:
    """The oversampled nonlinearity from framework operations alone: what fusing is measured by.

    As `filtered_lrelu(x, fu, fd, b, up=2, down=2, padding=(1, 0, 1, 0), gain=1)` with filters of
    equal, even length.
    """
    channels, taps = x.shape[1], len(fu)
    up = (fu[:, None] * fu * 4).to(x.dtype).expand(channels, 1, taps, taps)
    down = (fd.flip(0)[:, None] * fd.flip(0)).to(x.dtype).expand(channels, 1, taps, taps)
    x = x + b.to(x.dtype).view(1, -1, 1, 1)
    x = F.conv_transpose2d(x, up, stride=2, padding=taps - 2, groups=channels)
    return F.conv2d(F.leaky_relu(x, 0.2), down, stride=2, groups=channels)


def _pair(
    case: dict[str, Any],
    forward: dict[str, Callable[[], torch.Tensor]],
    leaf: torch.Tensor,
    bytes_forward: int,
    bytes_backward: int,
    operations: int = 0,
) -> Iterator[Case]:
    """The forward case and the backward one: the gradient in `leaf` of a graph made once."""

    def quietly(job: Callable[[], torch.Tensor]) -> Job:
        def run() -> None:
            with torch.no_grad():
                job()

        return run

    def backward(job: Callable[[], torch.Tensor]) -> Job:
        out = job()
        cotangent = torch.ones_like(out)
        return lambda: torch.autograd.grad(out, leaf, cotangent, retain_graph=True)

    yield Case(
        direction="forward",
        jobs={who: quietly(job) for who, job in forward.items()},
        bytes=bytes_forward,
        operations=operations,
        **case,
    )
    yield Case(
        direction="backward",
        jobs={who: backward(job) for who, job in forward.items()},
        bytes=bytes_backward,
        operations=operations,
        **case,
    )


def _filtered_lrelu(
    device: torch.device,
    sizes: Sizes,
    dtype: torch.dtype,
    last: bool,
    rival: Callable[..., torch.Tensor] | None,
) -> Iterator[Case]:
    side = sizes.pixels
    x = torch.randn(sizes.images, sizes.channels, side, side, device=device).to(dtype)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    f = torch.hann_window(14, periodic=False, device=device)[1:-1]
    f = f / f.sum()
    b = torch.zeros(sizes.channels, device=device)
    options: dict[str, Any] = {"up": 2, "down": 2, "padding": (1, 0, 1, 0), "gain": 1.0}

    def ours(impl: str) -> Callable[[], torch.Tensor]:
        return lambda: kernels.filtered_lrelu(x, f, f, b, impl=impl, **options)

    jobs = {
        "cuda": ours("cuda"),
        "ref": ours("ref"),
        "composed": lambda: composed_filtered_lrelu(x, f, f, b),
    }
    if rival is not None:
        jobs["against"] = lambda: rival(
            x,
            fu=f,
            fd=f,
            b=b.to(dtype),
            up=2,
            down=2,
            padding=[1, 0, 1, 0],
            gain=1.0,
            slope=0.2,
            clamp=None,
        )
    out = x.numel() * (side - 10) ** 2 // side**2
    signs = x.numel()  # 4 raised pixels of 2 bits for each input pixel
    moved = (x.numel() + out) * x.element_size()
    layout = "channels_last" if last else "planes"
    label = f"{sizes.images} x {sizes.channels} x {side}^2, {layout}, 12 taps"
    yield from _pair(
        {"op": "filtered_lrelu", "label": label, "dtype": _name(dtype)},
        jobs,
        x,
        moved,
        moved + signs,
    )


def _bias_lrelu(
    device: torch.device, sizes: Sizes, dtype: torch.dtype, last: bool
) -> Iterator[Case]:
    side = sizes.pixels
    x = torch.randn(sizes.images, sizes.channels, side, side, device=device).to(dtype)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    b = torch.zeros(sizes.channels, device=device, requires_grad=True)

    def ours(impl: str) -> Callable[[], torch.Tensor]:
        return lambda: kernels.bias_lrelu(x, b, impl=impl)

    moved = x.numel() * x.element_size()
    layout = "channels_last" if last else "planes"
    yield from _pair(
        {
            "op": "bias_lrelu",
            "label": f"{sizes.images} x {sizes.channels} x {side}^2, {layout}",
            "dtype": _name(dtype),
        },
        {"cuda": ours("cuda"), "ref": ours("ref")},
        x,
        2 * moved,
        3 * moved,
    )


def _upfirdn2d(device: torch.device, sizes: Sizes, dtype: torch.dtype) -> Iterator[Case]:
    side = sizes.pixels // 2
    x = torch.randn(sizes.images, sizes.channels, side, side, device=device).to(dtype)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    f = torch.hann_window(12, device=device) / 6

    def ours(impl: str) -> Callable[[], torch.Tensor]:
        return lambda: kernels.upfirdn2d(x, f, up=2, padding=(6, 5, 6, 5), gain=4.0, impl=impl)

    moved = 5 * x.numel() * x.element_size()
    label = f"{sizes.images} x {sizes.channels} x {side}^2 to twice the side, 12 taps"
    yield from _pair(
        {"op": "upfirdn2d", "label": label, "dtype": _name(dtype)},
        {"cuda": ours("cuda"), "ref": ours("ref")},
        x,
        moved,
        moved,
    )


def _fourier_features(device: torch.device, sizes: Sizes, dtype: torch.dtype) -> Iterator[Case]:
    n, side, channels, waves = sizes.images, sizes.pixels, sizes.channels, sizes.waves
    xs, ys = (torch.rand(n, side, dtype=torch.float64, device=device) for _ in range(2))
    freqs = torch.randn(waves, 2, dtype=torch.float64, device=device) * 1000
    phases = torch.rand(waves, dtype=torch.float64, device=device)
    mix = torch.randn(channels, waves, device=device).requires_grad_()

    def ours(impl: str) -> Callable[[], torch.Tensor]:
        return lambda: kernels.fourier_features(xs, ys, freqs, phases, mix, dtype=dtype, impl=impl)

    moved = n * side * side * channels * torch.finfo(dtype).bits // 8
    yield from _pair(
        {
            "op": "fourier_features",
            "label": f"{n} x {side}^2, {waves} waves to {channels} channels",
            "dtype": _name(dtype),
        },
        {"cuda": ours("cuda"), "ref": ours("ref")},
        mix,
        moved,
        moved,
        operations=2 * n * side * side * channels * waves,
    )


def _feature_grid(device: torch.device, sizes: Sizes, deterministic: bool) -> Iterator[Case]:
    n, side = sizes.images, sizes.pixels
    table = torch.randn(sizes.cells, sizes.cells, 4, device=device).requires_grad_()
    start = torch.rand(n, 1, dtype=torch.float64) * (sizes.cells - side)
    nodes = (start + torch.arange(side) * 0.9).to(device)

    def ours(impl: str) -> Callable[[], torch.Tensor]:
        return lambda: kernels.feature_grid(
            table, nodes, nodes, deterministic=deterministic, impl=impl
        )

    out = n * side * side * 4 * 4
    sums = "in a fixed order" if deterministic else "as threads come"
    yield from _pair(
        {
            "op": "feature_grid",
            "label": f"{n} x {side}^2 of {sizes.cells}^2 x 4, sums {sums}",
            "dtype": "float32",
        },
        {"cuda": ours("cuda"), "ref": ours("ref")},
        table,
        2 * out,
        3 * out + table.numel() * 4,
    )


def _resample(device: torch.device, sizes: Sizes, dtype: torch.dtype) -> Iterator[Case]:
    n, side = sizes.images, 2 * sizes.pixels
    img = torch.randn(n, 3, side, side, device=device).to(dtype).requires_grad_()
    origin, step = torch.rand(n, 2, dtype=torch.float64), torch.full((n,), 1.7)
    size = (side // 2, side // 2)

    def ours(impl: str) -> Callable[[], torch.Tensor]:
        return lambda: kernels.resample(img, origin, step, size, impl=impl)

    # The windows span 0.85 of the image along each axis. Its gradient is written where it is 0 too.
    moved = int(img.numel() * (0.85**2 + 0.25) * img.element_size())
    moved_back = int(img.numel() * 1.25 * img.element_size())
    yield from _pair(
        {
            "op": "resample",
            "label": f"{n} x 3 x {side}^2 by 1.7 to {size[0]}^2, area",
            "dtype": _name(dtype),
        },
        {"cuda": ours("cuda"), "ref": ours("ref")},
        img,
        moved,
        moved_back,
    )


def _resample_bytes(device: torch.device, sizes: Sizes) -> Case:
    """A displayed image from a coded picture of half its density."""
    height, width = sizes.frame
    picture = torch.randint(256, (height // 2 + 9, width // 2 + 9, 3), dtype=torch.uint8)
    img = picture.to(device).permute(2, 0, 1)[None]
    origin, step = torch.full((1, 2), 4.3, dtype=torch.float64), torch.full((1,), 0.5)

    def ours(impl: str) -> Job:
        return lambda: kernels.resample(img, origin, step, sizes.frame, filter="mixed", impl=impl)

    return Case(
        op="resample",
        label=f"{width} x {height} from bytes by 0.5, mixed",
        dtype="uint8",
        direction="forward",
        jobs={"cuda": ours("cuda"), "ref": ours("ref")},
        bytes=img.numel() + 3 * height * width * 4,
    )


def _tile_to_rgba8(device: torch.device, sizes: Sizes, dtype: torch.dtype) -> Case:
    height, width = sizes.frame
    img = torch.randn(1, 3, height, width, device=device).to(dtype)
    out = torch.empty(1, height, width, 4, dtype=torch.uint8, device=device)

    def ours(impl: str) -> Job:
        return lambda: kernels.tile_to_rgba8(img, out=out, impl=impl)

    return Case(
        op="tile_to_rgba8",
        label=f"{width} x {height}",
        dtype=_name(dtype),
        direction="forward",
        jobs={"cuda": ours("cuda"), "ref": ours("ref")},
        bytes=img.numel() * img.element_size() + out.numel(),
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
