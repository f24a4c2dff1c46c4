"""Every class is made in the GUI thread before pyqtgraph is imported in another."""

from __future__ import annotations

import subprocess
import sys

_IN_A_NEW_PROCESS = """
import sys, time
from PySide6.QtCore import QCoreApplication, QEventLoop, QTimer
from PySide6.QtWidgets import QApplication
import PySide6.QtWidgets
from explorer.qt_classes import QtClasses

app = QApplication([])
assert "QWizard" not in vars(PySide6.QtWidgets), "it was made already: nothing would be shown"
loop = QEventLoop()
classes = QtClasses(loop.quit)
turns = 0
def turn():
    global turns
    turns += 1
beat = QTimer(interval=1, timeout=turn)
beat.start()
QTimer.singleShot(60_000, app, lambda: sys.exit("it did not end"))
classes.start(); classes.stop()
app.processEvents()
assert "QWizard" not in vars(PySide6.QtWidgets)
classes.start()
loop.exec()
assert turns > 10, turns
modules = {n for n in sys.modules if n.startswith("PySide6.")}
for module in (sys.modules[n] for n in modules):
    if module.__name__.startswith("PySide6.Qt"):
        assert not set(dir(module)) - set(vars(module)), module
import pyqtgraph
assert modules == {n for n in sys.modules if n.startswith("PySide6.")}
"""


def test_nothing_is_left_for_another_thread_to_make() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _IN_A_NEW_PROCESS], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
