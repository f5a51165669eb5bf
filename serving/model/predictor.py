"""Predicts files with an exported model, with the crops and the graph of training."""

from __future__ import annotations

import abc
import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from preprocessing.faces.crop_settings import ALL, ANSWER, CropSettings
from preprocessing.support.without_keras import without_keras
from serving.model import card
from serving.model.aggregation import NonFiniteLogits
from serving.model.outputs import CropOutputs, NoOutputs
from serving.model.saved_model import load_saved_model
from serving.model.verdict import DecisionRule, Verdict, judge

if TYPE_CHECKING:
    from preprocessing.faces.face_cropper import Crop
    from preprocessing.media.frame_folder import Media

# Crops scored at once; more gain nothing on a CPU.
_BATCH = 16


class FilePredictor(abc.ABC):
    """Cuts the faces out of files and judges them by the outputs of a model, wherever it runs.

    Args:
      model: name of what gives the outputs, for messages.
      settings: crop settings that the model wants.
      rule: rule of the verdicts.
      about: the model, see `ModelCard.about`.
      all_faces: judge every face that is found, bystanders and short tracks as well.

    Attributes:
      frames: number of frames that are sampled from a file at most.
      decision_rule: rule of the verdicts.
      about: the model.
    """

    def __init__(
        self,
        model: str,
        settings: CropSettings,
        rule: DecisionRule,
        about: dict[str, Any],
        all_faces: bool,
    ):
        from preprocessing.faces.face_cropper import FaceCropper

        self._name = model
        self.frames = settings.frames_per_clip
        self.decision_rule = rule
        self.about = about
        self._cropper = FaceCropper(settings.replace(policy=ALL if all_faces else ANSWER))

    def predict(
        self, file: Media, name: str = "", check: Callable[[], None] | None = None
    ) -> Verdict:
        """As `examine`, the verdict alone."""
        return self.examine(file, name, check)[0]

    def examine(
        self, file: Media, name: str = "", check: Callable[[], None] | None = None
    ) -> tuple[Verdict, list[Crop]]:
        """Scores one file; what cannot be scored comes back with its reason.

        Args:
          file: a video or picture, or the pictures of one clip.
          name: name of the file in the answer; empty for its path.
          check: function that is called with each frame.

        Returns:
          The verdict, and the crops that it rests on; `Verdict.failed` tells that the model is to
          blame, and not the file.
        """
        from preprocessing.media.media_errors import DecodingFailed, UnreadableMedia

        name = name or str(file)
        try:
            crops, counts = self._cropper.crops(file, check=check)
        except (UnreadableMedia, DecodingFailed) as error:
            return Verdict(name, None, reason=str(error), decision_rule=self.decision_rule), []
        try:
            verdict = judge(name, crops, counts, self.outputs, self.decision_rule, self._name)
        except (NonFiniteLogits, NoOutputs) as error:
            # The faces are sound, and so are the counts of them; none of them was judged.
            verdict = Verdict(
                name,
                None,
                counts=counts,
                reason=str(error),
                decision_rule=self.decision_rule,
                failed=True,
            )
        return verdict, crops

    @abc.abstractmethod
    def outputs(self, jpegs: Sequence[bytes]) -> CropOutputs:
        """The model's outputs for encoded crops.

        Raises:
          NoOutputs: the model could not be asked.
        """

    def cells(self, jpegs: Sequence[bytes]) -> np.ndarray | None:
        """Class activation maps of encoded crops: float [crops, rows, columns].

        None where the model gives none, as those that earlier versions exported, and for no crop.

        Raises:
          NoOutputs: the model could not be asked.
        """
        return None

    def close(self) -> None:
        """Ends the processes that decode files."""
        self._cropper.close()


class Predictor(FilePredictor):
    """Scores files with an exported model, which is loaded into this process.

    Args:
      model: folder of a model version, or of versions (the highest is taken).
      all_faces: judge every face that is found, bystanders and short tracks as well.
      false_positive_rate: share of real clips that may be called fake; None for the card's.
      miss_rate: share of fake clips that may be called real; None for the card's.
      precropped: whether the files are crops already.

    Raises:
      UsageError: there is no model, it is not one of ours, its crops cannot be made here, or see
        `DecisionRule.of`.
    """

    def __init__(
        self,
        model: str | Path,
        all_faces: bool = False,
        false_positive_rate: float | None = None,
        miss_rate: float | None = None,
        precropped: bool = False,
    ):
        self.model = card.find_saved_model(model)
        model_card = card.read(self.model)
        settings = model_card.answer_settings(precropped)
        rule = DecisionRule.of(model_card, false_positive_rate, miss_rate)
        about = model_card.about(*card.name_and_version(self.model))
        super().__init__(str(self.model), settings, rule, about, all_faces)
        with without_keras():
            import tensorflow  # noqa: F401

        loaded = load_saved_model(self.model)
        self._score = loaded.signatures["serving_default"]
        self._explain = loaded.signatures.get("explain")
        # The function does not keep its model alive.
        self._loaded = loaded

    def outputs(self, jpegs: Sequence[bytes]) -> CropOutputs:
        """The model's outputs for encoded crops."""
        parts = _in_batches(self._score, jpegs)
        return CropOutputs.joined(parts, self.decision_rule.familiarity is not None)

    def cells(self, jpegs: Sequence[bytes]) -> np.ndarray | None:
        """See `FilePredictor.cells`."""
        if self._explain is None or not jpegs:
            return None
        parts = _in_batches(self._explain, jpegs)
        cells: np.ndarray = np.concatenate([part["cells"].numpy() for part in parts])
        return cells

    def close(self) -> None:
        """Frees the graphs; TensorFlow prints errors when the interpreter ends before that."""
        super().close()
        del self._score, self._explain, self._loaded, self._cropper
        gc.collect()


def _in_batches(signature: Callable[..., Any], jpegs: Sequence[bytes]) -> list[Any]:
    import tensorflow as tf

    return [
        signature(image=tf.constant(jpegs[start : start + _BATCH]))
        for start in range(0, len(jpegs), _BATCH)
    ]
