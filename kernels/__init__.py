"""Numerical primitives: torch tensors in, torch tensors out.

Each op is a public function with a plain-torch version that is right everywhere; a CUDA kernel
joins it through `kernels._backend.CUDA_OPS`.
"""

from kernels._backend import KernelUnavailable
from kernels.filtered_lrelu import filtered_lrelu
from kernels.fourier_features import fourier_features
from kernels.resample import resample
from kernels.upfirdn2d import upfirdn2d

__all__ = [
    "KernelUnavailable",
    "filtered_lrelu",
    "fourier_features",
    "resample",
    "upfirdn2d",
]
