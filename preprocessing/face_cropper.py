"""From one media file to its face crops: what extraction and prediction share."""

from __future__ import annotations

import collections
import dataclasses
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from preprocessing.crop import limit_size, roll, square_crop
from preprocessing.detector import Face
from preprocessing.frame_folder import sample_folder
from preprocessing.media.decoder import Decoder
from preprocessing.media.errors import UnreadableMedia
from preprocessing.media.video import Frame
from preprocessing.quality import QualityFilter
from preprocessing.tracking import Tracker

TOO_SHORT = "track too short"
BYSTANDER = "far smaller than the clip's largest face"
OUTSIDE = "outside the frame"

_Item = TypeVar("_Item")

# O-Net's threshold in the original implementation. Faces between it and a higher
# `min_face_score` are found, left out and counted.
_FLOOR_SCORE = 0.8


@dataclasses.dataclass(frozen=True)
class Settings:
    """What decides which crops come out of a clip; the names are those of ExtractionConfig.

    What has a default came later: models that were trained before it do without.
    """

    frames_per_clip: int
    margin: float
    max_crop_size: int
    min_face_size: int
    min_face_score: float
    min_track_share: float
    jpeg_quality: int
    precropped: bool
    frames_per_second: float = 0.0
    max_yaw: float = 90.0
    min_sharpness: float = 0.0
    min_relative_size: float = 0.0
    align: bool = False
    boxes_of_original: bool = False

    @classmethod
    def of(cls, extraction: dict[str, Any], precropped: bool) -> Settings:
        """Picks the settings out of an extraction section given as plain values."""
        names = {field.name for field in dataclasses.fields(cls)} - {"precropped"}
        return cls(precropped=precropped, **{name: extraction[name] for name in names})

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Crop:
    """One stored face: the JPEG bytes and where they came from.

    Attributes:
      jpeg: the encoded crop.
      track: number of the face's track within the clip.
      frame: its frame, without the pixels.
      box: [4], x1, y1, x2, y2 in pixels of the frame.
      landmarks: [5, 2], see `preprocessing.detector.Face`.
      score: the detector's probability of a face.
    """

    jpeg: bytes
    track: int
    frame: Frame
    box: np.ndarray
    landmarks: np.ndarray
    score: float


class FaceCropper:
    """Cuts the faces out of one media file; used by extraction and prediction alike.

    Files are decoded in a child process, so that none of them can harm this one.

    Args:
      settings: what to look for and how to cut it.
      threads: threads that decode; 0 leaves it to FFmpeg.
    """

    def __init__(self, settings: Settings, threads: int = 0):
        self.settings = settings
        self._decoder = Decoder(threads)
        self._search = None
        self._filter = QualityFilter(
            min_size=settings.min_face_size,
            min_score=settings.min_face_score,
            max_yaw=settings.max_yaw,
            min_sharpness=settings.min_sharpness,
        )
        if not settings.precropped:
            from preprocessing.detector import FaceDetector
            from preprocessing.search import FaceSearch

            score = min(settings.min_face_score, _FLOOR_SCORE)
            self._search = FaceSearch(FaceDetector(settings.min_face_size, score))

    def close(self) -> None:
        """Ends the child processes; they start again when they are needed."""
        self._decoder.close()

    def crops(
        self,
        path: str | Path,
        original: str | Path | None = None,
        check: Callable[[], None] | None = None,
    ) -> tuple[list[Crop], dict[str, Any]]:
        """Returns the crops of a clip in order of frame and track, and what was counted.

        Args:
          path: a video or picture, or a folder with the frames of a video as pictures.
          original: the clip that a fake was made from. Where it has frames of the same size, its
            faces are cut out of `path`, so that crops of both with one frame number are a pair.
          check: called with each frame of `path`; what it raises ends the work.

        Returns:
          The crops, and the counts `frames` (read), `frames_with_face`, `faces` (found in them),
          `tracks` (kept), `crops`, `dropped` (faces left out, by reason; crops and dropped faces
          add up to the faces) and `boxes` (`own` or `original`).

        Raises:
          UnreadableMedia: no frame could be decoded.
        """
        frames = _checked(self._frames(path), check)
        if self._search is None:
            return self._whole_frames(frames)
        if original is not None:
            try:
                crops, counts = self._cut(_checked(self._like(path, original), check))
                if counts["frames"]:
                    return crops, {**counts, "boxes": "original"}
            except _NoPartner:
                pass
        return self._cut(self._search.faces(frames))

    def _frames(
        self, path: str | Path, count: int = 0, indices: Sequence[int] | None = None
    ) -> Iterator[Frame]:
        """Frames of a clip: those that the settings want, or `count` with the numbers `indices`."""
        count = count or self.settings.frames_per_clip
        if Path(path).is_dir():
            return sample_folder(
                Path(path), lambda picture: self._decoder.frames(picture, 1), count, indices
            )
        per_second = 0.0 if indices is not None else self.settings.frames_per_second
        return self._decoder.frames(path, count, per_second, indices)

    def _like(self, path: str | Path, original: str | Path) -> Iterator[tuple[Frame, list[Face]]]:
        """The frames of `path` with the faces of `original`."""
        try:
            known = {
                frame.index: (frame.pixels.shape, faces)
                for frame, faces in self._search.faces(self._frames(original))
            }
        except UnreadableMedia as error:
            raise _NoPartner from error
        for frame in self._frames(path, len(known), list(known)):
            shape, faces = known[frame.index]
            if frame.pixels.shape != shape:
                raise _NoPartner
            yield frame, faces

    def _cut(
        self, searched: Iterable[tuple[Frame, list[Face]]]
    ) -> tuple[list[Crop], dict[str, Any]]:
        tracker = Tracker()
        found: list[Crop] = []
        counts: collections.Counter[str] = collections.Counter()
        dropped: collections.Counter[str] = collections.Counter()
        sizes: dict[int, list[float]] = collections.defaultdict(list)
        for frame, faces in searched:
            counts["frames"] += 1
            counts["frames_with_face"] += bool(faces)
            counts["faces"] += len(faces)
            light = dataclasses.replace(frame, pixels=np.empty(0, np.uint8))
            for face, track in zip(faces, tracker.assign(faces), strict=True):
                sizes[track].append(face.size)
                pixels, reason = self._crop(frame.pixels, face)
                if reason:
                    dropped[reason] += 1
                    continue
                jpeg = self._encode(pixels)
                found.append(Crop(jpeg, track, light, face.box, face.landmarks, face.score))
        refused = self._refuse_tracks(sizes, counts["frames"])
        kept = [crop for crop in found if crop.track not in refused]
        dropped.update(refused[crop.track] for crop in found if crop.track in refused)
        return kept, _counts(counts, kept, dropped)

    def _refuse_tracks(self, sizes: dict[int, list[float]], frames: int) -> dict[int, str]:
        """The tracks to leave out, each with the reason; `sizes` holds each track's face sizes."""
        least = self.settings.min_track_share * frames
        refused = {track: TOO_SHORT for track, found in sizes.items() if len(found) < least}
        medians = {
            track: statistics.median(found)
            for track, found in sizes.items()
            if track not in refused
        }
        smallest = self.settings.min_relative_size * max(medians.values(), default=0.0)
        return refused | {track: BYSTANDER for track, size in medians.items() if size < smallest}

    def _crop(self, pixels: np.ndarray, face: Face) -> tuple[np.ndarray | None, str]:
        """The crop of a face, or None and the reason against it."""
        reason = self._filter.why_not(face)
        if reason:
            return None, reason
        angle = roll(face.landmarks) if self.settings.align else 0.0
        try:
            crop = square_crop(
                pixels, face.box, self.settings.margin, self.settings.max_crop_size, angle
            )
        except ValueError:
            return None, OUTSIDE
        return crop, self._filter.why_not(face, crop)

    def _whole_frames(self, frames: Iterator[Frame]) -> tuple[list[Crop], dict[str, Any]]:
        """Files that are face crops already: each frame is one face."""
        crops = []
        for frame in frames:
            height, width = frame.pixels.shape[:2]
            jpeg = self._encode(limit_size(frame.pixels, self.settings.max_crop_size))
            box = np.array([0, 0, width, height], np.float32)
            light = dataclasses.replace(frame, pixels=np.empty(0, np.uint8))
            crops.append(Crop(jpeg, 0, light, box, np.zeros((5, 2), np.float32), 1.0))
        number = len(crops)
        return crops, _counts(
            {"frames": number, "frames_with_face": number, "faces": number}, crops, {}
        )

    def _encode(self, pixels: np.ndarray) -> bytes:
        parameters = [cv2.IMWRITE_JPEG_QUALITY, self.settings.jpeg_quality]
        ok, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), parameters)
        if not ok:
            raise UnreadableMedia("a crop could not be encoded")
        return data.tobytes()


def _checked(items: Iterable[_Item], check: Callable[[], None] | None) -> Iterator[_Item]:
    for item in items:
        if check:
            check()
        yield item


class _NoPartner(Exception):
    """The original cannot lend its boxes."""


def _counts(counts: dict[str, int], kept: list[Crop], dropped: dict[str, int]) -> dict[str, Any]:
    return {
        "frames": counts["frames"],
        "frames_with_face": counts["frames_with_face"],
        "faces": counts["faces"],
        "tracks": len({crop.track for crop in kept}),
        "crops": len(kept),
        "dropped": dict(dropped),
        "boxes": "own",
    }
