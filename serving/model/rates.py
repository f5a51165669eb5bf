"""The error rates that a verdict keeps to: `verdict` of the configuration and of the model card."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from preprocessing.support.section import Number, Section

# A half would be the toss of a coin; less than one in 10,000 nobody has the clips to show.
Rate = Annotated[Number, Field(ge=0.0001, le=0.5)]


def percent(rate: float) -> str:
    """A rate in words: six digits, and one decimal at least.

    >>> percent(0.01), percent(0.0004)
    ('1.0%', '0.04%')
    """
    text = f"{100 * rate:g}"
    return f"{text}%" if "." in text else f"{text}.0%"


class Rates(Section):
    """Error rates of verdicts; defaults of a model, which predictions may change."""

    # A real clip called fake accuses somebody.
    false_positive_rate: Rate = Field(
        0.01, description="Share of real clips that may be called fake."
    )
    miss_rate: Rate = Field(0.05, description="Share of fake clips that may be called real.")
    # From 19 persons in val on it can be shown.
    unfamiliar_rate: Rate = Field(
        0.05, description="Share of clips like val's that may be called unfamiliar."
    )

    def changed(
        self, false_positive_rate: float | None = None, miss_rate: float | None = None
    ) -> Rates:
        """The rates with those replaced that are given.

        Raises:
          UsageError: a rate is not above 0, or is above 0.5.
        """
        given = {"false_positive_rate": false_positive_rate, "miss_rate": miss_rate}
        return self.replace(**{name: rate for name, rate in given.items() if rate is not None})
