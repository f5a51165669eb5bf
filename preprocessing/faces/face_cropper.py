"""Cuts the face crops out of one media file, for extraction and prediction."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar, cast

import numpy as np

from preprocessing.faces import persons
from preprocessing.faces.crop import roll, square_crop
from preprocessing.faces.crop_geometry import crop_box
from preprocessing.faces.crop_settings import LANDMARKS, CropSettings
from preprocessing.faces.detector import Face
from preprocessing.faces.face_selection import (
    BYSTANDER,
    OUTSIDE,
    TOO_SHORT,
    FaceCounts,
    FoundFace,
    select,
)
from preprocessing.faces.given_crops import (
    TOO_TIGHT,
    GivenCrop,
    GivenCrops,
    encode_jpeg,
    fits_as_stored,
)
from preprocessing.faces.known_faces import KnownFaces
from preprocessing.faces.quality import QualityFilter
from preprocessing.faces.search import FaceSearch, SearchedFrame
from preprocessing.faces.shots import Look, ShotDetector
from preprocessing.faces.tracking import Tracker
from preprocessing.media.container import misnamed
from preprocessing.media.decoder import Decoder
from preprocessing.media.frame import Frame, MediaInfo, undecoded
from preprocessing.media.frame_folder import Media, may_lend, pictures_of, sample_pictures
from preprocessing.media.jpeg_file import stored_jpeg
from preprocessing.media.limits import Limits
from preprocessing.media.media_errors import UnreadableMedia

__all__ = ["BYSTANDER", "OUTSIDE", "TOO_SHORT", "Crop", "FaceCounts", "FaceCropper"]

_Item = TypeVar("_Item")

# O-Net's threshold in the original implementation. Faces between it and a higher
# `min_face_score` are found, left out and counted.
_FLOOR_SCORE = 0.8


@dataclasses.dataclass(frozen=True)
class Crop:
    """One stored face: the JPEG bytes and where they came from.

    Attributes:
      jpeg: the encoded crop.
      track: number of the face's track within the clip.
      frame: its frame, without the pixels.
      box: [4], x1, y1, x2, y2 in pixels of the frame.
      landmarks: [5, 2], see `preprocessing.faces.detector.Face`.
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

    Files are decoded in a child process, so that none of them can harm this one. JPEG files that
    become crops as they are, unmeasured, are not decoded at all.

    Args:
      settings: what to look for and how to cut it.
      threads: threads that decode, and threads that search; 0 leaves it to the libraries.
      limits: of the files, beyond which they are refused; None for those of datasets.
    """

    def __init__(self, settings: CropSettings, threads: int = 0, limits: Limits | None = None):
        self.settings = settings
        self._limits = limits or Limits()
        self._threads = threads
        self._decoder = Decoder(threads, limits=self._limits)
        # Crops that nobody measures need not be decoded.
        self._as_stored = settings.precropped and settings.crop_by != LANDMARKS
        if not self._as_stored:
            # It gets ready while this process loads the networks.
            self._decoder.start()
        self._search: FaceSearch | None = None
        self._known = KnownFaces()
        self._filter = QualityFilter(
            min_size=settings.min_face_size,
            min_score=settings.min_face_score,
            max_yaw=settings.max_yaw,
            min_sharpness=settings.min_sharpness,
        )
        if not settings.precropped:
            from preprocessing.faces.detector import FaceDetector

            score = min(settings.min_face_score, _FLOOR_SCORE)
            self._search = FaceSearch(FaceDetector(settings.min_face_size, score, threads))

    @functools.cached_property
    def _given(self) -> GivenCrops:
        return GivenCrops(self.settings, self._threads)

    def close(self) -> None:
        """Ends the child processes; they start again when they are needed."""
        self._decoder.close()

    def crops(
        self,
        path: Media,
        original: Media | None = None,
        check: Callable[[], None] | None = None,
        policy: str | None = None,
        key: Hashable = None,
    ) -> tuple[list[Crop], FaceCounts]:
        """Returns the crops of a clip in order of frame and track, and what was counted.

        Args:
          path: a video or picture, a folder with the frames of a video as pictures, or these
            pictures.
          original: the clip that a fake was made from. Where it has frames of the same size, and
            their numbers mean the same moments (`may_lend`), its faces are cut out of `path`, so
            that crops of both with one frame number are a pair.
          check: called with each frame of `path`; what it raises ends the work.
          policy: takes the place of the settings' policy for this file.
          key: names the original, which is `path` itself where none is given, and its version. The
            original is searched once for all its fakes, while it is among the last thousand;
            without a key (None) for each of them.

        Raises:
          UnreadableMedia: no frame could be decoded.
          DecodingFailed: the file could not be read, or its decoder failed, this time.
          ValueError: there is no such policy.
        """
        policy = self.settings.policy if policy is None else policy
        infos: list[MediaInfo] = []
        crops, counts = self._crops(path, original, check, policy, infos.append, key)
        notes = dict.fromkeys(note for info in infos for note in info.notes)
        return crops, dataclasses.replace(counts, notes=[*notes, *counts.notes])

    def _crops(
        self,
        path: Media,
        original: Media | None,
        check: Callable[[], None] | None,
        policy: str,
        tell: Callable[[MediaInfo], None],
        key: Hashable,
    ) -> tuple[list[Crop], FaceCounts]:
        frames = _checked(self._frames(path, tell), check)
        if self._search is None:
            return self._counted(self._given.crops(frames))
        last_frame: collections.deque[Frame] = collections.deque(maxlen=1)
        if original is not None:
            try:
                paired = self._faces_of_original(path, original, key, tell)
                crops, counts = self._cut(_checked(paired, check), policy)
                if counts.frames:
                    return crops, dataclasses.replace(counts, boxes="original")
            except _NoPartner:
                pass
        searched = self._search.faces(_keep_last(frames, last_frame))
        if original is None and key is not None:
            searched = self._known.remembered(key, searched)
        crops, counts = self._cut(searched, policy)
        if self.settings.crop_by == LANDMARKS and not counts.faces:
            if counts.frames == 1:
                return self._filling(last_frame, counts)
            if pictures_of(path) is not None:
                # Read again: to hold them until now could take any amount of memory.
                return self._filling(_checked(self._frames(path), check), counts)
        return crops, counts

    def _filling(
        self, pictures: Iterable[Frame], counts: FaceCounts
    ) -> tuple[list[Crop], FaceCounts]:
        """The pictures of a clip that have no face but, perhaps, one that fills them.

        Faces that fill too small a share of the pictures are noise, as too short tracks are.

        Args:
          pictures: all of the clip; one of them is held at a time.
          counts: of the clip, without a face.
        """
        filled: list[GivenCrop] = []
        for picture in filter(_is_compact, pictures):
            (given_crop,) = self._given.crops([picture])
            if given_crop.score >= self.settings.min_face_score:
                filled.append(dataclasses.replace(given_crop, frame=_without_pixels(picture)))
        if not filled or len(filled) < self.settings.min_track_share * counts.frames:
            return [], counts
        if counts.frames == 1:
            note = "the face fills the picture, which was taken for a face crop"
        else:
            note = f"a face fills {len(filled)} of {counts.frames} pictures, taken for face crops"
        crops, counts_filled = self._counted(filled)
        notes = [note, *counts_filled.notes]
        return crops, dataclasses.replace(counts_filled, frames=counts.frames, notes=notes)

    def _frames(
        self,
        path: Media,
        tell: Callable[[MediaInfo], None] | None = None,
        count: int = 0,
        indices: Sequence[int] | None = None,
    ) -> Iterator[Frame]:
        """Frames of a clip: those that the settings want, or `count` with the numbers `indices`."""
        count = count or self.settings.frames_per_clip
        if (pictures := pictures_of(path)) is not None:
            return sample_pictures(pictures, self._picture, count, indices, tell)
        per_second = 0.0 if indices is not None else self.settings.frames_per_second
        file = Path(cast("str | Path", path))
        if (frame := self._stored(file)) is not None:
            return iter([frame])
        frames = self._decoder.frames(file, count, per_second, indices, tell=tell)
        return (dataclasses.replace(frame, file=file) for frame in frames)

    def _picture(self, file: Path) -> Iterator[Frame]:
        """The frame of a picture."""
        if (frame := self._stored(file)) is not None:
            return iter([frame])
        return self._decoder.frames(file, 1)

    def _stored(self, file: Path) -> Frame | None:
        """The frame of a JPEG file that becomes the crop as it is; None for other files."""
        # The decoder is who notes that a name tells another format.
        if not self._as_stored or misnamed(file, "JPEG"):
            return None
        stored = stored_jpeg(file, self._limits)
        if stored is None or not stored.complete:
            return None
        if not fits_as_stored(stored.height, stored.width, self.settings):
            return None
        return undecoded(stored.data, stored.width, stored.height, file)

    def _faces_of_original(
        self, path: Media, original: Media, key: Hashable, tell: Callable[[MediaInfo], None]
    ) -> Iterator[SearchedFrame]:
        """The frames of `path` with the faces of `original`."""
        if not may_lend(original, path, self.settings.frames_per_clip):
            raise _NoPartner
        faces_by_index = self._known.of(key)
        if faces_by_index is None:
            search = cast("FaceSearch", self._search)
            searched = self._known.remembered(key, search.faces(self._frames(original)))
            try:
                faces_by_index = {
                    frame.index: (frame.pixels.shape, faces) for frame, _, faces in searched
                }
            except UnreadableMedia as error:
                raise _NoPartner from error
        for frame in self._frames(path, tell, len(faces_by_index), list(faces_by_index)):
            shape, faces = faces_by_index[frame.index]
            if frame.pixels.shape != shape:
                raise _NoPartner
            yield SearchedFrame(frame, Look.of(frame.pixels), faces)

    def _cut(self, searched: Iterable[SearchedFrame], policy: str) -> tuple[list[Crop], FaceCounts]:
        shots, tracker = ShotDetector(), Tracker()
        found_faces: list[FoundFace] = []
        patches: list[np.ndarray] = []
        shot_frames: collections.Counter[int] = collections.Counter()
        frames_with_face = 0
        for frame, look, faces in searched:
            shot = shots.shot_of(look)
            shot_frames[shot] += 1
            frames_with_face += bool(faces)
            for face, track in zip(faces, tracker.assign(faces, shot), strict=True):
                crop, reason = self._crop(frame, face)
                found_faces.append(FoundFace(frame.index, shot, track, face.size, crop, reason))
                patches.append(persons.patch(frame.pixels, face))
        tracks = persons.split([face.track for face in found_faces], patches)
        found_faces = [
            face.of_track(track) for face, track in zip(found_faces, tracks, strict=True)
        ]
        crops, dropped, note = select(
            found_faces,
            shot_frames,
            self.settings.min_track_share,
            self.settings.min_relative_size,
            policy,
        )
        return crops, FaceCounts(
            frames=sum(shot_frames.values()),
            frames_with_face=frames_with_face,
            shots=len(shot_frames),
            faces=len(found_faces),
            tracks=len({crop.track for crop in crops}),
            crops=len(crops),
            dropped=dropped,
            note=note,
        )

    def _crop(self, frame: Frame, face: Face) -> tuple[Crop | None, str]:
        """The crop of a face, None where none can be cut, and the reason against it.

        Its track is known only when the whole clip is.
        """
        angle = roll(face.landmarks) if self.settings.align else 0.0
        box, margin = crop_box(self.settings, face.box, face.landmarks)
        try:
            pixels = square_crop(frame.pixels, box, margin, self.settings.max_crop_size, angle)
        except ValueError:
            return None, OUTSIDE
        crop = Crop(
            jpeg=encode_jpeg(pixels, self.settings.jpeg_quality),
            track=-1,
            frame=_without_pixels(frame),
            box=face.box,
            landmarks=face.landmarks,
            score=face.score,
        )
        return crop, self._filter.why_not(face, pixels)

    def _counted(self, given_crops: Iterable[GivenCrop]) -> tuple[list[Crop], FaceCounts]:
        """Files that are face crops already: each frame is one face."""
        crops: list[Crop] = []
        number = measured = tight = recut = 0
        indices: set[int] = set()
        for given_crop in given_crops:
            number += 1
            indices.add(given_crop.frame.index)
            measured += given_crop.geometry is not None
            recut += given_crop.cut
            tight += not given_crop.jpeg
            if given_crop.jpeg:
                frame = _without_pixels(given_crop.frame)
                crops.append(
                    Crop(
                        given_crop.jpeg,
                        frame.track,
                        frame,
                        given_crop.box,
                        given_crop.landmarks,
                        given_crop.score or 1.0,
                    )
                )
        notes = []
        if recut:
            notes.append(f"{recut} of {number} crops were cut again to the model's geometry")
        if measured < number and self.settings.crop_by == LANDMARKS:
            notes.append(
                f"no face was found in {number - measured} of {number} crops, which were taken as "
                "they are"
            )
        return crops, FaceCounts(
            frames=len(indices),
            frames_with_face=len(indices),
            shots=min(1, number),
            faces=number,
            tracks=len({crop.track for crop in crops}),
            crops=len(crops),
            dropped={TOO_TIGHT: tight} if tight else {},
            notes=notes,
        )


def _checked(items: Iterable[_Item], check: Callable[[], None] | None) -> Iterator[_Item]:
    for item in items:
        if check:
            check()
        yield item


def _keep_last(frames: Iterable[Frame], last_frame: collections.deque[Frame]) -> Iterator[Frame]:
    for frame in frames:
        last_frame.append(frame)
        yield frame


def _is_compact(picture: Frame) -> bool:
    """Whether a picture's shape lets it be a face crop; wider ones are searched well enough."""
    height, width = picture.pixels.shape[:2]
    return max(height, width) <= 2 * min(height, width)


class _NoPartner(Exception):
    """The original cannot lend its boxes."""


def _without_pixels(frame: Frame) -> Frame:
    """The frame's number and time; its pixels would be held as long as the crop."""
    return dataclasses.replace(frame, pixels=np.empty(0, np.uint8), jpeg=b"")
