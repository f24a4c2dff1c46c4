"""A training run as a folder: configuration, log, samples, checkpoint, resumable state.

Every file is written under a temporary name and moved into place, so a kill at any instant leaves
the files of the last save.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from model.base_layer import BaseLayer
from model.best_so_far import BEST, BEST_DISCRIMINATOR, DISTANCE, BestSoFar
from model.breathing import copy_of
from model.checkpoints import (
    discriminator_beside,
    header_of,
    render_preview,
    save_checkpoint,
    save_discriminator,
    save_tensors,
)
from model.config import (
    DiscriminatorConfig,
    GeneratorConfig,
    LossConfig,
    TrainConfig,
    from_dict,
    to_dict,
)
from model.discriminator import Discriminator
from model.distributed import Ranks
from model.events import FOLDER as EVENTS
from model.generator import Generator
from model.generator_space import GeneratorSpace
from model.header import CheckpointHeader
from model.out_of_memory import free_cached, is_out_of_memory
from model.placement.frame import FRAME
from model.placement.places_csv import state_path
from model.precision import choose_dtype
from model.presets import Preset
from model.run_files import CHECKPOINT, CONFIG, LOCK, LOG, STATE
from model.sample_distance import SampleDistance
from model.samples import save_samples
from model.scale import density
from model.space import ScaleSpace
from model.tone import even_tone
from model.trainer import Diverged, Trainer, TrainingStatus
from model.training_data import RunData
from model.training_sets import MOSAIC, PLACES, PYRAMID
from model.training_stages import STAGES

if TYPE_CHECKING:
    from model.training_stages import Placing

DISCRIMINATOR = discriminator_beside(CHECKPOINT).name
TICK_STEPS = 20
RECOVERIES = 5
"""Times that a run goes back to its last good state, each at half the rates, before it gives up."""

MOST_SHOWING = 0.02
"""Share of the time that may go into checkpoints and samples between the first and the last."""


@dataclass(frozen=True)
class RunTick:
    """One line of the log."""

    step: int
    kimg: float
    minutes: float
    fraction: float
    images_per_second: float
    losses: dict[str, float]
    note: str = ""
    """What happened that one should know."""
    distances: dict[str, float] = field(default_factory=dict)
    """By octave, see `SampleDistance`; only where samples were saved since."""


def save_config(folder: Path, preset: Preset, data: dict[str, Any]) -> None:
    """Write `config.json` of a new run."""
    fields = {
        "generator": to_dict(preset.generator),
        "discriminator": to_dict(preset.discriminator),
        "loss": to_dict(preset.loss),
        "train": to_dict(preset.train),
        "data": data,
    }
    _write_text(folder / CONFIG, json.dumps(fields, indent=1))


def load_config(folder: Path) -> tuple[Preset, dict[str, Any]]:
    """The preset and data description of an existing run.

    Raises:
        ValueError: The folder holds no run, a damaged one, or one of another version.
    """
    try:
        fields = json.loads((folder / CONFIG).read_text())
        preset = Preset(
            from_dict(GeneratorConfig, fields["generator"]),
            from_dict(DiscriminatorConfig, fields["discriminator"]),
            from_dict(LossConfig, fields["loss"]),
            from_dict(TrainConfig, fields["train"]),
        )
        return preset, dict(fields["data"])
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{folder} holds no training run that can be resumed ({error})."
        ) from error
    except ValueError as error:
        raise ValueError(
            f"{folder / CONFIG} does not fit this version ({error}); start a new run, or go on "
            "with the version that began this one."
        ) from error


class Run:
    """A trainer and its folder.

    Args:
        folder: Created where it is missing.
        preset: Sized for the data already.
        source: What is learned.
        data: Description of it, for the folder and the checkpoint.
        resume: Go on from the folder's saved state.
        device: Where it trains; None: the CPU.
        ranks: The processes that train it together; only the first writes into the folder.
        finest: Level up to which the truth is known yet, octaves; None: all of it. See `learn`.
        start: Whose weights a new run starts with; None: new ones, filled with the picture.
        discriminator: The discriminator that it starts with; None: a new one.
        progress: Called with the share of the picture that is remembered; whatever it raises
            cancels.

    Raises:
        ValueError: A new run was asked for and the folder holds one, or there is nothing to resume.
    """

    def __init__(
        self,
        folder: Path,
        preset: Preset,
        source: RunData,
        data: dict[str, Any],
        resume: bool = False,
        device: torch.device | None = None,
        ranks: Ranks = Ranks(),  # noqa: B008 - frozen
        finest: float | None = None,
        start: Generator | None = None,
        discriminator: Discriminator | None = None,
        progress: Callable[[float], None] = lambda fraction: None,
    ) -> None:
        self.folder, self.preset, self.source, self.data = folder, preset, source, data
        self.placing: Placing | None = None
        """What goes on to find places while this trains; None: all is known."""
        self._finest = preset.generator.level_range[1]
        if finest is not None:
            self._finest = min(finest, self._finest)
        self._note = ""
        self.distances: dict[str, float] = {}
        """By octave, of the newest samples: see `SampleDistance`."""
        self._untold: dict[str, float] = {}
        self._sample_distance: SampleDistance | None = None
        """Made with the first samples of some data."""
        self._best = BestSoFar(folder)
        self._show_from = 0.0
        check_folder(folder, resume)
        (folder / "samples").mkdir(parents=True, exist_ok=True)
        self.trainer = Trainer(
            preset.generator,
            preset.discriminator,
            preset.loss,
            preset.train,
            source,
            device,
            ranks=ranks,
        )
        if resume:
            load_state(folder / STATE, self.trainer)
            self._catch_up()
        else:
            self.trainer.finest = self._finest
            if start is not None:
                for network in (self.trainer.G, self.trainer.G_ema):
                    network.load_state_dict(start.state_dict())
                if discriminator is not None:
                    self.trainer.D.load_state_dict(discriminator.state_dict())
            elif source.picture is not None:
                self._fill_base(source.picture, progress)
        if ranks.is_first:
            save_config(folder, preset, data)  # of a run that goes on too: its budget may be new
        for module in self.trainer.modules().values():
            ranks.copy_first(module)
        ranks.wait()  # nobody looks into the folder before all have

    def learn(self, source: RunData, finest: float | None, note: str) -> RunData:
        """Go on with fuller data of the same scene; between steps.

        Args:
            source: What is learned from here on.
            finest: Level up to which its truth is known, octaves; None: all of it.
            note: What the log says of it.

        Returns:
            The data until now, for whoever opened them to close.
        """
        old, self.source, self.trainer.data = self.source, source, source
        high = self.preset.generator.level_range[1]
        self._finest = high if finest is None else min(finest, high)
        self._sample_distance = None
        self._catch_up()
        self._note = note
        return old

    def _catch_up(self) -> None:
        """Levels that the weights have not seen yet but the data know by now."""
        trainer, picture = self.trainer, self.source.picture
        if self._finest <= trainer.finest:
            return
        if picture is not None:
            self._fill_base(picture, lambda _share: trainer.give_way())
        trainer.finest = self._finest

    def _fill_base(self, picture: ScaleSpace, progress: Callable[[float], object]) -> None:
        """A base layer of all that is known by now, where the generator has any."""
        config = self.preset.generator
        if config.base is None:
            return
        known = min(config.base.density, density(self._finest, config.patch_size))
        base = BaseLayer.of(picture, known, config.base.max_bytes, progress)
        # A new one for both: snapshots of the average keep theirs.
        self.trainer.G.base = self.trainer.G_ema.base = base.to(self.trainer.device)

    def train(
        self,
        on_tick: Callable[[RunTick], None],
        should_stop: Callable[[], bool] = lambda: False,
        on_step: Callable[[TrainingStatus, str], None] = lambda status, note: None,
    ) -> None:
        """Step until the budget is used or `should_stop()`, then save. May be called again.

        Args:
            on_tick: Called every `TICK_STEPS` steps, after the log was written; in the first rank.
            should_stop: Asked between steps; may wait.
            on_step: Called after every step, with what the next tick will note.

        Raises:
            Diverged: Even after `RECOVERIES` returns to the last good state, which is still there.
            OSError: A file cannot be written; the last saved state is good.
            MemoryError: Not even one window at a time fits into memory.
        """
        is_new = not (self.folder / STATE).exists()
        if is_new and self.trainer.ranks.is_first:
            save_state(self.folder / STATE, self.trainer)  # the first step may fail
        saved = time.monotonic()
        statuses: list[TrainingStatus] = []
        recoveries = 0
        ranks = self.trainer.ranks
        while not self.trainer.finished and not ranks.any(should_stop()):
            try:
                status = self._step()
            except Diverged as error:
                recoveries += 1
                # For good too: whoever saves once more must not save what has diverged.
                self._note, statuses = self._go_back(error), []
                if recoveries > RECOVERIES:
                    raise
                continue
            if status is None:
                self._note = self._halve_groups()
                continue
            statuses.append(status)
            on_step(status, self._note)
            if len(statuses) == TICK_STEPS:
                self._tick(on_tick, statuses)
                statuses = []
            if is_new or time.monotonic() - saved > self.preset.train.autosave_seconds:
                self._autosave()  # the first time after one step: somebody may wait for that
                is_new, saved = False, time.monotonic()
        if statuses:
            self._tick(on_tick, statuses)
        if self.trainer.finished:
            self._even_tone()
        self.save()

    def _even_tone(self) -> None:
        """Of the averaged weights of a scene without places, once its budget is used."""
        is_one_scene = not (self.source.is_registered or self.preset.generator.z_dim)
        if not is_one_scene or not self.trainer.ranks.is_first:  # who alone writes files
            return
        even_tone(self.space(), self.source, self.trainer.give_way)

    def _step(self) -> TrainingStatus | None:
        """One step; None where memory did not suffice for it."""
        try:
            return self.trainer.step()
        except (RuntimeError, MemoryError) as error:
            # The other ranks are in the middle of an exchange: none can take another way.
            if self.trainer.ranks.count > 1 or not is_out_of_memory(error):
                raise
        return None

    def _halve_groups(self) -> str:
        """Half as many windows at a time in twice as many groups: the same batch; says so.

        Raises:
            MemoryError: It is one window at a time already.
        """
        trainer = self.trainer
        size = trainer.train.group_size // 2
        if size < 1:
            raise MemoryError(
                "not even one window at a time fits into memory; close what else uses it, or "
                "start with a smaller preset."
            )
        trainer.free_memory()
        # The discriminator steps once a group: twice as often, by half as much.
        trainer.train = replace(
            trainer.train,
            group_size=size,
            groups=2 * trainer.train.groups,
            discriminator_lr=trainer.train.discriminator_lr / 2,
        )
        self.preset = replace(self.preset, train=trainer.train)
        save_config(self.folder, self.preset, self.data)
        return f"Memory is full: {size} windows at a time from here on, instead of {2 * size}."

    def _go_back(self, error: Diverged) -> str:
        """The last good state again, at half the rates, with other windows; says so."""
        trainer = self.trainer
        factor, at_step = trainer.rate_factor / 2, trainer.step_count
        load_state(self.folder / STATE, trainer)
        self._catch_up()
        trainer.rate_factor = factor
        # The same draws would lead to the same place.
        trainer.rng = np.random.default_rng([self.preset.train.seed, at_step, round(1 / factor)])
        return (
            f"{error} Gone back to step {trainer.step_count}; "
            f"learning rates are {factor:g} of what was asked from here on."
        )

    def space(self) -> GeneratorSpace:
        """The averaged weights as a scale space."""
        trainer = self.trainer
        header = header_of(self.preset.generator, {}, "")
        return GeneratorSpace(
            trainer.G_ema, header, f"{self.folder.name}@{trainer.step_count}", trainer.dtype
        )

    def frozen_space(self) -> GeneratorSpace:
        """A copy of the averaged weights as a scale space, which training leaves alone."""
        space, device = self.space(), self.trainer.device
        dtype = choose_dtype(device, "auto")
        copied = copy_of(space.generator, self.trainer.give_way)
        return GeneratorSpace(copied, space.header, space.identity, dtype)

    def save(self) -> None:
        """Resumable state, checkpoint of the averaged weights, sample strip. By the first rank."""
        if not self.trainer.ranks.is_first:
            return
        save_state(self.folder / STATE, self.trainer)
        self._show()
        free_cached()  # torch would keep what the recordings of what was shown held

    def _autosave(self) -> None:
        """The resumable state; what follows from it too, where that takes little of the time."""
        if self.trainer.ranks.is_first and time.monotonic() < self._show_from:
            save_state(self.folder / STATE, self.trainer)
        else:
            self.save()

    def _show(self) -> None:
        """Checkpoint of the averaged weights, and sample strip."""
        trainer, space = self.trainer, self.space()
        began, waited = time.monotonic(), trainer.waited_s
        training = {
            "kimg": trainer.cur_nimg / 1000,
            "minutes": trainer.elapsed / 60,
            "device": str(trainer.device),
            "config": {
                "loss": to_dict(self.preset.loss),
                "train": to_dict(self.preset.train),
                "discriminator": to_dict(self.preset.discriminator),
            },
        }
        if "start" in self.data:
            training["start"] = self.data["start"]
        header = header_of(
            self.preset.generator,
            training,
            self.data.get("licence", ""),
            render_preview(space, trainer.give_way),
            self.data.get("source"),
        )
        save_checkpoint(self.folder / CHECKPOINT, trainer.G_ema, header, trainer.give_way)
        if trainer.d_steps:  # one that learned nothing would not help the next run
            save_discriminator(self.folder / DISCRIMINATOR, trainer.D, trainer.give_way)
        self._save_samples(space)
        if not self.source.is_registered:
            self._keep_best(header)
        now = time.monotonic()
        worked = now - began - (trainer.waited_s - waited)
        self._show_from = now + worked * (1 / MOST_SHOWING - 1)

    def _keep_best(self, header: CheckpointHeader) -> None:
        trainer = self.trainer

        def save(path: Path, distance: float) -> None:
            kept = replace(header, training=header.training | {DISTANCE: distance})
            save_checkpoint(path, trainer.G_ema, kept, trainer.give_way)
            save_discriminator(discriminator_beside(path), trainer.D, trainer.give_way)

        note = self._best.look(self.distances, trainer.cur_nimg / 1000, save)
        self._note = note or self._note

    def _save_samples(self, space: GeneratorSpace) -> None:
        """The strip of samples, and how far they are; of many scenes, four are generated."""
        seeds = range(4 if self.data.get("scenes", 1) > 1 else 1)
        path = self.folder / "samples" / f"step{self.trainer.step_count:07d}.jpg"
        levels, give_way = self.preset.generator.level_range, self.trainer.give_way
        save_samples(space, self.source, levels, seeds, path, give_way)
        if self._sample_distance is None:
            self._sample_distance = SampleDistance(self.source, levels, space.patch_size, give_way)
        self.distances = self._untold = self._sample_distance.measure(space, give_way)

    def _tick(self, on_tick: Callable[[RunTick], None], statuses: list[TrainingStatus]) -> None:
        note, self._note = self._note, ""
        if self.trainer.ranks.is_first:
            on_tick(self._log(statuses, note))

    def _log(self, statuses: list[TrainingStatus], note: str) -> RunTick:
        names = sorted({name for s in statuses for name in s.losses})
        last = statuses[-1]
        seconds = sum(s.seconds for s in statuses)
        tick = RunTick(
            last.step,
            last.cur_nimg / 1000,
            self.trainer.elapsed / 60,
            last.fraction,
            len(statuses) * self.trainer.images_per_step / seconds,
            {n: float(np.mean([s.losses[n] for s in statuses if n in s.losses])) for n in names},
            note,
            self._untold,
        )
        self._untold = {}
        with (self.folder / LOG).open("a") as log:
            log.write(json.dumps(tick.__dict__) + "\n")
        return tick


def save_state(path: Path, trainer: Trainer) -> None:
    """Everything that `load_state` needs to go on, as tensors and JSON in one safetensors file."""
    tensors: dict[str, torch.Tensor] = {}
    for name, module in trainer.modules().items():
        tensors |= {f"{name}/{k}": v.contiguous() for k, v in module.state_dict().items()}
    for name, optimizer in trainer.optimizers().items():
        for index, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                tensors[f"{name}/{index}/{key}"] = torch.as_tensor(value).contiguous()
    meta = {"counters": trainer.counters(), "rng": trainer.rng.bit_generator.state}
    # Three numbers a weight: between pieces of them somebody may need the cores.
    save_tensors(path, tensors, {"scalespace-state": json.dumps(meta)}, trainer.give_way)


def load_state(path: Path, trainer: Trainer) -> None:
    """Bring `trainer` to where `save_state` was called.

    Raises:
        ValueError: The file is damaged, or of a run with other networks.
    """
    try:
        with safe_open(path, "pt") as file:
            meta = json.loads(file.metadata()["scalespace-state"])
            # Copies: a file that stays mapped cannot be replaced everywhere.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        for name, module in trainer.modules().items():
            prefix = f"{name}/"
            own = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
            if name in ("moments", "marginals") and not _fits(own, module):
                continue  # earlier versions had others, or none; they are soon found again
            module.load_state_dict(own)
        for name, optimizer in trainer.optimizers().items():
            state: dict[int, dict[str, torch.Tensor]] = {}
            for key, value in tensors.items():
                if key.startswith(f"{name}/"):
                    _, index, field = key.split("/")
                    state.setdefault(int(index), {})[field] = value
            full = optimizer.state_dict()
            optimizer.load_state_dict({"state": state, "param_groups": full["param_groups"]})
            _match_layout(optimizer)
        trainer.restore_counters(meta["counters"])
        trainer.rng.bit_generator.state = meta["rng"]
    except (SafetensorError, KeyError, TypeError, RuntimeError, json.JSONDecodeError) as error:
        first = str(error).splitlines()[0]
        raise ValueError(f"{path} cannot be resumed ({first}); start a new run.") from error


def _fits(tensors: dict[str, torch.Tensor], module: nn.Module) -> bool:
    """Whether they are the state of such a module."""
    wanted = {name: tensor.shape for name, tensor in module.state_dict().items()}
    return {name: tensor.shape for name, tensor in tensors.items()} == wanted


def _match_layout(optimizer: torch.optim.Optimizer) -> None:
    """Lay every moment out as its parameter: the fused optimisers walk both in memory order."""
    for param, state in optimizer.state.items():
        for key, value in state.items():
            if value.shape == param.shape:
                state[key] = torch.empty_like(param).copy_(value)


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text)
    temporary.replace(path)


def check_folder(folder: Path, resume: bool) -> None:
    """Find out, before anything is changed in it, whether a run can begin or go on in `folder`.

    Raises:
        ValueError: It holds a run already, or none that could go on.
    """
    if not resume and (folder / STATE).exists():
        raise ValueError(
            f"{folder} already holds a run; add --resume to go on, or name a new folder."
        )
    if resume and not (folder / STATE).exists():
        raise ValueError(f"{folder} holds no saved state; leave --resume out to start.")


def remove_run(folder: Path) -> None:
    """Remove what a run wrote, and the folder where nothing else is in it.

    Raises:
        OSError: A file cannot be removed.
    """
    unfinished = state_path(Path(PLACES)).name
    names = (CONFIG, LOG, STATE, CHECKPOINT, DISCRIMINATOR, BEST, BEST_DISCRIMINATOR)
    names += (PLACES, unfinished, FRAME, MOSAIC, LOCK)
    for file in [*(folder / name for name in names), *folder.glob(".*.part")]:
        file.unlink(missing_ok=True)
    for name in ("samples", STAGES, PYRAMID, EVENTS):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
    with contextlib.suppress(OSError):
        folder.rmdir()


def with_budget(preset: Preset, minutes: float | None, kimg: float | None) -> Preset:
    """`preset` with another budget, where one is named."""
    train = preset.train
    if minutes is not None:
        train = replace(train, minutes=minutes, kimg=None)
    if kimg is not None:
        train = replace(train, kimg=kimg)
    return replace(preset, train=train)
