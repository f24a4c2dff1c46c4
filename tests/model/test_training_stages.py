"""Training that begins with the coarsest patches: one field, fuller pictures, the same places."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.config import BaseConfig, DiscriminatorConfig, TrainConfig
from model.data.cut import CutConfig, write_patches
from model.data.patches import PatchCollection, open_patches
from model.placement import frame as frames
from model.placement.frame import FRAME, boxed, place_coarsest, read_frame
from model.presets import Preset
from model.pyramid import ImagePyramid
from model.run_files import CONFIG, LOG
from model.runs import Run, remove_run
from model.space import Window
from model.training_sets import MOSAIC, PLACES, placed_data
from model.training_setup import close, prepare
from model.training_stages import STAGES, Placing, Stage
from tests.explorer.training_sets import recipe_for
from tests.model.pictures import save_octaves
from tests.model.small import CONFIG as SMALL

PATCH_PX = 32


class Stopped(Exception):
    """Raised by a progress callback."""


def quiet(label: str, fraction: float) -> None:
    assert label and 0 <= fraction <= 1


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImagePyramid, Path]:
    """A picture with detail at every octave, 330 x 256, and 220 patches of it, unregistered."""
    folder = tmp_path_factory.mktemp("scene")
    save_octaves(folder / "picture.png", (330, 256), range(2, 8))
    cache = folder / "cache"
    pyramid = ImagePyramid.open(folder / "picture.png", patch_size=PATCH_PX, cache_dir=cache)
    write_patches(pyramid, CutConfig((0.0, 2.0), (220,)), folder / "patches")
    return pyramid, folder / "patches"


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.training_stages.LEAST_PATCHES", 150)
    monkeypatch.setattr(frames, "COARSEST", 48)
    monkeypatch.setattr(frames, "_LEAST", 32)


def begin(patches: Path, run: Path, resume: bool = False) -> Placing:
    placing = Placing.begin(open_patches(patches), run, PATCH_PX, run / "cache", resume, quiet)
    assert placing is not None
    return placing


def finished(placing: Placing) -> list[Stage]:
    stages: list[Stage] = []
    placing.work(quiet, stages.append, lambda line: None)
    placing.close()
    return stages


def small_preset() -> Preset:
    small = replace(SMALL, widths=(12, 8), waves_per_octave=4, base=BaseConfig(120.0, 1 << 18))
    train = TrainConfig(kimg=1.0, group_size=2, groups=1, autosave_seconds=3600.0)
    return Preset(small, DiscriminatorConfig(widths=(8, 8)), train=train)


def test_the_coarsest_patches_say_where_the_field_lies(
    scene: tuple[ImagePyramid, Path], tmp_path: Path
) -> None:
    pyramid, patches = scene
    placing = begin(patches, tmp_path)
    first = placing.first()
    assert 36 <= first.patches <= 48
    assert first.data.field_size == pytest.approx(pyramid.field_size, abs=0.02)
    low, high = first.data.level_range
    assert low == pytest.approx(0.0, abs=0.05) and high == pytest.approx(2.0, abs=0.05)
    assert first.finest is not None and 0.5 < first.finest < 1.2
    first.data.pyramid.close()
    placing.close()
    assert not (tmp_path / STAGES).exists()


def test_fuller_pictures_come_in_the_same_field(
    scene: tuple[ImagePyramid, Path], tmp_path: Path
) -> None:
    """What was learned of the first picture is true of the last one; that is the whole one."""
    pyramid, patches = scene
    placing = begin(patches, tmp_path)
    first = placing.first()
    window = Window((-0.4, -0.4), 0.2, 28, 28)
    *between, last = finished(placing)
    assert between and between[-1].finest is not None and last.finest is None
    assert first.finest is not None and between[-1].finest > first.finest
    assert last.data.field_size == first.data.field_size
    late = last.data.truth([window])
    assert late.known is not None and float(late.known.mean()) > 0.95
    errors = [
        float((first.data.truth([Window((x, y), 0.2, 28, 28)]).images - late.images).abs().mean())
        for x, y in ((-0.4, -0.4), (-0.43, -0.4), (-0.37, -0.4), (-0.4, -0.43), (-0.4, -0.37))
    ]
    assert errors[0] < 0.05 and errors[0] < 0.75 * min(errors[1:])
    fine = Window((-0.1, -0.1), 1.9, 28, 28)
    assert float((last.data.truth([fine]).images - pyramid.render([fine])).abs().mean()) < 0.12
    for stage in (first, *between, last):
        stage.data.pyramid.close()


def test_a_placement_that_was_cut_off_comes_to_the_same_places(
    scene: tuple[ImagePyramid, Path], tmp_path: Path
) -> None:
    _, patches = scene
    whole = tmp_path / "whole"
    for stage in finished(begin(patches, whole)):
        stage.data.pyramid.close()
    run = tmp_path / "run"
    placing = begin(patches, run)
    placing.first().data.pyramid.close()
    got: list[Stage] = []

    def report(label: str, fraction: float) -> None:
        if got:
            raise Stopped

    with pytest.raises(Stopped):
        placing.work(report, got.append, lambda line: None)
    placing.close()
    assert not (run / PLACES).exists()
    again = begin(patches, run, resume=True)
    first = again.first()
    assert first.patches == got[0].patches > 48
    for stage in (first, *got, *finished(again)):
        stage.data.pyramid.close()
    assert (run / PLACES).read_text() == (whole / PLACES).read_text()
    assert (run / FRAME).read_text() == (whole / FRAME).read_text()
    # Past it, the run goes on as any other; and the command line can go on from either state.
    collection = open_patches(patches)
    assert Placing.begin(collection, run, PATCH_PX, run / "cache", True, quiet) is None
    data = placed_data(collection, run, PATCH_PX, run / "cache", quiet, reuse=True)
    assert data.field_size == first.data.field_size
    data.pyramid.close()


def test_the_frame_of_a_run_that_was_given_up_is_not_taken(
    scene: tuple[ImagePyramid, Path], tmp_path: Path
) -> None:
    """A new run in its folder comes out as in an empty one."""
    _, patches = scene
    used, empty = tmp_path / "used", tmp_path / "empty"
    begin(patches, used).close()
    (used / MOSAIC).write_bytes(b"another picture")
    for folder in (used, empty):
        placed_data(open_patches(patches), folder, PATCH_PX, folder / "c", quiet).pyramid.close()
    assert not (used / FRAME).exists()
    assert (used / PLACES).read_text() == (empty / PLACES).read_text()


def test_what_cannot_tell_where_the_field_lies_is_placed_first(
    scene: tuple[ImagePyramid, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, patches = scene

    def none(collection: PatchCollection) -> bool:
        return Placing.begin(collection, tmp_path, PATCH_PX, None, False, quiet) is None

    collection = open_patches(patches)
    fine = {p.name for p in collection.patches if p.level is None or p.level > 0.3}
    assert none(collection.without({p.name for p in collection.patches[100:]}))  # few
    monkeypatch.setattr("model.training_stages.LEAST_PATCHES", 1)
    assert none(collection.without({p.name for p in collection.patches} - fine)) is False
    assert none(collection.without({p.name for p in collection.patches[40:]}))  # too few coarse
    monkeypatch.setattr(frames, "_LEAST_COVERAGE", 1e4)
    assert place_coarsest(collection, PATCH_PX, lambda fraction: None) is None
    assert list(tmp_path.iterdir()) == [tmp_path / FRAME]


def test_a_gauge_takes_any_frame_into_the_field() -> None:
    rng = np.random.default_rng(0)
    level, center = rng.uniform(0, 2, 50), rng.uniform(-0.3, 0.3, (50, 2))
    frame = frames.Frame(np.arange(50), level + 0.1, level, center)
    rows = np.arange(20, 90)
    theirs = np.concatenate([level[20:], rng.uniform(0, 2, 40)])
    places = np.concatenate([center[20:], rng.uniform(-0.3, 0.3, (40, 2))])
    gauge = frame.gauge(rows, (places - [0.2, 0.1]) * 2.0, theirs - 1.0)
    assert np.allclose(gauge.levels(theirs - 1.0), theirs)
    assert np.allclose(gauge.centers((places - [0.2, 0.1]) * 2.0), places)
    assert min(gauge.field_size) == 1.0
    assert frame.octaves == pytest.approx(-0.1)
    box = boxed(center * 4, level - 2)
    assert np.allclose(box.levels(level - 2) - level, box.levels(level - 2)[0] - level[0])
    with pytest.raises(ValueError, match="start anew"):
        frame.gauge(np.arange(100, 170), places, theirs)


def test_a_damaged_frame_is_refused_in_one_line(
    scene: tuple[ImagePyramid, Path], tmp_path: Path
) -> None:
    (tmp_path / FRAME).write_text("file,log2_zoom,x,y\nother.png,0,0,0\n")
    with pytest.raises(ValueError, match=r"frame\.csv"):
        read_frame(tmp_path, open_patches(scene[1]))


def prepared(scene: tuple[ImagePyramid, Path], run: Path, resume: bool = False) -> Run:
    recipe = recipe_for(
        scene[1], run, placement="match", kimg=1.0, cache=str(run / "cache"), resume=resume
    )
    return prepare(recipe, quiet, early=True)


def test_a_run_goes_on_with_fuller_data_and_resumes_from_either_state(
    scene: tuple[ImagePyramid, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The base layer becomes as dense as what is known; the weights keep what they learned."""
    from model.presets import PRESETS

    monkeypatch.setitem(PRESETS, "laptop", small_preset())
    run = prepared(scene, tmp_path / "run")
    trainer, placing = run.trainer, run.placing
    assert placing is not None
    coarse = trainer.G.base
    assert coarse is not None and coarse is trainer.G_ema.base
    assert coarse.density == pytest.approx(PATCH_PX * 2**trainer.finest) and coarse.density < 80
    early = json.loads((tmp_path / "run" / CONFIG).read_text())["data"]["early"]
    assert early["patches"] <= 48 and early["finest"] == trainer.finest < 1.2
    high = trainer.generator_config.level_range[1]
    assert high == pytest.approx(2.0, abs=0.1)
    assert max(share.high for share in trainer._shares(False)) == trainer.finest
    run.train(lambda tick: None, lambda: trainer.step_count >= 2)
    networks = (trainer.G, trainer.G_ema)
    before = [[p.detach().clone() for p in network.parameters()] for network in networks]
    stages = finished(placing)
    for stage in stages[:-1]:
        stage.data.pyramid.close()
    whole = stages[-1]
    close(run.learn(whole.data, whole.finest, whole.note))
    assert trainer.finest == high and trainer.data is whole.data
    fuller = trainer.G.base
    assert fuller is not None and fuller is trainer.G_ema.base and fuller is not coarse
    assert fuller.density == pytest.approx(min(PATCH_PX * 2**high, 120.0))
    for old, network in zip(before, networks, strict=True):
        assert all(map(torch.equal, old, network.parameters()))
    run.train(lambda tick: None, lambda: trainer.step_count >= 4)
    notes = [json.loads(line)["note"] for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    assert "All 220 patches have been sought; every level is learned now." in notes
    close(run.source)
    again = prepared(scene, tmp_path / "run", resume=True)
    assert again.placing is None and again.trainer.finest == high
    assert again.trainer.G.base is not None
    assert torch.equal(again.trainer.G.base.get_extra_state(), fuller.get_extra_state())
    close(again.source)
    remove_run(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["cache"]


def test_a_run_cut_off_while_patches_are_placed_goes_on_at_once(
    scene: tuple[ImagePyramid, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the app from what is placed; on the command line when all is: the same field."""
    from model.presets import PRESETS

    monkeypatch.setitem(PRESETS, "laptop", small_preset())
    run = prepared(scene, tmp_path / "run")
    run.train(lambda tick: None, lambda: run.trainer.step_count >= 2)
    finest = run.trainer.finest
    close(run.source)
    assert run.placing is not None
    run.placing.close()
    again = prepared(scene, tmp_path / "run", resume=True)
    assert again.placing is not None and again.trainer.finest == finest
    assert again.trainer.step_count == 2
    again.placing.close()
    close(again.source)
    recipe = recipe_for(scene[1], tmp_path / "run", kimg=1.0, cache=str(tmp_path), resume=True)
    plain = prepare(recipe, quiet)
    assert plain.placing is None
    assert plain.trainer.finest == plain.preset.generator.level_range[1] > finest
    assert plain.source.field_size == again.source.field_size
    close(plain.source)
