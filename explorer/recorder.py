"""Frames to a film, H.264 in MP4 or VP9 in WebM, moved into place when it is whole.

While recording, `NAME.part.mp4` grows beside the film, and whoever is killed leaves it playable up
to its last second. At the end it is repacked with its index in front and renamed to `NAME.mp4`.
Neither is left when recording fails or is cancelled, unless it was to be resumed.

Every second is a segment with an encoder of its own, so that it depends on its own frames only: a
part of a film is taken up again by copying its whole segments, and the film is then the same, frame
by frame, as one that was never broken. No torch and no Qt here: the caller renders.
"""

from __future__ import annotations

import contextlib
import errno
import fractions
import hashlib
import itertools
import json
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from explorer.film_parts import kept_path, part_path

_QUEUE_FRAMES = 8
_METADATA_KEY = "scalespace"
_PART_KEY = "scalespace_part"
_GLOBAL_HEADER = 1 << 22  # AV_CODEC_FLAG_GLOBAL_HEADER: parameter sets in the file's head

RenderFrame = Callable[[int], np.ndarray]
"""Frame number to uint8 [H, W, 3]."""


@dataclass(frozen=True)
class _Container:
    """How films of one kind of file are written."""

    codec: str
    part_options: Mapping[str, str]
    """Of a file that grows and may be cut anywhere."""
    final_options: Mapping[str, str]
    """Of a whole file: its index comes first."""
    copy_filter: str = ""
    """Turns packets that were read back into those that the encoder gave."""


_CONTAINERS = {
    ".mp4": _Container(
        "libx264",
        {"movflags": "frag_keyframe+empty_moov+default_base_moof+use_metadata_tags"},
        {"movflags": "faststart+use_metadata_tags"},
        "h264_mp4toannexb,filter_units=remove_types=7-8",
    ),
    ".webm": _Container("libvpx-vp9", {}, {"cues_to_front": "1"}),
}
FILM_FORMATS = tuple(_CONTAINERS)
"""Endings of films that can be written."""


class OtherFilmError(ValueError):
    """What is to be resumed is of another film; the message says what to do."""


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
    """Constant rate factor of x264: 0 is lossless, 18 looks it. VP9 gets 8 more, for the same."""
    preset: str = "fast"
    """Speed preset of x264."""
    even: bool = True
    """Whether the sides must be even, as films need it and single frames do not."""

    def __post_init__(self) -> None:
        width, height = self.size
        if self.even and (width < 2 or height < 2 or width % 2 or height % 2):
            raise ValueError(
                "a film needs an even width and height of 2 pixels or more, "
                f"got {width} x {height}."
            )
        if not 0 < self.fps <= 1000:
            raise ValueError(f"fps must be above 0 and at most 1000, got {self.fps}.")
        if self.num_frames < 1:
            raise ValueError(f"a film needs at least one frame, got {self.num_frames}.")

    @property
    def segment_frames(self) -> int:
        """Frames that are encoded together: those of a second."""
        return max(1, round(self.fps))

    @property
    def fingerprint(self) -> str:
        """Names everything that decides what is in the film, the encoder's version included."""
        fields = asdict(self) | {"metadata": dict(self.metadata), "encoder": av.__version__}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def even_size(width: int, height: int) -> tuple[int, int]:
    """The size that H.264 can store: odd sides grow by one pixel."""
    return max(2, width + width % 2), max(2, height + height % 2)


def record_film(
    out: Path,
    spec: FilmSpec,
    render_frame: RenderFrame,
    progress: Callable[[int], None] | None = None,
    *,
    resume: bool = False,
) -> None:
    """Render every frame for its own number and write the film.

    Frames are rendered on the calling thread and encoded on another; a full queue holds the
    renderer back.

    Args:
        out: The film, ending in .mp4 or .webm. An older file is replaced when the new one is whole.
        spec: Size, speed, length, metadata.
        render_frame: Called with 0, 1, ... in order; returns uint8 [H, W, 3] of `spec.size`.
        progress: Called with the number of frames that are done. Whatever it, or `render_frame`,
            raises cancels the film and reaches the caller.
        resume: Go on where an earlier recording of the same film was broken, if one was; and leave
            what there is for another try, should this one fail too. Otherwise a film that fails
            leaves no file.

    Raises:
        ValueError: The name does not end in .mp4 or .webm, or a frame has another size.
        OtherFilmError: `resume`, and the part that is there is of another film.
        OSError: The film cannot be written.
    """
    if out.suffix.lower() not in _CONTAINERS:
        endings = " or ".join(_CONTAINERS)
        raise ValueError(f"a film's name must end in {endings}, got {out.name}.")
    part, kept = part_path(out), kept_path(out)
    final = out.with_name(f"{out.stem}.final.part{out.suffix.lower()}")
    whole = False
    try:
        with _clear_errors(out, resume):
            if not resume:
                kept.unlink(missing_ok=True)  # of a recording that nobody goes on with
            old = _Kept.find(out, spec) if resume else None
            with _Encoder(part, spec, old) as encoder:
                first = 0 if old is None else old.frames
                if first and progress is not None:
                    progress(first)
                for number in range(first, spec.num_frames):
                    encoder.put(check_frame(render_frame(number), spec.size))
                    if progress is not None:
                        progress(number + 1)
            _repack(part, final)
            whole = True
        _into_place(final, out)
    finally:
        broken = (final,) if resume else (part, kept, final)
        for file in (part, kept) if whole else broken:
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)


def _into_place(final: Path, out: Path) -> None:
    """Rename the film; one that is open in a player may not be replaced everywhere."""
    try:
        final.replace(out)
    except OSError as error:
        message = f"{out} cannot be replaced: {error.strerror}; the film is whole: {final}."
        raise OSError(error.errno, message) from error


def _plain(path: Path) -> str:
    """A name that FFmpeg takes for no protocol, whatever stands before a colon in it."""
    return os.path.abspath(path)


def film_metadata(path: Path) -> dict[str, Any]:
    """What `FilmSpec.metadata` was when the film at `path` was recorded; empty for other films."""
    with av.open(_plain(path)) as container:
        text = _tags(container).get(_METADATA_KEY, "{}")
    fields = json.loads(text)
    return fields if isinstance(fields, dict) else {}


def _tags(container: Any) -> dict[str, str]:
    """The metadata of a file; Matroska shouts its names."""
    return {key.lower(): value for key, value in container.metadata.items()}


@dataclass(frozen=True)
class _Kept:
    """The part of a broken recording."""

    file: Path
    frames: int
    """Frames in its whole segments."""

    @classmethod
    def find(cls, out: Path, spec: FilmSpec) -> _Kept | None:
        """What is left of an earlier recording, put aside; None where there is nothing of use.

        Raises:
            OtherFilmError: It is of another film.
        """
        part, kept = part_path(out), kept_path(out)
        if not kept.exists():  # else an earlier resumption was broken before it had copied all
            if not part.exists() or part.stat().st_size == 0:
                return None
            _check_same(part, spec)
            part.replace(kept)
        _check_same(kept, spec)
        packets = sum(1 for _ in _read_packets(kept))
        # Whatever cut the file cut its last segment, which may look whole.
        segments = max(0, -(-packets // spec.segment_frames) - 1)
        return cls(kept, segments * spec.segment_frames)

    def copy_into(self, container: Any, stream: Any, spec: FilmSpec) -> None:
        """Put the whole segments into a new file."""
        rate = _frame_rate(spec)
        name = _CONTAINERS[self.file.suffix].copy_filter
        packets = _read_packets(self.file, name, self.frames)
        waiting = list(itertools.islice(packets, spec.segment_frames))
        first = min((packet.pts for packet in waiting), default=0)  # of frame 0
        for packet in (*waiting, *packets):
            dts = packet.pts if packet.dts is None else packet.dts
            unit = packet.time_base * rate
            packet.pts, packet.dts = round((packet.pts - first) * unit), round((dts - first) * unit)
            packet.time_base = 1 / rate
            packet.duration = 1
            packet.stream = stream
            container.mux(packet)


def _read_packets(file: Path, copy_filter: str = "", limit: int | None = None) -> Iterator[Any]:
    """The packets of a film in their order, as far as it can be read; at most `limit`."""
    with av.open(_plain(file)) as container:
        stream = container.streams.video[0]
        bitstream = BitStreamFilterContext(copy_filter, stream) if copy_filter else None
        count = 0
        try:
            for packet in container.demux(stream):
                if limit is not None and count >= limit:
                    return
                if packet.pts is None or packet.is_corrupt:
                    continue
                count += 1
                yield from [packet] if bitstream is None else bitstream.filter(packet)
        except av.error.InvalidDataError:
            return  # where the file was cut


def _check_same(file: Path, spec: FilmSpec) -> None:
    """Refuse a part that is of another film, or not readable as a film."""
    try:
        with av.open(_plain(file)) as container:
            same = _tags(container).get(_PART_KEY) == spec.fingerprint
    except av.error.InvalidDataError:
        same = False
    if not same:
        raise OtherFilmError(
            f"{file} is of another film (another path, size, rate, scene or version); remove it, "
            "or record under another name, or without --resume."
        )


def check_frame(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`frame`, if it is uint8 [H, W, 3] of `size`.

    Raises:
        ValueError: It is not.
    """
    if frame.shape != (size[1], size[0], 3) or frame.dtype != np.uint8:
        raise ValueError(
            f"a frame must be uint8 [{size[1]}, {size[0]}, 3], got {frame.dtype} "
            f"{list(frame.shape)}."
        )
    return frame


class _Encoder:
    """Owns the encoding thread; used as a context manager, which ends and joins it."""

    def __init__(self, path: Path, spec: FilmSpec, old: _Kept | None = None) -> None:
        self._path = path
        self._spec = spec
        self._old = old
        self._kind = _CONTAINERS[path.suffix]
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
            options = dict(self._kind.part_options)
            sink = _Sink(file)
            container = av.open(sink, "w", format=self._path.suffix[1:], options=options)
            try:
                stream = container.add_stream(self._kind.codec, rate=_frame_rate(self._spec))
                self._set_up(stream.codec_context)  # gives the file its head; encodes nothing
                container.metadata[_METADATA_KEY] = json.dumps(dict(self._spec.metadata))
                container.metadata[_PART_KEY] = self._spec.fingerprint
                container.metadata["encoder"] = "scalespace-explorer"
                if self._old is not None:
                    self._old.copy_into(container, stream, self._spec)
                    sink.check()
                self._encode_segments(container, stream, sink)
            finally:
                container.close()
                sink.check()

    def _encode_segments(self, container: Any, stream: Any, sink: _Sink) -> None:
        """Encode what comes, every segment by itself."""
        number = 0 if self._old is None else self._old.frames
        encoder: Any = None

        def write(frame: Any) -> None:
            for packet in encoder.encode(frame):
                packet.stream = stream
                container.mux(packet)

        while (frame := self._next_frame()) is not None:
            if number % self._spec.segment_frames == 0:
                if encoder is not None:
                    write(None)
                    self._forget_old(number)
                encoder = av.CodecContext.create(self._kind.codec, "w")
                self._set_up(encoder)
            write(self._to_video(frame, number))
            number += 1
            sink.check()
        if encoder is not None and not self._cancelled.is_set():
            write(None)

    def _forget_old(self, number: int) -> None:
        """Remove the part of before once the new one has all of it on disk, and a segment more."""
        old = self._old
        if old is not None and number > old.frames + self._spec.segment_frames:
            old.file.unlink(missing_ok=True)

    def _set_up(self, context: Any) -> None:
        """BT.709, limited range, a key frame at the beginning of every segment."""
        spec = self._spec
        rate = _frame_rate(spec)
        context.width, context.height = spec.size
        context.pix_fmt = "yuv420p"
        context.time_base, context.framerate = 1 / rate, rate
        context.gop_size = spec.segment_frames
        context.flags = int(context.flags) | _GLOBAL_HEADER
        context.color_range = ColorRange.MPEG
        context.colorspace = Colorspace.ITU709
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.BT709
        if self._kind.codec == "libx264":
            # With macroblock trees x264 gives the same frames other bits now and then, when other
            # encoders lived in the same memory before.
            options = {"crf": str(spec.crf), "preset": spec.preset, "x264-params": "mbtree=0"}
        else:
            options = {"crf": str(spec.crf + 8), "b": "0", "deadline": "good", "cpu-used": "4"}
        context.options = options

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
    ntsc = fractions.Fraction(round(spec.fps * 1.001) * 1000, 1001)
    exact = fractions.Fraction(spec.fps).limit_denominator(1001)
    return ntsc if exact.denominator > 1 and abs(spec.fps - ntsc) < 1e-3 else exact


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
    """Copy the packets of `part` into a plain file whose index comes first."""
    options = dict(_CONTAINERS[final.suffix].final_options)
    with av.open(_plain(part)) as source, av.open(_plain(final), "w", options=options) as sink:
        stream = source.streams.video[0]
        copy = sink.add_stream_from_template(stream)
        tags = _tags(source)
        sink.metadata.update({k: v for k, v in tags.items() if k in (_METADATA_KEY, "encoder")})
        first: int | None = None
        for packet in source.demux(stream):
            if packet.dts is not None and packet.pts is not None:
                # The part begins late by the frames that an encoder holds back, and a film that
                # begins late shows nothing at first.
                first = packet.pts if first is None else first
                packet.pts -= first
                packet.dts -= first
                packet.stream = copy
                sink.mux(packet)


@contextlib.contextmanager
def _clear_errors(out: Path, resume: bool = False) -> Iterator[None]:
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
        left = "What is done was kept for --resume." if resume else "No film was left."
        message = f"{out} cannot be written: {reason}; {advice}. {left}"
        raise OSError(number, message) from error
