"""Exports: the whole field or a box of it, at any level, into a file of any size.

The picture is rendered tile by tile into a work folder beside the output, and libvips writes the
file from there, so memory holds a strip or two of it and a kill loses one strip at most. Every
pixel is the one that `model.rendering.render_view` gives for its tile.
"""

from model.export.plan import FORMATS, TILE_PX, ExportPlan, plan_export
from model.export.preflight import Preflight, measure
from model.export.run import check_target, export
from model.export.work import WorkFolder

__all__ = [
    "FORMATS",
    "TILE_PX",
    "ExportPlan",
    "Preflight",
    "WorkFolder",
    "check_target",
    "export",
    "measure",
    "plan_export",
]
