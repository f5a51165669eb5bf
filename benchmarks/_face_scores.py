"""Scores of a model on real face crops, and what is computed of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from benchmarks._calibration import chance_error
from components.evaluation.intervals import measure_with_intervals
from components.evaluation.metrics import balanced_weights, calibration_error
from serving.model.aggregation import aggregate, probability

_RESAMPLES = 500


class Scores(NamedTuple):
    """A model on the test crops of a set.

    Attributes:
      labels: int [crops], 1 = fake.
      logits: float [crops], calibrated.
      moved: float [crops], of the crops as `jittered` cuts them; empty of other rows than `ours`.
      clips: int [crops].
      clusters: strings [clips], see `components.evaluation.scores.clusters_of`.
      val_labels: int [clips], of the set's val; empty of other rows than `ours`.
      val_logits: float [clips], likewise.
    """

    labels: np.ndarray
    logits: np.ndarray
    moved: np.ndarray
    clips: np.ndarray
    clusters: np.ndarray
    val_labels: np.ndarray
    val_logits: np.ndarray

    def by_clip(self, moved: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Labels and logits of the clips."""
        tracks = np.zeros(len(self.clips), np.int64)
        joined = aggregate(self.moved if moved else self.logits, self.clips, tracks)
        labels = np.zeros(self.clips.max() + 1, np.int64)
        labels[self.clips] = self.labels
        return labels[joined.clips], joined.logits

    @property
    def clusters_by_clip(self) -> np.ndarray:
        """The cluster of each clip of `by_clip`."""
        return self.clusters[np.unique(self.clips)]

    @property
    def auc(self) -> float:
        """Per crop."""
        return float(roc_auc_score(self.labels, self.logits))

    def clip_auc(self, moved: bool = False) -> float:
        """Per clip."""
        return float(roc_auc_score(*self.by_clip(moved)))

    @property
    def clip_error(self) -> float:
        """Expected calibration error per clip."""
        labels, logits = self.by_clip()
        return calibration_error(labels, probability(logits))

    @property
    def clip_error_after_val(self) -> float:
        """The same of scores that are calibrated on the set's own val, with its share of fakes.

        The model's own calibration is fitted on the val of all sets, as if half were fake.
        """
        labels, logits = self.by_clip()
        fitted = LogisticRegression(penalty=None).fit(self.val_logits[:, None], self.val_labels)
        return calibration_error(labels, fitted.predict_proba(logits[:, None])[:, 1])

    @property
    def balanced_clip_error(self) -> float:
        """The same of clips that weigh so that half of them are fake, as scores mean it."""
        labels, logits = self.by_clip()
        return calibration_error(labels, probability(logits), balanced_weights(labels))

    def clip_error_at_share(self) -> tuple[float, float]:
        """Calibration error per clip of scores that know these clips' share of fakes.

        Scores are probabilities where half of the clips are fake. By Bayes' rule their logits are
        moved by the logarithm of this set's odds of being fake.

        Returns:
          The error, and `chance_error` of the same scores.
        """
        labels, logits = self.by_clip()
        share = labels.mean()
        moved = logits + np.log(share / (1 - share))
        return calibration_error(labels, probability(moved)), chance_error(moved)

    def interval(self) -> tuple[float, float]:
        """95% of the AUC per clip, over resampled persons, or originals where none are known."""
        labels, logits = self.by_clip()
        auc = measure_with_intervals(labels, logits, self.clusters_by_clip, _RESAMPLES)["auc"]
        return auc.low, auc.high


class Result(NamedTuple):
    """A training.

    Attributes:
      on: name of the set -> its scores.
      minutes: that it took.
      shown: images.
      history: val AUC per clip of each epoch.
    """

    on: dict[str, Scores]
    minutes: float
    shown: int
    history: list[float]
