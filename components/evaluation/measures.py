"""The content of ClipEvaluator's `metrics.json`: measures of slices, splits and two models."""

from __future__ import annotations

from preprocessing.support.record import Record
from preprocessing.support.section import Number


class StoredMeasure(Record):
    """A measure with its 95% interval.

    Attributes:
      value: None where it is not defined.
      low: lower end of the interval; None where there is none.
      high: upper end of it.
      note: why value or interval is missing, or what limits them.
    """

    value: Number | None
    low: Number | None = None
    high: Number | None = None
    note: str = ""


class MeasuredDifference(Record):
    """A measure of two models, and candidate minus baseline with its 95% interval.

    Attributes:
      candidate: the measure of the candidate; None where it is not defined.
      baseline: that of the other model.
      value: see `StoredMeasure`, as low, high and note.
    """

    # In the order of the file, so not derived from StoredMeasure.
    candidate: Number | None
    baseline: Number | None
    value: Number | None
    low: Number | None = None
    high: Number | None = None
    note: str = ""


class SliceMeasures(Record):
    """The measures of one slice.

    Attributes:
      key: `overall`, or a key of `components.evaluation.slices.KEYS`.
      value: of the key; empty for `overall`.
      real: number of reals in it.
      fake: number of fakes in it.
      clusters: number of what the bootstrap draws as a whole.
      metrics: name -> measure.
    """

    key: str
    value: str
    real: int
    fake: int
    clusters: int = 0
    metrics: dict[str, StoredMeasure]


class SplitMeasures(Record):
    """The measures of one split.

    Attributes:
      crops: slices of crops, without intervals: crops of one clip are as good as copies.
      clips: slices of clips; the first is `overall`, as of crops.
      resamples: of the bootstrap.
    """

    crops: list[SliceMeasures]
    clips: list[SliceMeasures]
    resamples: int = 0


class Comparison(Record):
    """Two models on the clips that both have scored.

    Attributes:
      clips: number in common.
      only_candidate: number that the candidate alone has scored.
      only_baseline: number that the other model alone has scored.
      metrics: name -> difference.
      baseline: where the other model lies; empty where nobody asks.
    """

    clips: int
    only_candidate: int
    only_baseline: int
    metrics: dict[str, MeasuredDifference]
    baseline: str = ""


class ClipMetrics(Record):
    """The whole file.

    Attributes:
      splits: split -> its measures.
      comparison: of the test split with the last blessed model; None without one.
    """

    splits: dict[str, SplitMeasures]
    comparison: Comparison | None
