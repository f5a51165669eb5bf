"""What the gateway answers besides verdicts, as classes: the OpenAPI document shows them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from serving.model.answer import Count, Part


class Alive(Part):
    """The gateway answers requests."""

    status: Literal["alive"]


class Ready(Part):
    """The model server answers, and a version that it serves can be used."""

    status: Literal["ready"]
    version: Count = Field(description="Of the model, that would answer.")


class Error(Part):
    """Why there is no answer."""

    error: str = Field(min_length=1, description="A sentence for people.")
