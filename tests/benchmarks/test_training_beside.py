"""What `benchmarks.training_beside` makes of its parts; the parts themselves need a display."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks import training_beside
from benchmarks.placement import procedural_picture
from model.data.patches import open_patches


def test_patches_for_a_drop_have_levels_and_no_places(tmp_path: Path) -> None:
    image = tmp_path / "picture.png"
    Image.fromarray(procedural_picture(320, 256, 0)).save(image)
    with pytest.raises(ValueError, match="levels must end"):
        training_beside.cut(image, 20, tmp_path)
    Image.fromarray(procedural_picture(320, 256, 0)).resize((2560, 2048)).save(image)
    patches = open_patches(training_beside.cut(image, 22, tmp_path)).patches
    assert len(patches) == 22 and not any(patch.center_xy for patch in patches)
    levels = sorted(patch.level or 0.0 for patch in patches)
    assert levels[0] < 1 and 4 < levels[-1] <= 5


def test_what_a_viewer_costs_is_the_ratio_of_medians(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, alone = iter((9.0, 5.0, 9.8)), iter((10.0, 10.0, 30.0))

    def child(module: str, *_rest: Any, **_more: Any) -> dict[str, float]:
        return {"windows_per_s": next(beside if module.endswith("beside_window") else alone)}

    monkeypatch.setattr(training_beside, "_child", child)
    args = training_beside._arguments(["--rounds", "3"])
    found = training_beside.idle(tmp_path / "a.png", tmp_path, args)
    assert found["lost"] == pytest.approx(0.1) and found["lost: below 0.05"] is False


def test_parts_that_are_not_measured_stay_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "found.json"
    target.write_text(json.dumps({"drop": {"first_step_s": 7.0}}))
    monkeypatch.setattr(training_beside, "_window", lambda *_args: {"interval_p95_ms": 20.0})
    image = tmp_path / "picture.png"
    image.write_bytes(b"")
    command = ["--only", "flying", "--image", str(image), "--json", str(target)]
    assert training_beside.main(command) == 0
    found = json.loads(target.read_text())
    assert found["flying"] == {"interval_p95_ms": 20.0} and found["drop"]["first_step_s"] == 7.0
