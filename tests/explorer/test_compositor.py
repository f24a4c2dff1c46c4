"""What is drawn, pixel by pixel, on a GL context without a window."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Iterable, Iterator

import moderngl
import numpy as np
import pytest
from numpy.typing import NDArray

from explorer.camera import Camera, View, fit_camera
from explorer.compositor import Compositor
from explorer.config import ViewportConfig
from explorer.messages import ExactFrame, ExactView
from explorer.tile_grid import TileGrid, TileKey, from_centre
from explorer.tile_stream import exact_view
from model.space import Window, to_uint8
from tests.explorer.fakes import FakeSpace, expected_rgb, preview_rgba

FIELD = (1.25, 1.0)
GRID = TileGrid(64, FIELD, (0.0, 8.0), 64, 2)
SIZE = (320, 240)
LATER = 1e6


@pytest.fixture(scope="module")
def gl_context() -> Iterator[moderngl.Context]:
    try:
        ctx = moderngl.create_context(standalone=True, backend="egl", require=330)
    except Exception as error:  # noqa: BLE001  # any driver's failure
        pytest.skip(f"no OpenGL 3.3 through EGL here ({error})")
    yield ctx
    # A context that stays current here would keep Qt's from becoming current in later tests.
    egl = ctypes.CDLL("libEGL.so.1")
    egl.eglGetCurrentDisplay.restype = ctypes.c_void_p
    egl.eglMakeCurrent.argtypes = [ctypes.c_void_p] * 4
    shown = egl.eglGetCurrentDisplay()
    ctx.release()
    egl.eglMakeCurrent(shown, None, None, None)


@pytest.fixture
def compositor(gl_context: moderngl.Context) -> Iterator[Compositor]:
    made = Compositor(gl_context, ViewportConfig())
    yield made
    made.release()


def screen(compositor: Compositor, view: View, now: float = LATER) -> NDArray[np.float64]:
    """What `draw` leaves on a screen: [H, W, 3] in 0 to 255."""
    ctx = compositor.ctx
    texture = ctx.texture(view.size, 4)
    fbo = ctx.framebuffer([texture])
    compositor.draw(fbo, view, GRID, now)
    flat = np.frombuffer(fbo.read(components=3, alignment=1), np.uint8)
    fbo.release()
    texture.release()
    return flat.reshape(view.size[1], view.size[0], 3)[::-1].astype(np.float64)


def put_tiles(
    compositor: Compositor, keys: Iterable[TileKey], now: float = 0.0, fade: bool = False
) -> None:
    space = FakeSpace(FIELD)
    for key in keys:
        window = Window(GRID.render_origin(key), GRID.level(key.step), 66, 66)
        rgb = to_uint8(space.render([window]))[0].numpy()
        rgba = np.concatenate([rgb, np.full((66, 66, 1), 255, np.uint8)], -1)
        compositor.upload(key, rgba, now, fade=fade)


def put_exact(compositor: Compositor, view: View, now: float = 0.0) -> ExactView:
    exact = exact_view(view, GRID)
    assert exact is not None
    window = Window(exact.origin_xy, exact.level, exact.size[1], exact.size[0])
    rgb = to_uint8(FakeSpace(FIELD).render([window]))[0].numpy()
    rgba = np.concatenate([rgb, np.full((*rgb.shape[:2], 1), 255, np.uint8)], -1)
    compositor.set_exact(ExactFrame("a", 0, exact, rgba, 1, 0.0, 0.0), now)
    return exact


def error_of(image: NDArray[np.float64], view: View) -> float:
    """Largest difference to the formula inside the field, in 255ths."""
    return float(np.nanmax(np.abs(image - expected_rgb(view, FIELD))))


def all_of(step: int, view: View) -> Iterable[TileKey]:
    return from_centre(GRID.tiles(step, view), 0, 0)


def test_the_preview_alone_covers_the_field_and_nothing_else(compositor: Compositor) -> None:
    compositor.set_preview(preview_rgba(FIELD, 256))
    view = View(fit_camera(FIELD, SIZE), SIZE)
    image = screen(compositor, view)
    assert error_of(image, view) < 6
    far = screen(compositor, View(Camera(4.0, 4.0, 0.0), SIZE))
    wall = np.array(ViewportConfig().background_rgb) * 255
    assert np.abs(far - wall).max() < 1.0


def test_tiles_show_every_place_where_it_belongs(compositor: Compositor) -> None:
    """Place, size, orientation and colour of tiles at random views, for levels near the view's."""
    rng = random.Random(0)
    for _ in range(12):
        camera = Camera(rng.uniform(-0.5, 0.5), rng.uniform(-0.4, 0.4), rng.uniform(0.0, 4.0))
        view = View(camera, SIZE)
        step = round(2 * (view.level(64) + rng.choice([-1, -0.5, 0, 0.5])))
        compositor.clear_scene()
        put_tiles(compositor, all_of(step, view))
        assert error_of(screen(compositor, view), view) < 4


def test_edges_between_tiles_cannot_be_seen(compositor: Compositor) -> None:
    """A horizontal second difference across edges is no larger than within tiles."""
    view = View(Camera(0.0131, 0.0077, 2.3), SIZE)
    step = round(2 * view.level(64)) - 1
    put_tiles(compositor, all_of(step, view))
    image = screen(compositor, view)
    bend = np.abs(np.diff(image, 2, axis=1)).max(axis=(0, 2))
    side = GRID.tile_extent(step) * view.density
    first = view.to_screen(GRID.tiles(step, view).x0 * GRID.tile_extent(step), 0)[0]
    columns = np.arange(len(bend)) + 1.5
    near = np.abs((columns - first + side / 2) % side - side / 2) < 1.5
    assert near.any() and bend[near].max() <= bend[~near].max() + 1


def test_missing_tiles_never_leave_a_hole(compositor: Compositor) -> None:
    rng = random.Random(1)
    compositor.set_preview(preview_rgba(FIELD, 256))
    view = View(Camera(0.1, -0.05, 1.2), SIZE)
    level = round(2 * view.level(64))
    for step in (level - 3, level - 1, level, level + 1):
        put_tiles(compositor, [k for k in all_of(step, view) if rng.random() < 0.5])
    assert error_of(screen(compositor, view), view) < 12


def test_hidden_tiles_are_not_drawn(compositor: Compositor) -> None:
    view = View(Camera(0.0, 0.0, 1.5), SIZE)
    level = round(2 * view.level(64))
    for step in range(level + 1):
        put_tiles(compositor, all_of(step, view))
    screen(compositor, view)
    assert compositor.drawn_tiles == GRID.tiles(level, view).count


def test_the_exact_frame_is_shown_texel_by_texel(compositor: Compositor) -> None:
    rng = random.Random(2)
    for _ in range(8):
        camera = Camera(rng.uniform(-0.5, 0.5), rng.uniform(-0.4, 0.4), rng.uniform(0.0, 4.5))
        view = View(camera, SIZE)
        compositor.clear_scene()
        compositor.set_preview(preview_rgba(FIELD))
        put_exact(compositor, view)
        image = screen(compositor, view)
        # Half a step of rounding, and the lattice's 1/512 of a pixel.
        assert error_of(image, view) <= 1.2
        assert compositor.drawn_tiles == 0


def test_the_exact_frame_stays_in_its_place_when_the_view_moves(compositor: Compositor) -> None:
    view = View(Camera(0.1, 0.1, 3.0), SIZE)
    exact = put_exact(compositor, view)
    assert compositor.exact_is_shown(exact, LATER)
    compositor.set_preview(preview_rgba(FIELD, 256))
    for camera in (Camera(0.12, 0.08, 3.0), Camera(0.1, 0.1, 3.4), Camera(0.05, 0.1, 2.5)):
        moved = View(camera, SIZE)
        assert error_of(screen(compositor, moved), moved) < 8


def test_a_small_exact_frame_shows_nothing_of_the_larger_ones_before(
    compositor: Compositor,
) -> None:
    whole = exact_view(View(Camera(0.0, 0.0, 2.0), SIZE), GRID)
    assert whole is not None
    black = np.zeros((whole.size[1], whole.size[0], 4), np.uint8)
    rng = random.Random(4)
    for _ in range(12):
        for number in range(3):
            compositor.set_exact(ExactFrame("a", 0, whole, black, number, 0.0, 0.0), 0.0)
        # At the field's lower right corner the frame is cut to a part of the window.
        camera = Camera(rng.uniform(0.5, 0.6), rng.uniform(0.4, 0.45), rng.uniform(1.0, 2.0))
        view = View(camera, SIZE)
        exact = put_exact(compositor, view)
        assert exact.size[0] < SIZE[0] and exact.size[1] < SIZE[1]
        # Up to half a texel aside, so that pixels are means of texels, at the edges too.
        x, y = (v + rng.uniform(-0.5, 0.5) / view.density for v in (camera.cx, camera.cy))
        aside = View(Camera(x, y, camera.log2_zoom), SIZE)
        shown = screen(compositor, aside)
        error = np.abs(shown - expected_rgb(aside, FIELD, rim_px=0.0))
        assert np.nanmax(error[SIZE[1] // 2 :, SIZE[0] // 2 :]) < 8


def test_new_tiles_fade_in_over_what_lies_below(compositor: Compositor) -> None:
    """Monotone from the old to the new; a fading tile is not taken for a cover."""
    black = np.zeros((66, 66, 4), np.uint8)
    view = View(Camera(0.0, 0.0, 3.0), SIZE)
    step = round(2 * view.level(64))
    for key in all_of(step - 2, view):
        compositor.upload(key, np.full((66, 66, 4), 255, np.uint8), 0.0, fade=False)
    for key in all_of(step, view):
        compositor.upload(key, black, 100.0, fade=True)
    means = []
    for now in (100.0, 100.05, 100.1, 100.14, 100.2):
        means.append(screen(compositor, view, now).mean())
        assert compositor.is_fading == (now < 100.15)
    assert means[0] > 250 and means[-1] == 0
    assert all(a > b for a, b in zip(means, means[1:]))


def test_the_pool_is_bounded_and_reuses_the_least_recently_used(
    gl_context: moderngl.Context,
) -> None:
    made = Compositor(gl_context, ViewportConfig(pool_bytes=20 * 66 * 66 * 4))
    assert made.capacity == 20
    tile = np.zeros((66, 66, 4), np.uint8)
    keys = [TileKey(4, i, 0) for i in range(25)]
    for key in keys[:20]:
        made.upload(key, tile, 0.0)
    assert made.holds(keys[0])
    for key in keys[20:]:
        made.upload(key, tile, 0.0)
    assert made.holds(keys[0]) and not made.holds(keys[1])
    assert sum(made.holds(k) for k in keys) == 20
    made.release()
