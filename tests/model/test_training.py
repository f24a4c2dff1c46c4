"""Training: it learns, a seed repeats it, a run resumes to the same numbers."""

from __future__ import annotations

import copy
import json
import math
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from model import runs
from model.checkpoints import discriminator_beside, load_generator_space, save_discriminator
from model.config import DiscriminatorConfig, LossConfig, TrainConfig
from model.discriminator import Discriminator
from model.header import read_header
from model.presets import PRESETS, Preset
from model.pyramid import ImagePyramid
from model.runs import CHECKPOINT, LOG, STATE, Run, RunTick, load_config
from model.sampling import LevelShare, draw_level, draw_windows
from model.space import Window
from model.trainer import Diverged, Trainer
from model.training_data import PatchData, PictureData, Truth
from model.training_setup import Recipe, close, prepare
from tests.model.small import CONFIG

TRAIN = TrainConfig(kimg=0.08, adversarial_start=0.5, group_size=4, groups=2, autosave_seconds=0.2)
LOSS = LossConfig(
    adversarial_from=2.0,
    adversarial_full=3.0,
    full_until=2.0,
    full_none_from=4.0,
    remembered_level=2.0,
)


@pytest.fixture
def pyramid(tmp_path: Path) -> ImagePyramid:
    """A picture with detail at every octave, 640 x 512."""
    rng = np.random.default_rng(0)
    picture = np.zeros((512, 640, 3))
    for octave in range(8):
        cells = rng.uniform(-1, 1, (2 + 2**octave, 2 + 2**octave, 3)).astype(np.float32)
        layers = [
            np.asarray(Image.fromarray(cells[..., c]).resize((640, 512), Image.Resampling.BICUBIC))
            for c in range(3)
        ]
        picture += np.stack(layers, 2) * 24
    path = tmp_path / "picture.png"
    Image.fromarray(np.clip(picture + 128, 0, 255).astype(np.uint8)).save(path)
    opened = ImagePyramid.open(path, patch_size=32, cache_dir=tmp_path / "cache")
    yield opened
    opened.close()


def small_preset(pyramid: ImagePyramid, train: TrainConfig = TRAIN) -> Preset:
    preset = Preset(CONFIG, DiscriminatorConfig(widths=(8, 12, 16)), LOSS, train)
    return preset.for_field(pyramid.field_size, (0.0, 4.0))


def psnr_of(run: Run, pyramid: ImagePyramid, level: float) -> float:
    rng = np.random.default_rng(9)
    windows = draw_windows(level, 8, 32, pyramid.field_size, 4, rng)
    truth = torch.cat([pyramid.render([w]) for w in windows])
    error = run.space().render(windows) - truth
    return 10 * math.log10(4 / float(error.square().mean()))


def test_learns_what_it_is_shown(pyramid: ImagePyramid, tmp_path: Path) -> None:
    train = replace(TRAIN, kimg=0.6, autosave_seconds=600)
    run = Run(tmp_path / "run", small_preset(pyramid, train), PictureData(pyramid), {})
    before = psnr_of(run, pyramid, 1.0)
    ticks: list[RunTick] = []
    run.train(ticks.append)
    assert psnr_of(run, pyramid, 1.0) > before + 2
    assert {"reconstruction", "discriminator", "adversarial", "r1", "r2"} <= ticks[-1].losses.keys()


def test_unregistered_levels_learn_texture_only_where_the_loss_says_so(
    pyramid: ImagePyramid, tmp_path: Path
) -> None:
    """Below `adversarial_from` the discriminator never sees a window."""
    trainer = Run(tmp_path / "run", small_preset(pyramid), PictureData(pyramid), {}).trainer
    assert "discriminator" not in trainer._group(1.5, adversarial=True)
    assert "discriminator" in trainer._group(3.5, adversarial=True)
    assert "discriminator" not in trainer._group(3.5, adversarial=False)


def test_what_is_invented_agrees_with_itself_and_leaves_the_picture_alone(
    pyramid: ImagePyramid, tmp_path: Path
) -> None:
    """Consistency speaks where detail is invented; the base layer is read, never taught."""
    trainer = Run(tmp_path / "run", small_preset(pyramid), PictureData(pyramid), {}).trainer
    trainer.elapsed, trainer.cur_nimg = 1e9, 60  # the consistency has come in
    base = trainer.G.base
    assert base is not None and base is trainer.G_ema.base and not list(base.parameters())
    before = {name: mip.clone() for name, mip in base.named_buffers()}

    def told(level: float) -> set[str]:
        names = set()
        for _ in range(8):  # it speaks where the coarser level is in range
            names |= trainer._group(level, adversarial=True).keys()
        return names

    assert "consistency" not in told(1.5)
    assert "consistency" in told(2.9) and "consistency" in told(3.9)
    for _ in range(3):
        trainer.step()
    assert trainer.G.base is base and len(before) > 1
    assert all(torch.equal(mip, before[name]) for name, mip in base.named_buffers())


@pytest.mark.usefixtures("no_collector")
def test_a_run_goes_at_once_with_its_networks(pyramid: ImagePyramid, tmp_path: Path) -> None:
    torch.optim.Adam([torch.zeros(1)])  # the first of a process makes a circle of torch's own
    run = Run(tmp_path / "run", small_preset(pyramid), PictureData(pyramid), {})
    run.trainer.cur_nimg = 60  # the discriminator speaks
    run.trainer.step()
    left = [weakref.ref(m) for m in (run.trainer.G, run.trainer.D, run.trainer.G_ema, run)]
    del run
    assert [held() for held in left] == [None] * 4


def test_writes_a_checkpoint_that_opens_and_a_log(pyramid: ImagePyramid, tmp_path: Path) -> None:
    data = {"licence": "CC0-1.0", "source": pyramid.source}
    run = Run(tmp_path / "run", small_preset(pyramid), PictureData(pyramid), data)
    run.train(lambda tick: None)
    header = read_header(tmp_path / "run" / CHECKPOINT)
    assert header.licence == "CC0-1.0"
    assert header.source == {"name": "picture.png", "size": [640, 512], "crop": [0, 0, 640, 512]}
    assert header.preview[:2] == b"\xff\xd8"
    assert header.training["kimg"] == pytest.approx(0.08)
    space = load_generator_space(tmp_path / "run" / CHECKPOINT, torch.device("cpu"))
    view = space.render_view((0.0, 0.0), 1.0, (80, 64))
    assert view.shape == (64, 80, 3) and view.std() > 10
    lines = [json.loads(x) for x in (tmp_path / "run" / LOG).read_text().splitlines()]
    assert lines[-1]["step"] == 10
    assert list((tmp_path / "run" / "samples").glob("*.jpg"))


def test_a_run_starts_with_the_weights_of_a_checkpoint(
    pyramid: ImagePyramid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = small_preset(pyramid)
    small = replace(small, discriminator=replace(small.discriminator, detail_gain=8.0))
    first = Run(tmp_path / "first", small, PictureData(pyramid), {})
    first.train(lambda tick: None)
    small = replace(small, generator=CONFIG)
    monkeypatch.setitem(PRESETS, "laptop", small)
    checkpoint = str(tmp_path / "first" / CHECKPOINT)
    picture, cache = str(tmp_path / "picture.png"), str(tmp_path / "cache")
    recipe = Recipe(picture, str(tmp_path / "next"), start=checkpoint, cache=cache)
    run = prepare(recipe, lambda text, fraction: None)
    assert run.trainer.train.warm_up_steps == TRAIN.warm_up_steps
    for name, tensor in first.trainer.D.state_dict().items():
        torch.testing.assert_close(run.trainer.D.state_dict()[name], tensor, rtol=1e-3, atol=1e-6)
    opened = load_generator_space(checkpoint, torch.device("cpu"))
    for network in (run.trainer.G, run.trainer.G_ema):
        for name, tensor in opened.generator.state_dict().items():
            assert torch.equal(network.state_dict()[name], tensor), name
    # What can be remembered is learned already, and paint is held to be real.
    told = [run.trainer.step() for _ in range(6)]
    assert all(status.adversarial for status in told)
    assert {"contrast", "marginals"} <= set().union(*(status.losses for status in told))
    close(run.source)
    other = replace(recipe, folder=str(tmp_path / "other"), crop=(0, 0, 300, 512))
    with pytest.raises(ValueError, match=r"has a field of 1\.25, this training .* 1\.71"):
        prepare(other, lambda text, fraction: None)


@pytest.mark.parametrize("begins", ["new", "from a checkpoint"])
def test_a_run_without_a_discriminator_learns_what_is_remembered(
    begins: str, pyramid: ImagePyramid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = small_preset(pyramid)
    start = ""
    if begins != "new":
        Run(tmp_path / "first", small, PictureData(pyramid), {}).save()
        start = str(tmp_path / "first" / CHECKPOINT)
    monkeypatch.setitem(PRESETS, "laptop", replace(small, generator=CONFIG))
    picture, cache = str(tmp_path / "picture.png"), str(tmp_path / "cache")
    folder = str(tmp_path / "twin")
    recipe = Recipe(picture, folder, start=start, cache=cache, adversarial=False)
    trainer = (run := prepare(recipe, lambda text, fraction: None)).trainer
    before = {name: tensor.clone() for name, tensor in trainer.D.state_dict().items()}
    told = []
    while not trainer.finished:
        told.append(trainer.step())
    close(run.source)
    assert len(told) == 10 and not any(status.adversarial for status in told)
    assert all(status.losses["reconstruction"] for status in told)
    assert all(torch.equal(t, before[name]) for name, t in trainer.D.state_dict().items())


@pytest.mark.parametrize("beside", [None, b"", "other", "other view"])
def test_a_new_discriminator_gets_time_to_know_weights_that_are_trained(
    beside: bytes | str | None,
    pyramid: ImagePyramid,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where none lies beside the checkpoint, or one that does not fit."""
    preset = small_preset(pyramid)
    first = Run(tmp_path / "first", preset, PictureData(pyramid), {})
    first.save()
    monkeypatch.setitem(PRESETS, "laptop", replace(preset, generator=CONFIG))
    checkpoint = tmp_path / "first" / CHECKPOINT
    file = discriminator_beside(checkpoint)
    file.unlink()
    if beside == "other":
        small = Discriminator(DiscriminatorConfig(widths=(4, 4)), 32, (0.0, 4.0))
        save_discriminator(file, small)
    elif beside == "other view":
        config = replace(preset.discriminator, detail_gain=1.0)
        save_discriminator(file, Discriminator(config, 32, (0.0, 4.0)))
    elif isinstance(beside, bytes):
        file.write_bytes(beside)
    told: list[str] = []
    recipe = Recipe(
        str(tmp_path / "picture.png"),
        str(tmp_path / "next"),
        start=str(checkpoint),
        cache=str(tmp_path / "cache"),
    )
    run = prepare(recipe, lambda text, fraction: None, told.append)
    assert [file.name in line and "A new one" in line for line in told] == [True] * (
        beside is not None
    )
    run.trainer.step()
    rate = run.trainer.train.adversarial_generator_lr
    # A step sees 8 windows: 4,000 of them.
    assert run.trainer.opt_G.param_groups[0]["lr"] == pytest.approx(rate / 500)
    close(run.source)


def test_what_the_machine_slept_uses_up_no_budget(
    pyramid: ImagePyramid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Run(tmp_path / "run", small_preset(pyramid), PictureData(pyramid), {}).trainer
    usual = max(trainer.step().seconds for _ in range(3))
    clock = iter((0.0, 8 * 3600.0))
    monkeypatch.setattr("model.trainer.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert trainer.step().seconds <= usual
    assert trainer.elapsed <= 4 * usual


def test_a_step_gives_way_many_times_and_comes_out_the_same(
    pyramid: ImagePyramid, tmp_path: Path
) -> None:
    """In every group: forth, back, in the discriminator; then in the optimisers and the average."""

    def run_of(name: str) -> Run:
        run = Run(tmp_path / name, small_preset(pyramid), PictureData(pyramid), {})
        run.trainer.elapsed, run.trainer.cur_nimg = 1e9, 60  # the discriminator speaks
        return run

    plain, giving = run_of("a").trainer, run_of("b").trainer
    stacks: list[set[str]] = []

    def breathe() -> float:
        frame, names = sys._getframe(1), set()
        while frame is not None and frame.f_code.co_name != "step":
            names.add(frame.f_code.co_name)
            frame = frame.f_back  # type: ignore[assignment]
        stacks.append(names)
        return 1.0

    giving.breathe = breathe
    waited = giving.waited_s
    status = giving.step()
    assert status.losses == plain.step().losses and "discriminator" in status.losses
    for mine, expected in zip(giving.G.parameters(), plain.G.parameters(), strict=True):
        assert torch.equal(mine, expected)
    convolutions = sum(isinstance(m, torch.nn.Conv2d) for m in giving.D.modules())
    in_discriminator = [names for names in stacks if "_discriminator_step" in names]
    assert len(in_discriminator) >= 2 * 2 * convolutions
    for places in ({"forward"}, {"grad"}, {"_adversarial_gradient"}, {"_reconstruction"}):
        assert sum(places <= names for names in stacks) >= giving.train.groups
    assert giving.waited_s - waited == len(stacks)
    # What it waited is no training; here that is more than the step took in all.
    assert status.seconds < 0


def test_saving_and_publishing_give_way(pyramid: ImagePyramid, tmp_path: Path) -> None:
    run = Run(tmp_path / "run", small_preset(pyramid), PictureData(pyramid), {})
    breaths: list[str] = []

    def during(name: str, work: Callable[[], object]) -> None:
        run.trainer.breathe = lambda: breaths.append(name) or 0.0
        work()

    during("state", lambda: runs.save_state(run.folder / STATE, run.trainer))
    during("shown", run._show)
    tensors = len(load_file(run.folder / STATE))
    assert breaths.count("state") >= tensors
    # The preview, tensors of the checkpoint, and at every level a sample and the truth.
    tensors = len(load_file(run.folder / CHECKPOINT))
    assert breaths.count("shown") >= 1 + tensors + 2 * 5


def test_resume_gives_the_same_numbers_as_an_unbroken_run(
    pyramid: ImagePyramid, tmp_path: Path
) -> None:
    preset = small_preset(pyramid, replace(TRAIN, kimg=0.16))
    preset = replace(preset, loss=replace(preset.loss, marginals_weight=2.0))

    def losses(run: Run, steps: int) -> list[dict[str, float]]:
        return [run.trainer.step().losses for _ in range(steps)]

    unbroken = losses(Run(tmp_path / "a", preset, PictureData(pyramid), {}), 20)
    assert {"contrast", "marginals", "adversarial"} <= set(unbroken[-1])
    first = Run(tmp_path / "b", preset, PictureData(pyramid), {})
    begun = losses(first, 13)
    first.save()
    again_preset, data = load_config(tmp_path / "b")
    assert again_preset == preset
    resumed = Run(tmp_path / "b", again_preset, PictureData(pyramid), data, resume=True)
    assert begun + losses(resumed, 7) == unbroken


def test_a_state_with_other_bands_goes_on_and_finds_its_contrast_again(
    pyramid: ImagePyramid, tmp_path: Path
) -> None:
    """Of a version that knew three bands of R, G and B."""
    run = Run(tmp_path / "run", small_preset(pyramid), PictureData(pyramid), {})
    run.trainer.step()
    run.save()
    path = tmp_path / "run" / STATE
    with safe_open(path, "pt") as file:
        meta = file.metadata()
    tensors = load_file(path)
    tensors["moments/sums"] = torch.ones(17, 2, 2, 2, 3)
    del tensors["moments/owed"]
    save_file(tensors, path, meta)
    later = Run(tmp_path / "run", run.preset, run.source, {}, resume=True)
    assert later.trainer.step_count == 1 and not later.trainer.moments.sums.any()
    later.train(lambda tick: None)
    assert later.trainer.moments.sums.any() and later.trainer.finished


def rewrite_config(folder: Path, **changes: dict[str, object]) -> None:
    """Add fields to parts of a run's config, as another version would have written them."""
    fields = json.loads((folder / runs.CONFIG).read_text())
    for part, more in changes.items():
        fields[part] |= more
    (folder / runs.CONFIG).write_text(json.dumps(fields))


def test_a_run_whose_config_has_fields_of_before_goes_on(
    pyramid: ImagePyramid, tmp_path: Path
) -> None:
    preset, folder = small_preset(pyramid), tmp_path / "run"
    Run(folder, preset, PictureData(pyramid), {}).save()
    rewrite_config(folder, generator={"memory": None}, train={"memory_lr": 1e-3})
    again, data = load_config(folder)
    assert again == preset
    assert Run(folder, again, PictureData(pyramid), data, resume=True).trainer.step().losses


def test_a_run_that_does_not_fit_is_refused_in_one_line(
    pyramid: ImagePyramid, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    Run(folder, small_preset(pyramid), PictureData(pyramid), {}).save()
    grids = {"memory": {"resolutions": [9.0, 18.0], "features": 4}}
    for change, reason in ((grids, "feature grids, .* base layer"), ({"widhts": 8}, "'widths'")):
        rewrite_config(folder, generator=change)
        with pytest.raises(ValueError, match=f"{reason}.*; start a new run, or go on") as caught:
            load_config(folder)
        assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
        rewrite_config(folder, generator={"memory": None})


@pytest.mark.parametrize(("share", "checkpoints"), [(1e-9, 2), (1.0, 11)])
def test_an_autosave_always_keeps_the_state_and_the_rest_within_its_share_of_the_time(
    pyramid: ImagePyramid,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    share: float,
    checkpoints: int,
) -> None:
    """The first and the last save write everything."""
    monkeypatch.setattr("model.runs.MOST_SHOWING", share)
    written: dict[str, list[int]] = {"save_state": [], "save_checkpoint": []}
    run = Run(
        tmp_path / "run",
        small_preset(pyramid, replace(TRAIN, autosave_seconds=-1.0)),
        PictureData(pyramid),
        {},
    )
    for name, steps in written.items():
        monkeypatch.setattr(
            f"model.runs.{name}", noted(getattr(runs, name), steps, lambda: run.trainer.step_count)
        )
    run.train(lambda tick: None)
    assert written["save_state"] == [*range(1, 11), 10]
    found = written["save_checkpoint"]
    assert len(found) == checkpoints and found[0] == 1 and found[-1] == 10
    again = Run(tmp_path / "run", run.preset, PictureData(pyramid), {}, resume=True)
    assert again.trainer.step_count == 10


def noted(
    save: Callable[..., None], steps: list[int], step: Callable[[], int]
) -> Callable[..., None]:
    """`save`, which writes down at which steps it is called."""

    def noting(*args: object) -> None:
        steps.append(step())
        save(*args)

    return noting


def test_a_network_that_trains_keeps_no_folded_weights() -> None:
    """Consistency renders the same level again and again without gradients, between steps."""
    rng = np.random.default_rng(0)
    data = PatchData(rng.integers(0, 256, (60, 32, 32, 3), np.uint8), np.linspace(0, 2, 60))
    config = replace(CONFIG, base=None, field_size=(1.0, 1.0), level_range=(0.0, 2.0))
    trainer = Trainer(config, DiscriminatorConfig(widths=(8, 12, 16)), LOSS, TRAIN, data)
    windows = [Window((-0.5, -0.5), 0.0, 32, 32)]
    for _ in range(2):
        with torch.no_grad():
            trainer.G(windows)
        trainer.step()
    with torch.no_grad():
        shown = trainer.G(windows)
        expected = copy.deepcopy(trainer.G)
        for module in expected.modules():
            if hasattr(module, "_kept"):
                module._kept = None
        torch.testing.assert_close(shown, expected(windows), rtol=0, atol=0)


def test_a_run_is_never_overwritten_and_nothing_is_resumed_from_nothing(
    pyramid: ImagePyramid, tmp_path: Path
) -> None:
    preset = small_preset(pyramid)
    with pytest.raises(ValueError, match="no saved state"):
        Run(tmp_path / "run", preset, PictureData(pyramid), {}, resume=True)
    Run(tmp_path / "run", preset, PictureData(pyramid), {}).save()
    with pytest.raises(ValueError, match="already holds a run"):
        Run(tmp_path / "run", preset, PictureData(pyramid), {})
    (tmp_path / "run" / STATE).write_bytes(b"not a state")
    with pytest.raises(ValueError, match="cannot be resumed"):
        Run(tmp_path / "run", preset, PictureData(pyramid), {}, resume=True)


def test_a_loss_that_is_not_finite_stops_before_the_weights_are_touched(
    pyramid: ImagePyramid, tmp_path: Path
) -> None:
    trainer = Run(tmp_path / "run", small_preset(pyramid), PictureData(pyramid), {}).trainer
    nothing = torch.full((4, 3, 32, 32), math.nan)
    trainer.data.truth = lambda windows: Truth(nothing, None)  # type: ignore[method-assign]
    before = {k: v.clone() for k, v in trainer.G.state_dict().items()}
    with pytest.raises(Diverged, match="reconstruction"):
        trainer.step()
    after = trainer.G.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())


class Spoilt(PictureData):
    """A picture that is not finite at some of its readings."""

    def __init__(self, pyramid: ImagePyramid, spoilt: range) -> None:
        super().__init__(pyramid)
        self.reading, self.spoilt = 0, spoilt

    def truth(self, windows: list) -> Truth:
        self.reading += 1
        truth = super().truth(windows)
        return Truth(truth.images * math.nan, None) if self.reading in self.spoilt else truth


def test_a_run_that_diverges_goes_back_lowers_its_rates_and_says_so(
    pyramid: ImagePyramid, tmp_path: Path
) -> None:
    preset = small_preset(pyramid, replace(TRAIN, autosave_seconds=600))
    run = Run(tmp_path / "run", preset, Spoilt(pyramid, range(9, 10)), {})
    ticks: list[RunTick] = []
    run.train(ticks.append)
    assert run.trainer.finished and run.trainer.rate_factor == 0.5
    (told,) = (t.note for t in ticks if t.note)
    assert "not finite at step 4" in told and "0.5 of what was asked" in told
    logged = (tmp_path / "run" / LOG).read_text()
    assert "Gone back to step 1" in logged  # the first state is that after one step
    assert all(torch.isfinite(p).all() for p in run.trainer.G_ema.parameters())
    again = Run(tmp_path / "run", run.preset, PictureData(pyramid), {}, resume=True)
    assert again.trainer.rate_factor == 0.5


def test_a_run_that_always_diverges_ends_with_its_last_good_state(
    pyramid: ImagePyramid, tmp_path: Path
) -> None:
    run = Run(tmp_path / "run", small_preset(pyramid), Spoilt(pyramid, range(9, 10**6)), {})
    with pytest.raises(Diverged, match="reconstruction"):
        run.train(lambda tick: None)
    space = load_generator_space(tmp_path / "run" / CHECKPOINT, torch.device("cpu"))
    assert np.isfinite(space.render_view((0.0, 0.0), 1.0, (40, 30)).astype(float)).all()


def test_a_gradient_that_explodes_is_noticed(pyramid: ImagePyramid, tmp_path: Path) -> None:
    preset = small_preset(pyramid, replace(TRAIN, kimg=10.0))
    trainer = Run(tmp_path / "run", preset, PictureData(pyramid), {}).trainer
    for _ in range(3):
        usual = trainer.step().losses["gradient"]
    assert 0 < usual < math.inf and trainer.gradient_mean > 0
    trainer.step_count, trainer.gradient_mean = 100, usual / 1e4
    before = {k: v.clone() for k, v in trainer.G.state_dict().items()}
    with pytest.raises(Diverged, match="gradient is"):
        trainer.step()
    assert all(torch.equal(trainer.G.state_dict()[k], v) for k, v in before.items())


def test_windows_lie_in_the_field_and_cover_it() -> None:
    rng = np.random.default_rng(0)
    for level in (0.0, 0.4, 1.0, 3.7):
        windows = draw_windows(level, 200, 32, (1.3, 1.0), 4, rng)
        side = 2.0**-level
        pixel = side / 32
        x, y = np.array([w.origin_xy for w in windows]).T
        assert x.min() >= -0.65 - 4 * pixel and x.max() + side <= 0.65 + 4 * pixel
        assert y.min() >= -0.5 - 4 * pixel and y.max() + side <= 0.5 + 4 * pixel
        if level >= 1:
            assert x.min() < -0.6 and x.max() + side > 0.6
            assert y.min() < -0.45 and y.max() + side > 0.45


def test_levels_come_by_their_shares() -> None:
    rng = np.random.default_rng(0)
    shares = (LevelShare(0, 1, 1.0), LevelShare(5, 6, 3.0))
    levels = [draw_level(shares, rng) for _ in range(2000)]
    assert np.mean([v > 4 for v in levels]) == pytest.approx(0.75, abs=0.04)
    assert all(0 <= v <= 1 or 5 <= v <= 6 for v in levels)


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_builds_for_a_scene_that_is_not_square(name: str) -> None:
    preset = PRESETS[name].for_field((1.0, 1.7), (0.0, 2.0))
    small = replace(
        preset,
        generator=replace(
            preset.generator,
            widths=tuple(max(4, w // 16) for w in preset.generator.widths),
            waves_per_octave=4,
            w_dim=16,
        ),
        discriminator=replace(
            preset.discriminator, widths=tuple(max(4, w // 16) for w in preset.discriminator.widths)
        ),
        train=replace(preset.train, group_size=2, groups=1, kimg=1.0, adversarial_start=0.0),
        loss=replace(preset.loss, adversarial_from=-1.0, adversarial_full=-0.5),
    )

    class Grey:
        field_size, level_range, is_registered = (1.0, 1.7), (0.0, 2.0), True

        def truth(self, windows: list) -> Truth:
            size = windows[0].width
            return Truth(torch.zeros(len(windows), 3, size, size), None)

        def reals(self, level: float, count: int, rng: np.random.Generator) -> None:
            return None

    trainer = Trainer(small.generator, small.discriminator, small.loss, small.train, Grey())
    status = trainer.step()
    assert all(math.isfinite(v) for v in status.losses.values())
    assert "discriminator" in status.losses


def test_a_kill_leaves_a_run_that_resumes(pyramid: ImagePyramid, tmp_path: Path) -> None:
    """kill -9 of the real command, after its first save."""
    command = [sys.executable, "-m", "explorer", "train", str(tmp_path / "picture.png")]
    command += ["--out", str(tmp_path / "run"), "--cache", str(tmp_path / "cache")]
    command += ["--levels", "0", "2", "--autosave", "0.1", "--kimg", "1000"]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "run" / CHECKPOINT).exists():
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    read_header(tmp_path / "run" / CHECKPOINT)
    resume = [*command[:-2], "--kimg", "0.001", "--resume"]
    done = subprocess.run(resume, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == os.fspath(tmp_path / "run" / CHECKPOINT)
