"""Pictures and small animations through Pillow: upright, RGB, 8 bits.

Several frames in one file (GIF, WebP, PNG, AVIF) are a clip. Pixels that are transparent show
white, as on a page. Values of 16 bits are divided by 257; floating-point ones count from 0 to 1.
Colour profiles are not applied.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable, Collection, Iterator
from typing import IO, cast

import numpy as np
import pillow_heif

# Formats that Pillow would import when it first meets them, which the sandbox does not allow.
from PIL import (
    AvifImagePlugin,  # noqa: F401
    ExifTags,
    Image,
    ImageOps,
    ImageSequence,
    MpoImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    WebPImagePlugin,  # noqa: F401
)

from preprocessing.media.container import Kind
from preprocessing.media.frame import Frame, FrameRequest, MediaInfo, middles
from preprocessing.media.limits import Limits
from preprocessing.media.media_errors import UnreadableMedia
from preprocessing.media.source import Watched

pillow_heif.register_heif_opener()
Image.preinit()
# `Limits` says how large a picture may be.
Image.MAX_IMAGE_PIXELS = None

_ANIMATED = frozenset(("GIF", "WEBP", "PNG", "AVIF"))
_BACKGROUND = (255, 255, 255)
_REMEDY = "if viewers show it, save it again as PNG or JPEG"
_DEFAULT_MILLISECONDS = 100


class Picture:
    """One picture, or the frames of an animation.

    Args:
      file: at any position; read and seeked.
      kind: what it is, see `container.identify`.
      limits: beyond which it is refused.
      tick: called before each step.

    Raises:
      UnreadableMedia: it cannot be decoded, or is beyond a limit.
    """

    def __init__(
        self,
        file: Watched,
        kind: Kind,
        limits: Limits,
        tick: Callable[[], None] = lambda: None,
    ):
        self._file = file
        self._kind = kind
        self._limits = limits
        self._tick = tick
        self._notes: list[str] = []
        self._total = 1

    @property
    def info(self) -> MediaInfo:
        """What is known so far; complete when all frames were taken."""
        notes = tuple(dict.fromkeys(self._notes))
        return MediaInfo(self._kind.name, "", self._total, notes)

    def frames(self, request: FrameRequest) -> Iterator[Frame]:
        """Yields the wanted frames, in order; where decoding ends early, those up to there."""
        self._tick()
        self._file.seek(0)
        if self._kind.demuxer == "PNG":
            _check_png(self._file)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                # Pillow reads, seeks and tells only.
                file = cast("IO[bytes]", self._file)
                with Image.open(file, formats=[self._kind.demuxer]) as image:
                    yield from self._shown(image, request)
        except UnreadableMedia:
            raise
        except Exception as error:  # Pillow's parsers fail on damaged headers in every way.
            self._raise_passing(error)
            raise self._undecodable(error) from error

    def _raise_passing(self, error: Exception) -> None:
        """Raises where a call failed for a reason that is not the file's content."""
        if isinstance(error, MemoryError):
            raise error
        self._file.check()
        if isinstance(error, ImportError):
            raise error

    def _undecodable(self, error: Exception) -> UnreadableMedia:
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "cannot identify" in detail:
            detail = "its header is damaged or cut off"
        return UnreadableMedia(
            f"the picture cannot be decoded as {self._kind.name}: {detail}; {_REMEDY}"
        )

    def _shown(self, image: Image.Image, request: FrameRequest) -> Iterator[Frame]:
        width, height = image.size
        if width * height > self._limits.pixels:
            raise UnreadableMedia(
                f"its {width}x{height} pixels are too large; the limit is "
                f"{self._limits.pixels} pixels"
            )
        if self._kind.demuxer in _ANIMATED:
            self._total = self._count(image)
        elif getattr(image, "is_animated", False):
            self._notes.append("it holds several pictures; the first was read")
        if self._total > 1:
            yield from self._animation(image, request)
            return
        if request.indices is None or 0 in request.indices:
            yield Frame(0, 0, _upright(image))

    def _count(self, image: Image.Image) -> int:
        most = self._limits.packets
        if self._kind.demuxer == "GIF":  # Its header does not tell.
            at = self._file.tell()
            number = _gif_frames(self._file, most, self._tick)
            self._file.seek(at)
        else:
            number = getattr(image, "n_frames", 1)
        if number > most:
            raise UnreadableMedia(f"it holds more than {most} frames, the limit")
        return number

    def _animation(self, image: Image.Image, request: FrameRequest) -> Iterator[Frame]:
        """Frames build on each other, so all up to the last wanted one are decoded.

        Where decoding ends before the first wanted frame, the frames that are there are sampled
        instead.
        """
        count = request.count
        if request.per_second or self._limits.seconds is not None:
            seconds = sum(duration for duration, _ in self._decoded(image, ())) / 1000
            limit = self._limits.seconds
            if limit is not None and seconds > limit:
                raise UnreadableMedia(f"it plays for {seconds:.0f} s; the limit is {limit:g} s")
            if request.per_second and seconds:
                count = max(1, min(count, round(seconds * request.per_second)))
        indices = middles(self._total, count) if request.indices is None else request.indices
        any_wanted = False
        begin = 0
        for index, (duration, pixels) in enumerate(self._decoded(image, indices)):
            if pixels is not None:
                yield Frame(index, begin, pixels)
                any_wanted = True
            if index >= max(indices, default=0):
                return
            begin += duration
        if not any_wanted and request.indices is None:
            yield from self._animation(image, request)

    def _decoded(
        self, image: Image.Image, wanted: Collection[int]
    ) -> Iterator[tuple[int, np.ndarray | None]]:
        """Yields each frame's milliseconds, with the pixels of the wanted ones, from the first on.

        A frame after the first that is damaged or cut off is the end, and noted.
        """
        pages = iter(ImageSequence.Iterator(image))
        for index in range(self._total):
            self._tick()
            try:
                page = next(pages)
                pixels = _upright(page) if index in wanted else None
                page.load()
                duration = _duration(page)
            except Exception as error:
                self._raise_passing(error)
                if not index:
                    raise
                self._total = index
                self._notes.append(
                    f"it is damaged or cut off after {index} frames; what comes after that is not "
                    "read"
                )
                return
            yield duration, pixels


def _duration(page: Image.Image) -> int:
    """Milliseconds; viewers show frames without a duration for a tenth of a second."""
    return round(page.info.get("duration") or _DEFAULT_MILLISECONDS)


def _upright(image: Image.Image) -> np.ndarray:
    """uint8 [height, width, 3], RGB."""
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    image.load()  # Pillow turns some formats itself here, and then drops the tag.
    turned = ImageOps.exif_transpose(image) if orientation != 1 else image
    return np.ascontiguousarray(_rgb(turned))


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image).astype(np.int64)
        if image.mode == "I" and (values.min() < 0 or values.max() > 65535):
            raise ValueError("its pixels have more than 16 bits")
        grey = ((values.clip(0, 65535) + 128) // 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image)).clip(0, 1)
        return np.repeat((values * 255).round().astype(np.uint8)[..., None], 3, axis=-1)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        coloured = image.convert("RGBA")
        page = Image.new("RGBA", coloured.size, (*_BACKGROUND, 255))
        return np.asarray(Image.alpha_composite(page, coloured).convert("RGB"))
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _gif_frames(file: Watched, most: int, tick: Callable[[], None]) -> int:
    """The number of pictures in a GIF (CompuServe's GIF89a specification); ends above `most`."""
    file.seek(10)
    flags = file.read(3)[0]
    file.seek(13 + (flags >> 7) * (6 << (flags & 7)))
    number = 0
    while number <= most and (mark := file.read(1)) in (b"!", b","):
        tick()
        if mark == b",":
            number += 1
            flags = (file.read(9)[8:9] or b"\0")[0]
            file.seek((flags >> 7) * (6 << (flags & 7)), 1)
        file.read(1)  # The extension's label, or the first code's length.
        while length := int.from_bytes(file.read(1), "little"):
            file.seek(length, 1)
    return max(1, number)


def _check_png(file: Watched) -> None:
    """Refuses a PNG whose critical chunks are damaged; Pillow would decode it to something else.

    Raises:
      UnreadableMedia: a checksum is wrong, or the file ends within a chunk; of an animation, within
        its first picture.
    """
    file.seek(8)
    names: set[bytes] = set()
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        critical = not name[0] & 0x20
        checksum = zlib.crc32(name)
        remaining = length
        while remaining > 0:
            part = file.read(min(remaining, 1 << 20))
            if not part and not critical and {b"acTL", b"IDAT"} <= names:
                file.seek(0)
                return
            if not part:
                raise UnreadableMedia("the picture cannot be decoded: the PNG is cut off")
            checksum = zlib.crc32(part, checksum)
            remaining -= len(part)
        stored_checksum = file.read(4)
        if critical and stored_checksum != checksum.to_bytes(4, "big"):
            fault = "has a wrong checksum" if len(stored_checksum) == 4 else "is cut off"
            raise UnreadableMedia(
                f"the picture cannot be decoded: a part of the PNG {fault}; the file is damaged"
            )
        names.add(name)
        if name == b"IEND":
            break
    file.seek(0)
