"""One clip in many wrappings that players show alike.

Containers, codecs, geometries and stream layouts.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.stream import Disposition
from PIL import Image

_RATE = 25
_TIME_BASE = Fraction(1, 12800)
_TICKS = 512  # Of a frame at 25 a second.
Frames = Sequence[np.ndarray]


def encode(
    path: Path,
    frames: Frames,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    stamps: Sequence[int] | None = None,
    prepare: Callable[[av.container.OutputContainer], object] = lambda opened: None,
    finish: Callable[[av.container.OutputContainer, object], object] = lambda opened, made: None,
    matrix: str = "",
    **settings: object,
) -> Path:
    """Writes RGB frames as one video stream.

    Args:
      path: its ending names the container.
      frames: uint8 [height, width, 3] each.
      codec: of FFmpeg.
      pix_fmt: pixel format of the stream.
      options: of the codec.
      container: options of the container.
      stamps: presentation times in units of 1/12800 s; even ones by default.
      prepare: called before the stream is added, so that others come first.
      finish: called after the last frame, with what `prepare` gave.
      matrix: from RGB, by PyAV's name; swscale's by default.
      settings: attributes of the stream, such as `sample_aspect_ratio`.
    """
    with av.open(str(path), "w", container_options=container or {}) as opened:
        made = prepare(opened)
        stream = opened.add_stream(codec, rate=_RATE, options=options or _QUALITY.get(codec, {}))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        fine = codec in _FINE and path.suffix != ".avi"  # Whose time stamps number the frames.
        stream.codec_context.time_base = _TIME_BASE if fine else Fraction(1, _RATE)
        rotation = settings.pop("rotation", None)
        for name, value in settings.items():
            setattr(stream, name, value)
        if rotation is not None:
            stream.set_display_rotation(*rotation)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels))
            if matrix:
                frame = frame.reformat(format=pix_fmt, dst_colorspace=matrix)
            frame.pts = number * _TICKS if fine else number
            if stamps is not None:
                frame.pts = stamps[number]
            frame.time_base = stream.codec_context.time_base
            opened.mux(stream.encode(frame))
        opened.mux(stream.encode(None))
        finish(opened, made)
    return path


_FINE = frozenset(("libx264", "libx265"))
_QUALITY = {
    "libx264": {"crf": "12", "preset": "veryfast"},
    "libx265": {"crf": "12", "preset": "ultrafast", "x265-params": "log-level=none"},
    "libvpx-vp9": {"crf": "16", "b": "0", "cpu-used": "8"},
    "libvpx": {"b": "4000000", "crf": "4", "cpu-used": "8"},
    "libsvtav1": {"crf": "16", "preset": "12"},
    "mpeg2video": {"b": "6000000"},
    "mpeg4": {"b": "6000000"},
    "mjpeg": {"b": "9000000"},
    "mpeg1video": {"b": "6000000"},
    "flv": {"b": "6000000"},
    "wmv2": {"b": "6000000"},
}


def squeezed(frames: Frames) -> list[np.ndarray]:
    """At 9/16 of the width."""
    height, width = frames[0].shape[:2]
    size = (round(width * 9 / 16), height)
    return [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]


def woven(frames: Frames) -> list[np.ndarray]:
    """Interlaced film: the lines of each frame's second field show the next moment."""
    combed = [frame.copy() for frame in frames]
    for frame, following in zip(combed, frames[1:], strict=False):
        frame[1::2] = following[1::2]
    return combed


def _silence(opened: av.container.OutputContainer) -> object:
    return opened.add_stream("aac", rate=16000, layout="mono")


def _play_silence(opened: av.container.OutputContainer, stream: object) -> None:
    for number in range(6):
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate, sound.pts = 16000, number * 1024
        opened.mux(stream.encode(sound))
    opened.mux(stream.encode(None))


def _still(frames: int, disposition: Disposition | None, side: int = 64) -> dict[str, Callable]:
    """A second video stream, of blue frames."""

    def prepare(opened):
        stream = opened.add_stream("mjpeg", rate=_RATE)
        stream.width = stream.height = side
        stream.pix_fmt = "yuvj420p"
        if disposition is not None:
            stream.disposition = disposition
        return stream

    def finish(opened, stream):
        for number in range(frames):
            blue = np.full((side, side, 3), (0, 0, 255), np.uint8)
            frame = av.VideoFrame.from_ndarray(blue).reformat(format="yuvj420p")
            frame.pts = number
            opened.mux(stream.encode(frame))
        opened.mux(stream.encode(None))

    return {"prepare": prepare, "finish": finish}


def _animation(path: Path, frames: Frames, **options: object) -> Path:
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=others, duration=40, **options)
    return path


def _cut_by_edit_list(path: Path, frames: Frames) -> Path:
    """Three frames before the first one that is shown."""
    blue = [np.full_like(frames[0], 200)] * 3
    encode(path, [*blue, *frames], options={"crf": "12", "bf": "0"})
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 8
    count = struct.unpack_from(">I", data, at)[0]
    assert count == 1
    struct.pack_into(">Ii", data, at + 4, len(frames) * 40, 3 * _TICKS)
    path.write_bytes(data)
    return path


def _with_aperture(path: Path, frames: Frames) -> Path:
    """A border of 16 pixels that a `clap` box cuts off."""
    encode(path, [_bordered(frame) for frame in frames])
    height, width = frames[0].shape[:2]
    box = struct.pack(">I4s8I", 40, b"clap", width, 1, height, 1, 0, 1, 0, 1)
    data = bytearray(path.read_bytes())
    entry = data.index(b"avc1", data.index(b"stsd")) - 4
    (size,) = struct.unpack_from(">I", data, entry)
    data[entry + size : entry + size] = box
    names = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1")
    at = data.index(b"moov") - 4
    assert at > data.index(b"mdat"), "offsets into the media would move"
    for name in names:
        at = data.index(name, at) - 4
        (size,) = struct.unpack_from(">I", data, at)
        struct.pack_into(">I", data, at, size + len(box))
    path.write_bytes(data)
    return path


def _with_pixel_crop(path: Path, frames: Frames) -> Path:
    """A border of 16 pixels that Matroska's PixelCrop elements cut off."""
    encode(path, [_bordered(frame) for frame in frames])
    names = (b"\x54\xcc", b"\x54\xbb", b"\x54\xdd", b"\x54\xaa")
    return _with_video_elements(path, b"".join(name + b"\x81\x10" for name in names))


def _with_display_size(path: Path, frames: Frames) -> Path:
    """Matroska's DisplayWidth and DisplayHeight alone tell the aspect ratio: VP9 does not."""
    encode(path, squeezed(frames), "libvpx-vp9", options={"crf": "5"})
    height, width = frames[0].shape[:2]
    sizes = ((b"\x54\xb0", width), (b"\x54\xba", height))
    elements = b"".join(name + b"\x82" + struct.pack(">H", size) for name, size in sizes)
    return _with_video_elements(path, elements)


def _with_video_elements(path: Path, elements: bytes) -> Path:
    """Adds elements to a Matroska file's description of its video."""
    data = bytearray(path.read_bytes())
    void = data.index(b"\xec\x01")
    tracks = data.index(b"\x16\x54\xae\x6b", void)
    entry = data.index(b"\xae", tracks + 4)
    video = _element(data, entry, 0xE0)
    end = video + 2 + (data[video + 1] & 0x7F)
    data[end:end] = elements
    data[video + 1] += len(elements)
    _grow(data, entry + 1, len(elements))
    _grow(data, tracks + 4, len(elements))
    # What stands before Tracks makes room, so that positions behind it stay.
    _grow(data, void + 1, -len(elements))
    length = 9 - data[void + 1].bit_length()
    del data[void + 1 + length : void + 1 + length + len(elements)]
    path.write_bytes(data)
    return path


def _bordered(frame: np.ndarray) -> np.ndarray:
    return np.pad(frame, ((16, 16), (16, 16), (0, 0)), constant_values=255)


def _element(data: bytearray, parent: int, wanted: int) -> int:
    """Where an element of a one-byte id begins, within one of a one-byte id."""
    at = parent + 1 + 9 - data[parent + 1].bit_length()
    while data[at] != wanted:
        id_length = 9 - data[at].bit_length()
        length = 9 - data[at + id_length].bit_length()
        raw = int.from_bytes(data[at + id_length : at + id_length + length], "big")
        at += id_length + length + (raw & ((1 << 7 * length) - 1))
    return at


def _grow(data: bytearray, at: int, by: int) -> None:
    """Changes the size of an element, whose length of coding stays."""
    length = 9 - data[at].bit_length()
    raw = int.from_bytes(data[at : at + length], "big") + by
    data[at : at + length] = raw.to_bytes(length, "big")


def _turned(times: int) -> Callable[[Frames], list[np.ndarray]]:
    return lambda frames: [np.rot90(frame, times) for frame in frames]


def _padded(frames: Frames, width: int, height: int) -> list[np.ndarray]:
    return [frame[:height, :width] for frame in frames]


# PyAV has no encoder for it: `fake122.mp4`, whatever the frames are.
_THEORA = Path(__file__).parent / "media" / "theora.ogv"
# Name -> how it is made, from frames of an even size.
WRAPPINGS: dict[str, Callable[[Path, Frames], Path]] = {
    "plain.mp4": lambda p, f: encode(p, f),
    "rotated 90.mp4": lambda p, f: encode(p, _turned(-1)(f), rotation=(90,)),
    "rotated 180.mp4": lambda p, f: encode(p, _turned(2)(f), rotation=(180,)),
    "rotated 270.mp4": lambda p, f: encode(p, _turned(1)(f), rotation=(270,)),
    "mirrored.mp4": lambda p, f: encode(p, [x[:, ::-1] for x in f], rotation=(0, True, False)),
    "upside down.mov": lambda p, f: encode(p, [x[::-1] for x in f], rotation=(0, False, True)),
    "squeezed.mp4": lambda p, f: encode(
        p, squeezed(f), options={"crf": "5"}, sample_aspect_ratio=Fraction(16, 9)
    ),
    "squeezed.mkv": lambda p, f: encode(
        p, squeezed(f), options={"crf": "5"}, sample_aspect_ratio=Fraction(16, 9)
    ),
    "squeezed.webm": _with_display_size,
    "cover first.mkv": lambda p, f: encode(p, f, **_still(1, None)),
    "cover last.mp4": lambda p, f: encode(p, f, **_still(1, Disposition.attached_pic)),
    "matroska.mkv": lambda p, f: encode(p, f),
    "vp8.webm": lambda p, f: encode(p, f, "libvpx"),
    "vp9.webm": lambda p, f: encode(p, f, "libvpx-vp9"),
    "av1.webm": lambda p, f: encode(p, f, "libsvtav1"),
    "av1.mp4": lambda p, f: encode(p, f, "libsvtav1"),
    "hevc.mp4": lambda p, f: encode(p, f, "libx265"),
    "hevc 10 bit.mov": lambda p, f: encode(p, f, "libx265", "yuv420p10le"),
    "prores.mov": lambda p, f: encode(p, f, "prores_ks", "yuv422p10le"),
    "fragmented.mp4": lambda p, f: encode(
        p, f, container={"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    ),
    "variable rate.mp4": lambda p, f: encode(
        p, f, stamps=[n * _TICKS + (n % 3) * 100 + (n > 6) * 9000 for n in range(len(f))]
    ),
    "late start.mkv": lambda p, f: encode(
        p, f, stamps=[40_000 + n * _TICKS for n in range(len(f))]
    ),
    "interlaced flag.ts": lambda p, f: encode(p, f, options={"crf": "12", "x264-params": "tff=1"}),
    "combed.ts": lambda p, f: encode(p, woven(f), options={"crf": "12", "x264-params": "tff=1"}),
    "edit list.mp4": _cut_by_edit_list,
    "odd size.webm": lambda p, f: encode(p, _padded(f, 319, 317), "libvpx-vp9"),
    "codec crop.mp4": lambda p, f: encode(p, _padded(f, 314, 310)),
    "clean aperture.mov": _with_aperture,
    "pixel crop.mkv": _with_pixel_crop,
    "audio first.mp4": lambda p, f: encode(p, f, prepare=_silence, finish=_play_silence),
    "two streams.mp4": lambda p, f: encode(
        p, f, disposition=Disposition.default, **_still(20, Disposition(0))
    ),
    "mpeg2.mpg": lambda p, f: encode(p, f, "mpeg2video"),
    "mpeg2.ts": lambda p, f: encode(p, f, "mpeg2video"),
    "mpeg1.mpg": lambda p, f: encode(p, f, "mpeg1video"),
    "packets of 192 bytes.m2ts": lambda p, f: encode(p, f, container={"mpegts_m2ts_mode": "1"}),
    "flash.flv": lambda p, f: encode(p, f, "flv"),
    "windows media.wmv": lambda p, f: encode(p, f, "wmv2"),
    "vp8.ogg": lambda p, f: encode(p, f, "libvpx"),
    "theora.ogv": lambda p, _: Path(shutil.copy(_THEORA, p)),
    "h264.avi": lambda p, f: encode(p, f),
    "h264.wmv": lambda p, f: encode(p, f),
    "mpeg4.avi": lambda p, f: encode(p, f, "mpeg4"),
    "motion jpeg.avi": lambda p, f: encode(p, f, "mjpeg", "yuvj420p"),
    "raw.h264": lambda p, f: encode(p, f),
    "bt709.mp4": lambda p, f: encode(p, f, matrix="ITU709", colorspace=1),
    "full range.mp4": lambda p, f: encode(p, f, "libx264", "yuvj420p"),
    "named as picture.jpg": lambda p, f: encode(p.with_suffix(".mp4"), f).rename(p),
    "animation.gif": _animation,
    "animation.webp": lambda p, f: _animation(p, f, lossless=True, minimize_size=False),
    "animation.png": _animation,
}
