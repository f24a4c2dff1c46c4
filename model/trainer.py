"""Training as a unit of work, `Trainer.step()`: pause, stop and snapshot are checks between."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from model.allocator import bound_memory
from model.augment import Augmentation, draw_augmentation
from model.band_moments import BandMoments
from model.breathing import breathe_between_layers
from model.config import DiscriminatorConfig, GeneratorConfig, LossConfig, TrainConfig
from model.consistency import coarser_windows, draw_near_octaves, draw_octaves, scale_consistency
from model.discriminator import Discriminator
from model.distributed import Ranks
from model.ema import update_ema
from model.generator import Generator, Synthesize
from model.graphs import Graphs, Run, Tensors, plainly
from model.losses import (
    discriminator_loss,
    diversity,
    generator_loss,
    gradient_penalty,
    ramp,
    reconstruction,
)
from model.marginals import Marginals
from model.out_of_memory import free_cached
from model.precision import training_dtype
from model.sampling import LevelShare, draw_level, draw_windows, scheduled_shares
from model.space import Window
from model.synthesis_graphs import SynthesisGraphs
from model.training_data import Reals, TrainingData


@dataclass(frozen=True)
class TrainingStatus:
    """What one step reports."""

    step: int
    cur_nimg: int
    """Windows seen."""
    fraction: float
    """Share of the budget that is used, 0 to 1."""
    adversarial: bool
    """Whether the discriminator speaks yet."""
    losses: dict[str, float]
    """Means of the step's groups, by name."""
    seconds: float
    """Duration of the step."""


_COUNTERS = (
    "step_count",
    "cur_nimg",
    "d_steps",
    "elapsed",
    "adversarial_rms",
    "gradient_mean",
    "rate_factor",
    "finest",
)
_LEAST_OCTAVES = 1 / 64
_RECORDED_RESIDUES = 2
"""Of places of windows modulo the generator's alignment, on each axis."""
_MOMENTS_OVER = 0.05
"""Share of the run over which the contrast term comes in, where that is not from the start."""
_SLEPT = 100.0
"""A step that took so many times the usual was none: the machine slept, or the process stood."""
_GRADIENT_JUMP, _GRADIENT_STEPS = 100.0, 50
"""A gradient so many times the usual, once the usual is known, is no step of training."""


class Diverged(Exception):
    """A loss or a gradient became infinite, NaN or absurd; the message says at which step."""


class Trainer:
    """Networks, averages and optimisers of one run.

    Args:
        generator: Configuration of the generator.
        discriminator: Of the discriminator.
        loss: Weights and levels of the loss terms.
        train: Rates, batch and budget.
        data: What is learned; which loss terms speak follows from what it knows.
        device: Where it runs; None: the CPU.
        dtype: Of the networks' convolutions; None: see `training_dtype`. Gradient penalties are
            taken in float32.
        ranks: The processes that share every group.

    Raises:
        ValueError: The processes cannot share a group evenly.
    """

    def __init__(
        self,
        generator: GeneratorConfig,
        discriminator: DiscriminatorConfig,
        loss: LossConfig,
        train: TrainConfig,
        data: TrainingData,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        ranks: Ranks = Ranks(),  # noqa: B008 - frozen
    ) -> None:
        bound_memory()
        self.ranks = ranks
        ranks.part(train.group_size)
        self.device = device or torch.device("cpu")
        self.generator_config, self.loss, self.train, self.data = generator, loss, train, data
        self.dtype = dtype or training_dtype(self.device)
        self.G = Generator(generator, train.seed).to(self.device)
        self.D = Discriminator(
            discriminator, generator.patch_size, generator.level_range, train.seed + 1
        ).to(self.device)
        self.G_ema = copy.deepcopy(self.G).requires_grad_(False)
        self.moments = BandMoments(generator.level_range, generator.patch_size).to(self.device)
        self.marginals: Marginals | None = None
        if loss.marginals_weight:
            self.marginals = Marginals(
                generator.level_range, generator.patch_size, loss.marginals_energies
            ).to(self.device)
        self.rng = np.random.default_rng(train.seed)
        self.step_count = self.cur_nimg = self.d_steps = 0
        self.elapsed = self._usual_s = 0.0
        self.adversarial_rms = self.gradient_mean = 0.0
        self.rate_factor = 1.0
        """On all learning rates; a run lowers it when it had to go back."""
        self.finest = generator.level_range[1]
        """Registered data: no level beyond it is drawn, octaves; a run raises it as data come."""
        self.breathe: Callable[[], float] = lambda: 0.0
        """Called many times within a step, a few milliseconds apart on two cores: may wait, for
        whoever needs the cores more. Returns the seconds that it waited, which do not count as
        training."""
        self._waited_s = 0.0
        # On a GPU on a stream of its own: see `CudaRecorder`.
        self._stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        self._graphs = None if self._stream is None else Graphs()
        self._run: Run = plainly if self._graphs is None else self._graphs.run
        self._synthesize: dict[str, Synthesize] = {}
        """On a GPU, by role: two results of a group are differentiated, one after the other."""
        if self._graphs is not None:
            for role in ("group", "coarser"):
                self._synthesize[role] = SynthesisGraphs(self.G, self._graphs, role)
        self._make_optimizers()
        for network in (self.G, self.D):  # the average was copied from a network without hooks
            breathe_between_layers(network, self.give_way)

    def _make_optimizers(self) -> None:
        mapping = list(self.G.mapping.parameters()) if self.generator_config.z_dim else []
        held = {id(p) for p in mapping}
        network: list[dict[str, Any]] = [
            {"params": [p for p in self.G.parameters() if id(p) not in held], "share": 1.0}
        ]
        if mapping:
            # In the network's own order, which a resumable state counts on.
            network.insert(0, {"params": mapping, "share": self.train.mapping_lr_share})
        self.opt_G = torch.optim.Adam(network, lr=1e-3, betas=(0.0, 0.99), fused=True)
        self.opt_D = torch.optim.Adam(
            self.D.parameters(), lr=self.train.discriminator_lr, betas=(0.0, 0.99), fused=True
        )

    @property
    def fraction(self) -> float:
        """Share of the budget that is used, 0 to 1."""
        shares = [self.elapsed / (60 * self.train.minutes)] if self.train.kimg is None else []
        if self.train.kimg is not None:
            shares.append(self.cur_nimg / (1000 * self.train.kimg))
        return min(max(shares), 1.0)

    @property
    def finished(self) -> bool:
        return self.fraction >= 1

    def free_memory(self) -> None:
        """Give back what is only kept to be quicker, and gradients that were begun."""
        for network in (self.G, self.D):
            network.zero_grad(set_to_none=True)
        if self._graphs is not None:
            self._graphs.forget()
        free_cached()

    def give_way(self) -> None:
        """Wait where somebody needs the cores more; see `breathe`."""
        if self.device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            return  # soon done, and a recording must not be left open
        self._waited_s += self.breathe()

    @property
    def waited_s(self) -> float:
        """Seconds that `breathe` has waited, in all."""
        return self._waited_s

    def step(self) -> TrainingStatus:
        """One update of every network, from `train.groups` groups of windows.

        Raises:
            Diverged: A loss is not finite. The generator's weights are those before the step; what
                judges it is not.
        """
        if self._stream is None:
            return self._step()
        here = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(here)
        try:
            with torch.cuda.stream(self._stream):
                return self._step()
        finally:
            here.wait_stream(self._stream)

    def _step(self) -> TrainingStatus:
        began, waited = time.perf_counter(), self._waited_s
        adversarial = not self.data.is_registered or self.fraction >= self.train.adversarial_start
        self._set_rates(adversarial)
        sums: dict[str, list[float]] = {}
        self.opt_G.zero_grad(set_to_none=True)
        for _ in range(self.train.groups):
            self.give_way()
            level = self.data.level_near(draw_level(self._shares(adversarial), self.rng))
            for name, value in self._group(level, adversarial).items():
                sums.setdefault(name, []).append(value)
        losses = self.ranks.average({n: float(np.mean(values)) for n, values in sums.items()})
        bad = [name for name, value in losses.items() if not math.isfinite(value)]
        if bad:
            raise Diverged(f"{', '.join(bad)} is not finite at step {self.step_count}.")
        self.ranks.average_gradients(self.G.parameters())
        losses["gradient"] = self._checked_gradient()
        self.give_way()
        self.opt_G.step()
        count = self.images_per_step
        # A short average at first: it must not remember the untrained weights.
        halflife = min(self.train.ema_halflife_kimg, self.cur_nimg / 1000 * 0.1)
        update_ema(self.G_ema, self.G, count, halflife, self.give_way)
        self.step_count += 1
        self.cur_nimg += count
        # The schedules run over this: all ranks must agree on it.
        worked = time.perf_counter() - began - (self._waited_s - waited)
        seconds = self._awake(self.ranks.average({"seconds": worked})["seconds"])
        self.elapsed += seconds
        return TrainingStatus(
            self.step_count, self.cur_nimg, self.fraction, adversarial, losses, seconds
        )

    def _awake(self, seconds: float) -> float:
        """Duration of a step, s, without what the machine slept meanwhile."""
        if self._usual_s and seconds > _SLEPT * self._usual_s:
            return self._usual_s
        self._usual_s = 0.9 * self._usual_s + 0.1 * seconds if self._usual_s else seconds
        return seconds

    def _checked_gradient(self) -> float:
        """Norm of the network's gradient.

        Raises:
            Diverged: It is not finite, or far beyond what it has been.
        """
        grads = [p.grad for g in self.opt_G.param_groups for p in g["params"] if p.grad is not None]
        norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads))))
        known = self.step_count >= _GRADIENT_STEPS and self.gradient_mean > 0
        if not math.isfinite(norm) or (known and norm > _GRADIENT_JUMP * self.gradient_mean):
            raise Diverged(
                f"the gradient is {norm:.3g} at step {self.step_count}, "
                f"{self.gradient_mean:.3g} until now."
            )
        keep = min(0.98, self.step_count / (self.step_count + 1))
        self.gradient_mean = keep * self.gradient_mean + (1 - keep) * norm
        return norm

    def _set_rates(self, adversarial: bool) -> None:
        """Rates of this step: a warm-up, then level, then a fall."""
        t = self.train
        rise = min(1.0, (self.step_count + 1) / t.warm_up_steps) * self.rate_factor
        fall = 0.05 + 0.95 * ramp(self.fraction, 1.0, t.fall_from)
        rate = t.adversarial_generator_lr if adversarial else t.generator_lr
        if not adversarial and t.adversarial_start < 1:
            late = ramp(self.fraction, 0.8 * t.adversarial_start, t.adversarial_start)
            rate *= (t.adversarial_generator_lr / t.generator_lr) ** late
        for group in self.opt_G.param_groups:
            group["lr"] = rate * rise * fall * group["share"]
            # Momentum helps a fixed target and harms a moving one.
            group["betas"] = (0.0 if adversarial else 0.9, 0.99)
        for group in self.opt_D.param_groups:
            group["lr"] = t.discriminator_lr * fall * self.rate_factor

    def _shares(self, adversarial: bool) -> tuple[LevelShare, ...]:
        """Where groups come from: what is remembered, and what is invented."""
        t = self.train
        low, high = self.generator_config.level_range
        if not self.data.is_registered:
            return scheduled_shares(
                (low, high), self.fraction, t.coarse_first, t.coarse_until, t.whole_share
            )
        high = min(high, self.finest)
        remembered = min(self.loss.remembered_level + 0.5, high)
        if remembered <= low:
            return (LevelShare(low, high, 1.0),)
        middle = low + 0.6 * (remembered - low)
        fine = 0.6 if adversarial else 0.3
        shares = [
            LevelShare(low, middle, 0.4 * (1 - fine)),
            LevelShare(middle, remembered, 0.6 * (1 - fine)),
        ]
        if high > remembered:
            shares.append(LevelShare(remembered, high, fine))
        return tuple(shares)

    def _group(self, level: float, adversarial: bool) -> dict[str, float]:
        """Forward and backward of one group; gradients add up in the generator."""
        t, config = self.train, self.generator_config
        windows = draw_windows(
            level,
            t.group_size,
            config.patch_size,
            config.field_size,
            self.G.alignment,
            self.rng,
            # Recorded graphs are kept by it.
            None if self._graphs is None else _RECORDED_RESIDUES,
        )[self._mine]
        z = self._latents()
        speaks = 1.0
        if self.data.is_registered:
            speaks = ramp(level, self.loss.adversarial_from, self.loss.adversarial_full)
        gen_img = self.G(windows, z, self.dtype, synthesize=self._synthesize.get("group"))
        grad_img = torch.zeros_like(gen_img)
        losses: dict[str, torch.Tensor] = {}
        reals: Reals | None = None
        if self.data.is_registered:
            grad_img, losses["reconstruction"], reals = self._reconstruction(
                windows, gen_img, level
            )
        if adversarial and speaks > 0:
            reals = self._reals(level) or reals
            assert reals is not None, "data without places has real patches"
            levels = torch.full((len(windows),), level, device=self.device)
            weight = speaks * (self.loss.adversarial_weight if self.data.is_registered else 1.0)
            held, octaves = weight * self._held, self._invented_octaves(level)
            if held * self.loss.moments_weight:
                grad_mom, losses["contrast"] = self.moments.pull(
                    reals.images, gen_img, level, self.ranks, self._run, octaves
                )
                grad_img = grad_img + held * self.loss.moments_weight * grad_mom
            if held and self.marginals is not None:
                grad_mar, losses["marginals"] = self.marginals.pull(
                    reals.images, gen_img, level, self.rng, self.ranks, octaves
                )
                grad_img = grad_img + held * self.loss.marginals_weight * grad_mar
            if z is not None:
                losses["diversity"] = gen_img.new_tensor(diversity(gen_img.detach(), reals.images))
            augment, view = self._augmentation(), self.D.view(gen_img.detach())
            reals = Reals(augment(self.D.view(reals.images)), reals.levels)
            losses |= self._discriminator_step(reals, augment(view), levels)
            grad_adv, losses["adversarial"] = self._adversarial_gradient(
                reals, view, levels, augment
            )
            grad_img = grad_img + weight * self.loss.discriminator_weight * grad_adv
        if adversarial and speaks > 0:
            grad_con, loss_con = self._consistency(windows, z, gen_img, speaks)
            grad_img = grad_img + grad_con
            losses |= loss_con
        gen_img.backward(grad_img / (grad_img.numel() * t.groups))
        return _numbers(losses)

    def _invented_octaves(self, level: float) -> int | None:
        """Octaves of a window that are invented there, finest first; None: all.

        What is remembered lies where the picture has it. Other windows would pull it elsewhere.
        """
        if not self.data.is_registered:
            return None
        return 1 + max(0, math.floor(level - self.loss.remembered_level))

    @property
    def _held(self) -> float:
        """How far contrast and neighbourhoods are held to real ones by now, 0 to 1."""
        start = self.loss.moments_start
        return ramp(self.fraction, start, start + _MOMENTS_OVER) if start else 1.0

    def _reconstruction(
        self, windows: list[Window], gen_img: torch.Tensor, level: float
    ) -> tuple[torch.Tensor, torch.Tensor, Reals]:
        """Gradient at the generator's output (of about unit power), the loss, and the truth."""
        truth = self.data.truth(windows)
        self.give_way()
        images = truth.images.to(self.device)
        known = None if truth.known is None else truth.known.to(self.device)
        leaf = gen_img.detach().requires_grad_(True)
        loss = reconstruction(leaf, images, level, self.loss, known)
        (grad,) = torch.autograd.grad(loss, leaf)
        reals = Reals(images, torch.full((len(windows),), level, device=self.device))
        return grad * leaf.numel(), loss.detach(), reals

    def _consistency(
        self,
        windows: list[Window],
        z: torch.Tensor | None,
        gen_img: torch.Tensor,
        speaks: float,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Gradient of the consistency with a coarser level, at `gen_img`.

        A coin decides which of the two levels gives way: both together would meet in a blur. Where
        it is the coarser one its gradient is added to the generator here, and zero is returned.
        What is remembered never gives way. `speaks` is the share of the adversarial term.
        """
        config, loss_config = self.generator_config, self.loss
        begin, weight = 0.0, loss_config.consistency_weight
        level, lowest = windows[0].level, config.level_range[0]
        if self.data.is_registered:
            begin = self.train.adversarial_start
            weight = loss_config.invented_consistency_weight * speaks
            octaves = draw_near_octaves(self.rng)
        else:
            octaves = draw_octaves(level, lowest, self.rng)
        weight *= ramp(self.fraction, begin, begin + max(loss_config.consistency_start, 1e-9))
        fine_gives_way = bool(self.rng.integers(2))
        if self.data.is_registered and level - octaves < loss_config.adversarial_full:
            fine_gives_way = True
        none = torch.zeros_like(gen_img)
        if weight == 0 or level - octaves < lowest or octaves < _LEAST_OCTAVES:
            return none, {}
        coarse_windows = coarser_windows(
            windows, octaves, config.patch_size, config.field_size, self.G.alignment
        )
        with torch.set_grad_enabled(not fine_gives_way):
            coarse_img = self.G(
                coarse_windows, z, self.dtype, synthesize=self._synthesize.get("coarser")
            )
        fine, coarse = gen_img.detach(), coarse_img.detach()
        moved = (fine if fine_gives_way else coarse).requires_grad_(True)
        loss = scale_consistency(fine, coarse, windows, coarse_windows, config.patch_size)
        if not loss.requires_grad:
            return none, {}
        (grad,) = torch.autograd.grad(loss, moved)
        grad = grad * (weight * grad.numel())
        told = {"consistency": loss.detach()}
        if fine_gives_way:
            return grad, told
        coarse_img.backward(grad / (grad.numel() * self.train.groups))
        return none, told

    def _latents(self) -> torch.Tensor | None:
        dim = self.generator_config.z_dim
        if not dim:
            return None
        z = self.rng.standard_normal((self.train.group_size, dim)).astype(np.float32)
        return torch.from_numpy(z[self._mine]).to(self.device)

    def _reals(self, level: float) -> Reals | None:
        """Patches of about `level`, where the data has any of its own."""
        reals = self.data.reals(level, self.train.group_size, self.rng)
        if reals is None:
            return None
        images, levels = reals.images[self._mine], reals.levels[self._mine]
        return Reals(images.to(self.device), levels.to(self.device))

    def _augmentation(self) -> Augmentation:
        """What the discriminator sees of one group, the real and the generated alike."""
        t, size = self.train, self.generator_config.patch_size
        return draw_augmentation(t.augment, t.group_size, size, self.rng).part(self._mine)

    def _discriminator_step(
        self, reals: Reals, gen_img: torch.Tensor, levels: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """One update of the discriminator; what it reports."""
        interval, params = self.loss.penalty_interval, list(self.D.parameters())
        is_penalised = self.d_steps % interval == 0

        def work(
            real_img: torch.Tensor,
            real_levels: torch.Tensor,
            gen_img: torch.Tensor,
            levels: torch.Tensor,
        ) -> Tensors:
            real_logits = self.D(real_img, real_levels, self.dtype)
            gen_logits = self.D(gen_img, levels, self.dtype)
            loss_D = discriminator_loss(real_logits, gen_logits, self.loss.adversarial)
            told = [loss_D.detach(), (real_logits - gen_logits).detach().mean()]
            if is_penalised:
                r1 = gradient_penalty(self.D, real_img, real_levels)
                r2 = gradient_penalty(self.D, gen_img, levels)
                penalty = self.loss.r1_gamma * r1 + self.loss.r2_gamma * r2
                loss_D = loss_D + interval / 2 * penalty
                told += [r1.detach(), r2.detach()]
            return *told, *torch.autograd.grad(loss_D, params)

        results = self._run(
            ("discriminator", is_penalised), work, [reals.images, reals.levels, gen_img, levels]
        )
        names = ("discriminator", "logit_gap", "r1", "r2")[: len(results) - len(params)]
        for param, grad in zip(params, results[len(names) :], strict=True):
            param.grad = grad
        self.ranks.average_gradients(params)
        self.opt_D.step()
        self.d_steps += 1
        return dict(zip(names, results, strict=False))

    def _adversarial_gradient(
        self, reals: Reals, view: torch.Tensor, levels: torch.Tensor, augment: Augmentation
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradient of the adversarial loss at the discriminator's view, of unit mean power.

        `reals` are views too, and augmented already; `view` is not. What the generator puts out
        is to move as the view should: through the view detail would be amplified twice, and a run
        at twice the rate drew bright crinkled edges.

        Normalised by its running RMS, so that its weight against the reconstruction means the same
        all through training. Source: ByteDance's adversarial flow models (2025), section on
        gradient normalisation.
        """

        def work(
            real_img: torch.Tensor,
            real_levels: torch.Tensor,
            gen_img: torch.Tensor,
            levels: torch.Tensor,
        ) -> Tensors:
            leaf = gen_img.requires_grad_(True)
            with torch.no_grad():
                real_logits = self.D(real_img, real_levels, self.dtype)
            gen_logits = self.D(augment(leaf), levels, self.dtype)
            loss = generator_loss(real_logits, gen_logits, self.loss.adversarial)
            (grad,) = torch.autograd.grad(loss, leaf)
            grad = grad / self.ranks.count  # as if of a mean over all ranks
            return grad, loss.detach(), grad.square().mean().sqrt()

        # Changes are drawn anew for every group: nothing to replay.
        run = plainly if self.train.augment else self._run
        inputs = [reals.images, reals.levels, view, levels]
        grad, loss, rms_here = run("adversarial", work, inputs)
        rms = self._mean_rms(float(rms_here))
        self.adversarial_rms = (
            rms if self.adversarial_rms == 0 else (0.98 * self.adversarial_rms + 0.02 * rms)
        )
        return grad / max(self.adversarial_rms, 1e-12), loss

    def _mean_rms(self, rms: float) -> float:
        """The root of the mean square over all ranks."""
        if self.ranks.count == 1:
            return rms
        return math.sqrt(self.ranks.average({"square": rms**2})["square"])

    @property
    def _mine(self) -> slice:
        """This process's share of a group."""
        return self.ranks.part(self.train.group_size)

    @property
    def images_per_step(self) -> int:
        """Windows that one step sees."""
        return self.train.groups * self.train.group_size

    def modules(self) -> dict[str, nn.Module]:
        """The networks, and what else holds tensors, by name, as a resumable state holds them."""
        modules = {"G": self.G, "G_ema": self.G_ema, "D": self.D, "moments": self.moments}
        return modules if self.marginals is None else modules | {"marginals": self.marginals}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers by name, as a resumable state holds them."""
        return {"opt_G": self.opt_G, "opt_D": self.opt_D}

    def counters(self) -> dict[str, float]:
        """Plain numbers that belong to a resumable state."""
        return {name: getattr(self, name) for name in _COUNTERS}

    def restore_counters(self, counters: dict[str, float]) -> None:
        """Set what `counters` returned."""
        for name in _COUNTERS:
            # States of earlier versions lack the later counters.
            setattr(self, name, counters.get(name, getattr(self, name)))


def _numbers(losses: dict[str, torch.Tensor]) -> dict[str, float]:
    """Plain numbers; a GPU is waited for once."""
    if not losses:
        return {}
    values = torch.stack([loss.float() for loss in losses.values()])
    return dict(zip(losses, values.tolist(), strict=True))
