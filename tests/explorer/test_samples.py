"""What ships is at hand in the menus: scenes, and training pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from explorer.arrivals import is_data_folder
from explorer.shipped import PAINTING, SAMPLE_PATCHES, SCENES, shipped
from explorer.view_links import StillView, scene_name
from model.data.patches import PatchCollection, open_data
from model.header import read_header
from tests.explorer.conftest import MakeApp


def test_the_help_menu_drops_the_sample_patches(make_app: MakeApp, qtbot: QtBot) -> None:
    window = make_app().window
    dropped: list[str] = []
    opened: list[str] = []
    window.data_dropped.disconnect()  # nothing is to be read or trained here
    window.data_dropped.connect(dropped.append)
    window.open_requested.connect(opened.append)
    action = window.actions_by_id["sample_patches"]
    assert action in window.actions_by_id.menu("&Help").actions() and action.isEnabled()
    action.trigger()
    folder = shipped(SAMPLE_PATCHES).parent
    assert dropped == [str(folder)] and not opened
    assert is_data_folder(folder)


def test_where_they_are_missing_a_notice_says_so(
    make_app: MakeApp, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = make_app().window
    monkeypatch.setattr("explorer.arrivals.SAMPLE_PATCHES", Path("assets", "nowhere.json"))
    window.actions_by_id["sample_patches"].trigger()
    assert "nowhere.json is missing" in window.notice.text()


@pytest.mark.parametrize("id", SCENES)
def test_every_scene_that_ships_is_in_the_file_menu(make_app: MakeApp, id: str) -> None:
    window = make_app().window
    opened: list[str] = []
    window.open_requested.disconnect()
    window.open_requested.connect(opened.append)
    window.actions_by_id[id].trigger()
    assert opened == [str(shipped(SCENES[id]))]
    assert read_header(opened[0]).patch_size == 64


def test_no_scene_that_ships_is_forgotten() -> None:
    folder = shipped(PAINTING).parent
    assert sorted(path.name for path in folder.glob("*.safetensors")) == sorted(
        path.name for path in SCENES.values()
    )


def test_a_folder_of_scenes_is_training_data_too(tmp_path: Path) -> None:
    assert not is_data_folder(tmp_path)
    (tmp_path / "moon").mkdir()
    assert not is_data_folder(tmp_path)
    (tmp_path / "moon" / "dataset.json").write_text('{"labels": []}')
    assert is_data_folder(tmp_path)


@pytest.mark.parametrize(
    "files",
    [
        ("photo.HEIC",),
        ("scan.bmp", "Thumbs.db"),
        ("octave-3/a.png",),
        ("2.5/a.png",),
        ("zoom 1/a", "notes.txt"),
        ("00017/a.png",),
        ("table.CSV", "parts/a.png"),
        ("moon/places.csv", "sun/places.csv"),
        ("scan.dzi", "scan_files/0/0_0.png", "patch.png"),
    ],
)
def test_what_the_reader_takes_for_training_pictures_can_be_dropped(
    tmp_path: Path, files: tuple[str, ...]
) -> None:
    write_all(tmp_path, files)
    assert is_data_folder(tmp_path)
    assert isinstance(open_data(tmp_path), PatchCollection)


@pytest.mark.parametrize(
    "files",
    [
        ("config.json", "places.csv", "frame.csv", "mosaic.tif", "samples/000000.png"),
        ("state.resume", "places.csv", "mosaic.tif"),
        ("run/config.json", "run/places.csv"),
        ("scene.safetensors", "scene.png"),
        ("scan.dzi", "scan.html", "scan_files/0/0_0.png"),
        ("scan.DZI", "scan_files/0/0_0.png"),
        ("ImageProperties.xml", "TileGroup0/0-0-0.jpg"),
        (".hidden.png", ".0/a.png", "__MACOSX/a.csv"),
        ("0/.DS_Store", "letter.txt"),
    ],
)
def test_runs_scenes_tiles_and_hidden_files_are_no_training_pictures(
    tmp_path: Path, files: tuple[str, ...]
) -> None:
    write_all(tmp_path, files)
    assert not is_data_folder(tmp_path)
    if "scan.dzi" in files:
        assert not is_data_folder(tmp_path / "scan_files")


def write_all(folder: Path, names: tuple[str, ...]) -> None:
    """Empty files of these names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


@pytest.mark.parametrize("id", SCENES)
def test_the_scene_that_a_view_was_taken_in_is_found_where_it_ships(
    make_app: MakeApp, id: str
) -> None:
    arrivals = make_app().window.arrivals
    view = StillView((0.0, 0.0), 1.0, name=scene_name(SCENES[id]))
    assert arrivals.find_scene(view) == str(shipped(SCENES[id]))
    assert arrivals.find_scene(StillView((0.0, 0.0), 1.0, name="nowhere")) is None
