"""Every instance of every kernel that the tests launch, and that NVRTC must therefore compile."""

from __future__ import annotations

from kernels._filter import SIGNS_NONE, SIGNS_READ, SIGNS_WRITE, separable_tile

SCALARS = {"float": 4, "half_t": 2, "bfloat_t": 2}
"""C++ names and bytes."""


def filter_name(scalar: str, form: tuple[int, int, int, int], mode: int, *, last: bool) -> str:
    """One instance for up, down and the taps of both filters, in channels_last or planes."""
    group = 16 // SCALARS[scalar] if last else 1
    height, width, _ = separable_tile(*form, group)
    numbers = ", ".join(map(str, (*form, height, width, group, mode)))
    return f"filtered_lrelu<{scalar}, {numbers}>"


OVERSAMPLED = (2, 2, 12, 12)
"""The nonlinearity at twice the rate, as the presets have it."""
MODES = (SIGNS_NONE, SIGNS_WRITE, SIGNS_READ)

PRESETS: tuple[str, ...] = (
    *(filter_name(scalar, OVERSAMPLED, SIGNS_WRITE, last=True) for scalar in SCALARS),
    f"filtered_lrelu_radial<half_t, 2, 2, {SIGNS_WRITE}>",
)
"""What the presets launch of the largest source."""

ACTIVATED = ((3, 2, 5, 4), (1, 1, 3, 1), (4, 1, 7, 6), (2, 4, 3, 1), (2, 1, 1, 12))
LINEAR = ((2, 1, 12, 1), (1, 1, 1, 4), (3, 2, 4, 1), (1, 3, 1, 4))
"""`upfirdn2d` runs its filter on one side, with the identity on the other."""


def _filtered_lrelu() -> tuple[str, ...]:
    names = list(PRESETS)
    for scalar in SCALARS:
        for form in ((2, 1, 12, 1), (1, 2, 1, 12)):
            names.append(filter_name(scalar, form, SIGNS_NONE, last=True))
    for scalar in SCALARS:
        names += [filter_name(scalar, OVERSAMPLED, mode, last=True) for mode in MODES]
    for scalar in ("float", "half_t"):
        names += [filter_name(scalar, OVERSAMPLED, mode, last=False) for mode in MODES]
    for up, down, fu, fd in ACTIVATED:
        names.append(filter_name("float", (up, down, fu, fd), SIGNS_WRITE, last=False))
        for form in ((up, down, fu, fd), (down, up, fd, fu)):
            names.append(filter_name("float", form, SIGNS_READ, last=False))
    for up, down, fu, fd in LINEAR:
        for form in ((up, down, fu, fd), (down, up, fd, fu)):
            names.append(filter_name("float", form, SIGNS_NONE, last=False))
    for up, down in ((2, 2), (3, 2)):
        names.append(f"filtered_lrelu_radial<float, {up}, {down}, {SIGNS_WRITE}>")
        for factors in ((up, down), (down, up)):
            names.append(f"filtered_lrelu_radial<float, {factors[0]}, {factors[1]}, {SIGNS_READ}>")
    names.append(f"filtered_lrelu_radial<half_t, 2, 2, {SIGNS_READ}>")
    for up, down in ((1, 1), (2, 2)):
        names.append(f"filtered_lrelu_radial<float, {up}, {down}, {SIGNS_NONE}>")
    return tuple(dict.fromkeys(names))


def _bias_lrelu() -> tuple[str, ...]:
    forms = [
        f"{scalar}, {vector}, {last}"
        for scalar, size in SCALARS.items()
        for vector in (1, 16 // size)
        for last in ("true", "false")
    ]
    return (
        *(f"bias_lrelu<{form}, {given}>" for form in forms for given in ("false", "true")),
        *(f"bias_lrelu_backward<{form}>" for form in forms),
    )


INSTANCES: dict[str, tuple[str, ...]] = {
    "bias_lrelu": _bias_lrelu(),
    "filtered_lrelu": _filtered_lrelu(),
    "filtered_lrelu_mma": tuple(
        f"filtered_lrelu_mma<{scalar}, {mode}>"
        for scalar in ("half_t", "bfloat_t")
        for mode in MODES
    ),
    "fourier_features": (
        "fourier_table",
        *(f"fourier_mix<{s}>" for s in SCALARS),
        *(f"fourier_mix_backward<{s}>" for s in SCALARS),
    ),
    "feature_grid": (
        *(f"feature_grid_forward<{s}, {v}>" for s in SCALARS for v in (1, 2, 4)),
        "feature_grid_scatter",
        "feature_grid_corners",
        "feature_grid_gather",
    ),
    "resample": (
        "resample_taps",
        *(f"resample_forward<{s}, {s}, {group}>" for s in SCALARS for group in (1, 3)),
        *(f"resample_forward<unsigned char, float, {group}>" for group in (1, 3)),
        *(f"resample_backward<{s}, {group}>" for s in SCALARS for group in (1, 3)),
    ),
    "tile_to_rgba8": tuple(f"tile_to_rgba8<{s}>" for s in SCALARS),
}
"""Names by source, as `kernels._cuda.Kernel` has them."""

EVERYWHERE: dict[str, tuple[str, ...]] = {
    **INSTANCES,
    "filtered_lrelu": PRESETS,
    "filtered_lrelu_mma": (
        f"filtered_lrelu_mma<half_t, {SIGNS_WRITE}>",
        f"filtered_lrelu_mma<bfloat_t, {SIGNS_READ}>",
    ),
    "bias_lrelu": INSTANCES["bias_lrelu"][::5],
}
"""What is compiled to machine code for every GPU; of the large sources the rest for one."""
