"""Place and level of patches to a fraction of a pixel, by Gauss-Newton on what they show."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from kernels.resample import resample
from model.placement.canvas import Canvas, Patches, Poses

_MARGIN_PX = 3
"""Canvas pixels around a window, for it to move in."""
_MAX_SIDE = 48
"""Pixels a side that are compared at most; the middle of the patch."""
_MIN_SHARE = 0.25
"""Part of the pixels that must be covered for a correlation to count."""
_MIN_DEVIATION = 1.0
"""Grey values: what varies less is blank."""


@dataclass(frozen=True)
class Fit:
    """Patches after they moved to where they fit best."""

    center_xy: torch.Tensor
    """Field units. float64 [N, 2]."""
    level: torch.Tensor
    """Octaves. float64 [N]."""
    correlation: torch.Tensor
    """Of colours, each channel without its mean; -1 where too little is covered. float32 [N]."""
    detail: torch.Tensor
    """Correlation of the differences of neighbouring pixels; -1 as above. float32 [N]."""
    samples: torch.Tensor
    """Independent values that `detail` is worth: many in texture, few in a smooth patch. [N]."""

    def __getitem__(self, rows: torch.Tensor) -> Fit:
        return Fit(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def fit_to_canvas(
    canvas: Canvas, patches: Patches, poses: Poses, max_level_shift: float, iterations: int
) -> Fit:
    """Move each patch, and change its level, until it fits what the canvas shows.

    Inverse compositional Gauss-Newton over translation and log scale; gain and each channel's mean
    are free. Source: S. Baker and I. Matthews 2004, "Lucas-Kanade 20 years on".

    Args:
        canvas: At most half an octave finer than the patches.
        patches: All patches.
        poses: Where those to fit begin, all of nearly one level: within 1.5 canvas pixels or so.
        max_level_shift: Octaves that a level may move.
        iterations: Steps, >= 1.
    """
    span = patches.size * 2.0 ** (canvas.level - float(poses.level.max()))
    size = max(4, int(min(span, _MAX_SIDE) + 1e-6))
    step = 2.0 ** (poses.level - canvas.level)  # patch pixels a template pixel
    origin = (patches.size / 2 - size / 2 * step)[:, None].expand(-1, 2)
    template = resample(patches.load(poses.indices), origin, step, (size, size))
    window_size = 2 * math.ceil(size / 2 * 2.0**max_level_shift + _MARGIN_PX)
    start = canvas.pixel_of(poses.center_xy)
    first = (start - window_size / 2).round().long()
    window, covered = canvas.windows(first, window_size)
    center = start - first
    spacing = torch.ones_like(poses.level)
    weight = resample(covered, center - size / 2, spacing, (size, size))
    weight = (weight > 0.999).float()
    template = without_means(template, weight)
    descent, inverse = normal_equations(template, weight)
    power = template.square().sum((1, 2, 3)).clamp_min(1e-6)
    move = torch.zeros_like(start)
    stretch = torch.zeros_like(poses.level)
    limit = max_level_shift * math.log(2)
    for turn in range(iterations + 1):
        spacing = stretch.exp()
        corner = center + move - size / 2 * spacing[:, None]
        seen = without_means(resample(window, corner, spacing, (size, size)), weight)
        if turn == iterations:
            break
        gain = ((seen * template).sum((1, 2, 3)) / power).double().clamp_min(0.2)
        right = torch.einsum("npk,np->nk", descent, seen.flatten(1)).double()
        delta = (inverse @ right[:, :, None])[:, :, 0] / gain[:, None]
        delta = delta.clamp(-1.0, 1.0)
        move = (move - spacing[:, None] * delta[:, :2]).clamp(-_MARGIN_PX, _MARGIN_PX)
        stretch = (stretch - delta[:, 2]).clamp(-limit, limit)
    correlation, detail = correlations(seen, template, weight)
    enough = weight.sum((1, 2, 3)) >= _MIN_SHARE * size * size
    return Fit(
        canvas.field_of(center + move + first),
        poses.level - stretch / math.log(2),
        torch.where(enough, correlation, -1.0),
        torch.where(enough, detail, -1.0),
        independent_samples(template, seen),
    )


def without_means(images: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Images minus each channel's weighted mean, times the weights (0 or 1, [N, 1, S, S])."""
    count = weight.sum((2, 3), keepdim=True).clamp_min(1.0)
    return (images - (images * weight).sum((2, 3), keepdim=True) / count) * weight


def correlations(
    a: torch.Tensor, b: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the colours, and of the differences of neighbours, of two batches without means.

    Args:
        a, b: float32 [N, C, S, S], 0 where the weight is.
        weight: 0 or 1. float32 [N, 1, S, S].
    """
    pairs = []
    for dim in (2, 3):
        length = weight.shape[dim] - 1
        both = weight.narrow(dim, 0, length) * weight.narrow(dim, 1, length)
        pairs.append((a.diff(dim=dim) * both, b.diff(dim=dim) * both))
    return _correlation([(a, b)], weight), _correlation(pairs, weight)


def independent_samples(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """How many independent values the correlation of two images' details is worth.

    Neighbours in a smooth image say the same: where two unrelated images of these power spectra
    lie over each other, the variance of their correlation is one over this.

    Args:
        a, b: float32 [N, C, S, S], without means.

    Returns:
        float32 [N], from about 1 to the number of pixels.

    Source: P. Clifford, S. Richardson and D. Hemon 1989, "Assessing the significance of the
    correlation between two spatial processes", with the covariances as spectra.
    """
    side = a.shape[-1]
    angle = 2 * math.pi * torch.fft.fftfreq(side, device=a.device)
    # The power that differences of neighbours keep of a frequency.
    kept = 2 - 2 * angle.cos()
    kept = kept[:, None] + kept
    power_a, power_b = (torch.fft.fft2(x.mean(1)).abs().square() * kept for x in (a, b))
    common = (power_a * power_b).sum((1, 2)).clamp_min(1e-12)
    return (power_a.sum((1, 2)) * power_b.sum((1, 2)) / common).clamp_min(1.0)


def _correlation(
    pairs: list[tuple[torch.Tensor, torch.Tensor]], weight: torch.Tensor
) -> torch.Tensor:
    """Sum of products over the root of the products of the sums of squares."""
    cross = torch.stack([(x * y).sum((1, 2, 3)) for x, y in pairs]).sum(0)
    square_x, square_y = (
        torch.stack([pair[i].square().sum((1, 2, 3)) for pair in pairs]).sum(0) for i in (0, 1)
    )
    floor = _MIN_DEVIATION**2 * pairs[0][0].shape[1] * weight.sum((1, 2, 3)).clamp_min(1.0)
    return cross / (torch.maximum(square_x, floor) * torch.maximum(square_y, floor)).sqrt()


def normal_equations(
    template: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Steepest descent images [N, C * S * S, 3] free of gain and means, inverse Hessian [N, 3, 3].

    Parameters: move x, move y (template pixels) and the logarithm of the scale.
    """
    size = template.shape[-1]
    grad_x = torch.zeros_like(template)
    grad_y = torch.zeros_like(template)
    grad_x[..., 1:-1] = (template[..., 2:] - template[..., :-2]) / 2
    grad_y[..., 1:-1, :] = (template[..., 2:, :] - template[..., :-2, :]) / 2
    # A difference across the edge of what is covered says nothing.
    grad_x[..., 1:-1] *= weight[..., 2:] * weight[..., :-2]
    grad_y[..., 1:-1, :] *= weight[..., 2:, :] * weight[..., :-2, :]
    at = torch.arange(size, device=template.device, dtype=template.dtype) + 0.5 - size / 2
    images = (grad_x, grad_y, grad_x * at + grad_y * at[:, None])
    descent = torch.stack([without_means(g, weight).flatten(1) for g in images], -1)
    flat = template.flatten(1)
    unit = flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-6)
    along = torch.einsum("np,npk->nk", unit, descent)
    descent = descent - unit[:, :, None] * along[:, None]
    hessian = torch.einsum("npk,npl->nkl", descent, descent).double()
    scale = hessian.diagonal(dim1=1, dim2=2).clamp_min(1e-3).sqrt()
    scale = scale[:, :, None] * scale[:, None]
    ridge = 1e-3 * torch.eye(3, dtype=torch.float64, device=template.device)
    return descent, torch.linalg.inv(hessian / scale + ridge) / scale
