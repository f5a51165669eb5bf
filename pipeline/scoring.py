"""Scores clips with a finished model, for `deepfake evaluate` and `deepfake score`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.beam_runner import beam_args
from preprocessing.datasets.clip import Clip
from preprocessing.faces.crop_settings import ALL, ANSWER
from preprocessing.support.errors import UsageError

if TYPE_CHECKING:
    from pipeline.clip_scoring import ScoredClips
    from preprocessing.manifest.parts import Part


@dataclasses.dataclass(frozen=True)
class ScoringRequest:
    """What a command was asked for.

    Attributes:
      model: folder of a model.
      data: folder of the clips.
      output: path of what is written; a folder for `evaluate`, a .parquet file for `score`.
      precropped: whether the files are face crops already.
      official_test: whether only the clips of the dataset's own test list are scored.
      workers: number of Beam worker processes.
      all_faces: whether every face that is found is judged, bystanders and short tracks as well.
      false_positive_rate: share of real clips that may be called fake; None for the model's.
      miss_rate: share of fake clips that may be called real; None for the model's.
      part: part of the clips to score; None for all.
      beam: Beam options of extraction and scoring, as the configuration's `beam`; empty for here.
    """

    model: str
    data: str
    output: str
    precropped: bool = False
    official_test: bool = False
    workers: int = 1
    all_faces: bool = False
    false_positive_rate: float | None = None
    miss_rate: float | None = None
    part: Part | None = None
    beam: tuple[str, ...] = ()


def score_request(
    request: ScoringRequest,
    clips: tuple[Clip, ...],
    root: str,
    work: Path,
    labelled: bool = True,
) -> ScoredClips:
    """Scores the clips of a request, finished ones from the work folder.

    Args:
      request: model, options, and the data's name for messages.
      clips: clips with hashes.
      root: folder that their paths start from.
      work: folder of finished clips.
      labelled: whether the clips have labels: then records of their faces are written as well, and
        clips without a single face are wrong usage.

    Raises:
      UsageError: the model is not one of this project, or no clip gave a face.
    """
    from pipeline.clip_scoring import score_clips

    policy = ALL if request.all_faces else ANSWER
    scored = score_clips(
        request.model,
        clips,
        root,
        work,
        request.precropped,
        request.workers,
        policy,
        with_records=labelled,
        beam_args=beam_args(request.beam, "FaceExtractor", request.workers),
    )
    if labelled and scored.crops.empty:
        reasons = sorted({row.reason for row in scored.rows})
        raise UsageError(
            f"none of the {len(clips)} clips of {request.data} gave a face "
            f"({'; '.join(reasons)}){_advice(request, scored)}"
        )
    return scored


def _advice(request: ScoringRequest, scored: ScoredClips) -> str:
    """What to do where no clip gave a face; empty where nothing is known."""
    from preprocessing.faces.given_crops import TOO_TIGHT
    from serving.model import card

    if not request.precropped:
        return "; if the files are face crops already, say --precropped"
    tight = sum(row.dropped.get(TOO_TIGHT, 0) for row in scored.rows)
    if not tight:
        return ""
    wanted = card.read(request.model).crop_settings(precropped=True)
    return (
        f"; {tight} of {sum(row.faces for row in scored.rows)} crops are cut tighter than the "
        f"model's extraction.eye_distance={wanted.eye_distance:.2g} wants: `deepfake index DIR "
        "--preset face_crops` shows what they have; cut them wider, or take a model of such crops"
    )


def logits_error(model: str, clips: Sequence[str]) -> str:
    """What is said of a model that gave NaN or infinite logits.

    Args:
      model: folder of the model.
      clips: ids of the clips that it gave them for, at least one.
    """
    return (
        f"error: the model {model} gave NaN or infinite logits for {len(clips)} clips, the first "
        f"of them {clips[0]}; it cannot be used"
    )
