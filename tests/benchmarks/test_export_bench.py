"""The benchmark of exports sees what it is there to see."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.export import (
    ExportResult,
    compare_tiles,
    digest,
    main,
    peak_bytes,
    read_pixels,
    run_child,
)
from model.export import export, plan_export
from model.rendering import render_view

LEVEL = 3.3


@pytest.mark.parametrize("name", ["a.tif", "a.dzi", "a.png"])
def test_pixels_of_a_file_are_found_where_they_are(waves, tmp_path: Path, name: str) -> None:
    plan = plan_export(waves, tmp_path / name, LEVEL, quality="lossless")
    export(waves, plan)
    whole = render_view(waves, (0, 0), LEVEL, plan.size)
    for x, y in ((0, 0), (256, 256), (512, 256), (250, 3)):
        expected = whole[y : y + 256, x : x + 256]
        np.testing.assert_array_equal(read_pixels(plan.out, x, y, 256), expected)
    assert compare_tiles(waves, plan.out, LEVEL, 99, 0) == (plan.columns * plan.strips, 0)


def test_a_wrong_tile_is_seen(waves, tmp_path: Path) -> None:
    plan = plan_export(waves, tmp_path / "a.png", LEVEL)
    shifted = replace(plan.window, origin_xy=(plan.window.origin_xy[0] + 1e-3, 0.0))
    export(waves, replace(plan, window=shifted))
    tiles, different = compare_tiles(waves, plan.out, LEVEL, 5, 0)
    assert tiles == different == 5


def test_a_changed_file_has_another_digest(tmp_path: Path) -> None:
    out = tmp_path / "a.dzi"
    (tmp_path / "a_files" / "0").mkdir(parents=True)
    for file in (out, tmp_path / "a.html", tmp_path / "a_files" / "0" / "0_0.png"):
        file.write_text("one")
    before = digest(out)
    assert digest(out) == before
    for file in (out, tmp_path / "a.html", tmp_path / "a_files" / "0" / "0_0.png"):
        file.write_text("two")
        assert digest(out) != before
        file.write_text("one")
    (tmp_path / "a_files" / "0" / "0_0.png").rename(tmp_path / "a_files" / "0" / "1_0.png")
    assert digest(out) != before


def test_what_fails_fails() -> None:
    good = ExportResult(9, 9, 1.0, "tif", 1.0, 10**9, 1, 24, 0, 1, [3], True, None)
    assert good.passes
    bad = ({"peak_bytes": 2 * 10**9}, {"tiles_different": 1}, {"same_after_kills": False})
    for change in (*bad, {"page_error": 40.0}):
        assert not replace(good, **change).passes


def test_the_child_is_this_module_and_memory_is_read() -> None:
    command = run_child(Path("a"), Path("b.tif"), 1.0, "auto", True)
    assert command[1:4] == ["-m", "benchmarks.export", "--child"]
    if os.path.exists("/proc/self/status"):
        assert peak_bytes() > 30_000_000


def test_a_missing_checkpoint_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "none.safetensors"), "--out", str(tmp_path)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
