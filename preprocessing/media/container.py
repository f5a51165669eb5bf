"""Identifies a file's format by its first bytes.

FFmpeg would probe a file by content and follow playlists, concat lists and manifests to other
files and hosts. Here a format is known by its complete magic or not at all, the demuxer is named
to FFmpeg instead of probed, and files that only name other files are refused for what they are.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path, PurePath

from preprocessing.media.media_errors import UnreadableMedia
from preprocessing.support.storage.bucket_path import BucketPath

# Bytes of a file's beginning that `identify` wants; fewer only where the file has no more.
HEAD_BYTES = 4096
FILM, PICTURE = "film", "picture"


@dataclasses.dataclass(frozen=True)
class Kind:
    """A format that is read.

    Attributes:
      name: for messages.
      reader: `film` (FFmpeg) or `picture` (Pillow; with several frames it is a clip).
      demuxer: FFmpeg's name of the container, or Pillow's of the format.
      endings: of files that hold it, in lower case; the first is the usual one.
    """

    name: str
    reader: str
    demuxer: str
    endings: tuple[str, ...]


MOV = Kind("MP4 or QuickTime", FILM, "mov", (".mp4", ".mov", ".m4v", ".3gp", ".3g2", ".qt", ".f4v"))
MATROSKA = Kind("Matroska or WebM", FILM, "matroska", (".mkv", ".webm", ".mk3d"))
AVI = Kind("AVI", FILM, "avi", (".avi", ".divx"))
FLV = Kind("Flash video", FILM, "flv", (".flv",))
ASF = Kind("Windows Media", FILM, "asf", (".wmv", ".asf"))
OGG = Kind("Ogg", FILM, "ogg", (".ogv", ".ogg", ".ogm"))
MPEG_TS = Kind("MPEG transport stream", FILM, "mpegts", (".ts", ".mts", ".m2ts", ".m2t"))
MPEG_PS = Kind("MPEG program stream", FILM, "mpeg", (".mpg", ".mpeg", ".vob", ".m2p", ".mpe"))
MPEG_VIDEO = Kind("MPEG video", FILM, "mpegvideo", (".m2v", ".m1v", ".mpg", ".mpeg"))
MPEG4_VIDEO = Kind("MPEG-4 video", FILM, "m4v", (".m4v",))
H264 = Kind("raw H.264", FILM, "h264", (".h264", ".264"))
HEVC = Kind("raw HEVC", FILM, "hevc", (".h265", ".265", ".hevc"))
JPEG = Kind("JPEG", PICTURE, "JPEG", (".jpg", ".jpeg", ".jfif", ".jpe"))
PNG = Kind("PNG", PICTURE, "PNG", (".png", ".apng"))
GIF = Kind("GIF", PICTURE, "GIF", (".gif",))
WEBP = Kind("WebP", PICTURE, "WEBP", (".webp",))
TIFF = Kind("TIFF", PICTURE, "TIFF", (".tif", ".tiff"))
BMP = Kind("BMP", PICTURE, "BMP", (".bmp", ".dib"))
HEIC = Kind("HEIC", PICTURE, "HEIF", (".heic", ".heif", ".hif"))
AVIF = Kind("AVIF", PICTURE, "AVIF", (".avif", ".avifs"))
KINDS = (
    *(MOV, MATROSKA, AVI, FLV, ASF, OGG, MPEG_TS, MPEG_PS, MPEG_VIDEO, MPEG4_VIDEO, H264, HEVC),
    *(JPEG, PNG, GIF, WEBP, TIFF, BMP, HEIC, AVIF),
)
VIDEO_ENDINGS = frozenset(e for kind in KINDS if kind.reader == FILM for e in kind.endings)
IMAGE_ENDINGS = frozenset(e for kind in KINDS if kind.reader == PICTURE for e in kind.endings)
# Of formats that are mostly animations, which are clips of their own and no frames of one.
ANIMATION_ENDINGS = frozenset((".gif", ".apng", ".avifs"))
FRAME_ENDINGS = IMAGE_ENDINGS - ANIMATION_ENDINGS

_MAGIC = (
    (0, b"\xff\xd8\xff", JPEG),
    (0, b"\x89PNG\r\n\x1a\n", PNG),
    (0, b"GIF87a", GIF),
    (0, b"GIF89a", GIF),
    (0, b"II*\x00", TIFF),
    (0, b"MM\x00*", TIFF),
    (0, b"II+\x00\x08\x00\x00\x00", TIFF),
    (0, b"MM\x00+\x00\x08\x00\x00", TIFF),
    (0, b"FLV\x01", FLV),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c", ASF),
    (0, b"OggS\x00", OGG),
    (0, b"\x00\x00\x01\xba", MPEG_PS),
    (0, b"\x00\x00\x01\xb3", MPEG_VIDEO),
    (0, b"\x00\x00\x01\xb0", MPEG4_VIDEO),
)
_TOP_BOXES = frozenset(
    (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof", b"sidx")
)
_HEIC_BRANDS = frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1")
)
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
# (bytes of a packet, offset of the first sync byte): plain, with time codes, with error correction.
_TS_LAYOUTS = ((188, 0), (192, 4), (204, 0))
_TS_PACKETS = 5
_LEAST_TS_PACKETS = 3
# Texts that name other files, in lower case, as they begin after white space.
_LISTS = (
    (b"#extm3u", "an HLS or M3U playlist"),
    (b"ffconcat version", "a concat list"),
    (b"v=0", "an SDP session description"),
    (b"[playlist]", "a PLS playlist"),
    (b"[reference]", "a Windows Media playlist"),
    (b"[internetshortcut]", "an internet shortcut"),
    (b"<asx", "an ASX playlist"),
    (b"<smil", "a SMIL playlist"),
    (b"rtsptext", "an RTSP reference"),
    (b"\x89hds", "an HDS manifest"),
)
_XML_LISTS = (
    (b"<mpd", "a DASH manifest"),
    (b"<smoothstreamingmedia", "a Smooth Streaming manifest"),
    (b"<smil", "a SMIL playlist"),
    (b"<playlist", "an XSPF playlist"),
    (b"<asx", "an ASX playlist"),
    (b"<manifest", "an HDS manifest"),
)
_CONVERT_VIDEO = "convert it: ffmpeg -i IN -c:v libx264 OUT.mp4"
_CONVERT_PICTURE = "save it as PNG or JPEG"
_OTHERS = (
    (0, b"\xff\x0a", "a JPEG XL picture", _CONVERT_PICTURE),
    (0, b"\x00\x00\x00\x0cJXL \r\n\x87\n", "a JPEG XL picture", _CONVERT_PICTURE),
    (0, b"\x00\x00\x00\x0cjP  \r\n\x87\n", "a JPEG 2000 picture", _CONVERT_PICTURE),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture", _CONVERT_PICTURE),
    (0, b"8BPS", "a Photoshop file", _CONVERT_PICTURE),
    (0, b"FUJIFILMCCD-RAW", "a camera's raw picture", _CONVERT_PICTURE),
    (0, b".RMF", "a RealMedia film", _CONVERT_VIDEO),
    (0, b"\x06\x0e\x2b\x34\x02\x05\x01\x01", "an MXF film", _CONVERT_VIDEO),
    (0, b"DKIF", "an IVF film", _CONVERT_VIDEO),
    (0, b"YUV4MPEG2", "a YUV4MPEG film", _CONVERT_VIDEO),
    (0, b"%PDF", "a PDF document", "save its pictures as PNG or JPEG"),
    (0, b"PK\x03\x04", "an archive or office document", "unpack it"),
    (0, b"\x1f\x8b", "a gzip archive", "unpack it"),
    (0, b"Rar!", "an archive", "unpack it"),
    (0, b"7z\xbc\xaf\x27\x1c", "an archive", "unpack it"),
    (257, b"ustar", "an archive", "unpack it"),
    (0, b"ID3", "a sound file", "give a video or picture"),
    (0, b"fLaC", "a sound file", "give a video or picture"),
    (8, b"WAVE", "a sound file", "give a video or picture"),
    (0, b"version https://git-lfs", "a Git LFS pointer", "fetch the file itself: git lfs pull"),
)


def identify(head: bytes) -> Kind:
    """Names the format of a file.

    Args:
      head: its first `HEAD_BYTES` bytes, or all of it.

    Raises:
      UnreadableMedia: it begins like no format that is read; the message names the format if known.
    """
    kind = _kind_of(head)
    if kind is not None:
        return kind
    raise UnreadableMedia(_why_not(head))


def sniff(path: str | Path | BucketPath) -> Kind:
    """As `identify`, for a file by its path.

    Raises:
      UnreadableMedia: see `identify`; or it is no regular file.
      OSError: it cannot be opened or read.
    """
    if isinstance(path, BucketPath):
        head = path.head(HEAD_BYTES)
        if not head:
            raise UnreadableMedia("the file is empty")
        return identify(head)
    # A named pipe that nobody writes to would block for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        check_regular(descriptor)
        return identify(file.read(HEAD_BYTES) or b"")


def is_picture(path: str | Path | BucketPath) -> bool:
    """Whether a file holds a picture, by its content; False for films, and what is neither."""
    try:
        return sniff(path).reader == PICTURE
    except (UnreadableMedia, OSError):
        return False


def check_regular(descriptor: int) -> int:
    """Returns the bytes of an open file.

    Raises:
      UnreadableMedia: it is a folder, a pipe, a device, or is empty.
    """
    import stat

    status = os.fstat(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise UnreadableMedia("it is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableMedia("it is no regular file")
    if status.st_size == 0:
        raise UnreadableMedia("the file is empty")
    return status.st_size


def misnamed(path: str | Path, kind_name: str) -> str:
    """A note where a file's ending is that of another format than it holds; else empty."""
    ending = PurePath(path).suffix.lower()
    kind = next((kind for kind in KINDS if kind.name == kind_name), None)
    if kind is None or ending in kind.endings or ending not in VIDEO_ENDINGS | IMAGE_ENDINGS:
        return ""
    return f"its ending is {ending}, but it holds {kind.name}; the content was read"


def _kind_of(head: bytes) -> Kind | None:
    for offset, mark, kind in _MAGIC:
        if head[offset : offset + len(mark)] == mark:
            return kind
    if head[:4] == b"RIFF" and head[8:12] in (b"WEBP", b"AVI "):
        return WEBP if head[8:12] == b"WEBP" else AVI
    if head[:4] == b"\x1aE\xdf\xa3" and (b"webm" in head[:64] or b"matroska" in head[:64]):
        return MATROSKA
    if head[:2] == b"BM" and head[6:10] == bytes(4) and 12 <= _little_endian(head[14:18]) <= 256:
        return BMP
    return _box(head) or _elementary(head) or _transport_stream(head)


def _box(head: bytes) -> Kind | None:
    """MP4, QuickTime and what is built like them: a box with a plausible size."""
    if head[4:8] not in _TOP_BOXES:
        return None
    size = int.from_bytes(head[:4], "big")
    if head[4:8] != b"ftyp":
        # Size 0 means up to the end of the file, 1 that the size follows in 64 bits.
        return MOV if size >= 8 or size in (0, 1) else None
    if not 16 <= size <= HEAD_BYTES:
        return None
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))]
    if brands[0] in _AVIF_BRANDS:
        return AVIF
    if brands[0] in _HEIC_BRANDS:
        return AVIF if _AVIF_BRANDS & set(brands) and b"heic" not in brands else HEIC
    return MOV


def _elementary(head: bytes) -> Kind | None:
    """Raw H.264 and HEVC begin with a parameter set or an access unit delimiter."""
    start = 4 if head[:4] == b"\x00\x00\x00\x01" else 3 if head[:3] == b"\x00\x00\x01" else 0
    if not start or len(head) < start + 2:
        return None
    first, second = head[start], head[start + 1]
    if first in (0x40, 0x42, 0x46) and second == 0x01:
        return HEVC
    # The forbidden bit is zero; types 7 and 9.
    if first in (0x67, 0x47, 0x27, 0x09):
        return H264
    return None


def _transport_stream(head: bytes) -> Kind | None:
    for length, first in _TS_LAYOUTS:
        places = range(first, min(len(head), first + length * _TS_PACKETS), length)
        if len(places) >= _LEAST_TS_PACKETS and all(head[place] == 0x47 for place in places):
            return MPEG_TS
    return None


def _why_not(head: bytes) -> str:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):  # UTF-16, as Windows saves it.
        text = head[2:].replace(b"\0", b"").lstrip().lower()
    names = [name for mark, name in _LISTS if text.startswith(mark)]
    if text.startswith(b"<"):
        names += [name for mark, name in _XML_LISTS if mark in text]
    if names:
        return f"it is {names[0]}, which only names other files; give the film itself"
    for offset, mark, name, remedy in _OTHERS:
        if head[offset : offset + len(mark)] == mark:
            return f"it is {name}, which is not read; {remedy}"
    if text.startswith(b"<"):
        return "it is a web page or XML, no video or picture: it begins like none"
    return "it is no video or picture: it begins like none"


def _little_endian(four: bytes) -> int:
    return int.from_bytes(four, "little")
