"""Frames to an H.264 film: written fragment by fragment, moved into place when it is whole.

While recording, `NAME.part.mp4` grows beside the film, and whoever is killed leaves it playable up
to its last fragment. At the end it is repacked with its index in front and renamed to `NAME.mp4`.
Neither is left when recording fails or is cancelled. No torch and no Qt here: the caller renders.
"""

from __future__ import annotations

import contextlib
import errno
import fractions
import json
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

_QUEUE_FRAMES = 8
_METADATA_KEY = "scalespace"

RenderFrame = Callable[[int], np.ndarray]
"""Frame number to uint8 [H, W, 3]."""


@dataclass(frozen=True)
class FilmSpec:
    """What is written into the file."""

    size: tuple[int, int]
    """Width and height, pixels; even."""
    fps: float
    """Frames per second."""
    num_frames: int
    """Frames; at least 1."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Goes into the film as one JSON object: the camera path, the identity of what was filmed."""
    crf: int = 18
    """Constant rate factor of x264: 0 is lossless, 18 looks it."""
    preset: str = "fast"
    """Speed preset of x264."""

    def __post_init__(self) -> None:
        width, height = self.size
        if width < 2 or height < 2 or width % 2 or height % 2:
            raise ValueError(
                "a film needs an even width and height of 2 pixels or more, "
                f"got {width} x {height}."
            )
        if not 0 < self.fps <= 1000:
            raise ValueError(f"fps must be above 0 and at most 1000, got {self.fps}.")
        if self.num_frames < 1:
            raise ValueError(f"a film needs at least one frame, got {self.num_frames}.")


def even_size(width: int, height: int) -> tuple[int, int]:
    """The size that H.264 can store: odd sides grow by one pixel."""
    return max(2, width + width % 2), max(2, height + height % 2)


def part_path(out: Path) -> Path:
    """The file that grows while `out` is being recorded."""
    return out.with_name(f"{out.stem}.part.mp4")


def record_film(
    out: Path,
    spec: FilmSpec,
    render_frame: RenderFrame,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Render every frame for its own number and write the film.

    Frames are rendered on the calling thread and encoded on another; a full queue holds the
    renderer back.

    Args:
        out: The film, ending in .mp4. An older file is replaced when the new one is whole.
        spec: Size, speed, length, metadata.
        render_frame: Called with 0, 1, ... in order; returns uint8 [H, W, 3] of `spec.size`.
        progress: Called with the number of frames that were rendered. Whatever it, or
            `render_frame`, raises cancels the film, leaves no file and reaches the caller.

    Raises:
        ValueError: The name does not end in .mp4, or a frame has another size.
        OSError: The film cannot be written; nothing is left of it.
    """
    if out.suffix.lower() != ".mp4":
        raise ValueError(f"a film's name must end in .mp4, got {out.name}.")
    part, final = part_path(out), out.with_name(f"{out.stem}.final.part.mp4")
    try:
        with _clear_errors(out):
            with _Encoder(part, spec) as encoder:
                for number in range(spec.num_frames):
                    encoder.put(_check_frame(render_frame(number), spec.size))
                    if progress is not None:
                        progress(number + 1)
            _repack(part, final)
            final.replace(out)
    finally:
        for file in (part, final):
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)


def film_metadata(path: Path) -> dict[str, Any]:
    """What `FilmSpec.metadata` was when the film at `path` was recorded; empty for other films."""
    with av.open(str(path)) as container:
        text = container.metadata.get(_METADATA_KEY, "{}")
    fields = json.loads(text)
    return fields if isinstance(fields, dict) else {}


def _check_frame(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if frame.shape != (size[1], size[0], 3) or frame.dtype != np.uint8:
        raise ValueError(
            f"a frame must be uint8 [{size[1]}, {size[0]}, 3], got {frame.dtype} "
            f"{list(frame.shape)}."
        )
    return frame


class _Encoder:
    """Owns the encoding thread; used as a context manager, which ends and joins it."""

    def __init__(self, path: Path, spec: FilmSpec) -> None:
        self._path = path
        self._spec = spec
        self._frames: queue.Queue[np.ndarray | None] = queue.Queue(maxsize=_QUEUE_FRAMES)
        self._error: Exception | None = None
        self._cancelled = threading.Event()
        self._ended = False  # the encoding thread has seen the end of the frames
        self._thread = threading.Thread(target=self._run, name="film-encoder", daemon=True)

    def __enter__(self) -> _Encoder:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._cancelled.set()
        self._frames.put(None)
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error

    def put(self, frame: np.ndarray) -> None:
        """Hand over one frame; waits while the queue is full."""
        self._frames.put(frame)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        """The encoding thread. Its error is a value, raised by the thread that renders."""
        try:
            self._encode()
        except Exception as error:  # noqa: BLE001  # a worker's exception is a value
            self._error = error
            while not self._ended:  # never leave the renderer waiting
                self._next_frame()

    def _next_frame(self) -> np.ndarray | None:
        """The next frame; None at the end."""
        frame = self._frames.get()
        self._ended = frame is None
        return frame

    def _encode(self) -> None:
        # A Python file, unbuffered: a full disk is then an OSError at the write that met it.
        with self._path.open("wb", buffering=0) as file:
            options = {"movflags": "frag_keyframe+empty_moov+default_base_moof+use_metadata_tags"}
            sink = _Sink(file)
            container = av.open(sink, "w", format="mp4", options=options)
            try:
                stream = self._add_stream(container)
                container.metadata[_METADATA_KEY] = json.dumps(dict(self._spec.metadata))
                container.metadata["encoder"] = "scalespace-explorer"
                number = 0
                while (frame := self._next_frame()) is not None:
                    for packet in stream.encode(self._to_video(frame, number)):
                        container.mux(packet)
                    number += 1
                    sink.check()
                if not self._cancelled.is_set():
                    for packet in stream.encode():
                        container.mux(packet)
            finally:
                container.close()
                sink.check()

    def _add_stream(self, container: Any) -> Any:
        """An H.264 stream, BT.709, limited range, a key frame a second."""
        spec = self._spec
        rate = _frame_rate(spec)
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height = spec.size
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = 1 / rate
        context.gop_size = max(1, round(spec.fps))
        context.color_range = ColorRange.MPEG
        context.colorspace = Colorspace.ITU709
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.BT709
        context.options = {"crf": str(spec.crf), "preset": spec.preset, "rc-lookahead": "20"}
        return stream

    def _to_video(self, frame: np.ndarray, number: int) -> Any:
        """RGB to limited-range BT.709, converted as it is tagged."""
        video = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
        )
        video.pts, video.time_base = number, 1 / _frame_rate(self._spec)
        return video


def _frame_rate(spec: FilmSpec) -> fractions.Fraction:
    """`spec.fps` as film knows it: 29.97 is 30000 / 1001."""
    return fractions.Fraction(spec.fps).limit_denominator(1001)


class _Sink:
    """A file for libav that can be written, not sought; keeps the first error for `check`."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Called by libav on the encoding thread."""
        view = memoryview(data)
        try:
            while len(view) and self._error is None:
                view = view[self._file.write(view) :]
        except OSError as error:
            self._error = error
        return len(data)

    def check(self) -> None:
        """Raise the error that a write met."""
        if self._error is not None:
            raise self._error


def _repack(part: Path, final: Path) -> None:
    """Copy the packets of `part` into a plain mp4 whose index comes first."""
    options = {"movflags": "faststart+use_metadata_tags"}
    with av.open(str(part)) as source, av.open(str(final), "w", options=options) as sink:
        stream = source.streams.video[0]
        copy = sink.add_stream_from_template(stream)
        sink.metadata.update(
            {k: v for k, v in source.metadata.items() if k in (_METADATA_KEY, "encoder")}
        )
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                sink.mux(packet)


@contextlib.contextmanager
def _clear_errors(out: Path) -> Iterator[None]:
    """Turn what the file system says into one line that says what to do."""
    try:
        yield
    except (OSError, av.error.FFmpegError) as error:
        number = getattr(error, "errno", None)
        if number in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            advice = "make room there, or write to another disk with --out"
        else:
            advice = "check the folder, or name another file with --out"
        reason = os.strerror(number) if number and 0 < number < 4096 else str(error)
        message = f"{out} cannot be written: {reason}; {advice}. No film was left."
        raise OSError(number, message) from error
