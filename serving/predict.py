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
from preprocessing.errors import UsageError
from preprocessing.quiet import quiet
from preprocessing.verdict import FALSE_ALARMS, NO_BAND, Thresholds, thresholds_of

if TYPE_CHECKING:
    from preprocessing.face_cropper import Crop, Settings

# Crops scored at once; more gain nothing on a CPU.
_BATCH = 16


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The answer for one file.

    Attributes:
      file: as it was named.
      score: P(fake) of the file, that of its most suspicious track; None when there is none.
      tracks: P(fake) of each track, by its number.
      frames: frames looked at.
      faces: crops that were judged.
      reason: why there is no score; empty when there is one.
      verdict: `fake`, `real` or `uncertain`, see `preprocessing.verdict`; empty without a score,
        and for a model without operating points.
      thresholds: what the verdict follows from; None where there are none.
      logit: of the score, and what the thresholds are compared with; None when there is none.
    """

    file: str
    score: float | None
    tracks: dict[int, float]
    frames: int
    faces: int
    reason: str = ""
    verdict: str = ""
    thresholds: Thresholds | None = None
    logit: float | None = None


def crop_settings(metadata: dict[str, Any]) -> Settings:
    """The crops that a model wants of a picture or video.

    Raises:
      UsageError: see `preprocessing.model_metadata.settings_of`.
    """
    # A model that was trained on given crops takes pictures for crops.
    given = bool(metadata.get("extraction", {}).get("precropped"))
    return model_metadata.settings_of(metadata, precropped=given)


def judge(
    file: str,
    crops: Sequence[Crop],
    frames: int,
    logits_of: Callable[[Sequence[bytes]], np.ndarray],
    thresholds: Thresholds | None,
    model: str,
) -> Verdict:
    """From the crops of a file to its verdict: the one way, whoever computes the logits.

    Args:
      file: as it was named.
      crops: of the file.
      frames: that were looked at.
      logits_of: gives the calibrated logits, float [crops], of encoded crops; not asked without
        crops.
      thresholds: of the model.
      model: what gives the logits, for messages.

    Returns:
      The verdict; without crops the reason is `no face`, and there is no score.

    Raises:
      NonFiniteLogits: the model gave NaN or infinite logits; model and file are named.
    """
    if not crops:
        return Verdict(file, None, {}, frames, 0, "no face")
    logits = logits_of([crop.jpeg for crop in crops])
    tracks = np.array([crop.track for crop in crops])
    try:
        scores = aggregate(logits, np.full(len(crops), file), tracks)
    except NonFiniteLogits as error:
        raise NonFiniteLogits(f"the model {model} gives no usable scores: {error}") from None
    by_track = {
        int(track): float(probability(logit))
        for track, logit in zip(scores.tracks, scores.track_logits, strict=True)
    }
    logit = float(scores.logits[0])
    return Verdict(
        file=file,
        score=float(probability(logit)),
        logit=logit,
        tracks=by_track,
        frames=frames,
        faces=len(crops),
        verdict=thresholds.verdict(logit) if thresholds else "",
        thresholds=thresholds,
    )


class Predictor:
    """Scores files with an exported model.

    Args:
      model: folder of a model version, or of versions (the highest is taken).
      false_alarms: share of real clips that may be called fake, see `preprocessing.verdict`.

    Attributes:
      thresholds: of the verdicts; None for a model without operating points.

    Raises:
      UsageError: there is no model, it is not one of ours, its crops cannot be made here, or it
        has no threshold for that share.
    """

    def __init__(self, model: str | Path, false_alarms: float = FALSE_ALARMS):
        self.model = model_metadata.find_saved_model(model)
        metadata = model_metadata.read(self.model)
        settings = crop_settings(metadata)
        self.thresholds = thresholds_of(metadata, false_alarms)
        import tensorflow as tf

        from preprocessing.face_extraction import FaceCropper

        self._cropper = FaceCropper(settings)
        loaded = tf.saved_model.load(str(self.model))
        self._score = loaded.signatures["serving_default"]
        # The function does not keep its model alive.
        self._loaded = loaded

    def predict(self, file: str | Path) -> Verdict:
        """Scores one file; what cannot be scored comes back with its reason."""
        from preprocessing.media.errors import UnreadableMedia

        try:
            crops, counts = self._cropper.crops(file)
        except UnreadableMedia as error:
            return Verdict(str(file), None, {}, 0, 0, str(error))
        try:
            return judge(
                str(file), crops, counts["frames"], self.logits, self.thresholds, str(self.model)
            )
        except NonFiniteLogits as error:
            return Verdict(str(file), None, {}, counts["frames"], 0, str(error))

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
    files: Sequence[str], model: str, as_json: bool, false_alarms: float = FALSE_ALARMS
) -> int:
    """Prints a verdict per file.

    Returns:
      0 when every file got a score, 1 when one did not.

    Raises:
      UsageError: a file does not exist, or the model cannot be used.
    """
    for file in files:
        if not Path(file).exists():
            raise UsageError(f"there is no file {file}")
    with quiet():
        predictor = Predictor(model, false_alarms)
    verdicts = []
    if not as_json:
        print(f"{'verdict':<9}  {'P(fake)':>8}  {'faces':>5}  {'tracks':>6}  file")
    for file in files:
        with quiet():
            verdict = predictor.predict(file)
        verdicts.append(verdict)
        if not as_json:
            print(_line(verdict), flush=True)
    with quiet():
        predictor.close()
    if as_json:
        print(json.dumps([dataclasses.asdict(verdict) for verdict in verdicts], indent=1))
    else:
        print(predictor.thresholds.text() if predictor.thresholds else NO_BAND)
    return 0 if all(verdict.score is not None for verdict in verdicts) else 1


def _line(one: Verdict) -> str:
    score = "-" if one.score is None else f"{one.score:.3f}"
    counts = f"{one.faces:>5}  {len(one.tracks):>6}"
    why = f"  ({one.reason})" if one.reason else ""
    return f"{one.verdict or '-':<9}  {score:>8}  {counts}  {one.file}{why}"
