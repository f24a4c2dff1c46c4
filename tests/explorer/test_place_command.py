"""`scalespace-explorer place`, from a folder of patches to the table."""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.placement import procedural_picture
from explorer.cli import UsageError
from explorer.commands import place
from model.data.patches import open_patches
from model.placement.places_csv import state_path

SIDE = 32


def run(*words: object) -> int:
    parser = argparse.ArgumentParser()
    place.add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["place", *map(str, words)])
    return int(args.run(args))


def write_scene(folder: Path, prefix: str, seed: int, count: int) -> list[list[object]]:
    """Patches of whole pixels (zoom 1 and 2) of a picture of 128 x 96, and their rows of labels."""
    picture = procedural_picture(128, 96, seed)
    rng = np.random.default_rng(seed)
    rows: list[list[object]] = []
    for number in range(count):
        factor = (3, 2, 1)[number % 3]
        size = SIDE * factor
        x, y = int(rng.integers(0, 128 - size + 1)), int(rng.integers(0, 96 - size + 1))
        part = picture[y : y + size, x : x + size].astype(np.float64)
        part = part.reshape(SIDE, factor, SIDE, factor, 3).mean((1, 3)).round()
        name = f"{prefix}{number:03d}.png"
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(part.astype(np.uint8)).save(folder / name)
        center = ((x + size / 2 - 64) / 96, (y + size / 2 - 48) / 96)
        rows.append([name, float(np.log2(96 / size)), *center])
    return rows


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, list[list[object]]]:
    folder = tmp_path / "data"
    folder.mkdir()
    rows = write_scene(folder, "", 5, 60)
    (folder / "broken.png").write_bytes(b"no image at all")
    labels = [[name, level] for name, level, *_ in rows] + [["broken.png", 1.0]]
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    return folder, rows


def read(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def test_a_folder_is_placed(
    data: tuple[Path, list[list[object]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, truth = data
    out = tmp_path / "places.csv"
    extra = ("--coverage", tmp_path / "c.png", "--json", tmp_path / "f.json")
    assert run(folder, "--out", out, *extra) == 0
    rows = read(out)
    assert rows["broken.png"]["reason"] == "unreadable"
    placed = [row for row in truth if rows[str(row[0])]["status"] == "placed"]
    assert len(placed) >= 59
    error = np.array(
        [[float(rows[str(n)]["x"]) - x, float(rows[str(n)]["y"]) - y] for n, _, x, y in placed]
    )
    error -= np.median(error, 0)
    pixels = np.array([SIDE * 2.0 ** float(level) for _, level, *_ in placed])
    assert np.quantile(np.hypot(*error.T) * pixels, 0.95) < 0.5
    assert "of 61 patches placed" in capsys.readouterr().out
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["scenes"][0]["placed"] == len(placed)
    assert (tmp_path / "c.png").exists()
    assert not state_path(out).exists()
    with open_patches(folder) as collection:
        labelled = collection.with_labels(out)
    assert sum(patch.center_xy is not None for patch in labelled.patches) == len(placed)


def test_a_sound_file_of_another_shape_is_not_called_unreadable(
    data: tuple[Path, list[list[object]]], tmp_path: Path
) -> None:
    folder, truth = data
    for row, size_wh in zip(truth[:2], ((40, 20), (16, 16))):
        Image.new("RGB", size_wh).save(folder / str(row[0]))
    assert run(folder, "--out", tmp_path / "places.csv") == 0
    rows = read(tmp_path / "places.csv")
    assert {rows[str(row[0])]["reason"] for row in truth[:2]} == {"not square or too small"}
    assert rows["broken.png"]["reason"] == "unreadable"


def test_excluded_patches_are_left_out(
    data: tuple[Path, list[list[object]]], tmp_path: Path
) -> None:
    folder, truth = data
    excluded = tmp_path / "exclude.txt"
    names = [str(row[0]) for row in truth[30:]] + ["broken.png"]
    excluded.write_text("# these\n" + "\n".join(names))
    out = tmp_path / "places.csv"
    assert run(folder, "--out", out, "--exclude", excluded) == 0
    assert set(read(out)) == {str(row[0]) for row in truth[:30]}


def test_an_interrupted_run_goes_on_to_the_same_table(
    data: tuple[Path, list[list[object]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = data
    whole, resumed = tmp_path / "whole.csv", tmp_path / "resumed.csv"
    assert run(folder, "--out", whole) == 0
    from model.placement import collection

    write, count = collection.write_state, 0

    def interrupted(path: Path, owner: str, scenes: dict[str, object]) -> None:
        nonlocal count
        write(path, owner, scenes)  # type: ignore[arg-type]
        count += 1
        if count == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(collection, "write_state", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(folder, "--out", resumed)
    assert not resumed.exists()
    assert state_path(resumed).exists()
    assert run(folder, "--out", resumed, "--resume") == 0
    assert resumed.read_bytes() == whole.read_bytes()
    assert count > 2
    assert not state_path(resumed).exists()


def test_scenes_are_placed_each_by_itself(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    rows = []
    for scene, seed in (("moon", 5), ("sun", 6)):
        rows += [[*row[:2], scene] for row in write_scene(folder, f"{scene}-", seed, 36)]
    lines = ["file,log2_zoom,scene"] + [",".join(map(str, row)) for row in rows]
    (folder / "labels.csv").write_text("\n".join(lines))
    out = tmp_path / "places.csv"
    assert run(folder, "--out", out, "--coverage", tmp_path / "c.png") == 0
    places = read(out)
    for scene in ("moon", "sun"):
        own = [row for row in places.values() if row["scene"] == scene]
        assert sum(row["status"] == "placed" for row in own) >= 34
        assert (tmp_path / f"c-{scene}.png").exists()


def test_a_scene_of_blank_patches_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [[*row[:2], "sun"] for row in write_scene(folder, "sun-", 6, 36)]
    for number in range(3):
        Image.new("RGB", (SIDE, SIDE), (9, 9, 9)).save(folder / f"{number}.png")
        rows.append([f"{number}.png", "" if number == 2 else float(number), "fog"])
    lines = ["file,log2_zoom,scene"] + [",".join(map(str, row)) for row in rows]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    assert run(folder, "--out", tmp_path / "p.csv") == 0
    places = read(tmp_path / "p.csv")
    assert [places[f"{n}.png"]["reason"] for n in range(3)] == ["blank", "blank", "no level"]
    assert "fog: 0 of 3 patches placed (2 blank, 1 no level)" in capsys.readouterr().out
    assert sum(row["status"] == "placed" for row in places.values()) >= 34
    for file in folder.glob("sun-*"):
        file.unlink()
    with pytest.raises(ValueError, match="blank or without level"):
        run(folder, "--out", tmp_path / "p.csv")


def test_wrong_usage_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must end in \.csv"):
        run(tmp_path, "--out", tmp_path / "places.txt")
    with pytest.raises(UsageError, match="--coverage must be"):
        run(tmp_path, "--out", tmp_path / "p.csv", "--coverage", tmp_path / "c.jpg")
    with pytest.raises(ValueError, match="no patches"):
        run(tmp_path, "--out", tmp_path / "p.csv")
    with pytest.raises(FileNotFoundError):
        run(tmp_path / "none", "--out", tmp_path / "p.csv")
    picture = tmp_path / "picture.png"
    Image.fromarray(procedural_picture(64, 64, 0)).save(picture)
    with pytest.raises(UsageError, match="needs no placing"):
        run(picture, "--out", tmp_path / "p.csv")
