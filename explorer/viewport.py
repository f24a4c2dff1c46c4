"""The OpenGL viewport: events go to the view state, frames come from the compositor.

Every painted frame does the same few things: take what the inference thread has delivered, advance
the displayed camera, put the newest wish into the thread's slot, upload some tiles, draw. Nothing
waits. When nothing changes, nothing is painted. GUI thread only.

For benchmarks: `play_path`, `meter`, `is_exact`, `first_frame_at`, `first_fresh_at`, and the
signals `frame_painted`, `fresh_shown`, `exact_shown`, `path_finished`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import moderngl
from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QWidget

from explorer.camera_path import CameraPath, flight
from explorer.compositor import Compositor
from explorer.config import AppConfig
from explorer.frame_rhythm import FrameRhythm
from explorer.inference_thread import InferenceThread
from explorer.input_surface import InputSurface
from explorer.messages import (
    ExactFrame,
    ExactView,
    Failure,
    Opened,
    PicturesReady,
    RenderRequest,
    Result,
    SceneInfo,
    TileBatch,
)
from explorer.meter import FrameMeter
from explorer.tile_grid import APRON_PX, TileGrid, TileKey
from explorer.tile_stream import TileStream, exact_view
from explorer.tile_uploads import TileUploads
from explorer.view_state import Camera, View
from model.latent import Seed

if TYPE_CHECKING:
    from explorer.messages import Pixels

log = logging.getLogger(__name__)
_INPUT_TO_FRAME_S = 0.1
_UNSEEN_S = 0.1
_STEERED_S = 0.1
"""A hand on a trackpad is there again within so long."""


class Viewport(InputSurface):
    """Shows the scene, and lets a hand move through it."""

    frame_painted = Signal()
    """After every painted frame."""
    fresh_shown = Signal(int)
    """A batch of this many newly rendered tiles was painted for the first time."""
    exact_came = Signal()
    """The exact frame is rendered, and fades in from here on."""
    exact_shown = Signal(float)
    """The exact frame is fully shown; seconds since the view came to rest."""
    leaving = Signal()
    """A flight or a path is about to begin."""
    path_finished = Signal()
    """A path or a flight has ended, or a hand took over."""
    path_skipped = Signal(object)
    """A path was not flown, because motion is to be reduced: only its end is shown."""
    scene_changed = Signal(object)
    """Another scene is open (`SceneInfo`), not newer weights of a run; before `scene_opened`."""
    scene_opened = Signal(object)
    """A `SceneInfo`: its pixels come now."""
    message_received = Signal(object)
    """A `Failure`, `Progress` or `StillSaved` from the inference thread."""
    pictures_ready = Signal(object)
    """A `PicturesReady`: small pictures that a panel asked `inference.ask_pictures` for."""
    gl_failed = Signal(str)
    """Drawing is not possible; the reason in one line."""

    def __init__(
        self,
        inference: InferenceThread,
        config: AppConfig | None = None,
        parent: QWidget | None = None,
    ) -> None:
        self.config = config or AppConfig()
        super().__init__(self.config.camera, parent)
        self.inference = inference
        self.stream = TileStream(self.config.streaming)
        self._uploads = TileUploads(self.stream, self.config.viewport)
        self.meter = FrameMeter()
        self.scene: SceneInfo | None = None
        self.first_frame_at: float | None = None
        """time.time() of the first painted frame that showed the picture."""
        self.first_fresh_at: float | None = None
        """time.time() of the first painted frame that showed rendered tiles."""
        self._ctx: moderngl.Context | None = None
        self._compositor: Compositor | None = None
        self._grid: TileGrid | None = None
        self._preview: Pixels | None = None
        self.root_seed: Seed = 0
        """Of which latent `root` is."""
        self._exact: ExactFrame | None = None
        self._kept: ExactFrame | None = None
        """Of weights before, while it is shown: until newer ones are drawn as sharply."""
        self._exact_wanted: ExactView | None = None
        self._exact_announced = False
        self._sent: tuple[object, ...] | None = None
        self._last_frame = time.perf_counter()
        self._sent_at = -1.0
        self._request: RenderRequest | None = None
        self._stays_sharp = False
        """Newer weights were opened while the exact frame of those before was shown."""
        self._opened_at = self._jumped_at = self._last_frame
        self._target_seen: View | None = None
        self._broken = False
        self._halted = False
        self._was_flying = False
        self._is_painting = False
        self._postponed: list[Callable[[], object]] = []
        self._rhythm = FrameRhythm(self.config.viewport, self)
        self._rhythm.due.connect(self.update)
        self.setMinimumSize(160, 120)
        self.setAccessibleName(self.tr("Picture"))
        self.setAccessibleDescription(self.tr("Arrows move, plus and minus zoom, ? shows all keys"))
        self.frameSwapped.connect(self._on_swapped)

    # What others call.

    @property
    def is_exact(self) -> bool:
        """The exact frame of the present view is fully shown."""
        here = self.view_state.target_view == self._target_seen
        return self._exact_announced and here and self.view_state.is_settled

    @property
    def is_swapping(self) -> bool:
        """Another seed was asked for, and what is shown is still of the one before."""
        return self._uploads.is_swapping

    @property
    def is_moving(self) -> bool:
        """The displayed camera is not at rest, or a hand has moved it directly just now."""
        state = self.view_state
        steered = time.perf_counter() - state.steered_at < _STEERED_S
        return steered or not state.is_settled or state.is_dragging

    def set_preview(
        self, pixels: Pixels, field_size: tuple[float, float], max_level: float, patch_size: int
    ) -> None:
        """Show a small picture of the whole field until there is something better.

        Args:
            pixels: uint8 [H, W, 4], RGBA.
            field_size: Width and height of the scene, field units.
            max_level: Deepest level that the scene will have, octaves.
            patch_size: Pixels.
        """
        self._preview = pixels
        self._grid = self._make_grid(patch_size, field_size, (0.0, max_level))
        self.scene = None
        self.view_state.set_scene(field_size, max_level, patch_size)
        self._forget_content()
        self.wake()

    def receive(self) -> None:
        """The inference thread has something: paint a frame, which takes it."""
        if self.isVisible() and self._compositor is not None:
            if self.is_exact:  # nothing that comes now can be seen: a few frames for all of it
                self._rhythm.wake_later(_UNSEEN_S)
            else:
                self.wake()
        else:
            self._take_results(time.perf_counter())

    def wake(self) -> None:
        """Paint a frame soon, no earlier than the display's rhythm allows."""
        if not self._broken:
            self._rhythm.wake()

    def fly_to(self, camera: Camera) -> None:
        """Fly to `camera` on van Wijk and Nuij's path."""
        c = self.config.camera
        here = self.view_state.displayed
        self.play_path(flight(here, camera, speed=c.fly_speed, max_s=c.fly_max_s))

    def play_path(self, path: CameraPath, *, speed: float = 1.0) -> None:
        """Let `path` move the camera, `speed` times as fast as it says."""
        self.leaving.emit()
        self.view_state.fly(path, time.perf_counter(), speed)
        if not self.view_state.is_flying:
            self.path_skipped.emit(path)
        self.wake()

    def stop_path(self) -> None:
        """End a path where it is."""
        self.view_state.stop_flight()
        self.wake()

    def set_seed(self, seed: Seed) -> None:
        """Show the latent that `seed` names, from where one is; see `SceneInfo.has_latents`.

        What is shown stays until the view is covered by the new picture.
        """
        if self.scene is None or self._grid is None or seed == self.stream.seed:
            return
        self.stream.set_scene(self.scene.identity, self._grid, seed)
        self._forget_content(keep_shown=True)
        self._opened_at = time.perf_counter()
        self._uploads.begin_swap(self._opened_at)
        self.wake()

    def set_root(self, pixels: Pixels) -> None:
        """Another picture of the whole field to lie below everything: uint8 [H, W, 4], RGBA."""
        self._preview, self.root_seed = pixels, self.stream.seed
        if self._compositor is not None:
            self.makeCurrent()
            self._compositor.set_preview(pixels)
        self.wake()

    def current_exact(self) -> ExactView | None:
        """The window of the present target view, for a still."""
        return exact_view(self.view_state.target_view, self._grid) if self._grid else None

    def set_wall(self, rgb: tuple[float, float, float]) -> None:
        """Paint the wall behind the picture in this colour: display-referred sRGB in [0, 1]."""
        self.config = replace(
            self.config, viewport=replace(self.config.viewport, background_rgb=rgb)
        )
        if self._compositor is not None:
            self._compositor.config = self.config.viewport
        self.wake()

    @property
    def root(self) -> Pixels | None:
        """The whole field, small: uint8 [H, W, 4] RGBA; None before a scene is open."""
        return self._preview

    @property
    def held_exact(self) -> ExactFrame | None:
        """The newest exact frame, of this view or of one before."""
        return self._exact

    @property
    def shown_exact(self) -> ExactFrame | None:
        """The exact frame that lies over the present view: its own, or of weights before."""
        if self.is_exact:
            return self._exact
        kept = self._kept
        here = kept is not None and self.view_state.is_settled
        return kept if here and kept is not None and kept.view == self.current_exact() else None

    @property
    def pool_bytes(self) -> int:
        """Bytes of tile textures."""
        compositor = self._compositor
        side = 0 if compositor is None else compositor.tile_px + 2 * APRON_PX
        return 0 if compositor is None else compositor.capacity * side * side * 4

    @property
    def is_software(self) -> bool:
        """Drawn by the processor: there is no GPU, and what lies over the picture costs frames."""
        return self._compositor is not None and self._compositor.is_software

    @property
    def renderer(self) -> str:
        """What draws: the name that the OpenGL driver gives itself."""
        ctx = self._ctx
        return "none" if ctx is None else f"{ctx.info['GL_RENDERER']}, {ctx.info['GL_VERSION']}"

    @property
    def queue_length(self) -> int:
        """What was asked for last and has not come: tiles, and the exact frame as one."""
        request = self._request
        if request is None:
            return 0
        waiting = sum(key not in self.stream.cache for key in request.tiles)
        return waiting + (request.exact is not None and not self._exact_announced)

    def release_gl(self) -> None:
        """Free the GPU's memory; before the window closes."""
        self._broken = True
        self._rhythm.stop()
        self._drop_context()

    # OpenGL.

    def showEvent(self, event: QShowEvent) -> None:
        """Qt makes the context now; where it can make none, it calls nothing of ours to say so."""
        super().showEvent(event)
        QTimer.singleShot(0, self._look_for_context)

    def _look_for_context(self) -> None:
        if self.isVisible() and not self.isValid() and not self._broken:
            self._fail(RuntimeError(self.tr("no OpenGL context could be made")))

    def initializeGL(self) -> None:
        """A new context: build everything again from what the CPU side holds."""
        try:
            self._ctx = moderngl.create_context()
            self._compositor = Compositor(
                self._ctx, self.config.viewport, self.config.streaming.tile_px
            )
            self.context().aboutToBeDestroyed.connect(self._drop_context)
            if self._preview is not None:
                self._compositor.set_preview(self._preview)
            self._kept = None
            if self._exact is not None:
                self._compositor.set_exact(self._exact, 0.0, fade=False)
        except Exception as error:  # noqa: BLE001  # any driver's failure ends drawing, not the app
            self._fail(error)

    def paintGL(self) -> None:
        """One frame. An exception here would surface in whoever asked for the repaint."""
        if self._broken or self._ctx is None or self._compositor is None:
            return
        self._is_painting = True
        try:
            self._paint(self._ctx, self._compositor)
        except Exception as error:  # noqa: BLE001  # the boundary of Qt's paint call
            self._fail(error)
        finally:
            self._is_painting = False
        if self._postponed:
            QTimer.singleShot(0, self._catch_up)

    def _after_paint(self, act: Callable[[], object]) -> None:
        """Do it now, or when Qt has painted: whoever is told may lay the window out anew.

        That gives the viewport another texture, and Qt would go on to compose the freed one.
        """
        if self._is_painting:
            self._postponed.append(act)
        else:
            act()

    def _catch_up(self) -> None:
        postponed, self._postponed = self._postponed, []
        for act in postponed:
            act()
        if not self.is_exact:
            self.wake()

    def _paint(self, ctx: moderngl.Context, compositor: Compositor) -> None:
        now = time.perf_counter()
        fbo = ctx.detect_framebuffer(self.defaultFramebufferObject())
        self.view_state.resize(fbo.size)
        self._take_results(now)
        self.view_state.advance(now - self._last_frame, now)
        self._last_frame = now
        self._rhythm.painting(now, self.is_moving)
        self._send_request(now)
        shown = self._upload(compositor, now)
        compositor.draw(fbo, self.view_state.view, self._grid, now, moving=self.is_moving)
        self._count(compositor, shown, now)

    def _fail(self, error: Exception) -> None:
        """Report once and stop painting."""
        log.error("The viewport cannot draw.", exc_info=error)
        self._broken = True
        reason = str(error) or type(error).__name__
        QTimer.singleShot(0, lambda: self.gl_failed.emit(reason))

    def _drop_context(self) -> None:
        if self._compositor is None:
            return
        self.makeCurrent()
        self._compositor.release()
        self._compositor = self._ctx = None
        self.doneCurrent()

    def _on_swapped(self) -> None:
        """The frame is on its way to the screen: is there another to paint?"""
        self.frame_painted.emit()
        flying = self.view_state.is_flying
        if self._was_flying and not flying:
            self.path_finished.emit()
        self._was_flying = flying
        if self._needs_frame():
            self.wake()
        elif self.scene is not None and self._exact_wanted is None and not self._exact_announced:
            self._rhythm.wake_later(self.config.streaming.exact_delay_s)

    def _needs_frame(self) -> bool:
        compositor = self._compositor
        if compositor is None:
            return False
        exact_fading = (
            self._exact is not None
            and not self._exact_announced
            and (self._exact.view == self._exact_wanted)
        )
        return (
            self.is_moving
            or self.view_state.is_flying
            or compositor.is_fading
            or self._uploads.is_waiting
            or exact_fading
        )

    # Results and requests.

    def _take_results(self, now: float) -> None:
        for result in self.inference.take_results():
            self._accept(result, now)

    def _accept(self, result: Result, now: float) -> None:
        if isinstance(result, TileBatch):
            keys = self.stream.accept(result)
            if keys and self._compositor is not None:
                self._uploads.came(result.issued_at, keys)
        elif isinstance(result, ExactFrame):
            self.stream.seen_batch = max(self.stream.seen_batch, result.number)
            # Stale where the view has moved on; the pixels would still be right, but never wanted.
            stream, drawn = self.stream, (result.scene, result.seed)
            if drawn != (stream.scene, stream.seed):
                return
            old, new = self._exact_s, result.render_s
            self._exact_s = new if old == math.inf else 0.7 * old + 0.3 * new
            in_flight = self._flies_exact and not self.view_state.is_settled
            if in_flight or result.view == self._exact_wanted:
                self._exact = result
                self._exact_announced = False
                if self._compositor is not None:
                    self._uploads.end_swap(self._compositor)
                    self._compositor.set_exact(result, now, fade=not in_flight)
                self._after_paint(self.exact_came.emit)
        elif isinstance(result, Opened):
            self._after_paint(lambda: self._open_scene(result))
        elif isinstance(result, PicturesReady):
            self._after_paint(lambda: self.pictures_ready.emit(result))
        else:
            if isinstance(result, Failure) and result.fatal_to_scene:
                self._halted = True
            self._after_paint(lambda: self.message_received.emit(result))

    def _open_scene(self, opened: Opened) -> None:
        """Stream another scene from now on; the view stays where the preview of it was shown."""
        info = opened.info
        state = self.view_state
        alike = (state.field_size, state.patch_size) == (info.field_size, info.patch_size)
        previewed = alike and self.scene is None and self._preview is not None
        # Weights of a run: the view stays, and what earlier ones drew until there is better.
        newer = alike and self.scene is not None and info.step is not None
        same = newer and info.continues(self.scene)
        self._stays_sharp = same and self.is_exact
        if self._stays_sharp:
            self._kept = self._exact
        self._grid = self._make_grid(info.patch_size, info.field_size, info.level_range)
        self._preview, self.root_seed = opened.root, opened.seed
        if not previewed and not newer:
            self.view_state.set_scene(info.field_size, info.level_range[1], info.patch_size)
        self._forget_content(keep_exact=same)
        self._halted = False
        self._exact_s = math.inf
        self.view_state.max_level = info.level_range[1]
        before, self.scene = self.scene, info
        self._opened_at = time.perf_counter()
        self.stream.set_scene(info.identity, self._grid, self.stream.seed if newer else 0)
        if not info.continues(before):
            self.scene_changed.emit(info)
        self.scene_opened.emit(info)

    def _make_grid(
        self, patch_size: int, field_size: tuple[float, float], level_range: tuple[float, float]
    ) -> TileGrid:
        s = self.config.streaming
        return TileGrid(patch_size, field_size, level_range, s.tile_px, s.steps_per_octave)

    def _forget_content(self, keep_exact: bool = False, keep_shown: bool = False) -> None:
        self._exact = self._exact_wanted = None
        if not keep_exact:
            self._kept = None
        self._exact_announced = False
        self._uploads.clear()
        self._sent = self._request = None
        compositor = self._compositor
        if compositor is not None and not keep_shown:
            self.makeCurrent()
            compositor.clear_scene(keep_exact)
            if self._preview is not None:
                compositor.set_preview(self._preview)

    @property
    def _flies_exact(self) -> bool:
        """Whether exact frames come fast enough to be all that a flight shows."""
        is_gpu = self.scene is not None and self.scene.device.startswith("cuda")
        return is_gpu and self._exact_s <= self.config.streaming.exact_flight_s

    def _rest_s(self, now: float) -> float:
        """How long the target camera has been at rest, s; 0 while it moves."""
        since = self.view_state.rest_since
        return 0.0 if since is None else now - max(since, self._opened_at, self._jumped_at)

    def _send_request(self, now: float) -> None:
        """Put the newest wish into the thread's slot, if it changed."""
        if self.scene is None or self._grid is None or self._halted:
            return
        state = self.view_state
        target = state.target_view
        if target != self._target_seen:
            self._target_seen = target
            # A hand's input brings its own time; a jump by program, or a resize, does not.
            if now - state.last_input_at > _INPUT_TO_FRAME_S:
                self._jumped_at = now
        # Newer weights of a run, and nobody has moved since: what they replace is sharp and stays
        # until they are drawn as sharply. There is nothing to wait for, and no tile is worth it.
        came = max(state.last_input_at, self._jumped_at) > self._opened_at
        newer = self._stays_sharp and not came and not self._uploads.is_swapping
        waited = self._rest_s(now) >= self.config.streaming.exact_delay_s
        at_rest = waited or (newer and state.rest_since is not None)
        resting = at_rest and not self._uploads.is_swapping
        flies = self._flies_exact and not state.is_settled
        shown = state.view if flies else target if resting else None
        self._exact_wanted = exact_view(shown, self._grid) if shown is not None else None
        held = self._exact.view if self._exact is not None else None
        missing = None if held == self._exact_wanted else self._exact_wanted
        if self._exact_wanted is None or missing is not None:
            self._exact_announced = False
        wish = (target, state.displayed, missing, resting, self.stream.seen_batch)
        if wish == self._sent:
            return
        is_early = now - self._sent_at < self.config.streaming.plan_period_s
        if is_early and not (resting or flies):
            return
        self._sent, self._sent_at = wish, now
        request = self.stream.plan(
            target,
            state.view,
            moving=not resting,
            exact=missing,
            now=now,
            cover_first=came or (self.scene.step is not None and not self._stays_sharp),
            exact_alone=newer,
        )
        self._request = request
        self.inference.request(request)

    def _upload(self, compositor: Compositor, now: float) -> set[TileKey]:
        """Give visible tiles a texture, as many as the frame's budget allows; returns these."""
        if self.scene is None or self._grid is None:
            return set()
        view = self.view_state.view
        return self._uploads.upload(compositor, self._grid, view, now, self.is_moving)

    def _count(self, compositor: Compositor, shown: set[TileKey], now: float) -> None:
        """Note what this frame showed for the first time."""
        self.meter.painted(now)
        if self.first_frame_at is None and self._grid is not None:
            self.first_frame_at = time.time()
        for issued_at, count in self._uploads.first_seen(shown):
            self.meter.fresh(now, issued_at, count)
            self.first_fresh_at = self.first_fresh_at or time.time()
            self._after_paint(lambda n=count: self.fresh_shown.emit(n))  # type: ignore[misc]
        # The frame of weights before may still be on the screen; it is not the one that is wanted.
        wanted = self._exact_wanted if self._exact is not None else None
        ready = wanted is not None and self.view_state.is_settled and not self._exact_announced
        if ready and wanted is not None and compositor.exact_is_shown(wanted, now):
            self._exact_announced = True
            self._kept = None
            delay_s = self._rest_s(now)
            self.meter.exact(delay_s)
            self._after_paint(lambda: self.exact_shown.emit(delay_s))
