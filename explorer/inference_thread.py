"""The thread that owns torch and the opened scale space; the only module of the app with torch.

The window puts its newest wish into one slot; the thread asks the slot before every small batch, so
a wish that is out of date costs one batch at most. Results go into a mailbox with one 'dirty' flag:
the window is told once, and takes everything that has come by then. Exceptions become values.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.chunk_renderer import ChunkRenderer, GivenUp
from explorer.config import StreamingConfig
from explorer.exact_frame import ExactJob, to_rgba
from explorer.mailbox import Mailbox
from explorer.messages import (
    ExactFrame,
    ExactView,
    Failure,
    Opened,
    OpenRequest,
    PictureRequest,
    Progress,
    RenderRequest,
    Result,
    SceneInfo,
    StillRequest,
    StillSaved,
    TileBatch,
)
from explorer.picture_jobs import PictureJobs
from explorer.priority import lower_priority
from explorer.stills import write_still
from explorer.tile_grid import APRON_PX, TileKey
from explorer.tile_stream import ROOT_PX, root_view
from explorer.view_links import StillView, scene_name, view_from_json
from model.latent import Seed, seed_to_json
from model.run_files import run_of
from model.scale import density

if TYPE_CHECKING:
    from explorer.training_messages import LiveSpace
    from model.space import ScaleSpace

Opener = Callable[[str, str, str], "ScaleSpace"]
"""(path, device, precision) to a scale space; called in the inference thread."""

log = logging.getLogger(__name__)
_CHUNK_SIDES_PX = (4112, 2064, 1040, 784, 528, 400, 272, 208, 144)
_REMEMBERED_TILES = 1024
_MIN_BATCH = 2.0
_GIVE_BACK_S = 3.0


class InferenceThread:
    """Renders what the newest request asks for, in short batches."""

    def __init__(
        self,
        on_dirty: Callable[[], None],
        config: StreamingConfig | None = None,
        opener: Opener | None = None,
    ) -> None:
        """Prepare; `start` begins.

        Args:
            on_dirty: Called from this thread when `take_results` has something. Must not block.
            config: Batch times and sizes.
            opener: Opens a path; None takes `model.open_scale_space`.
        """
        self.config = config or StreamingConfig()
        self._mailbox: Mailbox[Result] = Mailbox(on_dirty)
        self._opener = opener or self._open_scale_space
        self.live: Callable[[str], LiveSpace | None] = lambda _path: None
        """The newest weights of a run in training, by its folder; asked before the opener."""
        self.asked = ""
        """Path of the newest request to open; what is shown may still be another."""
        self._wake = threading.Condition()
        self._request: RenderRequest | None = None
        self._open: OpenRequest | None = None
        self._stills: deque[StillRequest] = deque()
        self._pictures = PictureJobs()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        # Owned by the thread from here on.
        self._space: ScaleSpace | None = None
        self._path = self._name = self._run_folder = ""
        self._batch_number = 0
        self._done: dict[TileKey, int] = {}
        self._exact: ExactJob | None = None
        self._exact_done: tuple[ExactView | None, int] = (None, 0)
        self._pixels_per_s = {True: self.config.initial_pixels_per_s, False: 0.0}
        self._batch = float(_MIN_BATCH)
        self._gave_back_at = 0.0
        self._chunks = ChunkRenderer()

    # Called by the window.

    def start(self) -> None:
        """Begin; torch is imported when the first scene is opened."""
        self._thread.start()

    def open(self, request: OpenRequest) -> None:
        """Open another scene; the newest request wins."""
        with self._wake:
            self.asked = request.path
            self._open = request
            self._wake.notify()

    def request(self, request: RenderRequest) -> None:
        """Replace the wish. Never blocks on rendering."""
        with self._wake:
            self._request = request
            self._wake.notify()

    def save_still(self, request: StillRequest) -> None:
        """Render a view into a file."""
        with self._wake:
            self._stills.append(request)
            self._wake.notify()

    def ask_pictures(self, request: PictureRequest) -> None:
        """Render small pictures when there is nothing else to do; replaces its owner's last ones.

        An owner's request without pictures takes back what it asked for.
        """
        with self._wake:
            self._pictures.ask(request)
            self._wake.notify()

    def take_results(self) -> list[Result]:
        """Everything that has been rendered since the last call."""
        return self._mailbox.take()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """End after the batch under way; True when the thread has ended."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    # The thread itself.

    def _run(self) -> None:
        lower_priority(self.config.worker_niceness)
        while True:
            with self._wake:
                while not (self._stopping or self._open or self._stills or self._has_work()):
                    if self._may_draw_pictures():
                        break
                    self._wake.wait()
                if self._stopping:
                    break
                # A still is of what is open now.
                still = self._stills.popleft() if self._stills else None
                opening = None
                if still is None:
                    opening, self._open = self._open, None
                request = self._request
            if still is not None:
                self._guard(lambda s=still: self._do_still(s), "The still was not saved", False)
            elif opening is not None:
                title = f"Cannot open {Path(opening.path).name}"
                self._guard(lambda o=opening: self._do_open(o), title, False)
                self._settle()
            elif request is not None and self._has_work():
                self._guard(lambda r=request: self._do_render(r), "Rendering stopped", True)
            elif self._may_draw_pictures():
                self._guard(self._do_picture, "A small picture was not rendered", False)
        self._chunks.shut_down()
        self._space = None

    def _guard(self, work: Callable[[], None], title: str, fatal: bool) -> None:
        """Do `work`; an exception becomes a value. The thread goes on."""
        try:
            work()
        except Exception as error:  # the thread's boundary: it becomes a value
            log.info("%s", title, exc_info=error)
            if fatal:
                with self._wake:
                    self._request = None
            text = str(error).strip() or type(error).__name__
            self._mailbox.put(Failure(title, text, traceback.format_exc(), fatal))

    def _settle(self) -> None:
        """Where what was asked for last could not be opened, what is open is what was asked for."""
        with self._wake:
            if self._open is None:
                self.asked = self._path

    def _has_work(self) -> bool:
        request = self._request
        if request is None or self._space is None or request.scene != self._space.identity:
            return False
        return self._exact_missing(request) or self._next_tiles(request, 1) != ()

    def _exact_missing(self, request: RenderRequest) -> bool:
        done, number = self._exact_done
        # Delivered before the window asked, and still wanted: it was lost there.
        delivered = request.exact == done and number > request.seen_batch
        return request.exact is not None and not delivered

    # Opening.

    def _do_open(self, request: OpenRequest) -> None:
        from model.torch_threads import set_torch_threads

        # Before anything is computed here: of the helpers that OpenMP makes once it never lets go,
        # and where there are more of them than cores, all sleep at every wait, training's too.
        set_torch_threads(1)
        live = self.live(request.path)
        if live is None:
            self._mailbox.put(Progress(f"Opening {Path(request.path).name} ..."))
            try:
                space = self._opener(request.path, request.device, request.precision)
            except _Cancelled:
                return
        else:
            space = live.space
        self._chunks.prepare(space)
        has_latents = bool(getattr(space, "has_latents", False))
        seed: Seed = request.seed if live is not None and has_latents else 0
        root = _render_root(space, seed)
        left_gpu = str(getattr(self._space, "device", "cpu")) != "cpu"
        self._space, self._path = space, request.path
        run = Path(request.path) if live is not None else run_of(Path(request.path))
        self._run_folder = "" if run is None else str(run.resolve())
        self._name = scene_name(self._run_folder or request.path)
        self._done.clear()
        self._exact, self._exact_done = None, (None, 0)
        if left_gpu:
            from model.out_of_memory import free_cached

            free_cached()  # torch would keep what the recordings of the space before held
        from model import why_no_kernels

        width, height = space.field_size
        low, high = space.level_range
        device = str(getattr(space, "device", "cpu")).partition(":")[0]
        info = SceneInfo(
            identity=space.identity,
            name=Path(request.path).stem,
            path=request.path,
            patch_size=space.patch_size,
            field_size=(float(width), float(height)),
            level_range=(float(low), float(high)),
            device=device,
            has_latents=has_latents,
            step=None if live is None else live.step,
            run=self._run_folder,
            no_kernels=why_no_kernels(),
        )
        # What came of the scene before, and is not fetched yet, is of no use any more.
        self._mailbox.put(Opened(info, root, seed), instead_of=(Opened, TileBatch, ExactFrame))

    def _open_scale_space(self, path: str, device: str, precision: str) -> ScaleSpace:
        """Open with the model's own opener; says how far a pyramid is built, 10 times a second."""
        from model import open_scale_space

        name = Path(path).name
        told_at = time.perf_counter()

        def progress(fraction: float) -> None:
            nonlocal told_at
            if self._stopping or self._open is not None:
                raise _Cancelled
            if time.perf_counter() - told_at > 0.1:
                told_at = time.perf_counter()
                self._mailbox.put(Progress(f"Preparing {name} ...", fraction))

        return open_scale_space(path, device=device, precision=precision, progress=progress)

    # Rendering.

    def _do_render(self, request: RenderRequest) -> None:
        """One batch of tiles, or one chunk of the exact frame."""
        space = self._space
        if space is None or request.scene != space.identity:
            return
        keys = self._next_tiles(request, int(self._batch))
        if keys:
            self._render_tiles(space, request, keys)
        elif self._exact_missing(request):
            self._render_chunk(space, request)

    def _next_tiles(self, request: RenderRequest, count: int) -> tuple[TileKey, ...]:
        """Up to `count` tiles of one step that come next, without those on their way already."""
        chosen: list[TileKey] = []
        limit = request.before_exact if self._exact_missing(request) else len(request.tiles)
        for key in request.tiles[:limit]:
            if self._done.get(key, -1) > request.seen_batch:
                continue
            if chosen and key.step != chosen[0].step:
                break
            chosen.append(key)
            if len(chosen) == count:
                break
        return tuple(chosen)

    def _adapt_batch(self, tiles: int, seconds: float) -> None:
        """Steer the batch towards `batch_target_ms`: up step by step, down in proportion.

        Not from pixels per second: a call has a fixed cost, so that the speed seen with small
        batches would keep them small.
        """
        target_s = self.config.batch_target_ms / 1e3
        if seconds > 1.3 * target_s:
            self._batch = max(_MIN_BATCH, self._batch * 0.75)
        elif seconds < 0.8 * target_s and tiles >= int(self._batch):
            self._batch = min(self._batch + 1, self.config.max_batch_tiles)

    @property
    def _chunk_target_s(self) -> float:
        ends_at_once, config = self._chunks.gives_up_between_layers, self.config
        return (config.chunk_target_ms if ends_at_once else config.whole_chunk_target_ms) / 1e3

    def _chunk_side(self, view: ExactView) -> int:
        """Side of a frame's chunks, pixels: each takes about its target time, each core has one."""
        speed = self._pixels_per_s[False] or 2 * self._pixels_per_s[True]
        width, height = view.size
        fitting = min(1.3 * speed * self._chunk_target_s, width * height) / self._chunks.cores
        return next((s for s in _CHUNK_SIDES_PX if s * s <= fitting), _CHUNK_SIDES_PX[-1])

    def _render_tiles(
        self, space: ScaleSpace, request: RenderRequest, keys: tuple[TileKey, ...]
    ) -> None:
        from model.space import Window

        grid = request.grid
        side = grid.tile_px + 2 * APRON_PX
        level = grid.level(keys[0].step)
        windows = [Window(grid.render_origin(k), level, side, side, request.seed) for k in keys]
        begin = time.perf_counter()
        pixels = to_rgba(space.render(windows))
        seconds = time.perf_counter() - begin
        measured = len(keys) * grid.tile_px**2 / max(seconds, 1e-6)
        self._adapt_batch(len(keys), seconds)
        if request.moving:
            self._measure(True, measured)
        self._batch_number += 1
        for key in keys:
            self._done.pop(key, None)
            self._done[key] = self._batch_number
        while len(self._done) > _REMEMBERED_TILES:
            self._done.pop(next(iter(self._done)))
        self._mailbox.put(
            TileBatch(
                scene=request.scene,
                seed=request.seed,
                number=self._batch_number,
                keys=keys,
                pixels=pixels,
                issued_at=request.issued_at,
                pixels_per_s=self._pixels_per_s[True],
            )
        )

    def _measure(self, moving: bool, pixels_per_s: float) -> None:
        """Follow the speed: quickly down, so that a batch is never too long, slowly up."""
        old = self._pixels_per_s[moving]
        weight = 1.0 if old == 0 else 0.5 if pixels_per_s < old else 0.15
        self._pixels_per_s[moving] = old + weight * (pixels_per_s - old)

    def _render_chunk(self, space: ScaleSpace, request: RenderRequest) -> None:
        """Render the next piece of the exact frame; deliver the frame when it is whole."""
        assert request.exact is not None
        wanted = (request.exact, request.seed)
        if self._exact is None or (self._exact.view, self._exact.seed) != wanted:
            self._exact = ExactJob(
                request.exact, space.patch_size, request.seed, self._chunk_side(request.exact)
            )
        job = self._exact
        begin = time.perf_counter()
        budget_s = self._chunk_target_s
        try:
            pixels = self._chunks.render(job, space, lambda: self._wants(job))
            seconds = time.perf_counter() - begin
            if pixels >= _CHUNK_SIDES_PX[-1] ** 2:
                self._measure(False, pixels / max(seconds, 1e-6))
            # A fast device renders several chunks between two looks at the slot.
            while not job.is_whole and time.perf_counter() - begin + seconds < budget_s:
                self._chunks.render(job, space, lambda: self._wants(job))
        except GivenUp:
            return
        if job.is_whole:
            self._batch_number += 1
            self._exact, self._exact_done = None, (job.view, self._batch_number)
            job.pixels.flags.writeable = False
            self._mailbox.put(
                ExactFrame(
                    scene=request.scene,
                    seed=request.seed,
                    view=job.view,
                    pixels=job.pixels,
                    number=self._batch_number,
                    issued_at=request.issued_at,
                    render_s=time.perf_counter() - job.begun_at,
                )
            )
            self._give_back_memory()

    def _give_back_memory(self) -> None:
        """After an exact frame, while somebody looks at it; not after every one."""
        now = time.perf_counter()
        if now - self._gave_back_at > _GIVE_BACK_S:
            from model.allocator import give_back_memory

            give_back_memory()
            self._gave_back_at = time.perf_counter()

    # Small pictures.

    def _may_draw_pictures(self) -> bool:
        """At rest, and somebody waits for a picture of this scene."""
        here = self._space
        return self._is_at_rest() and here is not None and self._pictures.has(here.identity)

    def _do_picture(self) -> None:
        """One piece of the next small picture; it is delivered when it is whole."""
        space = self._space
        if space is None:
            return
        with self._pictures.next(space.identity, space.patch_size, self._chunk_side) as job:
            if job is not None:
                with suppress(GivenUp):
                    self._chunks.render(job, space, self._is_at_rest)
        for ready in self._pictures.take():
            self._mailbox.put(ready)

    # Stills.

    def _do_still(self, request: StillRequest) -> None:
        space = self._space
        is_newer = bool(request.run) and request.run == self._run_folder
        if space is None or not (request.scene == space.identity or is_newer):
            raise RuntimeError("the scene of this still was closed; open it and save again.")
        self._mailbox.put(Progress(f"Rendering {Path(request.file).name} ..."))
        job = ExactJob(
            request.exact, space.patch_size, request.seed, self._chunk_side(request.exact)
        )
        while not job.is_whole and not self._stopping:
            self._chunks.render(job, space)
        if job.is_whole:
            view = self._still_view(request, space)
            write_still(Path(request.file), job.pixels[..., :3].copy(), view)
            self._mailbox.put(StillSaved(request.file))

    def _still_view(self, request: StillRequest, space: ScaleSpace) -> StillView:
        """What the still carries: the view that was asked for, else the very pixels it holds."""
        exact, half = request.exact, 0.5 / density(request.exact.level, space.patch_size)
        center = [o + side * half for o, side in zip(exact.origin_xy, exact.size, strict=True)]
        place = request.view or {"center": center, "level": exact.level, "size": exact.size}
        scene = {"seed": seed_to_json(request.seed), "name": self._name, "identity": space.identity}
        return view_from_json({**place, **scene})

    def _wants(self, job: ExactJob) -> bool:
        """Whether this frame is what should be rendered now."""
        request, space = self._request, self._space
        return (
            not (self._stopping or self._open is not None or self._stills)
            and request is not None
            and space is not None
            and (request.scene, request.exact, request.seed) == (space.identity, job.view, job.seed)
        )

    def _is_at_rest(self) -> bool:
        request = self._request
        return not self._stopping and (request is None or not request.moving)


class _Cancelled(Exception):
    """Opening was given up: the app closes, or something else is to be opened."""


def _render_root(space: ScaleSpace, seed: Seed) -> Any:
    """The whole field at a low level, about `ROOT_PX` pixels: uint8 [H, W, 4], RGBA."""
    from model.space import Window

    view = root_view(space.field_size, space.level_range, space.patch_size)
    width, height = view.size
    if width * height > 64 * ROOT_PX:
        raise ValueError(
            f"the lowest level of a scene must hold few pixels, got {width} x {height} at level "
            f"{view.level:g}; extend level_range downwards."
        )
    whole = Window(view.origin_xy, view.level, height, width, seed)
    return to_rgba(space.render([whole]))[0]
