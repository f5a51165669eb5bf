"""Configuration of the evaluation and the gates: `evaluation`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from components.evaluation.bounds import Bound, contradiction, parse
from components.evaluation.catalogue import FRAME_MEASURES
from preprocessing.support.section import Number, Section, SectionError, Texts


class GateConfig(Section):
    """What a model must reach on the test split to be pushed."""

    min_accuracy: Number = Field(0.80, ge=0.0, le=1.0, description="Minimum accuracy.")
    min_auc: Number = Field(0.90, ge=0.0, le=1.0, description="Minimum area under the ROC curve.")
    max_auc_drop: Number = Field(
        0.02,
        ge=0.0,
        le=1.0,
        description="How much lower than the last blessed model's the AUC may be.",
    )
    # With few clips a difference of 0.02 may be chance. Clips only: TFMA resamples frames.
    drop_by: Literal["point", "interval"] = Field(
        "point",
        description="point: the measured difference must be within max_auc_drop; interval, of "
        "clips only: the low end of its paired 95% interval must.",
    )
    # See components/evaluation/bounds.py. Frames have fewer metrics than clips.
    bounds: Texts = Field(
        (),
        description="Further bounds, minimum or maximum values: `eer <= 0.1`, `tpr_at_fpr_1pct >= "
        "0.5`, or of a slice `method=Deepfakes: auc >= 0.7`; `eer` and others are of clips only.",
    )
    slices: Texts = Field((), description="The same, for bounds of slices only.")

    @field_validator("bounds")
    @classmethod
    def _check_bounds(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            parse(text)
        return texts

    @field_validator("slices")
    @classmethod
    def _check_slices(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            if not parse(text).key:
                raise ValueError(
                    f"{text!r} names no slice; write it as 'method: {text.strip()}', or put it "
                    "into the key bounds beside it"
                )
        return texts

    @model_validator(mode="after")
    def _check_contradictions(self) -> GateConfig:
        if text := contradiction(bounds_of(self)):
            raise SectionError("", text)
        return self


def bounds_of(gate: GateConfig) -> list[Bound]:
    """All bounds of a gate but the change against the last blessed model."""
    bounds = [Bound("accuracy", gate.min_accuracy), Bound("auc", gate.min_auc)]
    return bounds + [parse(text) for text in (*gate.bounds, *gate.slices)]


class EvaluationConfig(Section):
    """TFMA and ClipEvaluator; see components/evaluation/ and components/clip_evaluator/."""

    # Judged by TFMA.
    gate: GateConfig = Field(GateConfig(), description="Bounds of frames.")
    # Clips are what people ask about. Both gates must bless.
    clip_gate: GateConfig = Field(GateConfig(), description="Bounds of clips.")
    # The ends of an interval move by about 0.1 of its width with 1000.
    resamples: int = Field(
        1000, ge=100, le=100_000, description="Resamples of the clips' bootstrap intervals."
    )
    # They resample frames, not clips, and double the time.
    confidence_intervals: bool = Field(
        False, description="Poisson bootstrap intervals of TFMA's metrics."
    )

    @model_validator(mode="after")
    def _check_frames(self) -> EvaluationConfig:
        for bound in bounds_of(self.gate):
            if bound.metric not in FRAME_MEASURES:
                raise SectionError(
                    "gate",
                    f"TFMA does not measure {bound.metric} of frames, only "
                    f"{', '.join(FRAME_MEASURES)}; put that bound into evaluation.clip_gate",
                )
        if self.gate.drop_by == "interval":
            raise SectionError(
                "gate.drop_by",
                "TFMA's intervals resample frames, not clips; set evaluation.clip_gate.drop_by to "
                "interval instead",
            )
        return self
