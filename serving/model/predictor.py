"""Predicts files with an exported model, with the crops and the graph of training."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from preprocessing.faces.crop_settings import ALL, ANSWER
from serving.model import card
from serving.model.aggregation import NonFiniteLogits
from serving.model.thresholds import FALSE_ALARMS
from serving.model.verdict import Verdict, Wording, judge

# Crops scored at once; more gain nothing on a CPU.
_BATCH = 16


class Predictor:
    """Scores files with an exported model.

    Args:
      model: folder of a model version, or of versions (the highest is taken).
      false_alarms: share of real clips that may be called fake, see `serving.model.thresholds`.
      all_faces: judge every face that is found, bystanders and short tracks as well.

    Attributes:
      wording: of the verdicts.
      about: the model, see `ModelCard.about`.

    Raises:
      UsageError: there is no model, it is not one of ours, its crops cannot be made here, or it
        has no threshold for that share.
    """

    def __init__(
        self, model: str | Path, false_alarms: float = FALSE_ALARMS, all_faces: bool = False
    ):
        self.model = card.find_saved_model(model)
        model_card = card.read(self.model)
        settings = model_card.answer_settings().replace(policy=ALL if all_faces else ANSWER)
        self.wording = Wording.of(model_card, false_alarms)
        self.about = model_card.about(*card.name_and_version(self.model))
        import tensorflow as tf

        from preprocessing.faces.face_cropper import FaceCropper

        self._cropper = FaceCropper(settings)
        loaded = tf.saved_model.load(str(self.model))
        self._score = loaded.signatures["serving_default"]
        # The function does not keep its model alive.
        self._loaded = loaded

    def predict(self, file: str | Path) -> Verdict:
        """Scores one file; what cannot be scored comes back with its reason."""
        from preprocessing.media.media_errors import DecodingFailed, UnreadableMedia

        try:
            crops, counts = self._cropper.crops(file)
        except (UnreadableMedia, DecodingFailed) as error:
            return Verdict(str(file), None, reason=str(error), wording=self.wording)
        try:
            return judge(str(file), crops, counts, self.logits, self.wording, str(self.model))
        except NonFiniteLogits as error:
            # The faces are sound, and so are the counts of them; none of them was judged.
            return Verdict(str(file), None, counts=counts, reason=str(error), wording=self.wording)

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
