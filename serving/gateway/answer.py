"""What the gateway answers besides verdicts, as classes: the OpenAPI document shows them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from serving.model.answer import Answer, Count, StrictModel


class Alive(StrictModel):
    """The gateway answers requests."""

    status: Literal["alive"]


class Ready(StrictModel):
    """The model server answers, and a version that it serves can be used."""

    status: Literal["ready"]
    version: Count = Field(description="Version of the model that would answer.")


class Error(StrictModel):
    """Why there is no answer."""

    error: str = Field(min_length=1, description="A sentence for people.")


class Progress(StrictModel):
    """How far a running job is: first the faces are found, then the film is written."""

    frames: Count = Field(description="Frames that are done.")
    of: Count | None = Field(description="Frames that there are; null while that is not known.")


class JobStatus(StrictModel):
    """A job, and what it came to."""

    id: str = Field(description="Unguessable id, with which its path ends.")
    name: str = Field(description="Name of the file, as in `Answer`.")
    state: Literal["waiting", "running", "done", "failed"] = Field(
        description="`done` with an `answer`, `failed` with an `error`."
    )
    progress: Progress | None = Field(description="Progress of a running job; else null.")
    answer: Answer | None = Field(description="Answer, as of `/v1/verdict`; null until it is done.")
    error: str = Field(description="Why there is no answer, for people; empty until it failed.")
    status: int | None = Field(
        description="HTTP status with which `/v1/verdict` would have answered such a failure; null "
        "until it failed."
    )
    overlay: str = Field(
        description="Path of the film with its faces marked; empty until it is there, and where "
        "there is none: it was not asked for, no face was judged, the file is a picture, or newer "
        "films took its room."
    )
    expires_in: float | None = Field(
        description="Seconds until the job is forgotten; null until it ended."
    )
