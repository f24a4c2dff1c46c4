"""Settings are kept, wrong ones are not believed, and they reach camera and wheel."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
from PySide6.QtCore import QByteArray
from pytestqt.qtbot import QtBot

from explorer.config import CameraConfig
from explorer.settings import (
    FOLDER_VARIABLE,
    MAX_RECENT,
    Settings,
    SettingsStore,
    default_store,
)
from tests.explorer.conftest import MakeApp

OTHER = Settings("light", "reduced", 0.5, True, True, True, False)


def test_every_field_comes_back(tmp_path: Path) -> None:
    SettingsStore(tmp_path).save(OTHER)
    assert SettingsStore(tmp_path).load() == OTHER
    for entry in fields(Settings):
        assert getattr(OTHER, entry.name) != getattr(Settings(), entry.name), "not tested"


def test_a_file_by_hand_with_mistakes_gives_the_defaults(tmp_path: Path) -> None:
    text = "[settings]\ntheme=pink\nnotch_octaves=nine\nminimap=TRUE\nunknown=1\n"
    (tmp_path / "settings.ini").write_text(text)
    assert SettingsStore(tmp_path).load() == replace(Settings(), minimap=True)
    with pytest.raises(ValueError, match="theme must be one of"):
        Settings(theme="pink")  # type: ignore[arg-type]


def test_recent_files_are_the_latest_ones_once_each(tmp_path: Path) -> None:
    store = SettingsStore(tmp_path)
    assert store.recent() == []
    for i in range(MAX_RECENT + 5):
        store.add_recent(str(tmp_path / f"{i}, with a comma.png"))
    store.add_recent(str(tmp_path / "7, with a comma.png"))
    recent = SettingsStore(tmp_path).recent()
    assert len(recent) == MAX_RECENT
    assert [Path(p).name.split(",")[0] for p in recent[:3]] == ["7", "14", "13"]
    store.clear_recent()
    assert SettingsStore(tmp_path).recent() == []
    store.add_recent(str(tmp_path / "one"))
    assert SettingsStore(tmp_path).recent() == [str(tmp_path / "one")]


def test_window_state_comes_back(tmp_path: Path) -> None:
    store = SettingsStore(tmp_path)
    assert store.window_state() is None
    store.save_window_state(QByteArray(b"\0geometry"), QByteArray(b"docks"))
    assert SettingsStore(tmp_path).window_state() == (b"\0geometry", b"docks")


def test_without_a_folder_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = SettingsStore()
    store.save(OTHER)
    store.add_recent("x.png")
    assert store.load() == OTHER and store.bookmarks_folder is None
    assert list(tmp_path.iterdir()) == []


def test_settings_that_cannot_be_written_are_told_once(
    make_app: MakeApp, qtbot: QtBot, tmp_path: Path
) -> None:
    assert SettingsStore().save(OTHER) and SettingsStore(tmp_path / "new").save(OTHER)
    (tmp_path / "file").write_text("in the way")
    store = SettingsStore(tmp_path / "file" / "settings")
    assert not store.save(Settings())
    app = make_app(store=store)
    qtbot.waitUntil(lambda: app.viewport.is_exact, timeout=30_000)
    said: list[str] = []
    for name in ("minimap", "scale_bar"):
        app.window.notice.setText("")
        app.window._set(**{name: True})
        said.append(app.window.notice.text())
    assert "Settings are not kept" in said[0] and said[1] == ""
    assert app.window.settings.minimap and app.window.settings.scale_bar


def test_the_folder_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert default_store().folder == tmp_path
    monkeypatch.delenv(FOLDER_VARIABLE)
    assert default_store().folder != tmp_path


def test_settings_reach_the_camera() -> None:
    camera = OTHER.camera(CameraConfig())
    assert (camera.notch_octaves, camera.invert_wheel, camera.reduced_motion) == (0.5, True, True)
    assert not Settings().camera(CameraConfig()).reduced_motion
    assert Settings().camera(CameraConfig(), system_reduces_motion=True).reduced_motion
    full = replace(Settings(), motion="full")
    assert not full.camera(CameraConfig(), system_reduces_motion=True).reduced_motion
