"""Predicts files with an exported model, with the crops and the graph of training."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path

from preprocessing.faces.crop_settings import ALL, ANSWER
from serving.model import card
from serving.model.aggregation import NonFiniteLogits
from serving.model.outputs import CropOutputs
from serving.model.verdict import Verdict, Wording, judge

# Crops scored at once; more gain nothing on a CPU.
_BATCH = 16


class Predictor:
    """Scores files with an exported model.

    Args:
      model: folder of a model version, or of versions (the highest is taken).
      all_faces: judge every face that is found, bystanders and short tracks as well.
      false_positive_rate: share of real clips that may be called fake; None for the card's.
      miss_rate: share of fake clips that may be called real; None for the card's.

    Attributes:
      wording: of the verdicts.
      about: the model, see `ModelCard.about`.

    Raises:
      UsageError: there is no model, it is not one of ours, its crops cannot be made here, or see
        `Wording.of`.
    """

    def __init__(
        self,
        model: str | Path,
        all_faces: bool = False,
        false_positive_rate: float | None = None,
        miss_rate: float | None = None,
    ):
        self.model = card.find_saved_model(model)
        model_card = card.read(self.model)
        settings = model_card.answer_settings().replace(policy=ALL if all_faces else ANSWER)
        self.wording = Wording.of(model_card, false_positive_rate, miss_rate)
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
            return judge(str(file), crops, counts, self.outputs, self.wording, str(self.model))
        except NonFiniteLogits as error:
            # The faces are sound, and so are the counts of them; none of them was judged.
            return Verdict(str(file), None, counts=counts, reason=str(error), wording=self.wording)

    def outputs(self, jpegs: Sequence[bytes]) -> CropOutputs:
        """The model's outputs for encoded crops."""
        import tensorflow as tf

        parts = [
            self._score(image=tf.constant(jpegs[start : start + _BATCH]))
            for start in range(0, len(jpegs), _BATCH)
        ]
        return CropOutputs.joined(parts, self.wording.familiarity is not None)

    def close(self) -> None:
        """Frees the graphs; TensorFlow prints errors when the interpreter ends before that."""
        del self._score, self._loaded, self._cropper
        gc.collect()
