"""The answer about one file, as classes: command line and gateway give it, and tests hold it.

Answers are put together as plain values by `serving.model.verdict.Verdict.as_dict`, and go out as
they are.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from serving.model.provenance import Provenance

Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class StrictModel(BaseModel):
    """Base class of what is answered: strict about types, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _may_be_absent(schema: dict[str, Any]) -> None:
    """Takes the default away from a schema: the key has no value of its own where it is absent."""
    del schema["default"]


class Moment(StrictModel):
    """One face of a track."""

    frame: Count = Field(description="Number of its frame within the file.")
    seconds: float | None = Field(
        description="Presentation time of the frame; null where nothing tells it, as for pictures."
    )
    score: Probability = Field(description="P(fake).")
    logit: float = Field(description="Logit of the score.")


class ShownFace(StrictModel):
    """One face of a track, as a picture."""

    frame: Count = Field(description="Number of its frame within the file.")
    seconds: float | None = Field(description="Presentation time, as in `timeline`.")
    score: Probability = Field(description="P(fake).")
    picture: str = Field(description="A small JPEG in base64.")
    heat: str = Field(
        "",
        description="The class activation map as a PNG in base64, to be laid over the picture and "
        "stretched to its size: positions with a logit for fake are vermilion, with one for real "
        "blue. Absent where the model gives none.",
        json_schema_extra=_may_be_absent,
    )


class Track(StrictModel):
    """A person in one shot."""

    track: Count = Field(description="Number of the track within the file.")
    score: Probability = Field(description="P(fake).")
    faces: Count = Field(description="Number of its faces that were judged.")
    timeline: list[Moment] = Field(description="Scores of these faces, in order of time.")
    crop: str = Field(
        "",
        description="With `crops=1` only: its best face, a small JPEG in base64.",
        json_schema_extra=_may_be_absent,
    )
    strip: list[ShownFace] = Field(
        [],
        description="With `explain=1` only: some of its faces in order of time, the most "
        "suspicious among them; at most 6, and 24 in an answer.",
        json_schema_extra=_may_be_absent,
    )


class Thresholds(StrictModel):
    """Between which scores the model is uncertain."""

    false_positive_rate: Probability = Field(
        description="Share of real clips that may be called fake."
    )
    miss_rate: Probability | None = Field(
        description="Share of fake clips that may be called real, with `blended_fakes` of such "
        "only; null for a model that an earlier version exported."
    )
    fake_above_logit: float | None = Field(
        description="Logits above are fake; null where validation has too few real clips to call "
        "any fake at that rate."
    )
    real_below_logit: float | None = Field(
        description="Logits below are real; null likewise, for fake clips."
    )
    real_clips: Count = Field(
        description="Number of real clips of validation, from which the thresholds follow."
    )
    real_clusters: Count = Field(
        description="Persons, or other clusters, of the real clips; 0 where an earlier version "
        "exported the model."
    )
    fake_clips: Count = Field(description="Number of fake clips, likewise.")
    fake_clusters: Count = Field(description="Persons, or other clusters, of the fake clips.")
    guaranteed: bool = Field(
        description="Whether the rates hold for new clips like those of validation; false for a "
        "model that an earlier version exported."
    )
    fake_above: Probability | None = Field(description="P(fake) at `fake_above_logit`, for people.")
    real_below: Probability | None = Field(description="P(fake) at `real_below_logit`, for people.")


class PValues(StrictModel):
    """Conformal p-values: ranks of the score among validation clips."""

    real: Probability = Field(
        description='p-value of "real": at most so large a share of real clips has so high a score.'
    )
    fake: Probability = Field(
        description='p-value of "fake": at most so large a share of fakes has so low a score; with '
        "`blended_fakes` of such only."
    )


class Window(StrictModel):
    """The most suspicious part of a track."""

    logit: float = Field(description="Mean logit of its faces.")
    p_value: Probability = Field(
        description='p-value of "no part is manipulated": at most so large a share of real clips '
        "has such a part."
    )


class Segment(StrictModel):
    """A part of a track that is manipulated."""

    track: Count = Field(description="Number of the track within the file.")
    start: float | None = Field(description="Seconds; null where the file has no times.")
    end: float | None = Field(description="Seconds, likewise.")
    first_frame: Count = Field(description="Number of its first frame that was judged.")
    last_frame: Count = Field(description="Number of its last frame that was judged.")
    score: Probability = Field(description="P(fake) at `logit`.")
    logit: float = Field(description="Mean logit of its faces.")


class ClipFamiliarity(StrictModel):
    """How unlike the model's own data the file is."""

    p_value: Probability = Field(
        description='p-value of "familiar": at most so large a share of clips like '
        "validation's lies so far from the training's crops."
    )
    distance: float = Field(description="Distance to the nearest of these, in no unit.")
    facts: list[str] = Field(
        description="Phrases that say what is unusual; empty where the file is not unfamiliar."
    )


class AnsweringModel(StrictModel):
    """The model that an answer comes from."""

    name: str = Field(description="Name of the model on the model server.")
    version: Count | None = Field(
        description="Version that answered; null for a folder without a number, which the command "
        "line takes."
    )
    backbone: str = Field(description="Network below its head.")
    about: str = Field(description="`provenance` in one line; empty without one.")
    provenance: Provenance | None = Field(
        description="Origin of the model; null where its card does not say."
    )


class Answer(StrictModel):
    """The answer about one file."""

    name: str = Field(
        description="Name of the file. On the command line, its path. At the gateway, its name in "
        "the query, else in the form, in at most 200 characters; empty where neither does.",
    )
    schema_version: Literal[1] = Field(
        description="Version of this schema; raised when a key changes its meaning or is taken "
        "away."
    )
    verdict: str = Field(
        description="`fake`, `real`, `uncertain` or `unfamiliar`; the `warning` where there is "
        "one; empty without a score, and for a model without thresholds."
    )
    warning: str = Field(
        description="Why there is no verdict whatever the score; empty for a model of real data."
    )
    score: Probability | None = Field(
        description="P(fake), that of the most suspicious track; null where no face was judged."
    )
    logit: float | None = Field(
        description="Logit of the score; the thresholds are compared with it. Null where no face "
        "was judged."
    )
    reason: str = Field(description="Why there is no score, as in `no face`; empty with one.")
    note: str = Field(
        description="On how little the score rests, where every face would have been left out; "
        "else empty."
    )
    notes: list[str] = Field(
        description="What else should be known of the file, as that it is cut off, or that frames "
        "could not be decoded."
    )
    frames: Count = Field(description="Number of frames that were sampled.")
    shots: Count = Field(description="Number of shots that these frames show.")
    faces_found: Count = Field(description="Number of faces that were found in them.")
    faces: Count = Field(description="Number of faces that were judged.")
    left_out: dict[str, Count] = Field(description="Faces that were not judged, by reason.")
    tracks: list[Track] = Field(description="Tracks that were judged, the most suspicious first.")
    p_values: PValues | None = Field(
        description="Null without a score, and for a model that an earlier version exported."
    )
    window: Window | None = Field(
        description="Null without a score, where each track has too few faces, as that of a "
        "picture, and for a model whose card holds no windows of validation clips."
    )
    segments: list[Segment] | None = Field(
        description="Parts that are manipulated, at the false positive rate, in order of track and "
        "time; null as `window`."
    )
    familiarity: ClipFamiliarity | None = Field(
        description="Null without a score, and for a model that does not say."
    )
    thresholds: Thresholds | None = Field(
        description="Null for a model whose card holds no validation clips."
    )
    blended_fakes: bool = Field(
        description="Whether validation's fakes, from which `p_values` and `thresholds` follow, "
        "were blended from its real clips; then nothing is promised for fakes of another kind."
    )
    meaning: str = Field(description="What the words of `verdict` mean, in a sentence.")
    segments_meaning: str = Field(
        description="What `segments` mean, or why there are none, in a sentence."
    )
    model: AnsweringModel
    no_heat_maps: str = Field(
        "",
        description="With `explain=1` only: why faces come without a heat map; empty where they "
        "have one.",
        json_schema_extra=_may_be_absent,
    )
