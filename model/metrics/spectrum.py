"""Power spectra: is there as much texture at every fineness, and what is missing at the top?"""

from __future__ import annotations

import math

import torch

HIGH_BAND = 0.25
"""Half the Nyquist frequency, cycles per pixel."""
_PADDING = 2
_KAISER_BETA = 8.0
_IMAGES = 128  # images at once
_SILENCE = 1e-12  # power that counts as none, of whitened images


def radial_spectra(img: torch.Tensor, mean: float, std: float) -> torch.Tensor:
    """Power by frequency of each window.

    Images are whitened by the mean and standard deviation of the *real* data over all channels,
    weighted by a separable Kaiser window (beta 8) of unit energy, padded with zeros to twice their
    side; the squared modulus of the Fourier transform is averaged over channels and over rings one
    cycle per window wide. White noise of variance 1 has 1 everywhere, on average.

    Args:
        img: float32 [N, C, P, P].
        mean, std: Of the real data.

    Returns:
        float64 [N, P // 2]: power at 1, 2, ... P // 2 cycles per window (the last is Nyquist).

    Source: Karras et al. 2021 (StyleGAN3), appendix A and avg_spectra in its public code. Differs:
    padded to twice instead of four times the side, which holds all there is to know.
    """
    size = img.shape[-1]
    weights = torch.kaiser_window(size, periodic=False, beta=_KAISER_BETA, dtype=torch.float32)
    weights = weights / weights.square().sum().sqrt()
    weights = torch.outer(weights, weights)
    side = _PADDING * size
    columns = side // 2 + 1
    ring = (_frequencies(side, side)[:, :columns] * size).round().long().reshape(-1)
    twice = torch.full((side, columns), 2.0)
    twice[:, [0, -1]] = 1.0  # rfft keeps one of each pair of conjugates but here
    norms = torch.zeros(side).index_add_(0, ring, twice.reshape(-1)).clamp_min(1)
    parts = []
    for part in img.split(_IMAGES):
        spectrum = torch.fft.rfft2((part - mean) / std * weights, (side, side))
        power = (spectrum.real.square() + spectrum.imag.square()).mean(1) * twice
        sums = torch.zeros(len(part), side).index_add_(1, ring, power.reshape(len(part), -1))
        parts.append((sums / norms)[:, 1 : size // 2 + 1].double())
    return torch.cat(parts)


def spectral_distance(real: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Root mean square over frequencies of the difference of two spectra in decibels.

    Args:
        real, other: Means of `radial_spectra` over windows, [..., K].

    Returns:
        dB, [...].
    """
    a, b = (10 * x.clamp_min(_SILENCE).log10() for x in (real, other))
    return (a - b).square().mean(-1).sqrt()


def high_band_power(img: torch.Tensor) -> float:
    """Mean power above half the Nyquist frequency.

    Each channel of each window loses its mean and is weighted by a Hann window; the squared modulus
    of its Fourier transform, over the sum of the squared weights, is averaged over all frequencies
    (fx, fy) with hypot(fx, fy) > 0.25 cycles per pixel, over channels and windows. White noise of
    variance v has v whatever the size of the windows.

    Args:
        img: float [N, C, H, W].
    """
    return float(high_band_powers(img).mean())


def high_band_powers(img: torch.Tensor) -> torch.Tensor:
    """`high_band_power` of each window alone: float64 [N]."""
    height, width = img.shape[-2:]
    weights = torch.outer(
        torch.hann_window(height, periodic=False, dtype=torch.float64),
        torch.hann_window(width, periodic=False, dtype=torch.float64),
    )
    inside = _frequencies(height, width) > HIGH_BAND
    parts = []
    for part in img.split(_IMAGES):
        x = part.clamp(-1, 1).double()
        x = x - x.mean((-2, -1), keepdim=True)
        power = torch.fft.fft2(x * weights).abs().square() / weights.square().sum()
        parts.append(power[..., inside].mean((1, 2)))
    return torch.cat(parts)


def decibels(power: float, reference: float) -> float:
    """10 log10(power / reference); infinities where one of them is 0."""
    if power == reference:
        return 0.0
    if power <= 0 or reference <= 0:
        return math.inf if power > reference else -math.inf
    return 10 * math.log10(power / reference)


def _frequencies(height: int, width: int) -> torch.Tensor:
    """Modulus of the frequencies of an FFT, cycles per pixel: float64 [H, W]."""
    y = torch.fft.fftfreq(height, dtype=torch.float64)
    x = torch.fft.fftfreq(width, dtype=torch.float64)
    return torch.hypot(y[:, None], x[None])
