"""The provenance of a model: training data, measured values, limits and terms of use."""

from __future__ import annotations

from typing import Annotated

from preprocessing.support.record import Record
from preprocessing.support.section import AsList


class TrainedOn(Record):
    """A dataset that the model learnt from.

    Attributes:
      dataset: name of the dataset.
      clips_real: real clips.
      clips_fake: fake clips.
      persons: known persons in them; None where the dataset names none.
      split: part of the dataset, as in `train`.
    """

    dataset: str
    clips_real: int
    clips_fake: int
    persons: int | None = None
    split: str = ""

    def text(self) -> str:
        """The dataset and its counts."""
        persons = f", {self.persons} persons" if self.persons is not None else ""
        split = f", split {self.split}" if self.split else ""
        return (
            f"{self.dataset} ({self.clips_real} real and {self.clips_fake} fake clips"
            f"{persons}{split})"
        )


class StatedFigure(Record):
    """A measured value.

    Attributes:
      value: value of the measure.
      on: the clips that it was measured on.
      low: lower end of the 95% interval; None where there is none.
      high: upper end.
    """

    value: float
    on: str
    low: float | None = None
    high: float | None = None

    def text(self) -> str:
        """Value, interval, and what it was measured on."""
        has_interval = self.low is not None and self.high is not None
        between = f" [{self.low:.3f}, {self.high:.3f}]" if has_interval else ""
        return f"{self.value:.3f}{between} on {self.on}"


class Provenance(Record):
    """`provenance` of the model card.

    Attributes:
      name: name of the model, for people.
      summary: what it is, in one sentence.
      trained_on: the datasets that it learnt from.
      started_from: another model whose weights its training started from, and what that learnt
        from; empty where there is none.
      figures: name of a measure -> its value, interval and clips.
      never_shown: what it was never shown, in one sentence; empty where that is not known.
      terms: what it may be used for, in one sentence; empty where nobody has said.
      made_data: whether it learnt from made data, as the demo's: its scores say nothing about real
        clips, see `serving.model.verdict`.
    """

    name: str
    summary: str
    trained_on: Annotated[tuple[TrainedOn, ...], AsList]
    figures: dict[str, StatedFigure] = {}
    never_shown: str = ""
    terms: str = ""
    made_data: bool = False
    started_from: str = ""

    def facts(self) -> dict[str, str]:
        """Title -> text of all that is known."""
        facts = {
            "Model": f"{self.name}: {self.summary}",
            "Trained on": ", ".join(dataset.text() for dataset in self.trained_on),
            "Started from": self.started_from,
            "Figures": "; ".join(
                f"{name} {figure.text()}" for name, figure in self.figures.items()
            ),
            "Never shown": self.never_shown,
            "Terms": self.terms,
        }
        return {title: text for title, text in facts.items() if text}

    def line(self) -> str:
        """All that is known, in one line."""
        return " ".join(f"{title}: {text.rstrip('.')}." for title, text in self.facts().items())
