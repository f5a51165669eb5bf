"""Files that are made to harm whoever decodes them: they name other files, or ask for too much."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

from made_media import numbered_video
from media_bombs import ASF, BOMBS, box

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
    "asf": [(0, ASF)],
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
    for name, builder in BOMBS.items():
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


def _reference_movie(path: str) -> bytes:
    """Apple's reference movie, which is nothing but the name of another one."""
    url = path.encode() + b"\0"
    alias = box(b"rdrf", struct.pack(">I4sI", 0, b"url ", len(url)), url)
    return box(b"moov", box(b"rmra", box(b"rmda", alias)))


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
