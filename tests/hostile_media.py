"""Files that are made to harm whoever decodes them: they name other files, or ask for too much."""

from __future__ import annotations

import io
import os
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pillow_heif
from made_media import numbered_frame, numbered_video, write_video
from PIL import Image

# Texts that name other files; {beside} and {absolute} are the canaries.
LISTS = {
    "hls.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{absolute}\n#EXT-X-ENDLIST\n",
    "hls beside.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{beside}\n#EXT-X-ENDLIST\n",
    "hls url.mp4": "#EXTM3U\n#EXTINF:9,\nfile://{absolute}\nhttp://127.0.0.1:9/a.ts\n",
    "hls map.ts": '#EXTM3U\n#EXT-X-MAP:URI="{absolute}"\n#EXTINF:9,\n{beside}\n#EXT-X-ENDLIST\n',
    "hls key.ts": '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{absolute}"\n#EXTINF:9,\n{beside}\n',
    "bom.m3u": "\ufeff#EXTM3U\n{absolute}\n",
    "concat.mp4": "ffconcat version 1.0\nfile '{absolute}'\n",
    "concat beside.avi": "ffconcat version 1.0\nfile '{beside}'\n",
    "dash.mpd": '<?xml version="1.0"?><MPD><Period><BaseURL>{absolute}</BaseURL></Period></MPD>',
    "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "list.pls": "[playlist]\nFile1={absolute}\nNumberOfEntries=1\n",
    "list.asx": '<asx version="3.0"><entry><ref href="{absolute}"/></entry></asx>',
    "list.smil": '<smil><body><video src="{absolute}"/></body></smil>',
    "list.xspf": '<?xml version="1.0"?><playlist><location>{absolute}</location></playlist>',
    "shortcut.url": "[InternetShortcut]\nURL=file://{absolute}\n",
    "reference.asf": "[Reference]\nRef1=file://{absolute}\n",
    "manifest.f4m": '<?xml version="1.0"?><manifest><media url="{absolute}"/></manifest>',
    "smooth.ism": '<?xml?><SmoothStreamingMedia><a href="{absolute}"/></SmoothStreamingMedia>',
}
# What `identify` looks for, and where; before, or within, a playlist and a concat list.
MAGICS = {
    "ts": [(0, b"G"), (188, b"G"), (376, b"G"), (564, b"G"), (752, b"G")],
    "ts late": [(188, b"G"), (376, b"G"), (564, b"G"), (752, b"G")],
    "ts one": [(188, b"G")],
    "m2ts": [(4, b"G"), (196, b"G"), (388, b"G"), (580, b"G"), (772, b"G")],
    "m2ts one": [(196, b"G")],
    "204": [(0, b"G"), (204, b"G"), (408, b"G"), (612, b"G"), (816, b"G")],
    "mp4": [(0, b"\0\0\0\x18ftypisom\0\0\2\0isomiso2")],
    "moov": [(0, b"\0\0\0\0moov")],
    "avi": [(0, b"RIFF\0\0\0\1AVI ")],
    "matroska": [(0, b"\x1aE\xdf\xa3\x93\x42\x82\x88matroska")],
    "flv": [(0, b"FLV\1\5\0\0\0\x09")],
    "asf": [(0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c")],
    "ogg": [(0, b"OggS\0\2")],
    "ps": [(0, b"\0\0\1\xba")],
    "video": [(0, b"\0\0\1\xb3")],
    "h264": [(0, b"\0\0\0\1\x67\x42")],
    "hevc": [(0, b"\0\0\0\1\x40\1")],
    "jpeg": [(0, b"\xff\xd8\xff\xe0")],
    "png": [(0, b"\x89PNG\r\n\x1a\n")],
    "gif": [(0, b"GIF89a\1\0\1\0")],
    "webp": [(0, b"RIFF\0\0\0\1WEBPVP8 ")],
    "tiff": [(0, b"II*\0\x08\0\0\0")],
    "bmp": [(0, b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0")],
    "heic": [(0, b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")],
    "avif": [(0, b"\0\0\0\x18ftypavif\0\0\0\0mif1avif")],
}

# What is said of some of them, where the limits are 16 megapixels, 100,000 packets and an hour.
REASONS = {
    "hls.m3u8": "an HLS or M3U playlist, which only names other files",
    "bom.m3u": "an HLS or M3U playlist",
    "ts one hls.m3u8": "an HLS or M3U playlist",
    "ts late concat.mp4": "a concat list",
    "dash.mpd": "a DASH manifest",
    "session.sdp": "an SDP session description",
    "list.pls": "a PLS playlist",
    "list.xspf": "an XSPF playlist",
    "pipe.mp4": "no regular file",
    "zero.mp4": "no regular file",
    "environment.mp4": "the file is empty",
    "passwords.mp4": "begins like none",
    "pixels.png": "8000x8000 pixels are too large; the limit is 16000000",
    "pixels.jpg": "pixels are too large",
    "pixels.gif": "pixels are too large",
    "pixels.heic": "61440x61440 pixels are too large",
    "pixels.avi": "60000x60000 pixels are too large",
    "pixels.mp4": "damaged or larger than 16000000 pixels",
    "packets.avi": "more than 100000 video packets, the limit",
    "frames.gif": "more than 100000 frames, the limit",
    "frames.webp": "more than 100000 frames, the limit",
    "frames.png": "more than 100000 frames, the limit",
    "duration.mp4": "the limit is 3600 s",
    "far.wmv": "it begins like",
}
# Those that hold frames all the same; films whose data is said to stand elsewhere have their own.
WITH_FRAMES = frozenset(
    (
        *("external beside.mov", "external data.mov", "text.png", "pages.tif", "nested.mp4"),
        *("cut at 0.7.mp4", "samples.mp4"),
    )
)


def make(folder: Path, absolute: Path, beside: str) -> list[Path]:
    """Writes all of them.

    Args:
      folder: where they go.
      absolute: a canary elsewhere.
      beside: name of a canary in the folder.
    """
    names = {"absolute": str(absolute), "beside": beside}
    made = []

    def write(name: str, data: bytes) -> Path:
        made.append(folder / name)
        made[-1].write_bytes(data)
        return made[-1]

    for name, text in LISTS.items():
        write(name, text.format(**names).encode())
    for magic, places in MAGICS.items():
        for kind in ("hls.m3u8", "concat.mp4"):
            text = LISTS[kind].format(**names).replace("\n", "\n#" + " " * 60 + "\n", 1).encode()
            write(f"{magic} {kind}", _with_magic(text, places))
    clip = numbered_video(folder / "sound.mp4", 12)
    write("external data.mov", _with_reference(clip.read_bytes(), f"file://{absolute}"))
    write("external beside.mov", _with_reference(clip.read_bytes(), beside))
    write("reference movie.mov", _reference_movie(str(absolute)))
    _not_regular(folder, absolute, made)
    for name, builder in _BOMBS.items():
        builder(folder, write, name)
    data = clip.read_bytes()
    for share in (0.02, 0.3, 0.7):
        write(f"cut at {share}.mp4", data[: int(share * len(data))])
    write("picture.svg", b'<svg xmlns:xlink="a"><image xlink:href="%s"/></svg>' % bytes(absolute))
    write("page.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n")
    return made


def _with_magic(text: bytes, places: list[tuple[int, bytes]]) -> bytes:
    """The text with bytes replaced; what stands at the beginning is put before it instead."""
    before = b"".join(mark for at, mark in places if at == 0 and len(mark) > 1)
    data = bytearray(before + text.ljust(4096, b" "))
    for at, mark in places:
        data[at : at + len(mark)] = mark
    return bytes(data)


def _with_reference(data: bytes, url: str) -> bytes:
    """The frames of a QuickTime film are said to stand in another file."""
    at = data.index(b"dref") - 4
    (size,) = struct.unpack_from(">I", data, at)
    name = url.encode() + b"\0"
    entry = struct.pack(">I4sI", 12 + len(name), b"url ", 0) + name
    box = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
    grown = bytearray(data[:at] + box + data[at + size :])
    assert data.index(b"moov") > data.index(b"mdat"), "offsets into the media would move"
    for parent in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        place = grown.rindex(parent, 0, at) - 4
        (old,) = struct.unpack_from(">I", grown, place)
        struct.pack_into(">I", grown, place, old + len(box) - size)
    return bytes(grown)


def _box(name: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), name) + body


def _reference_movie(path: str) -> bytes:
    """Apple's reference movie, which is nothing but the name of another one."""
    url = path.encode() + b"\0"
    alias = _box(b"rdrf", struct.pack(">I4sI", 0, b"url ", len(url)), url)
    return _box(b"moov", _box(b"rmra", _box(b"rmda", alias)))


def _not_regular(folder: Path, absolute: Path, made: list[Path]) -> None:
    (folder / "zero.mp4").symlink_to("/dev/zero")
    (folder / "random.png").symlink_to("/dev/urandom")
    (folder / "environment.mp4").symlink_to("/proc/self/environ")
    (folder / "passwords.mp4").symlink_to("/etc/passwd")
    (folder / "dangling.mp4").symlink_to(folder / "nowhere")
    (folder / "loop.mp4").symlink_to(folder / "loop.mp4")
    os.mkfifo(folder / "pipe.mp4")
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.mp4").mkdir()
    server = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(folder)  # Names of sockets are short.
    try:
        server.bind("socket.mp4")
    finally:
        os.chdir(here)
        server.close()
    names = ["zero.mp4", "random.png", "environment.mp4", "passwords.mp4", "dangling.mp4"]
    names += ["loop.mp4", "pipe.mp4", "pipe.png", "folder.mp4", "socket.mp4"]
    made += [folder / name for name in names]


def _png(width: int, height: int, *chunks: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join((_chunk(b"IHDR", header), *chunks, _chunk(b"IEND", b"")))


def _chunk(name: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(name + body).to_bytes(4, "big")
    return len(body).to_bytes(4, "big") + name + body + checksum


def _large_png(folder, write, name):
    rows = zlib.compress(bytes(8001) * 8000, 9)
    write(name, _png(8000, 8000, _chunk(b"IDAT", rows)))


def _text_png(folder, write, name):
    text = b"Comment\0\0" + zlib.compress(bytes(300 << 20), 9)
    rows = zlib.compress(bytes(9) * 8)
    write(name, _png(8, 8, _chunk(b"zTXt", text), _chunk(b"IDAT", rows)))


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
    more = _chunk(b"acTL", struct.pack(">II", 0x7FFFFFFF, 0))
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
        data = _box(b"moov", _box(b"trak", data))
    write(name, data)


def _deep_elements(folder, write, name):
    head = b"\x1aE\xdf\xa3\x8b\x42\x82\x88matroska"
    write(name, head + b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" * 20_000)


def _far_object(folder, write, name):
    """An ASF header whose second object is as long as a number can be."""
    (_, guid), *_ = MAGICS["asf"]
    head = guid + struct.pack("<QIBB", 1000, 3, 1, 2)
    write(name, head + b"x" * 16 + struct.pack("<Q", (1 << 63) - 1) + bytes(5000))


def _nested(folder, write, name):
    """An MP4 within the frames of an AVI within an MP4."""
    inner = numbered_video(folder / "made.mp4", 12).read_bytes()
    (folder / "made.mp4").unlink()
    middle = _avi(folder, b"00dc" + struct.pack("<I", len(inner)) + inner)
    write(name, _box(b"ftyp", b"isom\0\0\2\0isom") + _box(b"mdat", middle))


_BOMBS: dict[str, Callable] = {
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
