"""Pictures that are face crops already: kept as they are, cut again, or left out.

A model knows faces at the scale and place of its training crops (`crop_geometry`). So with
`crop_by=landmarks` each crop is measured. A square crop with about the wanted geometry is kept
whole, a JPEG to the byte, because encoding it again wipes traces; a wider one, or one that is not
square, is cut again; a tighter one is left out. With `crop_by=box`, and where no face is found,
crops are kept unmeasured, and padded to a square, without which a network would see them stretched.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from preprocessing.faces.crop import nearly_square, padded_square, square_crop
from preprocessing.faces.crop_geometry import (
    Geometry,
    square_of,
    wanted_geometry,
)
from preprocessing.faces.crop_meter import CropMeter
from preprocessing.faces.crop_settings import LANDMARKS, CropSettings
from preprocessing.faces.detector import Face
from preprocessing.media.frame import Frame
from preprocessing.media.jpeg_file import stored_jpeg
from preprocessing.media.limits import Limits
from preprocessing.media.media_errors import UnreadableMedia

TOO_TIGHT = "cut tighter than the model's crops"
# Bounds within which a crop is kept whole: the ratio of its eyes' distance to the wanted distance,
# and the offset of the eyes in shares of the side. Training's augmentation covers as much.
_WIDEST, _TIGHTEST, _ASIDE = 0.75, 1.35, 0.15
# Frames that are measured at once.
_BATCH = 32


@dataclasses.dataclass(frozen=True)
class GivenCrop:
    """A picture with its crop.

    Attributes:
      frame: as it was given.
      jpeg: the encoded crop; empty where the picture was left out.
      box: float32 [4], the part of the picture that the crop shows, in pixels of the picture; the
        crop is the square of its longer side around it.
      landmarks: float32 [5, 2], in pixels of the picture; all zero where no face was found.
      geometry: what was measured; None where no face was found, or looked for.
      score: the detector's probability of a face; 0 where none was found.
      cut: whether the crop is a part of the picture.
    """

    frame: Frame
    jpeg: bytes
    box: np.ndarray
    landmarks: np.ndarray
    geometry: Geometry | None = None
    score: float = 0.0
    cut: bool = False


class GivenCrops:
    """Brings face crops to the geometry that a model wants.

    Args:
      settings: say which geometry that is.
      threads: that search; 0 leaves it to the libraries.
    """

    def __init__(self, settings: CropSettings, threads: int = 0):
        self._settings = settings
        self._wanted = wanted_geometry(settings)
        self._meter = CropMeter(threads) if settings.crop_by == LANDMARKS else None

    def crops(self, frames: Iterable[Frame]) -> Iterator[GivenCrop]:
        """Yields what becomes of each picture, in order; some are held in memory at a time."""
        batch: list[Frame] = []
        for frame in frames:
            batch.append(frame)
            if len(batch) == _BATCH:
                yield from self._judged(batch)
                batch = []
        yield from self._judged(batch)

    def _judged(self, frames: list[Frame]) -> Iterator[GivenCrop]:
        if self._meter is None:
            yield from map(self._whole, frames)
            return
        faces = self._meter.faces([frame.pixels for frame in frames])
        for frame, face in zip(frames, faces, strict=True):
            yield self._fitted(frame, face) if face else self._whole(frame)

    def _fitted(self, frame: Frame, face: Face) -> GivenCrop:
        geometry = Geometry.of(face.landmarks, frame.pixels.shape)
        zoom = geometry.eye_distance / self._wanted.eye_distance
        offset = max(
            abs(geometry.eye_x - self._wanted.eye_x),
            abs(geometry.eye_height - self._wanted.eye_height),
        )
        if zoom > _TIGHTEST:
            crop = GivenCrop(frame, b"", np.zeros(4, np.float32), face.landmarks)
        elif zoom < _WIDEST or offset > _ASIDE or not nearly_square(*frame.pixels.shape[:2]):
            crop = self._cut(frame, face)
        else:
            crop = dataclasses.replace(self._whole(frame), landmarks=face.landmarks)
        return dataclasses.replace(crop, geometry=geometry, score=face.score)

    def _whole(self, frame: Frame) -> GivenCrop:
        height, width = frame.pixels.shape[:2]
        jpeg = frame.jpeg or self._stored(frame)
        if not jpeg:
            jpeg = self._encode(padded_square(frame.pixels, self._settings.max_crop_size))
        box = np.array([0, 0, width, height], np.float32)
        return GivenCrop(frame, jpeg, box, np.zeros((5, 2), np.float32))

    def _stored(self, frame: Frame) -> bytes:
        """The content of a frame's file, a square JPEG of these pixels; empty for other files."""
        height, width = frame.pixels.shape[:2]
        if frame.file is None or not fits_as_stored(height, width, self._settings):
            return b""
        stored = stored_jpeg(frame.file, Limits())
        fits = stored is not None and (stored.width, stored.height) == (width, height)
        return stored.data if stored and fits else b""

    def _cut(self, frame: Frame, face: Face) -> GivenCrop:
        square = square_of(face.landmarks, self._wanted.eye_distance, self._wanted.eye_height)
        pixels = square_crop(frame.pixels, square, 1.0, self._settings.max_crop_size)
        return GivenCrop(frame, self._encode(pixels), square, face.landmarks, cut=True)

    def _encode(self, pixels: np.ndarray) -> bytes:
        return encode_jpeg(pixels, self._settings.jpeg_quality)


def fits_as_stored(height: int, width: int, settings: CropSettings) -> bool:
    """Whether a JPEG of this size, in pixels, may become a crop to the byte."""
    return max(height, width) <= settings.max_crop_size and nearly_square(height, width)


def encode_jpeg(pixels: np.ndarray, quality: int) -> bytes:
    """A crop as JPEG.

    Args:
      pixels: uint8 [height, width, 3], RGB.
      quality: 1 to 100.

    Raises:
      UnreadableMedia: the encoder fails.
    """
    parameters = [cv2.IMWRITE_JPEG_QUALITY, quality]
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), parameters)
    if not ok:
        raise UnreadableMedia("a crop could not be encoded")
    return data.tobytes()
