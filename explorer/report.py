"""A report for a bug: machine, versions, scene and figures, as text. Nothing personal in it."""

from __future__ import annotations

import platform
import sys
from dataclasses import asdict
from importlib import metadata

from PySide6.QtCore import qVersion

from explorer.panels.hud import figures_of, why_slow
from explorer.viewport import Viewport

_PACKAGES = ("scalespace-explorer", "torch", "PySide6-Essentials", "moderngl", "numpy", "pyvips")


def report(viewport: Viewport) -> str:
    """The report, a fact a line."""
    figures = figures_of(viewport)
    view, scene = viewport.view_state.view, viewport.scene
    lines = [
        f"system: {platform.platform()}, {platform.machine()}",
        f"python: {sys.version.split()[0]}, Qt: {qVersion()}",
        "packages: " + ", ".join(f"{name} {_version(name)}" for name in _PACKAGES),
        f"opengl: {viewport.renderer}",
        f"window: {view.size[0]} x {view.size[1]} px, ratio {viewport.devicePixelRatioF():g}",
    ]
    if scene is not None:
        low, high = scene.level_range
        lines.append(f"scene: {scene.identity}, levels {low:g} to {high:g}, on {scene.device}")
        lines.append(f"GPU kernels: {scene.no_kernels or 'in use'}")
    lines.append(f"view: {view.camera}, level {view.level(viewport.view_state.patch_size):.3f}")
    lines += [f"{name}: {value}" for name, value in asdict(figures).items()]
    lines.append(f"verdict: {why_slow(figures)}")
    return "\n".join(lines) + "\n"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "-"
