"""How close images are to their truth, pixel by pixel: PSNR and MS-SSIM."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

PEAK = 2.0
"""Images are in [-1, 1]."""
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_TAPS, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


def psnr(img: torch.Tensor, real_img: torch.Tensor) -> float:
    """Peak signal to noise ratio, dB: 10 log10(2**2 / mean squared difference).

    The mean is over everything: of many windows this is lower than the mean of their ratios. Values
    outside [-1, 1] are cut off first, as the screen does.

    Args:
        img, real_img: In [-1, 1]. float [..., 3, H, W].
    """
    difference = img.clamp(-1, 1).double() - real_img.clamp(-1, 1).double()
    return psnr_of_mse(float(difference.square().mean()))


def psnr_of_mse(mse: float) -> float:
    """dB of a mean squared difference of values in [-1, 1]; infinite for 0."""
    return math.inf if mse == 0 else 10 * math.log10(PEAK**2 / mse)


def mse_by_window(img: torch.Tensor, real_img: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of each window, cut to [-1, 1] first: float64 [N]."""
    difference = img.clamp(-1, 1).double() - real_img.clamp(-1, 1).double()
    return difference.square().mean((1, 2, 3))


def ms_ssim(img: torch.Tensor, real_img: torch.Tensor) -> torch.Tensor:
    """Multi-scale structural similarity of each pair of images: 1 for equal ones.

    Values are brought to [0, 1]. At each scale means and variances are taken under a Gaussian of
    sigma 1.5 in 11 x 11 pixels, where it lies inside the image; contrast and structure are averaged
    over the image, luminance too at the coarsest scale; scales are 2 x 2 averages apart, and their
    terms (at least 0) are multiplied with the published exponents. Channels are averaged.

    Args:
        img, real_img: In [-1, 1]. float [N, C, H, W], sides of 11 or more.

    Returns:
        float64 [N].

    Source: Wang, Simoncelli and Bovik 2003. Differs: as many of the 5 scales as the window fits
    (3 at 64 px), their exponents divided by their sum.

    Raises:
        ValueError: The images are smaller than 11 pixels.
    """
    shorter = min(img.shape[-2:])
    scales = sum(shorter >> s >= _TAPS for s in range(len(_WEIGHTS)))
    if scales == 0:
        raise ValueError(f"MS-SSIM needs windows of {_TAPS} pixels or more, got {shorter}.")
    weights = [w / sum(_WEIGHTS[:scales]) for w in _WEIGHTS[:scales]]
    x, y = ((v.clamp(-1, 1).double() + 1) / 2 for v in (img, real_img))
    result = torch.ones(img.shape[:2], dtype=torch.float64)
    for scale, weight in enumerate(weights):
        if scale:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        luminance, structure = _ssim_terms(x, y)
        term = structure if scale < scales - 1 else luminance * structure
        result = result * term.mean((2, 3)).clamp_min(0) ** weight
    return result.mean(1)


def _ssim_terms(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Luminance, and contrast times structure, at every pixel: [N, C, h, w] each."""
    mx, my = _gaussian(x), _gaussian(y)
    vx, vy = _gaussian(x * x) - mx * mx, _gaussian(y * y) - my * my
    covariance = _gaussian(x * y) - mx * my
    luminance = (2 * mx * my + _C1) / (mx * mx + my * my + _C1)
    return luminance, (2 * covariance + _C2) / (vx + vy + _C2)


def _gaussian(x: torch.Tensor) -> torch.Tensor:
    """Gaussian means, where the filter lies inside the image."""
    t = torch.arange(_TAPS, dtype=x.dtype) - (_TAPS - 1) / 2
    taps = (-0.5 * (t / _SIGMA).square()).exp()
    taps = (taps / taps.sum()).tolist()
    rows, columns = x.shape[-2] - _TAPS + 1, x.shape[-1] - _TAPS + 1
    x = torch.stack([w * x[..., i : i + rows, :] for i, w in enumerate(taps)]).sum(0)
    return torch.stack([w * x[..., i : i + columns] for i, w in enumerate(taps)]).sum(0)
