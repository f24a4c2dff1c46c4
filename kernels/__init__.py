"""Numerical primitives: torch tensors in, torch tensors out.

Each op is a public function with a plain-torch version that is right everywhere, and a CUDA kernel
in `kernels/cuda` that `kernels._backend` chooses by itself where there is a GPU to run it on.
`unavailable_reason` says why there is none.
"""

from kernels._backend import KernelUnavailable
from kernels._cuda import unavailable_reason
from kernels.bias_lrelu import bias_lrelu
from kernels.feature_grid import feature_grid
from kernels.filtered_lrelu import filtered_lrelu
from kernels.fourier_features import fourier_features
from kernels.resample import resample
from kernels.tile_to_rgba8 import tile_to_rgba8
from kernels.upfirdn2d import upfirdn2d

__all__ = [
    "KernelUnavailable",
    "bias_lrelu",
    "feature_grid",
    "filtered_lrelu",
    "fourier_features",
    "resample",
    "tile_to_rgba8",
    "unavailable_reason",
    "upfirdn2d",
]
