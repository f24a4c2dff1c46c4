"""FID, with the Inception weights that the user brings: nothing is downloaded."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

import torch

_FEATURES = 2048
_IMAGES = 64  # images at once


def frechet_inception_distance(
    real: torch.Tensor, sets: list[torch.Tensor], weights: Path
) -> list[float]:
    """Frechet distance of Inception features from the real set to each of some others.

    |mean - mean'|**2 + trace(S + S' - 2 (S S')**(1/2)) of the 2048 features of the last pooling
    layer, as torchmetrics computes it (Heusel et al. 2017). It is biased upwards where sets are
    small: below 10,000 windows compare numbers of equal sizes only.

    Args:
        real: float32 [N, 3, P, P] in [-1, 1].
        sets: Others, the same.
        weights: A file of the Inception network of torch-fidelity (pt_inception-2015-12-05).

    Raises:
        ValueError: torchmetrics or torch-fidelity is not installed, or there is no such file; one
            line says what to do.
    """
    if not weights.is_file():
        raise ValueError(
            f"FID needs a file with Inception weights, {weights} is none; give --fid-weights "
            "pt_inception-2015-12-05-6726825d.pth of torch-fidelity."
        )
    try:
        fid = importlib.import_module("torchmetrics.image.fid")
        metric = fid.FrechetInceptionDistance(
            feature=_FEATURES,
            reset_real_features=False,
            normalize=False,
            feature_extractor_weights_path=str(weights),
        )
    except ImportError as error:  # torchmetrics says so too where torch-fidelity is missing
        raise ValueError(
            f"FID needs torchmetrics with torch-fidelity, which cannot be used ({error}); "
            "install 'torchmetrics[image]', or leave fid out of --metrics."
        ) from error
    _update(metric, real, True)
    distances = []
    for img in sets:
        metric.reset()  # keeps the real features
        _update(metric, img, False)
        distances.append(float(metric.compute()))
    return distances


def check_fid(weights: Path | None) -> None:
    """Refuse before the work starts what `frechet_inception_distance` would refuse.

    Raises:
        ValueError: One line says what to do.
    """
    if weights is None:
        raise ValueError(
            "FID needs your own Inception weights, got none; give --fid-weights FILE, "
            "or leave fid out of --metrics."
        )
    if importlib.util.find_spec("torchmetrics") is None:
        raise ValueError(
            "FID needs torchmetrics, which is not installed; install 'torchmetrics[image]', "
            "or leave fid out of --metrics."
        )
    if not weights.is_file():
        raise ValueError(
            f"FID needs a file with Inception weights, {weights} is none; give --fid-weights "
            "pt_inception-2015-12-05-6726825d.pth of torch-fidelity."
        )


def _update(metric: torch.nn.Module, img: torch.Tensor, real: bool) -> None:
    for part in img.split(_IMAGES):
        pixels = (part * 127.5 + 128).clamp(0, 255).to(torch.uint8)
        metric.update(pixels, real=real)
