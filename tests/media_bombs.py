"""Media that ask for too much: pixels, packets, frames, time, nesting."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pillow_heif
from made_media import numbered_frame, numbered_video, write_video
from PIL import Image

# The header object of Windows Media.
ASF = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c"


def box(name: bytes, *parts: bytes) -> bytes:
    """A box of an MP4."""
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), name) + body


def png(width: int, height: int, *chunks: bytes, colour: int = 0) -> bytes:
    """A PNG of 8 bits of these chunks; `colour` is its type, 0 for grey and 2 for RGB."""
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join((chunk(b"IHDR", header), *chunks, chunk(b"IEND", b"")))


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    checksum = zlib.crc32(name + body).to_bytes(4, "big")
    return len(body).to_bytes(4, "big") + name + body + checksum


def _large_png(folder, write, name):
    rows = zlib.compress(bytes(8001) * 8000, 9)
    write(name, png(8000, 8000, chunk(b"IDAT", rows)))


def _text_png(folder, write, name):
    text = b"Comment\0\0" + zlib.compress(bytes(300 << 20), 9)
    rows = zlib.compress(bytes(9) * 8)
    write(name, png(8, 8, chunk(b"zTXt", text), chunk(b"IDAT", rows)))


def _claim(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new)


def _large_jpeg(folder, write, name):
    image = io.BytesIO()
    Image.new("L", (8, 8)).save(image, "JPEG")
    write(name, _claim(image.getvalue(), b"\x08\x00\x08\x00\x08", b"\x08\xff\xfe\xff\xfe"))


def _large_gif(folder, write, name):
    image = io.BytesIO()
    Image.new("P", (8, 8)).save(image, "GIF")
    write(name, image.getvalue()[:6] + b"\xff\xff\xff\xff" + image.getvalue()[10:])


def _large_tiff(folder, write, name):
    image = io.BytesIO()
    Image.new("L", (60, 60)).save(image, "TIFF")
    data = bytearray(image.getvalue())
    (at,) = struct.unpack_from("<I", data, 4)
    for entry in range(at + 2, at + 26, 12):  # The first two are width and height.
        struct.pack_into("<HII", data, entry + 2, 4, 1, 100_000)
    write(name, bytes(data))


def _large_avif(folder, write, name):
    image = io.BytesIO()
    Image.new("RGB", (64, 64)).save(image, "AVIF")
    write(name, _claim(image.getvalue(), *_ispe()))


def _large_heic(folder, write, name):
    image = io.BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (64, 64))).save(image)
    write(name, _claim(image.getvalue(), *_ispe()))


def _ispe() -> list[bytes]:
    """Properties that state the size of an image: the true and the false one."""
    return [b"ispe\0\0\0\0" + struct.pack(">II", side, side) for side in (64, 61_440)]


def _many_pages(folder, write, name):
    """One directory of a TIFF that says that it is followed by itself."""
    image = io.BytesIO()
    Image.new("L", (60, 60)).save(image, "TIFF")
    data = bytearray(image.getvalue())
    (at,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, at)
    struct.pack_into("<I", data, at + 2 + 12 * entries, at)
    write(name, bytes(data))


def _two_frames(kind: str, **options: object) -> bytes:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    image = io.BytesIO()
    frames[0].save(image, kind, save_all=True, append_images=frames[1:], duration=40, **options)
    return image.getvalue()


def _many_gif_frames(folder, write, name):
    data = _two_frames("GIF")
    second = data.rindex(b"\x21\xf9")
    write(name, data[:second] + data[second:-1] * 150_000 + b";")


def _many_webp_frames(folder, write, name):
    data = _two_frames("WEBP", lossless=True)
    second = data.rindex(b"ANMF")
    data = data[:second] + data[second:] * 150_000
    write(name, data[:4] + struct.pack("<I", len(data) - 8) + data[8:])


def _many_png_frames(folder, write, name):
    """Two frames, which are said to be two billion."""
    data = _two_frames("PNG")
    at = data.index(b"acTL")
    more = chunk(b"acTL", struct.pack(">II", 0x7FFFFFFF, 0))
    write(name, data[: at - 4] + more + data[at + 16 :])


def _many_avif_frames(folder, write, name):
    """The same, by the tables of its samples."""
    data = bytearray(_two_frames("AVIF"))
    at = data.index(b"stsz") + 4
    struct.pack_into(">III", data, at, 0, 1, 0x7FFFFFFF)
    at = data.index(b"stts") + 12
    struct.pack_into(">I", data, at, 0x7FFFFFFF)
    write(name, bytes(data))


def _avi(folder, chunks: bytes) -> bytes:
    """A Motion JPEG AVI whose frames are `chunks`."""
    path = write_video(folder / "made.avi", [numbered_frame(0)], codec="MJPG")
    data = path.read_bytes()
    path.unlink()
    movi = data.index(b"movi")
    head = data[: movi - 8]
    body = b"LIST" + struct.pack("<I", 4 + len(chunks)) + b"movi" + chunks
    return head[:4] + struct.pack("<I", len(head) + len(body) - 8) + head[8:] + body


def _many_packets(folder, write, name):
    write(name, _avi(folder, (b"00dc" + struct.pack("<I", 2) + b"\xff\xd8") * 1_000_000))


def _large_avi(folder, write, name):
    data = bytearray(_avi(folder, b"00dc" + struct.pack("<I", 2) + b"\xff\xd8"))
    at = data.index(b"strf") + 8
    struct.pack_into("<II", data, at + 4, 60_000, 60_000)
    write(name, bytes(data))


def _large_film(folder, write, name):
    frames = [np.zeros((5000, 5000, 3), np.uint8)] * 2
    path = write_video(folder / "made.mp4", frames)
    write(name, path.read_bytes())
    path.unlink()


def _long_film(folder, write, name):
    """Each frame is said to be shown for hours."""
    data = bytearray(numbered_video(folder / "made.mp4", 12).read_bytes())
    (folder / "made.mp4").unlink()
    at = data.index(b"stts") + 12
    struct.pack_into(">I", data, at + 4, 1 << 30)
    write(name, bytes(data).replace(b"edts", b"free"))


def _many_samples(folder, write, name):
    """A table of two billion samples, of which the file holds none."""
    data = bytearray(numbered_video(folder / "made.mp4", 12).read_bytes())
    (folder / "made.mp4").unlink()
    at = data.index(b"stsz") + 4
    struct.pack_into(">III", data, at, 0, 1, 0x7FFFFFFF)
    at = data.index(b"stts") + 12
    struct.pack_into(">II", data, at, 0x7FFFFFFF, 512)
    write(name, bytes(data))


def _deep_boxes(folder, write, name):
    data = b""
    for _ in range(5000):
        data = box(b"moov", box(b"trak", data))
    write(name, data)


def _deep_elements(folder, write, name):
    head = b"\x1aE\xdf\xa3\x8b\x42\x82\x88matroska"
    write(name, head + b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" * 20_000)


def _far_object(folder, write, name):
    """An ASF header whose second object is as long as a number can be."""
    head = ASF + struct.pack("<QIBB", 1000, 3, 1, 2)
    write(name, head + b"x" * 16 + struct.pack("<Q", (1 << 63) - 1) + bytes(5000))


def _nested(folder, write, name):
    """An MP4 within the frames of an AVI within an MP4."""
    inner = numbered_video(folder / "made.mp4", 12).read_bytes()
    (folder / "made.mp4").unlink()
    middle = _avi(folder, b"00dc" + struct.pack("<I", len(inner)) + inner)
    write(name, box(b"ftyp", b"isom\0\0\2\0isom") + box(b"mdat", middle))


BOMBS: dict[str, Callable] = {
    "pixels.png": _large_png,
    "pixels.jpg": _large_jpeg,
    "pixels.gif": _large_gif,
    "pixels.tif": _large_tiff,
    "pixels.avif": _large_avif,
    "pixels.heic": _large_heic,
    "pixels.avi": _large_avi,
    "pixels.mp4": _large_film,
    "text.png": _text_png,
    "pages.tif": _many_pages,
    "frames.gif": _many_gif_frames,
    "frames.webp": _many_webp_frames,
    "frames.png": _many_png_frames,
    "frames.avif": _many_avif_frames,
    "packets.avi": _many_packets,
    "duration.mp4": _long_film,
    "samples.mp4": _many_samples,
    "deep.mp4": _deep_boxes,
    "deep.mkv": _deep_elements,
    "nested.mp4": _nested,
    "far.wmv": _far_object,
}
