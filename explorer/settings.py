"""What a person sets, and what the app remembers between two starts: one INI file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from PySide6.QtCore import QByteArray, QSettings, QStandardPaths
from PySide6.QtGui import QGuiApplication

from explorer.config import CameraConfig

FOLDER_VARIABLE = "SCALESPACE_EXPLORER_FOLDER"
"""Environment variable: where settings and bookmarks lie, in place of the usual folders."""
MAX_RECENT = 10

Theme = Literal["system", "dark", "light"]
Motion = Literal["system", "full", "reduced"]


def _about(label: str, help: str, choices: Mapping[Any, str] | None = None) -> dict[str, Any]:
    """What the dialog needs to show a field."""
    return {"label": label, "help": help, "choices": choices}


@dataclass(frozen=True)
class Settings:
    """What the settings dialog shows; it is built from these fields."""

    theme: Theme = field(
        default="system",
        metadata=_about(
            "Theme",
            "light or dark window",
            {"system": "As the system", "dark": "Dark", "light": "Light"},
        ),
    )
    motion: Motion = field(
        default="system",
        metadata=_about(
            "Motion",
            "reduced: the view jumps where it would glide or fly",
            {"system": "As the system", "full": "Full", "reduced": "Reduced"},
        ),
    )
    notch_octaves: float = field(
        default=0.25,
        metadata=_about(
            "Wheel notch",
            "zoom of one notch of the wheel",
            {0.125: "Fine: 1/8 octave", 0.25: "Normal: 1/4 octave", 0.5: "Coarse: 1/2 octave"},
        ),
    )
    invert_wheel: bool = field(
        default=False, metadata=_about("Invert the wheel", "turning it towards you zooms in")
    )
    minimap: bool = field(
        default=False, metadata=_about("Minimap", "the whole picture in a corner, and where one is")
    )
    scale_bar: bool = field(
        default=False, metadata=_about("Scale bar", "a length, in field units or millimetres")
    )
    single_window: bool = field(
        default=True,
        metadata=_about("One window", "files opened elsewhere come into the window that is open"),
    )

    def __post_init__(self) -> None:
        for entry in fields(self):
            value, choices = getattr(self, entry.name), entry.metadata.get("choices")
            allowed = list(choices) if choices else [False, True]
            if value not in allowed:
                raise ValueError(f"{entry.name} must be one of {allowed}, got {value!r}.")

    def camera(self, config: CameraConfig, system_reduces_motion: bool = False) -> CameraConfig:
        """`config` with what is set here."""
        reduced = self.motion == "reduced" or (self.motion == "system" and system_reduces_motion)
        return replace(
            config,
            notch_octaves=self.notch_octaves,
            invert_wheel=self.invert_wheel,
            reduced_motion=reduced or config.reduced_motion,
        )


class SettingsStore:
    """Settings, recent files and the window's state, in `folder`; in memory only without one."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._memory: dict[str, Any] = {}
        self._file: QSettings | None = None
        if folder is not None:
            self._file = QSettings(str(folder / "settings.ini"), QSettings.Format.IniFormat)

    @property
    def bookmarks_folder(self) -> Path | None:
        """Where bookmarks are kept; None: nowhere."""
        return None if self.folder is None else self.folder / "bookmarks"

    @property
    def stars_folder(self) -> Path | None:
        """Where starred seeds are kept; None: nowhere."""
        return None if self.folder is None else self.folder / "stars"

    def load(self) -> Settings:
        """The settings; what the file does not hold, or holds wrongly, is as it is by default."""
        settings = Settings()
        for entry in fields(Settings):
            text = self._get(f"settings/{entry.name}")
            if text is None:
                continue
            choices = entry.metadata.get("choices") or {False: "", True: ""}
            for value in choices:
                if str(value).lower() == str(text).lower():
                    settings = replace(settings, **{entry.name: value})
        return settings

    def save(self, settings: Settings) -> bool:
        """Keep `settings`; False where they cannot be written, and are gone after this session."""
        for entry in fields(settings):
            self._set(f"settings/{entry.name}", str(getattr(settings, entry.name)))
        if self._file is None:
            return True
        self._file.sync()
        return self._file.status() != QSettings.Status.AccessError

    def recent(self) -> list[str]:
        """Paths that were opened, the latest first."""
        kept = self._get("recent/files")
        if isinstance(kept, str):
            kept = [kept]
        return [str(path) for path in kept or [] if path][:MAX_RECENT]

    def add_recent(self, path: str) -> None:
        """`path` was opened."""
        path = os.path.abspath(path)
        kept = [path, *(p for p in self.recent() if p != path)]
        self._set("recent/files", kept[:MAX_RECENT])

    def clear_recent(self) -> None:
        """Forget what was opened."""
        self._set("recent/files", [])

    def window_state(self) -> tuple[QByteArray, QByteArray] | None:
        """Geometry of the window and state of its docks, as Qt saved them."""
        geometry, docks = self._get("window/geometry"), self._get("window/docks")
        if isinstance(geometry, QByteArray) and isinstance(docks, QByteArray):
            return geometry, docks
        return None

    def save_window_state(self, geometry: QByteArray, docks: QByteArray) -> None:
        """Keep them for the next start."""
        self._set("window/geometry", geometry)
        self._set("window/docks", docks)
        if self._file is not None:
            self._file.sync()

    def _get(self, key: str) -> Any:
        return self._memory.get(key) if self._file is None else self._file.value(key)

    def _set(self, key: str, value: Any) -> None:
        if self._file is None:
            self._memory[key] = value
        else:
            self._file.setValue(key, value)


def default_store() -> SettingsStore:
    """The person's own settings; `SCALESPACE_EXPLORER_FOLDER` names another place."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return SettingsStore(Path(named))
    place = QStandardPaths.StandardLocation.AppDataLocation
    return SettingsStore(Path(QStandardPaths.writableLocation(place)))


def system_reduces_motion() -> bool:
    """Whether the system asks for less motion; False where this version of Qt does not know."""
    accessibility = getattr(QGuiApplication.styleHints(), "accessibility", None)
    asked = getattr(accessibility(), "motionPreference", None) if accessibility else None
    return asked is not None and "Reduce" in str(asked())
