"""Selects the faces of a clip that are kept, and accounts for all the others.

Three policies share the rules and differ in what happens where these leave little:

    training   what the rules leave out stays out, even where nothing is left
    answer     where the rules leave nothing, the faces with the mildest reason are kept anyway
    all        every face that can be cut out is kept
"""

from __future__ import annotations

import collections
import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from preprocessing.faces import quality
from preprocessing.faces.crop_settings import ALL, ANSWER, POLICIES

if TYPE_CHECKING:
    from preprocessing.faces.face_cropper import Crop

TOO_SHORT = "track too short"
BYSTANDER = "far smaller than the largest face of the shot"
OUTSIDE = "outside the frame"
# Mildest first: what says least against a face comes before what makes its score worth least.
_MILDNESS = (
    TOO_SHORT,
    BYSTANDER,
    quality.TURNED_AWAY,
    quality.TOO_SMALL,
    quality.BLURRED,
    quality.TOO_UNSURE,
)
# Sampled frames. Shorter shots count as this many, so that with the default share of 0.2 a face
# that turns up in a single frame of a long clip makes no track: single faces are often false finds.
SHORT_SHOT = 6


@dataclasses.dataclass(frozen=True)
class FaceCounts:
    """What was found in a clip and what became of it.

    Attributes:
      frames: sampled frames that were read.
      frames_with_face: of them, those in which a face was found.
      shots: shots that the sampled frames show; see `preprocessing.faces.shots`.
      faces: faces found.
      tracks: tracks kept.
      crops: faces kept; with those of `dropped` they add up to `faces`.
      dropped: faces left out, by reason.
      boxes: `own`, or `original` where a fake was cut at the places of its original's faces.
      note: on how little a score of the kept faces rests, where the rules would have left out
        every one of them; else empty.
      notes: what a reader of the result should know about the file, see
        `preprocessing.media.frame.MediaInfo`.
    """

    frames: int = 0
    frames_with_face: int = 0
    shots: int = 0
    faces: int = 0
    tracks: int = 0
    crops: int = 0
    dropped: dict[str, int] = dataclasses.field(default_factory=dict)
    boxes: str = "own"
    note: str = ""
    notes: list[str] = dataclasses.field(default_factory=list)

    def why_none(self) -> str:
        """The reason why no face was kept; empty where there are crops."""
        if self.crops:
            return ""
        if not self.faces:
            return "no face"
        faces = "the 1 face" if self.faces == 1 else f"none of the {self.faces} faces"
        verb = "was not" if self.faces == 1 else "was"
        return f"{faces} found {verb} kept ({by_reason(self.dropped)})"


@dataclasses.dataclass(frozen=True)
class FoundFace:
    """One face of one sampled frame.

    Attributes:
      frame: number of the frame within the clip.
      shot: number of its shot.
      track: number of its track, which lies within one shot.
      size: longer side of its box in pixels.
      crop: the crop; None where none can be cut.
      reason: what the quality filter has against it; empty for nothing.
    """

    frame: int
    shot: int
    track: int
    size: float
    crop: Crop | None
    reason: str

    def of_track(self, track: int) -> FoundFace:
        """The same face, and its crop, with the number of its track."""
        crop = self.crop and dataclasses.replace(self.crop, track=track)
        return dataclasses.replace(self, track=track, crop=crop)


def select(
    found: Sequence[FoundFace],
    shot_frames: Mapping[int, int],
    min_track_share: float,
    min_relative_size: float,
    policy: str,
) -> tuple[list[Crop], dict[str, int], str]:
    """Decides which faces are kept.

    Args:
      found: all faces of a clip, in order.
      shot_frames: number of sampled frames of each shot of the clip.
      min_track_share: tracks in a smaller share of their shot's frames are left out; shots shorter
        than `SHORT_SHOT` count as that long, or as long as the whole clip where it is shorter.
      min_relative_size: tracks whose median face is smaller than this share of the largest
        median of their shot are left out.
      policy: one of `POLICIES`.

    Returns:
      The kept crops in order, the number of faces left out by reason, and a note; see
      `FaceCounts`.

    Raises:
      ValueError: there is no such policy.
    """
    if policy not in POLICIES:
        raise ValueError(f"policy is {policy!r}; it must be one of {', '.join(POLICIES)}")
    if policy == ALL:
        reasons = ["" if face.crop else face.reason for face in found]
    else:
        refused = refused_tracks(found, shot_frames, min_track_share, min_relative_size)
        reasons = [face.reason or refused.get(face.track, "") for face in found]
    note = ""
    if policy == ANSWER and all(reasons):
        reasons, note = _keep_mildest(found, reasons, sum(shot_frames.values()))
    crops = [
        cast("Crop", face.crop) for face, reason in zip(found, reasons, strict=True) if not reason
    ]
    return crops, dict(collections.Counter(filter(None, reasons))), note


def refused_tracks(
    found: Sequence[FoundFace],
    shot_frames: Mapping[int, int],
    min_track_share: float,
    min_relative_size: float,
) -> dict[int, str]:
    """The tracks to leave out, each with the reason; see `select`."""
    tracks: dict[int, list[FoundFace]] = collections.defaultdict(list)
    for face in found:
        tracks[face.track].append(face)
    least_frames = min(SHORT_SHOT, sum(shot_frames.values()))
    refused: dict[int, str] = {}
    medians: dict[int, dict[int, float]] = collections.defaultdict(dict)
    for track, faces in tracks.items():
        shot = faces[0].shot
        if len(faces) < min_track_share * max(shot_frames[shot], least_frames):
            refused[track] = TOO_SHORT
        else:
            medians[shot][track] = statistics.median(face.size for face in faces)
    for by_track in medians.values():
        smallest = min_relative_size * max(by_track.values())
        refused.update({track: BYSTANDER for track, size in by_track.items() if size < smallest})
    return refused


def by_reason(counts: Mapping[str, int]) -> str:
    """Counts as text, most frequent first: `9 track too short, 2 outside the frame`."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number} {reason}" for reason, number in ordered)


def _keep_mildest(
    found_faces: Sequence[FoundFace], reasons: list[str], frames: int
) -> tuple[list[str], str]:
    """Keeps the faces with the mildest reason, where every face was refused."""
    present = [reason for reason in _MILDNESS if reason in reasons]
    if not present:
        return reasons, ""
    kept = [face for face, reason in zip(found_faces, reasons, strict=True) if reason == present[0]]
    faces = "The only face" if len(found_faces) == 1 else f"Each of the {len(found_faces)} faces"
    frames_with_face = len({face.frame for face in kept})
    note = (
        f"{faces} found would be left out ({by_reason(collections.Counter(reasons))}); the score "
        f"rests on {len(kept)} of them, in {frames_with_face} of {frames} frames"
    )
    return ["" if reason == present[0] else reason for reason in reasons], note
