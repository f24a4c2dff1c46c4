"""What training would cost on this machine: memory, disk and time of each preset.

Sizes are counted from the networks as the preset builds them for this data. The laptop preset's
time is that of a few real steps; that of the larger ones is their arithmetic over the speed of a
convolution of their width, measured here, times `_OVERHEAD`.
"""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from model.data.report import REFERENCE_KIMG, PresetCost
from model.discriminator import Discriminator
from model.generator import Generator
from model.placement.mosaic import composed_level
from model.precision import training_dtype
from model.presets import PRESETS, Preset
from model.scale import density
from model.space import Window
from model.trainer import Trainer
from model.training_data import Reals, Truth

TRIAL_PRESET = "laptop"
TRIAL_METHOD = "memory estimated, sizes counted, speed timed in a few real training steps"
COUNT_METHOD = (
    "memory estimated, sizes counted, speed from the count of operations and a convolution timed "
    "here; right within a factor of 2"
)
NO_TRIAL_METHOD = "memory estimated, sizes counted, speed not measured (--quick)"
_OVERHEAD = 2.0
"""Time of a step over the time of its convolutions."""
_BASE_BYTES = 400 << 20
"""The program with torch, before a network is made."""
_D_PASSES = 13.0
"""Discriminator forwards that one judged window costs, penalties and gradients included."""
_COMPOSED_BYTES = 21.0
"""Of a pixel of the picture that patches make, while it is composed: sums, colours, cover."""
_CODED_BYTES = 0.5
"""Of a pixel of the base layer at its best quality; it depends on the picture."""
_PREVIEW_BYTES = 80_000
_TRIAL_GROUP = 4


@dataclass(frozen=True)
class Machine:
    """What was measured of this machine; the same object gives the same predictions."""

    device: str
    available_bytes: int | None
    """Memory that is free; None: unknown."""
    trial_seconds: float | None
    """Of one window with the laptop preset, mean over a run; None: not measured."""
    conv_flops: tuple[tuple[str, float], ...] = ()
    """Preset, and operations a second of a convolution of its width."""


@dataclass(frozen=True)
class PhotographSizes:
    """Of photographs that are placed and cut into patches of any size."""

    total_px: float
    """Pixels of all together."""
    side_px: float
    """The largest shorter side: what the picture has at least."""


def measure_machine(
    device: str = "auto", trial: bool = True, check: Callable[[], object] = lambda: None
) -> Machine:
    """Time a few training steps and convolutions, some seconds in all.

    `check` is called between them; whatever it raises cancels.
    """
    from model.opening import resolve_device

    where = resolve_device(device)
    if not trial:
        return Machine(where.type, _available_bytes(where), None)
    rates = []
    for name, preset in PRESETS.items():
        check()
        rates.append((name, _conv_rate(preset, where)))
    return Machine(where.type, _available_bytes(where), _trial(where, check), tuple(rates))


def predict_costs(
    machine: Machine,
    field_size: tuple[float, float],
    level_range: tuple[float, float],
    num_patches: int = 0,
    check: Callable[[], object] = lambda: None,
    *,
    composed: bool = False,
    photographs: PhotographSizes | None = None,
) -> tuple[PresetCost, ...]:
    """The costs of every preset for a scene of this field and these levels.

    Args:
        machine: Where it would be trained.
        field_size: Width and height; of patches without places nobody knows it.
        level_range: Octaves.
        num_patches: Held in memory while training; a large image is not.
        check: Called before each preset; whatever it raises cancels.
        composed: Whether a picture is made of the patches.
        photographs: Says how many patches there are and how fine, in place of the arguments above.
    """
    costs = []
    for name, preset in PRESETS.items():
        check()
        side = preset.generator.patch_size
        low, high = level_range
        if photographs is not None:
            low, high = 0.0, math.log2(photographs.side_px / side)
            num_patches = math.ceil(photographs.total_px / side**2)
        fitted = preset.for_field(field_size, (low, max(high, low + 1)))
        made = 0.0
        if composed or photographs is not None:
            made = math.prod(field_size) * density(composed_level(high), side) ** 2
        costs.append(_predict(name, fitted, machine, num_patches, made))
    return tuple(costs)


def _predict(
    name: str, preset: Preset, machine: Machine, num_patches: int, composed_px: float
) -> PresetCost:
    work = _work(preset, training_dtype(torch.device(machine.device)))
    network, critic = work.num_network, work.num_discriminator
    group = preset.train.group_size
    pixels, coded = _base_layer(preset)
    # Weights, average, gradient and two moments; a picture and its halvings, 3 bytes a pixel.
    held = 4 * (5 * network + 4 * critic) + 4 * pixels
    # Measured on a CPU: laptop 0.88 GB of 0.9 predicted, studio 3.4 of 4.2.
    active = group * (work.saved_bytes + 2 * work.critic_saved_bytes)
    data = num_patches * 3 * preset.generator.patch_size**2
    memory = held + active + data
    if composed_px and machine.device == "cpu":  # elsewhere it is not the memory that is asked for
        memory = max(memory, 2 * data + _COMPOSED_BYTES * composed_px)
    seconds, method = _seconds(name, preset, work, machine)
    return PresetCost(
        preset=name,
        patch_size=preset.generator.patch_size,
        device=machine.device,
        memory_bytes=int(_BASE_BYTES + memory),
        checkpoint_bytes=int(coded) + 2 * network + _PREVIEW_BYTES,
        state_bytes=4 * (4 * network + 3 * critic) + 2 * int(coded),
        windows_per_second=None if seconds is None else 1 / seconds,
        hours=None if seconds is None else REFERENCE_KIMG * 1000 * seconds / 3600,
        budget_minutes=preset.train.minutes,
        method=method,
    )


def _seconds(name: str, preset: Preset, work: _Work, machine: Machine) -> tuple[float | None, str]:
    """Seconds of one window, and how that is known."""
    if machine.trial_seconds is None:
        return None, NO_TRIAL_METHOD
    if name == TRIAL_PRESET:
        return machine.trial_seconds, TRIAL_METHOD
    judged = _judged_share(preset)
    flops = 3 * work.generator_flops + judged * _D_PASSES * work.discriminator_flops
    return _OVERHEAD * flops / dict(machine.conv_flops)[name], COUNT_METHOD


def _base_layer(preset: Preset) -> tuple[float, float]:
    """Pixels of the picture that is remembered, and bytes of it in a file."""
    config = preset.generator
    if config.base is None:
        return 0.0, 0.0
    pixels = config.base.density**2 * config.field_size[0] * config.field_size[1]
    return pixels, min(config.base.max_bytes, _CODED_BYTES * pixels)


def _judged_share(preset: Preset) -> float:
    """Share of all windows that the discriminator sees: three in four of its part of the run."""
    return 0.75 * (1 - preset.train.adversarial_start)


@dataclass(frozen=True)
class _Work:
    """What one window costs, and how many weights there are."""

    num_network: int
    num_discriminator: int
    generator_flops: float
    discriminator_flops: float
    saved_bytes: float
    """Kept by the generator's forward for its backward."""
    critic_saved_bytes: float


@functools.lru_cache(maxsize=8)
def _work(preset: Preset, dtype: torch.dtype) -> _Work:
    config = preset.generator
    generator = Generator(config)
    critic = Discriminator(preset.discriminator, config.patch_size, config.level_range)
    z = torch.zeros(1, config.z_dim) if config.z_dim else None
    level = sum(config.level_range) / 2
    # Spans grow linearly with the window, so that all sums are quadratic: small windows suffice.
    sizes = [generator.alignment * k for k in (1, 2, 3)]

    def render(size: int) -> None:
        generator([Window((0.0, 0.0), level, size, size)], z, dtype)

    traced = [_traced(lambda s=size: render(s)) for size in sizes]  # type: ignore[misc]
    flops, saved = (_extrapolated(sizes, [t[k] for t in traced], config.patch_size) for k in (0, 1))
    images = torch.zeros(1, 3, config.patch_size, config.patch_size)
    d_flops, d_saved = _traced(lambda: critic(images, torch.tensor([level])))
    return _Work(_num(generator), _num(critic), flops, d_flops, saved, d_saved)


def _num(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _extrapolated(sizes: list[int], values: list[float], size: int) -> float:
    """The parabola through three points, at `size`."""
    return float(np.polyval(np.polyfit(sizes, values, 2), size))


class _CountOnly(TorchDispatchMode):  # type: ignore[misc]  # torch is not followed
    """Counts the operations of products and convolutions, and leaves them out."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        count = flop_registry.get(func._overloadpacket)
        if count is None:
            return func(*args, **kwargs)
        out = func(*map(_shape_only, args), **{k: _shape_only(v) for k, v in kwargs.items()})
        self.flops += count(*args, **kwargs, out_val=out)
        return torch.zeros_like(out, device="cpu")


def _shape_only(value: Any) -> Any:
    return value.to("meta") if isinstance(value, torch.Tensor) else value


def _traced(job: Callable[[], None]) -> tuple[float, float]:
    """Operations of `job`'s products, and bytes that it keeps for a backward pass."""
    kept: dict[int, torch.UntypedStorage] = {}  # alive, so that no address comes twice

    def pack(tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage

    mode = _CountOnly()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda _: torch.empty(0)), mode:
        job()
    return float(mode.flops), float(sum(s.nbytes() for s in kept.values()))


class _PlainData:
    """Noise in place of a registered picture: its cost hardly counts."""

    field_size = (1.0, 1.0)
    level_range = (0.0, 8.0)
    is_registered = True

    def truth(self, windows: Sequence[Window]) -> Truth:
        """Noise."""
        first = windows[0]
        return Truth(torch.rand(len(windows), 3, first.height, first.width) * 2 - 1, None)

    def reals(self, level: float, count: int, rng: np.random.Generator) -> Reals | None:
        """None: the truth serves."""
        return None

    def level_near(self, level: float) -> float:
        """Every level is there."""
        return level


def _trial(device: torch.device, check: Callable[[], object]) -> float:
    """Seconds of one window with the laptop preset, mean over a whole run."""
    preset = PRESETS[TRIAL_PRESET]
    train = replace(
        preset.train, minutes=1e9, group_size=_TRIAL_GROUP, groups=1, adversarial_start=1.0
    )
    loss = replace(preset.loss, adversarial_from=-2.0, adversarial_full=-1.0)
    trainer = Trainer(preset.generator, preset.discriminator, loss, train, _PlainData(), device)
    plain = _timed(trainer, 2, check)
    trainer.train = replace(train, adversarial_start=0.0)
    judged = _timed(trainer, loss.penalty_interval, check)
    share = _judged_share(preset)
    return (plain * (1 - share) + judged * share) / _TRIAL_GROUP


def _timed(trainer: Trainer, steps: int, check: Callable[[], object]) -> float:
    """Mean seconds of a step, after one that is not counted."""
    trainer.step()
    seconds = 0.0
    for _ in range(steps):
        check()
        seconds += trainer.step().seconds
    return seconds / steps


def _conv_rate(preset: Preset, device: torch.device) -> float:
    """Operations a second, forward and backward, of a convolution of the preset's width."""
    width, size = preset.generator.widths[-2], 64
    kind: dict[str, Any] = {"device": device, "dtype": training_dtype(device)}
    x = torch.randn(1, width, size, size, **kind)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_(True)
    weight = torch.randn(width, width, 3, 3, **kind).requires_grad_(True)
    best = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        F.conv2d(x, weight).sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - begin)
    return 3 * 2 * 9 * width**2 * (size - 2) ** 2 / best


def _available_bytes(device: torch.device) -> int | None:
    """Free memory: of the GPU, or of the machine where the system tells."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None
