"""Draws a view from whatever there is, coarse to fine, without a hole. moderngl only, no Qt.

The preview is the root: it covers the field from the first frame on. Over it come tiles, the level
that suits the view worst first, and the exact frame among them at the place of its own level. New
content fades in over what lies below it; what is hidden by opaque content is not drawn at all.

Every method needs the context current. Sizes are device pixels.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import moderngl
import numpy as np
from numpy.typing import NDArray

from explorer.config import ViewportConfig
from explorer.layering import Held, arrange
from explorer.messages import ExactFrame, ExactView
from explorer.tile_grid import APRON_PX, TileGrid, TileKey
from explorer.view_state import View

if TYPE_CHECKING:
    from explorer.messages import Pixels

_INSTANCE_FLOATS = 6
_SHADOW_REACH = 0.03
_TEXTURE_STEP_PX = 64
_SOFTWARE_RENDERERS = ("llvmpipe", "softpipe", "swrast", "software", "swiftshader")


@dataclass
class _ExactLayer:
    """The exact frame on the GPU, and since when."""

    view: ExactView
    texture: moderngl.TextureArray
    """The frame lies in its top left corner."""
    since: float
    fade_s: float

    def alpha(self, now: float) -> float:
        """Opacity at `now`, in (0, 1]."""
        if self.fade_s <= 0:
            return 1.0
        return min(max((now - self.since) / self.fade_s, 1e-3), 1.0)


class Compositor:
    """Textures and draw calls of one GL context."""

    def __init__(
        self, ctx: moderngl.Context, config: ViewportConfig | None = None, tile_px: int = 64
    ) -> None:
        """Compile the shaders and allocate the texture pool (`config.pool_bytes` at most)."""
        self.ctx = ctx
        self.config = config or ViewportConfig()
        self.tile_px = tile_px
        # A driver without a GPU spends most of a frame on interpolation between texels.
        renderer = str(ctx.info["GL_RENDERER"]).lower()
        self.is_software = any(name in renderer for name in _SOFTWARE_RENDERERS)
        side = tile_px + 2 * APRON_PX
        self.capacity = _pool_layers(ctx, self.config.pool_bytes, side)
        self._pool = ctx.texture_array((side, side, self.capacity), 4)
        self._pool.filter = (moderngl.LINEAR, moderngl.LINEAR)
        self._pool.repeat_x = self._pool.repeat_y = False
        self._program = ctx.program(_shader("layer.vert"), fragment_shader=_shader("layer.frag"))
        self._shadow = ctx.program(_shader("shadow.vert"), fragment_shader=_shader("shadow.frag"))
        corners = np.array([0, 0, 1, 0, 0, 1, 1, 1], "f4")
        self._corners = ctx.buffer(corners.tobytes())
        self._stages: list[tuple[moderngl.Buffer, moderngl.VertexArray]] = []
        self._shadow_vao = ctx.vertex_array(self._shadow, [(self._corners, "2f", "in_corner")])
        self._preview: moderngl.TextureArray | None = None
        self._exact: list[_ExactLayer] = []
        self._spare: list[moderngl.TextureArray] = []
        self._slots: OrderedDict[TileKey, int] = OrderedDict()
        self._free = list(range(self.capacity - 1, -1, -1))
        self._keys = np.zeros((self.capacity, 3), np.int64)
        self._born = np.full(self.capacity, np.inf)
        self.drawn_tiles = 0
        """Tile instances of the last frame."""
        self.is_fading = False
        """The last frame showed something half transparent: another frame is needed."""

    # Content.

    def clear_scene(self, keep_exact: bool = False, keep_preview: bool = False) -> None:
        """Forget tiles and, unless they are to stay until the next, exact frames and preview."""
        self._slots.clear()
        self._free = list(range(self.capacity - 1, -1, -1))
        self._born[:] = np.inf
        if not keep_exact:
            for texture in (*self._spare, *(layer.texture for layer in self._exact)):
                texture.release()
            self._spare.clear()
            self._exact.clear()
        if self._preview is not None and not keep_preview:
            self._preview.release()
            self._preview = None

    def set_preview(self, pixels: Pixels) -> None:
        """The whole field, small: uint8 [H, W, 4] RGBA."""
        if self._preview is not None:
            self._preview.release()
        self._preview = self._image(pixels)

    def holds(self, key: TileKey) -> bool:
        """Whether the tile has a texture; marks it as used."""
        if key not in self._slots:
            return False
        self._slots.move_to_end(key)
        return True

    def upload(self, key: TileKey, pixels: Pixels, now: float, fade: bool = True) -> None:
        """Give a tile a texture: uint8 [tile_px + 2, tile_px + 2, 4].

        The least recently used tile makes room. `fade` lets it appear softly from `now` on.
        """
        if key in self._slots:
            return
        if self._free:
            slot = self._free.pop()
        else:
            _, slot = self._slots.popitem(last=False)
        side = self.tile_px + 2 * APRON_PX
        self._pool.write(pixels, viewport=(0, 0, slot, side, side, 1))
        self._slots[key] = slot
        self._keys[slot] = key
        self._born[slot] = now if fade else -np.inf

    def set_exact(self, frame: ExactFrame, now: float, fade: bool = True) -> None:
        """Show the exact frame from `now` on; the one before stays below it while it fades in."""
        while len(self._exact) > 1:
            self._spare.append(self._exact.pop(0).texture)
        height, width = frame.pixels.shape[:2]
        texture = self._texture_for(width, height)
        pixels = frame.pixels
        texture.write(np.ascontiguousarray(pixels), viewport=(0, 0, 0, width, height, 1))
        # Texels beside the frame are of an older one: its last line goes on by one.
        if width < texture.width:
            line = np.ascontiguousarray(pixels[:, -1:])
            texture.write(line, viewport=(width, 0, 0, 1, height, 1))
        if height < texture.height:
            line = np.ascontiguousarray(pixels[-1:])
            texture.write(line, viewport=(0, height, 0, width, 1, 1))
        fade_s = self.config.exact_fade_s if fade else 0.0
        self._exact.append(_ExactLayer(frame.view, texture, now, fade_s))

    def exact_is_shown(self, view: ExactView, now: float) -> bool:
        """Whether the exact frame of `view` lies on top, and has faded in."""
        if not self._exact or self._exact[-1].view != view:
            return False
        return now >= self._exact[-1].since + self._exact[-1].fade_s

    def release(self) -> None:
        """Free everything on the GPU."""
        self.clear_scene()
        for buffer, vao in self._stages:
            vao.release()
            buffer.release()
        self._stages.clear()
        for thing in (
            self._shadow_vao,
            self._corners,
            self._pool,
            self._program,
            self._shadow,
        ):
            thing.release()

    def _image(self, pixels: Pixels) -> moderngl.TextureArray:
        height, width = pixels.shape[:2]
        texture = self.ctx.texture_array((width, height, 1), 4, np.ascontiguousarray(pixels))
        texture.filter = (moderngl.LINEAR, moderngl.LINEAR)
        texture.repeat_x = texture.repeat_y = False
        return texture

    def _texture_for(self, width: int, height: int) -> moderngl.TextureArray:
        """A texture that holds so many texels: a spare one, or one that holds the spare's too.

        Frames are cut to the field, so that each may have another size; were their textures made
        and freed in every size, the driver's memory would fill with gaps.
        """
        for i, texture in enumerate(self._spare):
            if texture.width >= width and texture.height >= height:
                return self._spare.pop(i)
        known = [*self._spare, *(layer.texture for layer in self._exact)]
        width = max([width, *(t.width for t in known)])
        height = max([height, *(t.height for t in known)])
        for texture in self._spare:
            texture.release()
        self._spare.clear()
        step = _TEXTURE_STEP_PX
        width, height = math.ceil(width / step) * step, math.ceil(height / step) * step
        texture = self.ctx.texture_array((width, height, 1), 4)
        texture.repeat_x = texture.repeat_y = False
        return texture

    # Drawing.

    def draw(
        self, fbo: Any, view: View, grid: TileGrid | None, now: float, moving: bool = False
    ) -> None:
        """Draw `view` into `fbo`.

        Args:
            fbo: A moderngl framebuffer of `view.size`.
            view: The displayed camera.
            grid: The scene's tile grid; None draws the wall only.
            now: Time for the fades, s.
            moving: Fades are shorter; without a GPU, tiles are drawn texel by texel.
        """
        ctx = self.ctx
        fbo.use()
        fbo.viewport = (0, 0, *view.size)
        fbo.scissor = None
        ctx.disable(moderngl.DEPTH_TEST | moderngl.CULL_FACE | moderngl.BLEND)
        fbo.clear(*self.config.background_rgb, 1.0)
        self.is_fading = False
        self.drawn_tiles = 0
        if grid is None:
            return
        field_px = self._field_rect(view, grid)
        ctx.blend_func = moderngl.SRC_ALPHA, moderngl.ONE_MINUS_SRC_ALPHA
        self._draw_shadow(view, field_px)
        self._program["u_viewport"].value = view.size  # type: ignore[union-attr]
        self._program["u_field"].value = field_px  # type: ignore[union-attr]
        fade_s = self.config.moving_fade_s if moving else self.config.fade_s
        alphas = np.clip((now - self._born) / max(fade_s, 1e-6), 0.0, 1.0)
        alphas[self._born == np.inf] = -1.0
        # A tile that was uploaded this very moment begins at a visible opacity.
        alphas[alphas == 0.0] = 1e-3
        exact = [Held(e.view, e.alpha(now)) for e in self._exact]
        layers, open_below = arrange(
            view, grid, self._keys, alphas, exact, self.config.too_fine_octaves
        )
        stage = 0
        if open_below and self._preview is not None:
            rect = np.array([field_px])
            inner = self._preview.size[:2]
            slots, opaque = np.zeros(1, np.int64), np.ones(1)
            self._draw_quads(stage, self._preview, inner, rect, slots, opaque)
            stage += 1
        plain = moving and self.is_software
        sampling = moderngl.NEAREST if plain else moderngl.LINEAR
        for layer in reversed(layers):
            if layer.source < 0:
                texture, inner = self._pool, (self.tile_px, self.tile_px)
            else:
                shown = self._exact[layer.source]
                texture, inner = shown.texture, shown.view.size
            texture.filter = (sampling, sampling)
            self._draw_quads(stage, texture, inner, layer.rects, layer.slots, layer.alphas)
            stage += 1
            if layer.source < 0:
                self.drawn_tiles += len(layer.slots)
        ctx.disable(moderngl.BLEND)

    def _draw_quads(
        self,
        stage: int,
        texture: moderngl.TextureArray,
        inner: tuple[int, int],
        rects: NDArray[np.float64],
        slots: NDArray[np.int64],
        alphas: NDArray[np.float64],
    ) -> None:
        """Draw quads of one texture, with the buffer of the frame's stage number `stage`.

        The image of a quad has `inner` texels (width, height); tiles have an apron around them.
        """
        translucent = bool((alphas < 1.0).any())
        self.is_fading |= translucent
        (self.ctx.enable if translucent else self.ctx.disable)(moderngl.BLEND)
        apron = float(APRON_PX if texture is self._pool else 0)
        self._program["u_inner"].value = inner  # type: ignore[union-attr]
        self._program["u_apron"].value = apron  # type: ignore[union-attr]
        self._program["u_texture"].value = texture.size[:2]  # type: ignore[union-attr]
        texture.use(0)
        data = np.empty((len(rects), _INSTANCE_FLOATS), "f4")
        data[:, :4], data[:, 4], data[:, 5] = rects, slots, alphas
        buffer, vao = self._stage(stage, len(rects))
        buffer.write(data)
        vao.render(moderngl.TRIANGLE_STRIP, vertices=4, instances=len(data))

    def _stage(self, number: int, rows: int) -> tuple[moderngl.Buffer, moderngl.VertexArray]:
        """A buffer for `rows` instances; one per draw call, so that none waits for another."""
        wanted = rows * _INSTANCE_FLOATS * 4
        if number < len(self._stages) and self._stages[number][0].size >= wanted:
            return self._stages[number]
        buffer = self.ctx.buffer(reserve=max(2 * wanted, 4096), dynamic=True)
        vao = self.ctx.vertex_array(
            self._program,
            [
                (self._corners, "2f", "in_corner"),
                (buffer, "4f 2f/i", "in_rect", "in_layer_alpha"),
            ],
        )
        if number < len(self._stages):
            for old in reversed(self._stages[number]):
                old.release()
            self._stages[number] = (buffer, vao)
        else:
            self._stages.append((buffer, vao))
        return self._stages[number]

    def _draw_shadow(self, view: View, field_px: tuple[float, float, float, float]) -> None:
        left, top, right, bottom = field_px
        width, height = view.size
        if left <= 0 and top <= 0 and right >= width and bottom >= height:
            return
        reach = _SHADOW_REACH * min(view.size)
        self.ctx.enable(moderngl.BLEND)
        self._shadow["u_viewport"].value = view.size  # type: ignore[union-attr]
        self._shadow["u_field"].value = field_px  # type: ignore[union-attr]
        self._shadow["u_rect"].value = (  # type: ignore[union-attr]
            left - reach, top - reach, right + reach, bottom + reach,
        )  # fmt: skip
        self._shadow["u_reach"].value = reach  # type: ignore[union-attr]
        self._shadow["u_strength"].value = 0.55  # type: ignore[union-attr]
        self._shadow_vao.render(moderngl.TRIANGLE_STRIP, vertices=4)

    @staticmethod
    def _field_rect(view: View, grid: TileGrid) -> tuple[float, float, float, float]:
        half_w, half_h = grid.field_size[0] / 2, grid.field_size[1] / 2
        return (*view.to_screen(-half_w, -half_h), *view.to_screen(half_w, half_h))


def _shader(name: str) -> str:
    return resources.files("explorer.shaders").joinpath(name).read_text(encoding="utf-8")


def _pool_layers(ctx: moderngl.Context, pool_bytes: int, side: int) -> int:
    """Tiles that the pool can hold: by bytes, and by what the driver allows."""
    allowed = int(ctx.info.get("GL_MAX_ARRAY_TEXTURE_LAYERS", 256))
    return max(16, min(allowed, pool_bytes // (side * side * 4)))
