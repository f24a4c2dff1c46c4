"""Kernel distance of random features: do two sets of windows look like one, with no trained net?"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

WIDTHS = (16, 24, 32, 48)
"""Channels of the stages; twice their sum is the number of features, 240."""
SEEDS = (0, 1, 2, 3, 4)
"""Networks whose distances are averaged."""
UNIT = 1000.0
"""Distances are given times 1000, as is the custom."""
_FAINT = 0.01  # about one grey level of 255
_TYPICAL = 0.2  # of images in [-1, 1]: brings the logarithms near 0
_IMAGES = 256  # images at once


class RandomFeatures:
    """A fixed random convolutional network whose statistics describe an image.

    Four stages of 3 x 3 convolutions with stride 2 and ReLU, weights N(0, 2 / fan-in) (He et al.
    2015), no biases, edges repeated; of each stage the mean and the standard deviation of every
    channel over the image, as log((value + 0.01) / 0.2) / 2: contrasts are spread over decades, and
    a cubic kernel would see the strongest window alone. Nothing is taken from the data, which would
    make the distance a biased one. Random networks rank generators much as trained
    ones do ("Demystifying
    Randomly Initialized Networks for Evaluating Generative Models", 2022).

    Args:
        seed: Of the weights.
        channels: Of the images.
    """

    def __init__(self, seed: int, channels: int = 3) -> None:
        rng = np.random.default_rng(seed)
        self._weights = []
        for width in WIDTHS:
            weight = rng.standard_normal((width, channels, 3, 3)) * (2 / (9 * channels)) ** 0.5
            self._weights.append(torch.from_numpy(weight.astype(np.float32)))
            channels = width

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """Features of images float32 [N, 3, H, W] in [-1, 1]: float32 [N, 240]."""
        return torch.cat([self._features(part) for part in img.split(_IMAGES)])

    def _features(self, x: torch.Tensor) -> torch.Tensor:
        found = []
        for weight in self._weights:
            x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), weight, stride=2).relu_()
            found += [x.mean((2, 3)), x.std((2, 3), correction=0)]
        return ((torch.cat(found, 1) + _FAINT) / _TYPICAL).log() / 2


def polynomial_kernel(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(x . y / d + 1)**3 of features [N, d] and [M, d]: [N, M]. Binkowski et al. 2018."""
    return (x @ y.T / x.shape[1] + 1).pow_(3)


class KernelDistance:
    """Unbiased squared maximum mean discrepancy of two sets of features.

    mean of k(x, x') over pairs of different x, plus the same of y, less twice the mean of k(x, y):
    0 on average where both sets come from one distribution, so it may be negative. Source:
    Gretton et al. 2012, equation 3; Binkowski et al. 2018, "Demystifying MMD GANs". Differs: all
    pairs at once instead of the mean over random subsets: the same expectation, less noise.

    Args:
        x, y: float32 [N, d] and [M, d].
    """

    def __init__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self._xx, self._yy = polynomial_kernel(x, x), polynomial_kernel(y, y)
        self._xy = polynomial_kernel(x, y)

    def value(self) -> float:
        """The distance of the sets as they are."""
        return self.weighted(torch.ones(1, len(self._xx)), torch.ones(1, len(self._yy)))[0]

    def weighted(self, x_counts: torch.Tensor, y_counts: torch.Tensor) -> list[float]:
        """The distances of B resampled sets, of which a pair of copies of one item is no pair.

        Args:
            x_counts, y_counts: How often each item is drawn, float32 [B, N] and [B, M].
        """
        xx = _pair_mean(self._xx, x_counts)
        yy = _pair_mean(self._yy, y_counts)
        cross = ((x_counts @ self._xy) * y_counts).double().sum(1)
        cross /= x_counts.double().sum(1) * y_counts.double().sum(1)
        return (xx + yy - 2 * cross).tolist()


def _pair_mean(kernel: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Mean of the kernel over pairs of different items, each as often as it was drawn: [B]."""
    squares = counts.double().square()
    total = ((counts @ kernel) * counts).double().sum(1) - squares @ kernel.diagonal().double()
    return total / (counts.double().sum(1).square() - squares.sum(1))
