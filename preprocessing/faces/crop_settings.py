"""The settings that decide which face crops come out of a clip.

`extraction` of the configuration, the cache key of extracted clips and the model card name the
same settings; see `CropSettings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import Field

from preprocessing.support.errors import UsageError
from preprocessing.support.section import Number, Section

# See preprocessing/faces/face_selection.py.
Policy = Literal["training", "answer", "all"]
TRAINING: Policy = "training"
ANSWER: Policy = "answer"
ALL: Policy = "all"
POLICIES: tuple[str, ...] = get_args(Policy)

# What a crop's square follows.
CropBy = Literal["box", "landmarks"]
BOX: CropBy = "box"
LANDMARKS: CropBy = "landmarks"

# What models had whose card lacks a setting: it came later, and they were trained without.
_BEFORE = {
    "frames_per_second": 0.0,
    "max_yaw": 90.0,
    "min_sharpness": 0.0,
    "min_relative_size": 0.0,
    "align": False,
    "boxes_of_original": False,
    "crop_by": BOX,
    "eye_distance": 0.4,
    "eye_height": 0.3,
}


class CropOptions(Section):
    """The settings that people choose, the keys of `extraction`; see face_cropper.py."""

    # 32 evenly sampled frames a clip is what DeepfakeBench and the DFDC winner use.
    frames_per_clip: int = Field(32, ge=1, le=100_000, description="Frames sampled from a clip.")
    # Long clips then say more than short ones, which most datasets do not want.
    frames_per_second: Number = Field(
        0.0,
        ge=0.0,
        le=1000.0,
        description="Above 0: this many frames a second instead, and at most frames_per_clip.",
    )
    # A detector's box jitters by a tenth of its side; the five points together do so less.
    crop_by: CropBy = Field(
        BOX,
        description="box: the square is `margin` times the detector's box; landmarks: it puts the "
        "eyes where eye_distance and eye_height say.",
    )
    # DeepfakeBench: 1.3. Face crops as they are often published have 0.8.
    margin: Number = Field(
        1.3,
        ge=0.5,
        le=3.0,
        description="Side of the square crop over the longer side of the face box; with "
        "crop_by=box.",
    )
    # Those of published face crops of Celeb-DF v2 and DFDC; a margin of 1.3 has 0.26 and 0.42, the
    # least margin a distance of 0.68.
    eye_distance: Number = Field(
        0.4,
        ge=0.1,
        le=0.7,
        description="Distance between the eyes of a frontal face over the crop's side; with "
        "crop_by=landmarks.",
    )
    eye_height: Number = Field(
        0.3,
        ge=0.1,
        le=0.7,
        description="Place of the eyes below the crop's upper border over its side; with "
        "crop_by=landmarks.",
    )
    # NASNetLarge reads 331.
    max_crop_size: int = Field(
        384,
        ge=32,
        le=2048,
        description="Crops with a longer side, in pixels, are scaled down before they are stored.",
    )
    # Smaller faces hold too little detail; MTCNN's first network looks at 12 pixels.
    min_face_size: int = Field(
        40,
        ge=12,
        le=4096,
        description="Least longer side of the face box, in pixels of the frame.",
    )
    # MTCNN's own threshold. At 0.9 strongly compressed frontal faces get lost; what is found
    # wrongly at 0.8 seldom makes a track.
    min_face_score: Number = Field(
        0.8, ge=0.0, le=1.0, description="Least score of MTCNN's last network."
    )
    # A track found in fewer is noise (a false detection, a passer-by).
    min_track_share: Number = Field(
        0.2,
        ge=0.0,
        le=1.0,
        description="Least share of its shot's sampled frames that a track is in.",
    )
    # Profiles occur in the field.
    max_yaw: Number = Field(
        90.0, ge=0.0, le=90.0, description="Degrees a face may be turned to its side; 90 keeps all."
    )
    # Only what is as good as plain is dropped: forgeries are blurrier, and a higher value would
    # drop them first.
    min_sharpness: Number = Field(
        1.0,
        ge=0.0,
        le=255.0,
        description="Least standard deviation of the crop's Laplacian at 128 pixels, in grey "
        "levels.",
    )
    # A forged clip shows one forged person as a rule; passers-by in it are real, and would be
    # labelled fake.
    min_relative_size: Number = Field(
        0.4,
        ge=0.0,
        le=1.0,
        description="Tracks whose median face is smaller than this share of the largest median "
        "face of their shot are left out.",
    )
    # Off: MTCNN's points are a few pixels off, and turning resamples every pixel, which blurs the
    # traces of a forgery.
    align: bool = Field(False, description="Turns crops so that the eyes are level.")
    # Off: in the field there is no original. It costs one more search for each fake.
    boxes_of_original: bool = Field(
        False,
        description="Cuts fakes out at the places of the faces in their original, so that crops "
        "are pairs.",
    )
    # Cues of manipulation live in high frequencies: compress hardly.
    jpeg_quality: int = Field(95, ge=1, le=100, description="JPEG quality of the crops.")


class CropSettings(CropOptions):
    """Everything that decides which crops come out of a clip.

    As JSON it is part of the cache key of extracted clips, and `extraction` of the model card.
    """

    precropped: bool = Field(
        False, description="The files are face crops already; `data.precropped`."
    )
    policy: Policy = Field(
        TRAINING,
        description="What is kept where the other settings leave little, see face_selection.py. "
        "Whoever uses a model sets it; training has one policy only.",
    )

    def to_dict(self) -> dict[str, Any]:
        """Plain values; training's policy, which is no property of a model, is left out."""
        values = super().to_dict()
        if self.policy == TRAINING:
            del values["policy"]
        return values

    def geometry(self) -> dict[str, Any]:
        """The settings that decide where a face lies in its crop, with their values."""
        square = ["eye_distance", "eye_height"] if self.crop_by == LANDMARKS else ["margin"]
        names = ["precropped", "crop_by", "align", *square]
        # Files that are crops already keep the margin that they have, and are not turned.
        unread = ("align", "margin") if self.precropped else ()
        return {name: getattr(self, name) for name in names if name not in unread}

    @classmethod
    def from_card(cls, values: Mapping[str, Any]) -> CropSettings:
        """Reads `extraction` of a model card, also one that an earlier version wrote.

        Args:
          values: the settings; those that came later than the card get the value that the model
            was trained with.

        Raises:
          UsageError: a setting that this version does not know, that is missing, or whose value has
            the wrong type or range.
        """
        required = cls.model_fields.keys() - _BEFORE.keys() - {"policy"}
        if missing := sorted(required - values.keys()):
            raise UsageError(f"extraction.{missing[0]} is missing")
        return cls.from_dict({**_BEFORE, **values}, key="extraction")


class ExtractionConfig(CropOptions):
    """From clip to face crops: what decides the crops, and what only decides how fast they come."""

    # 1 runs in this process; one MTCNN already uses several cores.
    workers: int = Field(
        1,
        ge=1,
        le=1024,
        description="Beam worker processes; another number makes FaceExtractor, which takes the "
        "clips from the face store, and all nodes after it run again.",
    )

    def crop_settings(self, precropped: bool) -> CropSettings:
        """The part that decides which crops there are.

        Args:
          precropped: `data.precropped`.
        """
        values = {name: getattr(self, name) for name in CropOptions.model_fields}
        return CropSettings(precropped=precropped, **values)
