"""What a picture's own spectrum says: whether its finest pixels hold detail at all.

Pictures have power at every frequency, falling smoothly; a picture that was magnified, or is out of
focus, has none near the end of its band. That is all that is claimed. A patch whose label is off by
some octaves but that is sharp looks like any other, because pictures look alike at all scales.

Measured on 3,000 patches of a painting over 8 octaves (64 px): power at 0.71 to 1 of the Nyquist
frequency over that at 0.25 to 0.35 is 2**-3.5 in the median of each octave (spread 2**0.7), 2**-7
in the lowest; the same patches magnified twice (bicubic) have 2**-8.7. With a twentieth of them
spoilt, those magnified twice are found in 87 of 100 cases, magnified four times or blurred by one
or two pixels in 97 or more, magnified 1.4 times in 4, repeated pixels never; no sharp one was.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

NUM_BANDS = 8
"""Half octaves of frequency, the last ends at the Nyquist frequency."""
_MIDDLE = 4
_ROUNDING = 1 / 12
"""Variance of rounding to whole grey levels: the least power that 8 bits can tell."""
_RATIOS = ((7, _MIDDLE, -6.0), (6, 2, -9.0))
"""A fine band, a coarse band, and log2 of their ratio below which a patch may be soft: the first
for patches magnified up to three times, the second for more."""
SOFT_SPREADS, SHARP_SPREADS = 5.5, 7.0
"""Robust standard deviations from the median of its octave."""
_LEAST_SPREAD = 0.25
_NEIGHBOURS = 24
"""A group smaller than this has no median that one could trust."""


def luma(pixels: np.ndarray) -> np.ndarray:
    """Brightness of uint8 [..., 3], float32 [...], 0 to 255."""
    return pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def band_powers(grey: np.ndarray) -> np.ndarray:
    """Mean power of square windows in each band of frequency.

    Args:
        grey: Brightness, 0 to 255. float32 [N, P, P].

    Returns:
        float32 [N, NUM_BANDS]; white noise of variance v has v in every band.
    """
    size = grey.shape[1]
    taper, bins = _bins(size)
    mean = np.einsum("nyx,yx->n", grey, taper) / taper.sum()
    transform = np.fft.rfft2((grey - mean[:, None, None]) * taper)
    power = transform.real**2 + transform.imag**2
    return np.asarray(power.reshape(len(grey), -1) @ bins, np.float32)


@functools.lru_cache(maxsize=8)
def _bins(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Hann window [P, P], and the mean over each band [P * (P // 2 + 1), NUM_BANDS]."""
    window = np.hanning(size + 2)[1:-1]
    taper = window[:, None] * window[None]
    fx = np.fft.rfftfreq(size)
    radius = 2 * np.hypot(np.fft.fftfreq(size)[:, None], fx[None])
    twice = np.where((fx == 0) | (fx == 0.5), 1.0, 2.0) * np.ones_like(radius)
    edges = 2.0 ** (np.arange(-NUM_BANDS, 1) / 2)
    masks = [twice * ((radius >= a) & (radius < b)) for a, b in zip(edges, edges[1:])]
    total = [max(mask.sum(), 1e-9) * (taper**2).sum() for mask in masks]
    bins = np.stack([(m / t).ravel() for m, t in zip(masks, total)], 1)
    return taper.astype(np.float32), bins.astype(np.float32)


def sharpness(bands: np.ndarray) -> np.ndarray:
    """Log2 of each of `_RATIOS`; float32 [N, 2] of [N, NUM_BANDS]."""
    power = np.log2(bands + _ROUNDING)
    return np.stack([power[:, fine] - power[:, coarse] for fine, coarse, _ in _RATIOS], 1)


@dataclass(frozen=True)
class SpectrumVerdict:
    """Which patches are unlike their octave."""

    soft: dict[int, float]
    """Index of a patch with an empty end of its band, and about how many octaves are empty."""
    sharp: tuple[int, ...]
    """Index of a patch with far more fine power than all others of its octave."""
    empty_octaves: dict[int, int]
    """Octaves whose patches are soft by the median, with the number of patches."""


def judge(bands: np.ndarray, levels: np.ndarray) -> SpectrumVerdict:
    """Compare each patch with those of its level, a half octave to either side.

    Args:
        bands: Of `band_powers`. float32 [N, NUM_BANDS].
        levels: Octaves, all finite. [N].
    """
    if not len(levels):
        return SpectrumVerdict({}, (), {})
    found = sharpness(bands)
    profile = np.log2(bands + _ROUNDING)
    profile -= profile[:, 2:3]
    soft: dict[int, float] = {}
    sharp: list[int] = []
    empty: dict[int, int] = {}
    cells = np.floor(levels * 2).astype(int)
    for cell in np.unique(cells):
        inside = np.flatnonzero(cells == cell)
        near = np.abs(levels - (cell / 2 + 0.25)) <= 0.75
        near = near if near.sum() >= _NEIGHBOURS else np.ones(len(levels), bool)
        if near.sum() < _NEIGHBOURS:
            continue
        median = np.median(found[near], axis=0)
        spread = 1.4826 * np.median(np.abs(found[near] - median), axis=0)
        spread = np.maximum(spread, _LEAST_SPREAD)
        limits = np.minimum([limit for *_, limit in _RATIOS], median - SOFT_SPREADS * spread)
        usual = np.median(profile[near], axis=0)
        for index in inside[(found[inside] < limits).any(1)]:
            soft[int(index)] = _empty_octaves(profile[index], usual)
        far = median[0] + SHARP_SPREADS * spread[0]
        sharp += inside[found[inside, 0] > far].tolist()
    octaves = np.floor(levels).astype(int)
    for octave in np.unique(octaves):
        inside = np.flatnonzero(octaves == octave)
        limit = _RATIOS[0][2]
        if len(inside) >= _NEIGHBOURS and float(np.median(found[inside, 0])) < limit:
            empty[int(octave)] = len(inside)
    return SpectrumVerdict(soft, tuple(sharp), empty)


def _empty_octaves(profile: np.ndarray, usual: np.ndarray) -> float:
    """From the top, how much of the band has under an eighth of the usual power, octaves."""
    empty = 0
    while empty < NUM_BANDS - 1 and profile[-1 - empty] < usual[-1 - empty] - 3:
        empty += 1
    return max(1, empty) / 2


def detail_end(grey: np.ndarray) -> float | None:
    """Where the detail of one picture ends, from windows of its own pixels.

    In natural pictures power falls by about 2**1.2 from one half octave to the next. Detail ends
    where it falls twice as much more than that, and does not come back. Noise hides the end.

    Args:
        grey: Brightness of windows, 0 to 255. float32 [N, P, P].

    Returns:
        Octaves below the Nyquist frequency (0: detail, or noise, up to the last pixel), in steps
        of a half; None where the windows are too plain to tell.
    """
    if not len(grey):
        return None
    bands = band_powers(grey)
    detailed = np.argsort(bands[:, 0])[len(bands) // 2 :]
    power = np.log2(np.median(bands[detailed], axis=0) + _ROUNDING)
    if power[0] < _LEAST_POWER_LOG2:
        return None
    steps = np.diff(power)
    usual = float(np.clip(np.median(steps), *_USUAL_STEP_LOG2))
    for band in range(1, NUM_BANDS):
        missing = power[-1] - power[band - 1] - usual * (NUM_BANDS - band)
        if steps[band - 1] - usual < _STEP_LOG2 and missing < 2 * _STEP_LOG2:
            return (NUM_BANDS - band) / 2
    return 0.0


_LEAST_POWER_LOG2 = 4.0
_USUAL_STEP_LOG2 = (-1.6, -0.5)
_STEP_LOG2 = -1.2
