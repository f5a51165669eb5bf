"""Whether a clip is like the data that the model knows, and what is unusual about it.

The model gives each crop's distance to the nearest crop of its training, and image facts such as
brightness. A clip's distance is ranked among those of val's clips: where its conformal p-value (see
`serving.model.conformal`) is at most the chosen rate, the clip is unfamiliar, and its score has no
meaning. At most that share of clips like val's is called so.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import numpy as np

from preprocessing.support.record import Record
from preprocessing.support.section import AsList
from serving.model.aggregation import aggregate, refuse_non_finite
from serving.model.conformal import ReferenceClips

UNFAMILIAR = "unfamiliar"
# Said where no fact is out of its range.
FEATURES = "what the network sees is unlike the training crops"
# Share of val's clips within the range of a fact.
_WITHIN = 0.95


class FactRange(Record):
    """The range of an image fact in the clips of val.

    Attributes:
      name: name of the fact.
      low: 2.5% of the clips have less.
      high: 2.5% of the clips have more.
    """

    name: str
    low: float
    high: float


class Familiarity(Record):
    """`familiarity` of the model card.

    Attributes:
      distances: distances of val's clips, of both classes.
      facts: ranges of image facts in the order of the model's output.
      split: name of the split that the clips are from.
    """

    distances: ReferenceClips
    facts: Annotated[tuple[FactRange, ...], AsList] = ()
    split: str = "val"


@dataclasses.dataclass(frozen=True)
class ClipFamiliarity:
    """How unlike the model's own data a clip is.

    Attributes:
      p_value: p-value of "the clip is like val's"; at most so large a share of these lies so far
        out.
      distance: distance to the nearest training crops, no unit.
      facts: phrases that say what is unusual; empty for a clip that is not unfamiliar.
    """

    p_value: float
    distance: float
    facts: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as answers have them."""
        return {**dataclasses.asdict(self), "facts": list(self.facts)}


def clip_appearance(
    appearance: np.ndarray, clips: np.ndarray, tracks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """From crops to clips.

    As of a score, the track that is furthest out decides about the distance, and the mean over its
    crops is a track's. Facts are means over all crops of a clip.

    Args:
      appearance: float [crops, 1 + facts], the output of the model.
      clips: [crops], see `aggregate`.
      tracks: int [crops].

    Returns:
      Distances, float64 [clips], and facts, float64 [clips, facts], in the order of `aggregate`.

    Raises:
      NonFiniteLogits: a distance is NaN or infinite.
    """
    refuse_non_finite(appearance[:, 0], clips, "distances to the training's crops")
    distances = aggregate(appearance[:, 0], clips, tracks).logits
    _, number = np.unique(clips, return_inverse=True)
    facts = np.zeros((len(distances), appearance.shape[1] - 1))
    np.add.at(facts, number, appearance[:, 1:])
    return distances, facts / np.bincount(number)[:, None]


def familiarity_section(
    distances: np.ndarray, facts: np.ndarray, clusters: np.ndarray, names: tuple[str, ...]
) -> dict[str, Any]:
    """`familiarity` of the model card, as `Familiarity` reads it.

    Args:
      distances: float [clips], of val, see `clip_appearance`.
      facts: float [clips, facts], likewise.
      clusters: [clips], name of each clip's cluster.
      names: names of the facts.
    """
    ends = np.quantile(facts, [(1 - _WITHIN) / 2, (1 + _WITHIN) / 2], axis=0)
    ranges = tuple(
        FactRange(name=name, low=round(float(low), 3), high=round(float(high), 3))
        for name, low, high in zip(names, *ends, strict=True)
    )
    reference = ReferenceClips.of(distances, clusters)
    return Familiarity(distances=reference, facts=ranges).to_dict()


def rank_familiarity(
    val_familiarity: Familiarity, distance: float, facts: np.ndarray, rate: float
) -> ClipFamiliarity:
    """Ranks a clip among those of val.

    Args:
      val_familiarity: distances and ranges of facts of val's clips.
      distance: distance of the clip to the training crops.
      facts: float [facts], image facts of the clip.
      rate: share of clips like val's that may be called unfamiliar.
    """
    p_value = val_familiarity.distances.p_high(distance)
    # `highest_kept` rounds as verdicts do.
    limit = val_familiarity.distances.highest_kept(rate)
    if limit is None or distance <= limit:
        return ClipFamiliarity(p_value, distance)
    phrases = tuple(
        f"{fact.name} {value:.3g}, where {_WITHIN:.0%} of val's clips have {fact.low:.3g} to "
        f"{fact.high:.3g}"
        for fact, value in zip(val_familiarity.facts, facts, strict=False)
        if not fact.low <= value <= fact.high
    )
    return ClipFamiliarity(p_value, distance, phrases or (FEATURES,))
