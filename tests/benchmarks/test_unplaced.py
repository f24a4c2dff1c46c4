"""Training without places, with one part left out: what differs, and that a run goes through."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import model.trainer
from benchmarks import unplaced
from benchmarks.procedural import rock
from model.config import DiscriminatorConfig, GeneratorConfig, TrainConfig
from model.discriminator import Discriminator
from model.presets import PRESETS, Preset
from model.pyramid import ImagePyramid
from model.sampling import draw_windows
from model.scale import density
from model.space import Window

TINY = Preset(
    GeneratorConfig(patch_size=32, widths=(16, 8), waves_per_octave=6, w_dim=16),
    DiscriminatorConfig(widths=(8, 8)),
    train=TrainConfig(groups=2, group_size=4),
)


def by_name(name: str) -> unplaced.Variant:
    return next(variant for variant in unplaced.VARIANTS if variant.name == name)


def test_every_variant_differs_from_the_full_method_in_one_thing() -> None:
    full = PRESETS["laptop"]
    assert by_name("full").preset(full) == full
    for variant in unplaced.VARIANTS[1:]:
        changed = variant.preset(full)
        assert (changed != full) != bool(variant.in_trainer)
        assert (changed.generator, changed.discriminator) == (full.generator, full.discriminator)
        with variant.applied():
            for name, instead in variant.in_trainer.items():
                assert getattr(model.trainer, name) is instead
    assert model.trainer.Discriminator is Discriminator


def test_the_blind_discriminator_judges_alike_at_every_level() -> None:
    config = DiscriminatorConfig(widths=(8, 8))
    blind = unplaced.LevelBlind(config, 32, (0.0, 4.0))
    img = torch.randn(2, 3, 32, 32)
    low, high = torch.zeros(2), torch.full((2,), 4.0)
    assert torch.equal(blind(img, low), blind(img, high))
    sees = Discriminator(config, 32, (0.0, 4.0))
    assert not torch.equal(sees(img, low), sees(img, high))


@pytest.mark.parametrize("level", [0.0, 0.4, 3.0])
def test_the_unit_error_spreads_places_and_leaves_the_coarsest(level: float) -> None:
    field, d = (1.25, 1.0), density(level, 64)
    settings = (level, 400, 64, field, 8)
    right, wide = (
        draw(*settings, np.random.default_rng(0))
        for draw in (draw_windows, unplaced.draw_windows_too_wide)
    )

    def centers(windows: list[Window]) -> np.ndarray:
        return np.array([w.origin_xy for w in windows]) + 32 / d

    expected = centers(right) * unplaced.UNIT_ERROR
    assert np.abs(centers(wide) - expected).max() <= 5 / d  # brought to the lattice of 8 pixels
    coarse = unplaced.coarser_windows_too_wide(wide, 0.5, 64, field, 8)
    if level > 1:
        assert np.abs(centers(wide)).max() > 0.7
        gap = np.abs(centers(coarse) + 32 * (2**0.5 - 1) / d - centers(wide))
        assert np.median(gap.max(1)) <= 8 * 2**0.5 / d  # about the same place, out there too


def test_the_zoom_is_the_picture_at_its_coarsest_level(waves: object) -> None:
    zoom = unplaced.BicubicZoom(waves)  # type: ignore[arg-type]
    window = Window((-0.5, -0.5), 0.0, 64, 64)
    at_0 = zoom.render([window])
    true = waves.render([window])  # type: ignore[attr-defined]
    assert (at_0 - true).abs().max() < 0.01  # 8 bits
    finer = zoom.render([Window((-0.1, -0.1), 2.0, 64, 64)])
    assert finer.shape == (1, 3, 64, 64)
    # Four pixels where there was one: nothing new between them.
    assert finer.diff(n=2, dim=3).abs().mean() < 0.3 * at_0.diff(n=2, dim=3).abs().mean()


def test_variants_train_are_measured_and_not_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, out = tmp_path / "rock.png", tmp_path / "out.json"
    Image.fromarray(rock(256)).save(picture)
    monkeypatch.setitem(PRESETS, "laptop", TINY)
    words = ["--image", str(picture), "--count", "80", "--octaves", "1", "--kimg", "0.016"]
    words += ["--windows", "16", "--cache", str(tmp_path / "cache"), "--folder", str(tmp_path)]
    words += ["--json", str(out), "--only", "full"]
    assert unplaced.main(words) == 0
    assert "full" in capsys.readouterr().out
    monkeypatch.setattr(unplaced, "train_variant", None)  # finished: nothing trains again
    assert unplaced.main(words) == 0
    measured = [*words[: words.index("--only")], "--run", str(tmp_path / "full")]
    assert unplaced.main(measured) == 0
    assert unplaced.main([*words, "--windows", "17"]) == 1
    assert "other settings" in capsys.readouterr().err


def test_a_cut_off_variant_goes_on(tmp_path: Path) -> None:
    picture = tmp_path / "rock.png"
    Image.fromarray(rock(128)).save(picture)
    scene = ImagePyramid.open(picture, patch_size=32, cache_dir=tmp_path / "cache")
    patches = tmp_path / "patches.zip"
    unplaced.write_patches(scene, unplaced.CutConfig((0.0, 1.0), (40,)), patches, "zip")
    scene.close()
    task = unplaced.Task(patches, tmp_path, 0.008, 1.0, TINY)
    first = unplaced.train_variant(by_name("level-blind"), task)
    again = unplaced.train_variant(by_name("level-blind"), replace(task, kimg=0.024))
    assert (first["kimg"], again["kimg"]) == (0.008, 0.024)
    assert again["minutes"] > first["minutes"] > 0 and again["processor_minutes"] > 0
