"""`deepfake predict`: P(fake) of files, with the crops and the graph of training."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from preprocessing import model_metadata
from preprocessing.aggregation import aggregate, probability
from preprocessing.errors import UsageError

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
    """

    file: str
    score: float | None
    tracks: dict[int, float]
    frames: int
    faces: int
    reason: str = ""


class Predictor:
    """Scores files with an exported model.

    Args:
      model: folder of a model version, or of versions (the highest is taken).

    Raises:
      UsageError: there is no model, it is not one of ours, or its crops cannot be made here.
    """

    def __init__(self, model: str | Path):
        self.model = latest_version(Path(model))
        settings = _settings(model_metadata.read(self.model))
        import tensorflow as tf

        from preprocessing.face_extraction import FaceCropper

        self._cropper = FaceCropper(settings)
        loaded = tf.saved_model.load(str(self.model))
        self._score = loaded.signatures["serving_default"]
        # The function does not keep its model alive.
        self._loaded = loaded

    def predict(self, file: str | Path) -> Verdict:
        """Scores one file; what cannot be scored comes back with its reason."""
        from preprocessing.video import UnreadableMedia

        try:
            crops, counts = self._cropper.crops(file)
        except UnreadableMedia as error:
            return Verdict(str(file), None, {}, 0, 0, str(error))
        if not crops:
            return Verdict(str(file), None, {}, counts["frames"], 0, "no face")
        logits = self.logits([crop.jpeg for crop in crops])
        tracks = np.array([crop.track for crop in crops])
        scores = aggregate(logits, np.zeros(len(crops), np.int64), tracks)
        by_track = {
            int(track): float(probability(logit))
            for track, logit in zip(scores.tracks, scores.track_logits, strict=True)
        }
        score = float(probability(scores.logits[0]))
        return Verdict(str(file), score, by_track, counts["frames"], len(crops))

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


def latest_version(folder: Path) -> Path:
    """The folder itself when it is a SavedModel, else its highest numbered version.

    Raises:
      UsageError: neither is there.
    """
    if (folder / "saved_model.pb").is_file():
        return folder
    versions = [
        path
        for path in (folder.iterdir() if folder.is_dir() else ())
        if path.name.isdigit() and (path / "saved_model.pb").is_file()
    ]
    if not versions:
        raise UsageError(
            f"{folder} holds no model: name the folder that Pusher wrote (OUTPUT/models/NAME) or "
            "one version in it"
        )
    return max(versions, key=lambda path: int(path.name))


def _settings(metadata: dict[str, Any]):
    from preprocessing.face_extraction import Settings

    try:
        return Settings(**metadata["extraction"])
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"the model was trained on crops that this version cannot make ({error}); use the "
            "version of this project that trained it, or train again"
        ) from error


def predict_command(files: Sequence[str], model: str, as_json: bool) -> int:
    """Prints a verdict per file.

    Returns:
      0 when every file got a score, 1 when one did not.

    Raises:
      UsageError: a file does not exist, or the model cannot be used.
    """
    for file in files:
        if not Path(file).exists():
            raise UsageError(f"there is no file {file}")
    with _quiet():
        predictor = Predictor(model)
    verdicts = []
    if not as_json:
        print(f"{'P(fake)':>8}  {'faces':>5}  {'tracks':>6}  file")
    for file in files:
        with _quiet():
            verdict = predictor.predict(file)
        verdicts.append(verdict)
        if not as_json:
            score = verdict.reason if verdict.score is None else f"{verdict.score:.3f}"
            print(f"{score:>8}  {verdict.faces:>5}  {len(verdict.tracks):>6}  {file}", flush=True)
    with _quiet():
        predictor.close()
    if as_json:
        print(json.dumps([dataclasses.asdict(verdict) for verdict in verdicts], indent=1))
    return 0 if all(verdict.score is not None for verdict in verdicts) else 1


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what native libraries print off the terminal; Python errors still pass."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
