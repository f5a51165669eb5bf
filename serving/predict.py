"""`deepfake predict`: P(fake) of files and a verdict, with the crops and graph of training."""

from __future__ import annotations

import dataclasses
import gc
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from preprocessing import model_metadata
from preprocessing.aggregation import NonFiniteLogits, aggregate, probability
from preprocessing.datasets.clip import printable
from preprocessing.errors import UsageError
from preprocessing.face_selection import ALL, ANSWER, FaceCounts, by_reason
from preprocessing.quiet import quiet
from preprocessing.verdict import FALSE_ALARMS, NO_BAND, Thresholds, thresholds_of

if TYPE_CHECKING:
    from preprocessing.crop_settings import CropSettings
    from preprocessing.face_cropper import Crop
    from preprocessing.model_metadata import ModelCard

# Crops scored at once; more gain nothing on a CPU.
_BATCH = 16


@dataclasses.dataclass(frozen=True)
class TrackScore:
    """The score of one track.

    Attributes:
      track: its number within the file.
      score: P(fake).
      faces: of it that were judged.
    """

    track: int
    score: float
    faces: int


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The answer for one file.

    Attributes:
      file: as it was named.
      score: P(fake) of the file, that of its most suspicious track; None when there is none.
      tracks: that were judged, most suspicious first.
      counts: frames looked at, faces found, judged and left out.
      reason: why there is no score; empty when there is one.
      verdict: `fake`, `real` or `uncertain`, see `preprocessing.verdict`; empty without a score,
        and for a model without operating points.
      thresholds: what the verdict follows from; None where there are none.
      logit: of the score, and what the thresholds are compared with; None when there is none.
    """

    file: str
    score: float | None
    tracks: tuple[TrackScore, ...] = ()
    counts: FaceCounts = FaceCounts()
    reason: str = ""
    verdict: str = ""
    thresholds: Thresholds | None = None
    logit: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The answer as plain values, without the file; README.md shows it."""
        return {
            "verdict": self.verdict,
            "score": self.score,
            "logit": self.logit,
            "reason": self.reason,
            "note": self.counts.note,
            "frames": self.counts.frames,
            "shots": self.counts.shots,
            "faces_found": self.counts.faces,
            "faces": self.counts.crops,
            "left_out": self.counts.dropped,
            "tracks": [dataclasses.asdict(track) for track in self.tracks],
            "thresholds": dataclasses.asdict(self.thresholds) if self.thresholds else None,
            "meaning": self.thresholds.text() if self.thresholds else NO_BAND,
        }


def crop_settings(card: ModelCard) -> CropSettings:
    """The crops that a model wants of a picture or video.

    Raises:
      UsageError: see `ModelCard.crop_settings`.
    """
    # A model that was trained on given crops takes pictures for crops.
    return card.crop_settings(precropped=card.wants_crops)


def judge(
    file: str,
    crops: Sequence[Crop],
    counts: FaceCounts,
    logits_of: Callable[[Sequence[bytes]], np.ndarray],
    thresholds: Thresholds | None,
    model: str,
) -> Verdict:
    """From the crops of a file to its verdict: the one way, whoever computes the logits.

    Args:
      file: as it was named.
      crops: of the file.
      counts: of its frames and faces.
      logits_of: gives the calibrated logits, float [crops], of encoded crops; not asked without
        crops.
      thresholds: of the model.
      model: what gives the logits, for messages.

    Returns:
      The verdict. Without crops there is no score; the reason is `no face` where none was found,
      and else says how many were found and why each was left out.

    Raises:
      NonFiniteLogits: the model gave NaN or infinite logits; model and file are named.
    """
    if not crops:
        return Verdict(file, None, counts=counts, reason=counts.why_none(), thresholds=thresholds)
    logits = logits_of([crop.jpeg for crop in crops])
    tracks = np.array([crop.track for crop in crops])
    try:
        scores = aggregate(logits, np.full(len(crops), file), tracks)
    except NonFiniteLogits as error:
        raise NonFiniteLogits(f"the model {model} gives no usable scores: {error}") from None
    by_track = [
        TrackScore(int(track), float(probability(logit)), int((tracks == track).sum()))
        for track, logit in zip(scores.tracks, scores.track_logits, strict=True)
    ]
    logit = float(scores.logits[0])
    return Verdict(
        file=file,
        score=float(probability(logit)),
        logit=logit,
        tracks=tuple(sorted(by_track, key=lambda scored: (-scored.score, scored.track))),
        counts=counts,
        verdict=thresholds.verdict(logit) if thresholds else "",
        thresholds=thresholds,
    )


class Predictor:
    """Scores files with an exported model.

    Args:
      model: folder of a model version, or of versions (the highest is taken).
      false_alarms: share of real clips that may be called fake, see `preprocessing.verdict`.
      all_faces: judge every face that is found, bystanders and short tracks as well.

    Attributes:
      thresholds: of the verdicts; None for a model without operating points.

    Raises:
      UsageError: there is no model, it is not one of ours, its crops cannot be made here, or it
        has no threshold for that share.
    """

    def __init__(
        self, model: str | Path, false_alarms: float = FALSE_ALARMS, all_faces: bool = False
    ):
        self.model = model_metadata.find_saved_model(model)
        card = model_metadata.read(self.model)
        settings = crop_settings(card).replace(policy=ALL if all_faces else ANSWER)
        self.thresholds = thresholds_of(card.operating_points, false_alarms)
        import tensorflow as tf

        from preprocessing.face_extraction import FaceCropper

        self._cropper = FaceCropper(settings)
        loaded = tf.saved_model.load(str(self.model))
        self._score = loaded.signatures["serving_default"]
        # The function does not keep its model alive.
        self._loaded = loaded

    def predict(self, file: str | Path) -> Verdict:
        """Scores one file; what cannot be scored comes back with its reason."""
        from preprocessing.media.errors import DecodingFailed, UnreadableMedia

        try:
            crops, counts = self._cropper.crops(file)
        except (UnreadableMedia, DecodingFailed) as error:
            return Verdict(str(file), None, reason=str(error), thresholds=self.thresholds)
        try:
            return judge(str(file), crops, counts, self.logits, self.thresholds, str(self.model))
        except NonFiniteLogits as error:
            # The faces are sound, and so are the counts of them; none of them was judged.
            return Verdict(
                str(file), None, counts=counts, reason=str(error), thresholds=self.thresholds
            )

    def logits(self, jpegs: Sequence[bytes]) -> np.ndarray:
        """Calibrated logits, float32 [crops], of encoded crops."""
        import tensorflow as tf

        parts = [
            self._score(image=tf.constant(jpegs[start : start + _BATCH]))["logit"].numpy()
            for start in range(0, len(jpegs), _BATCH)
        ]
        return np.concatenate(parts)

    def close(self) -> None:
        """Frees the graphs; TensorFlow prints errors when the interpreter ends before that."""
        del self._score, self._loaded, self._cropper
        gc.collect()


def predict_command(
    files: Sequence[str],
    model: str,
    as_json: bool,
    false_alarms: float = FALSE_ALARMS,
    all_faces: bool = False,
) -> int:
    """Prints a verdict per file.

    Returns:
      0 when every file got a score, 1 when one did not.

    Raises:
      UsageError: a file does not exist, or the model cannot be used.
    """
    for file in files:
        if not Path(file).exists():
            raise UsageError(f"there is no file {printable(file)}")
    with quiet():
        predictor = Predictor(model, false_alarms, all_faces)
    verdicts = []
    if not as_json:
        print(f"{'verdict':<9}  {'P(fake)':>8}  {'found':>5}  {'judged':>6}  {'tracks':>6}  file")
    for file in files:
        with quiet():
            verdict = predictor.predict(file)
        verdicts.append(verdict)
        if not as_json:
            print(_lines(verdict), flush=True)
    with quiet():
        predictor.close()
    if as_json:
        answers = [{"file": verdict.file, **verdict.as_dict()} for verdict in verdicts]
        print(json.dumps(answers, indent=1))
    else:
        print(predictor.thresholds.text() if predictor.thresholds else NO_BAND)
    return 0 if all(verdict.score is not None for verdict in verdicts) else 1


def _lines(verdict: Verdict) -> str:
    """A line of the table, and indented below it what was left out and what is to be noted."""
    counts = verdict.counts
    score = "-" if verdict.score is None else f"{verdict.score:.3f}"
    why = f"  ({verdict.reason})" if verdict.reason else ""
    lines = [
        f"{verdict.verdict or '-':<9}  {score:>8}  {counts.faces:>5}  {counts.crops:>6}"
        f"  {len(verdict.tracks):>6}  {printable(verdict.file)}{why}"
    ]
    if counts.dropped and counts.crops:
        lines.append(f"           faces left out: {by_reason(counts.dropped)}")
    if counts.note:
        lines.append(f"           note: {counts.note}")
    return "\n".join(lines)
