"""The metrics by name: what each computes from windows or from a scale space, as `Figure`s."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from model.laplacian import num_levels
from model.metrics import consistency, fidelity, kid, spectrum, swd
from model.metrics.fid import check_fid, frechet_inception_distance
from model.metrics.figures import Figure, figure, resampled_counts, rng_for
from model.metrics.layout import best_shift, measure_layout
from model.metrics.windows import random_windows, render_all
from model.scale import density
from model.space import ScaleSpace

_SWD_BOOTSTRAP = (16, 32)
"""Neighbourhoods a window and directions of a replicate: windows are what the interval is about."""
_PAIRS = 64
_FREE_PAIRS = 24
"""Of views at any phase, which a generator must render one by one."""
_FLIGHT_PATCHES = 16
_SEAMS = 3


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured, how often, and from which random numbers."""

    levels: tuple[float, ...] | None = None
    """Octaves; None takes the whole levels that both the space and the data have."""
    windows: int = 2000
    """Windows a level in each of the real, the floor's and the generated set."""
    held_out: int = 64
    """Windows a level for PSNR, MS-SSIM, layout."""
    metrics: tuple[str, ...] | None = None
    """Names in `METRICS`; None takes all but FID that the data allows."""
    seed: int = 0
    """Of places, neighbourhoods, directions and resampling."""
    bootstrap: int = 20
    """Resamplings for intervals; 0 for none."""
    fid_weights: str | None = None
    """File of Inception weights for FID."""

    def __post_init__(self) -> None:
        if self.windows < 16 or self.held_out < 2 or self.bootstrap < 0:
            raise ValueError(
                "windows must be 16 or more, held_out 2 or more and bootstrap 0 or more, "
                f"got {self.windows}, {self.held_out} and {self.bootstrap}."
            )
        for name in self.metrics or ():
            if name not in METRICS:
                raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {name!r}.")
        if "fid" in (self.metrics or ()):
            check_fid(None if self.fid_weights is None else Path(self.fid_weights))


@dataclass(frozen=True)
class Sets:
    """Three sets of windows of one level (or of all, mixed), all of the same size."""

    real: torch.Tensor
    """float32 [N, 3, P, P] in [-1, 1]."""
    floor: torch.Tensor
    """Other real windows: their distance to `real` is the floor."""
    generated: torch.Tensor
    """At the places of `floor`, where these are known: a perfect copy is as far as the floor."""
    label: str
    """The level, or 'mixed'."""
    config: EvaluationConfig
    has_floor: bool = True
    """Whether the real windows lie at more places than one: else `floor` is the same picture again,
    and how often a distance holds its floor says nothing."""

    @property
    def images(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Real, floor, generated."""
        return self.real, self.floor, self.generated

    def rng(self, *words: object) -> np.random.Generator:
        return rng_for(self.config.seed, self.label, *words)


@dataclass(frozen=True)
class Subject:
    """The scale space under test, beside its truth where there is one."""

    space: ScaleSpace
    scene: ScaleSpace | None
    config: EvaluationConfig

    @cached_property
    def shift(self) -> tuple[float, float]:
        """See `model.metrics.layout.best_shift`."""
        assert self.scene is not None
        return best_shift(self.space, self.scene)


SetMetric = Callable[[Sets], dict[str, Figure]]
SpaceMetric = Callable[[Subject, float], dict[str, Figure]]


@dataclass(frozen=True)
class Column:
    """How the table shows a figure."""

    head: str
    reference: str = ""
    """What stands beside the value: 'floor', 'real' or nothing."""
    digits: int = 1


@dataclass(frozen=True)
class Metric:
    """One entry of the registry."""

    name: str
    title: str
    unit: str
    columns: Mapping[str, Column]
    """Figures that the table shows, by their name; JSON has all."""
    of_sets: SetMetric | None = None
    of_space: SpaceMetric | None = None
    needs_scene: bool = field(default=False)


METRICS: dict[str, Metric] = {}


def _of_sets(
    name: str, title: str, unit: str, columns: Mapping[str, Column]
) -> Callable[[SetMetric], SetMetric]:
    """Register a metric of sets of windows."""

    def register(compute: SetMetric) -> SetMetric:
        METRICS[name] = Metric(name, title, unit, columns, of_sets=compute)
        return compute

    return register


def _of_space(
    name: str, title: str, unit: str, columns: Mapping[str, Column], needs_scene: bool = False
) -> Callable[[SpaceMetric], SpaceMetric]:
    """Register a metric of a scale space at a level."""

    def register(compute: SpaceMetric) -> SpaceMetric:
        METRICS[name] = Metric(name, title, unit, columns, None, compute, needs_scene)
        return compute

    return register


@_of_sets(
    "swd",
    "sliced Wasserstein distance (set: each set normalised alone; real: by the real set)",
    "1/1000 standard deviation",
    {"set": Column("set", "floor"), "real": Column("real", "floor")},
)
def sliced_wasserstein_distance(sets: Sets) -> dict[str, Figure]:
    """See `model.metrics.swd`. 'set' and 'real' are the two normalisations, means over the pyramid;
    'real_64', 'real_32'... are its levels alone, by the pixels of a window's side there."""
    rng = sets.rng("swd")
    directions = swd.random_directions(
        swd.DIRECTIONS, rng, sets.real.shape[1] * swd.NEIGHBOURHOOD**2
    )
    per_window, few = _SWD_BOOTSTRAP
    shape = (sets.config.bootstrap, 2, len(sets.real))
    draws = sets.rng("swd", "bootstrap").integers(0, len(sets.real), shape)
    rows, replicates = [], []
    for depth in range(num_levels(sets.real.shape[-1])):
        real, floor, generated = (swd.neighbourhoods(img, rng, depth) for img in sets.images)
        rows.append(_swd_distances(real, floor, generated, directions))
        replicates.append(
            [
                _swd_distances(
                    swd.resampled(real, mine, per_window),
                    swd.resampled(floor, its, per_window),
                    swd.resampled(generated, its, per_window),  # at the floor's places
                    directions[:, :few],
                )
                for mine, its in draws
            ]
        )
    value = np.mean(rows, 0)
    spread = np.array(replicates).reshape(len(rows), -1, 4).mean(0)
    found = {
        name: figure(value[i], spread[:, i], value[i + 1], spread[:, i + 1], ratio=sets.has_floor)
        for name, i in (("set", 0), ("real", 2))
    }
    side = sets.real.shape[-1]
    for i, row in enumerate(rows):
        found[f"real_{side >> i}"] = figure(row[2], (), row[3], (), ratio=sets.has_floor)
    return found


def _swd_distances(
    real: swd.Neighbourhoods,
    floor: swd.Neighbourhoods,
    generated: swd.Neighbourhoods,
    directions: torch.Tensor,
) -> list[float]:
    """Generated and floor, each set normalised alone; the same, normalised by the real set."""
    others = [(generated, "own"), (floor, "own"), (generated, "real"), (floor, "real")]
    return swd.sliced_wasserstein(real, others, directions)


@_of_sets(
    "kid",
    "kernel distance of random features, mean of 5 networks",
    "1/1000",
    {"kid": Column("KID", "floor", 2), "excess": Column("excess", "", 2)},
)
def random_feature_kid(sets: Sets) -> dict[str, Figure]:
    """See `model.metrics.kid`. The floor is 0 on average: no ratio. 'excess' is the distance less
    its floor, with an interval of its own: where the generated windows lie at the floor's places
    most of the noise is in both. 'kid_std' is the standard deviation over the networks."""
    count = sets.config.bootstrap
    rng = sets.rng("kid")
    draws = [
        torch.from_numpy(resampled_counts(count, len(img), rng)) for img in (sets.real, sets.floor)
    ]
    values, replicates = [], []
    for seed in kid.SEEDS:
        features = kid.RandomFeatures(seed, sets.real.shape[1])
        real, floor, generated = (features(img) for img in sets.images)
        pairs = [kid.KernelDistance(real, generated), kid.KernelDistance(real, floor)]
        values.append([pair.value() for pair in pairs])
        if count:
            replicates.append([pair.weighted(*draws) for pair in pairs])
    value = kid.UNIT * np.mean(values, 0)
    spread = kid.UNIT * np.mean(replicates, 0) if count else np.zeros((2, 0))
    return {
        "kid": figure(value[0], spread[0], value[1], spread[1]),
        "excess": figure(value[0] - value[1], spread[0] - spread[1]),
        "kid_std": Figure(kid.UNIT * float(np.std([v[0] for v in values]))),
    }


@_of_sets(
    "spectrum",
    "power spectrum: distance, and signed power above half Nyquist against the real",
    "dB",
    {"distance": Column("distance", "floor", 2), "high_band": Column("high band", "floor", 2)},
)
def power_spectrum(sets: Sets) -> dict[str, Figure]:
    """See `model.metrics.spectrum`. 'high_band' is signed: of a blur negative."""
    mean, std = float(sets.real.mean()), max(float(sets.real.std()), 1e-6)
    images = sets.images
    spectra = [spectrum.radial_spectra(img, mean, std) for img in images]
    powers = [spectrum.high_band_powers(img) for img in images]
    rng = sets.rng("spectrum")
    draws = [
        torch.from_numpy(resampled_counts(sets.config.bootstrap, len(img), rng)).double()
        for img in images[:2]
    ]
    draws.append(draws[1])

    def both(weights: list[torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
        """Distances and high bands of `floor` and `generated` under weights [B, N]."""
        shape = [w @ s / w.sum(1, keepdim=True) for w, s in zip(weights, spectra)]
        band = [w @ p / w.sum(1) for w, p in zip(weights, powers)]
        return (
            np.array([spectrum.spectral_distance(shape[0], s).numpy() for s in shape[1:]]),
            np.array(
                [
                    [spectrum.decibels(*v) for v in zip(b.tolist(), band[0].tolist())]
                    for b in band[1:]
                ]
            ).reshape(2, -1),
        )

    ones = [torch.ones(1, len(img), dtype=torch.float64) for img in images]
    distance, band = both(ones)
    distances, bands = both(draws)
    return {
        "distance": figure(
            float(distance[1, 0]), distances[1], float(distance[0, 0]), distances[0]
        ),
        "high_band": figure(float(band[1, 0]), bands[1], float(band[0, 0]), bands[0]),
    }


@_of_sets("fid", "FID with your own Inception weights", "", {"fid": Column("FID", "floor", 2)})
def inception_distance(sets: Sets) -> dict[str, Figure]:
    """See `model.metrics.fid`. No interval: resampling would dominate the bias that it has."""
    value, floor = frechet_inception_distance(
        sets.real, [sets.generated, sets.floor], Path(sets.config.fid_weights or "")
    )
    return {"fid": figure(value, (), floor, (), ratio=True)}


@_of_space(
    "fidelity",
    "fidelity to the truth at held-out windows",
    "dB; MS-SSIM 1 is equal",
    {
        "psnr": Column("PSNR", "", 2),
        "psnr_worst": Column("worst", "", 2),
        "ms_ssim": Column("MS-SSIM", "", 4),
        "high_band": Column("high band", "", 2),
    },
    needs_scene=True,
)
def fidelity_to_scene(subject: Subject, level: float) -> dict[str, Figure]:
    """PSNR of all windows together and of the worst, MS-SSIM, signed high band of the same places,
    and the mean difference of values in [-1, 1]. See `model.metrics.fidelity`."""
    assert subject.scene is not None
    config, rng = subject.config, rng_for(subject.config.seed, "held out", f"{level:g}")
    windows = random_windows(subject.space, level, config.held_out, rng)
    img, real = (render_all(s, windows) for s in (subject.space, subject.scene))
    errors = fidelity.mse_by_window(img, real).numpy()
    likeness = fidelity.ms_ssim(img, real).numpy()
    counts = resampled_counts(_many(config), len(windows), rng)
    weights = counts / len(windows)
    power = spectrum.high_band_power(img), spectrum.high_band_power(real)
    return {
        "psnr": _psnr_figure(errors, weights),
        "psnr_worst": Figure(fidelity.psnr_of_mse(float(errors.max()))),
        "ms_ssim": figure(float(likeness.mean()), weights @ likeness),
        "high_band": Figure(spectrum.decibels(*power)),
        "mean_error": Figure(float((img - real).double().mean())),
    }


@_of_space(
    "consistency",
    "consistency: a view against the view an octave further out, PSNR beside the real data's own",
    "dB",
    {"1": Column("same grid", "real"), "1_free": Column("any phase", "real")},
)
def scale_consistency(subject: Subject, level: float) -> dict[str, Figure]:
    """See `model.metrics.consistency.scale_consistency`. '1', '2': octaves between the
    views, both centred on one point; '0.5_free', '1_free', '2_free': the finer view moved by up to
    half a coarser pixel."""
    found = {}
    for octaves in consistency.OCTAVES:
        outside = level - octaves < subject.space.level_range[0] - 1e-9
        if outside or consistency.shared_pixels(subject.space.patch_size, octaves) < 1:
            continue
        for free in (False, True) if octaves.is_integer() else (True,):
            count = _FREE_PAIRS if free else _PAIRS
            rng = rng_for(subject.config.seed, "consistency", f"{level:g}", octaves, free)
            views = consistency.consistency_windows(subject.space, level, octaves, count, rng, free)
            weights = resampled_counts(_many(subject.config), count, rng) / count
            errors = consistency.scale_consistency(subject.space, *views).numpy()
            own = None
            if subject.scene is not None:
                own = consistency.scale_consistency(subject.scene, *views).numpy()
            found[f"{octaves:g}_free" if free else f"{octaves:g}"] = _psnr_figure(
                errors, weights, own
            )
    return found


@_of_space(
    "flicker",
    "zoom flicker: change from frame to frame of a zoom, 1/32 octave apart, motion taken out",
    "grey levels of 255, RMS",
    {"rms": Column("RMS", "real", 2), "worst": Column("worst step", "", 2)},
)
def zoom_flicker(subject: Subject, level: float) -> dict[str, Figure]:
    """See `model.metrics.consistency.zoom_flicker`. Zooms run from half an octave below the level
    to half an octave above it, as far as the space has levels. 'worst': of the steps, the largest
    quotient of the space's change and the real data's at the same step."""
    low, high = subject.space.level_range
    levels = max(low, level - 0.5), min(high, level + 0.5)
    if levels[1] - levels[0] < consistency.FLICKER_STEP:
        return {}
    rng = rng_for(subject.config.seed, "flicker", f"{level:g}")
    p = subject.space.patch_size
    d = density(levels[0], p)
    size = 2 * p if d * min(subject.space.field_size) >= 2 * p else p
    count = _FLIGHT_PATCHES * p**2 // size**2
    centers = [
        (w.origin_xy[0] + size / 2 / d, w.origin_xy[1] + size / 2 / d)
        for w in random_windows(subject.space, levels[0], count, rng, size)
    ]
    errors = consistency.zoom_flicker(subject.space, levels, centers, size).numpy()
    counts = resampled_counts(_many(subject.config), count, rng) / count

    def rms(squares: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return 127.5 * np.sqrt(weights @ squares.mean(0))

    once = np.full((1, count), 1 / count)
    value = float(rms(errors, once)[0])
    if subject.scene is None:
        return {"rms": figure(value, rms(errors, counts))}
    own = consistency.zoom_flicker(subject.scene, levels, centers, size).numpy()
    worst = np.sqrt(errors.mean(1) / np.maximum(own.mean(1), 1e-12)).max()
    reference = float(rms(own, once)[0])
    return {
        "rms": figure(value, rms(errors, counts), reference, rms(own, counts), ratio=True),
        "worst": Figure(float(worst)),
    }


@_of_space(
    "pan",
    "pan error: PSNR after a move by part of a pixel, and largest change after whole pixels",
    "dB; values in [-1, 1]",
    {"psnr": Column("part PSNR", "real"), "whole_max_abs": Column("whole max", "", 6)},
)
def pan_error(subject: Subject, level: float) -> dict[str, Figure]:
    """See `model.metrics.consistency.pan_error`."""
    found = []
    for space in (subject.space, subject.scene):
        rng = rng_for(subject.config.seed, "pan", f"{level:g}")
        inset = 0.125 * 2.0**-level  # field units: an eighth of a patch
        windows = random_windows(subject.space, level, _FREE_PAIRS, rng, inset=inset)
        found.append(None if space is None else consistency.pan_error(space, windows, rng))
    error, own = found
    assert error is not None
    count = len(error.part_mse)
    weights = resampled_counts(_many(subject.config), count, rng) / count
    own_mse = None if own is None else own.part_mse.numpy()
    return {
        "psnr": _psnr_figure(error.part_mse.numpy(), weights, own_mse),
        "whole_max_abs": Figure(error.whole_max_abs),
    }


@_of_space(
    "seams",
    "seam error: a window against the same from tiles",
    "values in [-1, 1]",
    {"max_abs": Column("seam max", "", 6)},
)
def seams(subject: Subject, level: float) -> dict[str, Figure]:
    """See `model.metrics.consistency.seam_error`."""
    error = consistency.seam_error(subject.space, level, _SEAMS, subject.config.seed)
    return {"max_abs": Figure(error)}


@_of_space(
    "layout",
    "layout: correlation with the scene after one best shift, 16 x 16 pixels a window",
    "1 is the same",
    {"correlation": Column("layout", "", 3)},
    needs_scene=True,
)
def layout_correlation(subject: Subject, level: float) -> dict[str, Figure]:
    """See `model.metrics.layout`; 'shift_x' and 'shift_y' are the shift, field units."""
    assert subject.scene is not None
    config, rng = subject.config, rng_for(subject.config.seed, "layout", f"{level:g}")
    layout = measure_layout(
        subject.space, subject.scene, level, subject.shift, config.held_out, rng
    )
    counts = resampled_counts(_many(config), config.held_out, rng)
    return {
        "correlation": figure(float(layout.correlation()[0]), layout.correlation(counts)),
        "shift_x": Figure(subject.shift[0]),
        "shift_y": Figure(subject.shift[1]),
    }


def _many(config: EvaluationConfig) -> int:
    """Replicates where they cost nothing."""
    return 10 * config.bootstrap


def _psnr_figure(errors: np.ndarray, weights: np.ndarray, own: np.ndarray | None = None) -> Figure:
    """PSNR of mean squared differences by window, beside the real data's own."""
    value, replicates = _psnrs(errors, weights)
    if own is None:
        return figure(value, replicates)
    return figure(value, replicates, *_psnrs(own, weights))


def _psnrs(errors: np.ndarray, weights: np.ndarray) -> tuple[float, list[float]]:
    return (
        fidelity.psnr_of_mse(float(errors.mean())),
        [fidelity.psnr_of_mse(v) for v in (weights @ errors).tolist()],
    )
