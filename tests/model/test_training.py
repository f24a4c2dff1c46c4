"""Training: it learns, gives way, saves in time, and notices when it diverges."""

from __future__ import annotations

import copy
import json
import math
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from model import runs
from model import trainer as trainer_module
from model.checkpoints import load_generator_space
from model.config import DiscriminatorConfig, LossConfig
from model.generator_space import GeneratorSpace
from model.header import read_header
from model.presets import PRESETS
from model.pyramid import ImagePyramid
from model.run_files import CHECKPOINT, LOG, STATE
from model.runs import Run, RunTick
from model.sampling import LevelShare, draw_level, draw_windows
from model.space import Window
from model.trainer import Diverged, Trainer
from model.training_data import PatchData, PictureData, Truth
from tests.model.small import CONFIG, LOSS, TRAIN, small_preset


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


@pytest.mark.usefixtures("no_collector")
def test_what_a_save_rendered_with_is_given_back(
    pyramid: ImagePyramid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU its recordings hold memory, which torch gives back only once they are gone."""
    run = Run(tmp_path / "run", small_preset(pyramid), PictureData(pyramid), {})
    spaces: list[weakref.ref[GeneratorSpace]] = []

    def space() -> GeneratorSpace:
        made = Run.space(run)
        spaces.append(weakref.ref(made))
        return made

    given_back: list[list[GeneratorSpace | None]] = []
    monkeypatch.setattr(run, "space", space)
    monkeypatch.setattr(runs, "free_cached", lambda: given_back.append([s() for s in spaces]))
    run.save()
    assert given_back == [[None]]


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
    assert written["save_state"] == [*range(11), 10]
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_trainer_computes_in_what_its_device_is_quicker_with(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.trainer.training_dtype", lambda device: dtype)
    data = PatchData(np.zeros((2, 32, 32, 3), np.uint8), np.linspace(0, 2, 2))
    config = replace(CONFIG, base=None, field_size=(1.0, 1.0), level_range=(0.0, 2.0))
    trainer = Trainer(config, DiscriminatorConfig(widths=(8, 12, 16)), LOSS, TRAIN, data)
    assert trainer.dtype is dtype


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


def test_what_is_saved_after_a_run_has_diverged_for_good_can_go_on(
    pyramid: ImagePyramid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stops and keeps then saves once more."""
    run = Run(tmp_path / "run", small_preset(pyramid), PictureData(pyramid), {})
    with monkeypatch.context() as broken:
        penalty = trainer_module.gradient_penalty
        broken.setattr(trainer_module, "gradient_penalty", lambda *args: math.inf * penalty(*args))
        with pytest.raises(Diverged):
            run.train(lambda tick: None)
        run.save()
    state = load_file(tmp_path / "run" / STATE)
    assert all(torch.isfinite(t).all() for t in state.values() if t.is_floating_point())
    again = Run(tmp_path / "run", run.preset, PictureData(pyramid), {}, resume=True)
    assert all(map(math.isfinite, again.trainer.step().losses.values()))


def test_halving_for_memory_leaves_the_discriminator_as_quick_as_it_was(
    pyramid: ImagePyramid, tmp_path: Path
) -> None:
    """It steps once a group, and there are twice as many."""
    run = Run(tmp_path / "run", small_preset(pyramid), PictureData(pyramid), {})
    before = run.trainer.train
    run._halve_groups()
    after = run.trainer.train
    assert after.groups == 2 * before.groups
    assert after.groups * after.discriminator_lr == before.groups * before.discriminator_lr
    assert run.preset.train == after


def test_a_state_that_knows_no_usual_gradient_goes_on(
    pyramid: ImagePyramid, tmp_path: Path
) -> None:
    preset = small_preset(pyramid, replace(TRAIN, kimg=10.0))
    trainer = Run(tmp_path / "run", preset, PictureData(pyramid), {}).trainer
    trainer.restore_counters({"step_count": 100})  # of a version before the counter
    assert trainer.step().losses["gradient"] > 0 and trainer.gradient_mean > 0


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


class Grey:
    """A registered picture of nothing."""

    field_size, level_range, is_registered = (1.0, 1.7), (0.0, 2.0), True

    def truth(self, windows: list) -> Truth:
        size = windows[0].width
        return Truth(torch.zeros(len(windows), 3, size, size), None)

    def reals(self, level: float, count: int, rng: np.random.Generator) -> None:
        return None

    def level_near(self, level: float) -> float:
        return level


@pytest.mark.parametrize("level", [0.0, 0.1, 0.3, 0.35, 1.0, 4.0])
def test_windows_are_uniform_and_agree_modulo_the_alignment(level: float) -> None:
    """Real patches of the whole scene lie anywhere: so must the windows they are held against."""
    rng, pixels = np.random.default_rng(0), 64 * 2.0**level
    found = []
    for _ in range(300):
        windows = draw_windows(level, 8, 64, (1.25, 1.0), 8, rng)
        x = np.array([w.origin_xy for w in windows]) * pixels
        whole = np.floor(x + 1e-6)
        assert (np.ptp(whole % 8, axis=0) == 0).all()
        found.append(x)
    x = np.concatenate(found)
    for axis, side in enumerate((1.25, 1.0)):
        low, high = -side / 2 * pixels, side / 2 * pixels - 64
        assert low - 1 / 128 <= x[:, axis].min() and x[:, axis].max() <= high + 1 / 128
        assert x[:, axis].mean() == pytest.approx((low + high) / 2, abs=0.06 * (high - low) + 1e-6)
        assert x[:, axis].std() == pytest.approx((high - low) / 12**0.5, rel=0.07, abs=1e-6)


def test_windows_of_few_residues_reach_hardly_over_the_edge() -> None:
    rng, pixels = np.random.default_rng(0), 64 * 2.0**0.05
    for _ in range(100):
        windows = draw_windows(0.05, 8, 64, (1.25, 1.0), 8, rng, residues=2)
        x = np.array([w.origin_xy for w in windows]) * pixels
        assert set(np.floor(x + 1e-6).ravel() % 8) <= {0, 4}
        assert (x >= -np.array([0.625, 0.5]) * pixels - 4).all()
        assert (x + 64 <= np.array([0.625, 0.5]) * pixels + 4).all()


def test_levels_beyond_what_is_remembered_alone_are_drawn() -> None:
    config = replace(CONFIG, level_range=(7.0, 9.0), field_size=Grey.field_size)
    trainer = Trainer(config, DiscriminatorConfig(widths=(6, 8)), LossConfig(), TRAIN, Grey())
    levels = [draw_level(trainer._shares(True), np.random.default_rng(n)) for n in range(50)]
    assert all(7 <= level <= 9 for level in levels) and np.ptp(levels) > 1


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

    trainer = Trainer(small.generator, small.discriminator, small.loss, small.train, Grey())
    status = trainer.step()
    assert all(math.isfinite(v) for v in status.losses.values())
    assert "discriminator" in status.losses
