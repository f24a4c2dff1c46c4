"""The look of the window, dark or light: quiet, so that the picture is what one sees."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication


@dataclass(frozen=True)
class Scheme:
    """Colours by what they are for."""

    wall: str
    """Behind the picture, and of fields that one writes in."""
    surface: str
    raised: str
    line: str
    text: str
    quiet: str
    """Text of less importance; readable nevertheless."""
    accent: str
    warning: str
    scroll: str
    """Handle of a scroll bar."""
    over: str
    """Below text that lies over the picture."""

    @property
    def wall_rgb(self) -> tuple[float, float, float]:
        """The wall for OpenGL: display-referred sRGB in [0, 1]."""
        color = QColor(self.wall)
        return color.redF(), color.greenF(), color.blueF()


DARK = Scheme(
    wall="#0f0e10",
    surface="#17161a",
    raised="#211f25",
    line="#2c2a31",
    text="#d9d4cb",
    quiet="#98938b",
    accent="#d8b25a",
    warning="#e08a6a",
    scroll="#4a4752",
    over="rgba(15, 14, 16, 235)",
)
LIGHT = Scheme(
    wall="#e4e1db",
    surface="#f3f1ec",
    raised="#fbfaf7",
    line="#cdc8be",
    text="#26231f",
    quiet="#56514b",
    accent="#6b4c08",
    warning="#a33f1d",
    scroll="#b5afa4",
    over="rgba(248, 246, 242, 240)",
)
SCHEMES = {"dark": DARK, "light": LIGHT}
_DRESSED = "wears_fusion"


def _sheet(s: Scheme) -> str:
    return f"""
QMainWindow, QDialog {{ background: {s.surface}; }}
QMenuBar {{ background: {s.surface}; color: {s.quiet}; padding: 2px 6px; border: none; }}
QMenuBar::item {{ padding: 5px 10px; border-radius: 4px; background: transparent; }}
QMenuBar::item:selected {{ background: {s.raised}; color: {s.text}; }}
QMenu {{ background: {s.raised}; color: {s.text}; border: 1px solid {s.line}; padding: 6px; }}
QMenu::item {{ padding: 6px 28px 6px 26px; border-radius: 4px; }}
QMenu::item:selected {{ background: {s.line}; color: {s.accent}; }}
QMenu::item:disabled {{ color: {s.quiet}; }}
QMenu::separator {{ height: 1px; background: {s.line}; margin: 6px 10px; }}
QStatusBar {{ background: {s.surface}; color: {s.quiet}; border-top: 1px solid {s.line};
              min-height: 26px; }}
QStatusBar::item {{ border: none; }}
QStatusBar QLabel {{ color: {s.quiet}; padding: 0 7px; }}
QStatusBar QLabel#value {{ color: {s.text}; }}
QPushButton, QToolButton {{ background: {s.raised}; color: {s.text}; border: 1px solid {s.line};
               border-radius: 5px; padding: 6px 16px; }}
QToolButton {{ padding: 4px 10px; }}
QPushButton:hover, QToolButton:hover {{ border-color: {s.accent}; }}
QPushButton:focus, QToolButton:focus {{ border-color: {s.accent}; }}
QToolButton:checked {{ color: {s.accent}; border-color: {s.accent}; }}
QPushButton:disabled, QToolButton:disabled {{ color: {s.quiet}; border-color: {s.line}; }}
QPushButton:default:enabled {{ color: {s.accent}; }}
QLabel, QCheckBox {{ color: {s.text}; }}
QCheckBox::indicator:unchecked {{ border: 1px solid {s.quiet}; border-radius: 3px;
                                  background: {s.wall}; width: 12px; height: 12px; }}
QLabel#quiet {{ color: {s.quiet}; }}
QLineEdit {{ background: {s.wall}; color: {s.text}; border: 1px solid {s.line};
             border-radius: 5px; padding: 5px 8px; }}
QLineEdit:focus {{ border-color: {s.accent}; }}
QScrollBar:vertical {{ background: transparent; width: 10px; margin: 0; }}
QScrollBar:horizontal {{ background: transparent; height: 10px; margin: 0; }}
QScrollBar::handle {{ background: {s.scroll}; border-radius: 4px; margin: 1px; }}
QScrollBar::handle:vertical {{ min-height: 28px; }}
QScrollBar::handle:horizontal {{ min-width: 28px; }}
QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; }}
QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}
QAbstractItemView {{ background: {s.surface}; color: {s.text}; border: 1px solid {s.line};
                     selection-background-color: {s.line}; selection-color: {s.accent}; }}
QDockWidget {{ color: {s.quiet}; }}
QDockWidget::title {{ background: {s.surface}; padding: 7px 10px; text-align: left; }}
QToolTip {{ background: {s.raised}; color: {s.text}; border: 1px solid {s.line}; }}
#sheet {{ background: {s.over}; border: 1px solid {s.line}; border-radius: 12px; }}
#sheet QLabel#title {{ color: {s.accent}; font-size: 17px; }}
#sheet QLabel#key {{ color: {s.text}; background: {s.raised}; border: 1px solid {s.line};
                    border-radius: 4px; padding: 2px 8px; }}
#sheet QListWidget {{ background: transparent; border: none; }}
#sheet QLabel#what {{ color: {s.quiet}; }}
QScrollArea#clear, QWidget#clear {{ background: transparent; border: none; }}
#notice {{ background: {s.over}; color: {s.text}; border: 1px solid {s.line};
           border-radius: 12px; padding: 6px 16px; }}
"""


def scheme_for(theme: str) -> Scheme:
    """The scheme of a theme; 'system' asks the system, and where that does not say it is dark."""
    if theme in SCHEMES:
        return SCHEMES[theme]
    is_light = QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Light
    return LIGHT if is_light else DARK


def apply_theme(app: QApplication, theme: str = "system") -> Scheme:
    """Dress the whole application in 'dark', 'light' or 'system'; returns what it wears."""
    scheme = scheme_for(theme)
    sheet = _sheet(scheme)
    if app.styleSheet() == sheet:
        return scheme
    if not app.property(_DRESSED):  # a style anew would polish every widget once more
        app.setStyle("Fusion")
        app.setProperty(_DRESSED, True)
    palette = QPalette()
    roles = {
        QPalette.ColorRole.Window: scheme.surface,
        QPalette.ColorRole.Base: scheme.wall,
        QPalette.ColorRole.AlternateBase: scheme.raised,
        QPalette.ColorRole.Button: scheme.raised,
        QPalette.ColorRole.Text: scheme.text,
        QPalette.ColorRole.WindowText: scheme.text,
        QPalette.ColorRole.ButtonText: scheme.text,
        QPalette.ColorRole.ToolTipBase: scheme.raised,
        QPalette.ColorRole.ToolTipText: scheme.text,
        QPalette.ColorRole.PlaceholderText: scheme.quiet,
        QPalette.ColorRole.Highlight: scheme.accent,
        QPalette.ColorRole.HighlightedText: scheme.wall,
        QPalette.ColorRole.Link: scheme.accent,
    }
    for role, color in roles.items():
        palette.setColor(role, QColor(color))
    for role in (QPalette.ColorRole.Text, QPalette.ColorRole.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, QColor(scheme.quiet))
    app.setPalette(palette)
    app.setStyleSheet(sheet)
    return scheme
