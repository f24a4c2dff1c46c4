"""Many scenes from one image: where they lie, and which of them latents show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks import many_scenes
from benchmarks.procedural import rock
from model.config import DiscriminatorConfig, GeneratorConfig, TrainConfig
from model.presets import PRESETS, Preset
from model.run_files import CHECKPOINT
from model.space import Window
from tests.benchmarks.conftest import Waves

TINY = Preset(
    GeneratorConfig(patch_size=32, widths=(16, 8), waves_per_octave=6, w_dim=16),
    DiscriminatorConfig(widths=(8, 8)),
    train=TrainConfig(groups=2, group_size=4),
)


class Chosen:
    """Latents that show one of two scenes each: the waves, or the same with their sign turned."""

    identity, patch_size, field_size, level_range = "chosen", 64, (1.0, 1.0), (0.0, 2.0)

    def __init__(self, turned: bool | None = None) -> None:
        self.turned, self.waves = turned, Waves()

    def render(self, windows: Sequence[Window]) -> torch.Tensor:
        turned = windows[0].seed % 4 == 0 if self.turned is None else self.turned  # type: ignore[operator]
        return self.waves.render(windows) * (-1 if turned else 1)


def test_scenes_lie_apart_inside_the_box_and_have_different_sides() -> None:
    boxes = many_scenes.scene_boxes((100, 50, 1300, 850), 8, (64, 250))
    assert {b[2] - b[0] for b in boxes} >= {64, 250} and len(boxes) == 8
    for index, (x0, y0, x1, y1) in enumerate(boxes):
        assert 100 <= x0 < x1 <= 1300 and 50 <= y0 < y1 <= 850 and x1 - x0 == y1 - y0
        for u0, v0, u1, v1 in boxes[:index]:
            assert u1 <= x0 or x1 <= u0 or v1 <= y0 or y1 <= v0
    with pytest.raises(ValueError, match="fewer scenes"):
        many_scenes.scene_boxes((0, 0, 400, 400), 8, (64, 250))


def test_every_latent_is_counted_for_the_scene_it_shows() -> None:
    found = many_scenes.measure(Chosen(), [Chosen(False), Chosen(True)], 32)
    assert found["latents_by_scene"] == [24, 8]
    assert (found["shown"], found["no_scene"]) == (2, 0)
    assert found["likeness"]["median"] == pytest.approx(1)
    for pair in found["consistency_db"].values():
        assert pair["own"] > pair["another"] + 10


def test_it_goes_through_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture, out = tmp_path / "rock.png", tmp_path / "out.json"
    Image.fromarray(rock(320)).save(picture)
    monkeypatch.setitem(PRESETS, "laptop", TINY)
    words = ["--image", str(picture), "--scenes", "3", "--sides", "64", "100", "--octaves", "1"]
    words += ["--count", "24", "--cache", str(tmp_path / "cache"), "--folder", str(tmp_path)]
    assert many_scenes.main([*words, "--kimg", "0.008"]) == 0
    assert many_scenes.main([*words, "--kimg", "0.016", "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["kimg"] == 0.016 and len(found["latents_by_scene"]) == 3
    assert sum(found["latents_by_scene"]) + found["no_scene"] == many_scenes.LATENTS
    checkpoint, again = tmp_path / "run" / CHECKPOINT, tmp_path / "again.json"
    words[-1] = str(tmp_path / "other")
    drawn = ["--checkpoint", str(checkpoint), "--strips", str(tmp_path / "strips.jpg")]
    assert many_scenes.main([*words, *drawn, "--json", str(again)]) == 0
    assert not (tmp_path / "other" / "patches").exists()
    measured = json.loads(again.read_text())
    same = ("kimg", "latents_by_scene", "diversity", "consistency_db", "likeness", "settings")
    assert all(measured[name] == found[name] for name in same)
    with Image.open(tmp_path / "strips.jpg") as strips:
        assert strips.size[1] > 6 * 128  # a row for each latent
