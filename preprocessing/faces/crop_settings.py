"""What decides which crops come out of a clip, for extraction, model card and prediction alike."""

from __future__ import annotations

import dataclasses
from typing import Any

# What is kept of the faces found, see `preprocessing.faces.face_selection`.
TRAINING, ANSWER, ALL = "training", "answer", "all"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What decides which crops come out of a clip; the names are those of ExtractionConfig.

    What has a default came later: models that were trained before it do without.

    Attributes:
      policy: what is kept where the other settings leave little, see
        `preprocessing.faces.face_selection`. Whoever uses a model sets it; training has one policy
        only.
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
    policy: str = TRAINING

    @classmethod
    def of(cls, extraction: dict[str, Any], precropped: bool) -> Settings:
        """Picks the settings out of an extraction section given as plain values."""
        names = {field.name for field in dataclasses.fields(cls)} - {"precropped", "policy"}
        return cls(precropped=precropped, **{name: extraction[name] for name in names})

    def as_dict(self) -> dict[str, Any]:
        """Plain values; training's policy, which is no property of a model, is left out."""
        values = dataclasses.asdict(self)
        if self.policy == TRAINING:
            del values["policy"]
        return values
