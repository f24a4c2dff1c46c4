"""`scalespace-explorer inspect` from the command line."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from explorer.cli import UsageError
from explorer.commands import inspect
from model.data.doctor_cost import Machine
from model.data.patches import read_excludes
from model.presets import PRESETS
from tests.model.data.doctor_sets import P, cut, write_folder


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """No timing in tests."""
    machine = Machine("cpu", 1 << 30, 0.05, tuple((name, 1e11) for name in PRESETS))
    monkeypatch.setattr("model.data.doctor_cost.measure_machine", lambda *_, **__: machine)


def command(*words: object) -> int:
    """Run the command as the command line does."""
    parser = argparse.ArgumentParser()
    inspect.add_parser(parser.add_subparsers())
    args = parser.parse_args(["inspect", *map(str, words)])
    return int(args.run(args))


def test_page_json_and_exclude_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    patches = cut(30)
    folder = write_folder(tmp_path / "sét", [*patches, *patches[:2]])
    (folder / "broken.png").write_bytes(b"")
    out, listed = tmp_path / "report.json", tmp_path / "exclude.txt"
    assert command(folder, "--patch-size", P, "--json", out, "--exclude-out", listed) == 0
    page = capsys.readouterr().out
    assert "broken.png" in page and "laptop" in page and "exact-duplicate (2)" in page
    report = json.loads(out.read_text())
    assert report["excluded"] == ["0030.png", "0031.png", "broken.png"]
    assert read_excludes(listed) == set(report["excluded"])
    # 1 GiB is not enough for the larger presets.
    assert "memory" in {finding["kind"] for finding in report["findings"]}
    assert {cost["preset"] for cost in report["costs"]} == set(PRESETS)
    assert not list(tmp_path.glob(".*.part"))


def test_data_without_anything_usable_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert command(tmp_path / "empty") == 2
    assert "no-images" in capsys.readouterr().out
    (tmp_path / "a.zip").write_bytes(b"PK\3\4 and nothing more")
    assert command(tmp_path / "a.zip") == 2
    assert "cannot be opened" in capsys.readouterr().out
    write_folder(tmp_path / "small", cut(3))  # of fewer pixels than any preset learns from
    assert command(tmp_path / "small") == 2
    assert "too-small (3)" in capsys.readouterr().out


def test_a_path_that_is_not_there_and_bad_targets_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        command(tmp_path / "none")
    with pytest.raises(UsageError, match="folder that exists"):
        command(tmp_path, "--json", tmp_path / "no" / "report.json")
    with pytest.raises(ValueError, match="patch_size must be"):
        command(tmp_path, "--patch-size", 3)
