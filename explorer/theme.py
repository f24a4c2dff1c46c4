"""The look of the window: dark and quiet, so that the picture is the only light in the room."""

from __future__ import annotations

from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QApplication

WALL = "#0f0e10"
SURFACE = "#17161a"
RAISED = "#211f25"
LINE = "#2c2a31"
TEXT = "#d9d4cb"
QUIET = "#8b867f"
ACCENT = "#d8b25a"
WARNING = "#e08a6a"

_SHEET = f"""
QMainWindow, QDialog {{ background: {SURFACE}; }}
QMenuBar {{ background: {SURFACE}; color: {QUIET}; padding: 2px 6px; border: none; }}
QMenuBar::item {{ padding: 5px 10px; border-radius: 4px; background: transparent; }}
QMenuBar::item:selected {{ background: {RAISED}; color: {TEXT}; }}
QMenu {{ background: {RAISED}; color: {TEXT}; border: 1px solid {LINE}; padding: 6px; }}
QMenu::item {{ padding: 6px 28px 6px 16px; border-radius: 4px; }}
QMenu::item:selected {{ background: {LINE}; color: {ACCENT}; }}
QMenu::item:disabled {{ color: {QUIET}; }}
QMenu::separator {{ height: 1px; background: {LINE}; margin: 6px 10px; }}
QStatusBar {{ background: {SURFACE}; color: {QUIET}; border-top: 1px solid {LINE};
              min-height: 26px; }}
QStatusBar::item {{ border: none; }}
QStatusBar QLabel {{ color: {QUIET}; padding: 0 7px; }}
QStatusBar QLabel#value {{ color: {TEXT}; }}
QStatusBar QLabel#exact {{ color: {ACCENT}; }}
QPushButton {{ background: {RAISED}; color: {TEXT}; border: 1px solid {LINE};
               border-radius: 5px; padding: 6px 16px; }}
QPushButton:hover {{ border-color: {ACCENT}; }}
QPushButton:default {{ color: {ACCENT}; }}
QLabel {{ color: {TEXT}; }}
QToolTip {{ background: {RAISED}; color: {TEXT}; border: 1px solid {LINE}; }}
#sheet {{ background: rgba(15, 14, 16, 235); border: 1px solid {LINE}; border-radius: 12px; }}
#sheet QLabel#title {{ color: {ACCENT}; font-size: 17px; }}
#sheet QLabel#key {{ color: {TEXT}; background: {RAISED}; border: 1px solid {LINE};
                    border-radius: 4px; padding: 2px 8px; }}
#sheet QLabel#what {{ color: {QUIET}; }}
#notice {{ background: rgba(23, 22, 26, 225); color: {TEXT}; border: 1px solid {LINE};
           border-radius: 15px; padding: 6px 16px; }}
"""


def apply_theme(app: QApplication) -> None:
    """Dress the whole application."""
    app.setStyle("Fusion")
    palette = QPalette()
    roles = {
        QPalette.ColorRole.Window: SURFACE,
        QPalette.ColorRole.Base: WALL,
        QPalette.ColorRole.AlternateBase: RAISED,
        QPalette.ColorRole.Button: RAISED,
        QPalette.ColorRole.Text: TEXT,
        QPalette.ColorRole.WindowText: TEXT,
        QPalette.ColorRole.ButtonText: TEXT,
        QPalette.ColorRole.ToolTipBase: RAISED,
        QPalette.ColorRole.ToolTipText: TEXT,
        QPalette.ColorRole.PlaceholderText: QUIET,
        QPalette.ColorRole.Highlight: ACCENT,
        QPalette.ColorRole.HighlightedText: WALL,
        QPalette.ColorRole.Link: ACCENT,
    }
    for role, color in roles.items():
        palette.setColor(role, QColor(color))
    for role in (QPalette.ColorRole.Text, QPalette.ColorRole.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, QColor(QUIET))
    app.setPalette(palette)
    app.setStyleSheet(_SHEET)
