"""The page beside a DeepZoom export: OpenSeadragon and all it needs in one HTML file.

It works from a disk (`file://`): the script and the description of the tiles are in the page, the
tiles are plain images, and nothing is fetched from anywhere else.
"""

from __future__ import annotations

import html
import json
from pathlib import Path
from urllib.parse import quote

from explorer.shipped import shipped

VIEWER = Path("assets", "openseadragon", "openseadragon.min.js")
"""OpenSeadragon 6.1.1 (BSD-3-Clause)."""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%(title)s</title>
<style>
  html, body { margin: 0; height: 100%%; background: #0f0e10; color: #d9d4cb;
    font: 14px/1.4 system-ui, sans-serif; }
  #picture { position: absolute; inset: 0; }
  nav { position: absolute; left: 12px; top: 12px; display: flex; gap: 6px; z-index: 1; }
  button { width: 36px; height: 36px; border: 1px solid #2c2a31; border-radius: 6px;
    background: rgba(33, 31, 37, .9); color: #d9d4cb; font-size: 18px; cursor: pointer; }
  button:hover, button:focus-visible { border-color: #d8b25a; color: #d8b25a; }
  svg { width: 16px; fill: none; stroke: currentColor; stroke-width: 1.6; }
  footer { position: absolute; left: 12px; bottom: 10px; padding: 3px 10px; z-index: 1;
    border-radius: 12px; background: rgba(15, 14, 16, .8); color: #a8a29a; pointer-events: none; }
  #problem { position: absolute; inset: 40%% 10%% auto; text-align: center; }
</style>
</head>
<body>
<div id="picture" role="img" aria-label="%(title)s"></div>
<nav>
  <button id="in" title="Zoom in" aria-label="Zoom in">+</button>
  <button id="out" title="Zoom out" aria-label="Zoom out">&minus;</button>
  <button id="home" title="Whole picture" aria-label="Whole picture"><svg viewBox="0 0 16 16"
    ><path d="M2 8l6-5.5L14 8M4 7v6.5h8V7"/></svg></button>
  <button id="full" title="Full screen" aria-label="Full screen"><svg viewBox="0 0 16 16"
    ><path d="M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4"/></svg></button>
</nav>
<footer>%(caption)s</footer>
<div id="problem" hidden>The tiles in the folder %(folder)s are missing; keep it beside this page.
</div>
<script>
%(script)s
</script>
<script>
const viewer = OpenSeadragon({
  id: "picture",
  tileSources: %(source)s,
  drawer: "canvas",
  showNavigationControl: false,
  showNavigator: true,
  navigatorPosition: "BOTTOM_RIGHT",
  navigatorAutoFade: false,
  maxZoomPixelRatio: 8,
  visibilityRatio: 0.3,
  animationTime: 0.6,
});
const view = viewer.viewport;
document.getElementById("in").onclick = () => view.zoomBy(2).applyConstraints();
document.getElementById("out").onclick = () => view.zoomBy(0.5).applyConstraints();
document.getElementById("home").onclick = () => view.goHome();
document.getElementById("full").onclick = () => viewer.setFullScreen(!viewer.isFullPage());
const problem = document.getElementById("problem");
viewer.addHandler("tile-load-failed", () => { problem.hidden = false; });
viewer.addHandler("tile-loaded", () => { problem.hidden = true; });
</script>
</body>
</html>
"""


def deepzoom_page(
    *,
    title: str,
    caption: str,
    folder: str,
    size: tuple[int, int],
    tile_size: int,
    overlap: int,
    suffix: str,
) -> str:
    """The HTML of the page.

    Args:
        title: Name of the picture.
        caption: One line below it.
        folder: Name of the folder of tiles, which lies beside the page.
        size: Width and height of the picture, pixels.
        tile_size: Side of a tile without its overlap, pixels.
        overlap: Pixels that tiles share.
        suffix: Ending of the tiles, without the dot.

    Raises:
        FileNotFoundError: OpenSeadragon, which ships with the app, is missing.
    """
    source = {
        "Image": {
            "xmlns": "http://schemas.microsoft.com/deepzoom/2008",
            "Url": f"./{quote(folder)}/",
            "Format": suffix,
            "Overlap": str(overlap),
            "TileSize": str(tile_size),
            "Size": {"Width": str(size[0]), "Height": str(size[1])},
        }
    }
    return _PAGE % {
        "title": html.escape(title),
        "caption": html.escape(caption),
        "folder": html.escape(folder),
        "script": shipped(VIEWER).read_text("utf-8"),
        "source": json.dumps(source).replace("<", "\\u003c"),
    }
