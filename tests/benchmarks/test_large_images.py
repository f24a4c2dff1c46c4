"""The measure of large images, on a small one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks import large_images
from benchmarks.large_images import FORMS, Result, main, measure, procedural_image


def test_the_image_is_busy_and_the_same_each_time() -> None:
    one, two = (procedural_image(200, 150).numpy() for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert one.shape == (150, 200, 3) and one.dtype == np.uint8
    assert one.std((0, 1)).min() > 5 and 60 < one.mean() < 200
    assert not np.array_equal(one[..., 0], one[..., 1])


def in_this_process(command: Sequence[str], check: bool) -> None:
    assert check and command[1:3] == ["-m", "benchmarks.large_images"]
    assert main(command[3:]) == 0


def test_lossless_forms_show_the_same_pixels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_images.subprocess, "run", in_this_process)
    monkeypatch.setattr(large_images, "MEMORY_LIMIT_MB", 1e6)  # other tests have made the peak
    words = ["--size", "700", "520", "--folder", str(tmp_path), "--json", str(tmp_path / "r.json")]
    assert main(words) == 0
    assert "difference /255" in capsys.readouterr().out
    found = {row["form"]: row for row in json.loads((tmp_path / "r.json").read_text())["forms"]}
    for form in ("DZI", "BigTIFF", "PNG"):
        assert found[form]["difference"] == 0
    for form in ("JPEG", "Zoomify"):
        assert 0 < found[form]["difference"] < 0.2
    assert all(row["holds"] for row in found.values()) and len(found) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_each_form_is_opened_by_a_process_of_its_own(tmp_path: Path) -> None:
    said: list[str] = []
    (result,) = measure((300, 200), tmp_path, FORMS[4:], said.append)
    assert 20 < result.peak_mb < 2000 and result.difference == 0
    assert said[-1].endswith("largest difference 0.00/255") and list(tmp_path.iterdir()) == []


def test_too_much_memory_or_a_changed_pixel_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Result("PNG", True, 1999, 1.0, 1 / 255).holds
    assert not Result("PNG", True, 2001, 1.0, 0.0).holds
    assert not Result("PNG", True, 100, 1.0, 2 / 255).holds
    assert Result("JPEG", False, 100, 1.0, 0.1).holds
    bad = Result("PNG", True, 100, 1.0, 0.1)
    monkeypatch.setattr(large_images, "measure", lambda *args: [bad])
    assert main(["--folder", str(tmp_path)]) == 1
    assert {form.name for form in FORMS} == {"JPEG", "BigTIFF", "PNG", "Zoomify", "DZI"}
