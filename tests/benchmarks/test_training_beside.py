"""What `benchmarks.training_beside` makes of its parts; the parts themselves need a display."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import training_beside
from benchmarks.beside_window import tiles_since
from benchmarks.placement import procedural_picture
from benchmarks.training_beside import Trainee
from explorer.meter import FrameMeter
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


COUNTS = "import time\nfor n in range(1, 9999): print(n, flush=True); time.sleep(0.01)"


def test_one_works_while_the_other_stands_still() -> None:
    with contextlib.ExitStack() as stack:
        trainees = []
        for _ in range(2):
            trainee = Trainee([sys.executable, "-c", COUNTS], dict(os.environ))
            stack.callback(trainee.end)
            trainees.append(trainee)
        first, second = trainees
        time.sleep(0.2)  # what was on its way when it was stopped
        before = second._seen
        first.work(0.5)
        assert second._seen == before and 0 < first.rates[0] <= 100
        second.work(0.5)
        assert 0 < second.rates[0] <= 100 and second._seen > before


def test_tiles_that_were_there_before_the_wheel_was_turned_do_not_count() -> None:
    meter = FrameMeter()
    meter.fresh(now=10.001, issued_at=9.9, tiles=4)  # rendered at rest, first painted now
    assert tiles_since(meter, 10.0) == []
    meter.fresh(now=10.07, issued_at=10.002, tiles=4)
    assert tiles_since(meter, 10.0) == [10.07]


def test_what_ends_before_it_trains_is_said() -> None:
    with pytest.raises(RuntimeError, match="ended before it trained"):
        Trainee([sys.executable, "-c", "raise SystemExit(3)"], dict(os.environ))


def test_what_a_viewer_costs_is_a_ratio_of_pairs_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds = iter([[9.0, 8.0], [10.0, 10.0], [10.0], [10.0]])

    class Steady:
        def __init__(self, command: Sequence[str], _environment: dict[str, str]) -> None:
            self.rates: list[float] = []
            self._speeds = next(speeds)
            assert ("speed" in command) == (len(made) % 2 == 0)
            made.append(self)

        def work(self, _seconds: float) -> None:
            self.rates.append(self._speeds[len(self.rates)])

        def end(self) -> None:
            pass

    made: list[Steady] = []
    monkeypatch.setattr(training_beside, "Trainee", Steady)
    monkeypatch.setattr(training_beside, "display_environment", contextlib.nullcontext)
    args = training_beside._arguments(["--rounds", "3"])
    found = training_beside.idle(tmp_path / "a.png", tmp_path, args)
    assert found["lost"] == pytest.approx(0.1) and found["lost: below 0.05"] is False
    assert found["lost_by_pair"] == pytest.approx([0.15, 0.0]) and len(made) == 4


def test_parts_that_are_not_measured_stay_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "found.json"
    drop = {"first_step_s": 7.0, "machine": {"cores": 64}}  # of another call, elsewhere
    target.write_text(json.dumps({"drop": drop}))
    monkeypatch.setattr(training_beside, "_window", lambda *_args: {"interval_p95_ms": 20.0})
    image = tmp_path / "picture.png"
    image.write_bytes(b"")
    command = ["--only", "flying", "--image", str(image), "--json", str(target)]
    assert training_beside.main(command) == 0
    found = json.loads(target.read_text())
    assert found["flying"] == {"interval_p95_ms": 20.0, "machine": found["machine"]}
    assert found["drop"] == drop
