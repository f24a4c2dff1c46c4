"""Design of the low-pass filters with which layers are resampled."""

from __future__ import annotations

import numpy as np
import torch


def kaiser_lowpass(taps_per_phase: int, factor: int = 2) -> torch.Tensor:
    """Kaiser-windowed low-pass for resampling by `factor`, each phase of unit sum.

    Args:
        taps_per_phase: Input pixels that one output pixel reads; even.
        factor: Ratio of the two sampling rates.

    Returns:
        float32 [taps_per_phase * factor], unit sum, symmetric. With every phase of equal sum, a
        constant stays a constant: no checkerboard, however few taps.

    Source: Karras et al. 2021 (StyleGAN3), appendix C (equations for the Kaiser window). Differs:
    cutoff at 0.9 of the lower Nyquist frequency, phases normalised one by one.
    """
    taps = taps_per_phase * factor
    x = (np.arange(taps) - (taps - 1) / 2) / factor
    half_width = 0.6
    attenuation = max(2.285 * (taps - 1) * np.pi * half_width / factor + 7.95, 21.0)
    beta = (
        0.1102 * (attenuation - 8.7)
        if attenuation > 50
        else 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    )
    f = np.sinc(0.9 * x) * np.kaiser(taps, beta)
    for phase in range(factor):
        f[phase::factor] /= f[phase::factor].sum() * factor
    return torch.from_numpy(f.astype(np.float32))
