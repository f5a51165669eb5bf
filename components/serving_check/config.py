"""Configuration of the serving check: `serving`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from preprocessing.support.section import Number, Section, Text
from preprocessing.support.versions import TENSORFLOW_SERVING

# A larger one is no tolerance any more: the logits of a score and of its opposite are nearer.
_Tolerance = Annotated[Number, Field(ge=0.0, le=100.0)]


class ServingConfig(Section):
    """What a model must do as a server before it is pushed; see components/serving_check/."""

    tolerance: _Tolerance = Field(
        1e-4,
        description="Largest difference of a served logit from the one that the evaluation had, on "
        "any device.",
    )
    # The evaluation ran on the GPU, and the check runs on a CPU, which sums in another order.
    gpu_tolerance: _Tolerance = Field(
        0.0, description="The same where this machine has a GPU; 0 takes `tolerance`."
    )
    # On a CPU of the machine that checks: it tells as much about the machine as about the model.
    max_latency_ms: Number = Field(
        0.0,
        ge=0.0,
        le=1e6,
        description="Milliseconds that one crop may take at the 95th percentile; 0 allows any.",
    )
    infra_validator: Literal["none", "docker"] = Field(
        "none",
        description="docker: TFX's InfraValidator besides, the model in the image "
        "tensorflow/serving by the Docker daemon here.",
    )
    # serving/deploy/ has the same.
    infra_validator_tag: Text = Field(TENSORFLOW_SERVING, description="Tag of that image.")
