"""Class-conditional conformal prediction: which classes a clip's score allows to rule out.

A hypothesis, as "this clip is real", is tested by how the clip's score ranks among those of
validation clips of that class. The p-value is the share of these, the clip itself counted among
them, that speak at least as much against the class. Where it is at most the chosen rate, the class
is ruled out, which is wrong for at most that share of the clips of the class, whatever the scores
are distributed like and however good the model is: conformal prediction by class (Vovk,
"Conditional validity of inductive conformal predictors", 2012; for classifiers Romano, Sesia and
Candès, "Classification with valid and adaptive coverage", 2020).

It holds for clips that are exchangeable with the validation clips. Clips of one person are not: ten
thousand clips of five persons say little about the sixth. So persons count, and not clips: each
cluster of clips weighs the same, and shares its weight among its clips (hierarchical conformal
prediction: Lee, Barber and Willett, "Distribution-free inference with hierarchical data", 2023;
see also Dunn, Wasserman and Ramdas, "Distribution-free prediction sets for two-layer hierarchical
models", 2023). With K clusters and n_k clips in cluster k, of which m_k speak at least as much
against the class,

    p = (1 + sum over k of m_k / n_k) / (K + 1)

which is never below 1 / (K + 1): 21 real clips cannot show a rate of 1%.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import model_validator

from preprocessing.support.record import Record
from preprocessing.support.section import AsList, SectionError

Floats = Annotated[tuple[float, ...], AsList]
Ints = Annotated[tuple[int, ...], AsList]
# Sums of shares such as 1/3 are rounded.
_ROUNDING = 1e-9


class ReferenceClips(Record):
    """Values of the validation clips that a new clip is ranked among.

    Attributes:
      values: [clips], finite, sorted.
      cluster_sizes: [clips], number of the clips that share a cluster with each, itself counted.
    """

    values: Floats
    cluster_sizes: Ints

    @model_validator(mode="after")
    def _check(self) -> ReferenceClips:
        if len(self.values) != len(self.cluster_sizes):
            raise SectionError(
                "cluster_sizes", f"{len(self.cluster_sizes)} of {len(self.values)} values"
            )
        if not np.isfinite(self.values).all() or (np.diff(self.values) < 0).any():
            raise SectionError("values", "they must be finite and sorted")
        if min(self.cluster_sizes, default=1) < 1:
            raise SectionError("cluster_sizes", f"{min(self.cluster_sizes)} is below 1")
        return self

    @classmethod
    def of(cls, values: np.ndarray, clusters: np.ndarray) -> ReferenceClips:
        """Puts values in order.

        Args:
          values: float [clips]; kept as float32.
          clusters: [clips], name of each clip's cluster.
        """
        _, number, counts = np.unique(clusters, return_inverse=True, return_counts=True)
        values = np.asarray(values, np.float32)
        order = np.argsort(values, kind="stable")
        return cls(
            # The shortest decimal number that gives the same float32.
            values=tuple(float(str(value)) for value in values[order]),
            cluster_sizes=tuple(int(size) for size in counts[number][order]),
        )

    @property
    def clusters(self) -> int:
        """Number of clusters."""
        return round(float(self._weights().sum()))

    @property
    def smallest_rate(self) -> float:
        """The smallest rate at which the clips can rule something out; above 1 for no clip."""
        return 1.0 / (self.clusters + 1) if self.values else np.inf

    def p_high(self, value: float) -> float:
        """p-value of a clip where high values speak against the class; 1 without clips."""
        return self._p(self._weights()[np.searchsorted(self.values, value, "left") :])

    def p_low(self, value: float) -> float:
        """p-value of a clip where low values speak against the class; 1 without clips."""
        return self._p(self._weights()[: np.searchsorted(self.values, value, "right")])

    def highest_kept(self, rate: float) -> float | None:
        """The largest value whose `p_high` is above the rate: larger ones are ruled out.

        Args:
          rate: above 0 and below 1.

        Returns:
          The value; None where no value can be ruled out at this rate.
        """
        return self._limit(rate, np.arange(len(self.values))[::-1])

    def lowest_kept(self, rate: float) -> float | None:
        """As `highest_kept`, for `p_low`: smaller values are ruled out."""
        return self._limit(rate, np.arange(len(self.values)))

    def _weights(self) -> np.ndarray:
        return 1.0 / np.asarray(self.cluster_sizes, np.float64)

    def _p(self, weights: np.ndarray) -> float:
        return float((1.0 + weights.sum()) / (self.clusters + 1))

    def _limit(self, rate: float, order: np.ndarray) -> float | None:
        """The first value, counted from outside, with which the allowed weight is exceeded."""
        allowed = rate * (self.clusters + 1) - 1.0 + _ROUNDING
        if not self.values or allowed < 0:
            return None
        # Equal values are ruled out together or not at all; the first of them decides, since all
        # of their weights follow.
        beyond = np.cumsum(self._weights()[order]) > allowed
        return self.values[int(order[int(np.argmax(beyond))])]


class ConformalClips(Record):
    """`conformal` of the model card: calibrated logits of the clips of val, by class.

    Attributes:
      real: logits of the real clips.
      fake: logits of the fake clips.
      split: name of the split that the clips are from.
    """

    real: ReferenceClips
    fake: ReferenceClips
    split: str = "val"


def conformal_clips(logits: np.ndarray, labels: np.ndarray, clusters: np.ndarray) -> dict[str, Any]:
    """What `ConformalClips` reads.

    Args:
      logits: float [clips], calibrated, of clips that the network did not learn from.
      labels: int [clips], 1 = fake.
      clusters: [clips], name of each clip's cluster, as of its person.
    """
    logits, labels, clusters = np.asarray(logits), np.asarray(labels), np.asarray(clusters)
    real, fake = (
        ReferenceClips.of(logits[labels == label], clusters[labels == label]) for label in (0, 1)
    )
    return ConformalClips(real=real, fake=fake).to_dict()
